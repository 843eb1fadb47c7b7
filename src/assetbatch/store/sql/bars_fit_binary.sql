-- Whether the columns have the types of our own table, so that COPY can take them in its binary format.
SELECT bool_and(a.atttypid = (CASE WHEN a.attname IN ('symbol_id', 'trades') THEN 'int8'
                                   WHEN a.attname = 'ts' THEN 'timestamptz'
                                   ELSE 'float8' END)::regtype)
FROM pg_attribute a
WHERE a.attrelid = 'market_data.ohlcv_5m'::regclass
  AND a.attname = ANY (ARRAY['symbol_id', 'ts', 'open', 'high', 'low', 'close', 'volume', 'vwap', 'trades']);
