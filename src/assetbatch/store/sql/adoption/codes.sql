SELECT DISTINCT p.{providers.code}::text FROM {providers} p WHERE p.{providers.code} IS NOT NULL{ours} ORDER BY 1 LIMIT 1000;
