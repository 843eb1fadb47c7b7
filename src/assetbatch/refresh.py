"""One batch of work: plan the calls, ask for slots, fetch, store, publish.

The limiter is asked before every call, and every call is settled whatever came of it. What came
back is stored in one transaction, before any wait for a slot and at the end; then it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from assetbatch.batch import CONSEQUENCES, BatchReport, BatchState, Holder
from assetbatch.bounds import Bound, boot_seconds
from assetbatch.entitlements import Entitlements, Lack
from assetbatch.errors import DatabaseError, KeyRefusedError, RedisError
from assetbatch.events import Events
from assetbatch.learning import PlanLearner
from assetbatch.market import StoredAsset
from assetbatch.planning import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    PricesCall,
    SnapshotCall,
    Work,
    assess,
    describe,
    plan,
)
from assetbatch.report import WAITS_FOR, Reporter
from assetbatch.state.plan_memory import PlanMemory
from assetbatch.state.window import CallKind, Grant, Window, new_call_id
from assetbatch.status import Status
from assetbatch.vendor.refusals import Refusal, RefusalKind
from assetbatch.words import span

if TYPE_CHECKING:  # an idle start loads neither psycopg nor requests
    from assetbatch.store import Store
    from assetbatch.vendor.client import VendorClient

SAVE_SECONDS = 4.0
"""Kept back from a command's bound for storing and publishing what came."""

SAVE_SHARE = 0.3
"""The same as a share of a bound that is short."""

SHORTEST_CALL_SECONDS = 1.0

PLAN_AGE_MS = 1000
"""How old a planned call may be when its slot has come; after a longer wait it is planned again."""


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
        self._learner = PlanLearner(known, plan_memory, reporter)
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
        batch = BatchState(work, stored, kind, holder or Holder(), self._known)
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
        batch: BatchState,
        max_calls: int,
        grant: Grant | None,
        one_call_each: bool,
    ) -> None:
        while not batch.closed:
            now_ms = self._now_ms()
            call = self._next_call(batch, now_ms)
            if call is None:
                break
            if batch.calls >= max_calls:
                batch.defer("no call left for it in this cycle", Status.POSTPONED)
                break
            grant, reason = self._slot(batch, grant)
            if grant is None:
                batch.defer(reason)
                break
            lost = batch.holder.lost(batch.pending)
            batch.abandon(lost)
            if lost or self._now_ms() - now_ms > PLAN_AGE_MS:
                now_ms = self._now_ms()
                call = self._next_call(batch, now_ms)
            if call is not None:
                self._one_call(batch, call, grant, now_ms, one_call_each)
                grant = None
            if batch.kind is CallKind.QUEUE and batch.is_heavy():
                self._store_and_publish(batch)
        if grant is not None:
            self._window.cancel(grant)

    def _next_call(self, batch: BatchState, now_ms: int) -> Call | None:
        """The call to make now; work that needs none (any more) is settled on the way."""
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

    def _plan(self, batch: BatchState, now_ms: int) -> list[Call]:
        probe_today = batch.kind is CallKind.QUEUE  # a refusal would cost priority a call that it needs
        return plan(batch.pending, batch.stored, self._known, now_ms, probe_today=probe_today)

    def _slot(self, batch: BatchState, grant: Grant | None) -> tuple[Grant | None, str]:
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

    def _one_call(
        self, batch: BatchState, call: Call, grant: Grant, now_ms: int, one_call_each: bool
    ) -> None:
        seconds = time_for_calls(self._bound) + SHORTEST_CALL_SECONDS
        sent = True
        batch.calls += 1
        what = describe(call)
        self.reporter.calling(what)
        started = boot_seconds()
        try:
            self._ask(batch, call, seconds, now_ms)
            self.reporter.called(what, "ok", boot_seconds() - started)
            batch.answered += 1
        except Refusal as refusal:
            sent = refusal.sent
            self.reporter.called(what, refusal.kind.value, boot_seconds() - started)
            self._refused(batch, call, refusal, now_ms, one_call_each)
        finally:
            try:
                if sent:
                    self._window.settle(grant)
                else:
                    self._window.cancel(grant)
            except RedisError as error:  # the answer is in: store it, then say so
                batch.redis_error = error

    def _ask(self, batch: BatchState, call: Call, seconds: float, now_ms: int) -> None:
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
            batch.take_prices(call, answer, now_ms, self._learner.class_refused)
            self._learner.saw_prices(call, answer, now_ms)
            return
        asset = call.work[0].asset
        if isinstance(call, PreviousDayCall):
            price = vendor.previous_day(asset.polygon_ticker, asset.symbol, deadline_seconds=seconds)
            batch.take_previous_day(call, price, now_ms)
            self._learner.answered(Lack.PREVIOUS_DAY, asset.asset_type, asset.polygon_ticker)
            return
        if batch.next_page:
            page = vendor.next_page(batch.next_page.answer, deadline_seconds=seconds)
        else:
            page = vendor.bars(asset.polygon_ticker, call.start_ms, call.end_ms, deadline_seconds=seconds)
        if page.refused or page.unordered:
            self.reporter.odd_bars(asset.symbol, page.refused, page.unordered)
        self._learner.saw_bars(call, page, now_ms)
        self._learner.note_unpublished_day(call, page, now_ms)
        batch.take_bars(call, page, now_ms)

    def _refused(
        self, batch: BatchState, call: Call, refusal: Refusal, now_ms: int, one_call_each: bool
    ) -> None:
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
        if self._learner.refused(call, refusal, now_ms) and call not in self._plan(batch, now_ms):
            if one_call_each and not isinstance(call, PricesCall):
                batch.settle_call(call, Status.POSTPONED, f"{refusal.message} (asked otherwise next time)")
            return
        if consequence.span and isinstance(call, BarsCall):
            batch.note_refused(call, consequence.span, refusal.message, now_ms)
        batch.settle_call(call, consequence.status, refusal.message, final=consequence.final)
        if consequence.ends_batch:
            batch.defer("the vendor takes no calls now")

    def _store_and_publish(self, batch: BatchState) -> None:
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
