-- The rights that a cycle needs and this role lacks, as GRANT writes them. Tables that are missing are another
-- matter: of them nothing is said. A temporary table is what new bars are merged from.
WITH wanted (schema, name, privileges) AS (VALUES
    ({symbols.schema}, {symbols.table}, 'SELECT UPDATE'),
    ({bars.schema}, {bars.table}, 'SELECT INSERT UPDATE'),
    ({providers.schema}, {providers.table}, 'SELECT'),
    ({sync_status.schema}, {sync_status.table}, 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_spans', 'SELECT INSERT UPDATE DELETE'),
    ('data_sources', 'assetbatch_calls', 'SELECT INSERT'),
    ('data_sources', 'assetbatch_answers', 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_sync', 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_names', 'SELECT'),
    ('data_sources', 'assetbatch_migrations', 'SELECT')
)
SELECT privilege || ' ON ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM wanted
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
CROSS JOIN LATERAL unnest(string_to_array(wanted.privileges, ' ')) AS privilege
WHERE NOT has_table_privilege(c.oid, privilege)
UNION ALL
SELECT 'USAGE ON SCHEMA ' || quote_ident(n.nspname)
FROM pg_namespace n
WHERE n.nspname IN (SELECT schema FROM wanted) AND NOT has_schema_privilege(n.oid, 'USAGE')
UNION ALL
SELECT 'TEMPORARY ON DATABASE ' || quote_ident(current_database())
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
