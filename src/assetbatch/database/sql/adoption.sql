-- How `init` looks at a platform's tables before it adopts them.

-- name: load_server
-- Return the role, the time, the zone in which its sessions begin (whether it differs from UTC, and has summer time),
-- whether the role may create schemas, which of the wanted schemas exist, and whether TimescaleDB does.
SELECT current_user::text,
       extract(epoch FROM clock_timestamp())::float8,
       z.zone,
       z.winter <> z.summer,
       z.winter = interval '0' AND z.summer = interval '0',
       has_database_privilege(current_database(), 'CREATE'),
       (SELECT coalesce(jsonb_object_agg(n.nspname, has_schema_privilege(n.oid, 'CREATE')), '{{}}')::text
        FROM pg_namespace n WHERE n.nspname = ANY (%(schemas)s::text[])),
       EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
FROM (
    SELECT s.reset_val AS zone,
           (make_timestamptz(year, 1, 1, 0, 0, 0, 'UTC') AT TIME ZONE s.reset_val) - make_timestamp(year, 1, 1, 0, 0, 0)
               AS winter,
           (make_timestamptz(year, 7, 1, 0, 0, 0, 'UTC') AT TIME ZONE s.reset_val) - make_timestamp(year, 7, 1, 0, 0, 0)
               AS summer
    FROM pg_settings s, (SELECT extract(year FROM now())::int AS year) AS this
    WHERE s.name = 'TimeZone'
) AS z;

-- name: load_tables
-- Return what stands where the tables are looked for: kind, columns, unique indexes, references, partition key,
-- triggers, row level security and rights. One JSON document each. Any role may ask.
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

-- name: has_rows
-- Return whether a table has rows.
SELECT EXISTS (SELECT FROM {table});

-- name: find_namesakes
-- Find tables whose name says that ids may be theirs: ticker_id and a table of tickers, without a foreign key between them.
SELECT n.nspname::text, c.relname::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_|^information_schema$|^_timescaledb'
  AND lower(c.relname) = ANY (%(names)s::text[])
ORDER BY 1, 2;

-- name: find_bars_alike
-- Find tables that look like bars: they have a column for each of the four prices.
SELECT n.nspname::text, c.relname::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN jsonb_each(%(prices)s::jsonb) AS price(ours, aliases)
  ON price.aliases ? regexp_replace(lower(a.attname), '[^a-z0-9]', '', 'g')
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_|^information_schema$|^_timescaledb'
GROUP BY 1, 2
HAVING count(DISTINCT price.ours) = 4
ORDER BY 1, 2;

-- name: find_cousins
-- Find the tables to which columns of these names refer elsewhere in the schemas of the tables. The reference of
-- ohlcv_1h.symbol_id says whose ids those of ohlcv_5m are, which has no foreign key.
SELECT DISTINCT fn.nspname::text, fc.relname::text, a.attname::text
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
JOIN pg_class fc ON fc.oid = f.confrelid
JOIN pg_namespace fn ON fn.oid = fc.relnamespace
WHERE f.contype = 'f' AND cardinality(f.conkey) = 1 AND NOT c.relispartition AND NOT fc.relispartition
  AND n.nspname = ANY (%(schemas)s::text[]) AND c.relname !~ '^assetbatch_'
ORDER BY 1, 2, 3;

-- name: find_duplicate
-- Find a key that several rows have, where a unique index is to keep them apart.
SELECT concat_ws(', ', {columns}) FROM {table} WHERE {known} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1;

-- name: find_orphan
-- Find a reference of the table that leads to no row, where no index begins with it.
SELECT t.{column}::text FROM {table} t
WHERE t.{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {target} s WHERE s.{target_column} = t.{column})
LIMIT 1;

-- name: walk_orphan
-- Find a reference of the table that leads to no row, by one descent of its index for each value that there is.
WITH RECURSIVE walk AS (
    (SELECT {column} AS value FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT t.{column} FROM {table} t WHERE t.{column} > walk.value ORDER BY t.{column} LIMIT 1)
    FROM walk WHERE walk.value IS NOT NULL
)
SELECT value::text FROM walk
WHERE value IS NOT NULL AND NOT EXISTS (SELECT FROM {target} s WHERE s.{target_column} = walk.value)
LIMIT 1;

-- name: load_samples
-- Return some values of a column, of the first rows.
SELECT DISTINCT value FROM (SELECT {column}::text AS value FROM {table} LIMIT 10000) AS first
WHERE value IS NOT NULL ORDER BY value LIMIT 6;

-- name: find_similar
-- Find symbols that differ from a configured one in nothing but case and separators (EUR/USD, EURUSD=X), or that are in a
-- row that is not ours.
SELECT n.symbol, min({symbols.symbol[s]}::text)
FROM unnest(%(symbols)s::text[]) AS n(symbol)
JOIN {symbols} s
  ON regexp_replace(lower({symbols.symbol[s]}::text COLLATE "C"), '=x$|[^a-z0-9]', '', 'g')
     = regexp_replace(lower(n.symbol), '=x$|[^a-z0-9]', '', 'g')
GROUP BY n.symbol;

-- name: load_codes
-- Return the codes of the providers.
SELECT DISTINCT {providers.code[p]}::text FROM {providers} p
WHERE {providers.code[p]} IS NOT NULL AND {providers.ours[p]} ORDER BY 1 LIMIT 1000;

-- name: load_rules
-- Return the rules of a column alone: the CHECKs of its table, and those of its domains over VALUE.
SELECT pg_get_expr(k.conbin, k.conrelid)
FROM pg_attribute a
JOIN pg_constraint k ON k.contype = 'c' AND k.conrelid = a.attrelid AND k.conkey = ARRAY[a.attnum]
WHERE a.attrelid = to_regclass(%(table)s) AND a.attname = %(column)s
UNION ALL
SELECT pg_get_expr(k.conbin, 0)
FROM pg_attribute a
CROSS JOIN LATERAL (
    WITH RECURSIVE chain AS (
        SELECT a.atttypid AS oid
        UNION ALL
        SELECT t.typbasetype FROM chain JOIN pg_type t ON t.oid = chain.oid AND t.typtype = 'd'
    )
    SELECT oid FROM chain
) AS of_domain
JOIN pg_constraint k ON k.contype = 'c' AND k.contypid = of_domain.oid
WHERE a.attrelid = to_regclass(%(table)s) AND a.attname = %(column)s;

-- name: find_refused_words
-- Return the words that a rule refuses.
SELECT t.word
FROM unnest(%(words)s::text[]) AS t(word)
CROSS JOIN LATERAL (SELECT {columns}) AS one
WHERE NOT ({rule});

-- name: cast_constant
-- Convert a configured value to the type of its column.
SELECT CAST(%(value)s::text AS {type});

-- name: cast_json
-- Convert every text of a column to jsonb: fails where one is no JSON.
SELECT count({column}::jsonb) FROM {table};

-- name: find_instruments
-- Return whether rows of bars have a configured symbol, and whether a configured ticker, as their instrument.
SELECT EXISTS (SELECT FROM {bars} o WHERE o.{bars.symbol_id} = ANY (%(symbols)s::text[])),
       EXISTS (SELECT FROM {bars} o WHERE o.{bars.symbol_id} = ANY (%(tickers)s::text[]));

-- name: load_newest
-- Return the newest moment of a naive column, as if in UTC and as if in the database's zone.
SELECT extract(epoch FROM at AT TIME ZONE 'UTC')::float8, extract(epoch FROM at AT TIME ZONE %(zone)s::text)::float8
FROM (SELECT max({column}) AS at FROM {table} WHERE {column} < 'infinity') AS newest;

-- name: walk_newest
-- Return the newest moment of a naive column, as if in UTC and as if in the database's zone, by one descent of the index
-- for each instrument.
WITH RECURSIVE walk AS (
    (SELECT {key} AS value FROM {table} WHERE {key} IS NOT NULL ORDER BY {key} LIMIT 1)
    UNION ALL
    SELECT (SELECT t.{key} FROM {table} t WHERE t.{key} > walk.value ORDER BY t.{key} LIMIT 1)
    FROM walk WHERE walk.value IS NOT NULL
), newest AS (
    SELECT max(last.at) AS at
    FROM walk CROSS JOIN LATERAL (
        SELECT t.{column} AS at FROM {table} t
        WHERE t.{key} = walk.value AND t.{column} < 'infinity' ORDER BY t.{column} DESC LIMIT 1
    ) AS last
)
SELECT extract(epoch FROM at AT TIME ZONE 'UTC')::float8, extract(epoch FROM at AT TIME ZONE %(zone)s::text)::float8
FROM newest;

-- name: compare_siblings
-- Count the rows whose naive moment is within five minutes of another one that has a zone: read in UTC, and read in the
-- database's zone.
SELECT count(*) FILTER (WHERE abs(extract(epoch FROM {column} AT TIME ZONE 'UTC' - {sibling})) < 300),
       count(*) FILTER (WHERE abs(extract(epoch FROM {column} AT TIME ZONE %(zone)s::text - {sibling})) < 300)
FROM (SELECT {column}, {sibling} FROM {table}
      WHERE {column} > '-infinity' AND {column} < 'infinity' AND isfinite({sibling}) LIMIT 1000) AS sample;

-- name: touch_row
-- Run an UPDATE of one row that changes nothing, for its triggers.
UPDATE {table} SET {column} = {column} WHERE ctid = (SELECT ctid FROM {table} LIMIT 1);
