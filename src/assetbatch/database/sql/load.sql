-- What is known of each symbol, in one query. The last bar is one descent of the index of the bars,
-- whatever the number of bars. last_update is parsed by the program, since foreign garbage would abort a cast here.
-- What decides comes from a table of ours; the row of sync_status may be anybody's, its word is shown.
SELECT {symbols.symbol[s]}::text,
       ({symbols.metadata[s]} -> 'last_update')::text,
       (extract(epoch FROM m.as_of) * 1000)::int8,
       (extract(epoch FROM m.last_success_at) * 1000)::int8,
       m.status,
       (extract(epoch FROM m.status_at) * 1000)::int8,
       m.error_message,
       {sync_status.sync_status[d]}::text,
       (extract(epoch FROM bar.ts{bars.ts.zone}) * 1000)::int8,
       ledger.spans,
       (extract(epoch FROM m.rejected_at) * 1000)::int8,
       (extract(epoch FROM m.rejected_since) * 1000)::int8
FROM {symbols} s
LEFT JOIN data_sources.assetbatch_sync m ON m.symbol_id = {symbols.id[s]}
LEFT JOIN {sync_status} d
       ON {sync_status.ticker_id[d]} = {sync_status.of[s]} AND {sync_status.ours[d]}
      AND {sync_status.provider_id[d]} = (SELECT {providers.id[p]} FROM {providers} p
                                          WHERE {providers.code[p]} = {provider} AND {providers.ours[p]})
LEFT JOIN LATERAL (
    SELECT {bars.ts[o]} AS ts
    FROM {bars} o
    WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
      AND {bars.ts[o]} > '-infinity' AND {bars.ts[o]} < 'infinity'
    ORDER BY {bars.ts[o]} DESC
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
    WHERE p.symbol_id = {symbols.id[s]}
) ledger ON true
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};
