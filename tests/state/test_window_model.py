"""The window's scripts beside a plain model: every answer is what the rules say, and the limit holds.

The model keeps what is true (when calls arrived), the scripts only what they may know; the judge
looks at the arrivals. Ticks are drawn at the boundaries, where such scripts break.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from assetbatch.domain.queueing import CallKind, CallLimit, Denied
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.window import RESERVATION_GRACE_SECONDS, Grant, Window, WindowSettings
from tests.conftest import examples

from .conftest import FakeClock

LIMIT = 2
WINDOW_MS = 4_000
CALL_SECONDS = 1.0
HOLD_MS = 4_000  # the call, the age of a grant, and a second
INTERVAL_MS = 70_000
GRACE_MS = round(RESERVATION_GRACE_SECONDS * 1000)
TICKS = [0, 1, 2, 499, 500, 999, 1_000, 1_999, 2_000, 2_001, 3_999, 4_000, 4_001, 8_000, 60_000]
CALLERS = ["a", "b", "c", "d"]


@dataclass
class Call:
    """One caller: waiting with a turn, or in flight with a grant; `arrived` is the truth."""

    id: str
    kind: CallKind
    call_id: str
    turn: int = 0
    lapses_ms: int | None = None
    grant: Grant | None = None
    granted_ms: int = 0
    arrived: bool = False


@dataclass
class Model:
    entries: dict[str, int] = field(default_factory=dict)  # call id -> the latest it can have arrived
    blocked_ms: int = 0
    reservation: tuple[int, int, int] | None = None  # at, slots, used

    def live(self, now_ms: int) -> list[int]:
        return sorted(score for score in self.entries.values() if score > now_ms - WINDOW_MS)

    def needed(self, now_ms: int) -> tuple[int, int] | None:
        """(from when, how many) slots are kept for priority."""
        if self.reservation is None:
            return None
        at_ms, slots, used = self.reservation
        if now_ms >= at_ms + GRACE_MS:
            missed = (now_ms - GRACE_MS - at_ms) // INTERVAL_MS + 1
            if missed > 3:
                return None
            at_ms, used = at_ms + missed * INTERVAL_MS, 0
        return at_ms, max(0, min(slots, LIMIT) - used)

    def may_call(self, kind: CallKind, ahead: int, now_ms: int) -> bool:
        if self.blocked_ms > now_ms:
            return False
        used = len(self.live(now_ms))
        if used + ahead >= LIMIT:
            return False
        kept = self.needed(now_ms)
        if kind is CallKind.PRIORITY or kept is None or kept[1] == 0:
            return True
        at_ms, slots = kept
        if now_ms >= at_ms:
            return used + ahead + 1 + slots <= LIMIT
        if now_ms + HOLD_MS <= at_ms - WINDOW_MS:
            return True
        live_then = sum(score > at_ms - WINDOW_MS for score in self.live(now_ms))
        return live_then + ahead + 1 + slots <= LIMIT


class WindowMachine(RuleBasedStateMachine):
    client: RedisClient

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_800_000_000_000)
        self.keys = Keys(f"{{{uuid.uuid4().hex}}}")
        self.window = self.new_window()
        self.model = Model()
        self.callers: dict[str, Call] = {}
        self.arrivals: list[int] = []
        self.serial = itertools.count()

    def new_window(self) -> Window:
        return Window(
            self.client,
            WindowSettings(self.keys, "k", CallLimit(LIMIT, WINDOW_MS), CALL_SECONDS),
            clock_ms=self.clock,
        )

    @rule(ms=st.sampled_from(TICKS))
    def tick(self, ms: int) -> None:
        self.clock.now_ms += ms
        for caller in list(self.callers.values()):  # a call that takes longer has failed by its deadline
            late = caller.grant and self.clock.now_ms > caller.granted_ms + HOLD_MS
            if late and caller.id in self.callers:
                del self.callers[caller.id]

    @rule(name=st.sampled_from(CALLERS), kind=st.sampled_from(list(CallKind)))
    def ask(self, name: str, kind: CallKind) -> None:
        now_ms = self.clock.now_ms
        caller = self.callers.get(name)
        if caller and caller.grant:
            assert isinstance(self.window.ask(caller.kind, caller.grant.call_id), Grant)  # a lost reply
            return
        for other in list(self.callers.values()):
            if other.lapses_ms is not None and other.lapses_ms <= now_ms:
                del self.callers[other.id]
        caller = self.callers.get(name)
        waiting = [other for other in self.callers.values() if other.grant is None]
        if caller is None:
            caller = Call(name, kind, f"{name}-{next(self.serial):06}")  # ids sort as names do
            offset = 10**15 if kind is CallKind.PRIORITY else 0
            caller.turn = now_ms * 1000 + len(waiting) - offset
        ahead = sum(
            (other.turn, other.id) < (caller.turn, caller.id) if other is not caller else False
            for other in waiting
        )
        if name not in self.callers:
            ahead = sum(other.turn <= caller.turn for other in waiting)
        expected = self.model.may_call(caller.kind, ahead, now_ms)
        answer = self.window.ask(caller.kind, caller.call_id)
        assert isinstance(answer, Grant) is expected, answer
        self.callers[name] = caller
        if isinstance(answer, Grant):
            caller.grant, caller.granted_ms, caller.lapses_ms = answer, now_ms, None
            self.model.entries[answer.call_id] = now_ms + HOLD_MS
            self.count_use(caller)
            return
        assert answer.retry_at_ms > now_ms
        caller.lapses_ms = answer.retry_at_ms + 2_000

    def count_use(self, caller: Call) -> None:
        if caller.kind is CallKind.PRIORITY and self.model.reservation:
            at_ms, slots, used = self.model.reservation
            if at_ms <= self.clock.now_ms < at_ms + GRACE_MS:
                self.model.reservation = (at_ms, slots, used + 1)

    @rule(name=st.sampled_from(CALLERS))
    def arrive(self, name: str) -> None:
        caller = self.callers.get(name)
        if caller and caller.grant and not caller.arrived:
            caller.arrived = True
            self.arrivals.append(self.clock.now_ms)

    @rule(name=st.sampled_from(CALLERS))
    def complete(self, name: str) -> None:
        caller = self.callers.get(name)
        if caller and caller.grant:
            self.arrive(name)
            self.window.complete(caller.grant)
            self.model.entries[caller.grant.call_id] = self.clock.now_ms + 1
            del self.callers[name]

    @rule(name=st.sampled_from(CALLERS))
    def cancel(self, name: str) -> None:
        caller = self.callers.get(name)
        if caller and caller.grant and not caller.arrived:
            self.window.cancel(caller.grant)
            if self.model.entries[caller.grant.call_id] > self.clock.now_ms + 1:  # else its time is over
                del self.model.entries[caller.grant.call_id]
            del self.callers[name]

    @rule(name=st.sampled_from(CALLERS))
    def crash(self, name: str) -> None:
        """A process in flight dies; its entry stays, its request may have arrived."""
        caller = self.callers.get(name)
        if caller and caller.grant:
            self.arrive(name)
            del self.callers[name]

    @rule(name=st.sampled_from(CALLERS))
    def leave(self, name: str) -> None:
        caller = self.callers.get(name)
        if caller and not caller.grant:
            self.window.abandon_wait(caller.call_id)
            del self.callers[name]

    @rule(seconds=st.sampled_from([None, 1.0, 2.5]))
    def too_many_calls(self, seconds: float | None) -> None:
        until_ms = self.clock.now_ms + (WINDOW_MS if seconds is None else round(seconds * 1000))
        self.model.blocked_ms = max(self.model.blocked_ms, until_ms)
        assert self.window.block(seconds) == self.model.blocked_ms

    @rule(in_ms=st.sampled_from([0, 1, 3_999, 4_000, 4_001, 8_000, 8_001, 60_000]), slots=st.integers(0, 3))
    def reserve(self, in_ms: int, slots: int) -> None:
        at_ms = self.clock.now_ms + in_ms
        self.window.reserve(at_ms, slots, INTERVAL_MS)
        self.model.reservation = (at_ms, slots, 0)

    @rule()
    def another_process(self) -> None:
        self.window = self.new_window()

    @rule()
    def script_flush(self) -> None:
        self.client.script_flush()

    @invariant()
    def no_rolling_window_has_more_arrivals_than_the_limit(self) -> None:
        arrivals = sorted(self.arrivals)
        for first, later in zip(arrivals, arrivals[LIMIT:], strict=False):
            assert later - first >= WINDOW_MS

    @invariant()
    def the_state_is_that_of_the_model(self) -> None:
        now_ms = self.clock.now_ms
        state = self.window.state()
        assert (state.pause is not None) == (self.model.blocked_ms > now_ms)
        assert state.used == len(self.model.live(now_ms))
        kept = self.model.needed(now_ms)
        assert state.reserved == (kept[1] if kept else 0)


def test_the_window_is_what_the_model_says(redis_client: RedisClient) -> None:
    machine = type("BoundMachine", (WindowMachine,), {"client": redis_client})
    # A leak needs calls of several processes within one window: more examples than one process would need.
    run_state_machine_as_test(machine, settings=examples(1.5))


@pytest.mark.parametrize("sabotage", ["complete-at-once", "local-count"])
def test_the_machine_would_see_a_window_that_leaks(
    redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch, sabotage: str
) -> None:
    """An entry dated to the grant instead of ahead; a count of each process's own."""
    if sabotage == "complete-at-once":
        ask = Window.ask

        def leak(window: Window, kind: CallKind, call_id: str | None = None) -> Grant | Denied:
            answer = ask(window, kind, call_id)
            if isinstance(answer, Grant):
                window.complete(answer)
            return answer

        monkeypatch.setattr(Window, "ask", leak)
    else:
        original = WindowMachine.new_window

        def own_count(self: WindowMachine) -> Window:
            self.keys = Keys(f"{{{uuid.uuid4().hex}}}")
            return original(self)

        monkeypatch.setattr(WindowMachine, "new_window", own_count)
    machine = type("LeakingMachine", (WindowMachine,), {"client": redis_client})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine,
            settings=settings(  # not the profile's: it ends with the first example that shows the leak
                max_examples=200,
                stateful_step_count=50,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
            ),
        )
