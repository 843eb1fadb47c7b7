-- What a database has besides the server's own objects: kind, name, definition, one row each. `owner` is the table or
-- schema that an object belongs to, so that one can tell what came with a new table.
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS place
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
)
SELECT 'schema' AS kind, nspname::text AS name, nspname::text AS owner, coalesce(nspacl::text, '') AS definition
FROM spaces JOIN pg_namespace USING (oid, nspname)
UNION ALL
SELECT 'relation', place, place,
       concat_ws(' | ', relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident, reloptions::text,
                 relacl::text, pg_get_userbyid(relowner), pg_get_partkeydef(oid),
                 'partition ' || pg_get_expr(relpartbound, oid),
                 CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT 'column', r.place || '.' || a.attname, r.place,
       concat_ws(' | ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
                 a.attacl::text, pg_get_expr(d.adbin, d.adrelid))
FROM relations r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'constraint', r.place || '.' || k.conname, r.place,
       concat_ws(' | ', pg_get_constraintdef(k.oid), k.condeferrable, k.condeferred, k.convalidated)
FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
WHERE k.contype <> 'n'
UNION ALL
SELECT 'index', o.place, r.place, concat_ws(' | ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indimmediate)
FROM relations r JOIN pg_index i ON i.indrelid = r.oid JOIN relations o ON o.oid = i.indexrelid
UNION ALL
SELECT 'trigger', r.place || '.' || t.tgname, r.place, concat_ws(' | ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid
WHERE NOT t.tgisinternal
UNION ALL
SELECT 'policy', r.place || '.' || p.polname, r.place,
       concat_ws(' | ', p.polcmd, p.polpermissive, p.polroles::text, pg_get_expr(p.polqual, p.polrelid),
                 pg_get_expr(p.polwithcheck, p.polrelid))
FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT 'rule', r.place || '.' || w.rulename, r.place, pg_get_ruledef(w.oid)
FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid
WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 'function', s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', s.nspname,
       CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) ELSE p.prosrc END
FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
UNION ALL
SELECT 'type', s.nspname || '.' || t.typname, s.nspname,
       concat_ws(' | ', t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull,
                 (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
                 (SELECT string_agg(pg_get_constraintdef(k.oid), ',') FROM pg_constraint k WHERE k.contypid = t.oid))
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
WHERE t.typtype IN ('e', 'd')
UNION ALL
SELECT 'extension', extname, extname, extversion FROM pg_extension
UNION ALL
SELECT 'setting', coalesce(r.rolname, 'all'), 'database', d.setconfig::text
FROM pg_db_role_setting d LEFT JOIN pg_roles r ON r.oid = d.setrole
WHERE d.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database());
