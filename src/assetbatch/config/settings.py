"""The settings by section, as config.yml names them, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from assetbatch.config.symbols import Symbol
from assetbatch.config.tables import TableMappings
from assetbatch.config.urls import ApiUrl, DatabaseUrl, HttpUrl, PingUrls, RedisUrl
from assetbatch.domain.asset_classes import EXAMPLES, AssetType, ticker_pattern
from assetbatch.domain.assets import Asset
from assetbatch.domain.queueing import CallLimit
from assetbatch.errors import ConfigError
from assetbatch.secret import Secret

_UNLIMITED_PER_SECOND = 100  # what the provider asks paying customers to stay below

CallsPerMinute = Annotated[
    Annotated[int, Meta(ge=1, le=_UNLIMITED_PER_SECOND * 60)] | None,
    Meta(description=f"a whole number from 1 to {_UNLIMITED_PER_SECOND * 60}, or null for unlimited"),
]
_PREFIX = r"^(?:[A-Za-z0-9._:-]+|[A-Za-z0-9._:-]*\{[A-Za-z0-9._:-]+\}[A-Za-z0-9._:-]*)\Z"


class Tier(NamedTuple):
    """What one may expect of a plan of the provider; what the provider answers wins.

    `rate_limit` is calls a minute (None: unlimited), `delay_minutes` the age of the newest data.
    """

    rate_limit: int | None
    delay_minutes: int
    websocket_enabled: bool


TIERS: dict[str, Tier] = {
    "free": Tier(5, 15, False),
    "starter": Tier(None, 0, False),
    "developer": Tier(None, 0, True),
    "advanced": Tier(None, 0, True),
}


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BatchSettings(_Section, frozen=True):
    """How often cron starts a cycle and how long one may take."""

    interval_minutes: Annotated[int, Meta(ge=1, le=1440)] = 5
    max_cycle_seconds: Annotated[int, Meta(ge=5, le=3600)] = 60
    priority_assets_enabled: bool = True


class RateLimitSettings(_Section, frozen=True):
    """The plan, and the calls it allows: `calls_per_minute` in any `window_seconds`.

    An absent `calls_per_minute` is UNSET and means the tier's own number; None means unlimited.
    `window` names the window of several API keys with one limit; None: each key has its own.
    """

    tier: Annotated[
        Literal["free", "starter", "developer", "advanced"],
        Meta(description=f"one of {', '.join(TIERS)}"),
    ] = "free"
    calls_per_minute: CallsPerMinute | UnsetType = UNSET
    window_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    window: (
        Annotated[
            str,
            Meta(pattern=r"^[A-Za-z0-9._-]+\Z", max_length=64),
            Meta(description="a name of 1 to 64 letters, digits or . _ -"),
        ]
        | None
    ) = None
    upgrade_url: HttpUrl = HttpUrl("https://massive.com/pricing")

    @property
    def limit(self) -> CallLimit:
        """The calls that may arrive in a rolling window; unlimited is 100 a second."""
        calls = self.calls_per_minute
        if calls is UNSET:
            calls = TIERS[self.tier].rate_limit
        if calls is None:
            return CallLimit(_UNLIMITED_PER_SECOND, 1000)
        return CallLimit(calls, self.window_seconds * 1000)


class QueueSettings(_Section, frozen=True):
    """The pending queue: its size, its retries, how many calls at once."""

    max_size: Annotated[int, Meta(ge=1)] = 1000
    retry_max_attempts: Annotated[int, Meta(ge=0, le=1000)] = 3
    retry_delay_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 60
    max_concurrency: Annotated[int, Meta(ge=1, le=64)] = 1


class DatabaseSettings(_Section, frozen=True):
    """Where PostgreSQL is (None: nobody said), and what a platform's tables and columns are called."""

    url: DatabaseUrl | None = None
    tables: TableMappings = TableMappings()


class RedisSettings(_Section, frozen=True):
    """Where Redis is (None: nobody said) and what its keys begin with.

    A prefix without braces gets them: the text in braces is the hash tag that keeps all keys in
    one slot of a cluster.
    """

    url: RedisUrl | None = None
    prefix: Annotated[
        str,
        Meta(pattern=_PREFIX, max_length=64),
        Meta(description="1 to 64 letters, digits or . _ : - with at most one {hash tag} in braces"),
    ] = "{assetbatch}"

    def __post_init__(self) -> None:
        if "{" not in self.prefix:
            msgspec.structs.force_setattr(self, "prefix", f"{{{self.prefix}}}")


class ProviderSettings(_Section, frozen=True):
    """Where the provider's API is."""

    base_url: ApiUrl = ApiUrl("https://api.massive.com")


class AlertsSettings(_Section, frozen=True):
    """From where on a metric is an alert."""

    success_rate_min_percent: Annotated[float, Meta(ge=0, le=100)] = 90.0
    priority_latency_max_ms: Annotated[int, Meta(ge=1)] = 30_000
    queue_size_max: Annotated[int, Meta(ge=0)] = 500
    rate_limit_waits_per_hour_max: Annotated[int, Meta(ge=0)] = 10


class MetricsSettings(_Section, frozen=True):
    """The file for Prometheus' textfile collector; None: not written."""

    prometheus_file: Annotated[str, Meta(min_length=1, description="the path of a file")] | None = None


class EventsSettings(_Section, frozen=True):
    """The stream of updates besides the channel; None: no stream."""

    stream_maxlen: Annotated[int, Meta(ge=1)] | None = None


SECTIONS: dict[str, type[_Section]] = {
    "batch": BatchSettings,
    "rate_limiting": RateLimitSettings,
    "queue": QueueSettings,
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "provider": ProviderSettings,
    "alerts": AlertsSettings,
    "metrics": MetricsSettings,
    "events": EventsSettings,
}


class AssetSettings(_Section, frozen=True):
    """An asset as it is written; a ticker and a type that are not follow from the symbol."""

    symbol: Symbol
    polygon_ticker: (
        Annotated[
            str,
            Meta(
                pattern=ticker_pattern(),
                description=f"the provider's name with its prefix, such as {' or '.join(EXAMPLES.values())}",
            ),
        ]
        | UnsetType
    ) = UNSET
    asset_type: AssetType | UnsetType = UNSET
    name: str | None = None
    priority: int | str | UnsetType = UNSET
    update_frequency_seconds: Annotated[int, Meta(ge=1, le=31_536_000)] = 300
    enabled: bool = True
    bars: bool = True


class PriorityAssetSettings(AssetSettings, frozen=True):
    """A priority asset; its number is its place among them."""

    priority: (
        Annotated[
            Annotated[int, Meta(ge=1)] | Literal["CRITICAL"],
            Meta(description="a whole number of 1 or more, the first to be refreshed, or CRITICAL"),
        ]
        | UnsetType
    ) = UNSET


class SecondaryAssetSettings(AssetSettings, frozen=True):
    """A secondary asset; 2, 3 and 4 are the same as HIGH, MEDIUM and LOW."""

    priority: (
        Annotated[
            Literal["HIGH", "MEDIUM", "LOW", 2, 3, 4],
            Meta(description="one of HIGH, MEDIUM, LOW or their numbers 2, 3, 4"),
        ]
        | UnsetType
    ) = UNSET


ASSET_LISTS: dict[str, type[AssetSettings]] = {
    "priority_assets": PriorityAssetSettings,
    "secondary_assets": SecondaryAssetSettings,
}
"""The lists of assets; they stand at the top of the file or in its section `batch`."""


class Config(msgspec.Struct, frozen=True, kw_only=True, dict=True):  # dict: for what is worked out once
    """The effective configuration of one start.

    `origins` says for each key path (`queue.max_size`) where its value came from: `--option`,
    `env NAME`, `.env NAME`, `config.yml PATH` or `default`. `file` is the file that was read;
    None in a sandbox that found none.
    """

    batch: BatchSettings = BatchSettings()
    priority_assets: tuple[Asset, ...] = ()
    secondary_assets: tuple[Asset, ...] = ()
    rate_limiting: RateLimitSettings = RateLimitSettings()
    queue: QueueSettings = QueueSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    provider: ProviderSettings = ProviderSettings()
    alerts: AlertsSettings = AlertsSettings()
    metrics: MetricsSettings = MetricsSettings()
    events: EventsSettings = EventsSettings()
    ping_url: PingUrls | None = None
    api_key: Secret | None = None
    file: Path | None = None
    origins: Mapping[str, str] = {}
    sandbox: bool = False
    data_home: Path | None = None

    @property
    def call_limit(self) -> CallLimit:
        """The calls that may arrive in a rolling window."""
        return self.rate_limiting.limit

    @property
    def tier(self) -> Tier:
        """What to expect of the configured plan."""
        return TIERS[self.rate_limiting.tier]

    @cached_property
    def enabled_priority_assets(self) -> tuple[Asset, ...]:
        """Those that `run-priority` refreshes, in their order; none if they are switched off."""
        if not self.batch.priority_assets_enabled:
            return ()
        return tuple(asset for asset in self.priority_assets if asset.enabled)

    @cached_property
    def enabled_secondary_assets(self) -> tuple[Asset, ...]:
        """Those that `enqueue-secondary` looks at, in their order."""
        return tuple(asset for asset in self.secondary_assets if asset.enabled)

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """All that is kept fresh, the priority assets first."""
        return self.enabled_priority_assets + self.enabled_secondary_assets

    @property
    def configured_symbols(self) -> tuple[str, ...]:
        """Those of all assets, of what is switched off too."""
        return tuple(asset.symbol for asset in (*self.priority_assets, *self.secondary_assets))

    @cached_property
    def assets_by_symbol(self) -> Mapping[str, Asset]:
        """The same by their symbols."""
        return {asset.symbol: asset for asset in self.assets}

    @property
    def data_folder(self) -> Path:
        """Where embedded servers keep their data; the sandbox has its own. Raises ConfigError."""
        if self.data_home is None:
            raise ConfigError(
                "no folder for data: neither XDG_DATA_HOME nor HOME is set", hint="set XDG_DATA_HOME"
            )
        folder = self.data_home / "assetbatch"
        return folder / "sandbox" if self.sandbox else folder

    def require_api_key(self) -> Secret:
        """The API key; raises ConfigError if there is none."""
        if self.api_key is None:
            raise ConfigError(
                "no API key is configured",
                hint="set POLYGON_API_KEY or POLYGON_API_KEY_FILE, in the environment or in a .env beside "
                "config.yml; --sandbox needs none",
            )
        return self.api_key

    def require_database(self) -> DatabaseUrl:
        """Where PostgreSQL is; raises ConfigError if nobody said."""
        if self.database.url is None:
            raise ConfigError(
                "no database is configured",
                hint="write database.url: embedded into config.yml, or set DATABASE_URL",
            )
        return self.database.url

    def require_redis(self) -> RedisUrl:
        """Where Redis is; raises ConfigError if nobody said."""
        if self.redis.url is None:
            raise ConfigError(
                "no Redis is configured",
                hint="write redis.url: embedded into config.yml, or set REDIS_URL",
            )
        return self.redis.url
