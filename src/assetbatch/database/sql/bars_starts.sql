-- The starts of the stored bars within some stretches of symbols.
SELECT n.symbol, (extract(epoch FROM {bars.ts[o]}{bars.ts.zone}) * 1000)::int8
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, first_ms int8, last_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
JOIN {bars} o
  ON {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
 AND {bars.ts[o]} BETWEEN (to_timestamp(n.first_ms / 1000.0::float8){bars.ts.zone})
                      AND (to_timestamp(n.last_ms / 1000.0::float8){bars.ts.zone});
