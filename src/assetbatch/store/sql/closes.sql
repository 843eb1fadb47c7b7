-- The closes of the newest day of stored bars of each symbol, thinned: the newest bar of each `every`.
-- Reads at most 288 rows a symbol, by the primary key.
SELECT s.symbol, (extract(epoch FROM b.ts) * 1000)::bigint, b.close
FROM trading.symbols s
CROSS JOIN LATERAL (
    SELECT latest.ts, latest.close, row_number() OVER (ORDER BY latest.ts DESC) - 1 AS place
    FROM (
        SELECT o.ts, o.close FROM market_data.ohlcv_5m o WHERE o.symbol_id = s.id ORDER BY o.ts DESC LIMIT 288
    ) AS latest
) AS b
WHERE s.symbol = ANY (%(symbols)s) AND mod(b.place, %(every)s) = 0
ORDER BY s.symbol, b.ts
