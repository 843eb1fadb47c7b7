-- The symbols that were refused now; of refusals in a row since the last success, `since` is the first.
INSERT INTO data_sources.assetbatch_rejections AS r (symbol_id, rejected_at, since, error)
SELECT s.id, to_timestamp(%(now_ms)s / 1000.0), to_timestamp(%(now_ms)s / 1000.0), n.error
FROM jsonb_to_recordset(%(rejections)s::jsonb) AS n(symbol text, error text)
JOIN trading.symbols s ON s.symbol = n.symbol
ORDER BY s.id
ON CONFLICT (symbol_id) DO UPDATE
SET rejected_at = excluded.rejected_at,
    error = excluded.error,
    since = CASE
        WHEN r.since <= excluded.rejected_at AND NOT EXISTS (
            SELECT FROM data_sources.data_sync_status d
            WHERE d.ticker_id = r.symbol_id AND d.last_sync_timestamp > r.since
              AND d.provider_id = (SELECT p.id FROM data_sources.api_providers p WHERE p.code = 'polygon')
        ) THEN r.since
        ELSE excluded.since
    END;
