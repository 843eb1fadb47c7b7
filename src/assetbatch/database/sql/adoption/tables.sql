-- What is where the four tables are looked for: kind, columns, unique indexes, references, partition key, triggers,
-- row level security and rights. One JSON document each. Any role may ask.
SELECT w.key, jsonb_build_object(
    'schema', n.nspname,
    'name', c.relname,
    'kind', c.relkind,
    'owner', pg_get_userbyid(c.relowner),
    'is_owner', pg_has_role(c.relowner, 'USAGE'),
    'may_insert', has_table_privilege(c.oid, 'INSERT'),
    'row_security', c.relrowsecurity,
    'row_security_active', row_security_active(c.oid),
    'columns', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', a.attname,
            'type', format_type(a.atttypid, a.atttypmod),
            'base', t.typname,
            'base_type', format_type(t.oid, NULL),
            'category', t.typcategory,
            'length', CASE WHEN t.typname IN ('varchar', 'bpchar') AND b.modifier > 4 THEN b.modifier - 4 END,
            'not_null', a.attnotnull OR b.not_null,
            'default', CASE WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), b.preset) END,
            'identity', a.attidentity <> '',
            'identity_always', a.attidentity = 'a',
            'generated', a.attgenerated <> '',
            'labels', (SELECT coalesce(jsonb_agg(e.enumlabel ORDER BY e.enumsortorder), '[]')
                       FROM pg_enum e WHERE e.enumtypid = t.oid)
        ) ORDER BY a.attnum), '[]')
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        -- A domain may be of a domain: its type is the innermost, its length the outermost that there is.
        CROSS JOIN LATERAL (
            WITH RECURSIVE chain AS (
                SELECT a.atttypid AS oid, a.atttypmod AS modifier, false AS not_null, NULL::text AS preset, 0 AS depth
                UNION ALL
                SELECT t.typbasetype, CASE WHEN chain.modifier = -1 THEN t.typtypmod ELSE chain.modifier END,
                       chain.not_null OR t.typnotnull, coalesce(chain.preset, t.typdefault COLLATE "default"), chain.depth + 1
                FROM chain JOIN pg_type t ON t.oid = chain.oid AND t.typtype = 'd'
            )
            SELECT * FROM chain ORDER BY depth DESC LIMIT 1
        ) b
        JOIN pg_type t ON t.oid = b.oid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ),
    'indexes', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', ic.relname,
            'columns', (
                SELECT coalesce(jsonb_agg(a.attname ORDER BY k.place), '[]')
                FROM unnest((i.indkey::int2[])[0 : i.indnkeyatts - 1]) WITH ORDINALITY AS k(number, place)
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
            ),
            -- What expressions speak of too.
            'uses', (
                SELECT coalesce(jsonb_agg(a.attname ORDER BY a.attnum), '[]')
                FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                  AND (a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1])
                       OR EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
                                    AND d.refobjsubid = a.attnum))
            ),
            'primary', i.indisprimary,
            'immediate', i.indimmediate,
            'partial', i.indpred IS NOT NULL,
            'expressions', i.indexprs IS NOT NULL,
            'definition', pg_get_indexdef(i.indexrelid)
        ) ORDER BY i.indisprimary DESC, ic.relname), '[]')
        FROM pg_index i
        JOIN pg_class ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
    ),
    'references', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', f.conname,
            'column', a.attname,
            'schema', fn.nspname,
            'table', fc.relname,
            'target_column', b.attname,
            'validated', f.convalidated
        ) ORDER BY f.conname), '[]')
        FROM pg_constraint f
        CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS k(number, target)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number
        JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.target
        JOIN pg_class fc ON fc.oid = f.confrelid
        JOIN pg_namespace fn ON fn.oid = fc.relnamespace
        WHERE f.conrelid = c.oid AND f.contype = 'f'
          -- A reference to a partitioned table has one more row for each of its partitions.
          AND NOT fc.relispartition
    ),
    'partition_columns', (
        SELECT coalesce(jsonb_agg(coalesce(a.attname, '')), '[]')
        FROM pg_partitioned_table p
        CROSS JOIN LATERAL unnest(p.partattrs::int2[]) AS k(number)
        LEFT JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.number
        WHERE p.partrelid = c.oid
    ),
    'children', (
        SELECT coalesce(jsonb_agg(cn.nspname || '.' || ch.relname ORDER BY cn.nspname, ch.relname), '[]')
        FROM pg_inherits h
        JOIN pg_class ch ON ch.oid = h.inhrelid AND NOT ch.relispartition
        JOIN pg_namespace cn ON cn.oid = ch.relnamespace AND cn.nspname !~ '^_timescaledb'
        WHERE h.inhparent = c.oid
    ),
    'rules', (
        SELECT coalesce(jsonb_agg(w.rulename ORDER BY w.rulename), '[]')
        FROM pg_rewrite w
        WHERE w.ev_class = c.oid AND w.ev_type IN ('2', '3')  -- UPDATE, INSERT
    ),
    'policies', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', p.polname,
            'command', p.polcmd,
            'permissive', p.polpermissive,
            'applies', (SELECT bool_or(r.oid = 0 OR pg_has_role(r.oid, 'USAGE')) FROM unnest(p.polroles) AS r(oid))
        ) ORDER BY p.polname), '[]')
        FROM pg_policy p
        WHERE p.polrelid = c.oid
    ),
    'reads_from', (
        WITH RECURSIVE source AS (
            SELECT c.oid AS oid, c.relkind AS kind
            UNION
            SELECT r.oid, r.relkind
            FROM source
            JOIN pg_rewrite w ON w.ev_class = source.oid
            JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> source.oid
            JOIN pg_class r ON r.oid = d.refobjid
            WHERE source.kind IN ('v', 'm')
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object('schema', sn.nspname, 'table', sc.relname)
                                  ORDER BY sn.nspname, sc.relname), '[]')
        FROM source
        JOIN pg_class sc ON sc.oid = source.oid
        JOIN pg_namespace sn ON sn.oid = sc.relnamespace
        WHERE source.kind IN ('r', 'p') AND sn.nspname !~ '^_timescaledb' AND c.relkind IN ('v', 'm')
    )
)::text
FROM jsonb_to_recordset(%(wanted)s::jsonb) AS w(key text, schema text, name text)
JOIN pg_namespace n ON n.nspname = w.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
