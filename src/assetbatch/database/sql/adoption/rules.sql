-- The rules of a column alone: CHECKs of its table, and those of its domains over VALUE. With its type without them.
SELECT pg_get_expr(k.conbin, k.conrelid)
FROM pg_attribute a
JOIN pg_constraint k ON k.contype = 'c' AND k.conrelid = a.attrelid AND k.conkey = ARRAY[a.attnum]
WHERE a.attrelid = to_regclass(%(table)s) AND a.attname = %(column)s
UNION ALL
SELECT pg_get_expr(k.conbin, 0)
FROM pg_attribute a
CROSS JOIN LATERAL (
    WITH RECURSIVE chain AS (
        SELECT a.atttypid AS oid
        UNION ALL
        SELECT t.typbasetype FROM chain JOIN pg_type t ON t.oid = chain.oid AND t.typtype = 'd'
    )
    SELECT oid FROM chain
) AS of_domain
JOIN pg_constraint k ON k.contype = 'c' AND k.contypid = of_domain.oid
WHERE a.attrelid = to_regclass(%(table)s) AND a.attname = %(column)s;
