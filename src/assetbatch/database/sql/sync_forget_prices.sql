-- The prices of these symbols came and could not be stored: what is stored says how new it is.
UPDATE data_sources.assetbatch_sync m
SET as_of = NULL
FROM {symbols} s
WHERE m.symbol_id = {symbols.id[s]} AND {symbols.symbol[s]} = ANY (%(symbols)s::text[]) AND {symbols.ours[s]};
