SELECT {symbols.symbol[s]}::text FROM {symbols} s WHERE {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};
