-- What differs between two states of ledgers: rows that are gone by their start, and rows that are new or other.
-- No row is in both, so that the order of the two parts does not matter.
WITH gone AS (
    DELETE FROM data_sources.assetbatch_spans p
    USING jsonb_to_recordset(%(gone)s::jsonb) AS g(symbol text, start_ms int8)
    JOIN {symbols} s ON {symbols.symbol[s]} = g.symbol AND {symbols.ours[s]}
    WHERE p.symbol_id = {symbols.id[s]} AND p.start_ts = to_timestamp(g.start_ms / 1000.0)
)
INSERT INTO data_sources.assetbatch_spans AS p
    (symbol_id, start_ts, end_ts, state, asked_at, error_message, fault, updated_at)
SELECT {symbols.id[s]}, to_timestamp(n.start_ms / 1000.0), to_timestamp(n.end_ms / 1000.0), n.state,
       to_timestamp(n.asked_ms / 1000.0), n.error, n.fault, to_timestamp(%(now_ms)s / 1000.0)
FROM jsonb_to_recordset(%(written)s::jsonb)
     AS n(symbol text, start_ms int8, end_ms int8, state text, asked_ms int8, error text, fault text)
JOIN {symbols} s ON {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
ON CONFLICT (symbol_id, start_ts) DO UPDATE
SET end_ts = excluded.end_ts,
    state = excluded.state,
    asked_at = excluded.asked_at,
    error_message = excluded.error_message,
    fault = excluded.fault,
    updated_at = excluded.updated_at;
