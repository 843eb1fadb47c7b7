"""Settings from the environment, `.env` and config.yml, each with its origin.

`load` reads them, `Config` holds them, and `display.effective` lists them for people.
"""

from assetbatch.config.loading import SANDBOX_KEY, built_in_config, load
from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.ping_urls import PingUrls
from assetbatch.config.settings import TIERS, Config, Tier
from assetbatch.config.urls import DatabaseUrl, RedisUrl

__all__ = [
    "SANDBOX_KEY",
    "TIERS",
    "Config",
    "DatabaseUrl",
    "NotifyUrls",
    "PingUrls",
    "RedisUrl",
    "Tier",
    "built_in_config",
    "load",
]
