-- Bars of a day.

-- name: merge
-- Write the day bars that are new or differ, of symbols that are registered; in the order of their keys, since two writers
-- may bring the days of one market. The values have the types of the table before they are compared.
WITH incoming AS MATERIALIZED (
    SELECT {bars_1d.of[s]} AS symbol_id, n.day, {bars_1d.typed[b]}, old.is_there IS NULL AS is_new
    FROM jsonb_to_recordset(%(days)s::jsonb) AS n(symbol text, day date, bar jsonb)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    CROSS JOIN LATERAL jsonb_populate_record(NULL::{bars_1d}, n.bar) AS b
    LEFT JOIN LATERAL (
        SELECT true AS is_there, o.*
        FROM {bars_1d} o
        WHERE {bars_1d.symbol_id[o]} = {bars_1d.of[s]} AND {bars_1d.ours[o]} AND {bars_1d.day[o]} = n.day
        OFFSET 0
    ) old ON true
    WHERE {bars_1d.of[s]} IS NOT NULL
      AND (old.is_there IS NULL OR ({bars_1d.all_values[b]}) IS DISTINCT FROM ({bars_1d.all_values[old]}))
),
written AS (
    INSERT INTO {bars_1d} AS o ({bars_1d.symbol_id}, {bars_1d.day}, {bars_1d.value_columns}{bars_1d.constant_columns})
    SELECT i.symbol_id, i.day, {bars_1d.values[i]}{bars_1d.constant_values}
    FROM incoming i
    ORDER BY i.symbol_id, i.day
    ON CONFLICT ({bars_1d.symbol_id}, {bars_1d.day}{bars_1d.constant_key}) DO UPDATE
    SET {bars_1d.overwritten}
    RETURNING 1
)
SELECT count(*), (SELECT count(*) FROM written) FROM incoming;
