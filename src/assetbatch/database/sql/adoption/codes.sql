SELECT DISTINCT {providers.code[p]}::text FROM {providers} p
WHERE {providers.code[p]} IS NOT NULL AND {providers.ours[p]} ORDER BY 1 LIMIT 1000;
