-- Every column of the owner's tables: the table by our name and by its own, the column by its own name and by ours where
-- it is ours, type as declared, type without its domain, its modifier, whether NULL is refused, whether it is filled in
-- where nothing is given, and whether nothing can be given.
SELECT owned.key,
       n.nspname || '.' || c.relname,
       a.attname::text,
       named.ours,
       format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
       a.attgenerated <> '' OR a.attidentity = 'a'
FROM (VALUES
    ('symbols', {symbols.schema}, {symbols.table}), ('bars', {bars.schema}, {bars.table}),
    ('providers', {providers.schema}, {providers.table}), ('sync_status', {sync_status.schema}, {sync_status.table})
) AS owned(key, schema, name)
JOIN pg_namespace n ON n.nspname = owned.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = owned.name
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN LATERAL (
    SELECT ours FROM (VALUES {symbols.pairs}) AS pair(ours, theirs) WHERE owned.key = 'symbols' AND theirs = a.attname
    UNION ALL
    SELECT ours FROM (VALUES {bars.pairs}) AS pair(ours, theirs) WHERE owned.key = 'bars' AND theirs = a.attname
    UNION ALL
    SELECT ours FROM (VALUES {providers.pairs}) AS pair(ours, theirs) WHERE owned.key = 'providers' AND theirs = a.attname
    UNION ALL
    SELECT ours FROM (VALUES {sync_status.pairs}) AS pair(ours, theirs)
    WHERE owned.key = 'sync_status' AND theirs = a.attname
    LIMIT 1
) named ON true
ORDER BY 2, a.attnum;
