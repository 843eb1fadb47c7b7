-- Which of the tables of assetbatch are not there, and the version of the schema that made each.
SELECT t.name, t.version
FROM (VALUES
    ('data_sources.assetbatch_migrations', 1),
    ('data_sources.assetbatch_spans', 2),
    ('data_sources.assetbatch_calls', 3),
    ('data_sources.assetbatch_answers', 4),
    ('data_sources.assetbatch_sync', 6),
    ('data_sources.assetbatch_names', 6)
) AS t(name, version)
WHERE to_regclass(t.name) IS NULL;
