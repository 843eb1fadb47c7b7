"""What a dead process of this machine holds is free at once; what others hold is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Lane
from assetbatch.state.connection import RedisClient
from assetbatch.state.dead_processes import DeadProcesses
from assetbatch.state.keys import Keys
from assetbatch.state.locks import Locks
from assetbatch.state.process_id import age_seconds, is_dead, new_id
from assetbatch.state.queue import Lease, Queue
from assetbatch.state.window import ARRIVAL_SECONDS, Grant, Window, WindowSettings

from .conftest import FakeClock, process_of

PRINT_ID = "from assetbatch.state.process_id import new_id; print(new_id(), flush=True)"
THEN_WAIT = "; import sys; sys.stdin.read()"
ARRIVAL_MS = round(ARRIVAL_SECONDS * 1000)
WINDOW_MS = 60_000
CALL_SECONDS = 10.0
COMMANDS = ("run_priority", "run_queue")


def start(code: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A process, and an id that it has made."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | environment,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.fixture
def dead_id() -> str:
    """An id of a process that was killed."""
    process, made = start(PRINT_ID + THEN_WAIT)
    process.kill()
    process.communicate()
    return made


@pytest.fixture
def living_id() -> Iterator[str]:
    process, made = start(PRINT_ID + THEN_WAIT)
    yield made
    process.communicate()


class TestAProcess:
    def test_that_was_killed_is_dead(self, dead_id: str) -> None:
        assert is_dead(process_of(dead_id))

    def test_that_was_killed_and_not_reaped_yet_is_dead(self) -> None:
        process, made = start(PRINT_ID + THEN_WAIT)
        process.kill()
        while not is_dead(process_of(made)):  # the kernel needs a moment; the test's deadline ends this
            time.sleep(0.001)
        process.communicate()

    def test_that_lives_is_not(self, living_id: str) -> None:
        assert not is_dead(process_of(living_id))
        assert not is_dead(process_of(new_id()))

    def test_whose_pid_another_one_has_now_is_dead(self) -> None:
        host, machine, pid, began, *_ = new_id().split(".")
        assert is_dead(f"{host}.{machine}.{pid}.{int(began) - 1}")

    def test_of_another_machine_or_namespace_is_not_known_to_be_dead(self, dead_id: str) -> None:
        host, _, pid, began, *_ = dead_id.split(".")
        assert not is_dead(f"{host}.0123abcd.{pid}.{began}")
        copied = process_of(dead_id).split(".", 1)[1]
        assert not is_dead(f"0123abcd.{copied}"), "a copy of this virtual machine has the rest alike"
        assert not is_dead(f"{host}..{pid}.{began}")

    def test_that_has_forked_does_not_share_its_ids_with_its_child(self) -> None:
        code = (
            "import os; from assetbatch.state.process_id import new_id; new_id(); child = os.fork();"
            "os.write(1, f'{new_id()}\\n'.encode()); child and os.wait()"
        )
        printed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        parent, child = map(process_of, printed.stdout.split())
        assert parent != child


Make = Callable[[int], Window]


@pytest.fixture
def queue(redis_client: RedisClient, keys: Keys, clock: FakeClock) -> Queue:
    return Queue(
        redis_client, keys, max_size=10, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
    )


@pytest.fixture
def dead_processes(redis_client: RedisClient, keys: Keys, queue: Queue, clock: FakeClock) -> DeadProcesses:
    return DeadProcesses(redis_client, keys, keys.window("abc"), COMMANDS, queue.retry, clock)


@pytest.fixture
def make_window(
    redis_client: RedisClient, keys: Keys, clock: FakeClock, dead_processes: DeadProcesses
) -> Make:
    def make(limit: int) -> Window:
        return Window(
            redis_client,
            WindowSettings(keys, "abc", CallLimit(limit, WINDOW_MS), CALL_SECONDS),
            free_dead=dead_processes.free,
            clock_ms=clock,
        )

    return make


class TestASlotOfTheWindow:
    def test_that_a_dead_process_has_not_completed_counts_from_its_last_possible_arrival(
        self, make_window: Make, clock: FakeClock, dead_id: str
    ) -> None:
        window = make_window(1)
        assert isinstance(window.ask(CallKind.PRIORITY, dead_id), Grant)
        clock.advance(2)
        answer = window.ask(CallKind.PRIORITY, "next")
        assert isinstance(answer, Denied)
        clock.now_ms += ARRIVAL_MS + WINDOW_MS
        assert isinstance(window.ask(CallKind.PRIORITY, "next"), Grant)

    def test_is_not_free_before_a_request_on_its_way_has_left_the_window(
        self, make_window: Make, clock: FakeClock, dead_id: str
    ) -> None:
        window = make_window(1)
        window.ask(CallKind.PRIORITY, dead_id)
        clock.advance(2)
        window.ask(CallKind.PRIORITY, "next")
        clock.now_ms += ARRIVAL_MS + WINDOW_MS - 1
        assert isinstance(window.ask(CallKind.PRIORITY, "next"), Denied)

    def test_that_was_completed_keeps_its_date(
        self, make_window: Make, clock: FakeClock, dead_id: str
    ) -> None:
        window = make_window(1)
        grant = window.ask(CallKind.PRIORITY, dead_id)
        assert isinstance(grant, Grant)
        window.complete(grant)
        completed_ms = clock.now_ms + 1
        clock.advance(2)
        answer = window.ask(CallKind.PRIORITY, "next")
        assert isinstance(answer, Denied)
        assert answer.retry_at_ms == completed_ms + WINDOW_MS

    def test_that_a_living_process_holds_is_held_for_as_long_as_its_call_may_take(
        self, make_window: Make, clock: FakeClock, living_id: str
    ) -> None:
        window = make_window(1)
        window.ask(CallKind.PRIORITY, living_id)
        clock.now_ms += ARRIVAL_MS + WINDOW_MS
        assert isinstance(window.ask(CallKind.PRIORITY, "next"), Denied)

    def test_whose_request_a_proxy_may_still_pass_on_is_held_too(
        self, make_window: Make, clock: FakeClock
    ) -> None:
        process, made = start(PRINT_ID, https_proxy="http://proxy.example:3128")
        process.communicate()
        assert is_dead(process_of(made))
        window = make_window(1)
        window.ask(CallKind.PRIORITY, made)
        clock.now_ms += ARRIVAL_MS + WINDOW_MS
        assert isinstance(window.ask(CallKind.PRIORITY, "next"), Denied)

    def test_is_freed_for_the_queue_as_well(
        self, make_window: Make, queue: Queue, clock: FakeClock, dead_id: str
    ) -> None:
        window = make_window(1)
        queue.enqueue([("EURUSD", Lane.MEDIUM)])
        window.ask(CallKind.PRIORITY, dead_id)
        clock.advance(2)
        token = new_id()
        assert isinstance(queue.take(1, 60, window, token), Denied)
        clock.now_ms += ARRIVAL_MS + WINDOW_MS
        assert isinstance(queue.take(1, 60, window, token), Lease)


class TestATurn:
    def test_of_a_dead_process_holds_up_nobody(
        self, make_window: Make, redis_client: RedisClient, keys: Keys, clock: FakeClock, dead_id: str
    ) -> None:
        window = make_window(1)
        its_own = Window(
            redis_client, WindowSettings(keys, "abc", CallLimit(1, WINDOW_MS), CALL_SECONDS), clock_ms=clock
        )
        grant = window.ask(CallKind.QUEUE)
        assert isinstance(grant, Grant)
        window.complete(grant)
        clock.advance(1)
        denied = its_own.ask(CallKind.QUEUE, dead_id)
        assert isinstance(denied, Denied)
        clock.now_ms = denied.retry_at_ms
        assert isinstance(window.ask(CallKind.QUEUE, "next"), Grant)


class TestALease:
    def test_of_a_dead_process_goes_back_uncounted_where_no_call_went_out(
        self, queue: Queue, dead_processes: DeadProcesses, dead_id: str
    ) -> None:
        queue.enqueue([("EURUSD", Lane.MEDIUM)])
        queue.take(1, 60, token=dead_id)
        assert dead_processes.free()
        again = queue.take(1, 60)
        assert isinstance(again, Lease)
        assert again.items[0].attempts == 0

    def test_of_a_dead_process_whose_call_went_out_is_tried_again_after_the_delay(
        self, queue: Queue, dead_processes: DeadProcesses, dead_id: str, clock: FakeClock
    ) -> None:
        queue.enqueue([("EURUSD", Lane.MEDIUM)])
        queue.take(1, 60, token=dead_id)
        queue.start(dead_id, ["EURUSD"], 60)
        assert dead_processes.free()
        assert (queue.state().leased, queue.state().delayed) == (0, 1)
        clock.advance(60)
        again = queue.take(1, 60)
        assert isinstance(again, Lease)
        assert again.items[0].attempts == 1

    def test_of_a_process_that_ended_since_its_server_was_restarted_goes_back_uncounted(
        self, queue: Queue, dead_processes: DeadProcesses, dead_id: str, redis_client: RedisClient, keys: Keys
    ) -> None:
        queue.enqueue([("EURUSD", Lane.MEDIUM)])
        queue.take(1, 60, token=dead_id)
        queue.start(dead_id, ["EURUSD"], 60)
        with queue.derived():
            pass
        redis_client.set(keys.queue_owner, "the server before")
        assert dead_processes.free()
        again = queue.take(1, 60)
        assert isinstance(again, Lease)
        assert again.items[0].attempts == 0

    def test_of_a_living_process_is_left_alone(
        self, queue: Queue, dead_processes: DeadProcesses, living_id: str
    ) -> None:
        queue.enqueue([("EURUSD", Lane.MEDIUM)])
        queue.take(1, 60, token=living_id)
        assert not dead_processes.free()
        assert queue.state().leased == 1


class TestAPlaceAmongThoseThatRunACommand:
    def test_that_a_dead_process_holds_is_free_at_once(
        self,
        redis_client: RedisClient,
        keys: Keys,
        clock: FakeClock,
        dead_processes: DeadProcesses,
        dead_id: str,
    ) -> None:
        redis_client.zadd(keys.lock("run_queue"), {f"{dead_id}:60000": clock.now_ms + 60_000})
        with Locks(redis_client, keys, clock, dead_processes.free).hold("run_queue", 60) as held:
            assert held

    def test_that_a_living_process_holds_is_taken(
        self,
        redis_client: RedisClient,
        keys: Keys,
        clock: FakeClock,
        dead_processes: DeadProcesses,
        living_id: str,
    ) -> None:
        redis_client.zadd(keys.lock("run_queue"), {f"{living_id}:60000": clock.now_ms + 60_000})
        with Locks(redis_client, keys, clock, dead_processes.free).hold("run_queue", 60) as held:
            assert not held

    def test_ends_within_its_own_bound_after_the_clock_was_set_back(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        with locks.hold("run_queue", 60):
            clock.advance(-3600)
            with locks.hold("run_queue", 60) as held:
                assert not held
            clock.advance(61)
            with locks.hold("run_queue", 60) as held:
                assert held

    def test_of_a_longer_bound_is_not_cut_to_that_of_who_asks(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        with locks.hold("run_queue", 3600):
            clock.advance(120)
            with locks.hold("run_queue", 60) as held:
                assert not held


def test_nothing_held_is_nothing_freed(dead_processes: DeadProcesses) -> None:
    assert not dead_processes.free()


class TestTheDeadAmongTheLiving:
    def test_only_the_slot_of_the_dead_is_freed(
        self,
        make_window: Make,
        dead_processes: DeadProcesses,
        clock: FakeClock,
        dead_id: str,
        living_id: str,
    ) -> None:
        window = make_window(3)
        for call_id in (dead_id, living_id, "an id of another form"):
            assert isinstance(window.ask(CallKind.PRIORITY, call_id), Grant)
        clock.advance(2)
        assert dead_processes.free()
        assert not dead_processes.free()  # there is nothing more to free
        clock.now_ms += ARRIVAL_MS + WINDOW_MS
        assert window.state().used == 2

    def test_work_whose_attempts_are_used_up_is_dead_with_its_worker(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock, dead_id: str
    ) -> None:
        queue = Queue(
            redis_client, keys, max_size=10, retry_max_attempts=1, retry_delay_seconds=60, clock_ms=clock
        )
        queue.enqueue([("EURUSD", Lane.MEDIUM)])
        queue.take(1, 60, token=dead_id)
        queue.start(dead_id, ["EURUSD"], 60)
        assert DeadProcesses(redis_client, keys, keys.window("abc"), COMMANDS, queue.retry, clock).free()
        (letter,) = queue.dead_letters()
        assert (letter.id, letter.attempts, letter.error) == ("EURUSD", 1, "the worker died")

    def test_a_lease_and_a_place_of_one_process_are_both_freed_and_both_count(
        self,
        queue: Queue,
        redis_client: RedisClient,
        keys: Keys,
        clock: FakeClock,
        dead_processes: DeadProcesses,
        dead_id: str,
        living_id: str,
    ) -> None:
        queue.enqueue([("EURUSD", Lane.MEDIUM), ("GBPUSD", Lane.MEDIUM)])
        queue.take(1, 60, token=dead_id)
        queue.take(1, 60, token=living_id)
        lock = keys.lock("run_queue")
        places = [f"{an_id}:60000" for an_id in (living_id, new_id(), dead_id)]
        redis_client.zadd(lock, {place: clock.now_ms + 60_000 + n for n, place in enumerate(places)})
        assert dead_processes.free()
        assert redis_client.zrange(lock, 0, -1) == places[:2]
        assert queue.state().leased == 1

    def test_a_dead_waiter_leaves_the_line_whole_wherever_it_stands(
        self,
        redis_client: RedisClient,
        keys: Keys,
        clock: FakeClock,
        dead_processes: DeadProcesses,
        dead_id: str,
        living_id: str,
    ) -> None:
        window = Window(
            redis_client, WindowSettings(keys, "abc", CallLimit(1, WINDOW_MS), CALL_SECONDS), clock_ms=clock
        )
        living = [living_id, new_id()]
        for call_id in (new_id(), *living, dead_id):
            window.ask(CallKind.QUEUE, call_id)
        assert dead_processes.free()
        for key in window.keys[3:5]:
            assert sorted(redis_client.zrange(key, 0, -1)) == sorted(living)

    def test_a_dead_lease_is_found_behind_others_and_waits_its_whole_delay(
        self, queue: Queue, clock: FakeClock, dead_processes: DeadProcesses, dead_id: str, living_id: str
    ) -> None:
        symbols = ["AUDUSD", "EURUSD", "GBPUSD"]
        queue.enqueue([(symbol, Lane.MEDIUM) for symbol in symbols])
        queue.take(2, 600, token=living_id)
        clock.advance(1)
        queue.take(1, 600, token=dead_id)
        queue.start(dead_id, symbols[2:], 600)
        assert dead_processes.free()
        clock.advance(59)
        assert not isinstance(queue.take(1, 60), Lease)
        clock.advance(1)
        assert isinstance(queue.take(1, 60), Lease)

    def test_a_place_of_any_command_is_freed(
        self,
        redis_client: RedisClient,
        keys: Keys,
        clock: FakeClock,
        dead_processes: DeadProcesses,
        dead_id: str,
    ) -> None:
        for command in COMMANDS:
            redis_client.zadd(keys.lock(command), {f"{dead_id}:60000": clock.now_ms + 60_000})
            assert dead_processes.free()
            assert not redis_client.exists(keys.lock(command))


def test_the_age_of_a_process_counts_from_its_start() -> None:
    began = time.monotonic()
    code = (
        "import time; time.sleep(0.5); "
        "from assetbatch.state.process_id import age_seconds; print(age_seconds())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tick = 1 / os.sysconf("SC_CLK_TCK")  # the kernel rounds the start down to one
    assert 0.45 <= float(done.stdout) <= time.monotonic() - began + tick
    assert age_seconds() >= time.monotonic() - began
