-- The partitions of the table of bars with their ranges in Unix ms, NULL for an open end; any role may ask.
SELECT c.relname::text,
       CASE WHEN isfinite(range.starts) THEN (extract(epoch FROM range.starts) * 1000)::int8 END,
       CASE WHEN isfinite(range.ends) THEN (extract(epoch FROM range.ends) * 1000)::int8 END
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
CROSS JOIN LATERAL (
    SELECT substring(bound.text FROM $$ FROM \('([^']+)'\) TO $$)::timestamptz AS starts,
           substring(bound.text FROM $$ TO \('([^']+)'\)$$)::timestamptz AS ends
    FROM pg_get_expr(c.relpartbound, c.oid) AS bound(text)
) AS range
WHERE i.inhparent = to_regclass('market_data.ohlcv_5m')
ORDER BY range.starts NULLS FIRST;
