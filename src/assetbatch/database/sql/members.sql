-- The members of rules, and the walks that look them up.

-- name: load
-- Return the members of rules that are not gone, in the order of their tickers.
SELECT m.rule, {symbols.symbol[s]}::text, m.ticker, m.name
FROM data_sources.assetbatch_members m
JOIN {symbols} s ON {symbols.id[s]} = m.symbol_id AND {symbols.ours[s]}
WHERE m.rule = ANY (%(rules)s::text[]) AND m.gone_since IS NULL
ORDER BY m.rule, m.ticker COLLATE "C";

-- name: load_owners
-- Return which tickers the symbols have as members of any rule.
SELECT {symbols.symbol[s]}::text, m.ticker
FROM data_sources.assetbatch_members m
JOIN {symbols} s ON {symbols.id[s]} = m.symbol_id AND {symbols.ours[s]}
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND m.gone_since IS NULL;

-- name: load_types
-- Return which of the symbols have a row, and what it says of its class; NULL where the table has no column for that.
SELECT {symbols.symbol[s]}::text, ({symbols.asset_type[s]})::text
FROM {symbols} s
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};

-- name: save
-- Record what a page has shown: the tickers that a rule takes. Return how many of them are new, or are there again.
WITH seen AS MATERIALIZED (
    SELECT {symbols.id[s]} AS symbol_id, n.ticker, n.name
    FROM jsonb_to_recordset(%(members)s::jsonb) AS n(symbol text, ticker text, name text)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
),
before AS MATERIALIZED (
    SELECT m.symbol_id
    FROM data_sources.assetbatch_members m
    JOIN seen USING (symbol_id)
    WHERE m.rule = %(rule)s AND m.gone_since IS NULL
),
written AS (
    INSERT INTO data_sources.assetbatch_members AS m (rule, symbol_id, ticker, name, since, seen_at)
    SELECT %(rule)s, symbol_id, ticker, name, now(), to_timestamp(%(started_ms)s / 1000.0::float8)
    FROM seen
    ORDER BY symbol_id
    ON CONFLICT (rule, symbol_id) DO UPDATE
    SET ticker = excluded.ticker,
        name = excluded.name,
        seen_at = excluded.seen_at,
        since = CASE WHEN m.gone_since IS NULL THEN m.since ELSE excluded.since END,
        gone_since = NULL
)
SELECT (SELECT count(*) FROM seen) - (SELECT count(*) FROM before);

-- name: count
-- Return how many members a rule has, and how many of them a walk has seen.
SELECT count(*), count(*) FILTER (WHERE seen_at >= to_timestamp(%(started_ms)s / 1000.0::float8))
FROM data_sources.assetbatch_members
WHERE rule = %(rule)s AND gone_since IS NULL;

-- name: mark_gone
-- Mark the members of a rule that a walk has not seen; return their symbols.
UPDATE data_sources.assetbatch_members m
SET gone_since = now()
FROM {symbols} s
WHERE m.rule = %(rule)s AND m.gone_since IS NULL AND m.seen_at < to_timestamp(%(started_ms)s / 1000.0::float8)
  AND {symbols.id[s]} = m.symbol_id AND {symbols.ours[s]}
RETURNING {symbols.symbol[s]}::text;

-- name: load_walks
-- Return the last walk of each rule. One that was finished before it began is that of an earlier walk.
SELECT rule, (extract(epoch FROM started_at) * 1000)::int8, query, after, calls, is_whole,
       CASE WHEN finished_at >= started_at THEN (extract(epoch FROM finished_at) * 1000)::int8 END,
       finished_at IS NULL
FROM data_sources.assetbatch_walks
WHERE rule = ANY (%(rules)s::text[]);

-- name: lock_walks
-- Let one program at a time take a page of a walk, until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('assetbatch walks', 0));

-- name: save_walk
-- Record how far a walk has come. While it is unfinished, it stays known when an earlier one was finished: before it began,
-- whatever the clocks said.
INSERT INTO data_sources.assetbatch_walks AS w (rule, started_at, query, after, calls, is_whole, finished_at)
VALUES (%(rule)s, to_timestamp(%(started_ms)s / 1000.0::float8), %(place)s, %(after)s, %(calls)s, %(is_whole)s,
        to_timestamp(%(finished_ms)s / 1000.0::float8))
ON CONFLICT (rule) DO UPDATE
SET started_at = excluded.started_at, query = excluded.query, after = excluded.after, calls = excluded.calls,
    is_whole = excluded.is_whole,
    finished_at = coalesce(
        excluded.finished_at,
        CASE WHEN w.finished_at IS NOT NULL
             THEN least(w.finished_at, excluded.started_at - interval '1 millisecond') END
    );
