-- Each refresh updates its row. Room in every page keeps the new row on it and out of the indexes (a HOT update), which
-- halves what that costs.
CREATE TABLE {symbols} (
    {symbols.id}         {symbol_id_type} {symbol_id_made} PRIMARY KEY,
    {symbols.symbol}     text NOT NULL UNIQUE,
    {symbols.name}       text NOT NULL,
    {symbols.asset_type} text NOT NULL,
    {symbols.metadata}   jsonb NOT NULL DEFAULT '{{}}',
    created_at timestamptz NOT NULL DEFAULT now(),
    {symbols.updated_at} timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50)
