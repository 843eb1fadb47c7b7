-- When the outcome of a call was last recorded: every call for prices leaves one, a failure too, and every answer
-- with bars leaves its mark in the ledger (not asked_at: a span that grows keeps the moment of its oldest part).
-- A span that was never asked for, as of a closed market between two pages, is no call.
SELECT (extract(epoch FROM greatest(
    (SELECT max(d.updated_at)
     FROM data_sources.data_sync_status d
     WHERE d.provider_id = (SELECT p.id FROM data_sources.api_providers p WHERE p.code = 'polygon')
       AND d.updated_at < 'infinity'),
    (SELECT max(p.updated_at) FROM data_sources.assetbatch_spans p WHERE p.state <> 'wanted' AND p.asked_at IS NOT NULL)
)) * 1000)::int8;
