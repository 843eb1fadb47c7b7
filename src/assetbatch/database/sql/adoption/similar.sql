-- Symbols that differ from a configured one in nothing but case and separators (EUR/USD, EURUSD=X), or that are there
-- in a row that is not ours.
SELECT n.symbol, min({symbols.symbol[s]}::text)
FROM unnest(%(symbols)s::text[]) AS n(symbol)
JOIN {symbols} s
  ON regexp_replace(lower({symbols.symbol[s]}::text COLLATE "C"), '=x$|[^a-z0-9]', '', 'g')
     = regexp_replace(lower(n.symbol), '=x$|[^a-z0-9]', '', 'g')
GROUP BY n.symbol;
