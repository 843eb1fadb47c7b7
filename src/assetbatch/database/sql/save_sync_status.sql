-- The platform's own row of what has become of a symbol, for its readers. Only a success moves last_sync_timestamp; every
-- outcome moves updated_at, which says when it was learned. The same outcome of the same moment again writes nothing.
-- The types of the columns are taken from the table (an enum of states); a varchar that is too short for the
-- message gets the beginning of it. Symbols with the same outcome come together: nearly all have succeeded.
WITH outcome AS MATERIALIZED (
    SELECT n.symbols, n.succeeded, {sync_status.sync_status[typed]} AS sync_status,
           {sync_status.error_message[typed]} AS error_message
    FROM jsonb_to_recordset(%(outcomes)s::jsonb)
         AS n(symbols text[], succeeded boolean, platform_status text, error text)
    CROSS JOIN LATERAL jsonb_populate_record(
        NULL::{sync_status},
        jsonb_build_object({sync_status.sync_status.literal}, n.platform_status, {sync_status.error_message.literal}, left(n.error, (
            SELECT CASE WHEN a.atttypmod > 0 THEN a.atttypmod - 4 ELSE %(error_limit)s END
            FROM pg_attribute a
            WHERE a.attrelid = {sync_status.regclass} AND a.attname = {sync_status.error_message.literal}
        )))
    ) AS typed
),
target AS MATERIALIZED (
    SELECT of_outcome.symbol, {symbols.id[s]} AS symbol_id, {sync_status.of[s]} AS ticker_id,
           CASE WHEN o.succeeded THEN to_timestamp(%(now_ms)s / 1000.0){sync_status.last_sync_timestamp.zone} END AS synced_at,
           o.sync_status, o.error_message,
           to_timestamp(%(now_ms)s / 1000.0){sync_status.updated_at.zone} AS updated_at,
           (SELECT {providers.id[p]} FROM {providers} p
            WHERE {providers.code[p]} = {provider} AND {providers.ours[p]}) AS provider_id
    FROM outcome o
    CROSS JOIN LATERAL unnest(o.symbols) AS of_outcome(symbol)
    JOIN {symbols} s ON {symbols.symbol[s]} = of_outcome.symbol AND {symbols.ours[s]}
),
written AS (
    INSERT INTO {sync_status} AS d
        ({sync_status.ticker_id}, {sync_status.provider_id}, {sync_status.last_sync_timestamp},
         {sync_status.sync_status}, {sync_status.error_message}, {sync_status.updated_at}{sync_status.constant_columns})
    SELECT t.ticker_id, t.provider_id, t.synced_at, t.sync_status, t.error_message, t.updated_at{sync_status.constant_values}
    FROM target t
    ORDER BY t.symbol_id
    ON CONFLICT ({sync_status.ticker_id}, {sync_status.provider_id}{sync_status.constant_key}) DO UPDATE
    SET {sync_status.last_sync_timestamp} =
            coalesce(excluded.{sync_status.last_sync_timestamp}, d.{sync_status.last_sync_timestamp}),
        {sync_status.sync_status} = excluded.{sync_status.sync_status},
        {sync_status.error_message} = excluded.{sync_status.error_message},
        {sync_status.updated_at} = excluded.{sync_status.updated_at}
    WHERE (excluded.{sync_status.updated_at}, excluded.{sync_status.sync_status}, excluded.{sync_status.error_message})
          IS DISTINCT FROM (d.{sync_status.updated_at}, d.{sync_status.sync_status}, d.{sync_status.error_message})
    RETURNING {sync_status.ticker_id[d]} AS ticker_id
)
-- What a trigger or a policy has left out: neither written now, nor there already as it should be.
SELECT t.symbol
FROM target t
WHERE NOT EXISTS (SELECT FROM written w WHERE w.ticker_id = t.ticker_id)
  AND NOT EXISTS (
    SELECT FROM {sync_status} d
    WHERE {sync_status.ticker_id[d]} = t.ticker_id AND {sync_status.provider_id[d]} = t.provider_id AND {sync_status.ours[d]}
      AND (t.updated_at, t.sync_status, t.error_message)
          IS NOT DISTINCT FROM ({sync_status.updated_at[d]}, {sync_status.sync_status[d]}, {sync_status.error_message[d]})
  );
