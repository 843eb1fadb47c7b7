-- Where bars are missing: for each range [start_ms, end_ms) of a symbol the stretches between its bars that are longer
-- than one slot. Reads the index of the range and nothing else. A bar of a platform that begins within a slot fills it.
SELECT n.symbol, gap.t_ms + 300000, gap.next_ms
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, start_ms int8, end_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
CROSS JOIN LATERAL (
    SELECT slot.t_ms, lead(slot.t_ms, 1, n.end_ms) OVER (ORDER BY slot.t_ms) AS next_ms
    FROM (
        SELECT n.start_ms - 300000 AS t_ms
        UNION ALL
        SELECT floor(date_part('epoch', {bars.ts[o]}{bars.ts.zone}) / 300)::int8 * 300000
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
          AND {bars.ts[o]} >= to_timestamp(n.start_ms / 1000.0::float8){bars.ts.zone}
          AND {bars.ts[o]} < to_timestamp(n.end_ms / 1000.0::float8){bars.ts.zone}
    ) slot
) gap
WHERE gap.next_ms > gap.t_ms + 300000
ORDER BY n.symbol, gap.t_ms;
