INSERT INTO data_sources.assetbatch_names (only_row, names, mappings)
VALUES (true, %(names)s::jsonb, %(mappings)s::jsonb)
ON CONFLICT (only_row) DO UPDATE SET names = excluded.names, mappings = excluded.mappings
WHERE (excluded.names, excluded.mappings) IS DISTINCT FROM (assetbatch_names.names, assetbatch_names.mappings);
