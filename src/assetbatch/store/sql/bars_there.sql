-- Whether any bar lies between the first and the last of the bars that have come for a symbol: one descent of the
-- index each. Where there is none, they can be copied straight into the table.
SELECT n.symbol, s.id, EXISTS (
    SELECT FROM market_data.ohlcv_5m o
    WHERE o.symbol_id = s.id
      AND o.ts BETWEEN to_timestamp(n.first_ms / 1000.0::float8) AND to_timestamp(n.last_ms / 1000.0::float8)
)
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, first_ms int8, last_ms int8)
JOIN trading.symbols s ON s.symbol = n.symbol;
