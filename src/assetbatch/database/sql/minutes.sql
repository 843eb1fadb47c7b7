-- Bars of five minutes out of the stored minutes.

-- name: derive
-- Write the bars of five minutes of some intervals of symbols, as far as minutes are stored there and the bars are new or
-- differ: first open, highest high, lowest low, last close, sums, the average weighted by volume. What one of the minutes
-- lacks, the bar lacks. A sum of volumes keeps 15 significant digits (by the cast to numeric): 0.1 and 0.2 are 0.3.
-- `values` are the values in the types of the table, so that they are rounded before they are compared.
--
-- OFFSET 0 keeps each part to its index. The first and the last of five minutes are nearly always there: only where one is
-- not, the index is asked, which takes half the time of a sort. Bars are looked up only if there are any in the intervals: a
-- page of the past meets none.
WITH asked AS MATERIALIZED (
    SELECT {bars.of[s]} AS symbol_id, {bars_1m.of[s]} AS minutes_id,
           to_timestamp(n.start_ms / 1000.0::float8) AS starts, to_timestamp(n.end_ms / 1000.0::float8) AS ends
    FROM jsonb_to_recordset(%(intervals)s::jsonb) AS n(symbol text, start_ms int8, end_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
),
minute AS (
    SELECT a.symbol_id, a.minutes_id, m.*, date_bin('5 minutes', m.at, 'epoch'::timestamptz) AS slot
    FROM asked a
    CROSS JOIN LATERAL (
        SELECT ({bars_1m.ts[m]}{bars_1m.ts.zone})::timestamptz AS at,
               {bars_1m.open[m]}::float8 AS open, {bars_1m.high[m]}::float8 AS high, {bars_1m.low[m]}::float8 AS low,
               {bars_1m.close[m]}::float8 AS close, {bars_1m.volume[m]}::float8 AS volume,
               {bars_1m.vwap[m]}::float8 AS vwap, {bars_1m.trades[m]}::float8 AS trades
        FROM {bars_1m} m
        WHERE {bars_1m.symbol_id[m]} = a.minutes_id AND {bars_1m.ours[m]}
          AND {bars_1m.ts[m]} >= a.starts{bars_1m.ts.zone} AND {bars_1m.ts[m]} < a.ends{bars_1m.ts.zone}
        OFFSET 0
    ) m
),
bar AS (
    SELECT symbol_id, slot,
           coalesce(max(open) FILTER (WHERE at = slot), (
               SELECT {bars_1m.open[f]} FROM {bars_1m} f
               WHERE {bars_1m.symbol_id[f]} = minutes_id AND {bars_1m.ours[f]} AND {bars_1m.ts[f]} >= slot{bars_1m.ts.zone}
               ORDER BY {bars_1m.ts[f]} LIMIT 1
           )) AS open,
           max(high) AS high,
           min(low) AS low,
           coalesce(max(close) FILTER (WHERE at = slot + interval '4 minutes'), (
               SELECT {bars_1m.close[l]} FROM {bars_1m} l
               WHERE {bars_1m.symbol_id[l]} = minutes_id AND {bars_1m.ours[l]}
                 AND {bars_1m.ts[l]} < (slot + interval '5 minutes'){bars_1m.ts.zone}
               ORDER BY {bars_1m.ts[l]} DESC LIMIT 1
           )) AS close,
           CASE WHEN count(volume) = count(*) THEN sum(volume)::numeric::float8 END AS volume,
           CASE WHEN count(volume * vwap) = count(*) AND sum(volume) > 0
                THEN least(max(high), greatest(min(low), sum(volume * vwap) / sum(volume))) END AS vwap,
           CASE WHEN count(trades) = count(*) THEN sum(trades) END AS trades
    FROM minute
    GROUP BY symbol_id, minutes_id, slot
),
derived AS (
    SELECT b.symbol_id, b.slot{bars.ts.zone} AS ts, {values} FROM bar b
),
changed AS MATERIALIZED (
    SELECT d.*
    FROM derived d
    LEFT JOIN LATERAL (
        SELECT true AS is_there, o.*
        FROM {bars} o
        WHERE (
            SELECT EXISTS (
                SELECT FROM asked a CROSS JOIN LATERAL (
                    SELECT FROM {bars} any_bar
                    WHERE {bars.symbol_id[any_bar]} = a.symbol_id AND {bars.ours[any_bar]}
                      AND {bars.ts[any_bar]} >= a.starts{bars.ts.zone} AND {bars.ts[any_bar]} < a.ends{bars.ts.zone}
                    LIMIT 1
                ) AS there
            )
        )
          AND {bars.symbol_id[o]} = d.symbol_id AND {bars.ours[o]} AND {bars.ts[o]} = d.ts
        OFFSET 0
    ) old ON true
    WHERE old.is_there IS NULL OR ({bars.values[d]}) IS DISTINCT FROM ({bars.own_values[old]})
),
written AS (
    INSERT INTO {bars} AS o ({bars.symbol_id}, {bars.ts}, {bars.value_columns}{bars.constant_columns})
    SELECT c.symbol_id, c.ts, {bars.values[c]}{bars.constant_values}
    FROM changed c
    -- Another program may have written the bar since the comparison.
    ON CONFLICT ({bars.symbol_id}, {bars.ts}{bars.constant_key}) DO UPDATE
    SET {bars.overwritten}
    RETURNING 1
)
SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM written);
