"""Reference data: calls for a whole market, or about an asset, that bring no price and no bars; when they are
due.

Pure: what was asked before and the time come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import WorkKind, is_reference

_PREFIX = f"{WorkKind.REFERENCE.value}:"
PAGE = "+"
"""What stands before the number of a page in the detail of a walk through tickers, from the second one on."""

REFUSED_MS = 7 * DAY_MS
"""How long it is believed that the plan lacks some reference data, before one call asks again."""

FAILED_MS = HOUR_MS
"""How long reference data are left alone that could not be had, once they are out of the queue."""

CLOCKS_APART_MS = MINUTE_MS
"""How far a moment of the past may lie ahead, after a failover to another server."""


class ReferenceKind(StrEnum):
    """What a call for reference data asks for."""

    HOLIDAYS = "holidays"
    """The holidays and early closes of the stock exchange."""
    SPLITS = "splits"
    TICKERS = "tickers"
    """The tickers of a market that a rule names."""
    DAYS = "days"
    """A day of the past of a whole market."""
    LISTING = "listing"
    """Since when a stock is listed, and whether it still is."""
    FORMER = "former"
    """The same on a day of the past."""
    RENAMES = "renames"
    """The tickers that the company of a stock has had."""


OF_SYMBOLS = frozenset({ReferenceKind.LISTING, ReferenceKind.FORMER, ReferenceKind.RENAMES})
"""The kinds whose detail is a symbol, or a symbol and `@` and what is asked about it."""


class Reference(msgspec.Struct, frozen=True):
    """One call for reference data: its kind, and what of it where there is more than one."""

    kind: ReferenceKind
    detail: str = ""

    @property
    def name(self) -> str:
        """What it is called: `holidays` or `listing:AAPL`."""
        return f"{self.kind.value}:{self.detail}" if self.detail else self.kind.value

    @property
    def id(self) -> str:
        """The id in the queue: `reference:holidays` or `reference:listing:AAPL`."""
        return f"{_PREFIX}{self.name}"

    @property
    def symbol(self) -> str:
        """The symbol that it is about; empty if it is about a market."""
        if self.kind is ReferenceKind.LISTING:
            return self.detail
        return self.detail.rpartition("@")[0] if self.kind in OF_SYMBOLS else ""

    @property
    def about(self) -> str:
        """What is asked about its symbol, such as a day."""
        return self.detail.rpartition("@")[2]

    @property
    def market(self) -> str:
        """The market whose day it asks for; empty for every other kind."""
        return self.detail.partition(":")[0] if self.kind is ReferenceKind.DAYS else ""

    @property
    def words(self) -> str:
        """What it is called for people, as in `listing of AAPL`. Its detail, where it cannot be read."""
        if self.kind is ReferenceKind.SPLITS:
            from assetbatch.domain.splits import parse_request  # few starts meet any

            if request := parse_request(self.detail):
                return request.words
        return _WORDS[self.kind](self)


def _tickers_in_words(reference: Reference) -> str:
    rule, _, number = reference.detail.partition(PAGE)
    return f"tickers of {rule}, page {int(number) + 1}" if number.isdecimal() else f"tickers of {rule}"


def days_in_words(days: Sequence[Reference]) -> str:
    """Return the days of one market, as `daily bars of all stocks on 25 days, 2026-10-23 to 2026-11-27`."""
    found = sorted(one.detail.partition(":")[2] for one in days)
    which = f"{len(found)} days, {found[0]} to {found[-1]}" if len(found) > 1 else found[0]
    return f"daily bars of all {days[0].market} on {which}"


_WORDS: Mapping[ReferenceKind, Callable[[Reference], str]] = {
    ReferenceKind.HOLIDAYS: lambda _: "holidays of the stock exchange",
    ReferenceKind.SPLITS: lambda reference: f"splits of {reference.detail}",
    ReferenceKind.TICKERS: _tickers_in_words,
    ReferenceKind.DAYS: lambda reference: days_in_words([reference]),
    ReferenceKind.LISTING: lambda reference: f"listing of {reference.symbol}",
    ReferenceKind.FORMER: lambda reference: (
        f"listing of {reference.symbol} {f'on {reference.about}' if reference.about else 'as it ended'}"
    ),
    ReferenceKind.RENAMES: lambda reference: f"renames of {reference.symbol}",
}


def parse_reference(item_id: str) -> Reference | None:
    """Read an id made by `Reference.id`. Return None for anything else, and for a kind of another version."""
    if not is_reference(item_id):
        return None
    kind, _, detail = item_id.removeprefix(_PREFIX).partition(":")
    return Reference(ReferenceKind(kind), detail) if kind in set(ReferenceKind) else None


class AskOutcome(StrEnum):
    """What came of a call for reference data."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The plan lacks it."""
    FAILED = "failed"


class Asked(msgspec.Struct, frozen=True):
    """When reference data were last asked for, and what came of it."""

    at_ms: int
    outcome: AskOutcome = AskOutcome.ANSWERED
    error: str = ""

    def is_past(self, pause_ms: int, now_ms: int) -> bool:
        """Return whether it is so long ago. A moment that lies ahead is of a clock that was set back."""
        return not -CLOCKS_APART_MS <= now_ms - self.at_ms < pause_ms

    def is_refused(self, now_ms: int) -> bool:
        """Return whether it is believed that the plan lacks it."""
        return self.outcome is AskOutcome.REFUSED and not self.is_past(REFUSED_MS, now_ms)

    def is_failed(self, now_ms: int) -> bool:
        """Return whether it could not be had just now."""
        return self.outcome is AskOutcome.FAILED and not self.is_past(FAILED_MS, now_ms)


def is_due(asked: Asked | None, every_ms: int, now_ms: int) -> bool:
    """Return whether reference data are to be asked for that are wanted once in `every_ms`."""
    if asked is None:
        return True
    if asked.outcome is AskOutcome.ANSWERED:
        return asked.is_past(every_ms, now_ms)
    return not asked.is_refused(now_ms) and not asked.is_failed(now_ms)
