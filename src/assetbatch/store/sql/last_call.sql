-- When the outcome of a call was last recorded; every call leaves one, a failure too.
SELECT (extract(epoch FROM max(d.updated_at)) * 1000)::int8
FROM data_sources.data_sync_status d
WHERE d.provider_id = (SELECT p.id FROM data_sources.api_providers p WHERE p.code = 'polygon')
  AND d.updated_at < 'infinity';
