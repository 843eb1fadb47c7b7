-- Every column of the owner's tables: type as declared, type without its domain, its modifier, whether NULL is refused,
-- whether it is filled in where nothing is given, and whether nothing can be given.
SELECT n.nspname || '.' || c.relname,
       a.attname::text,
       format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
       a.attgenerated <> '' OR a.attidentity = 'a'
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE (n.nspname, c.relname) IN (
    ('trading', 'symbols'), ('market_data', 'ohlcv_5m'), ('data_sources', 'api_providers'),
    ('data_sources', 'data_sync_status'))
ORDER BY 1, a.attnum;
