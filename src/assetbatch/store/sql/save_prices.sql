-- Set metadata.last_update and keep every other key. Where metadata is no object (an array, a word), nothing could
-- be added to it: it is kept under the key "previous" of a new one. JSON null counts as nothing.
UPDATE trading.symbols s
SET metadata = CASE
        WHEN s.metadata IS NULL THEN '{}'::jsonb
        WHEN jsonb_typeof(s.metadata::jsonb) = 'object' THEN s.metadata::jsonb
        WHEN jsonb_typeof(s.metadata::jsonb) = 'null' THEN '{}'::jsonb
        ELSE jsonb_build_object('previous', s.metadata::jsonb)
    END || jsonb_build_object('last_update', n.last_update),
    updated_at = now()
FROM jsonb_to_recordset(%(prices)s::jsonb) AS n(symbol text, last_update jsonb)
WHERE s.symbol = n.symbol
RETURNING n.symbol;
