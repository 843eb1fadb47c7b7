-- Splits of stocks: what is known, what an answer changes, and whether the stored bars bear them out.

-- name: load
-- Return the splits of registered symbols with execution dates of these days. A row whose state is none of ours was written
-- by somebody else and counts as none.
SELECT {symbols.symbol[s]}::text, {splits.execution_date[d]}, {splits.split_from[d]}::float8, {splits.split_to[d]}::float8,
       {splits.kind[d]}::text, {splits.state[d]}::text
FROM {splits} d
JOIN {symbols} s ON {splits.symbol_id[d]} = {splits.of[s]} AND {symbols.ours[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {splits.ours[d]}
  AND {splits.execution_date[d]} BETWEEN %(first)s AND %(last)s
  AND {splits.state[d]} = ANY (%(states)s::text[]);

-- name: save
-- Write splits of registered symbols in the order of their keys. `forgotten` is the assignment by which a ratio that has
-- changed is to be borne out again.
INSERT INTO {splits} AS d
    ({splits.symbol_id}, {splits.execution_date}, {splits.split_from}, {splits.split_to}, {splits.kind}, {splits.state},
     {splits.learned_at}{splits.constant_columns})
SELECT {splits.of[s]}, n.execution_date, n.split_from, n.split_to, n.kind, n.state,
       to_timestamp(%(now_ms)s / 1000.0::float8){splits.learned_at.zone}{splits.constant_values}
FROM jsonb_to_recordset(%(rows)s::jsonb)
     AS n(symbol text, execution_date date, split_from float8, split_to float8, kind text, state text)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
WHERE {splits.of[s]} IS NOT NULL
ORDER BY 1, 2
ON CONFLICT ({splits.symbol_id}, {splits.execution_date}{splits.constant_key}) DO UPDATE
SET {splits.split_from} = excluded.{splits.split_from},
    {splits.split_to} = excluded.{splits.split_to},
    {splits.kind} = excluded.{splits.kind},
    {splits.state} = excluded.{splits.state},
    {splits.learned_at} = excluded.{splits.learned_at}{forgotten};

-- name: forget_verdict
-- Forget whether the bars bear a split out, where its ratio is another one now.
,
    {splits.fits} = (
        CASE WHEN d.{splits.split_from} = excluded.{splits.split_from} AND d.{splits.split_to} = excluded.{splits.split_to}
             THEN d.{splits.fits} END
    )

-- name: record_asked
-- Record that the splits of all times were asked for, of which ticker of each symbol.
INSERT INTO data_sources.assetbatch_sync AS m (symbol_id, splits_ticker)
SELECT {symbols.id[s]}, n.value
FROM jsonb_each_text(%(tickers)s::jsonb) AS n(key, value)
JOIN {symbols} s ON {symbols.symbol[s]} = n.key AND {symbols.ours[s]}
ORDER BY {symbols.id[s]}
ON CONFLICT (symbol_id) DO UPDATE SET splits_ticker = excluded.splits_ticker
WHERE m.splits_ticker IS DISTINCT FROM excluded.splits_ticker;

-- name: find_unasked
-- Return the registered symbols whose splits of all times were not asked for, or those of another ticker.
SELECT {symbols.symbol[s]}::text
FROM jsonb_each_text(%(tickers)s::jsonb) AS n(key, value)
JOIN {symbols} s ON {symbols.symbol[s]} = n.key AND {symbols.ours[s]}
LEFT JOIN data_sources.assetbatch_sync m ON m.symbol_id = {symbols.id[s]}
WHERE m.splits_ticker IS DISTINCT FROM n.value
ORDER BY 1;

-- name: load_unjudged
-- Return the applied splits of the last years of which it is not known whether the bars bear them out, the newest first, with
-- the last close before the day and the first open since. Bars farther away than `reach` days are no judge.
SELECT {symbols.symbol[s]}::text, {splits.execution_date[d]}, {splits.split_from[d]}::float8, {splits.split_to[d]}::float8,
       {splits.kind[d]}::text, before.price, after.price
FROM {splits} d
JOIN {symbols} s ON {splits.symbol_id[d]} = {splits.of[s]} AND {symbols.ours[s]}
CROSS JOIN LATERAL (
    SELECT coalesce((
        SELECT {bars.close[o]}::float8 FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} < (({splits.execution_date[d]})::timestamp AT TIME ZONE 'America/New_York'){bars.ts.zone}
          AND {bars.ts[o]} >= (({splits.execution_date[d]} - %(reach)s::int)::timestamp
                               AT TIME ZONE 'America/New_York'){bars.ts.zone}
        ORDER BY {bars.ts[o]} DESC LIMIT 1
    ), (
        SELECT {bars_1d.close[o]}::float8 FROM {bars_1d} o
        WHERE {bars_1d.symbol_id[o]} = {bars_1d.of[s]} AND {bars_1d.ours[o]}
          AND {bars_1d.day[o]} < {splits.execution_date[d]}
          AND {bars_1d.day[o]} >= {splits.execution_date[d]} - %(reach)s::int
        ORDER BY {bars_1d.day[o]} DESC LIMIT 1
    ))
) AS before(price)
CROSS JOIN LATERAL (
    SELECT coalesce((
        SELECT {bars.open[o]}::float8 FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} >= (({splits.execution_date[d]})::timestamp AT TIME ZONE 'America/New_York'){bars.ts.zone}
          AND {bars.ts[o]} < (({splits.execution_date[d]} + %(reach)s::int)::timestamp
                              AT TIME ZONE 'America/New_York'){bars.ts.zone}
        ORDER BY {bars.ts[o]} LIMIT 1
    ), (
        SELECT {bars_1d.open[o]}::float8 FROM {bars_1d} o
        WHERE {bars_1d.symbol_id[o]} = {bars_1d.of[s]} AND {bars_1d.ours[o]}
          AND {bars_1d.day[o]} >= {splits.execution_date[d]}
          AND {bars_1d.day[o]} < {splits.execution_date[d]} + %(reach)s::int
        ORDER BY {bars_1d.day[o]} LIMIT 1
    ))
) AS after(price)
WHERE {splits.ours[d]} AND {splits.state[d]} = 'applied' AND ({splits.fits[d]}) IS NULL
  AND {splits.execution_date[d]} BETWEEN %(since)s AND %(today)s
  AND before.price > 0 AND after.price > 0
ORDER BY {splits.execution_date[d]} DESC, 1
LIMIT %(most)s;

-- name: save_verdicts
-- Record whether the bars bear splits out.
UPDATE {splits} d
SET {splits.fits} = n.fits
FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(symbol text, execution_date date, fits boolean)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
WHERE {splits.symbol_id[d]} = {splits.of[s]} AND {splits.ours[d]} AND {splits.execution_date[d]} = n.execution_date;

-- name: find_doubtful
-- Return the splits of these symbols that a person should look at: those of a conflict, and applied ones that the bars do
-- not bear out. The newest first.
SELECT {symbols.symbol[s]}::text, {splits.execution_date[d]}, {splits.split_from[d]}::float8, {splits.split_to[d]}::float8,
       {splits.kind[d]}::text, {splits.state[d]}::text
FROM {splits} d
JOIN {symbols} s ON {splits.symbol_id[d]} = {splits.of[s]} AND {symbols.ours[s]}
WHERE {splits.ours[d]} AND {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND isfinite({splits.execution_date[d]})
  AND ({splits.state[d]} = 'conflict' OR ({splits.state[d]} = 'applied' AND NOT {splits.fits[d]}))
ORDER BY {splits.execution_date[d]} DESC, 1;
