-- Some values of a column, of the first rows.
SELECT DISTINCT value FROM (SELECT {column}::text AS value FROM {table} LIMIT 10000) AS first
WHERE value IS NOT NULL ORDER BY value LIMIT 6;
