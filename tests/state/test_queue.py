"""The pending queue on a real server, with a clock that the test sets."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Empty, Failure, Fault, Lane
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.queue import Lease, Queue, RetryPolicy
from assetbatch.state.window import Window, WindowSettings

from .conftest import FakeClock

CRITICAL, HIGH, MEDIUM, LOW, BARS, HISTORY = Lane
LEASE_SECONDS = 60.0


def make_queue(client: RedisClient, keys: Keys, clock: FakeClock, max_size: int = 1000) -> Queue:
    return Queue(
        client, keys, max_size=max_size, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
    )


@pytest.fixture
def queue(redis_client: RedisClient, keys: Keys, clock: FakeClock) -> Queue:
    return make_queue(redis_client, keys, clock)


@pytest.fixture
def window(redis_client: RedisClient, keys: Keys, clock: FakeClock) -> Window:
    return Window(redis_client, WindowSettings(keys, "abc", CallLimit(5, 60_000), 10.0), clock_ms=clock)


def take(queue: Queue, count: int = 1) -> Lease:
    answer = queue.take(count, LEASE_SECONDS)
    assert isinstance(answer, Lease), answer
    return answer


def call(queue: Queue, count: int = 1) -> Lease:
    """Takes, and lets a call go out for what was taken."""
    lease = take(queue, count)
    assert queue.start(lease.token, [item.id for item in lease.items], LEASE_SECONDS) == ()
    return lease


def take_ids(queue: Queue, count: int) -> list[str]:
    return [item.id for item in take(queue, count).items]


class TestOrder:
    @pytest.mark.parametrize("order", list(itertools.permutations([CRITICAL, MEDIUM, LOW])))
    def test_priorities_come_out_critical_medium_low_whatever_the_order_they_went_in(
        self, queue: Queue, order: tuple[Lane, ...]
    ) -> None:
        for priority in order:
            queue.enqueue([(f"{priority}-item", priority)])
        assert [take_ids(queue, 1)[0] for _ in order] == ["CRITICAL-item", "MEDIUM-item", "LOW-item"]

    def test_first_in_first_out_inside_a_class(self, queue: Queue, clock: FakeClock) -> None:
        names = [f"S{number}" for number in range(30)]
        random.Random(7).shuffle(names)  # neither alphabetical nor numerical
        for name in names:
            queue.enqueue([(name, MEDIUM)])
            clock.now_ms += 1
        assert take_ids(queue, 30) == names

    def test_first_in_first_out_within_one_batch_of_one_millisecond(self, queue: Queue) -> None:
        names = [f"S{number}" for number in range(1000)]
        random.Random(7).shuffle(names)
        queue.enqueue([(name, LOW) for name in names[:500]])
        queue.enqueue([(name, LOW) for name in names[500:]])
        assert [name for _ in range(4) for name in take_ids(queue, 250)] == names

    def test_waiting_work_rises_so_that_low_is_served_before_high_that_came_hours_later(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("old-low", LOW)])
        clock.advance(4 * 3600 - 1)
        queue.enqueue([("high-in-time", HIGH)])
        clock.advance(2)
        queue.enqueue([("high-too-late", HIGH)])
        assert take_ids(queue, 3) == ["high-in-time", "old-low", "high-too-late"]

    def test_critical_is_first_however_long_others_have_waited(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("old-low", LOW), ("old-high", HIGH)])
        clock.advance(10 * 365 * 86400)
        queue.enqueue([("critical", CRITICAL)])
        assert take_ids(queue, 1) == ["critical"]

    def test_a_clock_that_steps_back_does_not_let_later_work_overtake(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("first", MEDIUM)])
        clock.advance(-3600)
        queue.enqueue([("second", MEDIUM)])
        assert take_ids(queue, 2) == ["first", "second"]


class TestWhetherItIsWhole:
    """A server on which it was never derived from the database may lack work."""

    def make(self, client: RedisClient, keys: Keys, server_name: str) -> Queue:
        return Queue(
            client,
            keys,
            max_size=10,
            retry_max_attempts=3,
            retry_delay_seconds=60,
            server_name=server_name,
        )

    def test_it_is_where_it_was_derived(self, queue: Queue) -> None:
        assert not queue.state().is_whole
        with queue.derived():
            assert not queue.state().is_whole
        assert queue.state().is_whole

    def test_it_is_not_on_another_server(self, redis_client: RedisClient, keys: Keys) -> None:
        with self.make(redis_client, keys, "before").derived():
            pass
        assert not self.make(redis_client, keys, "after").state().is_whole

    def test_it_is_not_where_the_server_was_emptied_meanwhile(
        self, queue: Queue, redis_client: RedisClient
    ) -> None:
        with queue.derived():
            queue.enqueue([("A", HIGH)])
            redis_client.flushall()
            queue.enqueue([("B", HIGH)])
        assert not queue.state().is_whole

    def test_it_is_not_where_another_server_has_taken_over_meanwhile(
        self, redis_client: RedisClient, keys: Keys
    ) -> None:
        before, after = (self.make(redis_client, keys, name) for name in ("before", "after"))
        with before.derived():
            before._server_name = "after"  # as the scripts see it after a restart
        assert not after.state().is_whole

    def test_it_is_not_where_that_has_failed(self, queue: Queue) -> None:
        with pytest.raises(ValueError, match="half"), queue.derived():
            raise ValueError("half")
        assert not queue.state().is_whole

    def test_it_stays_so_while_it_is_derived_again(self, queue: Queue) -> None:
        with queue.derived():
            pass
        with queue.derived():
            assert queue.state().is_whole

    def test_nothing_is_left_of_the_mark(self, queue: Queue, redis_client: RedisClient, keys: Keys) -> None:
        with queue.derived():
            pass
        assert redis_client.keys(f"{keys.prefix}:*") == [keys.queue_owner]


class TestBarsAndThePast:
    def test_come_after_all_prices(self, queue: Queue) -> None:
        queue.enqueue([("past", HISTORY), ("bars", BARS), ("low", LOW), ("high", HIGH)])
        assert take_ids(queue, 4) == ["high", "low", "bars", "past"]

    @pytest.mark.parametrize(("lane", "hours"), [(BARS, 12), (HISTORY, 24)])
    def test_rise_to_prices_of_the_same_hour_after_half_a_day_and_a_day(
        self, queue: Queue, clock: FakeClock, lane: Lane, hours: int
    ) -> None:
        queue.enqueue([("old", lane)])
        clock.advance(hours * 3600 - 1)
        queue.enqueue([("in-time", HIGH)])
        clock.advance(2)
        queue.enqueue([("too-late", HIGH)])
        assert take_ids(queue, 3) == ["in-time", "old", "too-late"]

    def test_count_as_low_by_priority(self, queue: Queue) -> None:
        queue.enqueue([("past", HISTORY), ("bars", BARS), ("low", LOW)])
        assert queue.state().by_priority == {
            AssetPriority.CRITICAL: 0,
            AssetPriority.HIGH: 0,
            AssetPriority.MEDIUM: 0,
            AssetPriority.LOW: 3,
        }

    def test_are_dropped_first_when_the_queue_is_full(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = Queue(
            redis_client, keys, max_size=2, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
        )
        queue.enqueue([("past", HISTORY), ("bars", BARS)])
        assert queue.enqueue([("low", LOW)]).dropped == ("past",)


class TestDeadLetters:
    @pytest.fixture
    def letters(self, queue: Queue) -> Queue:
        """A HIGH price and a page of the past that have failed for good."""
        queue.enqueue([("A", HIGH), ("B", HISTORY)])
        lease = queue.take(2, LEASE_SECONDS)
        assert isinstance(lease, Lease)
        queue.fail(lease.token, [Failure("A", "no", final=True), Failure("B", "never", final=True)])
        return queue

    def test_go_back_to_the_end_of_their_line_with_all_their_attempts(
        self, letters: Queue, clock: FakeClock
    ) -> None:
        letters.enqueue([("other", HIGH)])
        clock.advance(1)
        assert letters.retry_dead(["A"]).retried == ("A",)
        assert [letter.id for letter in letters.dead_letters()] == ["B"]
        assert take_ids(letters, 1) == ["other"]
        (item,) = take(letters).items
        assert (item.id, item.lane, item.attempts) == ("A", HIGH, 0)

    def test_of_what_is_queued_again_are_only_removed(self, letters: Queue) -> None:
        letters.enqueue([("A", LOW)])
        retried = letters.retry_dead(["A"])
        assert (retried.retried, retried.queued) == ((), ("A",))
        assert letters.state().size == 1
        assert [letter.id for letter in letters.dead_letters()] == ["B"]

    def test_stay_where_the_queue_has_no_room(
        self, letters: Queue, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        full = Queue(
            redis_client, keys, max_size=1, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
        )
        retried = full.retry_dead(["A", "B"])
        assert (retried.retried, retried.without_room) == (("A",), ("B",))
        assert [letter.id for letter in full.dead_letters()] == ["B"]

    def test_asked_for_twice_as_after_a_lost_reply_do_no_harm(self, letters: Queue) -> None:
        assert letters.retry_dead(["A"]).retried == ("A",)
        assert letters.retry_dead(["A"]).unknown == ("A",)
        assert letters.state().size == 1

    def test_retried_while_others_enqueue_the_same_work_are_in_line_once(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = make_queue(redis_client, keys, clock)
        ids = [f"S{number:03}" for number in range(200)]
        queue.enqueue([(item_id, HISTORY) for item_id in ids])
        queue.fail(take(queue, 200).token, [Failure(item_id, "no", final=True) for item_id in ids])
        both_are_ready = threading.Barrier(2)

        def in_turn(act: Callable[[str], object], some: list[str]) -> None:
            both_are_ready.wait(10)
            for item_id in some:
                act(item_id)

        with ThreadPoolExecutor(2) as threads:
            retrying = threads.submit(in_turn, lambda item_id: queue.retry_dead([item_id]), ids)
            threads.submit(in_turn, lambda item_id: queue.enqueue([(item_id, LOW)]), ids[::-1]).result()
            retrying.result()
        state = queue.state()
        assert (state.size, state.dead, state.by_lane[LOW], state.by_lane[HISTORY]) == (200, 0, 200, 0)

    def test_are_thrown_away(self, letters: Queue) -> None:
        assert letters.drop_dead(["B", "nobody"]) == ("B",)
        assert [letter.id for letter in letters.dead_letters()] == ["A"]

    def test_by_the_hundreds_are_moved_in_several_scripts(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = Queue(
            redis_client, keys, max_size=999, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
        )
        ids = [f"S{number:03}" for number in range(600)]
        queue.enqueue([(item_id, HISTORY) for item_id in ids])
        lease = queue.take(600, LEASE_SECONDS)
        assert isinstance(lease, Lease)
        queue.fail(lease.token, [Failure(item_id, "no", final=True) for item_id in ids])
        assert len(queue.retry_dead(ids[:300]).retried) == 300
        assert len(queue.drop_dead(ids)) == 300


class TestEachIdOnce:
    def test_the_same_symbol_enqueued_twice_is_refused_and_the_size_stays_1(self, queue: Queue) -> None:
        assert queue.enqueue([("ETHUSD", MEDIUM)]).added == ("ETHUSD",)
        assert queue.enqueue([("ETHUSD", MEDIUM)]).duplicates == ("ETHUSD",)
        assert queue.state().size == 1

    def test_also_within_one_batch(self, queue: Queue) -> None:
        enqueued = queue.enqueue([("ETHUSD", MEDIUM), ("ETHUSD", MEDIUM)])
        assert (enqueued.added, enqueued.duplicates) == (("ETHUSD",), ("ETHUSD",))

    def test_also_while_it_is_being_worked(self, queue: Queue) -> None:
        queue.enqueue([("ETHUSD", MEDIUM)])
        take(queue)
        assert queue.enqueue([("ETHUSD", CRITICAL)]).duplicates == ("ETHUSD",)

    def test_also_while_it_waits_for_its_retry(self, queue: Queue) -> None:
        queue.enqueue([("ETHUSD", MEDIUM)])
        queue.fail(take(queue).token, [Failure("ETHUSD", "503")])
        assert queue.enqueue([("ETHUSD", MEDIUM)]).duplicates == ("ETHUSD",)
        assert queue.state().size == 1

    def test_a_higher_class_raises_what_waits_and_keeps_its_place_there(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("old", LOW)])
        clock.advance(1)
        queue.enqueue([("young", HIGH)])
        assert queue.enqueue([("old", HIGH)]).raised == ("old",)
        assert take_ids(queue, 2) == ["old", "young"]

    def test_a_lower_class_lowers_nothing(self, queue: Queue) -> None:
        queue.enqueue([("ETHUSD", HIGH)])
        assert queue.enqueue([("ETHUSD", LOW)]).duplicates == ("ETHUSD",)
        assert queue.state().by_lane[HIGH] == 1


class TestMaxSize:
    def test_is_held_and_what_was_dropped_is_named(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = make_queue(redis_client, keys, clock, max_size=2)
        enqueued = queue.enqueue([("A", MEDIUM), ("B", MEDIUM), ("C", MEDIUM)])
        assert (enqueued.added, enqueued.dropped) == (("A", "B"), ("C",))
        assert queue.state().size == 2

    def test_more_urgent_work_takes_the_place_of_the_last_in_line(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = make_queue(redis_client, keys, clock, max_size=2)
        queue.enqueue([("A", LOW), ("B", LOW)])
        enqueued = queue.enqueue([("C", HIGH)])
        assert (enqueued.added, enqueued.dropped) == (("C",), ("B",))
        assert take_ids(queue, 5) == ["C", "A"]

    def test_what_is_being_worked_is_never_dropped(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = make_queue(redis_client, keys, clock, max_size=1)
        queue.enqueue([("A", LOW)])
        token = take(queue).token
        assert queue.enqueue([("B", CRITICAL)]).dropped == ("B",)
        assert queue.finish(token, ["A"]) == ()


class TestLeases:
    def test_leased_work_is_given_to_nobody_else(self, queue: Queue) -> None:
        queue.enqueue([("A", MEDIUM)])
        take(queue)
        assert queue.take(1, LEASE_SECONDS) == Empty(None)

    def test_an_item_whose_worker_died_in_its_call_comes_back_with_its_attempt_counted(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM)])
        assert call(queue).items[0].attempts == 0
        clock.advance(LEASE_SECONDS)
        assert isinstance(queue.take(1, LEASE_SECONDS), Empty)  # backs off first
        clock.advance(60)
        assert take(queue).items[0].attempts == 1

    def test_an_item_whose_worker_died_before_its_call_comes_back_at_once_to_its_place_uncounted(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM), ("B", MEDIUM), ("C", MEDIUM)])
        lease = take(queue, 2)
        queue.start(lease.token, ["B"], LEASE_SECONDS)
        clock.advance(LEASE_SECONDS)
        again = take(queue, 3)
        assert [(item.id, item.attempts) for item in again.items] == [("A", 0), ("C", 0)]

    def test_a_worker_that_dies_before_its_calls_three_times_makes_no_dead_letter(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        names = [f"S{number:03}" for number in range(250)]
        queue.enqueue([(name, MEDIUM) for name in names])
        for _ in range(4):
            take(queue, 250)
            clock.advance(LEASE_SECONDS)
        for _ in range(3):  # so many expired leases are looked at by one script
            lease = queue.take(250, LEASE_SECONDS)
        assert queue.state().dead == 0
        assert isinstance(lease, Lease)

    def test_an_attempt_is_counted_once_in_a_lease_however_many_calls_go_out(self, queue: Queue) -> None:
        queue.enqueue([("A", MEDIUM)])
        lease = call(queue)
        queue.start(lease.token, ["A"], LEASE_SECONDS)  # its next page
        queue.fail(lease.token, [Failure("A", "503", final=True)])
        assert queue.dead_letters()[0].attempts == 1

    def test_a_call_renews_the_lease_of_its_items(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("A", MEDIUM), ("B", MEDIUM)])
        lease = take(queue, 2)
        clock.advance(LEASE_SECONDS - 1)
        queue.start(lease.token, ["A"], LEASE_SECONDS)
        clock.advance(1)
        assert take_ids(queue, 2) == ["B"]

    def test_a_call_for_items_that_are_not_all_held_any_more_counts_none(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM), ("B", MEDIUM)])
        slow = take(queue, 2)
        clock.advance(LEASE_SECONDS)
        other = take(queue)
        assert queue.start(slow.token, ["A", "B"], LEASE_SECONDS) == ("A", "B")
        queue.fail(other.token, [Failure("A", "no", final=True)])
        assert queue.dead_letters()[0].attempts == 0

    def test_only_the_holder_can_finish(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("A", MEDIUM)])
        slow = take(queue)
        clock.advance(LEASE_SECONDS)
        holder = take(queue)
        assert queue.finish(slow.token, ["A"]) == ("A",)
        assert queue.state().leased == 1
        assert queue.finish(holder.token, ["A"]) == ()
        assert queue.state().size == 0

    def test_only_the_holder_can_fail(self, queue: Queue) -> None:
        queue.enqueue([("A", MEDIUM)])
        take(queue)
        assert queue.fail("somebody-else", [Failure("A", "no")]) == ("lost",)
        assert queue.state().leased == 1

    def test_work_handed_back_keeps_its_place_and_its_attempts(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("A", MEDIUM), ("B", MEDIUM)])
        assert queue.release(take(queue).token, ["A"]) == 1
        lease = take(queue, 2)
        assert [(item.id, item.attempts) for item in lease.items] == [("A", 0), ("B", 0)]

    def test_work_handed_back_after_its_call_went_out_is_uncounted(self, queue: Queue) -> None:
        queue.enqueue([("A", MEDIUM)])
        assert queue.release(call(queue).token, ["A"]) == 1
        assert take(queue).items[0].attempts == 0

    def test_only_so_many_are_taken_of_the_lines_whose_items_take_a_call_each(self, queue: Queue) -> None:
        queue.enqueue([(f"bars{number}", BARS) for number in range(9)])
        queue.enqueue([("past", HISTORY), ("price", MEDIUM), ("other", LOW)])
        answer = queue.take(250, LEASE_SECONDS, alone=2)
        assert isinstance(answer, Lease)
        assert [item.id for item in answer.items] == ["price", "other", "bars0", "bars1"]

    def test_a_take_asked_again_after_a_lost_reply_is_the_same_take(self, queue: Queue) -> None:
        queue.enqueue([(f"S{number}", MEDIUM) for number in range(10)])
        first = queue.take(5, LEASE_SECONDS, token="t1")
        assert queue.take(5, LEASE_SECONDS, token="t1") == first
        assert queue.state().leased == 5


class TestAClockThatIsSetBack:
    """By an hour: nothing may be held up for the hour, and nothing be taken from who works it."""

    def test_leaves_a_lease_no_more_than_its_own_life(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("EURUSD", MEDIUM)])
        take(queue)
        clock.advance(-3600)
        assert isinstance(queue.take(1, LEASE_SECONDS), Empty)
        clock.advance(LEASE_SECONDS)
        assert take_ids(queue, 1) == ["EURUSD"]

    def test_does_not_cut_a_longer_lease_to_that_of_who_asks(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("EURUSD", MEDIUM)])
        queue.take(1, 3600)
        clock.advance(-10)
        queue.take(1, LEASE_SECONDS)
        clock.advance(LEASE_SECONDS + 10)
        assert isinstance(queue.take(1, LEASE_SECONDS), Empty)

    def test_leaves_a_retry_no_more_than_the_delay(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("EURUSD", MEDIUM)])
        lease = call(queue)
        queue.fail(lease.token, [Failure("EURUSD", "503")])
        clock.advance(-3600)
        assert isinstance(queue.take(1, LEASE_SECONDS), Empty)
        clock.advance(60)
        assert take_ids(queue, 1) == ["EURUSD"]


class TestRetries:
    def test_a_failure_comes_back_after_the_delay(self, queue: Queue, clock: FakeClock) -> None:
        queue.enqueue([("A", MEDIUM)])
        assert queue.fail(take(queue).token, [Failure("A", "503")]) == ("retry",)
        assert queue.take(1, LEASE_SECONDS) == Empty(clock.now_ms + 60_000)
        clock.advance(60)
        assert take(queue).items[0].id == "A"

    def test_the_attempts_are_counted_across_runs_and_never_start_again_at_zero(
        self, queue: Queue, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM)])
        seen = []
        for _ in range(3):
            run = make_queue(redis_client, keys, clock)  # each cron start is a new process
            lease = call(run)
            seen.append(lease.items[0].attempts)
            run.fail(lease.token, [Failure("A", "503")])
            clock.advance(60)
        assert seen == [0, 1, 2]

    def test_after_the_last_attempt_it_is_a_dead_letter_with_its_last_error(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", LOW)])
        words: list[str] = []
        for attempt in range(3):
            words += queue.fail(call(queue).token, [Failure("A", f"error {attempt}: with a colon")])
            clock.advance(60)
        assert words == ["retry", "retry", "dead"]
        (letter,) = queue.dead_letters()
        assert (letter.id, letter.lane, letter.attempts, letter.error) == (
            "A",
            LOW,
            3,
            "error 2: with a colon",
        )
        assert queue.state().size == 0

    def test_what_no_other_try_can_help_is_dead_at_once(self, queue: Queue) -> None:
        queue.enqueue([("A", LOW)])
        assert queue.fail(take(queue).token, [Failure("A", "unknown ticker", final=True)]) == ("dead",)

    def test_a_failure_that_is_no_fault_of_the_item_comes_back_after_the_delay_for_ever(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM)])
        for _ in range(5):
            lease = call(queue)
            assert queue.fail(lease.token, [Failure("A", "503", fault=Fault.NOBODY)]) == ("retry",)
            assert queue.take(1, LEASE_SECONDS) == Empty(clock.now_ms + 60_000)
            clock.advance(60)
        assert take(queue).items[0].attempts == 0

    def test_a_failure_of_the_provider_counts_once_the_provider_has_answered_since_the_last_one(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM)])
        answered_ms = clock.now_ms - 1
        attempts = []
        for answers in (False, False, True, False, True):
            clock.advance(60)
            answered_ms = clock.now_ms - 1 if answers else answered_ms
            lease = call(queue)
            attempts.append(lease.items[0].attempts)
            queue.fail(lease.token, [Failure("A", "503", fault=Fault.PROVIDER)], answered_ms)
        clock.advance(60)
        assert [*attempts, take(queue).items[0].attempts] == [0, 0, 0, 1, 1, 2]

    def test_a_failure_of_the_provider_does_not_count_for_an_answer_of_an_hour_to_come(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        """The server's clock was set back, and now the provider is down."""
        queue.enqueue([("A", MEDIUM)])
        answered_ms = clock.now_ms
        clock.advance(-3600)
        for _ in range(3):
            lease = call(queue)
            assert lease.items[0].attempts == 0
            queue.fail(lease.token, [Failure("A", "503", fault=Fault.PROVIDER)], answered_ms)
            clock.advance(60)

    def test_a_failure_of_the_provider_in_a_run_that_was_answered_counts_at_once(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", MEDIUM)])
        lease = call(queue)
        queue.fail(lease.token, [Failure("A", "503", fault=Fault.PROVIDER)], clock.now_ms + 1)
        clock.advance(60)
        assert take(queue).items[0].attempts == 1

    def test_a_worker_that_dies_with_it_each_time_ends_it_as_a_dead_letter(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("poison", MEDIUM)])
        for _ in range(3):
            call(queue)
            clock.advance(LEASE_SECONDS)
            queue.take(1, LEASE_SECONDS)  # the next run finds the expired lease
            clock.advance(60)
        assert [letter.id for letter in queue.dead_letters()] == ["poison"]

    def test_a_later_success_takes_the_dead_letter_away(self, queue: Queue) -> None:
        queue.enqueue([("A", LOW)])
        queue.fail(take(queue).token, [Failure("A", "no", final=True)])
        queue.enqueue([("A", LOW)])
        queue.finish(take(queue).token, ["A"])
        assert queue.state().dead == 0

    def test_one_failure_in_a_batch_leaves_the_others_alone(self, queue: Queue) -> None:
        queue.enqueue([("A", MEDIUM), ("B", MEDIUM), ("C", MEDIUM)])
        lease = take(queue, 3)
        queue.fail(lease.token, [Failure("B", "503")])
        assert queue.finish(lease.token, ["A", "C"]) == ()
        state = queue.state()
        assert (state.size, state.delayed) == (1, 1)


class TestWithAWindow:
    def test_work_and_slot_come_in_one_decision(self, queue: Queue, window: Window) -> None:
        queue.enqueue([("A", MEDIUM)])
        lease = queue.take(1, LEASE_SECONDS, window)
        assert isinstance(lease, Lease)
        assert lease.grant is not None
        assert window.state().used == 1

    def test_an_empty_queue_costs_no_slot(self, queue: Queue, window: Window) -> None:
        assert isinstance(queue.take(1, LEASE_SECONDS, window), Empty)
        assert window.state().used == 0

    def test_without_a_slot_nothing_is_taken(self, queue: Queue, window: Window) -> None:
        for _ in range(5):
            window.ask(CallKind.PRIORITY)
        queue.enqueue([("A", MEDIUM)])
        assert isinstance(queue.take(1, LEASE_SECONDS, window), Denied)
        assert queue.state().leased == 0

    def test_the_slots_of_the_next_priority_cycle_are_left(
        self, queue: Queue, window: Window, clock: FakeClock
    ) -> None:
        queue.enqueue([(f"S{number}", MEDIUM) for number in range(9)])
        window.reserve(clock.now_ms + 10_000, 3, 300_000)
        answers = [queue.take(1, LEASE_SECONDS, window) for _ in range(3)]
        assert [isinstance(answer, Lease) for answer in answers] == [True, True, False]


class TestState:
    def test_counts_by_class_and_tells_the_age_of_what_has_truly_waited_longest(
        self, queue: Queue, clock: FakeClock
    ) -> None:
        queue.enqueue([("oldest", LOW)])
        oldest_ms = clock.now_ms
        clock.advance(100)
        queue.enqueue([("head of the line", CRITICAL), ("other", HIGH)])
        state = queue.state()
        assert state.oldest_ms == oldest_ms
        assert state.by_lane == {CRITICAL: 1, HIGH: 1, MEDIUM: 0, LOW: 1, BARS: 0, HISTORY: 0}

    def test_counts_each_line_with_what_is_delayed_and_leased(self, queue: Queue) -> None:
        queue.enqueue([("A", HIGH), ("B", HIGH), ("past", HISTORY), ("bars", BARS), ("low", LOW)])
        queue.fail(take(queue).token, [Failure("A", "503")])
        take(queue, 4)
        queue.enqueue([("late", HISTORY)])
        assert queue.by_lane() == {CRITICAL: 0, HIGH: 2, MEDIUM: 0, LOW: 1, BARS: 1, HISTORY: 2}

    def test_an_empty_queue_has_no_oldest(self, queue: Queue) -> None:
        assert queue.state().oldest_ms is None

    def test_peek_shows_ids_and_takes_nothing(self, queue: Queue) -> None:
        queue.enqueue([("A", LOW), ("B", HIGH)])
        assert queue.peek(5) == ["B", "A"]
        assert queue.state().leased == 0


def test_moments_of_enqueueing_keep_all_their_digits(
    queue: Queue, redis_client: RedisClient, keys: Keys
) -> None:
    """Lua prints numbers with 14 digits unless told otherwise; such a moment has 16."""
    queue.enqueue([(f"S{number}", MEDIUM) for number in range(3)])
    moments = [int(score) for _, score in redis_client.zrange(keys.queue_waiting[2], 0, -1, withscores=True)]
    assert moments == [1_800_000_000_000_000, 1_800_000_000_000_001, 1_800_000_000_000_002]


def test_the_last_dead_letters_are_kept_and_no_more(
    queue: Queue, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "retry", RetryPolicy(3, 60_000, 2))
    for name in "ABC":
        queue.enqueue([(name, LOW)])
        queue.fail(take(queue).token, [Failure(name, "no", final=True)])
        clock.advance(1)
    assert [letter.id for letter in queue.dead_letters()] == ["C", "B"]


def test_nobody_holds_what_is_not_leased(queue: Queue) -> None:
    queue.enqueue([("A", LOW)])
    assert queue.finish("", ["A"]) == ("A",)
    assert queue.fail("", [Failure("A", "no")]) == ("lost",)
    assert queue.release("", ["A"]) == 0
    assert queue.start("", ["A"], 60) == ("A",)
    assert take_ids(queue, 1) == ["A"]


def test_a_lowered_bound_is_reached_with_the_next_more_urgent_item(
    redis_client: RedisClient, keys: Keys, clock: FakeClock
) -> None:
    make_queue(redis_client, keys, clock, max_size=5).enqueue([(name, LOW) for name in "ABCDE"])
    enqueued = make_queue(redis_client, keys, clock, max_size=2).enqueue([("F", HIGH)])
    assert (enqueued.added, sorted(enqueued.dropped)) == (("F",), ["B", "C", "D", "E"])


class TestAKeyThatIsGoneOrSpoiled:
    """Evicted, deleted or overwritten: the rest of the queue goes on, nothing is worked twice."""

    def test_members_without_a_record_are_taken_out_and_others_served(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = make_queue(redis_client, keys, clock, max_size=2000)
        queue.enqueue([(f"S{number}", MEDIUM) for number in range(1200)])
        gone = [f"S{number}" for number in range(1100)]
        redis_client.hdel(keys.queue_items, *gone)
        assert take_ids(queue, 1) == ["S1100"]
        assert queue.state().by_lane[MEDIUM] == 99

    def test_a_queue_of_nothing_but_such_members_is_empty_and_costs_no_slot(
        self, queue: Queue, window: Window, redis_client: RedisClient, keys: Keys
    ) -> None:
        queue.enqueue([("A", MEDIUM), ("B", LOW)])
        redis_client.delete(keys.queue_items)
        assert queue.take(5, LEASE_SECONDS, window) == Empty(None)
        assert window.state().used == 0
        assert queue.enqueue([("A", MEDIUM)]).added == ("A",)

    @pytest.mark.parametrize("text", ["", "2", "9:0:1:", "x:y:z:", "2:0:1", "2:0:now:t"])
    def test_a_record_that_cannot_be_read_is_none_and_its_work_may_come_in_again(
        self, queue: Queue, redis_client: RedisClient, keys: Keys, clock: FakeClock, text: str
    ) -> None:
        queue.enqueue([(name, MEDIUM) for name in ("waits", "leased", "delayed", "fine")])
        queue.fail(take(queue, 1).token, [])
        clock.advance(LEASE_SECONDS)
        lease = take(queue, 3)
        queue.release(lease.token, ["waits"])
        queue.fail(lease.token, [Failure("delayed", "503")])
        for name in ("waits", "leased", "delayed"):
            redis_client.hset(keys.queue_items, name, text)
        assert queue.finish(lease.token, ["leased"]) == ("leased",)
        clock.advance(60)
        assert take_ids(queue, 5) == ["fine"]
        state = queue.state()
        assert (state.size, state.leased, state.delayed) == (1, 1, 0)
        assert queue.enqueue([("waits", LOW), ("leased", LOW)]).added == ("waits", "leased")

    def test_a_member_that_survives_its_record_does_not_let_the_work_be_taken_twice(
        self, queue: Queue, redis_client: RedisClient, keys: Keys
    ) -> None:
        queue.enqueue([("A", LOW)])
        redis_client.hdel(keys.queue_items, "A")
        queue.enqueue([("A", HIGH)])
        assert take_ids(queue, 5) == ["A"]
        assert queue.take(5, LEASE_SECONDS) == Empty(None)

    def test_an_expired_lease_of_work_that_came_in_again_costs_it_nothing(
        self, queue: Queue, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue.enqueue([("A", LOW)])
        call(queue)
        redis_client.hdel(keys.queue_items, "A")
        queue.enqueue([("A", HIGH)])
        clock.advance(LEASE_SECONDS)
        assert [(item.id, item.attempts) for item in take(queue).items] == [("A", 0)]

    @pytest.mark.parametrize("place", ["queue_waiting", "queue_leased", "queue_delayed"])
    def test_work_whose_place_is_lost_gets_in_line_when_it_is_enqueued_again(
        self, queue: Queue, redis_client: RedisClient, keys: Keys, place: str
    ) -> None:
        queue.enqueue([("A", MEDIUM)])
        if place != "queue_waiting":
            token = take(queue).token
            if place == "queue_delayed":
                queue.fail(token, [Failure("A", "503")])
        places = getattr(keys, place)
        redis_client.delete(*(places if isinstance(places, tuple) else [places]))
        assert queue.enqueue([("A", MEDIUM)]).duplicates == ("A",)
        assert take_ids(queue, 5) == ["A"]

    @pytest.mark.parametrize("text", [None, "", "x"])
    def test_a_letter_that_cannot_be_read_is_shown_to_nobody_and_taken_out(
        self, queue: Queue, redis_client: RedisClient, keys: Keys, text: str | None
    ) -> None:
        queue.enqueue([("A", LOW), ("B", LOW)])
        queue.fail(take(queue, 2).token, [Failure(name, "no", final=True) for name in "AB"])
        if text is None:
            redis_client.hdel(keys.queue_dead_items, "A")
        else:
            redis_client.hset(keys.queue_dead_items, "A", text)
        assert [letter.id for letter in queue.dead_letters()] == ["B"]
        assert queue.state().dead == 1

    @pytest.mark.parametrize("text", [None, "", "x"])
    def test_a_letter_that_cannot_be_read_is_no_letter_to_try_again(
        self, queue: Queue, redis_client: RedisClient, keys: Keys, text: str | None
    ) -> None:
        queue.enqueue([("A", LOW)])
        queue.fail(take(queue).token, [Failure("A", "no", final=True)])
        redis_client.delete(keys.queue_dead_items)
        if text is not None:
            redis_client.hset(keys.queue_dead_items, "A", text)
        assert queue.retry_dead(["A"]).unknown == ("A",)
        assert queue.state().dead == 0

    def test_such_members_at_the_end_of_a_full_line_make_room_and_are_not_named(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = make_queue(redis_client, keys, clock, max_size=2)
        queue.enqueue([("A", LOW), ("gone", LOW)])
        redis_client.hdel(keys.queue_items, "gone")
        queue.enqueue([("B", LOW)])
        assert queue.enqueue([("C", HIGH)]).dropped == ("B",)
        assert take_ids(queue, 5) == ["C", "A"]
