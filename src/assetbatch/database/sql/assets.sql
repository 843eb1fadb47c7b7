-- Assets: what is stored of each symbol, and its newest price.

-- name: load
-- Load what is known of each symbol, in one query. The last bar is one descent of the index of the bars, whatever the
-- number of bars. The program parses last_update, since foreign garbage would abort a cast here. What decides comes from
-- a table of ours. The row of sync_status may be anybody's: its word is shown. An aggregate of no interval costs ten times
-- as much as the look whether there is one.
SELECT {symbols.symbol[s]}::text,
       ({symbols.metadata[s]} -> 'last_update')::text,
       (extract(epoch FROM m.as_of) * 1000)::int8,
       (extract(epoch FROM m.last_success_at) * 1000)::int8,
       m.status,
       (extract(epoch FROM m.status_at) * 1000)::int8,
       m.error_message,
       {sync_status.sync_status[d]}::text,
       (extract(epoch FROM bar.ts{bars.ts.zone}) * 1000)::int8,
       CASE WHEN EXISTS (SELECT FROM data_sources.assetbatch_spans p WHERE p.symbol_id = {symbols.id[s]}) THEN (
           SELECT json_agg(json_build_object(
               'start_ms', (extract(epoch FROM p.start_ts) * 1000)::int8,
               'end_ms', (extract(epoch FROM p.end_ts) * 1000)::int8,
               'state', p.state,
               'asked_ms', (extract(epoch FROM p.asked_at) * 1000)::int8,
               'error', p.error_message,
               'fault', p.fault
           ) ORDER BY p.start_ts)::text
           FROM data_sources.assetbatch_spans p
           WHERE p.symbol_id = {symbols.id[s]}
       ) END,
       (extract(epoch FROM m.rejected_at) * 1000)::int8,
       (extract(epoch FROM m.rejected_since) * 1000)::int8,
       m.bar_size,
       m.listing::text,
       (extract(epoch FROM m.coarse_from) * 1000)::int8,
       (extract(epoch FROM m.session_from) * 1000)::int8
FROM {symbols} s
LEFT JOIN data_sources.assetbatch_sync m ON m.symbol_id = {symbols.id[s]}
LEFT JOIN {sync_status} d
       ON {sync_status.ticker_id[d]} = {sync_status.of[s]} AND {sync_status.ours[d]}
      AND {sync_status.provider_id[d]} = (SELECT {providers.id[p]} FROM {providers} p
                                          WHERE {providers.code[p]} = {provider} AND {providers.ours[p]})
LEFT JOIN LATERAL ({part[bars.newest]}) bar ON true
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};

-- name: lock
-- Lock the rows of a batch in the order of their ids: two writers that meet wait for each other, but never in a circle.
-- NO KEY, so that foreign keys of others can still be checked meanwhile. Return the last success of each row too: of two
-- prices of one moment the one that was asked for later counts. A success ahead of both clocks, this server's and the one
-- that dates what is saved, says nothing.
SELECT {symbols.symbol[s]}::text, ({symbols.metadata[s]} -> 'last_update')::text,
       CASE WHEN m.last_success_at BETWEEN 'epoch' AND
                 greatest(clock_timestamp(), to_timestamp(%(now_ms)s::int8 / 1000.0)) + interval '1 minute'
            THEN (extract(epoch FROM m.last_success_at) * 1000)::int8 END
FROM {symbols} s
LEFT JOIN data_sources.assetbatch_sync m ON m.symbol_id = {symbols.id[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
ORDER BY {symbols.id[s]}
FOR NO KEY UPDATE OF s;

-- name: find
-- Return which of the symbols have a row.
SELECT {symbols.symbol[s]}::text FROM {symbols} s WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};

-- name: save_prices
-- Set metadata.last_update and keep every other key. Where metadata is no object (an array, a word), nothing can be added
-- to it: it is kept under the key "previous" of a new one. JSON null counts as nothing. Return with each row whether the
-- price is in it: a trigger of the platform's may have put it aside.
UPDATE {symbols} s
SET {symbols.metadata} = CASE
        WHEN {symbols.metadata[s]} IS NULL THEN '{{}}'::jsonb
        WHEN jsonb_typeof({symbols.metadata[s]}::jsonb) = 'object' THEN {symbols.metadata[s]}::jsonb
        WHEN jsonb_typeof({symbols.metadata[s]}::jsonb) = 'null' THEN '{{}}'::jsonb
        ELSE jsonb_build_object('previous', {symbols.metadata[s]}::jsonb)
    END || jsonb_build_object('last_update', n.last_update){symbols.touched}
FROM jsonb_to_recordset(%(prices)s::jsonb) AS n(symbol text, last_update jsonb)
WHERE {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
RETURNING n.symbol, coalesce({symbols.metadata[s]}::jsonb -> 'last_update' @> n.last_update, false);
