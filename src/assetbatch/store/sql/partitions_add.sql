CREATE TABLE market_data.{name} PARTITION OF market_data.ohlcv_5m FOR VALUES FROM ({starts}) TO ({ends});
