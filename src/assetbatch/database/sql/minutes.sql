-- Bars of five minutes out of the stored minutes.

-- name: load
-- Load the stored minutes of some intervals of symbols, ascending. OFFSET 0 keeps each interval to its index.
SELECT n.symbol, m.*
FROM jsonb_to_recordset(%(intervals)s::jsonb) AS n(symbol text, start_ms int8, end_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
CROSS JOIN LATERAL (
    SELECT (extract(epoch FROM {bars_1m.ts[o]}{bars_1m.ts.zone}) * 1000)::int8 AS t_ms,
           {bars_1m.open[o]}::float8, {bars_1m.high[o]}::float8, {bars_1m.low[o]}::float8, {bars_1m.close[o]}::float8,
           {bars_1m.volume[o]}::float8, {bars_1m.vwap[o]}::float8, {bars_1m.trades[o]}::int8
    FROM {bars_1m} o
    WHERE {bars_1m.symbol_id[o]} = {bars_1m.of[s]} AND {bars_1m.ours[o]}
      AND {bars_1m.ts[o]} >= to_timestamp(n.start_ms / 1000.0::float8){bars_1m.ts.zone}
      AND {bars_1m.ts[o]} < to_timestamp(n.end_ms / 1000.0::float8){bars_1m.ts.zone}
    OFFSET 0
) m
ORDER BY n.symbol, m.t_ms;
