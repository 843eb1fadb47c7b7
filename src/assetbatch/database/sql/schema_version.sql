-- How far the schema is.
SELECT coalesce(max(version), 0) FROM data_sources.assetbatch_migrations;
