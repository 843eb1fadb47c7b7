-- Note which stretch of bars each answer covers and when it was asked for; return the stretches that were answered by
-- a call of a later moment. A row belongs to five minutes of asking: of the same five minutes it grows, an older one
-- is replaced. A moment ahead of this server's clock is not believed: the clock was set back since.
WITH mine AS MATERIALIZED (
    SELECT n.symbol, s.id, to_timestamp(n.asked_ms / 1000.0::float8) AS asked_at, n.asked_ms / 300000 AS place,
           to_timestamp(n.first_ms / 1000.0::float8) AS start_ts, to_timestamp(n.last_ms / 1000.0::float8) AS end_ts
    FROM jsonb_to_recordset(%(answers)s::jsonb) AS n(symbol text, asked_ms int8, first_ms int8, last_ms int8)
    JOIN trading.symbols s ON s.symbol = n.symbol
),
noted AS (
    INSERT INTO data_sources.assetbatch_answers AS a (symbol_id, slot, asked_at, start_ts, end_ts)
    SELECT m.id, mod(m.place, 48), m.asked_at, m.start_ts, m.end_ts
    FROM mine m
    ON CONFLICT (symbol_id, slot) DO UPDATE
    SET asked_at = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                        THEN excluded.asked_at ELSE greatest(a.asked_at, excluded.asked_at) END,
        start_ts = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                        THEN excluded.start_ts ELSE least(a.start_ts, excluded.start_ts) END,
        end_ts = CASE WHEN excluded.asked_at - a.asked_at > interval '5 minutes'
                      THEN excluded.end_ts ELSE greatest(a.end_ts, excluded.end_ts) END
    -- A row that lies hours ahead is of a clock that was wrong; one that is only later is a later answer.
    WHERE a.asked_at - excluded.asked_at < interval '5 minutes' OR a.asked_at > clock_timestamp() + interval '1 minute'
)
SELECT m.symbol, (extract(epoch FROM a.start_ts) * 1000)::int8, (extract(epoch FROM a.end_ts) * 1000)::int8
FROM mine m
CROSS JOIN LATERAL generate_series(
    m.place,
    least(m.place + 47, greatest(m.place + 1, floor(extract(epoch FROM clock_timestamp()) / 300)::int8))
) AS later(place)
JOIN data_sources.assetbatch_answers a ON a.symbol_id = m.id AND a.slot = mod(later.place, 48)
WHERE a.asked_at > m.asked_at
  AND a.asked_at <= greatest(m.asked_at, clock_timestamp()) + interval '1 minute'
  AND a.start_ts <= m.end_ts AND a.end_ts >= m.start_ts;
