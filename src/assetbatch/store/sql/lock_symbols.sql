-- The rows of a batch, locked in the order of their ids: two writers that meet wait for each other, but never
-- in a circle. NO KEY, so that foreign keys of others can still be checked meanwhile.
SELECT s.symbol::text, (s.metadata -> 'last_update')::text
FROM trading.symbols s
WHERE s.symbol = ANY (%(symbols)s::text[])
ORDER BY s.id
FOR NO KEY UPDATE;
