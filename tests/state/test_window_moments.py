"""The moments that the window's scripts answer, to the millisecond: a moment that is over is a spin."""

from __future__ import annotations

import itertools

import pytest

from assetbatch.domain.queueing import CallKind, Denied
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.window import Grant, Window

from .conftest import FakeClock, MakeWindow, granted, use

DAY_MS = 86_400_000
WINDOW_MS = 60_000
INTERVAL_MS = 300_000
GRACE_MS = 60_000
HOLD_MS = 13_000


def denied(answer: Grant | Denied) -> tuple[int, str]:
    """The moment to come back at, and the reason."""
    assert isinstance(answer, Denied)
    return answer.retry_at_ms, answer.reason


class TestWhoIsRefusedForTheReservation:
    def test_comes_back_a_second_after_the_cycles_start(self, window: Window, clock: FakeClock) -> None:
        start_ms = clock.now_ms + 30_000
        window.reserve(start_ms, 4, INTERVAL_MS)
        use(window, CallKind.QUEUE)
        assert denied(window.ask(CallKind.QUEUE, "late")) == (start_ms + 1000, "reserved")

    def test_leaves_the_last_slot_to_a_cycle_that_needs_a_single_one(
        self, window: Window, clock: FakeClock
    ) -> None:
        start_ms = clock.now_ms + 30_000
        window.reserve(start_ms, 1, INTERVAL_MS)
        use(window, CallKind.QUEUE, 4)
        assert denied(window.ask(CallKind.QUEUE, "late")) == (start_ms + 1000, "reserved")
        clock.now_ms = start_ms
        assert denied(window.ask(CallKind.QUEUE, "late")) == (start_ms + 2000, "reserved")
        use(window, CallKind.PRIORITY)

    def test_keeps_its_turn_for_two_seconds_after_the_latest_moment_that_is_told(
        self, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        start_ms = clock.now_ms + WINDOW_MS + HOLD_MS - 1
        window.reserve(start_ms, 5, INTERVAL_MS)
        for waiter in ("first", "second"):  # who comes later looks for turns that the clock has left behind
            assert denied(window.ask(CallKind.QUEUE, waiter)) == (start_ms + 1000, "reserved")
        turns = dict(redis_client.zrange(window.keys[4], 0, -1, withscores=True))
        assert set(turns.values()) == {start_ms + 3000}

    def test_comes_back_in_two_seconds_while_the_cycle_runs(self, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 5, INTERVAL_MS)
        for _ in range(3):
            assert denied(window.ask(CallKind.QUEUE, "waits")) == (clock.now_ms + 2000, "reserved")
            clock.advance(2)

    def test_never_comes_back_at_a_moment_that_is_over(self, window: Window, clock: FakeClock) -> None:
        """Whatever the moment of the cycle: at its edges, before, during and after it."""
        start_ms = clock.now_ms + 80_000
        window.reserve(start_ms, 5, INTERVAL_MS)
        edges = (0, start_ms - WINDOW_MS - HOLD_MS, start_ms - WINDOW_MS, start_ms, start_ms + GRACE_MS)
        for edge, offset in itertools.product(edges[1:], (-1001, -1, 0, 1, 999, 1001)):
            clock.now_ms = edge + offset
            answer = window.ask(CallKind.QUEUE, f"{edge}{offset}")
            if isinstance(answer, Grant):
                window.cancel(answer)
            else:
                assert answer.retry_at_ms > clock.now_ms
                assert answer.wait_ms == answer.retry_at_ms - clock.now_ms
                window.abandon_wait(f"{edge}{offset}")


class TestTheReservationHolds:
    def test_from_when_a_call_may_still_count_at_the_cycles_start(
        self, window: Window, clock: FakeClock
    ) -> None:
        start_ms = clock.now_ms + WINDOW_MS + HOLD_MS
        window.reserve(start_ms, 5, INTERVAL_MS)
        window.cancel(granted(window.ask(CallKind.QUEUE)))
        clock.now_ms += 1
        denied(window.ask(CallKind.QUEUE))

    def test_against_calls_that_will_still_count_then_and_no_others(
        self, window: Window, clock: FakeClock
    ) -> None:
        use(window, CallKind.QUEUE)
        leaves_ms = clock.now_ms + 1 + WINDOW_MS
        clock.advance(30)
        window.reserve(leaves_ms - 1, 4, INTERVAL_MS)
        denied(window.ask(CallKind.QUEUE, "one"))
        window.abandon_wait("one")
        window.reserve(leaves_ms, 4, INTERVAL_MS)
        granted(window.ask(CallKind.QUEUE, "one"))

    @pytest.mark.parametrize(("slots", "left"), [(0, 5), (2, 3), (4, 1)])
    def test_exactly_its_slots(self, window: Window, clock: FakeClock, slots: int, left: int) -> None:
        for start_ms in (clock.now_ms, clock.now_ms + 30_000):
            window.reserve(start_ms, slots, INTERVAL_MS)
            grants = [granted(window.ask(CallKind.QUEUE)) for _ in range(left)]
            denied(window.ask(CallKind.QUEUE, "more"))
            window.abandon_wait("more")
            for grant in grants:
                window.cancel(grant)

    @pytest.mark.parametrize("start_in_ms", [0, 30_000])
    def test_also_against_those_who_wait_before(
        self, window: Window, clock: FakeClock, start_in_ms: int
    ) -> None:
        window.reserve(clock.now_ms + start_in_ms, 3, INTERVAL_MS)
        use(window, CallKind.QUEUE, 2)
        denied(window.ask(CallKind.QUEUE, "first"))
        window.reserve(clock.now_ms + start_in_ms, 2, INTERVAL_MS)
        denied(window.ask(CallKind.QUEUE, "second"))  # the one slot that is left is the first's
        granted(window.ask(CallKind.QUEUE, "first"))

    @pytest.mark.parametrize(
        ("after_ms", "reserved", "from_interval"),
        [
            (0, 3, 0),
            (GRACE_MS - 1, 3, 0),
            (GRACE_MS, 3, 1),
            (INTERVAL_MS + GRACE_MS - 1, 3, 1),
            (INTERVAL_MS + GRACE_MS, 3, 2),
            (3 * INTERVAL_MS + GRACE_MS - 1, 3, 3),
            (3 * INTERVAL_MS + GRACE_MS, 0, None),
        ],
    )
    def test_for_three_more_cycles_each_with_a_minute_of_grace(
        self, window: Window, clock: FakeClock, after_ms: int, reserved: int, from_interval: int | None
    ) -> None:
        start_ms = clock.now_ms
        window.reserve(start_ms, 3, INTERVAL_MS)
        clock.now_ms += after_ms
        state = window.state()
        from_ms = 0 if from_interval is None else start_ms + from_interval * INTERVAL_MS
        assert (state.reserved, state.reserved_from_ms) == (reserved, from_ms)

    @pytest.mark.parametrize(
        ("after_ms", "reserved"), [(-1, 3), (0, 2), (GRACE_MS - 1, 2), (GRACE_MS, 3), (GRACE_MS + 1, 3)]
    )
    def test_less_by_the_priority_calls_of_its_cycle_and_no_others(
        self, window: Window, clock: FakeClock, after_ms: int, reserved: int
    ) -> None:
        start_ms = clock.now_ms + 1
        window.reserve(start_ms, 3, INTERVAL_MS)
        clock.now_ms = start_ms + after_ms
        use(window, CallKind.PRIORITY)
        clock.now_ms = start_ms
        assert window.state().reserved == reserved

    def test_nothing_for_calls_of_the_queue(self, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 3, INTERVAL_MS)
        use(window, CallKind.QUEUE)
        assert window.state().reserved == 3

    def test_anew_for_the_next_cycle_what_one_has_used(self, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 3, INTERVAL_MS)
        use(window, CallKind.PRIORITY, 2)
        assert window.state().reserved == 1
        clock.now_ms += GRACE_MS
        assert window.state().reserved == 3

    def test_nothing_once_a_cycle_has_used_more_than_was_kept(self, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 1, INTERVAL_MS)
        use(window, CallKind.PRIORITY, 3)
        assert window.state().reserved == 0

    def test_no_more_than_the_limit(self, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 50, INTERVAL_MS)
        assert window.state().reserved == 5
        use(window, CallKind.PRIORITY)
        assert window.state().reserved == 4


class TestWhoWaits:
    def test_while_all_are_blocked_is_told_a_window_later_for_each_limit_before_it(
        self, window: Window, clock: FakeClock
    ) -> None:
        until_ms = window.block(10)
        told = [denied(window.ask(CallKind.QUEUE, f"{n:02}")) for n in range(12)]
        rounds = [0] * 5 + [1] * 5 + [2] * 2
        assert told == [(until_ms + n * WINDOW_MS, "blocked") for n in rounds]
        clock.now_ms = until_ms  # all slots are free, and others go before
        assert denied(window.ask(CallKind.QUEUE, "new")) == (until_ms + 2 * WINDOW_MS, "window")

    def test_for_two_blocks_that_end_together_waits_for_the_longer_one_after_a_step_back(
        self, window: Window, clock: FakeClock
    ) -> None:
        until_ms = window.block(10)
        clock.advance(5)
        assert window.block(5) == until_ms
        clock.advance(-100)
        assert denied(window.ask(CallKind.QUEUE, "waits")) == (clock.now_ms + 10_000, "blocked")

    def test_for_a_call_that_may_be_completed_at_any_moment_waits_a_window_from_now(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        granted(window.ask(CallKind.PRIORITY))
        clock.advance(1)
        assert denied(window.ask(CallKind.PRIORITY, "one")) == (clock.now_ms + WINDOW_MS, "window")
        assert denied(window.ask(CallKind.PRIORITY, "two")) == (clock.now_ms + 2 * WINDOW_MS, "window")

    def test_waits_a_millisecond_at_least(self, make_window: MakeWindow, clock: FakeClock) -> None:
        window = make_window(limit=1)
        use(window)
        clock.now_ms += WINDOW_MS  # the entry is dated a millisecond ahead
        assert denied(window.ask(CallKind.PRIORITY)) == (clock.now_ms + 1, "window")

    def test_in_one_millisecond_with_another_comes_after_it(self, make_window: MakeWindow) -> None:
        window = make_window(limit=1)
        use(window)
        names = ["zebra", "yak", "ape"]
        told = [denied(window.ask(CallKind.QUEUE, name))[0] for name in names]
        assert [later - earlier for earlier, later in itertools.pairwise(told)] == [WINDOW_MS, WINDOW_MS]
        assert [denied(window.ask(CallKind.QUEUE, name))[0] for name in names] == told

    def test_keeps_its_turn_for_two_seconds_after_its_moment(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        moment_ms, _ = denied(window.ask(CallKind.QUEUE, "late"))
        clock.now_ms = moment_ms + 1999
        denied(window.ask(CallKind.QUEUE, "other"))
        clock.now_ms = moment_ms + 2000
        granted(window.ask(CallKind.QUEUE, "other"))

    def test_and_leaves_is_forgotten_whole(
        self, redis_client: RedisClient, keys: Keys, make_window: MakeWindow
    ) -> None:
        window = make_window(limit=1)
        use(window)
        denied(window.ask(CallKind.QUEUE, "leaves"))
        assert redis_client.exists(*window.keys[3:5]) == 2
        window.abandon_wait("leaves")
        assert redis_client.exists(*window.keys[3:5]) == 0

    def test_of_priority_comes_before_the_queue_however_late(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        clock.advance(1)
        first, _ = denied(window.ask(CallKind.QUEUE, "queue"))
        clock.advance(1)
        assert denied(window.ask(CallKind.PRIORITY, "priority"))[0] == first
        assert denied(window.ask(CallKind.PRIORITY, "second"))[0] == first + WINDOW_MS
        assert denied(window.ask(CallKind.QUEUE, "queue"))[0] == first + 2 * WINDOW_MS


class TestTheState:
    def test_counts_a_call_until_the_moment_at_which_it_leaves(
        self, window: Window, clock: FakeClock
    ) -> None:
        use(window)
        leaves_ms = clock.now_ms + 1 + WINDOW_MS
        for now_ms, used in ((leaves_ms - 1, 1), (leaves_ms, 0)):
            clock.now_ms = now_ms
            assert window.state().used == used

    def test_of_a_blocked_window_is_nothing_until_the_later_of_block_and_slot(
        self, window: Window, clock: FakeClock
    ) -> None:
        until_ms = window.block(7.5)
        state = window.state()
        assert (state.used, state.remaining, state.next_slot_ms) == (0, 0, until_ms)
        assert (state.pause, state.pause_begun) == ("blocked", True)
        clock.now_ms = until_ms
        state = window.state()
        assert (state.used, state.remaining, state.next_slot_ms) == (0, 5, until_ms)
        use(window, times=5)
        window.block(7.5)
        assert window.state().next_slot_ms == clock.now_ms + 1 + WINDOW_MS

    def test_after_a_limit_was_lowered_waits_for_as_many_to_leave_as_it_takes(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        wide, narrow = (make_window(limit) for limit in (5, 2))
        completed = []
        for _ in range(4):
            use(wide)
            completed.append(clock.now_ms + 1)
            clock.advance(1)
        state = narrow.state()
        assert (state.used, state.remaining, state.next_slot_ms) == (4, 0, completed[2] + WINDOW_MS)
        assert denied(narrow.ask(CallKind.PRIORITY)) == (completed[2] + WINDOW_MS, "window")

    def test_of_a_window_without_a_reservation_has_none(self, window: Window) -> None:
        state = window.state()
        assert (state.reserved, state.reserved_from_ms) == (0, 0)


class TestWhatIsLeftBehind:
    """What nobody needs any more ends by itself, and nothing before it has to."""

    @pytest.fixture
    def calls(self, window: Window) -> str:
        return window.keys[0]

    def test_the_waiters_are_kept_for_a_day(self, window: Window, redis_client: RedisClient) -> None:
        use(window, times=5)
        denied(window.ask(CallKind.QUEUE))
        for key in window.keys[3:5]:
            assert lives_for(redis_client, key, DAY_MS)

    def test_calls_that_count_no_longer_are_forgotten_with_the_next(
        self, window: Window, redis_client: RedisClient, clock: FakeClock, calls: str
    ) -> None:
        use(window, times=3)
        clock.now_ms += WINDOW_MS
        use(window)
        assert redis_client.zcard(calls) == 4
        clock.now_ms += 1
        use(window)
        assert redis_client.zcard(calls) == 2


def lives_for(client: RedisClient, key: str, ms: int) -> bool:
    return bool(ms - 5_000 < client.pttl(key) <= ms)


@pytest.mark.parametrize(("seconds", "ms"), [(0.2, 1_000), (1.0, 1_000), (1.5, 1_500), (7200.0, 3_600_000)])
def test_a_block_lasts_a_second_at_least_and_an_hour_at_most(
    window: Window, clock: FakeClock, seconds: float, ms: int
) -> None:
    assert window.block(seconds) == clock.now_ms + ms


def test_a_cancelled_call_counts_no_longer(window: Window) -> None:
    grant = granted(window.ask(CallKind.PRIORITY))
    assert window.state().used == 1
    window.cancel(grant)
    assert window.state().used == 0
