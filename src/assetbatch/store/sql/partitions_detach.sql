ALTER TABLE market_data.ohlcv_5m DETACH PARTITION market_data.{name};
