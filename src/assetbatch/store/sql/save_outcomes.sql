-- Only a success moves last_sync_timestamp; every outcome moves updated_at, which says when it was learned.
-- The same outcome of the same moment again writes nothing.
-- The types of the columns are taken from the table (an enum of states); a varchar that is too short for the
-- message gets the beginning of it. Symbols with the same outcome come together: nearly all have succeeded.
WITH outcome AS MATERIALIZED (
    SELECT n.symbols, n.succeeded, typed.sync_status, typed.error_message
    FROM jsonb_to_recordset(%(outcomes)s::jsonb)
         AS n(symbols text[], succeeded boolean, status text, error text)
    CROSS JOIN LATERAL jsonb_populate_record(
        NULL::data_sources.data_sync_status,
        jsonb_build_object('sync_status', n.status, 'error_message', left(n.error, (
            SELECT CASE WHEN a.atttypmod > 0 THEN a.atttypmod - 4 ELSE %(error_limit)s END
            FROM pg_attribute a
            WHERE a.attrelid = 'data_sources.data_sync_status'::regclass AND a.attname = 'error_message'
        )))
    ) AS typed
)
INSERT INTO data_sources.data_sync_status AS d
    (ticker_id, provider_id, last_sync_timestamp, sync_status, error_message, updated_at)
SELECT s.id,
       (SELECT p.id FROM data_sources.api_providers p WHERE p.code = 'polygon'),
       CASE WHEN o.succeeded THEN to_timestamp(%(now_ms)s / 1000.0) END,
       o.sync_status,
       o.error_message,
       to_timestamp(%(now_ms)s / 1000.0)
FROM outcome o
CROSS JOIN LATERAL unnest(o.symbols) AS of_outcome(symbol)
JOIN trading.symbols s ON s.symbol = of_outcome.symbol
ORDER BY s.id
ON CONFLICT (ticker_id, provider_id) DO UPDATE
SET last_sync_timestamp = coalesce(excluded.last_sync_timestamp, d.last_sync_timestamp),
    sync_status = excluded.sync_status,
    error_message = excluded.error_message,
    updated_at = excluded.updated_at
WHERE (excluded.updated_at, excluded.sync_status, excluded.error_message)
      IS DISTINCT FROM (d.updated_at, d.sync_status, d.error_message);
