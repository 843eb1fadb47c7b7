-- Which of the tables are not there.
SELECT t.name
FROM unnest(ARRAY['data_sources.assetbatch_migrations', 'trading.symbols', 'market_data.ohlcv_5m',
                  'data_sources.api_providers', 'data_sources.data_sync_status']) AS t(name)
WHERE to_regclass(t.name) IS NULL;
