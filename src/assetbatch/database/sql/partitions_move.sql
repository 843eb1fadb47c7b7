-- Bars whose month has a partition by now, out of a table that is detached.
WITH moved AS (
    DELETE FROM {partition} WHERE {bars.ts} < {ends} RETURNING *
)
INSERT INTO {bars} SELECT * FROM moved;
