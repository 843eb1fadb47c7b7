"""One batch of work: plan the calls, ask for slots, fetch, store, publish.

The limiter is asked before every call, and every call is settled whatever came of it. What came
back is stored in one transaction, before any wait for a slot and at the end; then it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    PricesCall,
    SnapshotCall,
    describe,
    plan,
)
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.formatting import format_duration
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.models import Changes, Saved
from assetbatch.domain.queueing import CallKind, Fault
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work
from assetbatch.errors import DatabaseError, KeyRefusedError, RedisError
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import (
    HEAVY_TIMES,
    PLAN_AGE_MS,
    Ask,
    BatchReport,
    BatchState,
    Holder,
    Portion,
    symbols_held,
)
from assetbatch.refresh.inflight import (
    Aside,
    Flights,
    Landed,
    Shape,
    calls_at_once,
    calls_that_fit,
    may_start,
    shapes,
)
from assetbatch.refresh.interpretation import (
    CONSEQUENCES,
    Result,
    bars_findings,
    previous_day_findings,
    prices_findings,
    refusal_findings,
    untrue_prices,
)
from assetbatch.refresh.learner import PlanLearner
from assetbatch.refresh.reporter import WAITS_FOR, Reporter
from assetbatch.state.entitlement_store import EntitlementStore
from assetbatch.state.events import Events
from assetbatch.state.process_id import new_id
from assetbatch.state.window import Grant, Window

if TYPE_CHECKING:  # an idle start loads neither psycopg nor requests
    from assetbatch.database import Store
    from assetbatch.provider.client import ProviderClient

SAVE_SECONDS = 4.0
"""Kept back from a command's deadline for storing and publishing what came."""

SAVE_SHARE = 0.3
"""The same as a share of a deadline that is short."""

SHORTEST_CALL_SECONDS = 1.0
"""What a call is given at least, however quick the last ones were."""

UNKNOWN_CALL_SECONDS = 5.0
"""What a call is given where nobody knows how long calls take."""

FIRST_CALL_SHARE = 0.5
"""The first call of a start may begin in so much of its time, however slow calls are: the next start would
have no more."""

CUT_SHORT_SECONDS = 0.2
"""A call that fails with less time left than this was ended by its own deadline."""

LEFT_BEHIND_SECONDS = 1.0
"""What is being stored at the deadline of a command is waited for so long."""


def time_until_saving(seconds: float, remaining: float) -> float:
    """Seconds until what came must be stored, with `remaining` of a deadline of `seconds`."""
    return remaining - min(SAVE_SECONDS, SAVE_SHARE * seconds)


def time_for_calls(
    seconds: float, remaining: float, slowest_call: float | None, *, is_first: bool = False
) -> float:
    """Seconds within which a call may still begin, since it is likely to end in time: not if it takes as long
    as the slowest of the last calls (None where nobody knows)."""
    needed = UNKNOWN_CALL_SECONDS if slowest_call is None else max(SHORTEST_CALL_SECONDS, slowest_call)
    if is_first:
        needed = min(needed, FIRST_CALL_SHARE * time_until_saving(seconds, seconds))
    return time_until_saving(seconds, remaining) - needed


class _Slot(NamedTuple):
    """A slot, or why there is none, and where one will be free shortly, in how many seconds."""

    reason: str
    grant: Grant | None = None
    pause: float | None = None


class _Told(NamedTuple):
    """What was stored, and what kept the listeners from hearing of it."""

    saved: Saved
    error: RedisError | None = None


def _most_calls(pieces: int, *, one_call_each: bool) -> int:
    """How many calls a batch of so many pieces of work may make: two each leave room to learn the plan."""
    return pieces if one_call_each else 2 * pieces + 2


class Refresher:
    """Refreshes batches of work for one command. Not for several threads."""

    def __init__(
        self,
        *,
        provider: Callable[[], ProviderClient],
        store: Callable[[], Store],
        window: Window,
        entitlement_store: EntitlementStore,
        events: Events,
        known: Entitlements,
        now_ms: Callable[[], int],
        deadline: Deadline,
        slowest_call_seconds: float | None,
        reporter: Reporter,
    ) -> None:
        self._provider = provider
        self._store = store
        self._window = window
        self._learner = PlanLearner(known, entitlement_store, reporter)
        self._events = events
        self._known = known
        self._now_ms = now_ms
        self._deadline = deadline
        self._slowest_call = slowest_call_seconds
        self._has_called = False
        self.reporter = reporter
        self._proven: set[Shape] = {
            (sort, asset_type)
            for asset_type in AssetType
            if known.has_seen_today(asset_type, now_ms())
            for sort in (SnapshotCall, MarketSnapshotCall, BarsCall)
        }
        self._aside: list[Result] = []
        self.held: set[str] = set()
        """The symbols of which another transaction held a row: no further call of this start is for them."""
        self.calls = 0
        """Calls made so far, also in batches that ended with an error."""
        self.answers = 0
        """How many of them the provider has answered."""

    def time_for_calls(self) -> float:
        """Seconds within which a call may still begin; 0 or less where a stop was asked for."""
        if self._deadline.stopped:
            return 0.0
        deadline, slowest = self._deadline, self._slowest_call
        return time_for_calls(deadline.seconds, deadline.remaining(), slowest, is_first=not self._has_called)

    def calls_that_fit(self) -> int:
        """How many calls can still begin."""
        slowest = max(SHORTEST_CALL_SECONDS, self._slowest_call or UNKNOWN_CALL_SECONDS)
        return calls_that_fit(self._window.call_limit, max(0.0, self.time_for_calls()), slowest)

    def run(
        self,
        portion: Portion,
        kind: CallKind,
        *,
        more: Iterable[Portion] = (),
        grant: Grant | None = None,
        one_call_each: bool = False,
        holder: Holder | None = None,
    ) -> BatchReport:
        """Refreshes the work in its order, waiting for slots within the deadline.

        `more` are further portions; the next is asked for whenever calls are out for all work that there is
        and others could go out beside them. `grant` is a slot that is already held; it is
        given back if no call needs it. With `one_call_each` there is at most a call for each piece of work,
        and work whose call taught us something about the plan is left for the next cycle instead of asked
        again. Raises KeyRefusedError, RedisError or DatabaseError, and what `more` raises; what came back
        before is stored.
        """
        batch = BatchState(kind, holder or Holder(), self._known)
        try:
            self._add(batch, portion)
        except BaseException:
            self._give_back(grant)
            raise
        aside = Aside()
        try:
            self._fetch(batch, iter(more), grant, one_call_each, aside)
        finally:
            self.calls += batch.calls
            try:
                self._stored(batch, aside)
            finally:
                if not aside.busy:  # else the store hangs, at the deadline of the command
                    self._store_and_publish(batch)
        if batch.redis_error:
            raise batch.redis_error
        if batch.key_refused:
            raise KeyRefusedError(
                f"the provider refuses the API key: {batch.key_refused}",
                hint="put a valid key into POLYGON_API_KEY (or POLYGON_API_KEY_FILE)",
            )
        return batch.report()

    def _add(self, batch: BatchState, portion: Portion) -> None:
        if portion.work:
            self._store().require_writes()
        batch.add(portion, self._learner.revision)

    def _fetch(
        self,
        batch: BatchState,
        more: Iterator[Portion],
        grant: Grant | None,
        one_call_each: bool,
        aside: Aside,
    ) -> None:
        with Flights(calls_at_once(self._window.call_limit)) as flights:
            try:
                while True:
                    if flights.most == 1 and batch.kind is CallKind.QUEUE and batch.is_heavy():
                        self._store_and_publish(batch)
                    grant, pause = self._start_calls(batch, flights, more, grant, one_call_each)
                    if not flights.out:
                        break
                    if flights.most > 1:  # while calls are out
                        self._store_aside(batch, aside)
                    landed = flights.next(pause) if pause is not None else flights.next()
                    while landed:  # and whatever else has come back meanwhile
                        self._land(batch, landed, one_call_each)
                        landed = flights.next(0)
            except RedisError:
                self._land_rest(batch, flights, one_call_each)
                raise
        self._give_back(grant)

    def _land_rest(self, batch: BatchState, flights: Flights, one_call_each: bool) -> None:
        """The calls that are out count already: what they bring is stored too."""
        while flights.out:
            left = time_until_saving(self._deadline.seconds, self._deadline.remaining())
            landed = flights.next(max(0.0, left))
            if landed is None:
                return
            with suppress(RedisError):
                self._land(batch, landed, one_call_each)

    def _start_calls(
        self,
        batch: BatchState,
        flights: Flights,
        more: Iterator[Portion],
        grant: Grant | None,
        one_call_each: bool,
    ) -> tuple[Grant | None, float | None]:
        """Lets as many calls go out as may be, and waits for a slot only while none is out. Returns a slot
        that is left over, and where one will be free shortly, in how many seconds."""
        while not batch.closed and not flights.full:
            while batch.is_out and self._may_add(batch) and (portion := next(more, None)):
                self._add(batch, portion)
            ask = self._next_ask(batch, flights)
            if ask is None:
                break
            if batch.calls >= _most_calls(batch.brought, one_call_each=one_call_each):
                batch.defer("no call left for it in this cycle", Status.POSTPONED)
                break
            slot = self._slot(batch, grant, may_wait=not flights.out)
            grant = slot.grant
            if grant is None:
                if slot.pause is None:
                    batch.defer(slot.reason)
                return None, slot.pause
            if self._now_ms() - ask.planned_ms <= PLAN_AGE_MS and self._start(batch, ask, grant, flights):
                grant = None
        return grant, None

    def _may_add(self, batch: BatchState) -> bool:
        """Whether further work may begin: not before the provider is known to answer, since one that is down
        costs each an attempt."""
        answers = batch.answered > batch.downs or (self._proven and not batch.downs)
        return bool(answers) and self.time_for_calls() > 0

    def _next_ask(self, batch: BatchState, flights: Flights) -> Ask | None:
        """The request to make now, beside those that are out; work that needs none (any more) is settled on
        the way."""
        now_ms = self._now_ms()
        if page := batch.next_page(now_ms):
            return page
        if batch.plan_is_stale(now_ms, self._learner.revision):
            for item in batch.doubtful(now_ms, self._learner.revision):
                verdict = assess(item, batch.stored.get(item.asset.symbol), self._known, now_ms)
                if not verdict.due:
                    batch.settle_without_call(item, verdict)
            calls = self._plan(batch, batch.pending, now_ms)
            calls = self._within_reach(batch, calls)
            batch.planned(calls, now_ms, self._learner.revision)
            if not calls and not flights.out:
                batch.defer("no call is known that could bring it")
        out = [ask.call for ask in flights.out]
        return batch.next_planned(lambda call: may_start(call, self._proven, out))

    def _plan(self, batch: BatchState, work: Sequence[Work], now_ms: int) -> list[Call]:
        probe_today = batch.kind is CallKind.QUEUE  # a refusal would cost priority a call that it needs
        return plan(work, batch.stored, self._known, now_ms, probe_today=probe_today)

    def _within_reach(self, batch: BatchState, calls: list[Call]) -> list[Call]:
        """The first calls, as many as can still begin; held work of the rest is left to others."""
        fit = self.calls_that_fit()
        reached = {item.id for call in calls[:fit] for item in call.work}
        beyond = [item for call in calls[fit:] for item in call.work if item.id not in reached]
        if not beyond:
            return calls
        batch.abandon(batch.holder.hand_back(beyond))
        return [call for call in calls if batch.of(call)]

    def _slot(self, batch: BatchState, grant: Grant | None, *, may_wait: bool) -> _Slot:
        """A slot that may be used now; or none and why, if there is none within the deadline or before others
        of the batch have landed."""
        waited = False
        call_id = new_id()
        while True:
            if self.time_for_calls() <= 0:
                self._give_back(grant)
                if waited:
                    self._window.abandon_wait(call_id)
                return _Slot(
                    "stopped before its call" if self._deadline.stopped else "no time left for its call"
                )
            if grant is not None and not grant.too_old(monotonic()):
                return _Slot("", grant)
            self._give_back(grant)
            grant = None
            answer = self._window.ask(batch.kind, call_id)
            if isinstance(answer, Grant):
                grant = answer
                continue
            why = WAITS_FOR[answer.reason]
            if answer.wait_ms / 1000 > self.time_for_calls():
                self._window.abandon_wait(call_id)
                free_in = format_duration(answer.wait_ms)
                return _Slot(f"{why}; the next call is free in {free_in}, after this cycle's end")
            if not may_wait:
                self._window.abandon_wait(call_id)
                return _Slot(why, pause=answer.pause_seconds)
            self._store_and_publish(batch)
            self.reporter.waiting(answer, first=not waited)
            waited = True
            self._deadline.wait(answer.pause_seconds)

    def _give_back(self, grant: Grant | None) -> None:
        if grant is not None:
            self._window.cancel(grant)

    def _start(self, batch: BatchState, ask: Ask, grant: Grant, flights: Flights) -> bool:
        """Lets a call go out; returns False where its work is lost or its slot too old by now."""
        try:
            provider = self._provider()
            self._store().record_call()
            lost = batch.holder.starts(batch.of(ask.call))
        except BaseException:
            self._give_back(grant)
            raise
        batch.abandon(lost)
        if lost or grant.too_old(monotonic()):
            return False
        # Both on the boot clock, looked at when the request goes: this process may stand still until then.
        ends_at = monotonic() + time_until_saving(self._deadline.seconds, self._deadline.remaining())
        ends_at = min(ends_at, self._window.call_ends_at(grant))
        self._has_called = True
        self.reporter.calling(describe(ask.call))
        batch.begin(ask)
        flights.start(ask, grant, lambda: _send(provider, ask, ends_at - monotonic()))
        return True

    def _land(self, batch: BatchState, landed: Landed, one_call_each: bool) -> None:
        """A call has come back: its slot is settled first, then comes what it brought."""
        ask, refusal = landed.ask, landed.refusal
        batch.landed_ms = self._now_ms()
        try:
            if refusal is None or refusal.sent:
                self._window.complete(landed.grant)
            else:
                self._window.cancel(landed.grant)
        except RedisError as error:  # the answer is in: store it, then say so
            batch.redis_error = error
        made = CallMade(
            self._now_ms(),
            refusal.kind.value if refusal else "ok",
            landed.seconds,
            sent=refusal is None or refusal.sent,
            answered=refusal is None or CONSEQUENCES[refusal.kind].at_work,
        )
        self.reporter.called(describe(ask.call), made)
        if made.sent:
            self._slowest_call = max(landed.seconds, self._slowest_call or 0.0)
        if made.answered:
            self.answers += 1
        if refusal:
            self._proven.clear()
            self._refused(batch, ask, refusal, one_call_each)
        else:
            self._proven |= shapes(ask.call)
            self._take(batch, ask, landed.answer)
            batch.answered += 1
        batch.redis_error = batch.redis_error or self._learner.redis_error
        batch.end(ask)

    def _take(self, batch: BatchState, ask: Ask, answer: Any) -> None:
        call, now_ms = ask.call, ask.planned_ms
        work, stored = batch.of(call), batch.stored
        match call:
            case SnapshotCall() | MarketSnapshotCall() | GroupedDayCall():
                findings = prices_findings(call, work, answer, stored, now_ms)
                for refused in findings.refused_classes:
                    self._learner.class_refused(call, refused, now_ms)
                if untrue := untrue_prices(answer):
                    self.reporter.odd_prices(untrue)
                self._learner.saw_prices(call, answer, now_ms)
            case PreviousDayCall((first, *_)):
                findings = previous_day_findings(work, answer, stored, now_ms)
                self._learner.answered(
                    Restriction.PREVIOUS_DAY, first.asset.asset_type, first.asset.polygon_ticker
                )
            case BarsCall((first, *_)):
                if answer.refused or answer.unordered:
                    self.reporter.odd_bars(first.asset.symbol, answer.refused, answer.unordered)
                self._learner.saw_bars(call, answer, now_ms)
                self._learner.note_unpublished_day(call, answer, now_ms)
                findings = bars_findings(call, work, ask.page, answer, stored, self._known, now_ms)
        batch.apply(call, findings)

    def _refused(self, batch: BatchState, ask: Ask, refusal: Refusal, one_call_each: bool) -> None:
        call, now_ms = ask.call, ask.planned_ms
        consequence = CONSEQUENCES[refusal.kind]
        if refusal.kind is RefusalKind.KEY:
            batch.key_refused = refusal.message
        if refusal.kind is RefusalKind.TOO_MANY_CALLS:
            until_ms = self._window.block(refusal.retry_after_seconds)
            batch.too_many_calls = True
            blocked = format_duration(until_ms - self._now_ms())
            self.reporter.problem(
                f"the provider says too many calls; nobody calls for {blocked}",
                hint="does another program use this key? then lower rate_limiting.calls_per_minute",
            )
        if refusal.kind is RefusalKind.PROVIDER_DOWN:
            batch.downs += 1
            batch.down_hint = refusal.hint
        taught = self._learner.refused(call, refusal, now_ms)
        if taught and call not in self._plan(batch, batch.of(call), now_ms):
            if one_call_each and not isinstance(call, PricesCall):
                batch.settle_call(call, Status.POSTPONED, f"{refusal.message} (asked otherwise next time)")
            return
        fault = consequence.fault
        if refusal.kind is RefusalKind.PROVIDER_DOWN and self._is_out_of_time():
            fault = Fault.NOBODY
        findings = refusal_findings(call, batch.of(call), ask.page, refusal, now_ms, fault, self.answers)
        batch.apply(call, findings)
        if consequence.ends_batch:
            batch.defer("the provider takes no calls now")

    def _is_out_of_time(self) -> bool:
        """Whether a call that has just failed was cut short by the end of this start."""
        return time_until_saving(self._deadline.seconds, self._deadline.remaining()) < CUT_SHORT_SECONDS

    def _store_and_publish(self, batch: BatchState) -> None:
        results, to_save = batch.unsaved()
        if not to_save.is_empty:
            results = self._account(
                batch, results, lambda: self._save(self._store(), to_save, self._learned_ms(batch))
            )
        if results:
            batch.holder.stored(results)

    def _store_aside(self, batch: BatchState, aside: Aside) -> None:
        """Lets a thread store and publish what has come, if that is much; waits for what it stores already
        only where much more has come meanwhile."""
        if aside.busy and (aside.done or batch.is_heavy(HEAVY_TIMES)):
            self._stored(batch, aside)
        if aside.busy or not batch.is_heavy():
            return
        self._aside, to_save = batch.unsaved()
        store, now_ms = self._store(), self._learned_ms(batch)
        aside.begin(lambda: self._save(store, to_save, now_ms))

    def _stored(self, batch: BatchState, aside: Aside) -> None:
        """Waits until what a thread stores is there; what hangs beyond the command's deadline is left
        behind."""
        if not aside.busy:
            return
        results, seconds = self._aside, max(0.0, self._deadline.remaining()) + LEFT_BEHIND_SECONDS
        try:
            results = self._account(batch, results, lambda: aside.fetch(seconds))
        except TimeoutError:
            return
        batch.holder.stored(results)

    def _learned_ms(self, batch: BatchState) -> int:
        """When what is to be stored was learned: the evidence of a call where the log of calls is lost."""
        return batch.landed_ms or self._now_ms()

    def _save(self, store: Store, to_save: Changes, now_ms: int) -> _Told:
        """In any thread: stores, and tells the listeners. Raises DatabaseError; a RedisError comes along, for
        the rows are stored by then."""
        saved = store.save(to_save, now_ms)
        try:
            self._events.publish(saved.updated)
        except RedisError as error:
            return _Told(saved, error)
        return _Told(saved)

    def _account(
        self, batch: BatchState, results: Sequence[Result], save: Callable[[], _Told]
    ) -> list[Result]:
        """The results after saving: what the database refused has failed."""
        try:
            told = save()
        except DatabaseError as error:
            batch.holder.not_stored(results, error.message)
            raise
        self.held |= symbols_held(told.saved)
        results = batch.saved(results, told.saved)
        if told.error:
            raise told.error
        return results


def _send(provider: ProviderClient, ask: Ask, seconds: float) -> Any:
    """One request, ended within so many seconds; in any thread, it only asks and decodes. Raises Refusal."""
    match ask.call:
        case SnapshotCall(work):
            return provider.snapshot(_symbols(work), deadline_seconds=seconds)
        case MarketSnapshotCall(work, asset_type):
            return provider.market_snapshot(asset_type, _symbols(work), deadline_seconds=seconds)
        case GroupedDayCall(work, asset_type, day):
            return provider.grouped_day(asset_type, day, _symbols(work), deadline_seconds=seconds)
        case PreviousDayCall((work, *_)):
            asset = work.asset
            return provider.previous_day(asset.polygon_ticker, asset.symbol, deadline_seconds=seconds)
        case BarsCall() if ask.page:
            return provider.next_page(ask.page.answer, deadline_seconds=seconds)
        case BarsCall((work, *_), start_ms, end_ms):
            return provider.bars(work.asset.polygon_ticker, start_ms, end_ms, deadline_seconds=seconds)


def _symbols(work: Sequence[Work]) -> dict[str, str]:
    return {item.asset.polygon_ticker: item.asset.symbol for item in work}
