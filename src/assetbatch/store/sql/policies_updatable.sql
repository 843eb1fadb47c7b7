-- The rows that could be updated now: neither a policy nor another transaction keeps them.
SELECT s.symbol::text FROM trading.symbols s WHERE s.symbol = ANY (%(symbols)s::text[])
FOR NO KEY UPDATE SKIP LOCKED;
