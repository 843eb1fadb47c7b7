-- The partitions of the table of bars with their ranges in Unix ms, NULL for an open end; any role may ask
-- (to_regclass would need USAGE on the schema).
SELECT c.relname::text,
       CASE WHEN isfinite(range.starts) THEN (extract(epoch FROM range.starts) * 1000)::int8 END,
       CASE WHEN isfinite(range.ends) THEN (extract(epoch FROM range.ends) * 1000)::int8 END
FROM pg_namespace n
JOIN pg_class bars ON bars.relnamespace = n.oid AND bars.relname = 'ohlcv_5m'
JOIN pg_inherits i ON i.inhparent = bars.oid
JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
CROSS JOIN LATERAL (
    SELECT substring(bound.text FROM $$ FROM \('([^']+)'\) TO $$)::timestamptz AS starts,
           substring(bound.text FROM $$ TO \('([^']+)'\)$$)::timestamptz AS ends
    FROM pg_get_expr(c.relpartbound, c.oid) AS bound(text)
) AS range
WHERE n.nspname = 'market_data'
ORDER BY range.starts NULLS FIRST;
