-- Note which stretch of bars each answer covers and when it was asked for; return the stretches that were answered by
-- a call of a later moment. A row belongs to five minutes of asking: answers of the same minutes join it, older ones
-- leave it. A moment ahead of this server's clock is not believed: the clock was set back since.
WITH mine AS MATERIALIZED (
    SELECT n.symbol, {symbols.id[s]} AS id, to_timestamp(n.asked_ms / 1000.0::float8) AS asked_at, n.asked_ms / 300000 AS place,
           n.asked_ms, n.first_ms, n.last_ms
    FROM jsonb_to_recordset(%(answers)s::jsonb) AS n(symbol text, asked_ms int8, first_ms int8, last_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
),
noted AS (
    INSERT INTO data_sources.assetbatch_answers AS a (symbol_id, slot, asked_at, answers)
    SELECT m.id, mod(m.place, 48), m.asked_at,
           jsonb_build_array(jsonb_build_array(m.asked_ms, m.first_ms, m.last_ms))
    FROM mine m
    ON CONFLICT (symbol_id, slot) DO UPDATE
    SET asked_at = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                        THEN excluded.asked_at ELSE greatest(a.asked_at, excluded.asked_at) END,
        answers = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                       THEN excluded.answers ELSE excluded.answers || (a.answers - 15) END
    -- A row that lies hours ahead is of a clock that was wrong; one that is only later is a later answer.
    WHERE a.asked_at - excluded.asked_at < interval '5 minutes' OR a.asked_at > clock_timestamp() + interval '1 minute'
)
SELECT m.symbol, (answer ->> 1)::int8, (answer ->> 2)::int8
FROM mine m
CROSS JOIN LATERAL generate_series(
    m.place,
    least(m.place + 47, greatest(m.place + 1, floor(extract(epoch FROM clock_timestamp()) / 300)::int8))
) AS later(place)
JOIN data_sources.assetbatch_answers a ON a.symbol_id = m.id AND a.slot = mod(later.place, 48)
CROSS JOIN LATERAL jsonb_array_elements(a.answers) AS answer
WHERE a.asked_at > m.asked_at
  AND (answer ->> 0)::int8 > m.asked_ms
  AND to_timestamp((answer ->> 0)::int8 / 1000.0::float8)
      <= greatest(m.asked_at, clock_timestamp()) + interval '1 minute'
  AND (answer ->> 1)::int8 <= m.last_ms AND (answer ->> 2)::int8 >= m.first_ms;
