"""The state of one batch: what becomes of work by answers and refusals, and what of it is to be stored.

Everything here is decided from values; asking, storing and publishing are refresh's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.assets import AssetType
from assetbatch.bounds import boot_seconds
from assetbatch.entitlements import DAY_MS, HOUR_MS, Entitlements, Lack
from assetbatch.errors import RedisError
from assetbatch.hours import last_midnight, open_ms_between
from assetbatch.ledger import OF_NO_USE, open_stretches, record
from assetbatch.market import (
    BAR_MS,
    Bar,
    Batch,
    Outcome,
    Price,
    Rejection,
    Saved,
    Span,
    SpanState,
    StoredAsset,
)
from assetbatch.planning import (
    BarsCall,
    Call,
    PreviousDayCall,
    PricesCall,
    Verdict,
    Work,
    WorkKind,
    asset_types,
    days_range,
)
from assetbatch.state.queue import Fault
from assetbatch.state.window import CallKind
from assetbatch.status import OPEN, Status
from assetbatch.vendor.refusals import RefusalKind
from assetbatch.words import moment, plural

if TYPE_CHECKING:
    from assetbatch.vendor.answers import BarsAnswer, PricesAnswer

HEAVY_BARS = 20_000
HEAVY_SECONDS = 2.0
HEAVY_RESULTS = 500
"""So much unsaved is stored before the next call of a long batch: little is lost with a process, memory
stays flat, and the last save of a cycle is as short as any."""

HEAVY_TIMES = 2
"""So many times as much may come while the store is still busy with what came before."""

PLAN_AGE_MS = 1000
"""How old a planned call may be when its slot has come; after a longer wait it is planned again."""

FUTURE_MS = 60_000
"""How far ahead of our clock a price may be dated."""

SETTLED_AFTER_MS = 25 * 60_000
"""How old a slot without a bar must be for the vendor to have none: plans lag by up to 15 minutes."""

EMPTY = "the vendor answered without any bar; asked once more"

LATE_AT_MOST_MS = 2 * DAY_MS
"""By then the vendor has published whatever it has."""


# A member of an enum is looked up by Python code, which thousands of assets feel.
_PRICE, _SUCCESS, _FRESH = WorkKind.PRICE, Status.SUCCESS, Status.FRESH


class Consequence(msgspec.Struct, frozen=True):
    """What follows from a refusal that has taught nothing of the plan by which it could be asked otherwise:
    the sync status, whether another try cannot help, whether the batch makes no further call, what the
    ledger says of bars asked for, whose fault it is, whether it shows that the vendor is at work."""

    status: Status
    final: bool = False
    ends_batch: bool = False
    span: SpanState | None = None
    fault: Fault = Fault.ITEM
    at_work: bool = True


CONSEQUENCES: Mapping[RefusalKind, Consequence] = {
    RefusalKind.KEY: Consequence(Status.DEFERRED, ends_batch=True, at_work=False),
    RefusalKind.NOT_IN_PLAN: Consequence(Status.NOT_ENTITLED, final=True, span=SpanState.NOT_IN_PLAN),
    RefusalKind.TODAY_NOT_YET: Consequence(Status.NOT_ENTITLED, final=True, span=SpanState.FAILED),
    RefusalKind.TIMEFRAME: Consequence(Status.NOT_ENTITLED, final=True, span=SpanState.NOT_IN_PLAN),
    RefusalKind.UNKNOWN_TICKER: Consequence(Status.NOT_FOUND, final=True, span=SpanState.FAILED),
    RefusalKind.TOO_MANY_CALLS: Consequence(Status.DEFERRED, ends_batch=True, at_work=False),
    RefusalKind.VENDOR_DOWN: Consequence(
        Status.FAILED, span=SpanState.FAILED, fault=Fault.VENDOR, at_work=False
    ),
    RefusalKind.NONSENSE: Consequence(Status.FAILED, span=SpanState.FAILED, at_work=False),
}
"""The one place that says what each class of refusal leads to (the README's table is this one)."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one piece of work. `final` where another try cannot help; `fault` says whose it is."""

    work: Work
    status: Status
    price: Price | None = None
    bars: int = 0
    error: str | None = None
    final: bool = False
    fault: Fault = Fault.ITEM


class BatchReport(msgspec.Struct, kw_only=True):
    """What one batch did, in the order of its work."""

    results: list[Result]
    calls: int = 0
    bars_new: int = 0
    bars_corrected: int = 0
    bars_refused: int = 0
    published: int = 0
    vendor_down: bool = False
    """Every call of this batch found the vendor down."""
    down_hint: str | None = None
    """What to do about it, where the last such call told."""
    too_many_calls: bool = False


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


def answered_to(call: BarsCall, answer: BarsAnswer, now_ms: int, newest_ms: int) -> int:
    """The moment up to which an answer tells all there is, from the start of its range on.

    With more pages to come that is the end of its last element. Otherwise all of the range, except what
    the vendor may only be late with: slots of the last minutes, and those later than the newest data that
    it has shown of any asset of the class (`newest_ms`; where it has shown none, of the last two days).
    """
    end_ms = _floor(min(call.end_ms + 1, now_ms))
    starts_ms = [*(bar.t_ms for bar in answer.bars[-1:]), *answer.faulty_ms[-1:]]
    last_ms = min(max(starts_ms) + BAR_MS, end_ms) if starts_ms else call.start_ms
    if answer.next_url is not None:
        return last_ms
    known_ms = newest_ms + HOUR_MS if newest_ms else now_ms - LATE_AT_MOST_MS
    return max(last_ms, min(end_ms, _floor(min(known_ms, now_ms - SETTLED_AFTER_MS))))


def _floor(at_ms: int) -> int:
    return at_ms - at_ms % BAR_MS


def price_from_bars(symbol: str, bars: Sequence[Bar], seen_to_ms: int) -> Price:
    """The price that follows from ascending bars: the last close, as of the end of its bar or the moment it
    was asked at, whichever is earlier; the daily values are those of its New York day."""
    last = bars[-1]
    midnight = last_midnight(last.t_ms)
    day = [bar for bar in bars if bar.t_ms >= midnight]
    return Price(
        symbol=symbol,
        last_price=last.close,
        as_of_ms=min(last.end_ms, seen_to_ms),
        daily_open=day[0].open,
        daily_high=max(bar.high for bar in day),
        daily_low=min(bar.low for bar in day),
        daily_close=last.close,
    )


class Page(msgspec.Struct, frozen=True):
    """The rest of a range: the answer that leads to it, where it begins, and the bars that came before."""

    answer: BarsAnswer
    from_ms: int
    bars: list[Bar]


class Ask(msgspec.Struct, frozen=True):
    """One request to the vendor: a call that was planned for a moment, or the next page of its range."""

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
        self._saved_at = boot_seconds()
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
        self._spans: dict[str, list[Span]] = {}
        self._unsaved_from = 0
        self._bars_new = 0
        self._bars_corrected = 0
        self._bars_refused = 0
        self._published = 0

    def add(self, portion: Portion, lessons: int) -> None:
        """Work that was found due a moment ago, after so many lessons. What this batch knows of an asset
        already is newer than what is stored."""
        self._found_due = (portion.due_at_ms, lessons)
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
        """The page that is to be asked for next: a range that was begun is ended first."""
        if not self._pages:
            return None
        call, page = self._pages[0]
        return Ask(call, now_ms, page)

    def plan_is_stale(self, now_ms: int, lessons: int) -> bool:
        """Whether calls have to be planned (again): none is left, they are old, or something was learned."""
        age_ms = abs(now_ms - self._planned_ms)
        return not self._planned or age_ms > PLAN_AGE_MS or lessons != self._planned_with

    def doubtful(self, now_ms: int, lessons: int) -> list[Work]:
        """What of the pending work may not be due (any more). If it was found due a moment ago and nothing
        was learned since, these are only pages of the past, which come along where they are too old."""
        if self._found_due is not None:
            at_ms, lessons_then = self._found_due
            if abs(now_ms - at_ms) <= PLAN_AGE_MS and lessons == lessons_then:
                return [item for item in self.pending if item.kind is WorkKind.HISTORY]
        return self.pending

    def planned(self, calls: list[Call], now_ms: int, lessons: int) -> None:
        """These calls are to be made for what is pending, as far as is known after so many lessons."""
        self._planned, self._planned_ms, self._planned_with = calls, now_ms, lessons

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

    def _settle(self, item: Work, result: Result) -> None:
        del self._open[item.id]
        self._results.append(result)

    def answered_by(self, ask: Ask) -> None:
        """The answer to this request is in; of several requests for a symbol the earliest moment counts."""
        for item in ask.call.work:
            self._asked_ms.setdefault(item.asset.symbol, ask.planned_ms)

    def of(self, call: Call) -> list[Work]:
        """The work of a call that has no result yet."""
        return [item for item in call.work if item.id in self._open]

    def settle_call(
        self, call: Call, status: Status, error: str, *, final: bool = False, fault: Fault = Fault.ITEM
    ) -> None:
        """The call failed: so did all work it was made for."""
        for item in self.of(call):
            self._settle(item, Result(work=item, status=status, error=error, final=final, fault=fault))

    def settle_without_call(self, item: Work, verdict: Verdict) -> None:
        """No call can bring anything for this work: it is complete, or known to be refused. Bars from before
        the plan's history are on record as such, which ends their work cleanly."""
        refusal = verdict.refusal
        if refusal and item.kind is WorkKind.PRICE:
            error = refusal.message
            self._settle(item, Result(work=item, status=Status.NOT_ENTITLED, error=error, final=True))
            return
        if refusal and refusal.lack is Lack.HISTORY:
            self._note(item.asset.symbol, self._too_old(item, refusal.since_ms))
        self._settle(item, Result(work=item, status=Status.FRESH, error=verdict.reason))

    def defer(self, reason: str, status: Status = Status.DEFERRED) -> None:
        """No further call: what is pending stays due, and what calls that are out leave undone."""
        self._closed_because = self._closed_because or (reason, status)
        for call, _ in self._pages:
            self._out.difference_update(item.id for item in call.work)
        self._pages, self._planned = [], []
        for item in self.pending:
            self._settle(item, Result(work=item, status=status, error=reason))

    def is_heavy(self, times: int = 1) -> bool:
        """Whether so much is unsaved, or so many times as much, that it should be stored now."""
        if self._unsaved_from == len(self._results) and not self._bars:
            return False
        if len(self._results) - self._unsaved_from >= HEAVY_RESULTS * times:
            return True
        bars = sum(map(len, self._bars.values()))
        return bars >= HEAVY_BARS * times or boot_seconds() - self._saved_at >= HEAVY_SECONDS * times

    def abandon(self, lost: Collection[str]) -> None:
        """Work that is somebody else's now, or left to others: nothing is asked or said of it any more."""
        for item_id in lost:
            del self._open[item_id]
        self._pages = [waiting for waiting in self._pages if self.of(waiting[0])]
        if lost:
            self._planned = []

    # --- prices ---

    def take_prices(
        self,
        call: PricesCall,
        answer: PricesAnswer,
        now_ms: int,
        class_refused: Callable[[PricesCall, AssetType, str, int], None],
    ) -> None:
        """Each ticker succeeds or fails by itself; a class that is refused as a whole is learned and stays
        pending, to be asked for in another way."""
        work = self.of(call)
        for asset_type in asset_types(call) if answer.errors else ():
            of_type = [item for item in work if item.asset.asset_type is asset_type]
            refusals = [answer.errors.get(item.asset.polygon_ticker) for item in of_type]
            lacking = [refusal for refusal in refusals if refusal and refusal.kind is RefusalKind.NOT_IN_PLAN]
            if lacking and len(lacking) == len(of_type):
                class_refused(call, asset_type, lacking[0].message, now_ms)
                work = [item for item in work if item.asset.asset_type is not asset_type]
        for item in work:
            self._settle(item, self._from_prices(item, answer, now_ms))

    def _from_prices(self, item: Work, answer: PricesAnswer, now_ms: int) -> Result:
        ticker = item.asset.polygon_ticker
        price = answer.prices.get(ticker)
        if price is not None and price.as_of_ms <= now_ms + FUTURE_MS:
            return Result(work=item, status=_SUCCESS, price=price)
        if refusal := answer.errors.get(ticker):
            consequence = CONSEQUENCES[refusal.kind]
            status = Status.FAILED if consequence.status in OPEN else consequence.status
            return Result(work=item, status=status, error=refusal.message, final=consequence.final)
        if price is not None:  # stored, it would keep out every true price until then
            error = f"the price of {ticker} is from the future ({moment(price.as_of_ms)})"
            return Result(work=item, status=Status.FAILED, error=error)
        # snapshots are empty after midnight, and of markets leave out what they do not have
        return self._nothing(item, f"the answer has no price of {ticker}")

    def _nothing(self, item: Work, error: str) -> Result:
        """An answer without data: nothing newer for what is stored, no data for what never was."""
        before = self.stored.get(item.asset.symbol)
        if before is None or before.as_of_ms is None:
            return Result(work=item, status=Status.NO_DATA, error=error)
        return Result(work=item, status=Status.SUCCESS)

    def take_previous_day(self, call: PreviousDayCall, price: Price | None, now_ms: int) -> None:
        """One day's bar gives the price; there may be none. The vendor stamps it with the day's start or its
        end, so that the day that has just ended may look like the next one."""
        if price is not None:
            as_of_ms = min(price.as_of_ms, last_midnight(now_ms))
            price = msgspec.structs.replace(price, as_of_ms=as_of_ms)
        for item in self.of(call):
            if price is None:
                error = f"the vendor has no previous day of {item.asset.polygon_ticker}"
                self._settle(item, self._nothing(item, error))
            else:
                self._settle(item, Result(work=item, status=Status.SUCCESS, price=price))

    # --- bars ---

    def take_bars(self, call: BarsCall, page: Page | None, answer: BarsAnswer, now_ms: int) -> None:
        """Finished bars are kept, a forming one only gives the price; the ledger learns how far the answer
        tells all there is. With a further page the work waits for that."""
        asset = call.work[0].asset
        from_ms = page.from_ms if page else _floor(call.start_ms)
        seen_to_ms = min(now_ms, call.end_ms + 1)
        to_ms = answered_to(call, answer, now_ms, self._known.newest_ms(asset.asset_type))
        self._bars_refused += answer.refused.total()
        finished = [bar for bar in answer.bars if bar.end_ms <= seen_to_ms]
        if asset.bars:
            if finished:
                self._bars.setdefault(asset.symbol, []).extend(finished)
            self._note(asset.symbol, self._ledger_of(call, page, answer, from_ms, to_ms, now_ms))
        bars = [*page.bars, *answer.bars] if page else answer.bars
        if answer.next_url is not None:
            following = Page(answer, max(from_ms, to_ms), bars)
            if page is not None and following.from_ms <= page.from_ms:  # it leads nowhere
                error = "the vendor's pages lead nowhere"
                self.note_refused(call, following, SpanState.FAILED, error, now_ms)
                self.settle_call(call, Status.FAILED, error)
            else:
                self._pages.append((call, following))
            return
        for item in self.of(call):
            if item.kind is WorkKind.HISTORY:
                self._note(asset.symbol, self._too_old(item, now_ms))
            self._settle(item, self._from_bars(item, call, bars, seen_to_ms))

    def _ledger_of(
        self,
        call: BarsCall,
        page: Page | None,
        answer: BarsAnswer,
        start_ms: int,
        end_ms: int,
        now_ms: int,
    ) -> list[Span]:
        """What an answer tells; one without any bar of a day or more of trading is doubted the first time."""
        asset = call.work[0].asset
        alone = not answer.bars and not answer.faulty_ms and page is None and not answer.next_url
        if alone and open_ms_between(asset.market, start_ms, end_ms) >= DAY_MS:
            before = open_stretches(self.stored[asset.symbol].spans, start_ms, end_ms)
            if any(span.error != EMPTY for span in before):
                return [Span(start_ms, end_ms, SpanState.FAILED, now_ms, EMPTY)]
        return ledger_of(answer, start_ms, end_ms, now_ms)

    def _from_bars(self, item: Work, call: BarsCall, bars: Sequence[Bar], seen_to_ms: int) -> Result:
        if not bars and item.kind is WorkKind.PRICE:
            span = f"from {moment(call.start_ms)} to {moment(call.end_ms + 1)}"
            return self._nothing(item, f"the vendor has no bars of {item.asset.polygon_ticker} {span}")
        price = None
        if item.kind is WorkKind.PRICE:
            price = price_from_bars(item.asset.symbol, bars, seen_to_ms)
        count = len(bars) if item.asset.bars else 0
        return Result(work=item, status=Status.SUCCESS, price=price, bars=count)

    def note_refused(
        self, call: BarsCall, page: Page | None, state: SpanState, error: str, now_ms: int
    ) -> None:
        """The range of a call, or what is left of it after some pages, was refused."""
        asset = call.work[0].asset
        start_ms = page.from_ms if page else _floor(call.start_ms)
        end_ms = _floor(min(call.end_ms + 1, now_ms))
        if asset.bars and start_ms < end_ms:
            self._note(asset.symbol, [Span(start_ms, end_ms, state, now_ms, error)])

    def _too_old(self, item: Work, now_ms: int) -> list[Span]:
        """The part of a page that lies before the plan's history."""
        start_ms, end_ms = days_range(item)
        edge_ms = min(end_ms, self._known.history_from_ms(item.asset.asset_type, now_ms))
        return [Span(start_ms, edge_ms, SpanState.NOT_IN_PLAN, now_ms)] if start_ms < edge_ms else []

    def _note(self, symbol: str, spans: Sequence[Span]) -> None:
        if not spans or symbol not in self.stored:
            return
        self._spans.setdefault(symbol, []).extend(spans)
        before = self.stored[symbol]
        self.stored[symbol] = msgspec.structs.replace(before, spans=tuple(record(before.spans, spans)))

    # --- storing ---

    def unsaved(self) -> tuple[list[Result], Batch]:
        """What has come since the last save, and what of it is to be stored in one transaction.

        Work on bars leaves the price and its sync status alone: a quote is newer and better than a bar.
        """
        new = [result for result in self._results[self._unsaved_from :] if result.status not in OPEN]
        self._unsaved_from = len(self._results)
        self._saved_at = boot_seconds()
        bars, self._bars = self._bars, {}
        asked_ms, self._asked_ms = self._asked_ms, {}
        spans, self._spans = self._spans, {}
        prices, outcomes = [], []
        for result in new:
            if result.work.kind is _PRICE and result.status is not _FRESH:
                outcomes.append(Outcome(result.work.asset.symbol, result.status, result.error))
                if result.price:
                    prices.append(result.price)
        to_save = Batch(
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
        self._published += len(saved.updated)
        self._bars_refused += sum(rejection.bars for rejection in saved.rejected.values())
        if not saved.rejected:
            return list(results)
        stored = {price.symbol for price in saved.updated}
        after = {
            result.work.id: _rejected(result, rejection, stored)
            for result in results
            if (rejection := saved.rejected.get(result.work.asset.symbol))
        }
        self._results = [after.get(result.work.id, result) for result in self._results]
        return [after.get(result.work.id, result) for result in results]

    def report(self) -> BatchReport:
        """The results in the order of the work."""
        return BatchReport(
            results=sorted(self._results, key=lambda result: self._order[result.work.id]),
            calls=self.calls,
            bars_new=self._bars_new,
            bars_corrected=self._bars_corrected,
            bars_refused=self._bars_refused,
            published=self._published,
            down_hint=self.down_hint,
            vendor_down=self.downs > 0 and self.answered == 0 and self.downs == self.calls,
            too_many_calls=self.too_many_calls,
        )


def _rejected(result: Result, rejection: Rejection, stored: Collection[str]) -> Result:
    """A result whose symbol the database has refused, wholly or in part. Another call brings the same."""
    concerned = rejection.price if result.work.kind is _PRICE and not result.bars else rejection.failed
    if not concerned:
        return result
    symbol = result.work.asset.symbol
    return msgspec.structs.replace(
        result,
        status=Status.FAILED,
        price=result.price if symbol in stored else None,
        error=f"the database refuses it: {rejection.error}",
        final=True,
    )


def ledger_of(answer: BarsAnswer, start_ms: int, end_ms: int, now_ms: int) -> list[Span]:
    """What an answer tells of `[start_ms, end_ms)`: slots whose bar was of no use are failed, the rest is
    asked. Where some elements could not even be placed, no missing slot is one the vendor has nothing for."""
    if start_ms >= end_ms:
        return []
    unplaced = answer.refused["undecodable"] + answer.refused["time"]
    if unplaced:
        error = f"{plural(unplaced, 'element')} of the answer could not be read"
        return [Span(start_ms, end_ms, SpanState.FAILED, now_ms, error)]
    spans = []
    at_ms = start_ms
    for faulty in sorted(t_ms for t_ms in answer.faulty_ms if start_ms <= t_ms < end_ms):
        spans.append(Span(at_ms, faulty, SpanState.ASKED, now_ms))
        at_ms = faulty + BAR_MS
        spans.append(Span(faulty, at_ms, SpanState.FAILED, now_ms, OF_NO_USE))
    spans.append(Span(at_ms, end_ms, SpanState.ASKED, now_ms))
    return [span for span in spans if span.start_ms < span.end_ms]
