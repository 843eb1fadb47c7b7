-- Bars: of five minutes, or of one minute where the caller says so.

-- name: load_columns
-- Return the columns of the table of bars that are written: our name, type as declared, type without its domain, its
-- modifier, whether NULL is refused. They say whether COPY can be binary, and which values cannot be stored.
SELECT named.ours,
       format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull
FROM (VALUES {bars.pairs}) AS named(ours, theirs)
JOIN pg_attribute a ON a.attname = named.theirs
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = {bars.regclass}
  AND NOT a.attisdropped;

-- name: find_stored
-- Return whether any bar lies between the first and the last of the bars that have come for a symbol: one descent of
-- the index each. Where there is none, the bars can be copied straight into the table.
SELECT n.symbol, {bars.of[s]}, EXISTS (
    SELECT FROM {bars} o
    WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
      AND {bars.ts[o]} BETWEEN (to_timestamp(n.first_ms / 1000.0::float8){bars.ts.zone})
                           AND (to_timestamp(n.last_ms / 1000.0::float8){bars.ts.zone})
)
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, first_ms int8, last_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]};

-- name: load_starts
-- Return the starts of the stored bars within some intervals of symbols.
SELECT n.symbol, (extract(epoch FROM {bars.ts[o]}{bars.ts.zone}) * 1000)::int8
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, first_ms int8, last_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
JOIN {bars} o
  ON {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
 AND {bars.ts[o]} BETWEEN (to_timestamp(n.first_ms / 1000.0::float8){bars.ts.zone})
                      AND (to_timestamp(n.last_ms / 1000.0::float8){bars.ts.zone});

-- name: copy_direct_binary
-- Copy bars straight into the table, in the types that COPY writes by itself.
COPY {bars} ({bars.symbol_id}, {bars.ts}, {bars.value_columns}) FROM STDIN (FORMAT binary)

-- name: copy_direct_text
-- Copy bars straight into the table, whatever the types of its columns.
COPY {bars} ({bars.symbol_id}, {bars.ts}, {bars.value_columns}{bars.constant_columns}) FROM STDIN (FORMAT text)

-- name: create_batch
-- Create the table in which the bars of a batch arrive. The columns have the types of the table (a platform's
-- numeric(18,8) included), so that a value is rounded before it is compared. `asset` counts the symbols of the batch. A
-- transaction that compares bars, or writes some that came and some out of minutes, needs it again.
DROP TABLE IF EXISTS pg_temp.{bars.batch};
CREATE TEMPORARY TABLE {bars.batch} ON COMMIT DROP AS
SELECT 0::int8 AS asset, 0::int8 AS t_ms, {bars.open[o]} AS open, {bars.high[o]} AS high, {bars.low[o]} AS low,
       {bars.close[o]} AS close, {bars.volume[o]} AS volume, {bars.vwap[o]} AS vwap, {bars.trades[o]} AS trades
FROM {bars} o
WITH NO DATA;

-- name: copy_binary
-- Copy the bars of a batch beside the table, in the types that COPY writes by itself.
COPY {bars.batch} FROM STDIN (FORMAT binary)

-- name: copy_text
-- Copy the bars of a batch beside the table, whatever the types of its columns.
COPY {bars.batch} FROM STDIN (FORMAT text)

-- name: merge
-- Write the bars that are new or differ. The comparison comes first, so that the same bars again cost a look and
-- no write; OFFSET 0 keeps it one index descent per bar instead of a scan of the table.
--
-- A bar younger than the settled moment may still be forming, and another writer may have asked later than we did. A
-- forming bar only grows, so a bar that is behind the stored one (lower high, higher low, less volume or none) is older
-- news.
WITH incoming AS MATERIALIZED (
    SELECT {bars.of[s]} AS symbol_id, to_timestamp(b.t_ms / 1000.0::float8){bars.ts.zone} AS ts,
           b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades, old.is_there IS NULL AS is_new
    FROM unnest(%(symbols)s::text[], %(settled_ms)s::int8[]) WITH ORDINALITY AS n(symbol, settled_ms, asset)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    JOIN {bars.batch} b ON b.asset = n.asset
    LEFT JOIN LATERAL (
        SELECT true AS is_there, o.*
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} = to_timestamp(b.t_ms / 1000.0::float8){bars.ts.zone}
        OFFSET 0
    ) old ON true
    WHERE old.is_there IS NULL
       OR ((b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades) IS DISTINCT FROM ({bars.all_values[old]})
           AND (b.t_ms < n.settled_ms
                OR (b.high >= {bars.high[old]} AND b.low <= {bars.low[old]}
                    AND coalesce(b.volume >= {bars.volume[old]}, {bars.volume[old]} IS NULL))))
),
written AS (
    INSERT INTO {bars} AS o ({bars.symbol_id}, {bars.ts}, {bars.value_columns}{bars.constant_columns})
    SELECT i.symbol_id, i.ts, {bars.values[i]}{bars.constant_values}
    FROM incoming i
    -- Another program may have written the bar since the comparison.
    ON CONFLICT ({bars.symbol_id}, {bars.ts}{bars.constant_key}) DO UPDATE
    SET {bars.overwritten}
    RETURNING 1
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new), (SELECT count(*) FROM written) FROM incoming;

-- name: load_closes
-- Return the closes of the newest day of stored bars of each symbol, thinned: the newest bar of each `every`.
-- Reads at most 288 rows a symbol, by the primary key.
SELECT {symbols.symbol[s]}::text, (extract(epoch FROM b.ts{bars.ts.zone}) * 1000)::bigint, b.close
FROM {symbols} s
CROSS JOIN LATERAL (
    SELECT latest.ts, latest.close, row_number() OVER (ORDER BY latest.ts DESC) - 1 AS place
    FROM (
        SELECT {bars.ts[o]} AS ts, {bars.close[o]} AS close
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
        ORDER BY {bars.ts[o]} DESC
        LIMIT 288
    ) AS latest
) AS b
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]} AND mod(b.place, %(every)s) = 0
ORDER BY 1, b.ts;

-- name: newest
-- Part of other statements: the start of the newest bar of a row s of the symbols, by one descent of the index.
SELECT {bars.ts[o]} AS ts
FROM {bars} o
WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
  AND {bars.ts[o]} > '-infinity' AND {bars.ts[o]} < 'infinity'
ORDER BY {bars.ts[o]} DESC
LIMIT 1

-- name: hourly_closes
-- Part of the two statements below: for a row s of the symbols the start of its newest bar, and the last close of each of
-- the newest 24 hours that have bars, ascending. Each hour is one descent of the index, however many bars there are. A
-- close that float8 cannot hold is NULL.
WITH RECURSIVE hour(place, ts, close) AS (
    (SELECT 1, {bars.ts[o]}, {bars.close[o]}
     FROM {bars} o
     WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
       AND {bars.ts[o]} > '-infinity' AND {bars.ts[o]} < 'infinity'
     ORDER BY {bars.ts[o]} DESC
     LIMIT 1)
    UNION ALL
    SELECT later.place + 1, before.ts, before.close
    FROM hour later
    CROSS JOIN LATERAL (
        SELECT {bars.ts[o]} AS ts, {bars.close[o]} AS close
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} > '-infinity' AND {bars.ts[o]} < date_trunc('hour', later.ts)
        ORDER BY {bars.ts[o]} DESC
        LIMIT 1
    ) before
    WHERE later.place < 24
)
SELECT max(ts){bars.ts.zone} AS newest_ts,
       array_agg(CASE WHEN close BETWEEN 1e-300 AND 1e300 THEN close::float8 END ORDER BY ts) AS closes
FROM hour

-- name: keep_hourly_closes
-- Keep the hourly closes of symbols whose bars were written, for the page. Those of the past change nothing.
INSERT INTO data_sources.assetbatch_closes AS kept (symbol_id, newest_ts, closes)
SELECT {symbols.id[s]}, found.newest_ts, found.closes
FROM {symbols} s
CROSS JOIN LATERAL ({part[bars.hourly_closes]}) found
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]} AND found.newest_ts IS NOT NULL
ON CONFLICT (symbol_id) DO UPDATE
SET newest_ts = excluded.newest_ts, closes = excluded.closes
WHERE (kept.newest_ts, kept.closes) IS DISTINCT FROM (excluded.newest_ts, excluded.closes);

-- name: load_hourly_closes
-- Return the hourly closes of each symbol that has bars. They are read from the bars where none are kept yet, or where
-- another program has written or deleted the newest bar since.
SELECT {symbols.symbol[s]}::text,
       CASE WHEN kept.newest_ts = newest.ts{bars.ts.zone} THEN kept.closes
            ELSE (SELECT found.closes FROM ({part[bars.hourly_closes]}) found) END
FROM {symbols} s
CROSS JOIN LATERAL ({part[bars.newest]}) newest
LEFT JOIN data_sources.assetbatch_closes kept ON kept.symbol_id = {symbols.id[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};

-- name: load_constraint_columns
-- Return the columns of which a constraint of the table of bars speaks, by our names where they are ours.
SELECT coalesce(named.ours, a.attname::text)
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
LEFT JOIN (VALUES {bars.pairs}) AS named(ours, theirs) ON named.theirs = a.attname
WHERE c.conrelid = {bars.regclass} AND c.conname = %(name)s;
