-- Where the bars of a batch arrive. The columns have the types of the table (a platform's numeric(18,8) included),
-- so that a value is rounded before it is compared. `asset` counts the symbols of the batch.
CREATE TEMPORARY TABLE assetbatch_bars ON COMMIT DROP AS
SELECT 0::int8 AS asset, 0::int8 AS t_ms, {bars.open[o]} AS open, {bars.high[o]} AS high, {bars.low[o]} AS low,
       {bars.close[o]} AS close, {bars.volume[o]} AS volume, {bars.vwap[o]} AS vwap, {bars.trades[o]} AS trades
FROM {bars} o
WITH NO DATA;
