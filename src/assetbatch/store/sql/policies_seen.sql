SELECT s.symbol::text FROM trading.symbols s WHERE s.symbol = ANY (%(symbols)s::text[]);
