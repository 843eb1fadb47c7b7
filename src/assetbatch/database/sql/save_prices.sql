-- Set metadata.last_update and keep every other key. Where metadata is no object (an array, a word), nothing could
-- be added to it: it is kept under the key "previous" of a new one. JSON null counts as nothing. With each row whether
-- the price is in it: a trigger of the platform's may have put it aside.
UPDATE {symbols} s
SET {symbols.metadata} = CASE
        WHEN {symbols.metadata[s]} IS NULL THEN '{{}}'::jsonb
        WHEN jsonb_typeof({symbols.metadata[s]}::jsonb) = 'object' THEN {symbols.metadata[s]}::jsonb
        WHEN jsonb_typeof({symbols.metadata[s]}::jsonb) = 'null' THEN '{{}}'::jsonb
        ELSE jsonb_build_object('previous', {symbols.metadata[s]}::jsonb)
    END || jsonb_build_object('last_update', n.last_update){symbols.touched}
FROM jsonb_to_recordset(%(prices)s::jsonb) AS n(symbol text, last_update jsonb)
WHERE {symbols.symbol[s]} = n.symbol AND {symbols.ours[s]}
RETURNING n.symbol, coalesce({symbols.metadata[s]}::jsonb -> 'last_update' @> n.last_update, false);
