-- The ledgers of the symbols of a batch, read after their rows were locked.
SELECT {symbols.symbol[s]}::text,
       json_agg(json_build_object(
           'start_ms', (extract(epoch FROM p.start_ts) * 1000)::int8,
           'end_ms', (extract(epoch FROM p.end_ts) * 1000)::int8,
           'state', p.state,
           'asked_ms', (extract(epoch FROM p.asked_at) * 1000)::int8,
           'error', p.error_message,
           'fault', p.fault
       ) ORDER BY p.start_ts)::text
FROM {symbols} s
JOIN data_sources.assetbatch_spans p ON p.symbol_id = {symbols.id[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
GROUP BY {symbols.symbol[s]};
