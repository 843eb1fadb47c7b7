-- The rights that a cycle needs and this role lacks, as GRANT writes them. Tables that are missing are another
-- matter: of them nothing is said. A temporary table is what new bars are merged from.
SELECT wanted.privilege || ' ON ' || wanted.name
FROM (VALUES
    ('trading.symbols', 'SELECT'), ('trading.symbols', 'UPDATE'),
    ('market_data.ohlcv_5m', 'SELECT'), ('market_data.ohlcv_5m', 'INSERT'), ('market_data.ohlcv_5m', 'UPDATE'),
    ('data_sources.api_providers', 'SELECT'),
    ('data_sources.data_sync_status', 'SELECT'), ('data_sources.data_sync_status', 'INSERT'),
    ('data_sources.data_sync_status', 'UPDATE'),
    ('data_sources.assetbatch_spans', 'SELECT'), ('data_sources.assetbatch_spans', 'INSERT'),
    ('data_sources.assetbatch_spans', 'UPDATE'), ('data_sources.assetbatch_spans', 'DELETE'),
    ('data_sources.assetbatch_calls', 'SELECT'), ('data_sources.assetbatch_calls', 'INSERT'),
    ('data_sources.assetbatch_rejections', 'SELECT'), ('data_sources.assetbatch_rejections', 'INSERT'),
    ('data_sources.assetbatch_rejections', 'UPDATE'),
    ('data_sources.assetbatch_answers', 'SELECT'), ('data_sources.assetbatch_answers', 'INSERT'),
    ('data_sources.assetbatch_answers', 'UPDATE'),
    ('data_sources.assetbatch_migrations', 'SELECT')
) AS wanted (name, privilege)
JOIN pg_namespace n ON n.nspname = split_part(wanted.name, '.', 1)
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = split_part(wanted.name, '.', 2)
WHERE NOT has_table_privilege(c.oid, wanted.privilege)
UNION ALL
SELECT 'USAGE ON SCHEMA ' || n.nspname
FROM pg_namespace n
WHERE n.nspname IN ('trading', 'market_data', 'data_sources') AND NOT has_schema_privilege(n.oid, 'USAGE')
UNION ALL
SELECT 'TEMPORARY ON DATABASE ' || quote_ident(current_database())
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
