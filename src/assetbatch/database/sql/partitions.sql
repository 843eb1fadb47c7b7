-- The partitions of the table of bars, and its hypertable.

-- name: load_state
-- Return the server's time in Unix ms, whether the table of bars is partitioned, whether by ranges of ts alone
-- without a DEFAULT partition, and the schema of TimescaleDB's functions where that is installed.
SELECT floor(extract(epoch FROM now()) * 1000)::int8,
       c.relkind = 'p',
       coalesce(p.partstrat = 'r' AND p.partdefid = 0 AND p.partattrs::text = ts.attnum::text, false),
       (SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'timescaledb')
FROM pg_class c
JOIN pg_attribute ts ON ts.attrelid = c.oid AND ts.attname = {bars.ts.literal}
LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
WHERE c.oid = {bars.regclass};

-- name: load
-- Return the partitions of the table of bars with their ranges of ts in Unix ms, NULL for an open end and for ranges of
-- anything else. Any role may ask (to_regclass would need USAGE on the schema).
SELECT c.relname::text,
       CASE WHEN isfinite(range.starts) THEN (extract(epoch FROM range.starts) * 1000)::int8 END,
       CASE WHEN isfinite(range.ends) THEN (extract(epoch FROM range.ends) * 1000)::int8 END
FROM pg_namespace n
JOIN pg_class bars ON bars.relnamespace = n.oid AND bars.relname = {bars.table}
JOIN pg_inherits i ON i.inhparent = bars.oid
JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
JOIN pg_partitioned_table p ON p.partrelid = bars.oid
LEFT JOIN pg_attribute ts ON ts.attrelid = bars.oid AND ts.attname = {bars.ts.literal} AND p.partattrs::text = ts.attnum::text
CROSS JOIN LATERAL (
    SELECT CASE WHEN ts.attname IS NOT NULL
                THEN substring(bound.text FROM $$ FROM \('([^']+)'\) TO $$)::timestamptz END AS starts,
           CASE WHEN ts.attname IS NOT NULL
                THEN substring(bound.text FROM $$ TO \('([^']+)'\)$$)::timestamptz END AS ends
    FROM pg_get_expr(c.relpartbound, c.oid) AS bound(text)
) AS range
WHERE n.nspname = {bars.schema}
ORDER BY range.starts NULLS FIRST;

-- name: lock
-- Keep others from reading and writing bars while partitions are added: a reader that has looked up the partitions before
-- would miss bars that are moved into a new one.
LOCK TABLE {bars} IN ACCESS EXCLUSIVE MODE;

-- name: add
-- Add a partition.
CREATE TABLE {partition} PARTITION OF {bars} FOR VALUES FROM ({starts}) TO ({ends});

-- name: detach
-- Detach a partition: it becomes a table of its own.
ALTER TABLE {bars} DETACH PARTITION {partition};

-- name: move_rows
-- Move the bars whose month has a partition by now out of a table that is detached.
WITH moved AS (
    DELETE FROM {partition} WHERE {bars.ts} < {ends} RETURNING *
)
INSERT INTO {bars} SELECT * FROM moved;

-- name: attach
-- Attach a table as a partition.
ALTER TABLE {bars} ATTACH PARTITION {partition} FOR VALUES FROM ({starts}) TO ({ends});

-- name: load_rules
-- Return what each partition of the table of bars takes, as an expression over its columns; no row for a table without
-- partitions.
SELECT pg_get_partition_constraintdef(t.relid)
FROM pg_class c
CROSS JOIN LATERAL pg_partition_tree(c.oid) t
WHERE c.oid = {bars.regclass} AND c.relkind = 'p' AND t.isleaf AND t.level > 0;

-- name: find_unplaced
-- Return the moments of symbols that no partition takes. `rules` are the rules of the partitions, joined by OR.
SELECT o.asset_symbol, o.t_ms
FROM (
    SELECT {symbols.symbol[s]}::text AS asset_symbol, n.t_ms, {bars.of[s]} AS {bars.symbol_id},
           to_timestamp(n.t_ms / 1000.0::float8){bars.ts.zone} AS {bars.ts}{bars.constants_named}
    FROM {symbols} s
    CROSS JOIN unnest(%(moments)s::int8[]) AS n(t_ms)
    WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
) o
WHERE NOT coalesce({rules}, false)
ORDER BY o.asset_symbol, o.t_ms;

-- name: has_bars
-- Return whether there are any bars.
SELECT EXISTS (SELECT FROM {bars});

-- name: has_hypertable
-- Return whether the table of bars is a hypertable.
SELECT EXISTS (
    SELECT FROM timescaledb_information.hypertables
    WHERE hypertable_schema = {bars.schema} AND hypertable_name = {bars.table}
);

-- name: create_hypertable
-- Make the table of bars a hypertable of TimescaleDB. The primary key serves every query of ours: TimescaleDB's own index
-- on ts would only slow down writing.
SELECT {timescaledb}.create_hypertable(
    {bars.regclass}, {bars.ts.literal}, chunk_time_interval => interval '1 month', create_default_indexes => false
);
