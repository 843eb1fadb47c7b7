-- How far the schema is, whether the vendor's row is there (a migration cannot keep anybody from deleting it), and
-- whether the server takes no writes.
SELECT (SELECT coalesce(max(version), 0) FROM data_sources.assetbatch_migrations),
       EXISTS (SELECT FROM data_sources.api_providers WHERE code::text = 'polygon'),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool;
