"""One batch of work: plan the calls, ask for slots, fetch, store, publish.

The limiter is asked before every call, and every call is settled whatever came of it. What came
back is stored in one transaction, before any wait for a slot and at the end; then it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from assetbatch.assets import AssetType
from assetbatch.bounds import Bound, boot_seconds
from assetbatch.entitlements import HOUR_MS, Entitlements, Lack
from assetbatch.errors import DatabaseError, KeyRefusedError, RedisError
from assetbatch.events import Events
from assetbatch.hours import day_of, is_open, last_midnight, open_ms_between, start_of_day
from assetbatch.ledger import record
from assetbatch.market import BAR_MS, Bar, Batch, Outcome, Price, Saved, Span, SpanState, StoredAsset
from assetbatch.planning import (
    PAGE_MS,
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    PricesCall,
    SnapshotCall,
    Verdict,
    Work,
    WorkKind,
    assess,
    asset_types,
    days_range,
    describe,
    plan,
)
from assetbatch.report import WAITS_FOR, Reporter
from assetbatch.state.plan_memory import PlanMemory
from assetbatch.state.window import CallKind, Grant, Window, new_call_id
from assetbatch.vendor.refusals import Refusal, RefusalKind
from assetbatch.words import moment, span

if TYPE_CHECKING:  # an idle start loads neither psycopg nor requests
    from assetbatch.store import Store
    from assetbatch.vendor.answers import BarsAnswer, PricesAnswer
    from assetbatch.vendor.client import VendorClient

SAVE_SECONDS = 4.0
"""Kept back from a command's bound for storing and publishing what came."""

SAVE_SHARE = 0.3
"""The same as a share of a bound that is short."""

SHORTEST_CALL_SECONDS = 1.0

HEAVY_BARS = 20_000
HEAVY_SECONDS = 2.0
"""So much unsaved is stored before the next call of a long batch: little is lost with a process, memory
stays flat, and the last save of a cycle is as short as any."""

FUTURE_MS = 60_000
"""How far ahead of our clock a price may be dated."""

SETTLED_AFTER_MS = 25 * 60_000
"""How old a slot without a bar must be for the vendor to have none: plans lag by up to 15 minutes."""

HISTORY_YEARS = 2
"""Where a plan's history begins, if it refuses an older start (the vendor's free plan)."""


class Status(StrEnum):
    """What became of one piece of work; what is not open is recorded as the sync status (of prices)."""

    SUCCESS = "success"
    FRESH = "fresh"
    """Nothing newer can be had, as another answer of this cycle has shown: nothing is recorded of it."""
    FAILED = "failed"
    NOT_ENTITLED = "not_entitled"
    NOT_FOUND = "not_found"
    NO_DATA = "no_data"
    DEFERRED = "deferred"
    """Not asked for want of a slot or of time: stays due."""
    POSTPONED = "postponed"
    """The cycle's calls went into learning what the plan lacks: asked otherwise next time."""

    @property
    def open(self) -> bool:
        """Whether the work is still to be done; nothing is recorded of it."""
        return self in (Status.DEFERRED, Status.POSTPONED)


class Consequence(msgspec.Struct, frozen=True):
    """What follows from a refusal: the sync status, whether another try cannot help, whether the plan is
    learned from it, whether the batch makes no further call, what the ledger says of bars asked for."""

    status: Status
    final: bool = False
    learns: bool = False
    ends_batch: bool = False
    span: SpanState | None = None


CONSEQUENCES: Mapping[RefusalKind, Consequence] = {
    RefusalKind.KEY: Consequence(Status.DEFERRED, ends_batch=True),
    RefusalKind.NOT_IN_PLAN: Consequence(
        Status.NOT_ENTITLED, final=True, learns=True, span=SpanState.NOT_IN_PLAN
    ),
    RefusalKind.TODAY_NOT_YET: Consequence(Status.NOT_ENTITLED, final=True, learns=True),
    RefusalKind.TIMEFRAME: Consequence(
        Status.NOT_ENTITLED, final=True, learns=True, span=SpanState.NOT_IN_PLAN
    ),
    RefusalKind.UNKNOWN_TICKER: Consequence(Status.NOT_FOUND, final=True),
    RefusalKind.TOO_MANY_CALLS: Consequence(Status.DEFERRED, ends_batch=True),
    RefusalKind.VENDOR_DOWN: Consequence(Status.FAILED, span=SpanState.FAILED),
    RefusalKind.NONSENSE: Consequence(Status.FAILED, span=SpanState.FAILED),
}
"""The one place that says what each class of refusal leads to (the README's table is this one)."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one piece of work. `final` where another try cannot help."""

    work: Work
    status: Status
    price: Price | None = None
    bars: int = 0
    error: str | None = None
    final: bool = False


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
    too_many_calls: bool = False


class Holder:
    """Whose work a batch is. This one holds nothing; the queue's holds leases."""

    def lost(self, _pending: Sequence[Work]) -> Collection[str]:
        """The ids of work that somebody else has taken over meanwhile; asked before each call."""
        return ()

    def stored(self, _results: Sequence[Result]) -> None:
        """These results are stored and published, or need neither."""

    def not_stored(self, _results: Sequence[Result], _error: str) -> None:
        """The database refused these results."""


def time_for_calls(bound: Bound) -> float:
    """Seconds within which a call may still begin; the rest is for the shortest call and for storing."""
    return bound.remaining() - SHORTEST_CALL_SECONDS - min(SAVE_SECONDS, SAVE_SHARE * bound.seconds)


class Refresher:
    """Refreshes batches of work for one command. Not for several threads."""

    def __init__(
        self,
        *,
        vendor: Callable[[], VendorClient],
        store: Callable[[], Store],
        window: Window,
        plan_memory: PlanMemory,
        events: Events,
        known: Entitlements,
        now_ms: Callable[[], int],
        bound: Bound,
        reporter: Reporter,
    ) -> None:
        self._vendor = vendor
        self._store = store
        self._window = window
        self._plan_memory = plan_memory
        self._events = events
        self._known = known
        self._now_ms = now_ms
        self._bound = bound
        self.reporter = reporter
        self.calls = 0
        """Calls made so far, also in batches that ended with an error."""

    def run(
        self,
        work: Sequence[Work],
        stored: Mapping[str, StoredAsset],
        kind: CallKind,
        *,
        max_calls: int,
        grant: Grant | None = None,
        one_call_each: bool = False,
        holder: Holder | None = None,
    ) -> BatchReport:
        """Refreshes `work` in its order with at most `max_calls` calls, waiting for slots within the bound.

        `grant` is a slot that is already held; it is given back if no call needs it. With `one_call_each`
        work whose call taught us something about the plan is left for the next cycle instead of asked
        again. Raises KeyRefusedError, RedisError or DatabaseError; what came back before is stored.
        """
        batch = _Batch(work, stored, kind, holder or Holder(), self._known)
        try:
            self._fetch(batch, max_calls, grant, one_call_each)
        finally:
            self.calls += batch.calls
            self._store_and_publish(batch)
        if batch.redis_error:
            raise batch.redis_error
        if batch.key_refused:
            raise KeyRefusedError(
                f"the vendor refuses the API key: {batch.key_refused}",
                hint="put a valid key into POLYGON_API_KEY (or POLYGON_API_KEY_FILE)",
            )
        return batch.report()

    def _fetch(
        self,
        batch: _Batch,
        max_calls: int,
        grant: Grant | None,
        one_call_each: bool,
    ) -> None:
        while not batch.closed and self._next_call(batch) is not None:
            if batch.calls >= max_calls:
                batch.defer("no call left for it in this cycle", Status.POSTPONED)
                break
            grant, reason = self._slot(batch, grant)
            if grant is None:
                batch.defer(reason)
                break
            batch.abandon(batch.holder.lost(batch.pending))
            now_ms = self._now_ms()
            if call := self._next_call(batch):  # by the time of the slot it may be another one
                self._one_call(batch, call, grant, now_ms, one_call_each)
                grant = None
            if batch.kind is CallKind.QUEUE and batch.is_heavy():
                self._store_and_publish(batch)
        if grant is not None:
            self._window.cancel(grant)

    def _next_call(self, batch: _Batch) -> Call | None:
        """The call to make now; work that needs none (any more) is settled on the way."""
        now_ms = self._now_ms()
        if batch.next_page:
            return batch.next_page.call
        for item in batch.pending:
            verdict = assess(item, batch.stored.get(item.asset.symbol), self._known, now_ms)
            if not verdict.due:
                batch.settle_without_call(item, verdict)
        calls = self._plan(batch, now_ms)
        if not calls:
            batch.defer("no call is known that could bring it")
        return calls[0] if calls else None

    def _plan(self, batch: _Batch, now_ms: int) -> list[Call]:
        probe_today = batch.kind is CallKind.QUEUE  # a refusal would cost priority a call that it needs
        return plan(batch.pending, batch.stored, self._known, now_ms, probe_today=probe_today)

    def _slot(self, batch: _Batch, grant: Grant | None) -> tuple[Grant | None, str]:
        """A slot that may be used now; or None and why there is none within the bound."""
        waited = False
        call_id = new_call_id()
        while True:
            if self._bound.stopped or time_for_calls(self._bound) <= 0:
                self._give_back(grant)
                if waited:
                    self._window.leave(call_id)
                return None, "stopped before its call" if self._bound.stopped else "no time left for its call"
            if grant is not None and not grant.too_old(boot_seconds()):
                return grant, ""
            self._give_back(grant)
            answer = self._window.ask(batch.kind, call_id)
            if isinstance(answer, Grant):
                grant = answer
                continue
            grant = None
            if answer.wait_ms / 1000 > time_for_calls(self._bound):
                self._window.leave(call_id)
                why = WAITS_FOR[answer.reason]
                return None, f"{why}; the next call is free in {span(answer.wait_ms)}, after this cycle's end"
            self._store_and_publish(batch)
            self.reporter.waiting(answer, first=not waited)
            waited = True
            self._bound.wait(answer.wait_ms / 1000 + 0.001)

    def _give_back(self, grant: Grant | None) -> None:
        if grant is not None:
            self._window.cancel(grant)

    def _one_call(self, batch: _Batch, call: Call, grant: Grant, now_ms: int, one_call_each: bool) -> None:
        seconds = time_for_calls(self._bound) + SHORTEST_CALL_SECONDS
        sent = True
        batch.calls += 1
        started = boot_seconds()
        try:
            self._ask(batch, call, seconds, now_ms)
            self.reporter.called(describe(call), "ok", boot_seconds() - started)
            batch.answered += 1
        except Refusal as refusal:
            sent = refusal.sent
            self.reporter.called(describe(call), refusal.kind.value, boot_seconds() - started)
            self._refused(batch, call, refusal, now_ms, one_call_each)
        finally:
            try:
                if sent:
                    self._window.settle(grant)
                else:
                    self._window.cancel(grant)
            except RedisError as error:  # the answer is in: store it, then say so
                batch.redis_error = error

    def _ask(self, batch: _Batch, call: Call, seconds: float, now_ms: int) -> None:
        vendor = self._vendor()
        if isinstance(call, SnapshotCall | MarketSnapshotCall | GroupedDayCall):
            tickers = {item.asset.polygon_ticker: item.asset.symbol for item in call.work}
            match call:
                case SnapshotCall():
                    answer = vendor.snapshot(tickers, deadline_seconds=seconds)
                case MarketSnapshotCall(_, asset_type):
                    answer = vendor.market_snapshot(asset_type, tickers, deadline_seconds=seconds)
                case GroupedDayCall(_, asset_type, day):
                    answer = vendor.grouped_day(asset_type, day, tickers, deadline_seconds=seconds)
            batch.take_prices(call, answer, now_ms, self._class_refused)
            self._saw_prices(call, answer, now_ms)
            return
        asset = call.work[0].asset
        if isinstance(call, PreviousDayCall):
            price = vendor.previous_day(asset.polygon_ticker, asset.symbol, deadline_seconds=seconds)
            batch.take_previous_day(call, price)
            self._forget(Lack.PREVIOUS_DAY, asset.asset_type)
            return
        if batch.next_page:
            page = vendor.next_page(batch.next_page.answer, deadline_seconds=seconds)
        else:
            page = vendor.bars(asset.polygon_ticker, call.start_ms, call.end_ms, deadline_seconds=seconds)
        if page.refused or page.unordered:
            self.reporter.odd_bars(asset.symbol, page.refused, page.unordered)
        self._saw_bars(call, page, now_ms)
        batch.take_bars(call, page, now_ms, self._unpublished_from(call, now_ms))

    # --- what is learned of the plan ---

    def _saw_prices(self, call: PricesCall, answer: PricesAnswer, now_ms: int) -> None:
        for asset_type in asset_types(call):
            items = [item for item in call.work if item.asset.asset_type is asset_type]
            shown = [
                (price.as_of_ms, item.asset)
                for item in items
                if (price := answer.prices.get(item.asset.polygon_ticker))
                and price.as_of_ms <= now_ms + FUTURE_MS
            ]
            if shown:
                newest_ms, asset = max(shown, key=lambda pair: pair[0])
                self._saw(asset_type, newest_ms, now_ms, market_open=is_open(asset.market, now_ms))

    def _saw_bars(self, call: BarsCall, answer: BarsAnswer, now_ms: int) -> None:
        asset = call.work[0].asset
        if not answer.bars:
            return
        self._forget(Lack.BARS, asset.asset_type)
        newest_ms = min(answer.bars[-1].end_ms, call.end_ms + 1)
        reaches_now = call.end_ms + 1 >= now_ms and answer.next_url is None
        market_open = (
            reaches_now and is_open(asset.market, now_ms) and is_open(asset.market, now_ms - HOUR_MS)
        )
        self._saw(asset.asset_type, newest_ms, now_ms, market_open=market_open)

    def _saw(self, asset_type: AssetType, newest_ms: int, now_ms: int, *, market_open: bool) -> None:
        sighting = self._known.saw(asset_type, newest_ms, now_ms, market_open=market_open)
        if sighting:
            self._plan_memory.remember(sighting)

    def _unpublished_from(self, call: BarsCall, now_ms: int) -> int | None:
        """Where an answer up to the last midnight has nothing of the day before it, nor had any other of
        this class: the start of that day, which is then taken for not published yet. None otherwise."""
        asset = call.work[0].asset
        end_ms = call.end_ms + 1
        if end_ms != last_midnight(now_ms):
            return None
        day_ms = last_midnight(end_ms - 1)
        if (
            self._known.newest_ms(asset.asset_type) > day_ms
            or open_ms_between(asset.market, day_ms, end_ms) < HOUR_MS
        ):
            return None
        message = f"the answer for {asset.polygon_ticker} has nothing of {day_of(day_ms)}"
        self._remember(Lack.LAST_DAY, asset.asset_type, message, asset.polygon_ticker, edge_ms=end_ms)
        return day_ms

    def _refused(self, batch: _Batch, call: Call, refusal: Refusal, now_ms: int, one_call_each: bool) -> None:
        consequence = CONSEQUENCES[refusal.kind]
        if refusal.kind is RefusalKind.KEY:
            batch.key_refused = refusal.message
        if refusal.kind is RefusalKind.TOO_MANY_CALLS:
            until_ms = self._window.block(refusal.retry_after_seconds)
            batch.too_many_calls = True
            self.reporter.problem(
                f"the vendor says too many calls; nobody calls for {span(until_ms - self._now_ms())}",
                hint="does another program use this key? then lower rate_limiting.calls_per_minute",
            )
        if refusal.kind is RefusalKind.VENDOR_DOWN:
            batch.downs += 1
        if (
            consequence.learns
            and self._learn(call, refusal, now_ms)
            and call not in self._plan(batch, now_ms)
        ):
            if one_call_each and not isinstance(call, PricesCall):
                batch.settle_call(call, Status.POSTPONED, f"{refusal.message} (asked otherwise next time)")
            return
        if consequence.span and isinstance(call, BarsCall):
            batch.note_refused(call, consequence.span, refusal.message, now_ms)
        batch.settle_call(call, consequence.status, refusal.message, final=consequence.final)
        if consequence.ends_batch:
            batch.defer("the vendor takes no calls now")

    def _learn(self, call: Call, refusal: Refusal, now_ms: int) -> bool:
        """Remembers what the plan lacks; False where the refusal teaches nothing of it."""
        lack = lack_shown_by(call, refusal.kind, now_ms)
        if lack is None:
            return False
        edge_ms = 0
        if isinstance(call, BarsCall):
            edge_ms = call.end_ms + 1 if lack is Lack.LAST_DAY else history_edge(call, now_ms)
        for asset_type in asset_types(call):
            ticker = next(i.asset.polygon_ticker for i in call.work if i.asset.asset_type is asset_type)
            self._remember(lack, asset_type, refusal.message, ticker, edge_ms=edge_ms)
        return True

    def _class_refused(self, call: PricesCall, asset_type: AssetType, message: str) -> None:
        lack = lack_shown_by(call, RefusalKind.NOT_IN_PLAN, self._now_ms())
        assert lack is not None, "a call for many prices is refused as a whole"
        self._remember(lack, asset_type, message, "")

    def _remember(
        self, lack: Lack, asset_type: AssetType, message: str, ticker: str, *, edge_ms: int = 0
    ) -> None:
        now_ms = self._now_ms()
        expected = self._known.expects(lack, asset_type)
        refusal = self._known.refused(lack, asset_type, message, now_ms, ticker=ticker, edge_ms=edge_ms)
        self._plan_memory.remember(refusal)
        if now_ms < refusal.until_ms:
            self.reporter.learned(refusal, expected=expected)

    def _forget(self, lack: Lack, asset_type: AssetType) -> None:
        if self._known.forget(lack, asset_type):
            self._plan_memory.forget(lack, asset_type)

    def _store_and_publish(self, batch: _Batch) -> None:
        results, to_save = batch.unsaved()
        if to_save.outcomes or to_save.bars or to_save.spans:
            try:
                saved = self._store().save(to_save, self._now_ms())
            except DatabaseError as error:
                batch.holder.not_stored(results, error.message)
                raise
            batch.saved(saved)
            self._events.publish(saved.updated)
        if results:
            batch.holder.stored(results)


def lack_shown_by(call: Call, kind: RefusalKind, now_ms: int) -> Lack | None:
    """What a refused call shows the plan to lack; None where it is the asset's own matter."""
    if isinstance(call, PricesCall):
        if kind not in (RefusalKind.NOT_IN_PLAN, RefusalKind.TIMEFRAME):
            return None
        match call:
            case SnapshotCall():
                return Lack.SNAPSHOT
            case MarketSnapshotCall():
                return Lack.MARKET_SNAPSHOT
            case GroupedDayCall():
                return Lack.GROUPED
    if isinstance(call, PreviousDayCall):
        return Lack.PREVIOUS_DAY if kind is RefusalKind.NOT_IN_PLAN else None
    match kind:
        case RefusalKind.TODAY_NOT_YET:
            ends_at_midnight = last_midnight(call.end_ms + 1) == call.end_ms + 1
            return Lack.LAST_DAY if ends_at_midnight else Lack.TODAY
        case RefusalKind.TIMEFRAME:
            return Lack.HISTORY if now_ms - call.start_ms > PAGE_MS + 7 * 24 * HOUR_MS else Lack.INTRADAY
        case RefusalKind.NOT_IN_PLAN:
            return Lack.BARS
        case _:
            return None


def history_edge(call: BarsCall, now_ms: int) -> int:
    """Where the plan's history is taken to begin after a range was refused as too old: two years ago (the
    day after, since the vendor counts days) if the range began before that, else at the range's end."""
    today = day_of(now_ms)
    if (today.month, today.day) == (2, 29):
        today -= timedelta(days=1)
    edge_ms = start_of_day(today.replace(year=today.year - HISTORY_YEARS) + timedelta(days=1))
    return edge_ms if call.start_ms < edge_ms else call.end_ms + 1


def answered_to(
    call: BarsCall, bars: Sequence[Bar], now_ms: int, *, more: bool, unpublished_from_ms: int | None
) -> int:
    """The moment up to which an answer tells all there is, from the start of its range on.

    With `more` pages to come that is the end of its last bar. Otherwise all of the range, except what
    is so young that the vendor may only be late with it, or not published yet.
    """
    end_ms = _floor(min(call.end_ms + 1, now_ms))
    last_ms = min(bars[-1].end_ms, end_ms) if bars else call.start_ms
    if more:
        return last_ms
    settled_ms = min(end_ms, _floor(now_ms - SETTLED_AFTER_MS))
    if unpublished_from_ms is not None:
        settled_ms = min(settled_ms, unpublished_from_ms)
    return max(last_ms, settled_ms)


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


class _NextPage(msgspec.Struct, frozen=True):
    """The rest of a range: the answer that leads to it, where it begins, and the bars that came before."""

    call: BarsCall
    answer: BarsAnswer
    from_ms: int
    bars: list[Bar]


class _Batch:
    """The state of one batch: what is pending, what came, what is stored."""

    def __init__(
        self,
        work: Sequence[Work],
        stored: Mapping[str, StoredAsset],
        kind: CallKind,
        holder: Holder,
        known: Entitlements,
    ) -> None:
        self.kind = kind
        self.holder = holder
        self._known = known
        self._saved_at = boot_seconds()
        self._pending = {item.id: item for item in work}
        self.stored = dict(stored)
        self.calls = 0
        self.answered = 0
        self.downs = 0
        self.closed = False
        self.too_many_calls = False
        self.key_refused: str | None = None
        self.redis_error: RedisError | None = None
        self.next_page: _NextPage | None = None
        self._order = {item.id: position for position, item in enumerate(work)}
        self._results: list[Result] = []
        self._bars: dict[str, list[Bar]] = {}
        self._spans: dict[str, list[Span]] = {}
        self._unsaved_from = 0
        self._bars_new = 0
        self._bars_corrected = 0
        self._bars_refused = 0
        self._published = 0

    @property
    def pending(self) -> list[Work]:
        """What is still to be done, in the order of the work."""
        return list(self._pending.values())

    def _settle(self, item: Work, result: Result) -> None:
        del self._pending[item.id]
        self._results.append(result)

    def _of(self, call: Call) -> list[Work]:
        """The pending work that a call was made for."""
        return [item for item in call.work if item.id in self._pending]

    def settle_call(self, call: Call, status: Status, error: str, *, final: bool = False) -> None:
        """The call failed: so did all work it was made for."""
        self.next_page = None
        for item in self._of(call):
            self._settle(item, Result(work=item, status=status, error=error, final=final))

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
        """No further call: what is pending stays due."""
        self.closed = True
        self.next_page = None
        for item in self.pending:
            self._settle(item, Result(work=item, status=status, error=reason))

    def is_heavy(self) -> bool:
        """Whether so much is unsaved that it should be stored before the next call."""
        if self._unsaved_from == len(self._results) and not self._bars:
            return False
        bars = sum(map(len, self._bars.values()))
        return bars >= HEAVY_BARS or boot_seconds() - self._saved_at >= HEAVY_SECONDS

    def abandon(self, lost: Collection[str]) -> None:
        """Work that is somebody else's now: nothing is asked or said of it any more."""
        for item_id in lost:
            del self._pending[item_id]
        if self.next_page and not self._of(self.next_page.call):
            self.next_page = None

    # --- prices ---

    def take_prices(
        self,
        call: PricesCall,
        answer: PricesAnswer,
        now_ms: int,
        class_refused: Callable[[PricesCall, AssetType, str], None],
    ) -> None:
        """Each ticker succeeds or fails by itself; a class that is refused as a whole is learned and stays
        pending, to be asked for in another way."""
        work = self._of(call)
        for asset_type in asset_types(call):
            of_type = [item for item in work if item.asset.asset_type is asset_type]
            refusals = [answer.errors.get(item.asset.polygon_ticker) for item in of_type]
            lacking = [refusal for refusal in refusals if refusal and refusal.kind is RefusalKind.NOT_IN_PLAN]
            if lacking and len(lacking) == len(of_type):
                class_refused(call, asset_type, lacking[0].message)
                work = [item for item in work if item.asset.asset_type is not asset_type]
        for item in work:
            self._settle(item, self._from_prices(item, answer, now_ms))

    def _from_prices(self, item: Work, answer: PricesAnswer, now_ms: int) -> Result:
        ticker = item.asset.polygon_ticker
        if refusal := answer.errors.get(ticker):
            consequence = CONSEQUENCES[refusal.kind]
            status = Status.FAILED if consequence.status.open else consequence.status
            return Result(work=item, status=status, error=refusal.message, final=consequence.final)
        price = answer.prices.get(ticker)
        if (
            price is None
        ):  # snapshots are empty after midnight, and of markets leave out what they do not have
            return self._nothing(item, f"the answer has no price of {ticker}")
        if price.as_of_ms > now_ms + FUTURE_MS:  # stored, it would keep out every true price until then
            error = f"the price of {ticker} is from the future ({moment(price.as_of_ms)})"
            return Result(work=item, status=Status.FAILED, error=error)
        return Result(work=item, status=Status.SUCCESS, price=price)

    def _nothing(self, item: Work, error: str) -> Result:
        """An answer without data: nothing newer for what is stored, no data for what never was."""
        before = self.stored.get(item.asset.symbol)
        if before is None or before.as_of_ms is None:
            return Result(work=item, status=Status.NO_DATA, error=error)
        return Result(work=item, status=Status.SUCCESS)

    def take_previous_day(self, call: PreviousDayCall, price: Price | None) -> None:
        """One day's bar gives the price; there may be none."""
        for item in self._of(call):
            if price is None:
                error = f"the vendor has no previous day of {item.asset.polygon_ticker}"
                self._settle(item, self._nothing(item, error))
            else:
                self._settle(item, Result(work=item, status=Status.SUCCESS, price=price))

    # --- bars ---

    def take_bars(
        self, call: BarsCall, answer: BarsAnswer, now_ms: int, unpublished_from_ms: int | None
    ) -> None:
        """Finished bars are kept, a forming one only gives the price; the ledger learns how far the answer
        tells all there is. With a further page the work stays pending for it."""
        asset = call.work[0].asset
        page = self.next_page
        from_ms = page.from_ms if page else _floor(call.start_ms)
        seen_to_ms = min(now_ms, call.end_ms + 1)
        more = answer.next_url is not None
        to_ms = answered_to(call, answer.bars, now_ms, more=more, unpublished_from_ms=unpublished_from_ms)
        self._bars_refused += answer.refused.total()
        finished = [bar for bar in answer.bars if bar.end_ms <= seen_to_ms]
        if asset.bars:
            if finished:
                self._bars.setdefault(asset.symbol, []).extend(finished)
            self._note(asset.symbol, _answered(from_ms, to_ms, answer.faulty_ms, now_ms))
        bars = [*page.bars, *answer.bars] if page else answer.bars
        if more:
            self.next_page = _NextPage(call, answer, max(from_ms, to_ms), bars)
            return
        self.next_page = None
        for item in self._of(call):
            if item.kind is WorkKind.HISTORY:
                self._note(asset.symbol, self._too_old(item, now_ms))
            self._settle(item, self._from_bars(item, call, bars, seen_to_ms))

    def _from_bars(self, item: Work, call: BarsCall, bars: Sequence[Bar], seen_to_ms: int) -> Result:
        if not bars and item.kind is WorkKind.PRICE:
            span = f"from {moment(call.start_ms)} to {moment(call.end_ms + 1)}"
            return self._nothing(item, f"the vendor has no bars of {item.asset.polygon_ticker} {span}")
        price = None
        if item.kind is WorkKind.PRICE:
            price = price_from_bars(item.asset.symbol, bars, seen_to_ms)
        count = len(bars) if item.asset.bars else 0
        return Result(work=item, status=Status.SUCCESS, price=price, bars=count)

    def note_refused(self, call: BarsCall, state: SpanState, error: str, now_ms: int) -> None:
        """The range of a call, or what is left of it after some pages, was refused."""
        asset = call.work[0].asset
        start_ms = self.next_page.from_ms if self.next_page else _floor(call.start_ms)
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
        new = [result for result in self._results[self._unsaved_from :] if not result.status.open]
        self._unsaved_from = len(self._results)
        self._saved_at = boot_seconds()
        bars, self._bars = self._bars, {}
        spans, self._spans = self._spans, {}
        of_prices = [
            result
            for result in new
            if result.work.kind is WorkKind.PRICE and result.status is not Status.FRESH
        ]
        prices = [result.price for result in of_prices if result.price]
        outcomes = [
            Outcome(result.work.asset.symbol, result.status.value, result.error) for result in of_prices
        ]
        return new, Batch(prices=prices, bars=bars, spans=spans, outcomes=outcomes)

    def saved(self, saved: Saved) -> None:
        """Counts what a transaction changed."""
        self._bars_new += saved.bars_new
        self._bars_corrected += saved.bars_changed
        self._published += len(saved.updated)

    def report(self) -> BatchReport:
        """The results in the order of the work."""
        return BatchReport(
            results=sorted(self._results, key=lambda result: self._order[result.work.id]),
            calls=self.calls,
            bars_new=self._bars_new,
            bars_corrected=self._bars_corrected,
            bars_refused=self._bars_refused,
            published=self._published,
            vendor_down=self.downs > 0 and self.answered == 0 and self.downs == self.calls,
            too_many_calls=self.too_many_calls,
        )


def _answered(start_ms: int, end_ms: int, faulty_ms: Sequence[int], now_ms: int) -> list[Span]:
    """The ledger of an answered range: slots whose bar was of no use are failed, the rest is asked."""
    spans = []
    at_ms = start_ms
    for faulty in sorted(t_ms for t_ms in faulty_ms if start_ms <= t_ms < end_ms):
        spans.append(Span(at_ms, faulty, SpanState.ASKED, now_ms))
        at_ms = faulty + BAR_MS
        spans.append(Span(faulty, at_ms, SpanState.FAILED, now_ms, "the vendor's bar is of no use"))
    spans.append(Span(at_ms, end_ms, SpanState.ASKED, now_ms))
    return [span for span in spans if span.start_ms < span.end_ms]
