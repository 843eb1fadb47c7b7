-- What the tables are called, as the last `init` has found or made them.
SELECT names::text FROM data_sources.assetbatch_names;
