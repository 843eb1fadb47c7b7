-- Tables that columns of these names refer to elsewhere in the schemas of the four tables: ohlcv_1h.symbol_id says whose ids
-- those of ohlcv_5m are, which has no foreign key.
SELECT DISTINCT a.attname::text, fn.nspname::text, fc.relname::text
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
JOIN pg_class fc ON fc.oid = f.confrelid
JOIN pg_namespace fn ON fn.oid = fc.relnamespace
WHERE f.contype = 'f' AND cardinality(f.conkey) = 1 AND NOT c.relispartition AND NOT fc.relispartition
  AND n.nspname = ANY (%(schemas)s::text[]) AND c.relname !~ '^assetbatch_'
ORDER BY 1, 2, 3;
