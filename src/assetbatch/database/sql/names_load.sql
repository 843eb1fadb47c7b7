SELECT names::text, mappings::text FROM data_sources.assetbatch_names;
