-- Whether any bar lies between the first and the last of the bars that have come for a symbol: one descent of the
-- index each. Where there is none, they can be copied straight into the table.
SELECT n.symbol, {bars.of[s]}, EXISTS (
    SELECT FROM {bars} o
    WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
      AND {bars.ts[o]} BETWEEN (to_timestamp(n.first_ms / 1000.0::float8){bars.ts.zone})
                           AND (to_timestamp(n.last_ms / 1000.0::float8){bars.ts.zone})
)
FROM jsonb_to_recordset(%(ranges)s::jsonb) AS n(symbol text, first_ms int8, last_ms int8)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]};
