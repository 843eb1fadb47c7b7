-- The columns that a constraint of the table of bars speaks of, by our names where they are ours.
SELECT coalesce(named.ours, a.attname::text)
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
LEFT JOIN (VALUES {bars.pairs}) AS named(ours, theirs) ON named.theirs = a.attname
WHERE c.conrelid = {bars.regclass} AND c.conname = %(name)s;
