"""What sets a class of assets apart: one descriptor for each class, in this one place.

Everything else asks the descriptor. A new class is a member of `AssetType` and of `Market`, and a descriptor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import time
from enum import StrEnum
from functools import lru_cache

import msgspec

from assetbatch.domain.currencies import COINS, CURRENCIES, METALS
from assetbatch.domain.units import MINUTE_MS


class AssetType(StrEnum):
    """A market of the provider, as the configuration writes it."""

    FOREX = "forex"
    CRYPTO = "crypto"
    STOCKS = "stocks"
    INDICES = "indices"


class Product(StrEnum):
    """What the provider sells a plan of. An API key has one plan of each."""

    CURRENCIES = "currencies"
    STOCKS = "stocks"
    INDICES = "indices"


class Market(StrEnum):
    """The hours that a class follows."""

    FOREX = "forex"
    METAL = "metal"
    CRYPTO = "crypto"
    STOCK = "stock"
    STOCK_EXTENDED = "stock_extended"
    """Stocks before, in and after the regular session."""
    INDEX = "index"


THIN_MARKETS = frozenset({Market.STOCK, Market.STOCK_EXTENDED})
"""Markets in which an asset may go without a trade for hours: it is halted, or seldom traded."""

Week = Mapping[int, tuple[tuple[int, int], ...]]
"""The opening and closing hour of each session, by weekday (Monday is 0), on New York's wall clock."""


class TradingDays(msgspec.Struct, frozen=True):
    """The weekdays without the holidays of the New York Stock Exchange, on New York's wall clock."""

    opens: time = time(9, 30)
    closes: time = time(16)
    """When an ordinary day closes; a day with an early close has its own time."""
    late_hours: int = 0
    """For how many hours trading goes on after the close."""


Sessions = Week | TradingDays


class AssetClass(msgspec.Struct, frozen=True, kw_only=True):
    """A class of assets.

    `beginnings` are what its tickers begin with, where that is more than the `prefix`. `bases` and `quotes`
    are the names from which a ticker follows: one of each, side by side. `sessions` is None for a market
    that never closes, and `extended_market` has the longer hours that an asset may ask for.
    `snapshot_market` and `grouped_market` are the provider's words for its market in `/v2/snapshot` and
    `/v2/aggs/grouped`, and `unified_market` is that in `/v3/snapshot/`; None where there is no such endpoint
    for it.
    """

    asset_type: AssetType
    product: Product = Product.CURRENCIES
    market: Market
    extended_market: Market | None = None
    prefix: str
    """What a ticker begins with; empty for stocks, whose tickers have no colon."""
    example: str
    """A ticker, for messages."""
    beginnings: tuple[str, ...] = ()
    name_pattern: str = "[A-Z0-9._-]{1,32}"
    """What follows the prefix of a ticker, as a regular expression."""
    bases: frozenset[str] = frozenset()
    quotes: frozenset[str] = frozenset()
    is_named_by_ticker: bool = False
    """Whether a ticker follows from a symbol that is the ticker without its prefix, if the type is given."""
    is_on_yahoo: bool = False
    """Whether Yahoo writes its symbols as `EURUSD=X`."""
    sessions: Sessions | None = None
    locale: str = "global"
    snapshot_market: str | None = None
    unified_market: str | None = None
    grouped_market: str | None = None
    reference_market: str | None = None
    """The provider's word for its market in `/v3/reference/tickers`."""
    is_split_adjusted: bool | None = True
    """Whether its bars are asked for with the splits worked in; None where the provider knows no splits."""
    published_after_ms: int = 0
    """How long after New York midnight a day that has ended is asked for, where the plan shows no running
    day."""
    has_bars: bool = True
    has_volume: bool = True
    goes_by_quote: bool = True
    """Whether a price without a trade is the middle of the quote. A stock's may be far from any trade."""
    is_sold_by_ticker: bool = False
    """Whether a plan may have some of its tickers only, so that a refused one says nothing of the others."""
    has_days_of_bars: bool = True
    """Whether the values of a day follow from its bars. The day of a stock has prices of the regular session
    only, and leaves out some trades of that."""
    has_delayed_plans: bool = False
    """Whether there are plans that delay it, so that the provider's word for that counts. All plans of
    currencies that show the running day show it in real time."""
    largest_price: float
    """The price that a column should be able to hold: prices of 2026 with room for a few years."""
    largest_volume: float
    """The volume of a bar that a column should be able to hold."""
    price_digits: int
    """Digits after the point that its prices have."""

    @property
    def never_closes(self) -> bool:
        """Whether its market has neither closing hours nor holidays."""
        return self.sessions is None

    @property
    def has_trading_days(self) -> bool:
        """Whether its market follows the days of the stock exchange."""
        return isinstance(self.sessions, TradingDays)

    @property
    def has_splits(self) -> bool:
        """Whether its bars are stored as they were traded, and the splits of its assets apart."""
        return self.is_split_adjusted is False

    @property
    def has_market_snapshot(self) -> bool:
        """Whether there is a snapshot of its market alone."""
        return self.snapshot_market is not None or self.unified_market is not None

    def has_ticker(self, ticker: str) -> bool:
        """Return whether a ticker begins like one of this class."""
        if not self.prefix:
            return ":" not in ticker
        return ticker.startswith(self.beginnings or self.prefix)


_FOREX = AssetClass(
    asset_type=AssetType.FOREX,
    market=Market.FOREX,
    prefix="C:",
    example="C:EURUSD",
    bases=CURRENCIES,
    quotes=CURRENCIES | METALS,
    is_on_yahoo=True,
    sessions={6: ((17, 24),), **dict.fromkeys(range(4), ((0, 24),)), 4: ((0, 17),)},
    snapshot_market="forex",
    grouped_market="fx",
    reference_market="fx",
    largest_price=50_000.0,
    largest_volume=1e6,
    price_digits=5,
)

_METALS = msgspec.structs.replace(
    _FOREX,
    market=Market.METAL,
    example="C:XAUUSD",
    beginnings=tuple(f"C:{metal}" for metal in sorted(METALS)),
    bases=METALS,
    sessions={
        6: ((18, 24),),
        **dict.fromkeys(range(4), ((0, 17), (18, 24))),  # a break from 17:00 to 18:00 each day
        4: ((0, 17),),
    },
)

_CRYPTO = AssetClass(
    asset_type=AssetType.CRYPTO,
    market=Market.CRYPTO,
    prefix="X:",
    example="X:BTCUSD",
    bases=COINS,
    quotes=CURRENCIES,
    snapshot_market="crypto",
    grouped_market="crypto",
    reference_market="crypto",
    largest_price=500_000.0,
    largest_volume=1e9,
    price_digits=8,
)

_STOCKS = AssetClass(
    asset_type=AssetType.STOCKS,
    product=Product.STOCKS,
    goes_by_quote=False,
    has_days_of_bars=False,
    has_delayed_plans=True,
    market=Market.STOCK,
    extended_market=Market.STOCK_EXTENDED,
    prefix="",
    example="AAPL",
    name_pattern="[A-Z][A-Za-z0-9.]{0,31}",  # KIMpL: lower-case letters mark another security
    is_named_by_ticker=True,
    sessions=TradingDays(),
    locale="us",
    is_split_adjusted=False,
    published_after_ms=5 * MINUTE_MS,
    snapshot_market="stocks",
    grouped_market="stocks",
    reference_market="stocks",
    largest_price=2_000_000.0,  # BRK.A costs 800,000
    largest_volume=1e10,
    price_digits=4,
)

_INDICES = AssetClass(
    asset_type=AssetType.INDICES,
    product=Product.INDICES,
    goes_by_quote=False,
    has_days_of_bars=False,
    has_delayed_plans=True,
    is_split_adjusted=None,
    published_after_ms=5 * MINUTE_MS,
    market=Market.INDEX,
    prefix="I:",
    example="I:NDX",
    is_named_by_ticker=True,
    sessions=TradingDays(),
    locale="us",
    reference_market="indices",
    unified_market="indices",
    is_sold_by_ticker=True,
    has_volume=False,
    largest_price=1_000_000.0,
    largest_volume=0.0,
    price_digits=4,
)

CLASSES = (_METALS, _FOREX, _CRYPTO, _STOCKS, _INDICES)
"""All classes. A ticker belongs to the first whose beginning it has; a type's own class is its last."""

_BY_TYPE = {one.asset_type: one for one in CLASSES}
EXAMPLES = {asset_type: one.example for asset_type, one in _BY_TYPE.items()}
"""A ticker of each type, for messages."""
_EXTENDED = {one.market: one.extended_market for one in CLASSES if one.extended_market}
SESSIONS: dict[Market, Sessions | None] = {
    **{one.market: one.sessions for one in CLASSES},
    Market.STOCK_EXTENDED: TradingDays(opens=time(4), late_hours=4),
}


def longest_hours(market: Market) -> Market:
    """Return the market that is open whenever the provider may have data of this one."""
    return _EXTENDED.get(market, market)


@lru_cache(maxsize=2**14)
def class_of(ticker: str) -> AssetClass:
    """Return the class of a ticker; raise ValueError for a ticker of none."""
    for one in CLASSES:
        if one.has_ticker(ticker):
            return one
    raise ValueError(f"{ticker} is a ticker of no asset class")


def class_of_type(asset_type: AssetType) -> AssetClass:
    """Return the class that gives a type its name: forex, though metals are forex too."""
    return _BY_TYPE[asset_type]


def product_of(asset_type: AssetType) -> Product:
    """Return the product whose plan a type belongs to."""
    return _BY_TYPE[asset_type].product


def product_of_name(name: str) -> Product:
    """Return the product to which a market or a ticker belongs. No ticker is named like a market."""
    for one in CLASSES:
        if name in (one.market, one.extended_market):
            return one.product
    return class_of(name).product


def ticker_pattern() -> str:
    """Return the regular expression of all tickers."""
    forms = dict.fromkeys(f"{re.escape(one.prefix)}{one.name_pattern}" for one in CLASSES)
    return rf"^(?:{'|'.join(forms)})\Z"


def examples_in_words(asset_types: Iterable[AssetType] = AssetType) -> str:
    """Return a ticker of each type, for messages: `C:EURUSD, X:BTCUSD or I:NDX`."""
    *first, last = (EXAMPLES[asset_type] for asset_type in asset_types)
    return f"{', '.join(first)} or {last}" if first else last
