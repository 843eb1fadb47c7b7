-- The role, the time, the zone that its sessions begin in (whether it differs from UTC, and has summer
-- time), whether the role may make schemas, which of the wanted schemas are there, and whether TimescaleDB is.
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
