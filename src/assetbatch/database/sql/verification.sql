-- Verification: stored bars compared with what the provider says of them now.

-- name: load
-- Load what is known of the verified bars of symbols: when everything was last asked for again, and the rows as an array
-- of arrays.
SELECT {symbols.symbol[s]}::text,
       (SELECT (extract(epoch FROM m.asked_again_at) * 1000)::int8
        FROM data_sources.assetbatch_sync m WHERE m.symbol_id = {symbols.id[s]}),
       json_agg(json_build_array(
           (extract(epoch FROM v.start_ts) * 1000)::int8, (extract(epoch FROM v.end_ts) * 1000)::int8,
           (extract(epoch FROM v.tried_at) * 1000)::int8, (extract(epoch FROM v.verified_at) * 1000)::int8,
           v.compared, v.differed, v.changed, v.appeared, v.vanished, v.largest_difference, v.nothing, v.checks
       ) ORDER BY v.start_ts)::text
FROM {symbols} s
JOIN data_sources.assetbatch_verified v ON v.symbol_id = {symbols.id[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
GROUP BY {symbols.id[s]}, {symbols.symbol[s]};

-- name: compare
-- Compare the bars of a batch with the stored ones in some intervals, before they are written. Return how many bars there
-- are in either, how many of them have other values, are new, or have not come; then the largest relative difference of a
-- price, and how many five minutes have a bar. A stored bar of another program that begins off the grid is none of these. What has not come is
-- marked, and counts once; what has come again is not marked any more.
WITH asked AS MATERIALIZED (
    SELECT n.number, n.asset, n.start_ms, n.end_ms, {symbols.id[s]} AS id, {bars.of[s]} AS symbol_id
    FROM jsonb_to_recordset(%(looks)s::jsonb) AS n(number int4, symbol text, asset int8, start_ms int8, end_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
),
pair AS MATERIALIZED (
    SELECT a.number, a.id, p.*
    FROM asked a
    CROSS JOIN LATERAL (
        SELECT coalesce(came.t_ms, stored.t_ms) AS t_ms, came.t_ms IS NOT NULL AS has_come, stored.t_ms IS NOT NULL AS is_stored,
               (came.open, came.high, came.low, came.close, came.volume, came.vwap, came.trades) IS DISTINCT FROM
               (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.vwap, stored.trades) AS differs,
               came.open, came.high, came.low, came.close,
               stored.open AS old_open, stored.high AS old_high, stored.low AS old_low, stored.close AS old_close
        FROM (
            SELECT b.* FROM {bars.batch} b WHERE b.asset = a.asset AND b.t_ms >= a.start_ms AND b.t_ms < a.end_ms
        ) came
        FULL JOIN (
            SELECT (extract(epoch FROM {bars.ts[o]}{bars.ts.zone}) * 1000)::int8, {bars.all_values[o]}
            FROM {bars} o
            WHERE {bars.symbol_id[o]} = a.symbol_id AND {bars.ours[o]}
              AND {bars.ts[o]} >= to_timestamp(a.start_ms / 1000.0::float8){bars.ts.zone}
              AND {bars.ts[o]} < to_timestamp(a.end_ms / 1000.0::float8){bars.ts.zone}
              AND mod((extract(epoch FROM {bars.ts[o]}{bars.ts.zone}) * 1000)::int8, %(size_ms)s) = 0
        ) stored(t_ms, open, high, low, close, volume, vwap, trades) ON stored.t_ms = came.t_ms
    ) p
),
known AS (
    SELECT p.*, v.ts IS NOT NULL AS is_marked
    FROM pair p
    LEFT JOIN data_sources.assetbatch_vanished v
           ON v.symbol_id = p.id AND v.bar_size = %(bar_size)s AND v.ts = to_timestamp(p.t_ms / 1000.0::float8)
),
marked AS (
    INSERT INTO data_sources.assetbatch_vanished (symbol_id, bar_size, ts, seen_at)
    SELECT p.id, %(bar_size)s, to_timestamp(p.t_ms / 1000.0::float8), to_timestamp(%(now_ms)s / 1000.0)
    FROM pair p WHERE NOT p.has_come
    ON CONFLICT DO NOTHING
),
unmarked AS (
    DELETE FROM data_sources.assetbatch_vanished v
    USING pair p
    WHERE v.symbol_id = p.id AND v.bar_size = %(bar_size)s AND v.ts = to_timestamp(p.t_ms / 1000.0::float8) AND p.has_come
)
SELECT k.number, count(*)::int4,
       (count(*) FILTER (WHERE k.has_come AND k.is_stored AND k.differs))::int4,
       (count(*) FILTER (WHERE NOT k.is_stored))::int4,
       (count(*) FILTER (WHERE NOT k.has_come AND NOT k.is_marked))::int4,
       coalesce(max(greatest(
           {difference}
       )) FILTER (WHERE k.has_come AND k.is_stored AND k.differs), 0)::float8,
       count(DISTINCT k.t_ms / 300000)::int4
FROM known k
GROUP BY k.number;

-- name: save
-- Write what differs between two states of what is known: rows that are gone, by their start, and rows that are new or
-- differ. No row is in both. Record of which symbols everything is asked for again.
WITH again AS (
    INSERT INTO data_sources.assetbatch_sync AS m (symbol_id, asked_again_at)
    SELECT {symbols.id[s]}, to_timestamp(%(now_ms)s / 1000.0) FROM {symbols} s
    WHERE {symbols.symbol[s]} = ANY (%(doubted)s::text[]) AND {symbols.ours[s]}
    ON CONFLICT (symbol_id) DO UPDATE SET asked_again_at = excluded.asked_again_at
),
gone AS (
    DELETE FROM data_sources.assetbatch_verified v
    USING jsonb_to_recordset(%(gone)s::jsonb) AS g(symbol text, start_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = g.symbol AND {symbols.ours[s]}
    WHERE v.symbol_id = {symbols.id[s]} AND v.start_ts = to_timestamp(g.start_ms / 1000.0)
)
INSERT INTO data_sources.assetbatch_verified AS v
    (symbol_id, start_ts, end_ts, tried_at, verified_at, compared, differed, changed, appeared, vanished,
     largest_difference, nothing, checks)
SELECT {symbols.id[s]}, to_timestamp((n.row ->> 0)::int8 / 1000.0), to_timestamp((n.row ->> 1)::int8 / 1000.0),
       to_timestamp((n.row ->> 2)::int8 / 1000.0), to_timestamp((n.row ->> 3)::int8 / 1000.0),
       (n.row ->> 4)::int4, (n.row ->> 5)::int4, (n.row ->> 6)::int4, (n.row ->> 7)::int4, (n.row ->> 8)::int4,
       (n.row ->> 9)::float8, (n.row ->> 10)::int4, (n.row ->> 11)::int4
FROM jsonb_to_recordset(%(written)s::jsonb) AS n(symbol text, row jsonb)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
ON CONFLICT (symbol_id, start_ts) DO UPDATE
SET end_ts = excluded.end_ts, tried_at = excluded.tried_at, verified_at = excluded.verified_at,
    compared = excluded.compared, differed = excluded.differed, changed = excluded.changed,
    appeared = excluded.appeared, vanished = excluded.vanished, largest_difference = excluded.largest_difference,
    nothing = excluded.nothing, checks = excluded.checks;

-- name: tally
-- Return what the comparisons of symbols amount to: for how long (ms) bars reach that were verified since a moment, what has
-- differed so far, and what was compared and differed since everything was last asked for again.
SELECT {symbols.symbol[s]}::text,
       json_build_array(
           coalesce(sum(extract(epoch FROM v.end_ts - v.start_ts) * 1000)
                    FILTER (WHERE v.verified_at > to_timestamp(%(since_ms)s / 1000.0)), 0)::int8,
           sum(v.changed), sum(v.appeared), sum(v.vanished), max(v.largest_difference),
           coalesce(sum(v.compared) FILTER (WHERE counts.yes), 0),
           coalesce(sum(v.differed) FILTER (WHERE counts.yes), 0),
           (extract(epoch FROM max(m.asked_again_at)) * 1000)::int8
       )::text
FROM {symbols} s
JOIN data_sources.assetbatch_verified v ON v.symbol_id = {symbols.id[s]}
LEFT JOIN data_sources.assetbatch_sync m ON m.symbol_id = {symbols.id[s]}
CROSS JOIN LATERAL (SELECT v.verified_at > coalesce(m.asked_again_at, '-infinity')) AS counts(yes)
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
GROUP BY 1;
