-- The partitions of the table of bars with their ranges of ts in Unix ms, NULL for an open end and for ranges of
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
