SELECT to_regclass('data_sources.assetbatch_names') IS NOT NULL;
