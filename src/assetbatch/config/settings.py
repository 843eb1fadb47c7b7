"""The settings by section, as config.yml names them, and what follows from them.

The `title` of a setting says what it does. Its `description` says what it may be, if its type does not.
`config.schema` shows both in editors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.ping_urls import PingUrls
from assetbatch.config.symbols import EXCHANGES, Symbol, derive
from assetbatch.config.tables import TableMappings
from assetbatch.config.urls import ApiUrl, DatabaseUrl, HttpUrl, RedisUrl
from assetbatch.config.wording import named
from assetbatch.domain.asset_classes import (
    AssetType,
    Product,
    class_of_type,
    examples_in_words,
    product_of,
    ticker_pattern,
)
from assetbatch.domain.assets import Asset, Rule
from assetbatch.domain.bar_sizes import BarSize, DerivedSize
from assetbatch.domain.queueing import CallLimit
from assetbatch.errors import ConfigError
from assetbatch.secret import Secret, masked

_UNLIMITED_PER_SECOND = 100  # what the provider asks paying customers to stay below

CallsPerMinute = Annotated[
    Annotated[int, Meta(ge=1, le=_UNLIMITED_PER_SECOND * 60)] | None,
    Meta(description=f"a whole number from 1 to {_UNLIMITED_PER_SECOND * 60}, or null for unlimited"),
]
_PREFIX = r"^(?:[A-Za-z0-9._:-]+|[A-Za-z0-9._:-]*\{[A-Za-z0-9._:-]+\}[A-Za-z0-9._:-]*)\Z"


class Tier(NamedTuple):
    """What to expect of a plan of the provider. What the provider answers wins.

    `rate_limit` is the number of calls a minute (None: unlimited), `delay_minutes` the age of the newest
    data, `history_years` how far back bars go (None: as far as the provider has any).
    """

    rate_limit: int | None
    delay_minutes: int
    websocket_enabled: bool
    history_years: int | None = None

    ends_with_day: bool = False
    """Whether it shows neither snapshots nor anything of the running day."""


_FREE = Tier(5, 15, False, history_years=2, ends_with_day=True)
TIERS: dict[str, Tier] = {
    "basic": _FREE,
    "free": _FREE,
    "starter": Tier(None, 0, False),
    "developer": Tier(None, 0, True),
    "advanced": Tier(None, 0, True),
    "business": Tier(None, 0, True),
}
"""The provider's names of the plans of its products, and `free`, which is basic. Not every product has
each."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BatchSettings(_Section, frozen=True):
    """How often cron starts a cycle, and how long a cycle may take."""

    interval_minutes: Annotated[int, Meta(ge=1, le=1440, title="Minutes between two run-priority")] = 5
    enqueue_interval_minutes: Annotated[
        int, Meta(ge=1, le=1440, title="Minutes between two enqueue-secondary")
    ] = 5
    max_cycle_seconds: Annotated[int, Meta(ge=5, le=3600, title="Maximum duration of a cycle in seconds")] = (
        60
    )
    priority_assets_enabled: Annotated[bool, Meta(title="false: run-priority does nothing")] = True


PlanName = Annotated[
    Literal["basic", "free", "starter", "developer", "advanced", "business"],
    Meta(description=f"one of {', '.join(TIERS)}"),
]


class PlanSettings(_Section, frozen=True):
    """The plan of each product, for a key that has several; the tier where there is none."""

    currencies: Annotated[PlanName | UnsetType, Meta(title="The plan of forex, metals and crypto")] = UNSET
    stocks: Annotated[PlanName | UnsetType, Meta(title="The plan of stocks and ETFs")] = UNSET
    indices: Annotated[PlanName | UnsetType, Meta(title="The plan of indices")] = UNSET


class RateLimitSettings(_Section, frozen=True):
    """The plan, and the calls that it allows: `calls_per_minute` in any `window_seconds`.

    UNSET `calls_per_minute` means the plan's own number, None means unlimited. Of several products with
    assets the smallest plan counts: nobody knows if calls of one are counted for another. Without
    `window` each API key has a window of its own.
    """

    tier: Annotated[PlanName, Meta(title="The plan of the API key")] = "free"
    plans: Annotated[PlanSettings, Meta(title="The plans of the products, if the key has several")] = (
        PlanSettings()
    )
    calls_per_minute: Annotated[
        CallsPerMinute | UnsetType,
        Meta(title="Maximum number of calls in a window; the tier's own if absent"),
    ] = UNSET
    window_seconds: Annotated[
        int, Meta(ge=1, le=86_400, title="Length in seconds of the window in which calls are counted")
    ] = 60
    window: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^[A-Za-z0-9._-]+\Z", max_length=64),
            Meta(description="a name of 1 to 64 letters, digits or . _ -"),
        ]
        | None,
        Meta(title="Name of the window that several API keys share"),
    ] = None
    upgrade_url: Annotated[HttpUrl, Meta(title="Address to show if the plan refuses something")] = HttpUrl(
        "https://massive.com/pricing"
    )

    def plan_of(self, product: Product) -> str:
        """Return the name of the plan of a product."""
        name: str | UnsetType = getattr(self.plans, product)
        return self.tier if name is UNSET else name

    def plan_setting(self, product: Product) -> str:
        """Return the setting that says the plan of a product, with its value, for a hint."""
        name = "tier" if getattr(self.plans, product) is UNSET else f"plans.{product}"
        return f"rate_limiting.{name}: {self.plan_of(product)}"

    def expected_of(self, product: Product) -> Tier:
        """Return what to expect of the plan of a product."""
        return TIERS[self.plan_of(product)]

    def calls_of(self, products: Iterable[Product]) -> int | None:
        """Return the calls a minute that the smallest plan among these products allows; None: unlimited."""
        limits = [self.expected_of(product).rate_limit for product in products]
        return min((limit for limit in limits if limit is not None), default=None)

    def limit(self, products: Iterable[Product]) -> CallLimit:
        """Return the number of calls that may arrive in a rolling window; unlimited is 100 a second."""
        calls = self.calls_per_minute
        if calls is UNSET:
            calls = self.calls_of(products)
        if calls is None:
            return CallLimit(_UNLIMITED_PER_SECOND, 1000)
        return CallLimit(calls, self.window_seconds * 1000)


class QueueSettings(_Section, frozen=True):
    """The queue: its size, its retries, and how many processes work it at once."""

    max_size: Annotated[
        int, Meta(ge=1, title="Maximum number of waiting items; the last ones are dropped")
    ] = 1000
    retry_max_attempts: Annotated[
        int, Meta(ge=0, le=1000, title="Number of attempts after which an item becomes a dead letter")
    ] = 3
    retry_delay_seconds: Annotated[
        int, Meta(ge=0, le=86_400, title="Seconds before a failed item is tried again")
    ] = 60
    max_concurrency: Annotated[
        int, Meta(ge=1, le=64, title="Maximum number of run-queue at a time, over all hosts")
    ] = 1


class VerifySettings(_Section, frozen=True):
    """How many of the calls that nobody needs verify stored bars."""

    share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            title="Share of the calls left over by an empty queue that verify stored bars; 0 for none",
        ),
    ] = 0.2


class DatabaseSettings(_Section, frozen=True):
    """The address of PostgreSQL, and the names of a platform's tables and columns."""

    url: Annotated[DatabaseUrl | None, Meta(title="PostgreSQL; better in DATABASE_URL with a password")] = (
        None
    )
    tables: TableMappings = TableMappings()


class RedisSettings(_Section, frozen=True):
    """The address of Redis, and the beginning of its keys.

    A prefix without braces gets them. The text in braces is the hash tag that keeps all keys in one slot of a
    cluster.
    """

    url: Annotated[RedisUrl | None, Meta(title="Redis; better in REDIS_URL with a password")] = None
    prefix: Annotated[
        str,
        Meta(pattern=_PREFIX, max_length=64, title="Beginning of all keys"),
        Meta(description="1 to 64 letters, digits or . _ : - with at most one {hash tag} in braces"),
    ] = "{assetbatch}"

    def __post_init__(self) -> None:
        if "{" not in self.prefix:
            msgspec.structs.force_setattr(self, "prefix", f"{{{self.prefix}}}")


class ProviderSettings(_Section, frozen=True):
    """The address of the provider's API."""

    base_url: Annotated[ApiUrl, Meta(title="Address of the API")] = ApiUrl("https://api.massive.com")


class AlertsSettings(_Section, frozen=True):
    """The thresholds at which `status` and the health document report an alert."""

    success_rate_min_percent: Annotated[
        float, Meta(ge=0, le=100, title="Alert below this success rate in percent")
    ] = 90.0
    priority_latency_max_ms: Annotated[
        int, Meta(ge=1, title="Alert above this duration of a priority cycle in milliseconds")
    ] = 30_000
    queue_size_max: Annotated[int, Meta(ge=0, title="Alert above this number of waiting items")] = 500
    rate_limit_waits_per_hour_max: Annotated[
        int, Meta(ge=0, title="Alert above this number of waits for a slot in an hour")
    ] = 10


class MetricsSettings(_Section, frozen=True):
    """The file for Prometheus' textfile collector."""

    prometheus_file: Annotated[
        Annotated[str, Meta(min_length=1, description="the path of a file")] | None,
        Meta(title="File for node_exporter's textfile collector"),
    ] = None


class EventsSettings(_Section, frozen=True):
    """The stream of updates that is kept besides the channel."""

    stream_maxlen: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(title="Maximum length of the stream of events; null for no stream"),
    ] = None


SECTIONS: dict[str, type[_Section]] = {
    "batch": BatchSettings,
    "rate_limiting": RateLimitSettings,
    "queue": QueueSettings,
    "verify": VerifySettings,
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "provider": ProviderSettings,
    "alerts": AlertsSettings,
    "metrics": MetricsSettings,
    "events": EventsSettings,
}


_Bars = Annotated[
    BarSize | bool,
    Meta(title="Size of the bars that are kept: 5m (or true), 1m, or none (or false) for the price only"),
]
_ExtendedHours = Annotated[
    bool,
    Meta(
        title="true: keep a stock's bars from 04:00 to 20:00 New York time, not only the session's; "
        "after a change those of the past are asked for"
    ),
]


class AssetSettings(_Section, frozen=True):
    """An asset as it is written. The ticker and the type follow from the symbol if they are absent."""

    symbol: Annotated[Symbol, Meta(title="Your platform's name of the asset")]
    polygon_ticker: Annotated[
        Annotated[
            str,
            Meta(
                pattern=ticker_pattern(),
                description=f"the provider's name with its prefix, such as {examples_in_words()}",
            ),
        ]
        | UnsetType,
        Meta(title="The provider's name of the asset; needed if it does not follow from the symbol"),
    ] = UNSET
    asset_type: Annotated[
        AssetType | UnsetType, Meta(title="Class of the asset; metals are forex, ETFs are stocks")
    ] = UNSET
    name: Annotated[str | None, Meta(title="Name for people")] = None
    priority: int | str | UnsetType = UNSET
    update_frequency_seconds: Annotated[
        int, Meta(ge=1, le=31_536_000, title="Maximum age in seconds of the price while its market is open")
    ] = 300
    enabled: Annotated[bool, Meta(title="false: leave the asset out")] = True
    bars: _Bars = BarSize.FIVE_MINUTES
    extended_hours: _ExtendedHours = False


class PriorityAssetSettings(AssetSettings, frozen=True):
    """A priority asset. The number is its place among them."""

    priority: Annotated[
        Annotated[
            Annotated[int, Meta(ge=1)] | Literal["CRITICAL"],
            Meta(description="a whole number of 1 or more, the first to be refreshed, or CRITICAL"),
        ]
        | UnsetType,
        Meta(title="Place among the priority assets"),
    ] = UNSET


_Priority = Annotated[
    Annotated[
        Literal["HIGH", "MEDIUM", "LOW", 2, 3, 4],
        Meta(description="one of HIGH, MEDIUM, LOW or their numbers 2, 3, 4"),
    ]
    | UnsetType,
    Meta(title="Class among the secondary assets"),
]


class SecondaryAssetSettings(AssetSettings, frozen=True):
    """A secondary asset. 2, 3 and 4 are the same as HIGH, MEDIUM and LOW."""

    priority: _Priority = UNSET


YEARS_OF_DAYS = 2
"""Years of days of the past that a rule without bars keeps, if it does not say otherwise: what the free plan
shows."""

TICKER_TYPES = (
    *("CS", "ETF", "ETN", "ETV", "ETS", "FUND", "ADRC", "ADRP", "ADRR", "ADRW", "GDR", "OS", "NYRS", "AGEN"),
    *("PFD", "WARRANT", "RIGHT", "UNIT", "SP", "EQLK", "BOND", "BASKET", "LT", "OTHER"),
)
"""The provider's types of stocks."""

_Exchange = Annotated[str, Meta(pattern=r"^[A-Z0-9]{4}\Z", examples=list(EXCHANGES))]
_TickerType = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(TICKER_TYPES)})\Z", examples=list(TICKER_TYPES))]
_Quote = Annotated[str, Meta(pattern=r"^[A-Z]{3,5}\Z", examples=["USD", "EUR", "GBP", "JPY"])]


class RuleSettings(_Section, frozen=True):
    """A rule among the secondary assets: every asset of a market, or those of some exchanges or types."""

    every: Annotated[AssetType, Meta(title="The market whose assets are all kept")]
    exchange: Annotated[
        Annotated[
            _Exchange | Annotated[tuple[_Exchange, ...], Meta(min_length=1)],
            Meta(description="a code of ISO 10383 such as XNYS or XNAS, or a list of them"),
        ]
        | UnsetType,
        Meta(title="Exchanges of the stocks; all if absent"),
    ] = UNSET
    type: Annotated[
        Annotated[
            _TickerType | Annotated[tuple[_TickerType, ...], Meta(min_length=1)],
            Meta(description=f"one of {', '.join(TICKER_TYPES)}, or a list of them"),
        ]
        | UnsetType,
        Meta(title="Types of the stocks; all if absent"),
    ] = UNSET
    quote: Annotated[
        Annotated[
            _Quote | Annotated[tuple[_Quote, ...], Meta(min_length=1)],
            Meta(description="a currency such as USD, or a list of them"),
        ]
        | UnsetType,
        Meta(title="Currencies in which the pairs are quoted; all if absent"),
    ] = UNSET
    priority: _Priority = UNSET
    update_frequency_seconds: Annotated[
        int, Meta(ge=1, le=31_536_000, title="Maximum age in seconds of a price while its market is open")
    ] = 300
    enabled: Annotated[bool, Meta(title="false: leave the rule out")] = True
    bars: _Bars = BarSize.FIVE_MINUTES
    extended_hours: _ExtendedHours = False
    years_of_days: Annotated[
        Annotated[int, Meta(ge=0, le=30)] | UnsetType,
        Meta(
            title="Years of days of the past that are asked for, a day of the market in one call; "
            f"{YEARS_OF_DAYS} without bars, else 0"
        ),
    ] = UNSET


ASSET_LISTS: dict[str, type[AssetSettings]] = {
    "priority_assets": PriorityAssetSettings,
    "secondary_assets": SecondaryAssetSettings,
}
"""The lists of assets. They stand at the top of the file or in its section `batch`."""

ADDRESSES: dict[str, type[PingUrls | NotifyUrls]] = {"ping_url": PingUrls, "notify": NotifyUrls}
"""The settings at the top of the file that are addresses of somebody who is told."""

LISTS: dict[str, Any] = {
    "derived": Annotated[
        tuple[DerivedSize, ...],
        Meta(
            title="Sizes of the bars that `init` makes views of, out of bars of 5 minutes",
            description=f"a list of sizes among {', '.join(DerivedSize)}; [] for no view",
        ),
    ]
}
"""The other settings at the top of the file, each with its type."""


class Config(msgspec.Struct, frozen=True, kw_only=True, dict=True):  # dict: for what is worked out once
    """The effective configuration of one start.

    `origins` gives the origin of each key path (`queue.max_size`): `--option`, `env NAME`, `.env NAME`,
    `config.yml PATH` or `default`. `file` is the file that was read, or None in a sandbox that found none.
    `secret_files` are the files that variables name for secrets, by the origin of the name;
    `secrets_in_file` are the settings of `file` that hold a secret. `rules` stand among the secondary assets;
    `members` are what they stand for, once that was read from the database (`Services.load_members`).
    """

    batch: BatchSettings = BatchSettings()
    priority_assets: tuple[Asset, ...] = ()
    secondary_assets: tuple[Asset, ...] = ()
    rules: tuple[Rule, ...] = ()
    members: tuple[Asset, ...] = ()
    rate_limiting: RateLimitSettings = RateLimitSettings()
    queue: QueueSettings = QueueSettings()
    verify: VerifySettings = VerifySettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    provider: ProviderSettings = ProviderSettings()
    alerts: AlertsSettings = AlertsSettings()
    metrics: MetricsSettings = MetricsSettings()
    events: EventsSettings = EventsSettings()
    derived: tuple[DerivedSize, ...] = tuple(DerivedSize)
    ping_url: PingUrls | None = None
    notify: NotifyUrls | None = None
    api_key: Secret | None = None
    file: Path | None = None
    origins: Mapping[str, str] = {}
    secret_files: Mapping[str, Path] = {}
    secrets_in_file: tuple[str, ...] = ()
    sandbox: bool = False
    data_home: Path | None = None

    @property
    def call_limit(self) -> CallLimit:
        """The number of calls that may arrive in a rolling window."""
        return self.rate_limiting.limit(self.products)

    @property
    def tier(self) -> Tier:
        """What to expect of the configured tier."""
        return TIERS[self.rate_limiting.tier]

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """The products of all assets, in their order; currencies where there is no asset."""
        found = set(map(product_of, self.asset_types))
        return tuple(one for one in Product if one in found) or (Product.CURRENCIES,)

    @property
    def end_of_day(self) -> frozenset[Product]:
        """The products of whose plans nothing of the running day is expected."""
        return frozenset(one for one in Product if self.rate_limiting.expected_of(one).ends_with_day)

    @property
    def history_years(self) -> Mapping[Product, int | None]:
        """How many years of history are expected of the plan of each product; None: all."""
        return {one: self.rate_limiting.expected_of(one).history_years for one in Product}

    @cached_property
    def enabled_priority_assets(self) -> tuple[Asset, ...]:
        """The assets that `run-priority` refreshes, in their order; none if they are switched off."""
        if not self.batch.priority_assets_enabled:
            return ()
        return tuple(asset for asset in self.priority_assets if asset.enabled)

    @cached_property
    def enabled_secondary_assets(self) -> tuple[Asset, ...]:
        """The assets that `enqueue-secondary` looks at, in their order; the members of rules are the last."""
        return (*(asset for asset in self.secondary_assets if asset.enabled), *self.members)

    @cached_property
    def enabled_rules(self) -> tuple[Rule, ...]:
        """The rules whose members are looked up and kept."""
        return tuple(rule for rule in self.rules if rule.enabled)

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """All assets that are kept fresh, the priority assets first."""
        return self.enabled_priority_assets + self.enabled_secondary_assets

    @property
    def has_secondary(self) -> bool:
        """Whether there is anything for `enqueue-secondary`: an asset, or a rule."""
        return bool(self.enabled_secondary_assets or self.enabled_rules)

    @cached_property
    def follows_exchange(self) -> bool:
        """Whether an asset, or a rule, follows the days of the stock exchange."""
        return any(class_of_type(asset_type).has_trading_days for asset_type in self.asset_types)

    @cached_property
    def asset_types(self) -> tuple[AssetType, ...]:
        """The classes of all assets and rules: the same whether the members are known or not."""
        written = (*self.enabled_priority_assets, *(one for one in self.secondary_assets if one.enabled))
        types = dict.fromkeys(asset.asset_type for asset in written)
        return tuple(types | dict.fromkeys(rule.every for rule in self.enabled_rules))

    @property
    def configured_symbols(self) -> tuple[str, ...]:
        """The symbols of all assets, also of those that are switched off."""
        return tuple(asset.symbol for asset in (*self.written_assets, *self.members))

    @property
    def written_assets(self) -> tuple[Asset, ...]:
        """The assets that are written one by one, also those that are switched off."""
        return self.priority_assets + self.secondary_assets

    @cached_property
    def members_by_symbol(self) -> Mapping[str, Asset]:
        """The members of rules by their symbols."""
        return {asset.symbol: asset for asset in self.members}

    @cached_property
    def assets_by_symbol(self) -> Mapping[str, Asset]:
        """All assets by their symbols."""
        return {asset.symbol: asset for asset in self.assets}

    @cached_property
    def _configured(self) -> frozenset[str]:
        return frozenset(self.configured_symbols)

    @cached_property
    def _symbols_by_ticker(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for asset in (*self.written_assets, *self.members):
            found[asset.polygon_ticker] = (*found.get(asset.polygon_ticker, ()), asset.symbol)
        return found

    def symbols_of(self, ticker: str) -> Sequence[str]:
        """Return the symbols to which the provider's data of a ticker belong: those configured with it, also
        if they are switched off, else the one that the ticker follows from."""
        if ticker in self._symbols_by_ticker:
            return self._symbols_by_ticker[ticker]
        if ":" not in ticker:  # a stock: no ticker follows from a symbol whose type nobody has said
            return ()
        name = ticker.partition(":")[2]
        derived = derive(name)
        follows = derived is not None and derived.polygon_ticker == ticker
        return (name,) if follows and name not in self._configured else ()

    def named(self, path: str) -> str:
        """Return where a setting is configured, for a hint: `POLYGON_BASE_URL`, `redis.url in config.yml`."""
        return named(self.origins[path]) if path in self.origins else path

    @property
    def shown_file(self) -> str:
        """The file that was read, for people."""
        return masked(str(self.file)) if self.file else "config.yml"

    @property
    def data_folder(self) -> Path:
        """The folder for the data of embedded servers; the sandbox has its own. Raise ConfigError."""
        if self.data_home is None:
            raise ConfigError(
                "no folder for data: neither XDG_DATA_HOME nor HOME is set", hint="set XDG_DATA_HOME"
            )
        folder = self.data_home / "assetbatch"
        return folder / "sandbox" if self.sandbox else folder

    def require_api_key(self) -> Secret:
        """Return the API key; raise ConfigError if there is none."""
        if self.api_key is None:
            raise ConfigError(
                "no API key is configured",
                hint="assetbatch setup asks for it; or set POLYGON_API_KEY, POLYGON_API_KEY_FILE or "
                f"POLYGON_API_KEY_COMMAND, in the environment or in a .env beside {self.shown_file}; "
                "--sandbox needs none",
            )
        return self.api_key

    def require_database(self) -> DatabaseUrl:
        """Return the address of PostgreSQL; raise ConfigError if there is none."""
        if self.database.url is None:
            raise ConfigError(
                "no database is configured",
                hint=f"write database.url: embedded into {self.shown_file}, or set DATABASE_URL",
            )
        return self.database.url

    def require_redis(self) -> RedisUrl:
        """Return the address of Redis; raise ConfigError if there is none."""
        if self.redis.url is None:
            raise ConfigError(
                "no Redis is configured",
                hint=f"write redis.url: embedded into {self.shown_file}, or set REDIS_URL",
            )
        return self.redis.url
