-- Tables that have a column for each of the four prices: they look like bars.
SELECT n.nspname::text, c.relname::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN jsonb_each(%(prices)s::jsonb) AS price(ours, aliases)
  ON price.aliases ? regexp_replace(lower(a.attname), '[^a-z0-9]', '', 'g')
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_|^information_schema$|^_timescaledb'
GROUP BY 1, 2
HAVING count(DISTINCT price.ours) = 4
ORDER BY 1, 2;
