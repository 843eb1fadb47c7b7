COPY market_data.ohlcv_5m (symbol_id, ts, open, high, low, close, volume, vwap, trades) FROM STDIN (FORMAT binary)
