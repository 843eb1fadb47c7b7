-- A reference of the table that leads to no row, by one descent of its index for each value that there is.
WITH RECURSIVE walk AS (
    (SELECT {column} AS value FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT t.{column} FROM {table} t WHERE t.{column} > walk.value ORDER BY t.{column} LIMIT 1)
    FROM walk WHERE walk.value IS NOT NULL
)
SELECT value::text FROM walk
WHERE value IS NOT NULL AND NOT EXISTS (SELECT FROM {target} s WHERE s.{target_column} = walk.value)
LIMIT 1;
