SELECT names::text FROM data_sources.assetbatch_names;
