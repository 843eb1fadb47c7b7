INSERT INTO data_sources.assetbatch_migrations (version, name) VALUES (%(version)s, %(name)s);
