-- What has become of the refreshes of each symbol, and whether a call was ever made.

-- name: save
-- Record what has become of symbols, in our own table and in the platform's; return the symbols of which the platform's
-- table has left out a row. Symbols with the same outcome come together, each with the moment of the price that came; a
-- status of null is a price without an outcome.
--
-- Our own row decides when a symbol is due again: how its refresh went, when, and how new its price was. Of rejections in a
-- row since the last success, rejected_since is the first. The platform's row says the same to its readers, but anybody may
-- write that one. Only a success moves its last_sync_timestamp. Every outcome moves updated_at, which says when it was
-- learned. The same outcome of the same moment again writes nothing. The types of the columns are taken from the table (an
-- enum of states). A varchar that is too short for the message gets the beginning of it.
WITH outcome AS MATERIALIZED (
    SELECT n.symbols, n.as_of_ms, n.succeeded, n.rejected, n.for_readers, n.status, n.error,
           {sync_status.sync_status[typed]} AS platform_status, {sync_status.error_message[typed]} AS platform_error
    FROM jsonb_to_recordset(%(outcomes)s::jsonb)
         AS n(symbols text[], as_of_ms int8[], succeeded boolean, rejected boolean, for_readers boolean, status text,
              platform_status text, error text)
    CROSS JOIN LATERAL jsonb_populate_record(
        NULL::{sync_status},
        jsonb_build_object({sync_status.sync_status.literal}, n.platform_status, {sync_status.error_message.literal}, left(n.error, (
            SELECT CASE WHEN a.atttypmod > 0 THEN a.atttypmod - 4 ELSE %(error_limit)s END
            FROM pg_attribute a
            WHERE a.attrelid = {sync_status.regclass} AND a.attname = {sync_status.error_message.literal}
        )))
    ) AS typed
),
learned AS MATERIALIZED (
    SELECT to_timestamp(%(now_ms)s / 1000.0) AS at,
           (SELECT {providers.id[p]} FROM {providers} p
            WHERE {providers.code[p]} = {provider} AND {providers.ours[p]}) AS provider_id
),
target AS MATERIALIZED (
    SELECT one.symbol, {symbols.id[s]} AS symbol_id, {sync_status.of[s]} AS ticker_id,
           to_timestamp(one.as_of_ms / 1000.0::float8) AS as_of,
           o.succeeded, o.rejected, o.for_readers, o.status, o.error, o.platform_status, o.platform_error
    FROM outcome o
    CROSS JOIN LATERAL unnest(o.symbols, o.as_of_ms) AS one(symbol, as_of_ms)
    JOIN {symbols} s ON {symbols.symbol[s]} = one.symbol AND {symbols.ours[s]}
),
own AS (
    INSERT INTO data_sources.assetbatch_sync AS m
        (symbol_id, as_of, last_success_at, status, status_at, error_message, rejected_at, rejected_since)
    SELECT t.symbol_id,
           t.as_of,
           CASE WHEN t.succeeded THEN l.at END,
           t.status,
           CASE WHEN t.status IS NOT NULL THEN l.at END,
           t.error,
           CASE WHEN t.rejected THEN l.at END,
           CASE WHEN t.rejected THEN l.at END
    FROM target t, learned l
    ORDER BY t.symbol_id
    ON CONFLICT (symbol_id) DO UPDATE
    SET as_of = greatest(excluded.as_of, m.as_of),
        last_success_at = coalesce(excluded.last_success_at, m.last_success_at),
        status = coalesce(excluded.status, m.status),
        status_at = coalesce(excluded.status_at, m.status_at),
        error_message = CASE WHEN excluded.status IS NULL THEN m.error_message ELSE excluded.error_message END,
        rejected_at = CASE WHEN excluded.status IS NULL THEN m.rejected_at ELSE excluded.rejected_at END,
        rejected_since = CASE
            WHEN excluded.status IS NULL THEN m.rejected_since
            WHEN excluded.last_success_at IS NOT NULL THEN NULL
            WHEN excluded.rejected_at IS NULL OR m.rejected_since <= excluded.rejected_at THEN m.rejected_since
            ELSE excluded.rejected_at
        END
),
written AS (
    INSERT INTO {sync_status} AS d
        ({sync_status.ticker_id}, {sync_status.provider_id}, {sync_status.last_sync_timestamp},
         {sync_status.sync_status}, {sync_status.error_message}, {sync_status.updated_at}{sync_status.constant_columns})
    SELECT t.ticker_id, l.provider_id, CASE WHEN t.succeeded THEN l.at{sync_status.last_sync_timestamp.zone} END,
           t.platform_status, t.platform_error, l.at{sync_status.updated_at.zone}{sync_status.constant_values}
    FROM target t, learned l
    WHERE t.for_readers
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
FROM target t, learned l
WHERE t.for_readers
  AND NOT EXISTS (SELECT FROM written w WHERE w.ticker_id = t.ticker_id)
  AND NOT EXISTS (
    SELECT FROM {sync_status} d
    WHERE {sync_status.ticker_id[d]} = t.ticker_id AND {sync_status.provider_id[d]} = l.provider_id AND {sync_status.ours[d]}
      AND (l.at{sync_status.updated_at.zone}, t.platform_status, t.platform_error)
          IS NOT DISTINCT FROM ({sync_status.updated_at[d]}, {sync_status.sync_status[d]}, {sync_status.error_message[d]})
  );

-- name: forget_prices
-- Forget how new the prices of these symbols were: they came and could not be stored, so what is stored says it.
UPDATE data_sources.assetbatch_sync m
SET as_of = NULL
FROM {symbols} s
WHERE m.symbol_id = {symbols.id[s]} AND {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};

-- name: forget_rejections
-- Make rejected symbols due at once: `init` was run, after which the columns may be others.
UPDATE data_sources.assetbatch_sync SET rejected_at = NULL, rejected_since = NULL WHERE rejected_at IS NOT NULL;

-- name: save_listing
-- Keep what the provider says of the listing of a stock. The same again writes nothing.
INSERT INTO data_sources.assetbatch_sync AS m (symbol_id, listing)
SELECT {symbols.id[s]}, %(listing)s::jsonb FROM {symbols} s
WHERE {symbols.symbol[s]} = %(symbol)s::text AND {symbols.ours[s]}
ON CONFLICT (symbol_id) DO UPDATE SET listing = excluded.listing WHERE m.listing IS DISTINCT FROM excluded.listing;

-- name: doubt_endings
-- Ask once more after the stocks that were delisted or renamed: `init` was run. Until the answer they stay so.
UPDATE data_sources.assetbatch_sync
SET listing = listing || '{{"asked_ms": 0}}'::jsonb
WHERE listing ->> 'state' IN ('delisted', 'renamed');

-- name: record_first_call
-- Record that calls are made from now on; return no row where that was recorded before. Another transaction that records
-- it at the same moment is waited for.
INSERT INTO data_sources.assetbatch_calls (only_row) VALUES (true)
ON CONFLICT DO NOTHING
RETURNING only_row;
