-- Bars of a day.

-- name: record_answers
-- Record when the days of registered symbols were asked for, and hold these rows: two writers may bring the days of one
-- market, and the second has to see what the first has written. A moment ahead of this server's clock is not believed: the
-- clock was set back since.
INSERT INTO data_sources.assetbatch_answers AS a (symbol_id, slot, asked_at, answers)
SELECT {symbols.id[s]}, -1, max(to_timestamp(n.asked_ms / 1000.0::float8)), '[]'
FROM jsonb_to_recordset(%(days)s::jsonb) AS n(symbol text, asked_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
GROUP BY {symbols.id[s]}
ORDER BY {symbols.id[s]}
ON CONFLICT (symbol_id, slot) DO UPDATE
SET asked_at = excluded.asked_at
WHERE a.asked_at < excluded.asked_at OR a.asked_at > clock_timestamp() + interval '1 minute';

-- name: merge
-- Write the day bars that are new or differ, of symbols that are registered, in the order of their keys. A bar that is there
-- stays where an answer of a later moment has come. `values` are the values in the types of the table, so that they are
-- rounded before they are compared.
WITH incoming AS MATERIALIZED (
    SELECT {bars_1d.of[s]} AS symbol_id, n.day, b.*
    FROM jsonb_to_recordset(%(days)s::jsonb) AS n(symbol text, asked_ms int8, day date, bar jsonb)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
    JOIN data_sources.assetbatch_answers a ON a.symbol_id = {symbols.id[s]} AND a.slot = -1
    CROSS JOIN LATERAL (SELECT {values}) AS b
    LEFT JOIN LATERAL (
        SELECT true AS is_there, o.*
        FROM {bars_1d} o
        WHERE {bars_1d.symbol_id[o]} = {bars_1d.of[s]} AND {bars_1d.ours[o]} AND {bars_1d.day[o]} = n.day
        OFFSET 0
    ) old ON true
    WHERE {bars_1d.of[s]} IS NOT NULL
      AND (old.is_there IS NULL
           OR (({bars_1d.values[b]}) IS DISTINCT FROM ({bars_1d.own_values[old]})
               AND a.asked_at <= to_timestamp(n.asked_ms / 1000.0::float8)))
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

-- name: load_market_days
-- Return which days of a market were answered since a day, when, and with how many bars.
SELECT day, (extract(epoch FROM asked_at) * 1000)::int8, bars FROM data_sources.assetbatch_market_days
WHERE market = %(market)s AND day >= %(since)s;

-- name: save_market_day
-- Record that a day of a market was answered. Answers of no use, with 0 bars, are counted down from 0.
INSERT INTO data_sources.assetbatch_market_days AS m (market, day, asked_at, bars)
VALUES (%(market)s, %(day)s, to_timestamp(%(asked_ms)s / 1000.0::float8), %(bars)s)
ON CONFLICT (market, day) DO UPDATE
SET asked_at = excluded.asked_at,
    bars = CASE WHEN excluded.bars > 0 OR m.bars > 0 THEN excluded.bars
                ELSE m.bars - (m.asked_at <> excluded.asked_at)::int END;

-- name: forget_market_days
-- Forget which days of a market were answered.
DELETE FROM data_sources.assetbatch_market_days WHERE market = %(market)s;
