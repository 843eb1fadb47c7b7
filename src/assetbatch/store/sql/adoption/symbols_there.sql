SELECT s.{symbols.symbol}::text FROM {symbols} s WHERE s.{symbols.symbol}::text = ANY (%(symbols)s::text[]){ours};
