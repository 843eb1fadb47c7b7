-- The columns of the table of bars that are written: our name, type as declared, type without its domain, its modifier,
-- whether NULL is refused. They say whether COPY can be binary, and which values cannot be stored.
SELECT named.ours,
       format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull
FROM (VALUES {bars.pairs}) AS named(ours, theirs)
JOIN pg_attribute a ON a.attname = named.theirs
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = {bars.regclass}
  AND NOT a.attisdropped;
