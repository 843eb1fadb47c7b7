-- The ticker of each symbol, for bars that are kept under it.
SELECT set_config('assetbatch.tickers', %(tickers)s, true);
