SELECT version FROM data_sources.assetbatch_migrations ORDER BY version;
