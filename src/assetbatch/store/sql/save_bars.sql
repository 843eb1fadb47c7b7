-- Write the bars that are new or differ. The comparison comes first, so that the same bars again cost a look and
-- no write; OFFSET 0 keeps it one index descent per bar instead of a scan of the table.
--
-- A bar younger than the settled moment may still be forming, and another writer may have asked later than we did:
-- a forming bar only grows, so one that is behind the stored bar (lower high, higher low, less volume or none) is older news.
WITH incoming AS MATERIALIZED (
    SELECT s.id AS symbol_id, to_timestamp(b.t_ms / 1000.0::float8) AS ts,
           b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades, old.ts IS NULL AS is_new
    FROM unnest(%(symbols)s::text[], %(settled_ms)s::int8[]) WITH ORDINALITY AS n(symbol, settled_ms, asset)
    JOIN trading.symbols s ON s.symbol = n.symbol
    JOIN assetbatch_bars b ON b.asset = n.asset
    LEFT JOIN LATERAL (
        SELECT o.*
        FROM market_data.ohlcv_5m o
        WHERE o.symbol_id = s.id AND o.ts = to_timestamp(b.t_ms / 1000.0::float8)
        OFFSET 0
    ) old ON true
    WHERE old.ts IS NULL
       OR ((b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades)
           IS DISTINCT FROM (old.open, old.high, old.low, old.close, old.volume, old.vwap, old.trades)
           AND (b.t_ms < n.settled_ms
                OR (b.high >= old.high AND b.low <= old.low AND coalesce(b.volume >= old.volume, old.volume IS NULL))))
),
written AS (
    INSERT INTO market_data.ohlcv_5m AS o (symbol_id, ts, open, high, low, close, volume, vwap, trades)
    SELECT i.symbol_id, i.ts, i.open, i.high, i.low, i.close, i.volume, i.vwap, i.trades
    FROM incoming i
    -- Another program may have written the bar since the comparison.
    ON CONFLICT (symbol_id, ts) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, vwap = excluded.vwap, trades = excluded.trades
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM incoming;
