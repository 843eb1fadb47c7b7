-- The starts of the stored bars within some stretches of symbols.
SELECT n.symbol, (extract(epoch FROM o.ts) * 1000)::int8
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, first_ms int8, last_ms int8)
JOIN trading.symbols s ON s.symbol = n.symbol
JOIN market_data.ohlcv_5m o
  ON o.symbol_id = s.id
 AND o.ts BETWEEN to_timestamp(n.first_ms / 1000.0::float8) AND to_timestamp(n.last_ms / 1000.0::float8);
