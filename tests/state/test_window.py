"""The call window on a real server, with a clock that the test sets."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetbatch.domain.queueing import CallKind, CallLimit, Denied
from assetbatch.errors import RedisError
from assetbatch.secret import Secret
from assetbatch.state.connection import RedisClient, connect
from assetbatch.state.keys import Keys, fingerprint
from assetbatch.state.process_id import new_id
from assetbatch.state.window import ARRIVAL_SECONDS, Grant, Window, WindowSettings

from .conftest import CALL_SECONDS, FakeClock, MakeWindow, granted, use, window_of


def denied(answer: Grant | Denied) -> Denied:
    assert isinstance(answer, Denied)
    return answer


class TestTheLimit:
    def test_the_sixth_call_is_denied_until_the_first_has_left_the_window(
        self, window: Window, clock: FakeClock
    ) -> None:
        use(window)
        first_completed_ms = clock.now_ms + 1
        clock.advance(10)
        for _ in range(4):
            use(window)
        answer = denied(window.ask(CallKind.PRIORITY, "sixth"))
        assert (answer.retry_at_ms, answer.reason) == (first_completed_ms + 60_000, "window")
        clock.now_ms = answer.retry_at_ms - 1
        denied(window.ask(CallKind.PRIORITY, "sixth"))
        clock.now_ms = answer.retry_at_ms
        granted(window.ask(CallKind.PRIORITY, "sixth"))

    def test_no_ten_calls_pass_around_the_edge_of_a_fixed_window(
        self, window: Window, clock: FakeClock
    ) -> None:
        """Five calls at the end of a minute and five at the start of the next pass a fixed window."""
        clock.now_ms = 1_800_000_059_000
        for _ in range(5):
            use(window)
        clock.now_ms = 1_800_000_060_000
        denied(window.ask(CallKind.PRIORITY))

    def test_a_call_that_failed_counts_like_any_other(self, window: Window) -> None:
        for _ in range(5):
            use(window)  # completed is all the window knows: it never hears of success
        denied(window.ask(CallKind.PRIORITY))

    def test_a_call_that_was_certainly_not_sent_gives_its_slot_back(self, window: Window) -> None:
        grants = [granted(window.ask(CallKind.PRIORITY)) for _ in range(5)]
        window.cancel(grants[0])
        granted(window.ask(CallKind.PRIORITY))

    def test_the_same_call_id_asked_again_is_the_same_slot(self, window: Window) -> None:
        for _ in range(3):
            granted(window.ask(CallKind.PRIORITY, "one-call"))
        assert window.state().used == 1

    def test_two_api_keys_have_windows_of_their_own(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        one = Window(
            redis_client,
            WindowSettings(keys, fingerprint(Secret("made-up-1")), CallLimit(1, 60_000), 1.0),
            clock_ms=clock,
        )
        other = Window(
            redis_client,
            WindowSettings(keys, fingerprint(Secret("made-up-2")), CallLimit(1, 60_000), 1.0),
            clock_ms=clock,
        )
        use(one)
        use(other)

    def test_an_unlimited_plan_is_held_to_a_hundred_a_second(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=100, window_ms=1000)
        for _ in range(100):
            use(window)
        clock.advance(0.1)
        answer = denied(window.ask(CallKind.PRIORITY))
        assert answer.retry_at_ms - clock.now_ms == 901


class TestDatingAhead:
    def test_a_call_that_was_not_completed_holds_its_slot_for_the_longest_it_may_take_and_a_window(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        granted(window.ask(CallKind.PRIORITY))  # and its process dies
        clock.now_ms += window.max_in_flight_ms + 60_000 - 1
        denied(window.ask(CallKind.PRIORITY, "next"))
        clock.now_ms += 1
        granted(window.ask(CallKind.PRIORITY, "next"))

    def test_the_hold_covers_the_call_and_the_age_a_grant_may_reach(self, window: Window) -> None:
        assert window.max_in_flight_ms > CALL_SECONDS * 1000 + 2000

    def test_a_late_completion_dates_the_call_to_the_later_moment(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        grant = granted(window.ask(CallKind.PRIORITY))
        clock.advance(300)  # the machine slept in between
        window.complete(grant)
        clock.advance(1)
        answer = denied(window.ask(CallKind.PRIORITY))
        assert answer.retry_at_ms == clock.now_ms - 1000 + 1 + 60_000

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([0, 1, 400, 2_000, 9_999, 10_000, 11_000]),  # pause before asking
                st.sampled_from([0, 1, 500, 1_999, 3_000]),  # latency until the arrival
                st.booleans(),  # killed before it could complete it
            ),
            max_size=25,
        )
    )
    def test_never_more_than_the_limit_arrive_in_any_rolling_window(
        self, redis_client: RedisClient, calls: list[tuple[int, int, bool]]
    ) -> None:
        clock = FakeClock(1_800_000_000_000)
        window = Window(
            redis_client,
            WindowSettings(Keys(f"{{{time.monotonic_ns()}}}"), "k", CallLimit(3, 10_000), 3.0),
            clock_ms=clock,
        )
        arrivals: list[int] = []
        for pause, latency, killed in calls:
            clock.now_ms += pause
            call_id = new_id()
            answer = window.ask(CallKind.PRIORITY, call_id)
            while isinstance(answer, Denied):
                clock.now_ms = max(clock.now_ms, answer.retry_at_ms)
                answer = window.ask(CallKind.PRIORITY, call_id)
            clock.now_ms += latency
            arrivals.append(clock.now_ms)
            if not killed:
                window.complete(answer)
        for first, fourth in zip(arrivals, arrivals[3:], strict=False):
            assert fourth - first >= 10_000


class TestTheReservation:
    INTERVAL_MS = 300_000

    def test_the_queue_leaves_what_the_next_priority_cycle_needs(
        self, window: Window, clock: FakeClock
    ) -> None:
        start_ms = clock.now_ms + 30_000
        window.reserve(start_ms, 3, self.INTERVAL_MS)
        use(window, CallKind.QUEUE)
        use(window, CallKind.QUEUE)
        assert denied(window.ask(CallKind.QUEUE)).reason == "reserved"
        clock.now_ms = start_ms
        for _ in range(3):
            use(window, CallKind.PRIORITY)

    def test_the_queue_takes_everything_while_its_calls_will_have_left_by_then(
        self, window: Window, clock: FakeClock
    ) -> None:
        window.reserve(clock.now_ms + 120_000, 3, self.INTERVAL_MS)
        for _ in range(5):
            use(window, CallKind.QUEUE)

    def test_slots_that_the_cycle_has_used_are_not_kept_a_second_time(
        self, window: Window, clock: FakeClock
    ) -> None:
        window.reserve(clock.now_ms, 3, self.INTERVAL_MS)
        for _ in range(3):
            use(window, CallKind.PRIORITY)
        use(window, CallKind.QUEUE)
        use(window, CallKind.QUEUE)

    def test_a_priority_cycle_that_needs_nothing_reserves_nothing(
        self, window: Window, clock: FakeClock
    ) -> None:
        window.reserve(clock.now_ms, 0, self.INTERVAL_MS)
        for _ in range(5):
            use(window, CallKind.QUEUE)

    def test_a_cycle_that_does_not_come_is_expected_a_few_times_more_and_then_no_longer(
        self, window: Window, clock: FakeClock
    ) -> None:
        start_ms = clock.now_ms
        window.reserve(start_ms, 5, self.INTERVAL_MS)
        for missed in range(4):
            clock.now_ms = start_ms + missed * self.INTERVAL_MS
            assert denied(window.ask(CallKind.QUEUE)).reason == "reserved"
        clock.now_ms = start_ms + 4 * self.INTERVAL_MS
        granted(window.ask(CallKind.QUEUE))

    def test_a_late_cycle_finds_its_slots_for_a_minute_only(self, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 5, self.INTERVAL_MS)
        clock.advance(59.9)
        denied(window.ask(CallKind.QUEUE))
        clock.advance(0.2)
        granted(window.ask(CallKind.QUEUE))

    def test_more_than_the_limit_is_never_reserved(self, make_window: MakeWindow, clock: FakeClock) -> None:
        window = make_window(limit=2)
        window.reserve(clock.now_ms + 120_000, 50, self.INTERVAL_MS)
        use(window, CallKind.QUEUE)


class TestWaiting:
    def test_the_call_that_was_denied_first_is_served_first(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        clock.advance(1)
        first = denied(window.ask(CallKind.QUEUE, "first"))
        clock.advance(1)
        second = denied(window.ask(CallKind.QUEUE, "second"))
        clock.now_ms = first.retry_at_ms
        denied(window.ask(CallKind.QUEUE, "second"))
        denied(window.ask(CallKind.QUEUE, "newcomer"))
        granted(window.ask(CallKind.QUEUE, "first"))
        assert second.retry_at_ms == first.retry_at_ms + 60_000

    def test_each_waiter_is_told_a_slot_of_its_own_so_that_none_wakes_in_vain(
        self, window: Window, clock: FakeClock
    ) -> None:
        for _ in range(5):
            use(window)
            clock.advance(1)
        moments = [denied(window.ask(CallKind.QUEUE, f"waiter-{n}")).retry_at_ms for n in range(12)]
        assert [b - a for a, b in itertools.pairwise(moments)] == [1000, 1000, 1000, 1000, 56_000] * 2 + [
            1000
        ]
        for number in (0, 1, 2, 3, 4):
            clock.now_ms = moments[number]
            granted(window.ask(CallKind.QUEUE, f"waiter-{number}"))

    def test_priority_goes_before_all_queue_waiters(self, make_window: MakeWindow, clock: FakeClock) -> None:
        window = make_window(limit=1)
        use(window)
        clock.advance(1)
        retry_at_ms = denied(window.ask(CallKind.QUEUE, "queue")).retry_at_ms
        clock.advance(1)
        assert denied(window.ask(CallKind.PRIORITY, "priority")).retry_at_ms == retry_at_ms
        clock.now_ms = retry_at_ms
        denied(window.ask(CallKind.QUEUE, "queue"))
        granted(window.ask(CallKind.PRIORITY, "priority"))

    def test_a_waiter_that_died_loses_its_ticket_two_seconds_after_its_moment(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        clock.advance(1)
        clock.now_ms = denied(window.ask(CallKind.QUEUE, "dies")).retry_at_ms
        denied(window.ask(CallKind.QUEUE, "lives"))
        clock.advance(2)
        granted(window.ask(CallKind.QUEUE, "lives"))

    def test_a_waiter_that_abandons_its_wait_makes_way_at_once(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        clock.advance(1)
        clock.now_ms = denied(window.ask(CallKind.QUEUE, "leaves")).retry_at_ms
        window.abandon_wait("leaves")
        granted(window.ask(CallKind.QUEUE, "lives"))

    def test_nothing_is_left_of_waiters_that_were_served(
        self, make_window: MakeWindow, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        clock.advance(1)
        clock.now_ms = denied(window.ask(CallKind.QUEUE, "served")).retry_at_ms
        granted(window.ask(CallKind.QUEUE, "served"))
        assert not redis_client.exists(*window.keys[3:5])


class TestSeveralHosts:
    """Where more than one run of the queue may work at a time, and calls are scarce."""

    SPACING_MS = 9_000  # 0.75 of the 12 s that 5 calls a minute are apart

    def make(self, client: RedisClient, keys: Keys, clock: FakeClock, host: str, limit: int = 5) -> Window:
        call_limit = CallLimit(limit, 60_000)
        return Window(
            client,
            WindowSettings(keys, "abc", call_limit, CALL_SECONDS, queue_runs=4, host=host),
            clock_ms=clock,
        )

    def test_calls_of_the_queue_are_kept_apart_and_those_of_priority_are_not(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, "one")
        use(window, CallKind.QUEUE)
        answer = denied(window.ask(CallKind.QUEUE, "next"))
        assert (answer.retry_at_ms, answer.reason) == (clock.now_ms + self.SPACING_MS, "spaced")
        use(window, CallKind.PRIORITY)

    def test_calls_are_kept_apart_from_grant_to_grant_however_long_an_answer_takes(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, "one")
        grant = granted(window.ask(CallKind.QUEUE))
        granted_ms = clock.now_ms
        clock.advance(5)
        window.complete(grant)
        assert denied(window.ask(CallKind.QUEUE)).retry_at_ms == granted_ms + self.SPACING_MS

    def test_nobody_is_kept_apart_from_a_call_that_was_never_sent(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        """A queue that an old snapshot has brought back is full of work that is done."""
        window = self.make(redis_client, keys, clock, "one")
        for _ in range(20):
            window.cancel(granted(window.ask(CallKind.QUEUE)))

    def test_a_host_that_has_had_a_call_lets_one_without_go_before(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        one = self.make(redis_client, keys, clock, "one-")
        two = self.make(redis_client, keys, clock, "two-")
        one.complete(granted(one.ask(CallKind.QUEUE, new_id("one-"))))
        again, first = new_id("one-"), new_id("two-")
        denied(one.ask(CallKind.QUEUE, again))
        clock.advance(1)  # it comes later, and is served before
        clock.now_ms = denied(two.ask(CallKind.QUEUE, first)).retry_at_ms
        assert denied(one.ask(CallKind.QUEUE, again)).reason == "spaced"
        granted(two.ask(CallKind.QUEUE, first))

    def test_a_host_lets_others_go_before_for_a_spacing_for_each_of_its_calls(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        one = self.make(redis_client, keys, clock, "one-")
        two = self.make(redis_client, keys, clock, "two-")
        one.complete(granted(one.ask(CallKind.QUEUE, new_id("one-"))))
        again, late = new_id("one-"), new_id("two-")
        denied(one.ask(CallKind.QUEUE, again))
        granted_ms = clock.now_ms
        for after_ms, ahead in ((self.SPACING_MS - 1, 0), (self.SPACING_MS + 1, 1)):
            clock.now_ms = granted_ms + after_ms
            told = denied(two.ask(CallKind.QUEUE, late))
            assert (told.retry_at_ms, told.reason) == (granted_ms + self.SPACING_MS * (1 + ahead), "spaced")
            two.abandon_wait(late)
        granted(one.ask(CallKind.QUEUE, again))

    @pytest.mark.parametrize(("queue_runs", "limit"), [(1, 5), (4, 100)])
    def test_nothing_is_kept_apart_for_a_single_run_or_where_there_are_calls_for_all(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock, queue_runs: int, limit: int
    ) -> None:
        call_limit = CallLimit(limit, 60_000)
        window = Window(
            redis_client,
            WindowSettings(keys, "abc", call_limit, CALL_SECONDS, queue_runs=queue_runs),
            clock_ms=clock,
        )
        for _ in range(5):
            use(window, CallKind.QUEUE)


class Calls:
    """What the database knows: whether a call was ever made."""

    def __init__(self, ever: bool) -> None:
        self.ever = ever
        self.asked = 0

    def first_call(self, trust: Callable[[], object]) -> bool:
        self.asked += 1
        if self.ever:
            return False
        trust()
        self.ever = True
        return True


class TestALostLog:
    """A log that another server wrote is not trusted before all calls it may lack have left the window."""

    SILENCE_MS = 60_000 + 13_000

    def make(
        self, client: RedisClient, keys: Keys, clock: FakeClock, calls: Calls, name: str = "", view: float = 0
    ) -> Window:
        return Window(
            client,
            WindowSettings(
                keys, "abc", CallLimit(5, 60_000), CALL_SECONDS, server_name=name, view_seconds=view
            ),
            first_call=calls.first_call,
            clock_ms=clock,
        )

    def test_an_installation_whose_database_never_saw_a_call_waits_for_nothing(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        calls = Calls(ever=False)
        granted(self.make(redis_client, keys, clock, calls).ask(CallKind.PRIORITY))
        assert calls.ever

    def test_calls_of_any_age_make_the_first_wait_for_a_window_and_the_longest_call(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, Calls(ever=True))
        answer = denied(window.ask(CallKind.PRIORITY, "first"))
        assert (answer.retry_at_ms, answer.reason) == (clock.now_ms + self.SILENCE_MS, "lost")
        clock.now_ms = answer.retry_at_ms - 1
        denied(window.ask(CallKind.PRIORITY, "first"))
        clock.now_ms = answer.retry_at_ms
        granted(window.ask(CallKind.PRIORITY, "first"))

    def test_the_silence_is_longer_by_the_age_of_what_a_client_knows_of_the_servers(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, Calls(ever=True), view=1.0)
        answer = denied(window.ask(CallKind.PRIORITY))
        assert answer.retry_at_ms == clock.now_ms + self.SILENCE_MS + 1000

    def test_an_emptied_server_is_silent_although_it_is_the_same(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, Calls(ever=False))
        use(window)
        redis_client.delete(*window.keys)
        assert denied(window.ask(CallKind.PRIORITY)).reason == "lost"

    def test_entries_that_an_old_snapshot_brings_back_are_not_taken_for_the_whole_log(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, Calls(ever=False), "before")
        use(window)
        use(window)
        restarted = self.make(redis_client, keys, clock, Calls(ever=True), "after")
        assert denied(restarted.ask(CallKind.PRIORITY)).reason == "lost"

    def test_the_server_that_wrote_the_log_is_trusted_without_asking_the_database(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        use(self.make(redis_client, keys, clock, Calls(ever=False)))
        calls = Calls(ever=True)
        granted(self.make(redis_client, keys, clock, calls).ask(CallKind.PRIORITY))
        assert calls.asked == 0

    def test_a_server_that_keeps_its_log_over_a_restart_is_known_by_the_name_it_is_given(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        use(self.make(redis_client, keys, clock, Calls(ever=False), "embedded"))
        granted(self.make(redis_client, keys, clock, Calls(ever=True), "embedded").ask(CallKind.PRIORITY))

    def test_shows_no_free_call_before_anybody_has_asked(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        use(self.make(redis_client, keys, clock, Calls(ever=False), "before"))
        state = self.make(redis_client, keys, clock, Calls(ever=True), "after").state()
        assert (state.remaining, state.next_slot_ms) == (0, clock.now_ms + self.SILENCE_MS)

    def test_says_why_nobody_calls_and_counts_no_calls_that_were_not_made(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        use(self.make(redis_client, keys, clock, Calls(ever=False), "before"))
        window = self.make(redis_client, keys, clock, Calls(ever=True), "after")
        state = window.state()
        assert (state.used, state.pause, state.pause_begun) == (1, "lost", False)
        assert state.next_slot_for(clock.now_ms + 50_000) == clock.now_ms + 50_000 + self.SILENCE_MS
        denied(window.ask(CallKind.QUEUE))
        state = window.state()
        assert (state.used, state.pause, state.pause_begun) == (1, "lost", True)
        assert state.next_slot_for(clock.now_ms + 50_000) == clock.now_ms + self.SILENCE_MS

    def test_the_loss_is_made_good_once_for_all_processes(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        one = self.make(redis_client, keys, clock, Calls(ever=True))
        other = self.make(redis_client, keys, clock, Calls(ever=True))
        first = denied(one.ask(CallKind.PRIORITY, "one"))
        clock.advance(10)
        other.recover()  # it had seen the loss at the same time, but comes late
        assert denied(other.ask(CallKind.PRIORITY, "other")).retry_at_ms == first.retry_at_ms

    def test_a_log_of_another_installation_makes_a_new_one_wait_too(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        """They share the key and its window; the new one's database knows nothing of the other's calls."""
        use(self.make(redis_client, keys, clock, Calls(ever=False), "before"))
        new = self.make(redis_client, keys, clock, Calls(ever=False), "after")
        assert denied(new.ask(CallKind.PRIORITY)).reason == "lost"

    def test_a_longer_block_by_the_provider_is_not_cut_short(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = self.make(redis_client, keys, clock, Calls(ever=False))
        use(window)
        until_ms = window.block(600)
        redis_client.delete(window.keys[5])
        window.recover()
        assert denied(window.ask(CallKind.PRIORITY)).retry_at_ms == until_ms


class TestTooManyCalls:
    def test_fill_the_window_for_everybody_until_the_retry_after(
        self, window: Window, clock: FakeClock
    ) -> None:
        until_ms = window.block(7.5)
        answer = denied(window.ask(CallKind.PRIORITY))
        assert (answer.retry_at_ms, answer.reason) == (until_ms, "blocked")
        assert until_ms == clock.now_ms + 7500
        clock.now_ms = until_ms
        granted(window.ask(CallKind.QUEUE))

    def test_fill_it_for_a_whole_window_where_the_provider_names_no_time(
        self, window: Window, clock: FakeClock
    ) -> None:
        assert window.block(None) == clock.now_ms + 60_000

    def test_an_absurd_retry_after_is_capped_at_an_hour(self, window: Window, clock: FakeClock) -> None:
        assert window.block(10**9) == clock.now_ms + 3_600_000

    def test_a_shorter_block_does_not_end_a_longer_one(self, window: Window) -> None:
        until_ms = window.block(100)
        assert window.block(1) == until_ms


class TestTheServersClock:
    def test_counts_unless_a_test_sets_one(self, redis_client: RedisClient, keys: Keys) -> None:
        window = window_of(redis_client, keys)
        seconds, _ = redis_client.time()
        assert abs(window.state().now_ms / 1000 - seconds) < 2

    def test_that_steps_back_a_little_grants_nothing_early(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window(limit=1)
        use(window)
        completed_ms = clock.now_ms + 1
        clock.advance(-10)
        clock.now_ms = denied(window.ask(CallKind.PRIORITY, "next")).retry_at_ms
        answer = denied(window.ask(CallKind.PRIORITY, "next"))
        assert answer.retry_at_ms == completed_ms + 60_000
        clock.now_ms = answer.retry_at_ms
        granted(window.ask(CallKind.PRIORITY, "next"))

    def test_that_steps_back_an_hour_stops_calls_for_no_longer_than_a_window_and_the_longest_call(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window()
        for _ in range(4):
            use(window)
        granted(window.ask(CallKind.PRIORITY))  # and this one is under way
        clock.advance(-3600)
        stepped_ms = clock.now_ms
        while isinstance(answer := window.ask(CallKind.PRIORITY, "next"), Denied):
            clock.now_ms = answer.retry_at_ms
        assert clock.now_ms <= stepped_ms + 60_000 + window.max_in_flight_ms

    def test_that_steps_back_an_hour_shows_the_next_slot_within_a_window_and_the_longest_call(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window()
        for _ in range(5):
            use(window)
        clock.advance(-3600)
        state = window.state()
        assert state.next_slot_ms <= clock.now_ms + 60_000 + window.max_in_flight_ms

    def test_that_steps_back_an_hour_does_not_lengthen_a_block(
        self, make_window: MakeWindow, clock: FakeClock
    ) -> None:
        window = make_window()
        window.block(None)
        clock.advance(-3600)
        stepped_ms = clock.now_ms
        for second in range(59):
            clock.now_ms = stepped_ms + second * 1000
            answer = denied(window.ask(CallKind.PRIORITY, "next"))
            assert (answer.retry_at_ms, answer.reason) == (stepped_ms + 60_000, "blocked")
        clock.now_ms = stepped_ms + 60_000
        granted(window.ask(CallKind.PRIORITY, "next"))

    @pytest.mark.parametrize("blocked", [False, True])
    def test_that_steps_back_an_hour_does_not_lengthen_the_turns_of_those_who_died_waiting(
        self, make_window: MakeWindow, clock: FakeClock, blocked: bool
    ) -> None:
        window = make_window()
        if blocked:
            window.block(None)
        else:
            for _ in range(5):
                use(window)
        for number in range(5):  # processes of other hosts
            denied(window.ask(CallKind.PRIORITY, f"dead {number}"))
        clock.advance(-3600)
        stepped_ms = clock.now_ms
        while isinstance(answer := window.ask(CallKind.QUEUE, "next"), Denied):
            clock.now_ms = answer.retry_at_ms
        assert clock.now_ms <= stepped_ms + 4 * 60_000 + window.max_in_flight_ms

    def test_that_steps_back_an_hour_does_not_hold_up_the_spaced_calls_of_several_hosts(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        window = Window(
            redis_client,
            WindowSettings(keys, "abc", CallLimit(5, 60_000), CALL_SECONDS, queue_runs=4),
            clock_ms=clock,
        )
        use(window, CallKind.QUEUE)
        clock.advance(-3600)
        stepped_ms = clock.now_ms
        while isinstance(answer := window.ask(CallKind.QUEUE, "next"), Denied):
            assert clock.now_ms <= stepped_ms + 60_000
            clock.now_ms = answer.retry_at_ms
        assert clock.now_ms <= stepped_ms + 60_000


class TestTheState:
    def test_says_what_is_left_and_when_the_next_slot_is_free(self, window: Window, clock: FakeClock) -> None:
        use(window)
        clock.advance(5)
        state = window.state()
        assert (state.used, state.remaining, state.next_slot_ms) == (1, 4, clock.now_ms)
        for _ in range(4):
            use(window)
        state = window.state()
        assert (state.remaining, state.next_slot_ms - clock.now_ms) == (0, 60_000 + 1 - 5000)

    def test_changes_nothing(self, window: Window, redis_client: RedisClient) -> None:
        use(window)
        before = redis_client.zrange(window.keys[0], 0, -1, withscores=True)
        window.state()
        assert redis_client.zrange(window.keys[0], 0, -1, withscores=True) == before


def test_nothing_of_the_log_may_be_evicted_as_something_that_expires(
    window: Window, redis_client: RedisClient
) -> None:
    """With maxmemory-policy volatile-* the log would be gone, and its owner still be trusted."""
    use(window)
    window.block(60)
    calls, blocked, *_, log_owner, _ = window.keys
    assert [redis_client.pttl(key) for key in (calls, blocked, log_owner)] == [-1, -1, -1]


def test_a_call_ends_before_its_request_could_arrive_later_than_its_entry_says(
    make_window: MakeWindow, redis_client: RedisClient, keys: Keys, clock: FakeClock
) -> None:
    window = make_window()
    grant = granted(window.ask(CallKind.PRIORITY))
    latest_ms = redis_client.zscore(window.keys[0], grant.call_id)
    assert (window.call_ends_at(grant) - grant.taken_at + ARRIVAL_SECONDS) * 1000 == latest_ms - clock.now_ms


def test_scripts_survive_a_script_flush(window: Window, redis_client: RedisClient) -> None:
    use(window)
    redis_client.script_flush()
    use(window)
    assert window.state().used == 2


def test_without_redis_nobody_is_called(keys: Keys, tmp_path: object) -> None:
    client = connect(Secret(f"unix://{tmp_path}/nobody.sock"))
    with pytest.raises(RedisError, match="redis cannot be reached"):
        window_of(client, keys).ask(CallKind.PRIORITY)


def test_many_threads_at_once_get_no_more_than_the_limit(
    redis_url: str, keys: Keys, clock: FakeClock
) -> None:
    answers: list[Grant | Denied] = []

    def ask() -> None:
        client = connect(Secret(redis_url))
        answers.extend(window_of(client, keys, clock).ask(CallKind.PRIORITY) for _ in range(5))
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Grant) for answer in answers) == 5
