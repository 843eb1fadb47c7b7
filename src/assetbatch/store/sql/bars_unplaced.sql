-- The moments of symbols that no partition takes. `rules` are the rules of the partitions, joined by OR.
SELECT o.symbol, o.t_ms
FROM (
    SELECT s.symbol::text AS symbol, s.id AS symbol_id, n.t_ms, to_timestamp(n.t_ms / 1000.0::float8) AS ts
    FROM trading.symbols s
    CROSS JOIN unnest(%(moments)s::int8[]) AS n(t_ms)
    WHERE s.symbol = ANY (%(symbols)s::text[])
) o
WHERE NOT coalesce({rules}, false)
ORDER BY o.symbol, o.t_ms;
