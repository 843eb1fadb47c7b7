"""The values that pass between provider, engine and database: bars, prices, what became of them.

All moments are Unix milliseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.status import Status
from assetbatch.domain.units import MINUTE_MS

if TYPE_CHECKING:  # currencies have none
    from assetbatch.domain.listings import Listing

BAR_MS = 5 * MINUTE_MS
"""Length of a bar: five minutes."""

SETTLED_AFTER_MS = 25 * MINUTE_MS
"""Age of a bar's start from which the provider's word on it is final, also that there is no such bar: a bar
takes 5 minutes, and plans lag by up to 15."""

END_OF_TIME_MS = 2**53
"""Later than every moment."""

SNAPSHOT_TICKERS = 250
"""Maximum number of tickers of one `/v3/snapshot`; without `limit` the provider answers only 10."""


def floor_to_bar(at_ms: int) -> int:
    """Return the start of the five minutes that a moment lies in."""
    return at_ms - at_ms % BAR_MS


LOWEST_PRICE = 1e-15
HIGHEST_PRICE = 1e12
"""Every price lies between these two: the cheapest coins cost 1e-10, a bitcoin in dong some 1e9."""

MAX_VOLUME = 1e18
"""Maximum volume of a bar, also of a day; the cheapest coins have 1e15 in five minutes."""

MAX_TRADES = 2**63 - 1
"""Maximum count of trades: what the database can hold."""

_Price = Annotated[float, msgspec.Meta(ge=LOWEST_PRICE, le=HIGHEST_PRICE)]
_Volume = Annotated[float, msgspec.Meta(ge=0, le=MAX_VOLUME)]
_Trades = Annotated[int, msgspec.Meta(ge=0, le=MAX_TRADES)]

_IN_JSON = {
    "t_ms": "t",
    "open": "o",
    "high": "h",
    "low": "l",
    "close": "c",
    "volume": "v",
    "vwap": "vw",
    "trades": "n",
}


class Bar(msgspec.Struct, frozen=True, gc=False, rename=_IN_JSON, forbid_unknown_fields=True):
    """One bar of five minutes or of one; `t_ms` is its start, a multiple of its length; prices are positive
    and finite.

    Its names in JSON are the provider's, so that a sound answer is decoded into bars without a copy. Only
    decoding checks the bounds of the values.
    """

    t_ms: int
    open: _Price
    high: _Price
    low: _Price
    close: _Price
    volume: _Volume | None = None
    vwap: _Price | None = None
    trades: _Trades | None = None

    @property
    def end_ms(self) -> int:
        """The moment from which a bar of five minutes can no longer change by trading."""
        return self.t_ms + BAR_MS


def in_order(bars: Iterable[Bar]) -> list[Bar]:
    """Return bars ascending; of several with one start the last counts."""
    by_start = {bar.t_ms: bar for bar in bars}
    return [by_start[t_ms] for t_ms in sorted(by_start)]


class DayBar(msgspec.Struct, frozen=True, gc=False):
    """The provider's bar of a day, as it counts its days; prices are positive and finite."""

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    vwap: float | None = None
    trades: int | None = None
    asked_ms: int | None = None
    """When it was asked for; None: just now."""


class Price(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The latest price of a symbol; absent values are None, never 0.

    `as_of_ms` is the moment the provider's price is from (not the moment it was asked).
    The daily values belong to the New York day of `as_of_ms`.
    """

    symbol: str
    last_price: float
    as_of_ms: int
    bid: float | None = None
    ask: float | None = None
    daily_open: float | None = None
    daily_high: float | None = None
    daily_low: float | None = None
    daily_close: float | None = None


class IntervalState(StrEnum):
    """What is known of an interval of a symbol's bars."""

    ASKED = "asked"
    """Answered: all that the provider has is stored. It has nothing for an interval without a bar."""
    REQUESTED = "wanted"
    """A backfill wants it; not asked yet."""
    FAILED = "failed"
    """Asked, and no usable answer came: asked again later."""
    NOT_IN_PLAN = "not_in_plan"
    """The plan's history does not reach back so far."""
    REJECTED = "rejected"
    """Answered, and the database refused the bars: asked again after a pause, or after `init`."""
    NOT_WANTED = "not_wanted"
    """Not asked, or without a usable answer, and taken back: only another backfill asks for it."""
    AGAIN = "again"
    """Answered, and wanted once more: what came is stored. `error` is that of the last call that failed."""


class IntervalFault(StrEnum):
    """Why an interval is FAILED although the provider answered. It decides when that is asked for again."""

    UNUSABLE_BAR = "unusable_bar"
    """The provider sent something that could not be used or placed."""
    UNCONFIRMED = "unconfirmed"
    """The provider sent nothing, once: believed when it answers so again."""


class CoveredInterval(msgspec.Struct, frozen=True, gc=False):
    """A row of the coverage: the bars that start within `[start_ms, end_ms)`, both multiples of `BAR_MS`.

    `asked_ms` is when the state was learned. `error` says what failed, for people. `fault` is None if the
    call itself failed. The intervals of a symbol never overlap.
    """

    start_ms: int
    end_ms: int
    state: IntervalState
    asked_ms: int | None = None
    error: str | None = None
    fault: IntervalFault | None = None


class StoredAsset(msgspec.Struct, frozen=True, gc=False):
    """What the database knows of a registered symbol; None where there is nothing yet.

    `as_of_ms` is the moment of the stored price, which others may have written; `fetched_to_ms` that of the
    newest price that came. `last_sync_ms` is the last success. `sync_status` was last written at
    `status_at_ms`, failures too. `platform_status` is the word in the platform's own row. `last_bar_ms` is
    the start of the newest stored bar. `coverage` has the covered intervals of its bars, ascending.
    """

    symbol: str
    last_price: float | None = None
    bid: float | None = None
    ask: float | None = None
    daily_open: float | None = None
    as_of_ms: int | None = None
    fetched_to_ms: int | None = None
    last_sync_ms: int | None = None
    platform_status: str | None = None
    sync_status: Status | None = None
    status_at_ms: int | None = None
    error_message: str | None = None
    last_bar_ms: int | None = None
    coverage: tuple[CoveredInterval, ...] = ()
    bar_size: BarSize | None = None
    """The size of the bars in which the coverage was asked for; None: five minutes."""
    rejected_ms: int | None = None
    """When the database last refused this symbol, if nothing was recorded of it since."""
    rejected_since_ms: int | None = None
    """The first of these refusals since the last success."""
    listing: Listing | None = None
    """Since when a stock is listed, and what became of it; None where nobody has asked."""
    coarse_from_ms: int | None = None
    """From when on the coverage was asked for in five minutes, where minutes were asked for before; None: all
    of it in `bar_size`."""
    session_from_ms: int | None = None
    """From when on it was asked for without the bars beside the session; None: nobody has recorded that."""

    @property
    def listed_from_ms(self) -> int:
        """The moment before which bars under its ticker are not its own; 0 if none is known."""
        return self.listing.from_ms if self.listing else 0

    @property
    def listed_to_ms(self) -> int:
        """The moment from which on nothing comes under its ticker; the end of all time if there is none."""
        return self.listing.to_ms if self.listing else END_OF_TIME_MS

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes under its ticker any more."""
        return self.listing is not None and self.listing.has_ended


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How the refresh of a symbol went: `success`, or what kept it from succeeding and why."""

    symbol: str
    status: Status
    error: str | None = None


class Look(msgspec.Struct, frozen=True):
    """An answer for bars that start within `[start_ms, end_ms)` and were answered before.

    `room` is how many bars of five minutes the market's open time has room for. `usable`: the answer can be
    compared. `insisted`: somebody has ordered it, so that its differences say nothing of the other bars.
    """

    start_ms: int
    end_ms: int
    at_ms: int
    room: int = 0
    usable: bool = True
    insisted: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """What a look showed: how many bars were stored or came, and what of them was not the same.

    `largest` is the largest relative difference of a price, `slots` the number of five minutes with a bar.
    """

    compared: int = 0
    changed: int = 0
    appeared: int = 0
    vanished: int = 0
    largest: float = 0.0
    slots: int = 0

    @property
    def differed(self) -> int:
        """The number of bars that were not the same."""
        return self.changed + self.appeared + self.vanished

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            compared=self.compared + other.compared,
            changed=self.changed + other.changed,
            appeared=self.appeared + other.appeared,
            vanished=self.vanished + other.vanished,
            largest=max(self.largest, other.largest),
            slots=self.slots + other.slots,
        )


class AnsweredBars(NamedTuple):
    """The bars that one answer brought: the starts of the first and the last, and when it was asked for."""

    first_ms: int
    last_ms: int
    asked_ms: int


class MarketDay(NamedTuple):
    """A day of a whole market that was answered, with so many bars; 0 if the answer was of no use. `market`
    is the word of its class."""

    market: str
    day: date
    bars: int


class AnsweredDay(NamedTuple):
    """A day of a whole market, when it was last asked for, and how many bars came.

    If the answer was of no use, `bars` is minus the number of such answers in a row before it.
    """

    day: date
    asked_ms: int
    bars: int


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a cycle has learned: prices, bars by symbol, and how it went for each symbol.

    `days` are day bars that came along, of symbols that may have no part in the cycle or not be registered.

    Bars ascend, and each has a start of its own (`in_order`). Of several prices of a symbol the newest
    counts, of several outcomes of a symbol the last. `coverage` is what is now known of intervals of bars,
    applied in order. `asked_ms` is when each symbol was asked for, if not just now: an answer that was asked
    for later wins. `answers` says which bars of a symbol came together: pages that are asked for in parallel
    are stored in any order. Without it all came with one answer.
    `from_bars` are the symbols whose price follows from the bars of this batch, `minutes` those whose bars
    are of one minute: their bars of five minutes follow, where the coverage says ASKED. `in_session` are
    those of which bars beside the session were left out. `looks` are what is
    compared with the stored bars before these are written. `market_days` are the days of whole markets that
    have come.
    """

    prices: Sequence[Price] = ()
    bars: Mapping[str, Sequence[Bar]] = {}
    coverage: Mapping[str, Sequence[CoveredInterval]] = {}
    outcomes: Sequence[Outcome] = ()
    days: Mapping[str, Sequence[DayBar]] = {}
    asked_ms: Mapping[str, int] = {}
    answers: Mapping[str, Sequence[AnsweredBars]] = {}
    from_bars: Collection[str] = frozenset()
    minutes: Collection[str] = frozenset()
    in_session: Collection[str] = frozenset()
    looks: Mapping[str, Sequence[Look]] = {}
    market_days: Sequence[MarketDay] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        news = self.prices or self.bars or self.coverage or self.outcomes or self.days or self.looks
        return not (news or self.market_days)

    @property
    def symbols(self) -> list[str]:
        """Every symbol of the batch, each once, without those of which only a day came along."""
        prices, outcomes = (item.symbol for item in self.prices), (item.symbol for item in self.outcomes)
        news = (symbol for symbol, some in self.coverage.items() if some)
        return list(dict.fromkeys([*prices, *self.bars, *news, *outcomes, *self.looks]))

    def only(self, symbols: Collection[str]) -> Changes:
        """Return the part of the batch that belongs to these symbols."""
        return msgspec.structs.replace(
            self,
            prices=[price for price in self.prices if price.symbol in symbols],
            bars={symbol: bars for symbol, bars in self.bars.items() if symbol in symbols},
            coverage={symbol: coverage for symbol, coverage in self.coverage.items() if symbol in symbols},
            outcomes=[outcome for outcome in self.outcomes if outcome.symbol in symbols],
            days={symbol: days for symbol, days in self.days.items() if symbol in symbols},
            looks={symbol: looks for symbol, looks in self.looks.items() if symbol in symbols},
            market_days=(),
        )


LOCKED = "locked by another transaction"
"""What is said of a symbol of which another transaction holds a row."""


class RejectionCause(StrEnum):
    """Why the database did not store what came for a symbol."""

    REFUSED = "refused"
    """It refuses a value."""
    SKIPPED = "skipped"
    """It reports no error, and the row was not written: a trigger or a row-level policy left it out."""
    UNREGISTERED = "unregistered"
    """It has no row."""
    LOCKED = "locked"
    """Another transaction held the row for longer than is waited."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """What the database did not store of a symbol, and why: how many bars, and whether its price as well.

    `failed` is false where only bars of the past have no partition to go into.
    """

    error: str
    bars: int = 0
    price: bool = False
    failed: bool = True
    cause: RejectionCause = RejectionCause.REFUSED


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch changed.

    `updated` are the prices whose rows were written, to be published; `unknown` the symbols of the batch
    whose row was not there to write: nothing was stored of them. `bars_new` were missing, `bars_changed`
    differed, `bars_filled` have another value than the provider's where a column takes no NULL.
    `rejected` are the symbols of which something was not stored, the unknown among them; the others are
    stored. `compared` is what the looks showed, `doubted` the symbols of which everything is wanted again.
    """

    updated: list[Price]
    unknown: list[str]
    bars_new: int = 0
    bars_changed: int = 0
    bars_filled: int = 0
    rejected: Mapping[str, Rejection] = {}
    compared: Mapping[str, Comparison] = {}
    doubted: Collection[str] = ()

    def __add__(self, other: Saved) -> Saved:
        """Return what two parts of a batch changed; of what both say of a symbol the later counts."""
        return Saved(
            updated=[*self.updated, *other.updated],
            unknown=[*self.unknown, *other.unknown],
            bars_new=self.bars_new + other.bars_new,
            bars_changed=self.bars_changed + other.bars_changed,
            bars_filled=self.bars_filled + other.bars_filled,
            rejected={**self.rejected, **other.rejected},
            compared={**self.compared, **other.compared},
            doubted=(*self.doubted, *other.doubted),
        )
