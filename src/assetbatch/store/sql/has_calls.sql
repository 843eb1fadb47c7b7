-- Whether a call to the provider was ever recorded.
SELECT EXISTS (SELECT FROM data_sources.assetbatch_calls);
