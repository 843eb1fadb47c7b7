-- The closes of the newest day of stored bars of each symbol, thinned: the newest bar of each `every`.
-- Reads at most 288 rows a symbol, by the primary key.
SELECT {symbols.symbol[s]}::text, (extract(epoch FROM b.ts{bars.ts.zone}) * 1000)::bigint, b.close
FROM {symbols} s
CROSS JOIN LATERAL (
    SELECT latest.ts, latest.close, row_number() OVER (ORDER BY latest.ts DESC) - 1 AS place
    FROM (
        SELECT {bars.ts[o]} AS ts, {bars.close[o]} AS close
        FROM {bars} o
        WHERE {bars.symbol_id[o]} = {bars.of[s]} AND {bars.ours[o]}
        ORDER BY {bars.ts[o]} DESC
        LIMIT 288
    ) AS latest
) AS b
WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]} AND mod(b.place, %(every)s) = 0
ORDER BY 1, b.ts
