-- What is known of each symbol, in one query. The last bar is one descent of the index on (symbol_id, ts),
-- whatever the number of bars. last_update is parsed by the program, since foreign garbage would abort a cast here.
SELECT s.symbol::text,
       (s.metadata -> 'last_update')::text,
       CASE WHEN isfinite(d.last_sync_timestamp)
            THEN (extract(epoch FROM d.last_sync_timestamp) * 1000)::int8 END,
       d.sync_status::text,
       CASE WHEN isfinite(d.updated_at) THEN (extract(epoch FROM d.updated_at) * 1000)::int8 END,
       d.error_message::text,
       (extract(epoch FROM bar.ts) * 1000)::int8,
       ledger.spans,
       (extract(epoch FROM refused.rejected_at) * 1000)::int8,
       (extract(epoch FROM refused.since) * 1000)::int8
FROM trading.symbols s
LEFT JOIN data_sources.data_sync_status d
       ON d.ticker_id = s.id
      AND d.provider_id = (SELECT p.id FROM data_sources.api_providers p WHERE p.code = 'polygon')
LEFT JOIN data_sources.assetbatch_rejections refused
       ON refused.symbol_id = s.id
      AND refused.rejected_at > '-infinity'
      AND (d.updated_at IS NULL OR refused.rejected_at >= d.updated_at)
LEFT JOIN LATERAL (
    SELECT o.ts
    FROM market_data.ohlcv_5m o
    WHERE o.symbol_id = s.id AND o.ts > '-infinity' AND o.ts < 'infinity'
    ORDER BY o.ts DESC
    LIMIT 1
) bar ON true
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
        'start_ms', (extract(epoch FROM p.start_ts) * 1000)::int8,
        'end_ms', (extract(epoch FROM p.end_ts) * 1000)::int8,
        'state', p.state,
        'asked_ms', (extract(epoch FROM p.asked_at) * 1000)::int8,
        'error', p.error_message,
        'fault', p.fault
    ) ORDER BY p.start_ts)::text AS spans
    FROM data_sources.assetbatch_spans p
    WHERE p.symbol_id = s.id
) ledger ON true
WHERE s.symbol = ANY (%(symbols)s::text[]);
