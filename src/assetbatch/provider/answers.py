"""What the provider's answers are once they are decoded and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from assetbatch.domain.models import Bar, Price
from assetbatch.provider.refusals import Refusal


class BarsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The bars of one page, ascending, each start once, all within `[start_ms, end_ms]`.

    `refused` counts the elements that were of no use by reason: `undecodable`, `ticker` (another one's),
    `time` (off the grid, in another unit, or none), `outside` (of the asked range), `price`, `range` (high
    or low does not enclose the others), `duplicate`. `faulty_ms` are the starts, ascending, of the bars
    refused for `price` or `range` that no sound bar of the same start makes up for: the provider has
    something there, we do not. `misplaced_ms` are those of the slots that elements refused for `ticker` or
    `time` may have been meant for; `unplaced` elements may have been meant for any slot. `unordered` is
    how many sound bars came after one with a later start. `next_url` leads to the next page, without the
    key; None after the last. The range is the whole one that was asked, on every page.
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


class PricesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One call's prices; each asked ticker is in exactly one of `prices`, `errors` and `empty`.

    `empty` are tickers for which the answer has no price, or no moment of it: snapshots are cleared at
    New York midnight; the snapshot and the day of a market leave out what they have nothing for, known
    or not. `refused` counts what was of no use by reason: `undecodable`, `unasked` (not of a market's day,
    which is always of the whole market), `empty`, `duplicate`, `price` (beyond any), `quote` (none that can
    be), and of day bars `range`.
    """

    prices: dict[str, Price]
    errors: dict[str, Refusal]
    empty: frozenset[str]
    refused: Counter[str]


class MarketStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says of itself: its clock, and of each asset class whether its market is open."""

    server_time_ms: int | None = None
    markets: Mapping[str, str] = {}
