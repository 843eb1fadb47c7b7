-- Add the symbols that are not there; touch none that is. NOT EXISTS keeps the sequence of ids from running on
-- with every init, ON CONFLICT lets two of them meet. The types of the columns are taken from the table.
INSERT INTO trading.symbols (symbol, name, asset_type, metadata, updated_at)
SELECT n.symbol, n.name, n.asset_type, n.metadata, now()
FROM jsonb_populate_recordset(NULL::trading.symbols, %(rows)s::jsonb) AS n
WHERE NOT EXISTS (SELECT FROM trading.symbols s WHERE s.symbol = n.symbol)
ORDER BY n.symbol
ON CONFLICT (symbol) DO NOTHING
RETURNING symbol::text;
