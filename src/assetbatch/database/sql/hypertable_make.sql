-- The primary key serves every query of ours: TimescaleDB's own index on ts would only slow down writing.
SELECT {timescaledb}.create_hypertable(
    {bars.regclass}, {bars.ts.literal}, chunk_time_interval => interval '1 month', create_default_indexes => false
);
