-- The columns that a constraint of the table of bars speaks of.
SELECT a.attname::text
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
WHERE c.conrelid = 'market_data.ohlcv_5m'::regclass AND c.conname = %(name)s;
