-- What each partition of the table of bars takes, as an expression over its columns; no row for a table without.
SELECT pg_get_partition_constraintdef(t.relid)
FROM pg_class c
CROSS JOIN LATERAL pg_partition_tree(c.oid) t
WHERE c.oid = {bars.regclass} AND c.relkind = 'p' AND t.isleaf AND t.level > 0;
