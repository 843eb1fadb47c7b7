"""Spare calls: a share of what is left over, never what priority or the queue wants."""

from __future__ import annotations

import pytest

from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Lane
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.queue import SPARE_CALLS_KEPT, Queue
from assetbatch.state.spare_calls import SpareCalls
from assetbatch.state.window import Window, WindowSettings

MINUTE = 60_000
START_MS = 1_800_000_000_000


class Machine:
    """A queue, a window and spare calls, by one clock."""

    def __init__(self, client: RedisClient, keys: Keys, limit: CallLimit) -> None:
        self.now_ms = START_MS
        self.window = Window(client, WindowSettings(keys, "k", limit, 10.0), clock_ms=lambda: self.now_ms)
        self.queue = Queue(
            client,
            keys,
            max_size=100,
            retry_max_attempts=3,
            retry_delay_seconds=60,
            clock_ms=lambda: self.now_ms,
        )
        self.spare = SpareCalls(client, keys, self.window, clock_ms=lambda: self.now_ms)
        self.call()  # from now on the window is trusted

    def call(self, kind: CallKind = CallKind.QUEUE) -> None:
        grant = self.window.ask(kind)
        assert not isinstance(grant, Denied)
        self.window.complete(grant)

    def spend(self) -> bool:
        grant = self.spare.take()
        if grant is not None:
            self.window.complete(grant)
        return grant is not None

    def owed(self, share: float = 0.2) -> int:
        return self.queue.begin_run(self.window, share)[1]

    def minutes_later(self, minutes: float = 1) -> None:
        self.now_ms += round(minutes * MINUTE)


@pytest.fixture
def free(redis_client: RedisClient, keys: Keys) -> Machine:
    machine = Machine(redis_client, keys, CallLimit(5, MINUTE))
    machine.minutes_later(2)
    return machine


def test_the_figures_are_those_of_the_queue(free: Machine) -> None:
    free.queue.enqueue([("A", Lane.HIGH), ("B", Lane.HISTORY)])
    state, _ = free.queue.begin_run(free.window, 0.2)
    assert state == free.queue.state()


def test_a_fifth_of_an_idle_free_plan_is_one_call_a_minute(free: Machine) -> None:
    for _ in range(3):
        assert free.owed() == 1
        assert [free.spend(), free.spend()] == [True, False]
        free.minutes_later()


def test_the_share_adds_up_over_minutes(free: Machine) -> None:
    owed = []
    for _ in range(6):
        owed.append(free.owed(0.1))
        if owed[-1]:
            assert free.spend()
        free.minutes_later()
    assert owed == [0, 1, 0, 1, 0, 1]


def test_what_is_left_over_counts_once_however_many_start_in_a_minute(free: Machine) -> None:
    for _ in range(9):
        assert free.owed(0.1) == 0
        free.minutes_later(0.1)
    free.minutes_later(0.1)
    assert free.owed(0.1) == 1


def test_no_more_than_a_window_of_it_is_kept(free: Machine) -> None:
    for _ in range(20):
        free.owed()
        free.minutes_later()
    assert free.owed() == 1


def test_what_was_used_is_not_left_over(free: Machine) -> None:
    for _ in range(5):
        free.call(CallKind.PRIORITY)
    assert free.owed(1) == 0


def test_what_waits_in_the_queue_wants_the_calls(free: Machine) -> None:
    assert free.owed() == 1
    free.queue.enqueue([("A", Lane.HISTORY)])
    assert free.spare.take() is None
    assert free.owed() == 0


def test_a_slot_that_priority_will_need_is_not_taken(free: Machine) -> None:
    assert free.owed() == 1
    free.window.reserve(free.now_ms + 30_000, 5, 5 * MINUTE)
    assert free.spare.take() is None
    assert free.owed(1) <= 1  # nothing was added
    assert not isinstance(free.window.ask(CallKind.PRIORITY), Denied)
    for _ in range(4):
        assert not isinstance(free.window.ask(CallKind.PRIORITY), Denied)


def test_a_denied_spare_call_makes_nobody_wait(free: Machine) -> None:
    assert free.owed() == 1
    for _ in range(5):
        free.call()
    assert not free.spend()
    free.now_ms += MINUTE + 1
    free.call()


def test_they_rest_while_there_is_nothing_to_verify(free: Machine) -> None:
    free.spare.rest(free.now_ms + 60 * MINUTE)
    free.minutes_later(59)
    assert free.owed() == 0
    free.minutes_later(1)
    assert free.owed() == 1


def test_a_rest_of_a_clock_that_was_ahead_is_not_believed(free: Machine) -> None:
    free.spare.rest(free.now_ms + 400 * 24 * 60 * MINUTE)
    assert free.owed() == 1


def test_a_server_that_did_not_write_the_log_gives_none(redis_client: RedisClient, free: Machine) -> None:
    assert free.owed() == 1
    redis_client.set(free.window.keys[5], "another")
    assert free.spare.take() is None
    free.minutes_later()
    assert free.owed(1) <= 1


def test_a_plan_without_a_limit_spends_a_few_in_a_start(redis_client: RedisClient, keys: Keys) -> None:
    machine = Machine(redis_client, keys, CallLimit(100, 1000))
    machine.minutes_later()
    assert machine.owed() == SPARE_CALLS_KEPT == 10
