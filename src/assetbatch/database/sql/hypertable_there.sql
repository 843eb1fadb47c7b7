SELECT EXISTS (
    SELECT FROM timescaledb_information.hypertables
    WHERE hypertable_schema = {bars.schema} AND hypertable_name = {bars.table}
);
