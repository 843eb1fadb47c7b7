"""The provider's answers once they are decoded and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.models import BAR_MS, Bar, DayBar, Price
from assetbatch.provider.refusals import Refusal

if TYPE_CHECKING:
    from datetime import date

    from assetbatch.domain.nyse import SpecialDays
    from assetbatch.domain.rules import ListedTicker
    from assetbatch.domain.splits import Days, Split


class BarsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The bars of one page, ascending, each start once, all within `[start_ms, end_ms]`.

    `refused` counts the useless elements by reason: `undecodable`, `ticker` (another one's), `time` (off
    the grid, in another unit, or none), `outside` (of the asked range), `price`, `range` (high or low does
    not enclose the others), `duplicate`. `faulty_ms` are the starts, ascending, of the bars refused for
    `price` or `range` for which there is no sound bar of the same start: the provider has a bar there, and
    we do not. `misplaced_ms` are the intervals for which elements refused for `ticker` or `time` may have
    been meant. `unplaced` elements may have been meant for any interval. `unordered` is the number of
    sound bars that came after one with a later start. `next_url` leads to the next page, without the key;
    it is None after the last page. The range is the whole one that was asked, on every page. `size_ms` is the
    length of the bars.
    """

    ticker: str
    start_ms: int
    end_ms: int
    bars: list[Bar]
    refused: Counter[str]
    faulty_ms: tuple[int, ...] = ()
    misplaced_ms: tuple[int, ...] = ()
    unplaced: int = 0
    unordered: int = 0
    next_url: str | None = None
    size_ms: int = BAR_MS


class PricesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of one call. Each asked ticker is in exactly one of `prices`, `errors` and `empty`.

    `empty` are tickers for which the answer has no price, or a price without its moment. Snapshots are
    cleared at New York midnight. The snapshot and the day of a market leave out what they have nothing
    for, known or not. `refused` counts the useless elements by reason: `undecodable`, `unasked` (not of a
    market's day, which always has the whole market), `empty`, `duplicate`, `price` (beyond any), `quote`
    (impossible), and of day bars `range`. `delayed` has the tickers whose entry says how late it is, with
    whether the plan delays them, of classes that have delayed plans.
    """

    prices: dict[str, Price]
    errors: dict[str, Refusal]
    empty: frozenset[str]
    refused: Counter[str]
    days: Mapping[str, DayBar] = {}
    """By ticker, asked or not: the bars of a market's day."""
    useless_days: int = 0
    """How many rows of a market's day, asked or not, are no bars."""
    delayed: Mapping[str, bool] = {}


class PreviousDay(msgspec.Struct, frozen=True, kw_only=True):
    """The last complete day of one asset: its price, as of the day's end, and its bar."""

    price: Price
    bar: DayBar


class MarketStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's clock, and its words for the state of the market of each asset class."""

    server_time_ms: int | None = None
    markets: Mapping[str, str] = {}


class ListedDays(msgspec.Struct, frozen=True, kw_only=True):
    """The holidays and early closes of the New York Stock Exchange that the provider lists.

    A day that closes at its usual time is listed to be an ordinary one. `refused` counts the useless rows by
    reason: `undecodable`, `date` (none, or a weekend), `status` (neither closed nor an early close), `close`
    (none that an early close can have); and the days on which rows differ: `contradiction` (those of one
    exchange, which then says nothing), `exchange` (those of NYSE and Nasdaq; NYSE's counts).
    """

    days: SpecialDays
    refused: Counter[str]


class SplitsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One page of splits, by ticker.

    `refused` counts the useless rows by reason: `undecodable`, `ticker` (none), `date` (none), `outside` (of
    the asked days), `ratio` (0, negative, no number, no change, or beyond any). `useless` are the days of the
    rows refused for `ratio`. `settled` are the days of which the answer has every row; None if it may lack
    some of any day. `rest` are those that are to be asked for next, where the page is full.
    """

    splits: Mapping[str, Sequence[Split]]
    useless: Mapping[str, Collection[date]]
    refused: Counter[str]
    settled: Days | None
    rest: Days | None = None


class TickersPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the tickers that the provider lists, in its order.

    `refused` counts the useless rows by reason: `undecodable`, `ticker` (none), `market` (another one's),
    `inactive`. `last` is the last ticker of the page, also one that is refused; None where there is none.
    """

    tickers: list[ListedTicker]
    refused: Counter[str]
    last: str | None
    is_last: bool
    """Whether no further page follows."""
