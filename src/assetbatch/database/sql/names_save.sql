-- What the owner's tables are called, and what was configured of that.
INSERT INTO data_sources.assetbatch_names (names, mappings) VALUES (%(names)s::jsonb, %(mappings)s::jsonb)
ON CONFLICT (only_row) DO UPDATE SET names = excluded.names, mappings = excluded.mappings
WHERE (excluded.names, excluded.mappings)
      IS DISTINCT FROM (assetbatch_names.names, assetbatch_names.mappings);
