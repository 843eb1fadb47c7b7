-- The columns of the table of bars that are written: name, type as declared, type without its domain, its modifier,
-- whether NULL is refused. They say whether COPY can be binary, and which values cannot be stored.
SELECT a.attname::text,
       format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = 'market_data.ohlcv_5m'::regclass
  AND a.attname = ANY (ARRAY['symbol_id', 'ts', 'open', 'high', 'low', 'close', 'volume', 'vwap', 'trades'])
  AND NOT a.attisdropped;
