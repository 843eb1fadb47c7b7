-- Tables whose name says that ids may be theirs: ticker_id and a table of tickers, without a foreign key between them.
SELECT n.nspname::text, c.relname::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_|^information_schema$|^_timescaledb'
  AND lower(c.relname) = ANY (%(names)s::text[])
ORDER BY 1, 2;
