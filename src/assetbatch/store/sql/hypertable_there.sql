SELECT EXISTS (
    SELECT FROM timescaledb_information.hypertables
    WHERE hypertable_schema = 'market_data' AND hypertable_name = 'ohlcv_5m'
);
