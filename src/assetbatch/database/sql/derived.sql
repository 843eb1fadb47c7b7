-- Bars of larger sizes, out of the bars of five minutes.
--
-- A condition on the time of a view that groups by date_bin reaches no index: PostgreSQL would read all bars of a symbol.
-- So a view counts the starts of its bars, from the first stored bar of a symbol to the last. The condition keeps some of
-- these starts. Each of them is looked up by the primary key, in a function. Its body is a text, so that nothing in the
-- catalogue depends on the table of bars: a platform may still alter its columns. PostgreSQL puts the body of such a function
-- into the query, and reads the table with the rights of the reader.

-- name: load_present
-- Return what has the name of a view or a function of ours in the schema of the bars: its name, its kind, its comment, and
-- how DROP names it.
SELECT c.relname::text,
       CASE WHEN c.relkind = 'v' THEN 'view' ELSE 'other' END,
       obj_description(c.oid, 'pg_class'),
       quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {bars.schema} AND c.relname = ANY (%(names)s::text[])
UNION ALL
SELECT p.proname::text,
       CASE p.prokind WHEN 'f' THEN 'function' WHEN 'a' THEN 'product' ELSE 'other' END,
       obj_description(p.oid, 'pg_proc'),
       quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')'
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = {bars.schema} AND p.proname = ANY (%(names)s::text[])
UNION ALL
SELECT t.typname::text, 'other', NULL, quote_ident(n.nspname) || '.' || quote_ident(t.typname)
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = {bars.schema} AND t.typname = ANY (%(names)s::text[]) AND t.typrelid = 0;

-- name: load_base
-- Return the type of what the table of bars holds for the instrument, whether its moments are without a zone, and the
-- schema of TimescaleDB's functions where that keeps continuous aggregates.
SELECT format_type(a.atttypid, a.atttypmod),
       EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = a.attrelid AND t.attname = {bars.ts.literal}
               AND NOT t.attisdropped AND t.atttypid = 'timestamp'::regtype),
       (SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'timescaledb' AND current_setting('timescaledb.license', true) = 'timescale')
FROM pg_attribute a
WHERE a.attrelid = to_regclass({bars.text}) AND a.attname = {bars.symbol_id.literal} AND NOT a.attisdropped;

-- name: between
-- Return the bars of an instrument that begin within [since, until), with our names and types.
(
    SELECT ({bars.ts[o]}{bars.ts.zone})::timestamptz AS at, {bars.open[o]}::float8 AS open, {bars.high[o]}::float8 AS high,
           {bars.low[o]}::float8 AS low, {bars.close[o]}::float8 AS close, {bars.volume[o]}::float8 AS volume,
           {bars.vwap[o]}::float8 AS vwap, {bars.trades[o]}::int8 AS trades
    FROM {bars} o
    WHERE {bars.symbol_id[o]} = {instrument} AND {bars.ours[o]}
      AND {bars.ts[o]} >= ({since}){bars.ts.zone} AND {bars.ts[o]} < ({until}){bars.ts.zone}
)

-- name: binned
-- Make larger bars of bars: first open, highest high, lowest low, last close, sums, the average weighted by volume. What
-- one of them lacks, the bar lacks. A sum of volumes keeps 15 significant digits: 0.1 and 0.2 are 0.3.
(
    SELECT date_bin({width}, b.at, 'epoch'::timestamptz) AS at,
           (array_agg(b.open ORDER BY b.at))[1] AS open,
           max(b.high) AS high,
           min(b.low) AS low,
           (array_agg(b.close ORDER BY b.at))[count(*)] AS close,
           CASE WHEN count(b.volume) = count(*) THEN sum(b.volume)::numeric::float8 END AS volume,
           CASE WHEN count(b.volume * b.vwap) = count(*) AND sum(b.volume) > 0
                THEN least(max(b.high), greatest(min(b.low), sum(b.volume * b.vwap) / sum(b.volume))) END AS vwap,
           CASE WHEN count(b.trades) = count(*) THEN sum(b.trades)::int8 END AS trades
    FROM {between} b
    GROUP BY 1
)

-- name: create_ranges
-- Create the function that says of each instrument where its bars begin and end.
CREATE OR REPLACE FUNCTION {schema}.assetbatch_ranges()
RETURNS TABLE (symbol_id {type}, first_ts timestamptz, last_ts timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $assetbatch$
    SELECT i.symbol_id,
           (SELECT ({bars.ts[o]}{bars.ts.zone})::timestamptz FROM {bars} o
            WHERE {bars.symbol_id[o]} = i.symbol_id AND {bars.ours[o]} AND {bars.ts[o]} > '-infinity'
            ORDER BY {bars.ts[o]} LIMIT 1),
           (SELECT ({bars.ts[o]}{bars.ts.zone})::timestamptz FROM {bars} o
            WHERE {bars.symbol_id[o]} = i.symbol_id AND {bars.ours[o]} AND {bars.ts[o]} < 'infinity'
            ORDER BY {bars.ts[o]} DESC LIMIT 1)
    FROM ({instruments}) i
$assetbatch$;

-- name: instruments_of_symbols
-- Return the instruments that have a row in the table of symbols.
SELECT ({bars.of[s]})::{type} AS symbol_id FROM {symbols} s WHERE {symbols.ours[s]} AND ({bars.of[s]} IS NOT NULL)

-- name: instruments_of_bars
-- Return the instruments that have bars, by one look into the index for each: the table of symbols knows no tickers.
WITH RECURSIVE found AS (
    (SELECT {bars.symbol_id[o]} AS symbol_id FROM {bars} o ORDER BY {bars.symbol_id[o]} LIMIT 1)
    UNION ALL
    SELECT (SELECT {bars.symbol_id[o]} FROM {bars} o WHERE {bars.symbol_id[o]} > f.symbol_id
            ORDER BY {bars.symbol_id[o]} LIMIT 1)
    FROM found f
    WHERE f.symbol_id IS NOT NULL
)
SELECT symbol_id FROM found WHERE (symbol_id IS NOT NULL)

-- name: create_bars
-- Create the function that makes bars of any size: those of an instrument that begin within [since, until).
CREATE OR REPLACE FUNCTION {schema}.assetbatch_bars(
    instrument {type}, width interval, since timestamptz, until timestamptz
)
RETURNS TABLE (
    ts timestamptz, open float8, high float8, low float8, close float8, volume float8, vwap float8, trades bigint
)
LANGUAGE sql STABLE PARALLEL SAFE AS $assetbatch$
    SELECT b.*
    FROM (
        SELECT date_bin(width, since + (width - interval '1 microsecond'), 'epoch'::timestamptz) AS since,
               date_bin(width, until + (width - interval '1 microsecond'), 'epoch'::timestamptz) AS until
    ) AS bins
    CROSS JOIN LATERAL {binned} b
$assetbatch$;

-- name: create_view
-- Create the view of one size. `width` is the length of its bars.
CREATE OR REPLACE VIEW {view} AS
SELECT r.symbol_id, starts.ts, b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades
FROM {schema}.assetbatch_ranges() r
CROSS JOIN LATERAL generate_series(
    date_bin({width}, r.first_ts, 'epoch'::timestamptz), r.last_ts, {width}::interval
) AS starts(ts)
CROSS JOIN LATERAL {schema}.assetbatch_bars(r.symbol_id, {width}, starts.ts, starts.ts + {width}::interval) b;

-- name: create_aggregate
-- Create the continuous aggregate of one size. What it has not taken up yet is read from the bars.
CREATE MATERIALIZED VIEW {view}
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT {bars.symbol_id[o]} AS symbol_id,
       {timescaledb}.time_bucket({width}::interval, {bars.ts[o]}) AS ts,
       {timescaledb}.first({bars.open[o]}::float8, {bars.ts[o]}) AS open,
       max({bars.high[o]}::float8) AS high,
       min({bars.low[o]}::float8) AS low,
       {timescaledb}.last({bars.close[o]}::float8, {bars.ts[o]}) AS close,
       CASE WHEN count({bars.volume[o]}) = count(*) THEN sum({bars.volume[o]}::float8)::numeric::float8 END AS volume,
       CASE WHEN count({bars.volume[o]} * {bars.vwap[o]}) = count(*) AND sum({bars.volume[o]}::float8) > 0
            THEN least(max({bars.high[o]}::float8), greatest(
                min({bars.low[o]}::float8),
                sum({bars.volume[o]}::float8 * {bars.vwap[o]}::float8) / sum({bars.volume[o]}::float8)
            )) END AS vwap,
       CASE WHEN count({bars.trades[o]}) = count(*) THEN sum({bars.trades[o]}::int8)::int8 END AS trades
FROM {bars} o
WHERE {bars.ours[o]}
GROUP BY {bars.symbol_id[o]}, {timescaledb}.time_bucket({width}::interval, {bars.ts[o]})
WITH NO DATA;
SELECT {timescaledb}.add_continuous_aggregate_policy(
    {place}::regclass, start_offset => NULL, end_offset => {width}::interval, schedule_interval => interval '1 hour'
);

-- name: keeps_aggregates
-- Return whether TimescaleDB is there, which keeps continuous aggregates.
SELECT to_regclass('timescaledb_information.continuous_aggregates') IS NOT NULL;

-- name: find_aggregates
-- Return which of the views are continuous aggregates.
SELECT view_name::text FROM timescaledb_information.continuous_aggregates WHERE view_schema = {bars.schema};

-- name: grant_readers
-- Let those read a view who may read the bars, or a table that it reads besides. Nobody who is not told so by name gets a
-- right.
DO $grants$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM pg_class bars
        CROSS JOIN LATERAL aclexplode(bars.relacl) AS acl
        WHERE bars.oid = {bars.regclass} AND acl.privilege_type = 'SELECT' AND acl.grantee <> bars.relowner
          AND pg_has_role((SELECT read.relowner FROM pg_class read WHERE read.oid = {place}::regclass), 'USAGE')
    LOOP
        EXECUTE 'GRANT SELECT ON ' || {place} || ' TO ' || granted.role;
    END LOOP;
END
$grants$;
