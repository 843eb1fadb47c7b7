"""What an answer or a refusal means for the work of its call: the values, and what all endpoints have in
common.

Pure: values in, `Findings` out. `batch.Batch.apply` takes them over. What the answer of one endpoint means
stands in its file in `endpoints/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.calls import BarsCall, Call
from assetbatch.domain.models import (
    Bar,
    CoveredInterval,
    DayBar,
    IntervalState,
    Look,
    MarketDay,
    Price,
    StoredAsset,
)
from assetbatch.domain.pages import PageLesson
from assetbatch.domain.queueing import Fault
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.provider.refusals import Refusal

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer


FUTURE_MS = MINUTE_MS
"""Maximum time that a price may lie ahead of the clock of this machine."""


class Consequence(msgspec.Struct, frozen=True):
    """What follows from a refusal, if nothing shows how else to ask."""

    status: Status
    """The sync status of the work."""
    final: bool = False
    """Whether another try cannot help."""
    ends_batch: bool = False
    """Whether the batch makes no further call."""
    interval: IntervalState | None = None
    """The state of the interval of bars that was asked for."""
    fault: Fault = Fault.ITEM
    """Whose fault it is."""
    at_work: bool = True
    """Whether it shows that the provider is at work."""


CONSEQUENCES: Mapping[RefusalKind, Consequence] = {
    RefusalKind.KEY: Consequence(Status.DEFERRED, ends_batch=True, at_work=False),
    RefusalKind.NOT_IN_PLAN: Consequence(Status.NOT_ENTITLED, final=True, interval=IntervalState.NOT_IN_PLAN),
    RefusalKind.TODAY_NOT_YET: Consequence(Status.NOT_ENTITLED, final=True, interval=IntervalState.FAILED),
    RefusalKind.TIMEFRAME: Consequence(Status.NOT_ENTITLED, final=True, interval=IntervalState.NOT_IN_PLAN),
    RefusalKind.UNKNOWN_TICKER: Consequence(Status.NOT_FOUND, final=True, interval=IntervalState.FAILED),
    RefusalKind.TOO_MANY_CALLS: Consequence(Status.DEFERRED, ends_batch=True, at_work=False),
    RefusalKind.PROVIDER_DOWN: Consequence(
        Status.FAILED, interval=IntervalState.FAILED, fault=Fault.PROVIDER, at_work=False
    ),
    RefusalKind.NONSENSE: Consequence(
        Status.FAILED, interval=IntervalState.FAILED, fault=Fault.PROVIDER, at_work=False
    ),
}
"""What each kind of refusal leads to: the table "Refusals" of docs/how-calls-are-spent.md."""


class Result(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of one piece of work."""

    work: Work
    status: Status
    price: Price | None = None
    bars: int = 0
    error: str | None = None
    final: bool = False
    """Whether another try cannot help."""
    fault: Fault = Fault.ITEM
    """Whose fault a failure is."""
    answers: int = 0
    """How many calls of the same start the provider had answered when this one failed."""
    paused: bool = False
    """Whether the work failed before and is left alone for a while."""


class Page(msgspec.Struct, frozen=True):
    """The rest of a range whose first pages have come."""

    call: BarsCall
    answer: BarsAnswer
    """The answer that leads to the rest."""
    from_ms: int
    """Where the rest begins."""
    bars: list[Bar]
    """The bars that came before."""
    number: int
    """How many pages have come."""
    begun_ms: int
    """The moment up to which all was known before the first page."""
    at_ms: int
    """When the last page came."""


class ClassRefusal(msgspec.Struct, frozen=True):
    """All assets of a class that a call was for are refused in its answer. A single one is named: its refusal
    says nothing of the others."""

    asset_type: AssetType
    message: str
    ticker: str | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call. Work without a result waits for another call."""

    results: Sequence[Result] = ()
    asked_ms: int | None = None
    """When the provider was asked, if an answer came."""
    bars: Mapping[str, Sequence[Bar]] = {}
    """Bars to store, by symbol."""
    bars_refused: int = 0
    """Number of bars that could not be used."""
    prices_refused: int = 0
    """Number of prices that could not be used."""
    coverage: Mapping[str, Sequence[CoveredInterval]] = {}
    """What the coverage learns, by symbol."""
    days: Mapping[str, DayBar] = {}
    """Day bars to store, by ticker: of those that were asked for, and of others."""
    market_day: MarketDay | None = None
    """The day of a whole market that has come."""
    looks: Mapping[str, Sequence[Look]] = {}
    """Which of the bars are compared with what is stored, by symbol."""
    next_page: Page | None = None
    """The rest of the range, which the work waits for."""
    page_lessons: Sequence[PageLesson] = ()
    """What the answer shows of longer pages."""
    refused_classes: Sequence[ClassRefusal] = ()
    """The classes whose work is to be asked for in another way."""
    cleared: Sequence[str] = ()
    """The tickers to be asked for in another way, since their snapshots are cleared."""


def refusal_findings(
    call: Call,
    work: Sequence[Work],
    refusal: Refusal,
    fault: Fault,
    answers: int = 0,
    coverage: Sequence[CoveredInterval] = (),
) -> Findings:
    """Fail all work of a call that was refused, or a page of which was, if nothing shows how else to ask.

    `answers` is how many calls of the same start the provider had answered before. `coverage` are the
    intervals of bars that the call was for.
    """
    consequence = CONSEQUENCES[refusal.kind]
    results = [
        Result(
            work=item,
            status=consequence.status,
            error=refusal.message,
            final=consequence.final,
            fault=fault,
            answers=answers,
        )
        for item in work
    ]
    return Findings(results=results, coverage={call.work[0].asset.symbol: coverage} if coverage else {})


def nothing_came(item: Work, stored: Mapping[str, StoredAsset], error: str) -> Result:
    """Return the result of an answer without data: SUCCESS if something is stored, since nothing is newer,
    else NO_DATA."""
    before = stored.get(item.asset.symbol)
    if before is None or before.as_of_ms is None:
        return Result(work=item, status=Status.NO_DATA, error=error)
    return Result(work=item, status=Status.SUCCESS)
