-- What decides when a symbol is due again: how its refresh went, when, and how new its price was. The platform's own row
-- says the same to its readers, but anybody may write that one. Symbols with the same outcome come together.
-- Of refusals in a row since the last success, rejected_since is the first.
WITH outcome AS MATERIALIZED (
    SELECT {symbols.id[s]} AS symbol_id, n.succeeded, n.rejected, n.status, n.error
    FROM jsonb_to_recordset(%(outcomes)s::jsonb)
         AS n(symbols text[], succeeded boolean, rejected boolean, status text, error text)
    CROSS JOIN LATERAL unnest(n.symbols) AS of_outcome(symbol)
    JOIN {symbols} s ON {symbols.symbol[s]} = of_outcome.symbol AND {symbols.ours[s]}
),
price AS MATERIALIZED (
    SELECT {symbols.id[s]} AS symbol_id, to_timestamp(n.as_of_ms / 1000.0::float8) AS as_of
    FROM unnest(%(symbols)s::text[], %(as_of_ms)s::int8[]) AS n(symbol, as_of_ms)
    JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
)
INSERT INTO data_sources.assetbatch_sync AS m
    (symbol_id, as_of, last_success_at, status, status_at, error_message, rejected_at, rejected_since)
SELECT symbol_id,
       p.as_of,
       CASE WHEN o.succeeded THEN now_at.moment END,
       o.status,
       CASE WHEN o.status IS NOT NULL THEN now_at.moment END,
       o.error,
       CASE WHEN o.rejected THEN now_at.moment END,
       CASE WHEN o.rejected THEN now_at.moment END
FROM outcome o
FULL JOIN price p USING (symbol_id)
CROSS JOIN (SELECT to_timestamp(%(now_ms)s / 1000.0) AS moment) now_at
ORDER BY symbol_id
ON CONFLICT (symbol_id) DO UPDATE
SET as_of = greatest(excluded.as_of, m.as_of),
    last_success_at = coalesce(excluded.last_success_at, m.last_success_at),
    status = coalesce(excluded.status, m.status),
    status_at = coalesce(excluded.status_at, m.status_at),
    error_message = CASE WHEN excluded.status IS NULL THEN m.error_message ELSE excluded.error_message END,
    rejected_at = CASE WHEN excluded.status IS NULL THEN m.rejected_at ELSE excluded.rejected_at END,
    rejected_since = CASE
        WHEN excluded.status IS NULL THEN m.rejected_since
        WHEN excluded.last_success_at IS NOT NULL THEN NULL
        WHEN excluded.rejected_at IS NULL OR m.rejected_since <= excluded.rejected_at THEN m.rejected_since
        ELSE excluded.rejected_at
    END;
