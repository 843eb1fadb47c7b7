-- The rows of a batch, locked in the order of their ids: two writers that meet wait for each other, but never
-- in a circle. NO KEY, so that foreign keys of others can still be checked meanwhile. With the last success of each:
-- of two prices of one moment the one that was asked for later counts. One ahead of both clocks, this server's and the
-- one that dates what is saved, says nothing.
SELECT {symbols.symbol[s]}::text, ({symbols.metadata[s]} -> 'last_update')::text,
       CASE WHEN m.last_success_at BETWEEN 'epoch' AND
                 greatest(clock_timestamp(), to_timestamp(%(now_ms)s::int8 / 1000.0)) + interval '1 minute'
            THEN (extract(epoch FROM m.last_success_at) * 1000)::int8 END
FROM {symbols} s
LEFT JOIN data_sources.assetbatch_sync m ON m.symbol_id = {symbols.id[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
ORDER BY {symbols.id[s]}
FOR NO KEY UPDATE OF s;
