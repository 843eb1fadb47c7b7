"""The work of one batch: what is open, in flight and done, and what is unsaved.

Pure: events and moments come in as arguments. The engine asks; the writer stores and publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.asset_classes import longest_hours
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import Call
from assetbatch.domain.coverage import record
from assetbatch.domain.due import Verdict
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.models import (
    LOCKED,
    AnsweredBars,
    Bar,
    Changes,
    Comparison,
    CoveredInterval,
    DayBar,
    Look,
    MarketDay,
    Outcome,
    Rejection,
    RejectionCause,
    Saved,
    StoredAsset,
    in_order,
)
from assetbatch.domain.queueing import Fault
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.work import Work, WorkKind
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.endpoints.bars import too_old, unended_findings
from assetbatch.refresh.interpretation import Findings, Page, Result
from assetbatch.refresh.policy import Policy

if TYPE_CHECKING:
    from assetbatch.refresh.references.run import ReferenceResult

MAX_UNSAVED_BARS = 20_000
MAX_UNSAVED_SECONDS = 2.0
MAX_UNSAVED_RESULTS = 500
"""Flush when this much is unsaved: it bounds memory, data loss on a crash, and the time of the last write."""

MAX_WAITING_RESULTS = 4_000
"""Wait for a write when so many results have come beside it. A price takes less memory than a page of bars:
its calls need not wait for it."""

MAX_CHOICE_AGE_MS = 1000
"""Maximum age of a chosen call when it goes out. After a longer wait the calls are chosen again."""

# Python code looks up a member of an enum, which costs time with thousands of assets.
_PRICE, _FRESH = WorkKind.PRICE, Status.FRESH


class BatchReport(msgspec.Struct, kw_only=True):
    """What one batch has done; `results` are in the order of its work."""

    results: Sequence[Result] = ()
    calls: int = 0
    answers: int = 0
    """How many of the calls brought an answer."""
    outages: int = 0
    """How many of the calls found the provider down."""
    outage: str | None = None
    """What the last such call has met."""
    outage_hint: str | None = None
    """What to do about it, if the last such call said so."""
    outage_status: int | None = None
    """The HTTP status with which the last such call was answered; None without an answer."""
    too_many_calls: bool = False
    refused_key: str | None = None
    """What the provider says of the API key that it refuses."""
    key_hint: str | None = None
    bars_new: int = 0
    bars_corrected: int = 0
    bars_refused: int = 0
    bars_filled: int = 0
    prices_refused: int = 0
    published: int = 0
    compared: dict[str, Comparison] = {}
    """What the comparison of stored bars with answers has shown, by symbol."""
    doubted: set[str] = set()
    """The symbols of which so much differs that everything is wanted again."""
    references: list[ReferenceResult] = []
    """What became of calls for reference data."""

    @property
    def provider_down(self) -> bool:
        """Whether every call found the provider down."""
        return self.outages > 0 and self.answers == 0 and self.outages == self.calls

    def refused(self, refusal: Refusal) -> None:
        """Note what a refusal says of the provider."""
        match refusal.kind:
            case RefusalKind.KEY:
                self.refused_key, self.key_hint = refusal.message, refusal.hint
            case RefusalKind.TOO_MANY_CALLS:
                self.too_many_calls = True
            case RefusalKind.PROVIDER_DOWN:
                self.outages += 1
                self.outage = refusal.message
                self.outage_hint = refusal.hint
                self.outage_status = refusal.http_status
            case _:
                pass


class WorkOwner:
    """Hears what becomes of the work of a batch. This one owns nothing; that of the queue holds leases."""

    def lost_leases(self, _work: Sequence[Work]) -> Collection[str]:
        """Count an attempt of this work, whose call goes out now. Return the ids that somebody else has taken
        over; if there are any, the call does not go out."""
        return ()

    def hand_back(self, _work: Sequence[Work]) -> Collection[str]:
        """Hear that this work needs more calls than can still begin. Return the ids that are left to
        others."""
        return ()

    def on_stored(self, _results: Sequence[Result]) -> None:
        """Hear that these results are stored and published, or need neither."""

    def on_store_failed(self, _results: Sequence[Result], _error: str) -> None:
        """Hear that the database could not store these results."""


class Request(msgspec.Struct, frozen=True):
    """One call that is to be made, chosen for the moment `chosen_ms`; or the next page of its range."""

    call: Call
    chosen_ms: int
    page: Page | None = None


class WorkChunk(msgspec.Struct, frozen=True):
    """Work that joins a batch, due or not, with what is stored of its assets."""

    work: Sequence[Work]
    stored: Mapping[str, StoredAsset]


class Batch:
    """The state of one batch. Its work may come in chunks."""

    def __init__(
        self,
        policy: Policy,
        known: Entitlements,
        now: float,
        symbols_of: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        """Begin at `now` (`monotonic()`). `symbols_of` gives the symbols to which data of a ticker belong."""
        self._symbols_of = symbols_of
        self._policy = policy
        self._known = known
        self.stored: dict[str, StoredAsset] = {}
        """What is stored of the assets, and what this batch has learned of them since."""
        self.work_count = 0
        """How many pieces of work were found due."""
        self.completed_ms: int | None = None
        """When the last call completed. The database keeps it as evidence of a call."""
        self._open: dict[str, Work] = {}
        self._in_flight: set[str] = set()  # ids of work whose call is in flight, or whose next page waits
        self._found_due: set[str] = set()
        self._order: dict[str, int] = {}
        self._pages: list[Page] = []
        self._chosen: list[Call] = []
        self._chosen_ms = 0
        self._chosen_with = 0
        self._closed_because: tuple[str, Status] | None = None
        self._report = BatchReport()
        self._results: list[Result] = []
        self._unsaved_from = 0
        self._unsaved_since = now
        self._bars: dict[str, list[Bar]] = {}
        self._asked_ms: dict[str, int] = {}
        self._answers: dict[str, list[AnsweredBars]] = {}
        self._coverage: dict[str, list[CoveredInterval]] = {}
        self._days: dict[str, list[DayBar]] = {}
        self._market_days: list[MarketDay] = []
        self._looks: dict[str, list[Look]] = {}
        self._minutes: set[str] = set()  # symbols whose bars are of one minute
        self._in_session: set[str] = set()  # symbols of which bars beside the session are left out

    def add(self, chunk: WorkChunk) -> None:
        """Add work. What this batch knows of an asset already is newer than what is stored."""
        for item in chunk.work:
            item_id = item.id
            self._open[item_id] = item
            self._found_due.discard(item_id)
            self._order.setdefault(item_id, len(self._order))
        for symbol, stored in chunk.stored.items():
            self.stored.setdefault(symbol, stored)
        self._chosen = []

    @property
    def open(self) -> list[Work]:
        """The work that has no result yet, in its order."""
        return list(self._open.values())

    @property
    def pending(self) -> list[Work]:
        """The open work without a call in flight: calls are to be chosen for it."""
        return [item for item_id, item in self._open.items() if item_id not in self._in_flight]

    @property
    def is_all_in_flight(self) -> bool:
        """Whether all open work has a call in flight, or no work is open."""
        return not self._pages and self._open.keys() <= self._in_flight

    def of(self, call: Call) -> list[Work]:
        """Return the work of a call that has no result yet."""
        return [item for item in call.work if item.id in self._open]

    # --- what to ask for ---

    def next_page(self, now_ms: int) -> Request | None:
        """Return the request for the next page of a range that was begun, which goes before other calls; with
        one call for each only once all work has had its own."""
        if not self._pages or (self._policy.one_call_each and self.pending):
            return None
        page = self._pages[0]
        return Request(page.call, now_ms, page)

    def must_choose(self, now_ms: int, revision: int) -> bool:
        """Return whether calls have to be chosen (again): none is left, they are old, or the entitlements
        have another revision."""
        age_ms = abs(now_ms - self._chosen_ms)
        return not self._chosen or age_ms > MAX_CHOICE_AGE_MS or revision != self._chosen_with

    def choose(self, calls: list[Call], now_ms: int, revision: int) -> None:
        """Take over the calls that are to be made for what is pending."""
        self._chosen, self._chosen_ms, self._chosen_with = calls, now_ms, revision

    def next_chosen(self, may_start: Callable[[Call], bool]) -> Request | None:
        """Return the request for the first chosen call that may go out now."""
        return next((Request(call, self._chosen_ms) for call in self._chosen if may_start(call)), None)

    @property
    def is_closed(self) -> bool:
        """Whether no further call is to be made."""
        return self._closed_because is not None

    @property
    def has_calls_left(self) -> bool:
        """Whether the policy allows a further call."""
        return self._report.calls < self._policy.max_calls(self.work_count)

    @property
    def is_answered(self) -> bool:
        """Whether more calls brought an answer than found the provider down."""
        return self._report.answers > self._report.outages

    @property
    def has_outage(self) -> bool:
        """Whether a call has found the provider down."""
        return self._report.outages > 0

    # --- events ---

    def judge(self, item: Work, verdict: Verdict) -> None:
        """Take over whether pending work is due. Work that is not due is done, without a call.

        A price that was due until this cycle has learned that the plan refuses it is NOT_ENTITLED. All else
        is FRESH. Bars from before the plan's history are recorded as such.
        """
        if verdict.due:
            if (item_id := item.id) not in self._found_due:
                self._found_due.add(item_id)
                self.work_count += 1
            return
        lacking = verdict.restriction
        if lacking and item.kind is _PRICE and item.id in self._found_due:
            self._finish(Result(work=item, status=Status.NOT_ENTITLED, error=lacking.message, final=True))
            return
        if lacking and lacking.restriction is Restriction.HISTORY:
            self._note(item.asset.symbol, too_old(item, self._known, lacking.since_ms))
        self._finish(Result(work=item, status=_FRESH, error=verdict.why.text, paused=verdict.paused))

    def begin(self, request: Request) -> None:
        """Note that a call goes out now."""
        self._report.calls += 1
        if request.page:
            self._pages = [page for page in self._pages if page is not request.page]
        else:
            self._chosen = [call for call in self._chosen if call is not request.call]
        self._in_flight.update(item.id for item in request.call.work)

    def complete(self, now_ms: int) -> None:
        """Note that a call has completed, with an answer or a refusal."""
        self.completed_ms = now_ms

    def answered(self, call: Call, findings: Findings) -> None:
        """Take over what the answer to a call has brought."""
        self.apply(call, findings)
        self._report.answers += 1

    def refused(self, refusal: Refusal) -> None:
        """Note what a refusal says of the provider; what it means for the work is applied apart."""
        self._report.refused(refusal)

    def apply(self, call: Call, findings: Findings) -> None:
        """Take over results, bars and intervals."""
        if findings.asked_ms is not None:
            self._note_asked(call, findings.asked_ms)
        self._report.bars_refused += findings.bars_refused
        self._report.prices_refused += findings.prices_refused
        self._minutes.update(i.asset.symbol for i in call.work if i.asset.bars is BarSize.ONE_MINUTE)
        if findings.coverage:
            assets = (i.asset for i in call.work if i.asset.bars)
            self._in_session.update(a.symbol for a in assets if longest_hours(a.market) is not a.market)
        for symbol, bars in findings.bars.items():
            so_far = self._bars.setdefault(symbol, [])
            if bars and findings.asked_ms is not None:
                answer = AnsweredBars(bars[0].t_ms, bars[-1].t_ms, findings.asked_ms)
                self._answers.setdefault(symbol, []).append(answer)
            is_further = not (so_far and bars) or bars[0].t_ms > so_far[-1].t_ms
            so_far.extend(bars)
            if not is_further:
                self._bars[symbol] = in_order(so_far)
        for symbol, some in findings.looks.items():
            self._looks.setdefault(symbol, []).extend(some)
        for symbol, coverage in findings.coverage.items():
            self._note(symbol, coverage)
        for ticker, day in findings.days.items():
            for symbol in self._symbols_of(ticker):
                asked = msgspec.structs.replace(day, asked_ms=findings.asked_ms)
                self._days.setdefault(symbol, []).append(asked)
        # A start for the priority assets does not know the members of rules: it may leave out their days.
        if findings.market_day and not self._policy.one_call_each:
            self._market_days.append(findings.market_day)
        for result in findings.results:
            self._finish(result)
        if findings.next_page:
            self._pages.append(findings.next_page)

    def end(self, request: Request) -> None:
        """Let the work of a completed call that has no result wait for another call, or for the page that
        follows."""
        if not any(page.call is request.call for page in self._pages):
            self._in_flight.difference_update(item.id for item in request.call.work)
        if self._closed_because:
            self.close(*self._closed_because)

    def fail(self, call: Call, status: Status, error: str, *, fault: Fault = Fault.ITEM) -> None:
        """Give all open work of a call this result."""
        for item in self.of(call):
            self._finish(Result(work=item, status=status, error=error, fault=fault))

    def close(self, reason: str, status: Status = Status.DEFERRED) -> None:
        """Make no further call. What is pending stays due, and so does what the calls in flight leave undone.
        The first reason counts."""
        self._closed_because = self._closed_because or (reason, status)
        for page in self._pages:
            self._in_flight.difference_update(item.id for item in page.call.work)
            if status is Status.POSTPONED:
                self.apply(page.call, unended_findings(self.of(page.call), page))
        self._pages, self._chosen = [], []
        for item in self.pending:
            self._finish(Result(work=item, status=status, error=reason))

    def abandon(self, ids: Collection[str]) -> None:
        """Leave work to somebody else: it gets no result."""
        for item_id in ids:
            del self._open[item_id]
        self._pages = [page for page in self._pages if self.of(page.call)]
        if ids:
            self._chosen = []

    def _finish(self, result: Result) -> None:
        del self._open[result.work.id]
        self._results.append(result)

    def _note_asked(self, call: Call, asked_ms: int) -> None:
        """Keep the earliest moment of several requests for a symbol."""
        for item in call.work:
            self._asked_ms.setdefault(item.asset.symbol, asked_ms)

    def _note(self, symbol: str, news: Sequence[CoveredInterval]) -> None:
        if not news or symbol not in self.stored:
            return
        self._coverage.setdefault(symbol, []).extend(news)
        before = self.stored[symbol]
        self.stored[symbol] = msgspec.structs.replace(before, coverage=tuple(record(before.coverage, news)))

    # --- storing ---

    def should_flush(self, now: float) -> bool:
        """Return whether something is unsaved at `now` (`monotonic()`) that should be stored: much, or
        anything for long."""
        results = self._unsaved_results
        if not results and not self._bars:
            return False
        is_much = results >= MAX_UNSAVED_RESULTS or self.unsaved_bars >= MAX_UNSAVED_BARS
        return is_much or now - self._unsaved_since >= MAX_UNSAVED_SECONDS

    @property
    def fills_memory(self) -> bool:
        """Whether so much is unsaved that no more should come before it is stored."""
        return self._unsaved_results >= MAX_WAITING_RESULTS or self.unsaved_bars >= MAX_UNSAVED_BARS

    @property
    def _unsaved_results(self) -> int:
        return len(self._results) - self._unsaved_from

    @property
    def unsaved_bars(self) -> int:
        """How many bars are unsaved."""
        return sum(map(len, self._bars.values()))

    @property
    def unsaved_symbols(self) -> set[str]:
        """The symbols of which anything is unsaved."""
        results = (result.work.asset.symbol for result in self._results[self._unsaved_from :])
        return {*self._bars, *self._coverage, *self._looks, *self._days, *results}

    def take_unsaved(self, now: float) -> tuple[list[Result], Changes]:
        """Return the results since the last save, and what of them is to be stored in one transaction; they
        count as saved then.

        Work on bars leaves the price and its sync status alone: a quote is newer and better than a bar.
        """
        new = [result for result in self._results[self._unsaved_from :] if result.status not in OPEN]
        self._unsaved_from = len(self._results)
        self._unsaved_since = now
        bars, self._bars = self._bars, {}
        asked_ms, self._asked_ms = self._asked_ms, {}
        answers, self._answers = self._answers, {}
        coverage, self._coverage = self._coverage, {}
        days, self._days = self._days, {}
        market_days, self._market_days = self._market_days, []
        looks, self._looks = self._looks, {}
        of_prices = [one for one in new if one.work.kind is _PRICE and one.status is not _FRESH]
        return new, Changes(
            prices=[one.price for one in of_prices if one.price],
            bars=bars,
            coverage=coverage,
            days=days,
            market_days=market_days,
            outcomes=[Outcome(one.work.asset.symbol, one.status, one.error) for one in of_prices],
            asked_ms=asked_ms,
            answers=answers,
            minutes=self._minutes & (bars.keys() | coverage.keys()),
            in_session=self._in_session & coverage.keys(),
            looks=looks,
            from_bars={one.work.asset.symbol for one in new if one.bars and one.work.kind is _PRICE},
        )

    def saved(self, results: Sequence[Result], saved: Saved) -> list[Result]:
        """Count what was stored. Return the results as they are now: failed if the database refused what they
        brought."""
        self._report.bars_new += saved.bars_new
        self._report.bars_corrected += saved.bars_changed
        self._report.bars_filled += saved.bars_filled
        self._report.published += len(saved.updated)
        for symbol, found in saved.compared.items():
            self._report.compared[symbol] = self._report.compared.get(symbol, Comparison()) + found
        self._report.doubted.update(saved.doubted)
        self._report.bars_refused += sum(rejection.bars for rejection in saved.rejected.values())
        if not saved.rejected:
            return list(results)
        self._leave_alone(symbols_held(saved))
        stored = {price.symbol for price in saved.updated}
        after = {
            result.work.id: _rejected(result, rejection, stored)
            for result in results
            if (rejection := saved.rejected.get(result.work.asset.symbol))
        }
        self._results = [after.get(result.work.id, result) for result in self._results]
        return [after.get(result.work.id, result) for result in results]

    def _leave_alone(self, held: set[str]) -> None:
        """Make no further call for symbols of which another transaction holds a row."""
        if not held:
            return
        waiting, self._pages = self._pages, []
        for page in waiting:
            if _symbols_of(page.call) & held:
                self._in_flight.difference_update(item.id for item in page.call.work)
            else:
                self._pages.append(page)
        self._chosen = []
        for item in [item for item in self.pending if item.asset.symbol in held]:
            self._finish(held_result(item))

    def report(self) -> BatchReport:
        """Return what was done, with the results in the order of the work."""
        results = sorted(self._results, key=lambda result: self._order[result.work.id])
        return msgspec.structs.replace(self._report, results=results)


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
    """Return the result of a symbol that the database has refused, wholly or in part. Another call would
    bring the same."""
    concerned = rejection.price if result.work.kind is _PRICE and not result.bars else rejection.failed
    if not concerned or result.status is Status.FRESH:  # nothing of it was written
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
