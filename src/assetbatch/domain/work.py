"""Work: the price, the latest bars or a page of the past of one asset, and the ids of the queue for it."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import NamedTuple

import msgspec

from assetbatch.domain.assets import Asset
from assetbatch.domain.market_hours import days_span


class WorkKind(StrEnum):
    """What a piece of work asks for."""

    PRICE = "price"
    BARS = "bars"
    """The latest bars, where a snapshot brings the price only."""
    HISTORY = "history"
    """A page of bars of the past."""
    VERIFY = "verify"
    """A page of stored bars that is asked for again, to be compared. It is never in the queue."""
    REFERENCE = "reference"
    """Reference data, of an asset or of none: a `Reference`, and no `Work`."""


PAGES = (WorkKind.HISTORY, WorkKind.VERIFY)
"""The kinds of work for some days."""

_PRICE = WorkKind.PRICE  # looking up a member of an enum costs time with thousands of assets
GROUP_PREFIX = "members:"
"""How the ids of groups of members begin (see `domain.groups`)."""

_PREFIXES = (*(f"{kind.value}:" for kind in WorkKind), GROUP_PREFIX)


class Work(msgspec.Struct, frozen=True, gc=False):
    """A price to refresh, the bars that a snapshot does not bring, or a page of bars.

    A page has the New York days `first_day` to `last_day`, both inclusive.
    """

    asset: Asset
    kind: WorkKind = WorkKind.PRICE
    first_day: date | None = None
    last_day: date | None = None

    @property
    def id(self) -> str:
        """The id in the queue: `SYMBOL`, `bars:SYMBOL` or `history:SYMBOL:2024-11-01:2024-12-04`.

        A symbol may hold colons: one that begins like such an id has `price:` before it.
        """
        symbol = self.asset.symbol
        if self.kind is _PRICE:
            return f"price:{symbol}" if ":" in symbol and symbol.startswith(_PREFIXES) else symbol
        if self.kind is WorkKind.BARS:
            return f"bars:{symbol}"
        return f"{self.kind.value}:{symbol}:{self.first_day}:{self.last_day}"


class WorkId(NamedTuple):
    """What the id of an item says. The symbol is empty for reference data of a market, and for a group of
    members."""

    symbol: str
    kind: WorkKind
    first_day: date | None = None
    last_day: date | None = None


def parse_work_id(work_id: str) -> WorkId:
    """Read an id made by `Work.id`. Anything else is the price of a symbol of that name."""
    kind, colon, rest = work_id.partition(":")
    if not colon:
        return WorkId(work_id, WorkKind.PRICE)
    if work_id.startswith(GROUP_PREFIX):
        return WorkId("", WorkKind.PRICE)
    if kind in ("price", "bars"):
        return WorkId(rest, WorkKind(kind))
    if is_reference(work_id):
        from assetbatch.domain.references import parse_reference

        reference = parse_reference(work_id)
        return WorkId(reference.symbol if reference else "", WorkKind.REFERENCE)
    if kind in PAGES and rest.count(":") >= 2:
        symbol, first, last = rest.rsplit(":", 2)
        try:
            return WorkId(symbol, WorkKind(kind), date.fromisoformat(first), date.fromisoformat(last))
        except ValueError:
            pass
    return WorkId(work_id, WorkKind.PRICE)


def is_reference(work_id: str) -> bool:
    """Return whether an id stands for reference data, of whatever version."""
    return work_id.startswith("reference:")


def without_days(work_id: str) -> str:
    """Return an id without the days of a page: `history:SYMBOL`."""
    symbol, kind, *_ = parse_work_id(work_id)
    return f"{kind}:{symbol}" if kind in PAGES else work_id


def days_range(work: Work) -> tuple[int, int]:
    """Return `[start_ms, end_ms)` of the New York days of a page."""
    assert work.first_day is not None, "only pages have days"
    assert work.last_day is not None, "only pages have days"
    return days_span(work.first_day, work.last_day)
