"""The engine: choose calls for a batch of work, get slots, send requests, interpret the answers, write.

The window is asked before every call, and every slot is completed whatever came of its call. What came back
is stored in one transaction, before any wait for a slot and at the end; then it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.calls import Call, choose_calls
from assetbatch.domain.due import Verdict, assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import format_duration
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.queueing import Fault
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work
from assetbatch.errors import KeyRefusedError, RedisError
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import (
    MAX_CHOICE_AGE_MS,
    Batch,
    BatchReport,
    Request,
    WorkChunk,
    WorkOwner,
)
from assetbatch.refresh.call_time import CallTime
from assetbatch.refresh.endpoints import ENDPOINTS, describe, endpoint_of
from assetbatch.refresh.inflight import Completed, InFlight, Shape, calls_at_once, has_room, may_start, shapes
from assetbatch.refresh.interpretation import CONSEQUENCES, refusal_findings
from assetbatch.refresh.learner import Learner
from assetbatch.refresh.permits import Permits
from assetbatch.refresh.policy import Policy
from assetbatch.refresh.reporter import Reporter
from assetbatch.refresh.writer import Writer
from assetbatch.state.entitlement_store import EntitlementStore
from assetbatch.state.events import Events
from assetbatch.state.window import Grant, Window

if TYPE_CHECKING:  # an idle start loads neither psycopg nor requests
    from assetbatch.database import Store
    from assetbatch.provider.client import ProviderClient


class Engine:
    """Works batches of one command, one after the other. Not for several threads."""

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
        symbols_of: Callable[[str], Sequence[str]],
    ) -> None:
        self.symbols_of = symbols_of
        self.provider = provider
        self.store = store
        self.window = window
        self.events = events
        self.known = known
        self.now_ms = now_ms
        self.reporter = reporter
        self.learner = Learner(known, entitlement_store, reporter)
        self.time = CallTime(deadline, window.call_limit, slowest_call_seconds)
        self.proven: set[Shape] = {
            (call_type, asset_type)
            for asset_type in AssetType
            if known.has_seen_today(asset_type, now_ms())
            for call_type, endpoint in ENDPOINTS.items()
            if endpoint.shows_today
        }
        """What was answered: several calls of such a shape may be in flight."""
        self.held_symbols: set[str] = set()
        """The symbols of which another transaction held a row. No further call of this start is for them."""
        self.calls = 0
        """Calls made so far, also in batches that ended with an error."""
        self.answers = 0
        """How many calls showed that the provider is at work."""

    def call_begins(self, words: str, permits: Permits) -> tuple[Grant, float]:
        """Let a call use the slot that is held. Return it, and the moment (`monotonic()`) by which the call
        must have ended."""
        self.reporter.calling(words)
        grant, ends_at = permits.use()
        # Both on the boot clock, which is read when the request goes out: this process may stand still until
        # then.
        ends_at = min(ends_at, monotonic() + self.time.until_saving)
        self.time.call_began()
        self.calls += 1
        return grant, ends_at

    def call_ended(self, words: str, refusal: Refusal | None, seconds: float) -> None:
        """Account for a call that has taken so many seconds. Its slot is completed before."""
        was_sent = refusal is None or refusal.sent
        is_at_work = refusal is None or CONSEQUENCES[refusal.kind].at_work
        outcome = refusal.kind.value if refusal else "ok"
        self.reporter.called(
            words, CallMade(self.now_ms(), outcome, seconds, sent=was_sent, answered=is_at_work)
        )
        if was_sent:
            self.time.call_took(seconds)
        self.answers += is_at_work

    def fault_of(self, refusal: Refusal) -> Fault:
        """Return whose fault the refusal of a call is that has just ended."""
        is_cut_short = refusal.kind is RefusalKind.PROVIDER_DOWN and self.time.is_cut_short
        return Fault.NOBODY if is_cut_short else CONSEQUENCES[refusal.kind].fault

    def block(self, refusal: Refusal) -> None:
        """Let nobody call for as long as the provider says. Raise RedisError."""
        until_ms = self.window.block(refusal.retry_after_seconds)
        blocked = format_duration(until_ms - self.now_ms())
        self.reporter.too_many_calls(
            f"the provider says too many calls; nobody calls for {blocked}",
            hint="does another program use this key? then lower rate_limiting.calls_per_minute",
        )

    def begin(self, policy: Policy, owner: WorkOwner | None = None, grant: Grant | None = None) -> BatchRun:
        """Begin a batch. `grant` is a slot that is held already; it is given back if no call needs it."""
        return BatchRun(self, policy, owner or WorkOwner(), grant)

    def run(self, chunk: WorkChunk, policy: Policy, owner: WorkOwner | None = None) -> BatchReport:
        """Work one batch from its beginning to its end. Raise what `BatchRun` raises."""
        with self.begin(policy, owner) as batch:
            batch.add(chunk)
            batch.start_calls()
            while batch.complete_next():
                batch.start_calls()
        return batch.report()


class BatchRun:
    """One batch on its way: add work, start calls, and complete them until none is in flight.

    A context manager: at its end, also after an error, the unused slot is given back and what came is
    written. The methods raise RedisError, DatabaseError, or what the owner of the work raises.
    """

    def __init__(self, engine: Engine, policy: Policy, owner: WorkOwner, grant: Grant | None) -> None:
        self._engine = engine
        self._policy = policy
        self._owner = owner
        self._batch = Batch(policy, engine.known, monotonic(), engine.symbols_of)
        self._writer = Writer(
            self._batch,
            owner,
            engine.held_symbols,
            store=engine.store,
            events=engine.events,
            now_ms=engine.now_ms,
            deadline=engine.time.deadline,
        )
        self._permits = Permits(
            engine.window,
            policy.kind,
            engine.time,
            engine.reporter,
            before_wait=self._writer.flush,
            grant=grant,
        )
        self._in_flight = InFlight(calls_at_once(engine.window.call_limit))
        self._pause_seconds: float | None = None
        self._redis_error: RedisError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, RedisError):
                self._complete_rest()
        finally:
            self._in_flight.close()
            try:
                self._permits.close()
            finally:
                self._writer.close()

    def add(self, chunk: WorkChunk) -> None:
        """Add work, due or not: what is not due becomes FRESH."""
        self._batch.add(chunk)

    @property
    def wants_work(self) -> bool:
        """Whether all work has a call in flight, and more work can be prepared while those are out.

        Not before the provider is known to answer: an outage costs each piece of work an attempt.
        """
        batch, engine = self._batch, self._engine
        if batch.is_closed or not batch.is_all_in_flight:
            return False
        is_answered = batch.is_answered or (bool(engine.proven) and not batch.has_outage)
        return is_answered and engine.time.left > 0

    def start_calls(self) -> None:
        """Start each call that may go out now, and choose those that follow. Wait for a slot only while no
        call is in flight."""
        batch = self._batch
        if self._policy.flushes_between_calls and not self._in_flight.is_parallel:
            self._writer.flush_if_much()
        self._pause_seconds = None
        while not batch.is_closed:
            request = self._next_request()
            if request is None or self._in_flight.is_full:
                return
            if not batch.has_calls_left:
                batch.close("no call left for it in this cycle", Status.POSTPONED)
                return
            missing = self._permits.acquire(may_wait=self._policy.waits and not self._in_flight.requests)
            if missing:
                self._pause_seconds = missing.pause_seconds
                if missing.pause_seconds is None:
                    batch.close(missing.reason)
                return
            if self._engine.now_ms() - request.chosen_ms <= MAX_CHOICE_AGE_MS:
                self._start(request)

    def complete_next(self) -> bool:
        """Wait until a call completes, and take over what it has brought, so that the next one can go out.
        Return False if no call is in flight."""
        if not self._in_flight.requests:
            return False
        if self._in_flight.is_parallel:
            self._writer.flush_in_background()
        seconds = self._pause_seconds
        completed = self._in_flight.next() if seconds is None else self._in_flight.next(seconds)
        if completed:
            self._complete(completed)
        return True

    def report(self) -> BatchReport:
        """Return what the batch has done, after its end. Raise RedisError or KeyRefusedError if that ended
        it; what came before is stored."""
        if self._redis_error:
            raise self._redis_error
        report = self._batch.report()
        raise_if_key_refused(report)
        return report

    # --- which calls ---

    def _next_request(self) -> Request | None:
        """Return the request to make now, beside those in flight."""
        batch, engine = self._batch, self._engine
        now_ms = engine.now_ms()
        in_flight = [request.call for request in self._in_flight.requests]
        if page := batch.next_page(now_ms):
            return page if has_room(page.call, in_flight, self._writer.rows) else None
        if batch.is_all_in_flight:
            return None
        if batch.must_choose(now_ms, engine.learner.revision):
            self._choose_calls(now_ms)
        return batch.next_chosen(
            lambda call: (
                may_start(call, engine.proven, in_flight) and has_room(call, in_flight, self._writer.rows)
            )
        )

    def _choose_calls(self, now_ms: int) -> None:
        """Decide which of the pending work is due, and choose the fewest calls for it."""
        batch, engine = self._batch, self._engine
        count_before = batch.work_count
        stored, known = batch.stored, engine.known
        judged: list[tuple[Work, Verdict]] = []
        for item in batch.pending:
            verdict = assess(item, stored.get(item.asset.symbol), known, now_ms)
            judged.append((item, verdict))
            batch.judge(item, verdict)
        engine.reporter.assessed(judged)
        if batch.work_count > count_before:
            engine.store().require_writes()
        in_flight = [request.call for request in self._in_flight.requests]
        calls = self._within_reach(self._calls_for(batch.pending, now_ms, in_flight))
        # Dated to its end: a choice among many assets may take longer than its maximum age. It would never
        # be young enough.
        batch.choose(calls, engine.now_ms(), engine.learner.revision)
        if not calls and batch.pending and not self._in_flight.requests:
            batch.close("no call is known that could bring it")

    def _calls_for(self, work: Sequence[Work], now_ms: int, in_flight: Sequence[Call] = ()) -> list[Call]:
        stored, known = self._batch.stored, self._engine.known
        return choose_calls(
            work, stored, known, now_ms, probe_today=self._policy.probes_today, in_flight=in_flight
        )

    def _within_reach(self, calls: list[Call]) -> list[Call]:
        """Return the first calls, as many as can still begin. The owner may leave the work of the others to
        somebody else."""
        fit = self._engine.time.calls_that_fit
        if len(calls) <= fit:
            return calls
        reached = {item.id for call in calls[:fit] for item in call.work}
        beyond = [item for call in calls[fit:] for item in call.work if item.id not in reached]
        if not beyond:
            return calls
        self._batch.abandon(self._owner.hand_back(beyond))
        return [call for call in calls if self._batch.of(call)]

    # --- one call ---

    def _start(self, request: Request) -> None:
        """Let a call go out, unless the lease of its work is lost, its slot is too old by now, or too little
        time is left."""
        batch, engine = self._batch, self._engine
        provider, endpoint = engine.provider(), endpoint_of(request.call)
        engine.store().record_call()
        lost = self._owner.lost_leases(batch.of(request.call))
        batch.abandon(lost)
        if lost or not self._permits.is_usable or engine.time.left <= 0:  # the database took its time
            return
        self._in_flight.prepare()
        grant, ends_at = engine.call_begins(endpoint.describe(request.call), self._permits)
        batch.begin(request)
        self._in_flight.start(
            request,
            grant,
            lambda: endpoint.send(provider, request.call, request.page, ends_at - monotonic()),
        )

    def _complete(self, completed: Completed) -> None:
        """Take over a call that has ended: complete its slot first, then what it brought."""
        batch, engine = self._batch, self._engine
        request, refusal = completed.request, completed.refusal
        batch.complete(engine.now_ms())
        try:
            self._permits.complete(completed.grant, was_sent=refusal is None or refusal.sent)
        except RedisError as error:  # the answer is here: store it, then raise
            self._redis_error = error
        engine.call_ended(describe(request.call), refusal, completed.seconds)
        if refusal:
            engine.proven.clear()
            self._take_refusal(request, refusal)
        else:
            engine.proven |= shapes(request.call)
            self._take_answer(request, completed.answer)
        self._redis_error = self._redis_error or engine.learner.redis_error
        batch.end(request)

    def _complete_rest(self) -> None:
        """Take over the calls in flight after Redis has failed: they count already, so what they bring is
        stored too."""
        while self._in_flight.requests:
            completed = self._in_flight.next(max(0.0, self._engine.time.until_saving))
            if completed is None:
                return
            with suppress(RedisError):
                self._complete(completed)

    def _take_answer(self, request: Request, answer: Any) -> None:
        batch, learner = self._batch, self._engine.learner
        call, now_ms = request.call, request.chosen_ms
        endpoint = endpoint_of(call)
        endpoint.observe(call, answer, now_ms, learner, self._engine.reporter)
        findings = endpoint.findings(
            call, batch.of(call), request.page, answer, batch.stored, self._engine.known, now_ms
        )
        if findings.refused_classes:
            assert endpoint.restricts is not None, "the plan has such an endpoint for a class, or not"
            for refused in findings.refused_classes:
                learner.class_refused(endpoint.restricts, refused, now_ms)
        for ticker in findings.cleared:
            learner.found_cleared(ticker)
        for lesson in findings.page_lessons:
            learner.learn_page(lesson, now_ms)
        batch.answered(call, findings)

    def _take_refusal(self, request: Request, refusal: Refusal) -> None:
        batch, engine = self._batch, self._engine
        call, now_ms = request.call, request.chosen_ms
        endpoint, consequence = endpoint_of(call), CONSEQUENCES[refusal.kind]
        batch.refused(refusal)
        if refusal.kind is RefusalKind.TOO_MANY_CALLS:
            engine.block(refusal)
        shown = endpoint.restriction(call, refusal.kind, now_ms)
        if shown:
            engine.learner.refused(call, shown, refusal.message, now_ms)
            if call not in self._calls_for(batch.of(call), now_ms):  # another call can bring the same
                if self._policy.one_call_each and not endpoint.is_shared:
                    batch.fail(call, Status.POSTPONED, f"{refusal.message} (asked otherwise next time)")
                return
        findings = refusal_findings(
            call,
            batch.of(call),
            refusal,
            engine.fault_of(refusal),
            engine.answers,
            endpoint.refused_intervals(call, request.page, refusal, now_ms),
        )
        batch.apply(call, findings)
        if consequence.ends_batch:
            batch.close("the provider takes no calls now")


def raise_if_key_refused(report: BatchReport) -> None:
    """Raise KeyRefusedError if the provider refuses the API key."""
    if report.refused_key:
        raise KeyRefusedError(f"the provider refuses the API key: {report.refused_key}", hint=report.key_hint)
