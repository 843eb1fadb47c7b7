-- The moments of symbols that no partition takes. `rules` are the rules of the partitions, joined by OR.
SELECT o.asset_symbol, o.t_ms
FROM (
    SELECT {symbols.symbol[s]}::text AS asset_symbol, n.t_ms, {bars.of[s]} AS {bars.symbol_id},
           to_timestamp(n.t_ms / 1000.0::float8){bars.ts.zone} AS {bars.ts}{bars.constants_named}
    FROM {symbols} s
    CROSS JOIN unnest(%(moments)s::int8[]) AS n(t_ms)
    WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
) o
WHERE NOT coalesce({rules}, false)
ORDER BY o.asset_symbol, o.t_ms;
