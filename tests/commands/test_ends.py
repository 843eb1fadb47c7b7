"""When a queue run begins no further call, what it leases, and which failures cost an attempt."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import pytest

from assetbatch.commands.queue_worker import fault_of
from assetbatch.database import Store
from assetbatch.domain.queueing import Fault, Lane
from assetbatch.errors import DatabaseError, UnreachableError
from assetbatch.provider.client import ProviderClient
from assetbatch.state.queue import Lease, Queue
from tests.failures.start import PROGRAM, environment
from tests.world import SetClock, World

from .conftest import MakeWorld

MANY = [
    {"symbol": f"C{n:03}USD", "polygon_ticker": f"X:C{n:03}USD", "asset_type": "crypto"} for n in range(245)
]


def attempts(world: World) -> dict[str, int]:
    """How many attempts each item of the queue has behind it."""
    with world.services() as services:
        texts: dict[str, str] = services.redis.hgetall(services.keys.queue_items)
    return {item_id: int(text.split(":")[1]) for item_id, text in texts.items()}


def leased_at_each_call(world: World, monkeypatch: pytest.MonkeyPatch, method: str = "bars") -> list[int]:
    leased: list[int] = []
    original = getattr(ProviderClient, method)

    def noted(*arguments: Any, **options: Any) -> Any:
        with world.services() as services:
            leased.append(services.queue.state().leased)
        return original(*arguments, **options)

    monkeypatch.setattr(ProviderClient, method, noted)
    return leased


class TestTheSlowestCall:
    def test_leaves_a_call_to_the_next_start_that_would_not_end(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        with free.services() as services:
            services.redis.lpush(services.keys.call_ms, 25_990)
        result = free.run_queue(seconds=30)  # 26 s until what came must be stored
        assert result.calls == 1
        assert (result.result, result.ended_because, result.exit_code) == ("ok", "out of time", 0)
        assert set(attempts(free).values()) == {0}

    def test_of_this_start_counts_too(self, free: World, monkeypatch: pytest.MonkeyPatch) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        with free.services() as services:
            services.redis.lpush(services.keys.call_ms, 100)
        bars = ProviderClient.bars

        def slowly(*arguments: Any, **options: Any) -> Any:
            time.sleep(3.5)
            return bars(*arguments, **options)

        monkeypatch.setattr(ProviderClient, "bars", slowly)
        assert free.run_queue(seconds=10).calls == 1
        with free.services() as services:
            slowest_ms = services.history.start("run_queue", 1).slowest_call_ms
        assert slowest_ms is not None
        assert slowest_ms >= 3500

    def test_leaves_out_a_call_for_which_the_database_has_left_too_little_time(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        with free.services() as services:
            services.redis.lpush(services.keys.call_ms, 3_000)
        record_call = Store.record_call

        def slowly(store: Store) -> None:
            time.sleep(1.5)
            record_call(store)

        monkeypatch.setattr(Store, "record_call", slowly)
        result = free.run_queue(seconds=5.5)  # 3.9 s until what came must be stored
        assert (result.calls, result.result) == (0, "nothing")
        assert set(attempts(free).values()) == {0}

    def test_stops_no_start_for_ever(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        with free.services() as services:
            services.redis.lpush(services.keys.call_ms, 60_000)
        assert free.run_queue(seconds=30).calls == 1


class TestLeases:
    def test_are_of_bars_as_many_as_calls_can_bring(
        self, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = make_world(plan="starter", limit=5, document={"secondary_assets": MANY})
        with world.services() as services:
            services.queue.enqueue([(f"bars:{asset['symbol']}", Lane.BARS) for asset in MANY])
        leased = leased_at_each_call(world, monkeypatch)
        result = world.run_queue()
        assert result.calls == len(leased) == 5
        assert max(leased) <= 5

    def test_are_of_prices_too_where_the_plan_turns_out_to_share_no_calls(
        self, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = make_world(plan="basic", tier="starter", limit=5, document={"secondary_assets": MANY})
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        leased = leased_at_each_call(world, monkeypatch)
        result = world.run_queue()
        assert result.calls == 5
        assert max(leased) <= 5

    def test_of_processes_that_were_killed_make_no_dead_letters_of_what_nobody_tried(
        self, make_world: MakeWorld
    ) -> None:
        queue = {"retry_delay_seconds": 0}
        world = make_world(plan="starter", limit=5, document={"secondary_assets": MANY, "queue": queue})
        with world.services() as services:
            services.queue.enqueue([(f"bars:{asset['symbol']}", Lane.BARS) for asset in MANY])
        world.config()
        world.provider.order("drip-headers=1", times=None)
        for number in range(3):
            calls = len(world.paths)
            process = subprocess.Popen([*PROGRAM, "run-queue"], cwd=world.folder, env=environment(world))
            until = time.monotonic() + 60
            while len(world.paths) == calls:
                assert time.monotonic() < until
                assert process.poll() is None, number
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            with world.services() as services:  # as after a minute
                keys = services.keys
                for item_id in services.redis.zrange(keys.queue_leased, 0, -1):
                    services.redis.zadd(keys.queue_leased, {item_id: 1})
                services.redis.delete(keys.lock("run_queue"), *services.window.keys[:2])
        with world.services() as services:
            services.queue.take(1, 0.001)  # ends the leases of the dead
            assert services.queue.state().dead <= 1  # its call went out three times
        assert [count for item_id, count in attempts(world).items() if item_id != "bars:C000USD"] == [0] * 244


class TestAnOutage:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        world = make_world(document={"queue": {"retry_delay_seconds": 0}})
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        return world

    def test_of_the_provider_costs_no_attempt(self, world: World) -> None:
        world.provider.order("status=503", times=None)
        for _ in range(4):
            with pytest.raises(UnreachableError):
                world.run_queue()
        assert attempts(world) == {"ETHUSD": 0, "GBPUSD": 0, "USDJPY": 0}
        world.provider.faults.clear()
        assert world.run_queue().result == "ok"

    def test_of_postgresql_is_said_by_the_error_alone(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object) -> None:
            raise DatabaseError("the server's disk is full")

        monkeypatch.setattr(Store, "save", full)
        with caplog.at_level("WARNING"), pytest.raises(DatabaseError):
            world.run_queue()
        assert caplog.messages == []

    def test_of_postgresql_costs_no_attempt(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(*_: object) -> None:
            raise DatabaseError("the connection was lost")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "save", gone)
            for _ in range(4):
                with pytest.raises(DatabaseError):
                    world.run_queue()
        assert attempts(world) == {"ETHUSD": 0, "GBPUSD": 0, "USDJPY": 0}
        assert world.run_queue().result == "ok"

    @pytest.mark.parametrize("fault", ["status=500", "drop", "html", "cut-json", "other-ticker"])
    def test_of_one_item_alone_is_its_own_fault(self, make_world: MakeWorld, fault: str) -> None:
        world = make_world()
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        world.provider.order(fault, path_contains="X:ETHUSD", times=None)
        world.run_queue()
        assert attempts(world) == {"ETHUSD": 1}

    @pytest.mark.parametrize("fault", ["html", "cut-json", "error-200", "wrong-shape", "other-ticker"])
    def test_of_all_sense_in_the_answers_costs_no_attempt(self, world: World, fault: str) -> None:
        world.provider.order(fault, times=None)
        for _ in range(4):
            world.run_queue()
        assert attempts(world) == {"ETHUSD": 0, "GBPUSD": 0, "USDJPY": 0}

    def test_of_two_items_is_told_from_one_of_the_provider_by_a_third(self, make_world: MakeWorld) -> None:
        world = make_world(document={"secondary_assets": MANY[:4]})
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        for number in (1, 2):
            world.provider.order("status=500", path_contains=f"C{number:03}USD", times=None)
        world.run_queue()
        assert attempts(world) == {"C001USD": 1, "C002USD": 1}

    def test_that_begins_during_a_run_costs_no_attempt(self, make_world: MakeWorld) -> None:
        world = make_world()
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        for symbol in ("GBPUSD", "USDJPY"):
            world.provider.order("status=503", path_contains=symbol, times=None)
        world.run_queue()
        assert attempts(world) == {"GBPUSD": 0, "USDJPY": 0}

    def test_that_alternates_with_answers_makes_no_dead_letters(
        self, make_world: MakeWorld, clock: SetClock
    ) -> None:
        """In four outages the queue is asked for; between them other commands are answered."""
        world = make_world(document={"queue": {"retry_delay_seconds": 0}})
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        for _ in range(4):
            world.provider.order("status=503", times=None)
            with pytest.raises(UnreachableError):
                world.run_queue()
            world.provider.faults.clear()
            with world.services() as services:
                services.redis.set(services.keys.answered, services.window.state().now_ms)
        assert attempts(world) == {"ETHUSD": 0, "GBPUSD": 0, "USDJPY": 0}

    @pytest.mark.parametrize(
        ("items", "before", "until_now", "fault"),
        [
            (1, 0, 0, Fault.PROVIDER),
            (2, 0, 0, Fault.NOBODY),
            (1, 3, 3, Fault.PROVIDER),
            (2, 3, 3, Fault.NOBODY),
            (1, 0, 1, Fault.ITEM),
            (2, 0, 1, Fault.PROVIDER),
            (2, 1, 2, Fault.ITEM),
        ],
    )
    def test_is_told_from_faults_of_items_by_the_answers_around_them(
        self, items: int, before: int, until_now: int, fault: Fault
    ) -> None:
        assert fault_of(items, before, until_now) is fault

    def test_of_the_last_item_is_its_own_fault_where_others_are_answered_in_between(
        self, world: World, clock: SetClock
    ) -> None:
        world.provider.order("status=500", path_contains="X:ETHUSD", times=None)
        world.run_queue()
        assert attempts(world) == {"ETHUSD": 2}  # before each of the others, without a delay
        with world.services() as services:  # another command, between two starts of the queue
            services.redis.set(services.keys.answered, services.window.state().now_ms)
        with pytest.raises(UnreachableError):
            world.run_queue()
        with world.services() as services:
            assert [letter.id for letter in services.queue.dead_letters()] == ["ETHUSD"]


def test_a_process_that_slept_between_its_slot_and_its_call_makes_none(
    free: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for Redis may be long: a slot that has become too old meanwhile is given back."""
    free.know_that_today_is_refused()
    free.enqueue_secondary()
    start = Queue.start
    slept: list[bool] = []

    def slowly(queue: Queue, *arguments: Any) -> Any:
        if not slept:
            slept.append(True)
            time.sleep(2.1)
        return start(queue, *arguments)

    monkeypatch.setattr(Queue, "start", slowly)
    result = free.run_queue()
    assert (result.calls, result.result) == (3, "ok")
    with free.services() as services:
        assert services.window.state().used == 3
        assert not isinstance(services.queue.take(1, 1), Lease)
