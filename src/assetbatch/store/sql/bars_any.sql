SELECT EXISTS (SELECT FROM market_data.ohlcv_5m);
