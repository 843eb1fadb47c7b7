-- Write the bars that are new or differ. The comparison comes first, so that the same bars again cost a look and
-- no write; OFFSET 0 keeps it one index descent per bar instead of a scan of the table.
--
-- A bar younger than the settled moment may still be forming, and another writer may have asked later than we did:
-- a forming bar only grows, so one that is behind the stored bar (lower high, higher low, less volume or none) is older news.
WITH incoming AS MATERIALIZED (
    SELECT {bars.of[s]} AS symbol_id, to_timestamp(b.t_ms / 1000.0::float8){bars.ts.zone} AS ts,
           b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades, old.is_there IS NULL AS is_new
    FROM unnest(%(symbols)s::text[], %(settled_ms)s::int8[]) WITH ORDINALITY AS n(symbol, settled_ms, asset)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    JOIN assetbatch_bars b ON b.asset = n.asset
    LEFT JOIN LATERAL (
        SELECT true AS is_there, o.*
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} = to_timestamp(b.t_ms / 1000.0::float8){bars.ts.zone}
        OFFSET 0
    ) old ON true
    WHERE old.is_there IS NULL
       OR ((b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades) IS DISTINCT FROM ({bars.all_values[old]})
           AND (b.t_ms < n.settled_ms
                OR (b.high >= {bars.high[old]} AND b.low <= {bars.low[old]}
                    AND coalesce(b.volume >= {bars.volume[old]}, {bars.volume[old]} IS NULL))))
),
written AS (
    INSERT INTO {bars} AS o ({bars.symbol_id}, {bars.ts}, {bars.value_columns}{bars.constant_columns})
    SELECT i.symbol_id, i.ts, {bars.values[i]}{bars.constant_values}
    FROM incoming i
    -- Another program may have written the bar since the comparison.
    ON CONFLICT ({bars.symbol_id}, {bars.ts}{bars.constant_key}) DO UPDATE
    SET {bars.overwritten}
    RETURNING 1
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new), (SELECT count(*) FROM written) FROM incoming;
