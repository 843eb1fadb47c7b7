"""The state of one batch: what becomes of work by answers and refusals, and what of it is to be stored.

Everything here is decided from values; asking, storing and publishing are refresh's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.calls import BarsCall, Call
from assetbatch.domain.coverage import record
from assetbatch.domain.due import Verdict
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.models import (
    LOCKED,
    Bar,
    Changes,
    CoveredInterval,
    Outcome,
    Rejection,
    RejectionCause,
    Saved,
    StoredAsset,
)
from assetbatch.domain.queueing import CallKind, Fault
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.work import Work, WorkKind
from assetbatch.errors import RedisError
from assetbatch.refresh.interpretation import Findings, Page, Result, too_old, unended_findings

HEAVY_BARS = 20_000
HEAVY_SECONDS = 2.0
HEAVY_RESULTS = 500
"""So much unsaved is stored before the next call of a long batch: little is lost with a process, memory
stays flat, and the last save of a cycle is as short as any."""

HEAVY_TIMES = 2
"""So many times as much may come while the store is still busy with what came before."""

PLAN_AGE_MS = 1000
"""How old a planned call may be when its slot has come; after a longer wait it is planned again."""

# A member of an enum is looked up by Python code, which thousands of assets feel.
_PRICE, _FRESH = WorkKind.PRICE, Status.FRESH


class BatchReport(msgspec.Struct, kw_only=True):
    """What one batch did, in the order of its work."""

    results: list[Result]
    calls: int
    bars_new: int
    bars_corrected: int
    bars_refused: int
    bars_filled: int
    prices_refused: int
    published: int
    provider_down: bool
    """Every call of this batch found the provider down."""
    down_hint: str | None
    """What to do about it, where the last such call told."""
    too_many_calls: bool


class Holder:
    """Whose work a batch is. This one holds nothing; the queue's holds leases."""

    def starts(self, _work: Sequence[Work]) -> Collection[str]:
        """A call for this work goes out now, unless some of it is somebody else's by now: the ids of that."""
        return ()

    def hand_back(self, _work: Sequence[Work]) -> Collection[str]:
        """This work needs more calls than can still be made; returns the ids of what is left to others."""
        return ()

    def stored(self, _results: Sequence[Result]) -> None:
        """These results are stored and published, or need neither."""

    def not_stored(self, _results: Sequence[Result], _error: str) -> None:
        """The database refused these results."""


class Ask(msgspec.Struct, frozen=True):
    """One request to the provider: a call that was planned for a moment, or the next page of its range."""

    call: Call
    planned_ms: int
    page: Page | None = None


class Portion(msgspec.Struct, frozen=True):
    """Work that was found due at a moment, and what is stored of its assets."""

    work: Sequence[Work]
    stored: Mapping[str, StoredAsset]
    due_at_ms: int


class BatchState:
    """What is pending, what came, what is stored, for one batch of work; which may come in portions."""

    def __init__(self, kind: CallKind, holder: Holder, known: Entitlements) -> None:
        self.kind = kind
        self.holder = holder
        self._known = known
        self._saved_at = monotonic()
        self._open: dict[str, Work] = {}
        self._out: set[str] = set()  # ids of work whose call is out, or whose next page waits
        self._pages: list[tuple[BarsCall, Page]] = []
        self._planned: list[Call] = []
        self._planned_ms = 0
        self._planned_with = 0
        self._found_due: tuple[int, int] | None = None
        self.stored: dict[str, StoredAsset] = {}
        self.brought = 0
        """Pieces of work so far."""
        self.calls = 0
        self.answered = 0
        self.downs = 0
        self.down_hint: str | None = None
        self.landed_ms: int | None = None
        """When the last answer was in, which the database keeps as evidence of a call."""
        self._closed_because: tuple[str, Status] | None = None
        self.too_many_calls = False
        self.key_refused: str | None = None
        self.redis_error: RedisError | None = None
        self._order: dict[str, int] = {}
        self._results: list[Result] = []
        self._bars: dict[str, list[Bar]] = {}
        self._asked_ms: dict[str, int] = {}
        self._spans: dict[str, list[CoveredInterval]] = {}
        self._unsaved_from = 0
        self._bars_new = 0
        self._bars_corrected = 0
        self._bars_refused = 0
        self._bars_filled = 0
        self._prices_refused = 0
        self._published = 0

    def add(self, portion: Portion, revision: int) -> None:
        """Work that was found due a moment ago, after so many revision. What this batch knows of an asset
        already is newer than what is stored."""
        self._found_due = (portion.due_at_ms, revision)
        for item in portion.work:
            self._open[item.id] = item
            self._order[item.id] = self.brought
            self.brought += 1
        for symbol, stored in portion.stored.items():
            self.stored.setdefault(symbol, stored)

    @property
    def open(self) -> list[Work]:
        """What has no result yet, in the order of the work."""
        return list(self._open.values())

    @property
    def pending(self) -> list[Work]:
        """The same without the work whose call is out: what calls are to be planned for."""
        return [item for item_id, item in self._open.items() if item_id not in self._out]

    @property
    def is_out(self) -> bool:
        """Whether calls are out for all work that has no result yet, or none is left."""
        return not self._pages and all(item_id in self._out for item_id in self._open)

    # --- what to ask for ---

    def next_page(self, now_ms: int) -> Ask | None:
        """The page that is to be asked for next: a range that was begun is ended first, but in a cycle of
        priority assets only once each has had its own call."""
        if not self._pages or (self.kind is CallKind.PRIORITY and self.pending):
            return None
        call, page = self._pages[0]
        return Ask(call, now_ms, page)

    def plan_is_stale(self, now_ms: int, revision: int) -> bool:
        """Whether calls have to be planned (again): none is left, they are old, or something was learned."""
        age_ms = abs(now_ms - self._planned_ms)
        return not self._planned or age_ms > PLAN_AGE_MS or revision != self._planned_with

    def doubtful(self, now_ms: int, revision: int) -> list[Work]:
        """What of the pending work may not be due (any more). If it was found due a moment ago and nothing
        was learned since, these are only pages of the past, which come along where they are too old."""
        if self._found_due is not None:
            at_ms, lessons_then = self._found_due
            if abs(now_ms - at_ms) <= PLAN_AGE_MS and revision == lessons_then:
                return [item for item in self.pending if item.kind is WorkKind.HISTORY]
        return self.pending

    def planned(self, calls: list[Call], now_ms: int, revision: int) -> None:
        """These calls are to be made for what is pending, as far as is known after so many revision."""
        self._planned, self._planned_ms, self._planned_with = calls, now_ms, revision

    def next_planned(self, may_start: Callable[[Call], bool]) -> Ask | None:
        """The first planned call that may go out now."""
        return next((Ask(call, self._planned_ms) for call in self._planned if may_start(call)), None)

    @property
    def closed(self) -> bool:
        """Whether no further call is to be made."""
        return self._closed_because is not None

    def begin(self, ask: Ask) -> None:
        """The call goes out now."""
        self.calls += 1
        if ask.page:
            self._pages = [waiting for waiting in self._pages if waiting[1] is not ask.page]
        else:
            self._planned = [call for call in self._planned if call is not ask.call]
        self._out.update(item.id for item in ask.call.work)

    def end(self, ask: Ask) -> None:
        """The call has come back: what it has not settled waits for another, or for the page that follows."""
        if not any(call is ask.call for call, _ in self._pages):
            self._out.difference_update(item.id for item in ask.call.work)
        if self._closed_because:
            self.defer(*self._closed_because)

    def _settle(self, result: Result) -> None:
        del self._open[result.work.id]
        self._results.append(result)

    def _note_asked(self, call: Call, asked_ms: int) -> None:
        """Of several requests for a symbol the earliest moment counts."""
        for item in call.work:
            self._asked_ms.setdefault(item.asset.symbol, asked_ms)

    def of(self, call: Call) -> list[Work]:
        """The work of a call that has no result yet."""
        return [item for item in call.work if item.id in self._open]

    def settle_call(
        self, call: Call, status: Status, error: str, *, final: bool = False, fault: Fault = Fault.ITEM
    ) -> None:
        """The call failed: so did all work it was made for."""
        for item in self.of(call):
            self._settle(Result(work=item, status=status, error=error, final=final, fault=fault))

    def settle_without_call(self, item: Work, verdict: Verdict) -> None:
        """No call can bring anything for this work: it is complete, or known to be refused. Bars from before
        the plan's history are on record as such, which ends their work cleanly."""
        refusal = verdict.restriction
        if refusal and item.kind is WorkKind.PRICE:
            error = refusal.message
            self._settle(Result(work=item, status=Status.NOT_ENTITLED, error=error, final=True))
            return
        if refusal and refusal.restriction is Restriction.HISTORY:
            self._note(item.asset.symbol, too_old(item, self._known, refusal.since_ms))
        self._settle(Result(work=item, status=Status.FRESH, error=verdict.why.text))

    def defer(self, reason: str, status: Status = Status.DEFERRED) -> None:
        """No further call: what is pending stays due, and what calls that are out leave undone."""
        self._closed_because = self._closed_because or (reason, status)
        for call, page in self._pages:
            self._out.difference_update(item.id for item in call.work)
            if status is Status.POSTPONED:
                self.apply(call, unended_findings(call, self.of(call), page))
        self._pages, self._planned = [], []
        for item in self.pending:
            self._settle(Result(work=item, status=status, error=reason))

    def is_heavy(self, times: int = 1) -> bool:
        """Whether so much is unsaved, or so many times as much, that it should be stored now."""
        if self._unsaved_from == len(self._results) and not self._bars:
            return False
        if len(self._results) - self._unsaved_from >= HEAVY_RESULTS * times:
            return True
        bars = sum(map(len, self._bars.values()))
        return bars >= HEAVY_BARS * times or monotonic() - self._saved_at >= HEAVY_SECONDS * times

    def abandon(self, lost: Collection[str]) -> None:
        """Work that is somebody else's now, or left to others: nothing is asked or said of it any more."""
        for item_id in lost:
            del self._open[item_id]
        self._pages = [waiting for waiting in self._pages if self.of(waiting[0])]
        if lost:
            self._planned = []

    # --- what came ---

    def apply(self, call: Call, findings: Findings) -> None:
        """Take over what a call has brought."""
        if findings.asked_ms is not None:
            self._note_asked(call, findings.asked_ms)
        self._bars_refused += findings.bars_refused
        self._prices_refused += findings.prices_refused
        for symbol, bars in findings.bars.items():
            self._bars.setdefault(symbol, []).extend(bars)
        for symbol, spans in findings.spans.items():
            self._note(symbol, spans)
        for result in findings.results:
            self._settle(result)
        if findings.next_page and isinstance(call, BarsCall):
            self._pages.append((call, findings.next_page))

    def _note(self, symbol: str, spans: Sequence[CoveredInterval]) -> None:
        if not spans or symbol not in self.stored:
            return
        self._spans.setdefault(symbol, []).extend(spans)
        before = self.stored[symbol]
        self.stored[symbol] = msgspec.structs.replace(before, spans=tuple(record(before.spans, spans)))

    # --- storing ---

    def unsaved(self) -> tuple[list[Result], Changes]:
        """What has come since the last save, and what of it is to be stored in one transaction.

        Work on bars leaves the price and its sync status alone: a quote is newer and better than a bar.
        """
        new = [result for result in self._results[self._unsaved_from :] if result.status not in OPEN]
        self._unsaved_from = len(self._results)
        self._saved_at = monotonic()
        bars, self._bars = self._bars, {}
        asked_ms, self._asked_ms = self._asked_ms, {}
        spans, self._spans = self._spans, {}
        prices, outcomes = [], []
        for result in new:
            if result.work.kind is _PRICE and result.status is not _FRESH:
                outcomes.append(Outcome(result.work.asset.symbol, result.status, result.error))
                if result.price:
                    prices.append(result.price)
        to_save = Changes(
            prices=prices,
            bars=bars,
            spans=spans,
            outcomes=outcomes,
            asked_ms=asked_ms,
            from_bars={done.work.asset.symbol for done in new if done.bars and done.work.kind is _PRICE},
        )
        return new, to_save

    def saved(self, results: Sequence[Result], saved: Saved) -> list[Result]:
        """Counts what was stored, and returns the results as they are now: failed where the database refused
        what they brought."""
        self._bars_new += saved.bars_new
        self._bars_corrected += saved.bars_changed
        self._bars_filled += saved.bars_filled
        self._published += len(saved.updated)
        self._bars_refused += sum(rejection.bars for rejection in saved.rejected.values())
        if not saved.rejected:
            return list(results)
        self._set_aside(symbols_held(saved))
        stored = {price.symbol for price in saved.updated}
        after = {
            result.work.id: _rejected(result, rejection, stored)
            for result in results
            if (rejection := saved.rejected.get(result.work.asset.symbol))
        }
        self._results = [after.get(result.work.id, result) for result in self._results]
        return [after.get(result.work.id, result) for result in results]

    def _set_aside(self, held: set[str]) -> None:
        """Make no further call for symbols whose row another transaction holds."""
        if not held:
            return
        waiting = [call for call, _ in self._pages]
        self._pages = [(call, page) for call, page in self._pages if not _symbols_of(call) & held]
        for call in waiting:
            if _symbols_of(call) & held:
                self._out.difference_update(item.id for item in call.work)
        self._planned = []
        for item in [item for item in self.pending if item.asset.symbol in held]:
            self._settle(held_result(item))

    def report(self) -> BatchReport:
        """The results in the order of the work."""
        return BatchReport(
            results=sorted(self._results, key=lambda result: self._order[result.work.id]),
            calls=self.calls,
            bars_new=self._bars_new,
            bars_corrected=self._bars_corrected,
            bars_refused=self._bars_refused,
            bars_filled=self._bars_filled,
            prices_refused=self._prices_refused,
            published=self._published,
            down_hint=self.down_hint,
            provider_down=self.downs > 0 and self.answered == 0 and self.downs == self.calls,
            too_many_calls=self.too_many_calls,
        )


def symbols_held(saved: Saved) -> set[str]:
    """Return the symbols of which another transaction held a row."""
    return {
        symbol for symbol, rejection in saved.rejected.items() if rejection.cause is RejectionCause.LOCKED
    }


def held_result(item: Work) -> Result:
    """Return the result of work for which no call is made, since a row of its symbol is held."""
    return Result(work=item, status=Status.FAILED, error=LOCKED, fault=Fault.ROW_HELD)


def _symbols_of(call: Call) -> set[str]:
    return {item.asset.symbol for item in call.work}


def _rejected(result: Result, rejection: Rejection, stored: Collection[str]) -> Result:
    """A result whose symbol the database has refused, wholly or in part. Another call brings the same."""
    concerned = rejection.price if result.work.kind is _PRICE and not result.bars else rejection.failed
    if not concerned:
        return result
    symbol = result.work.asset.symbol
    is_held = rejection.cause is RejectionCause.LOCKED
    refuses = "the database refuses it: " if rejection.cause is RejectionCause.REFUSED else ""
    return msgspec.structs.replace(
        result,
        status=Status.FAILED,
        price=result.price if symbol in stored else None,
        error=f"{refuses}{rejection.error}",
        final=not is_held,
        fault=Fault.ROW_HELD if is_held else result.fault,
    )
