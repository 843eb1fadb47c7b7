-- Coverage: which intervals of bars were asked for, and what came.

-- name: load
-- Load the coverage of the symbols of a batch, after their rows were locked.
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

-- name: save
-- Write what differs between two states of coverage: rows that are gone, by their start, and rows that are new or differ.
-- No row is in both, so that the order of the two parts does not matter. Record the size of the bars that were asked for:
-- minutes where nothing was asked for before, five minutes wherever that is the size now.
WITH in_minutes AS (
    INSERT INTO data_sources.assetbatch_sync AS m (symbol_id, bar_size)
    SELECT {symbols.id[s]}, '1m' FROM {symbols} s
    WHERE {symbols.symbol[s]} = ANY (%(in_minutes)s::text[]) AND {symbols.ours[s]}
    ON CONFLICT (symbol_id) DO UPDATE SET bar_size = excluded.bar_size, coarse_from = NULL
    WHERE m.bar_size IS DISTINCT FROM '1m'
),
in_five_minutes AS (
    UPDATE data_sources.assetbatch_sync m
    SET bar_size = '5m',
        coarse_from = CASE WHEN m.bar_size = '1m' THEN to_timestamp(n.from_ms / 1000.0::float8)
                           ELSE least(m.coarse_from, to_timestamp(n.from_ms / 1000.0::float8)) END
    FROM jsonb_to_recordset(%(in_five_minutes)s::jsonb) AS n(symbol text, from_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    WHERE m.symbol_id = {symbols.id[s]}
      AND (m.bar_size = '1m' OR m.coarse_from > to_timestamp(n.from_ms / 1000.0::float8))
),
gone AS (
    DELETE FROM data_sources.assetbatch_spans p
    USING jsonb_to_recordset(%(gone)s::jsonb) AS g(symbol text, start_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = g.symbol AND {symbols.ours[s]}
    WHERE p.symbol_id = {symbols.id[s]} AND p.start_ts = to_timestamp(g.start_ms / 1000.0)
)
INSERT INTO data_sources.assetbatch_spans AS p
    (symbol_id, start_ts, end_ts, state, asked_at, error_message, fault, updated_at)
SELECT {symbols.id[s]}, to_timestamp(n.start_ms / 1000.0), to_timestamp(n.end_ms / 1000.0), n.state,
       to_timestamp(n.asked_ms / 1000.0), n.error, n.fault, to_timestamp(%(now_ms)s / 1000.0)
FROM jsonb_to_recordset(%(written)s::jsonb)
     AS n(symbol text, start_ms int8, end_ms int8, state text, asked_ms int8, error text, fault text)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
ON CONFLICT (symbol_id, start_ts) DO UPDATE
SET end_ts = excluded.end_ts,
    state = excluded.state,
    asked_at = excluded.asked_at,
    error_message = excluded.error_message,
    fault = excluded.fault,
    updated_at = excluded.updated_at;

-- name: save_session
-- Record from when on bars were asked for without those beside the session. Where that was never recorded, it holds for all
-- that was answered.
WITH asked AS (
    SELECT {symbols.id[s]} AS symbol_id, to_timestamp(n.from_ms / 1000.0::float8) AS from_ts,
           to_timestamp(n.first_ms / 1000.0::float8) AS first_ts
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(symbol text, from_ms int8, first_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
)
INSERT INTO data_sources.assetbatch_sync AS m (symbol_id, session_from)
SELECT a.symbol_id, CASE WHEN o.session_from IS NULL THEN a.first_ts ELSE a.from_ts END
FROM asked a
LEFT JOIN data_sources.assetbatch_sync o ON o.symbol_id = a.symbol_id
ON CONFLICT (symbol_id) DO UPDATE SET session_from = excluded.session_from
WHERE m.session_from IS NULL OR m.session_from > excluded.session_from;

-- name: part
-- Part the answered interval of each symbol in which a moment lies, before what lies behind that is wanted once more.
WITH parted AS (
    UPDATE data_sources.assetbatch_spans p
    SET end_ts = to_timestamp(n.from_ms / 1000.0::float8)
    FROM jsonb_to_recordset(%(parts)s::jsonb) AS n(symbol text, from_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    JOIN data_sources.assetbatch_spans o ON o.symbol_id = {symbols.id[s]}
    WHERE p.symbol_id = o.symbol_id AND p.start_ts = o.start_ts AND o.state IN ('asked', 'again')
      AND o.start_ts < to_timestamp(n.from_ms / 1000.0::float8) AND o.end_ts > to_timestamp(n.from_ms / 1000.0::float8)
    RETURNING p.symbol_id, p.end_ts AS start_ts, o.end_ts, p.state, p.asked_at, p.error_message, p.fault
)
INSERT INTO data_sources.assetbatch_spans (symbol_id, start_ts, end_ts, state, asked_at, error_message, fault, updated_at)
SELECT symbol_id, start_ts, end_ts, state, asked_at, error_message, fault, to_timestamp(%(now_ms)s / 1000.0)
FROM parted;

-- name: ask_again
-- Want what was answered from a moment of each symbol on once more. It is asked for in bars of one minute from now on where
-- these are kept, and with all hours that are kept.
WITH more AS (
    INSERT INTO data_sources.assetbatch_sync AS m (symbol_id, bar_size, session_from)
    SELECT {symbols.id[s]}, nullif(n.bar_size, '5m'), to_timestamp(%(never_ms)s / 1000.0::float8)
    FROM jsonb_to_recordset(%(parts)s::jsonb) AS n(symbol text, bar_size text)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    ON CONFLICT (symbol_id) DO UPDATE
    SET bar_size = coalesce(excluded.bar_size, m.bar_size),
        coarse_from = CASE WHEN excluded.bar_size IS NULL THEN m.coarse_from END,
        session_from = CASE WHEN m.session_from IS NOT NULL THEN excluded.session_from END
    WHERE m.bar_size IS DISTINCT FROM coalesce(excluded.bar_size, m.bar_size) OR m.session_from < excluded.session_from
    RETURNING symbol_id
),
wanted AS (
    SELECT symbol_id, to_timestamp(n.from_ms / 1000.0::float8) AS from_ts
    FROM more
    JOIN {symbols} s ON {symbols.id[s]} = more.symbol_id AND {symbols.ours[s]}
    JOIN jsonb_to_recordset(%(parts)s::jsonb) AS n(symbol text, from_ms int8) ON {symbols.symbol[s]} = n.symbol
),
forgotten AS (
    DELETE FROM data_sources.assetbatch_verified v USING wanted w
    WHERE v.symbol_id = w.symbol_id AND v.end_ts > w.from_ts
)
UPDATE data_sources.assetbatch_spans p
SET state = 'wanted', asked_at = NULL, error_message = NULL, fault = NULL, updated_at = to_timestamp(%(now_ms)s / 1000.0)
FROM wanted w
WHERE p.symbol_id = w.symbol_id AND p.start_ts >= w.from_ts AND p.state IN ('asked', 'again');

-- name: record_answers
-- Record which interval of bars each answer covers and when it was asked for. Return of each the parts that were answered
-- by a call of a later moment. A row belongs to five minutes of asking: answers of the same minutes join it, older ones
-- leave it, all but the newest 16. A moment ahead of this server's clock is not believed: the clock was set back since.
WITH mine AS MATERIALIZED (
    SELECT n.symbol, {symbols.id[s]} AS id, to_timestamp(n.asked_ms / 1000.0::float8) AS asked_at, n.asked_ms / 300000 AS place,
           n.asked_ms, n.first_ms, n.last_ms
    FROM jsonb_to_recordset(%(answers)s::jsonb) AS n(symbol text, asked_ms int8, first_ms int8, last_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
),
noted AS (
    INSERT INTO data_sources.assetbatch_answers AS a (symbol_id, slot, asked_at, answers)
    SELECT m.id, mod(m.place, 48), max(m.asked_at),
           jsonb_agg(jsonb_build_array(m.asked_ms, m.first_ms, m.last_ms) ORDER BY m.asked_ms DESC)
    FROM mine m
    GROUP BY m.id, m.place
    ON CONFLICT (symbol_id, slot) DO UPDATE
    SET asked_at = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                        THEN excluded.asked_at ELSE greatest(a.asked_at, excluded.asked_at) END,
        answers = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                       THEN excluded.answers
                       ELSE jsonb_path_query_array(excluded.answers || a.answers, '$[0 to 15]') END
    -- A row that lies hours ahead is of a clock that was wrong; one that is only later is a later answer.
    WHERE a.asked_at - excluded.asked_at < interval '5 minutes' OR a.asked_at > clock_timestamp() + interval '1 minute'
)
SELECT m.symbol, greatest((answer ->> 1)::int8, m.first_ms), least((answer ->> 2)::int8, m.last_ms)
FROM mine m
CROSS JOIN LATERAL generate_series(
    m.place,
    least(m.place + 47, greatest(m.place + 1, floor(extract(epoch FROM clock_timestamp()) / 300)::int8))
) AS later(place)
JOIN data_sources.assetbatch_answers a ON a.symbol_id = m.id AND a.slot = mod(later.place, 48)
CROSS JOIN LATERAL jsonb_array_elements(a.answers) AS answer
WHERE a.asked_at > m.asked_at
  AND (answer ->> 0)::int8 > m.asked_ms
  AND to_timestamp((answer ->> 0)::int8 / 1000.0::float8)
      <= greatest(m.asked_at, clock_timestamp()) + interval '1 minute'
  AND (answer ->> 1)::int8 <= m.last_ms AND (answer ->> 2)::int8 >= m.first_ms;

-- name: find_gaps
-- Find where bars are missing: for each range [start_ms, end_ms) of a symbol the intervals between its bars that are
-- longer than five minutes. Reads the index of the range and nothing else. A bar of a platform that begins within five
-- minutes fills them.
SELECT n.symbol, gap.t_ms + 300000, gap.next_ms
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, start_ms int8, end_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
CROSS JOIN LATERAL (
    SELECT slot.t_ms, lead(slot.t_ms, 1, n.end_ms) OVER (ORDER BY slot.t_ms) AS next_ms
    FROM (
        SELECT n.start_ms - 300000 AS t_ms
        UNION ALL
        SELECT floor(date_part('epoch', {bars.ts[o]}{bars.ts.zone}) / 300)::int8 * 300000
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} >= to_timestamp(n.start_ms / 1000.0::float8){bars.ts.zone}
          AND {bars.ts[o]} < to_timestamp(n.end_ms / 1000.0::float8){bars.ts.zone}
    ) slot
) gap
WHERE gap.next_ms > gap.t_ms + 300000
ORDER BY n.symbol, gap.t_ms;

-- name: forget_rejected
-- Request rejected intervals again: `init` was run, after which the columns may be others.
UPDATE data_sources.assetbatch_spans
SET state = 'wanted', asked_at = NULL, error_message = NULL, updated_at = now()
WHERE state = 'rejected';

-- name: load_recent
-- Return what is known of the bars since a moment, of all symbols in one JSON document: one row a symbol would cost more
-- than the look itself.
SELECT coalesce(json_object_agg(c.symbol, c.intervals), '{{}}')::text
FROM (
    SELECT {symbols.symbol[s]}::text AS symbol,
           json_agg(json_build_array(
               (extract(epoch FROM p.start_ts) * 1000)::int8, (extract(epoch FROM p.end_ts) * 1000)::int8, p.state
           ) ORDER BY p.start_ts) AS intervals
    FROM {symbols} s
    JOIN data_sources.assetbatch_spans p ON p.symbol_id = {symbols.id[s]}
    WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
      AND p.end_ts > to_timestamp(%(since_ms)s / 1000.0)
    GROUP BY 1
) AS c;
