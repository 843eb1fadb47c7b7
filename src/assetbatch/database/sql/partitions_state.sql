-- What the table of bars is: the server's time in Unix ms, whether it is partitioned, whether by ranges of ts alone
-- without a DEFAULT partition, and the schema of TimescaleDB's functions where that is installed.
SELECT floor(extract(epoch FROM now()) * 1000)::int8,
       c.relkind = 'p',
       coalesce(p.partstrat = 'r' AND p.partdefid = 0 AND p.partattrs::text = ts.attnum::text, false),
       (SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'timescaledb')
FROM pg_class c
JOIN pg_attribute ts ON ts.attrelid = c.oid AND ts.attname = {bars.ts.literal}
LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
WHERE c.oid = {bars.regclass};
