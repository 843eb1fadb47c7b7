-- The newest moment of a naive column, as if in UTC and as if in the database's zone, by one descent of the index for
-- each instrument.
WITH RECURSIVE walk AS (
    (SELECT {key} AS value FROM {table} WHERE {key} IS NOT NULL ORDER BY {key} LIMIT 1)
    UNION ALL
    SELECT (SELECT t.{key} FROM {table} t WHERE t.{key} > walk.value ORDER BY t.{key} LIMIT 1)
    FROM walk WHERE walk.value IS NOT NULL
), newest AS (
    SELECT max(last.at) AS at
    FROM walk CROSS JOIN LATERAL (
        SELECT t.{column} AS at FROM {table} t
        WHERE t.{key} = walk.value AND t.{column} < 'infinity' ORDER BY t.{column} DESC LIMIT 1
    ) AS last
)
SELECT extract(epoch FROM at AT TIME ZONE 'UTC')::float8, extract(epoch FROM at AT TIME ZONE %(zone)s::text)::float8
FROM newest;
