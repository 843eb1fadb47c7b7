ALTER TABLE market_data.ohlcv_5m ATTACH PARTITION market_data.{name} FOR VALUES FROM ({starts}) TO ({ends});
