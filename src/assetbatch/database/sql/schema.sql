-- The schema of assetbatch: versions, tables, and what the owner's tables are called.

-- name: load_state
-- Return the version of the schema, what the owner's tables are called and what was configured then, whether a call to the
-- provider was ever recorded, whether the server takes no writes, and which of the owner's tables are missing.
SELECT (SELECT coalesce(max(version), 0) FROM data_sources.assetbatch_migrations),
       recorded.names::text,
       recorded.mappings::text,
       EXISTS (SELECT FROM data_sources.assetbatch_calls),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
       ARRAY(
           SELECT place.name
           FROM unnest(ARRAY['symbols', 'bars', 'bars_1m', 'bars_1d', 'splits', 'providers', 'sync_status'])
               WITH ORDINALITY AS t(key, number)
           CROSS JOIN LATERAL (SELECT coalesce(recorded.names -> t.key, %(own)s::jsonb -> t.key) AS facts) AS of_table
           CROSS JOIN LATERAL (
               SELECT quote_ident(facts ->> 'schema') || '.' || quote_ident(facts ->> 'name') AS name
           ) AS place
           WHERE to_regclass(place.name) IS NULL
           ORDER BY t.number
       )
FROM (SELECT true) AS always
LEFT JOIN data_sources.assetbatch_names AS recorded ON true;

-- name: load_version
-- Return the version of the schema.
SELECT coalesce(max(version), 0) FROM data_sources.assetbatch_migrations;

-- name: find_missing_own_tables
-- Return which of the tables of assetbatch are missing, and the version of the schema that made each.
SELECT t.name, t.version
FROM (VALUES
    ('data_sources.assetbatch_migrations', 1),
    ('data_sources.assetbatch_spans', 2),
    ('data_sources.assetbatch_calls', 3),
    ('data_sources.assetbatch_answers', 4),
    ('data_sources.assetbatch_sync', 6),
    ('data_sources.assetbatch_names', 6),
    ('data_sources.assetbatch_closes', 8),
    ('data_sources.assetbatch_verified', 10),
    ('data_sources.assetbatch_vanished', 10),
    ('data_sources.assetbatch_members', 13),
    ('data_sources.assetbatch_walks', 13),
    ('data_sources.assetbatch_market_days', 13)
) AS t(name, version)
WHERE to_regclass(t.name) IS NULL;

-- name: find_provider
-- Return whether the provider's row exists: no migration can keep anybody from deleting it.
SELECT EXISTS (SELECT FROM {providers} p WHERE {providers.code[p]}::text = {provider} AND {providers.ours[p]});

-- name: load_names
-- Return what the owner's tables are called, and what was configured of that.
SELECT names::text, mappings::text FROM data_sources.assetbatch_names;

-- name: save_names
-- Record what the owner's tables are called, and what was configured of that.
INSERT INTO data_sources.assetbatch_names (names, mappings) VALUES (%(names)s::jsonb, %(mappings)s::jsonb)
ON CONFLICT (only_row) DO UPDATE SET names = excluded.names, mappings = excluded.mappings
WHERE (excluded.names, excluded.mappings)
      IS DISTINCT FROM (assetbatch_names.names, assetbatch_names.mappings);

-- name: lock_migrations
-- Let one program migrate at a time; the lock ends with the transaction. Bounded by lock_timeout.
SELECT pg_advisory_xact_lock(hashtextextended('assetbatch migrations', 0));

-- name: create_migrations_table
-- Create the table of applied migrations, before the first one and in the same transaction.
CREATE TABLE data_sources.assetbatch_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: load_migrations
-- Return the versions that were applied.
SELECT version FROM data_sources.assetbatch_migrations ORDER BY version;

-- name: record_migration
-- Record a migration that was applied.
INSERT INTO data_sources.assetbatch_migrations (version, name) VALUES (%(version)s, %(name)s);
