"""assetbatch: market data kept fresh on a budget of API calls, one bounded cycle per cron start."""

__version__ = "0.1.0"
