-- The rows that could be updated now: neither a policy nor another transaction keeps them.
SELECT {symbols.symbol[s]}::text FROM {symbols} s WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]}
FOR NO KEY UPDATE SKIP LOCKED;
