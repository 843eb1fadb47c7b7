-- The rows of a batch, locked in the order of their ids: two writers that meet wait for each other, but never
-- in a circle. NO KEY, so that foreign keys of others can still be checked meanwhile. With the last success of each:
-- of two prices of one moment the one that was asked for later counts. One ahead of both clocks, this server's and the
-- one that dates what is saved, says nothing.
SELECT s.symbol::text, (s.metadata -> 'last_update')::text,
       CASE WHEN d.last_sync_timestamp BETWEEN 'epoch' AND
                 greatest(clock_timestamp(), to_timestamp(%(now_ms)s::int8 / 1000.0)) + interval '1 minute'
            THEN (extract(epoch FROM d.last_sync_timestamp) * 1000)::int8 END
FROM trading.symbols s
LEFT JOIN data_sources.data_sync_status d
       ON d.ticker_id = s.id
      AND d.provider_id = (SELECT p.id FROM data_sources.api_providers p WHERE p.code = 'polygon')
WHERE s.symbol = ANY (%(symbols)s::text[])
ORDER BY s.id
FOR NO KEY UPDATE OF s;
