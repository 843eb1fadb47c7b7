-- What `doctor` asks of the server and the role.

-- name: load_facts
-- Return the server's version number, its time in Unix ms, and whether it takes no writes.
SELECT current_setting('server_version_num')::int,
       floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool;

-- name: may_read_names
-- Return whether this role may read what the tables are called: a question to a table that it may not see would be an
-- error.
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'data_sources' AND c.relname = 'assetbatch_names'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
);

-- name: find_missing_rights
-- Return the rights that a cycle needs and this role lacks, as GRANT writes them. Of missing tables nothing is said.
-- A temporary table is what new bars are merged from.
WITH wanted (schema, name, privileges) AS (VALUES
    ({symbols.schema}, {symbols.table}, 'SELECT UPDATE'),
    ({bars.schema}, {bars.table}, 'SELECT INSERT UPDATE'),
    ({bars_1m.schema}, {bars_1m.table}, 'SELECT INSERT UPDATE'),
    ({bars_1d.schema}, {bars_1d.table}, 'SELECT INSERT UPDATE'),
    ({splits.schema}, {splits.table}, 'SELECT INSERT UPDATE'),
    ({providers.schema}, {providers.table}, 'SELECT'),
    ({sync_status.schema}, {sync_status.table}, 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_spans', 'SELECT INSERT UPDATE DELETE'),
    ('data_sources', 'assetbatch_calls', 'SELECT INSERT'),
    ('data_sources', 'assetbatch_answers', 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_sync', 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_closes', 'SELECT INSERT UPDATE'),
    ('data_sources', 'assetbatch_verified', 'SELECT INSERT UPDATE DELETE'),
    ('data_sources', 'assetbatch_vanished', 'SELECT INSERT UPDATE DELETE'),
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
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY');

-- name: has_policies
-- Return whether row level security holds for this role on the table of symbols.
SELECT row_security_active({symbols.text});

-- name: find_updatable
-- Return the rows that could be updated now: neither a policy nor another transaction keeps them.
SELECT {symbols.symbol[s]}::text FROM {symbols} s WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
FOR NO KEY UPDATE SKIP LOCKED;
