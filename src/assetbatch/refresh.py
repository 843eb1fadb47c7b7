"""One batch of work: plan the calls, ask for slots, fetch, store, publish.

The limiter is asked before every call, and every call is settled whatever came of it. What came
back is stored in one transaction, before any wait for a slot and at the end; then it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from assetbatch.assets import AssetType
from assetbatch.bounds import Bound, boot_seconds
from assetbatch.entitlements import Entitlements, Lack, refusal_now
from assetbatch.errors import DatabaseError, KeyRefusedError, RedisError
from assetbatch.events import Events
from assetbatch.hours import last_midnight
from assetbatch.market import Bar, Batch, Outcome, Price, StoredAsset
from assetbatch.planning import (
    BarsCall,
    Call,
    PreviousDayCall,
    SnapshotCall,
    Work,
    WorkKind,
    asset_types,
    describe,
    plan,
)
from assetbatch.report import WAITS_FOR, Reporter
from assetbatch.state.refusals import Refusals
from assetbatch.state.window import CallKind, Grant, Window, new_call_id
from assetbatch.vendor.refusals import Refusal, RefusalKind
from assetbatch.words import moment, span

if TYPE_CHECKING:  # an idle start loads neither psycopg nor requests
    from assetbatch.store import Store
    from assetbatch.vendor.answers import SnapshotAnswer
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


class Status(StrEnum):
    """What became of one piece of work; what is not open is recorded as the sync status (of prices)."""

    SUCCESS = "success"
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
    learned from it, whether the batch makes no further call."""

    status: Status
    final: bool = False
    learns: bool = False
    ends_batch: bool = False


CONSEQUENCES: Mapping[RefusalKind, Consequence] = {
    RefusalKind.KEY: Consequence(Status.DEFERRED, ends_batch=True),
    RefusalKind.NOT_IN_PLAN: Consequence(Status.NOT_ENTITLED, final=True, learns=True),
    RefusalKind.TODAY_NOT_YET: Consequence(Status.NOT_ENTITLED, final=True, learns=True),
    RefusalKind.TIMEFRAME: Consequence(Status.NOT_ENTITLED, final=True, learns=True),
    RefusalKind.UNKNOWN_TICKER: Consequence(Status.NOT_FOUND, final=True),
    RefusalKind.TOO_MANY_CALLS: Consequence(Status.DEFERRED, ends_batch=True),
    RefusalKind.VENDOR_DOWN: Consequence(Status.FAILED),
    RefusalKind.NONSENSE: Consequence(Status.FAILED),
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
    bars_written: int = 0
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
        refusals: Refusals,
        events: Events,
        known: Entitlements,
        now_ms: Callable[[], int],
        bound: Bound,
        reporter: Reporter,
    ) -> None:
        self._vendor = vendor
        self._store = store
        self._window = window
        self._refusals = refusals
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
        batch = _Batch(work, stored, holder or Holder())
        try:
            self._fetch(batch, kind, max_calls, grant, one_call_each)
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
        kind: CallKind,
        max_calls: int,
        grant: Grant | None,
        one_call_each: bool,
    ) -> None:
        while batch.pending and not batch.closed:
            if batch.calls >= max_calls:
                batch.defer("no call left for it in this cycle", Status.POSTPONED)
                break
            grant, reason = self._slot(batch, kind, grant)
            if grant is None:
                batch.defer(reason)
                break
            batch.abandon(batch.holder.lost(batch.pending))
            if batch.pending:
                now_ms = self._now_ms()
                call = plan(batch.pending, batch.stored, self._known, now_ms)[0]
                self._one_call(batch, call, grant, now_ms, one_call_each)
                grant = None
            if kind is CallKind.QUEUE and batch.is_heavy():
                self._store_and_publish(batch)
        if grant is not None:
            self._window.cancel(grant)

    def _slot(self, batch: _Batch, kind: CallKind, grant: Grant | None) -> tuple[Grant | None, str]:
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
            answer = self._window.ask(kind, call_id)
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
            self._refused(batch, call, refusal, one_call_each)
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
        match call:
            case SnapshotCall(assets):
                answer = vendor.snapshot(
                    {asset.polygon_ticker: asset.symbol for asset in assets}, deadline_seconds=seconds
                )
                batch.take_snapshot(call, answer, now_ms, self._learn_snapshot)
            case BarsCall(asset, start_ms, end_ms):
                page = vendor.bars(asset.polygon_ticker, start_ms, end_ms, deadline_seconds=seconds)
                if page.refused:
                    self.reporter.refused_bars(asset.symbol, page.refused)
                batch.take_bars(call, page.bars, min(now_ms, end_ms + 1))
            case PreviousDayCall(asset):
                price = vendor.previous_day(asset.polygon_ticker, asset.symbol, deadline_seconds=seconds)
                batch.take_previous_day(call, price)

    def _refused(self, batch: _Batch, call: Call, refusal: Refusal, one_call_each: bool) -> None:
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
        if consequence.learns and self._learn(call, refusal):
            if one_call_each and not isinstance(call, SnapshotCall):
                batch.settle_call(call, Status.POSTPONED, f"{refusal.message} (asked otherwise next time)")
                return
            if call not in plan(batch.pending, batch.stored, self._known, self._now_ms()):
                return
        batch.settle_call(call, consequence.status, refusal.message, final=consequence.final)
        if consequence.ends_batch:
            batch.defer("the vendor takes no calls now")

    def _learn(self, call: Call, refusal: Refusal) -> bool:
        """Remembers what the plan lacks; False where the refusal teaches nothing that changes the plan."""
        lack = lack_shown_by(call, refusal.kind)
        if lack is None:
            return False
        for asset_type in asset_types(call):
            self._remember(lack, asset_type, refusal.message)
        return True

    def _learn_snapshot(self, asset_type: AssetType, message: str) -> None:
        self._remember(Lack.SNAPSHOT, asset_type, message)

    def _remember(self, lack: Lack, asset_type: AssetType, message: str) -> None:
        refusal = refusal_now(lack, asset_type, message, self._now_ms())
        self._known.learn(refusal)
        self._refusals.remember(refusal)
        self.reporter.learned(refusal)

    def _store_and_publish(self, batch: _Batch) -> None:
        results, to_save = batch.unsaved()
        if not results:
            return
        if to_save.outcomes or to_save.bars:
            try:
                saved = self._store().save(to_save, self._now_ms())
            except DatabaseError as error:
                batch.holder.not_stored(results, error.message)
                raise
            batch.saved(bars_written=saved.bars_new + saved.bars_changed, published=len(saved.updated))
            self._events.publish(saved.updated)
        batch.holder.stored(results)


def lack_shown_by(call: Call, kind: RefusalKind) -> Lack | None:
    """What a refused call shows the plan to lack; None where it is the asset's own matter."""
    if isinstance(call, SnapshotCall):
        return Lack.SNAPSHOT if kind in (RefusalKind.NOT_IN_PLAN, RefusalKind.TIMEFRAME) else None
    if isinstance(call, BarsCall):
        if kind is RefusalKind.TODAY_NOT_YET:
            ends_at_midnight = last_midnight(call.end_ms + 1) == call.end_ms + 1
            return Lack.LAST_DAY if ends_at_midnight else Lack.TODAY
        if kind is RefusalKind.TIMEFRAME:
            return Lack.INTRADAY
    return None


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


class _Batch:
    """The state of one batch: what is pending, what came, what is stored."""

    def __init__(self, work: Sequence[Work], stored: Mapping[str, StoredAsset], holder: Holder) -> None:
        self.holder = holder
        self._saved_at = boot_seconds()
        self._pending = {item.id: item for item in work}
        self.stored = stored
        self.calls = 0
        self.answered = 0
        self.downs = 0
        self.closed = False
        self.too_many_calls = False
        self.key_refused: str | None = None
        self.redis_error: RedisError | None = None
        self._order = {item.id: position for position, item in enumerate(work)}
        self._results: list[Result] = []
        self._bars: dict[str, list[Bar]] = {}
        self._unsaved_from = 0
        self._bars_written = 0
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
        if isinstance(call, SnapshotCall):
            symbols = {asset.symbol for asset in call.assets}
            return [
                item for item in self.pending if item.asset.symbol in symbols and item.id == item.asset.symbol
            ]
        return [item for item in self.pending if item.asset.symbol == call.asset.symbol]

    def settle_call(self, call: Call, status: Status, error: str, *, final: bool = False) -> None:
        """The call failed: so did all work it was made for."""
        for item in self._of(call):
            self._settle(item, Result(work=item, status=status, error=error, final=final))

    def defer(self, reason: str, status: Status = Status.DEFERRED) -> None:
        """No further call: what is pending stays due."""
        self.closed = True
        for item in self.pending:
            self._settle(item, Result(work=item, status=status, error=reason))

    def is_heavy(self) -> bool:
        """Whether so much is unsaved that it should be stored before the next call."""
        if self._unsaved_from == len(self._results):
            return False
        bars = sum(map(len, self._bars.values()))
        return bars >= HEAVY_BARS or boot_seconds() - self._saved_at >= HEAVY_SECONDS

    def abandon(self, lost: Collection[str]) -> None:
        """Work that is somebody else's now: nothing is asked or said of it any more."""
        for item_id in lost:
            del self._pending[item_id]

    def take_snapshot(
        self,
        call: SnapshotCall,
        answer: SnapshotAnswer,
        now_ms: int,
        learn: Callable[[AssetType, str], None],
    ) -> None:
        """Each ticker succeeds or fails by itself; a class that is refused as a whole is learned and stays
        pending, to be asked for in another way."""
        work = self._of(call)
        for asset_type in asset_types(call):
            of_type = [item for item in work if item.asset.asset_type is asset_type]
            refusals = [answer.errors.get(item.asset.polygon_ticker) for item in of_type]
            lacking = [refusal for refusal in refusals if refusal and refusal.kind is RefusalKind.NOT_IN_PLAN]
            if lacking and len(lacking) == len(of_type):
                learn(asset_type, lacking[0].message)
                work = [item for item in work if item.asset.asset_type is not asset_type]
        for item in work:
            self._settle(item, self._from_snapshot(item, answer, now_ms))

    def _from_snapshot(self, item: Work, answer: SnapshotAnswer, now_ms: int) -> Result:
        ticker = item.asset.polygon_ticker
        if refusal := answer.errors.get(ticker):
            consequence = CONSEQUENCES[refusal.kind]
            status = Status.FAILED if consequence.status.open else consequence.status
            return Result(work=item, status=status, error=refusal.message, final=consequence.final)
        price = answer.prices.get(ticker)
        if price is None:  # known to the vendor, but nothing usable: its snapshots are empty after midnight
            return self._nothing(item, f"the snapshot has no price of {ticker}")
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

    def take_bars(self, call: BarsCall, bars: Sequence[Bar], seen_to_ms: int) -> None:
        """Finished bars are kept; a forming one only gives the price."""
        symbol = call.asset.symbol
        finished = [bar for bar in bars if bar.end_ms <= seen_to_ms]
        for item in self._of(call):
            if not bars:
                span = f"from {moment(call.start_ms)} to {moment(call.end_ms)}"
                error = f"the vendor has no bars of {call.asset.polygon_ticker} {span}"
                self._settle(item, self._nothing(item, error))
                continue
            if call.asset.bars and finished:
                self._bars[symbol] = finished
            price = None
            if item.kind is WorkKind.PRICE:
                price = price_from_bars(symbol, bars, seen_to_ms)
            count = len(self._bars.get(symbol, ()))
            self._settle(item, Result(work=item, status=Status.SUCCESS, price=price, bars=count))

    def take_previous_day(self, call: PreviousDayCall, price: Price | None) -> None:
        """One day's bar gives the price; there may be none."""
        for item in self._of(call):
            if price is None:
                error = f"the vendor has no previous day of {call.asset.polygon_ticker}"
                self._settle(item, self._nothing(item, error))
            else:
                self._settle(item, Result(work=item, status=Status.SUCCESS, price=price))

    def unsaved(self) -> tuple[list[Result], Batch]:
        """What has come since the last save, and what of it is to be stored in one transaction.

        Work on bars leaves the price and its sync status alone: a quote is newer and better than a bar.
        """
        new = [result for result in self._results[self._unsaved_from :] if not result.status.open]
        self._unsaved_from = len(self._results)
        self._saved_at = boot_seconds()
        bars, self._bars = self._bars, {}
        of_prices = [result for result in new if result.work.kind is WorkKind.PRICE]
        prices = [result.price for result in of_prices if result.price]
        outcomes = [
            Outcome(result.work.asset.symbol, result.status.value, result.error) for result in of_prices
        ]
        return new, Batch(prices=prices, bars=bars, outcomes=outcomes)

    def saved(self, *, bars_written: int, published: int) -> None:
        """Counts what a transaction changed."""
        self._bars_written += bars_written
        self._published += published

    def report(self) -> BatchReport:
        """The results in the order of the work."""
        return BatchReport(
            results=sorted(self._results, key=lambda result: self._order[result.work.id]),
            calls=self.calls,
            bars_written=self._bars_written,
            published=self._published,
            vendor_down=self.downs > 0 and self.answered == 0 and self.downs == self.calls,
            too_many_calls=self.too_many_calls,
        )
