-- The primary key serves every query of ours: TimescaleDB's own index on ts would only slow down writing.
SELECT {schema}.create_hypertable(
    'market_data.ohlcv_5m', 'ts', chunk_time_interval => interval '1 month', create_default_indexes => false
);
