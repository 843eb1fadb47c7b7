-- Where the bars of a batch arrive. The columns have the types of the table (a platform's numeric(18,8) included),
-- so that a value is rounded before it is compared. `asset` counts the symbols of the batch.
CREATE TEMPORARY TABLE assetbatch_bars ON COMMIT DROP AS
SELECT 0::int8 AS asset, 0::int8 AS t_ms, open, high, low, close, volume, vwap, trades
FROM market_data.ohlcv_5m
WITH NO DATA;
