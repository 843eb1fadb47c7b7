-- Bars whose month has a partition by now, out of a table that is detached.
WITH moved AS (
    DELETE FROM market_data.{name} WHERE ts < {ends} RETURNING *
)
INSERT INTO market_data.ohlcv_5m SELECT * FROM moved;
