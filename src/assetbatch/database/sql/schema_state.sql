-- How far the schema is, what the owner's tables are called and what was configured then, whether a call to the provider
-- was ever recorded, and whether the server takes no writes.
SELECT (SELECT coalesce(max(version), 0) FROM data_sources.assetbatch_migrations),
       (SELECT names::text FROM data_sources.assetbatch_names),
       (SELECT mappings::text FROM data_sources.assetbatch_names),
       EXISTS (SELECT FROM data_sources.assetbatch_calls),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool;
