-- Which of the tables are not there, and the version of the schema that made each.
SELECT t.name, t.version
FROM (VALUES
    ('data_sources.assetbatch_migrations', 1),
    ('trading.symbols', 1),
    ('market_data.ohlcv_5m', 1),
    ('data_sources.api_providers', 1),
    ('data_sources.data_sync_status', 1),
    ('data_sources.assetbatch_spans', 2),
    ('data_sources.assetbatch_calls', 3),
    ('data_sources.assetbatch_rejections', 4),
    ('data_sources.assetbatch_answers', 4)
) AS t(name, version)
WHERE to_regclass(t.name) IS NULL;
