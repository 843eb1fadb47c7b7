"""The queue's commands, from the configuration to the rows."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import pytest

from assetbatch.commands.enqueue_secondary import EMPTIED
from assetbatch.commands.run_queue import run_queue
from assetbatch.database import Store
from assetbatch.deadline import Deadline
from assetbatch.domain.models import Changes, Saved
from assetbatch.domain.queueing import CallKind, Lane
from assetbatch.domain.records import Command, CycleRecord
from assetbatch.errors import NOTICE, DatabaseError, KeyRefusedError, UnreachableError
from assetbatch.health import collect
from assetbatch.refresh import batch
from assetbatch.refresh.progress import Progress
from assetbatch.state.history import CYCLES_KEPT
from assetbatch.state.queue import Lease
from tests.world import RealClock, SetClock, World

from .conftest import MakeWorld

MANY = [
    {"symbol": f"C{n:03}USD", "polygon_ticker": f"X:C{n:03}USD", "asset_type": "crypto", "bars": False}
    for n in range(300)
]


class TestEnqueueSecondary:
    def test_puts_every_due_secondary_asset_into_the_queue_once(self, free: World) -> None:
        assert free.enqueue_secondary().enqueued == 3
        again = free.enqueue_secondary()
        assert (again.enqueued, again.queue_size, again.result) == (0, 3, "nothing")

    def test_leaves_out_what_is_fresh(self, free: World) -> None:
        free.enqueue_secondary()
        free.run_queue()
        assert free.enqueue_secondary().enqueued == 0

    def test_names_what_found_no_room(self, make_world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
        world = make_world(document={"queue": {"max_size": 2}})
        result = world.enqueue_secondary()
        assert result.dropped == ["USDJPY"]
        assert "the queue is full (at most 2): 1 asset found no room: USDJPY" in caplog.text
        assert result.exit_code == 1

    def test_names_the_first_ten_that_found_no_room(
        self, make_world: MakeWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = make_world(document={"queue": {"max_size": 2}, "secondary_assets": MANY[:36]})
        assert len(world.enqueue_secondary().dropped) == 34
        (said,) = caplog.messages
        assert "34 assets found no room: C002USD, C003USD, " in said
        assert "C011USD and 24 more (hint: " in said
        with world.services() as services:
            (problem,) = [one for one in collect(services).problems if "found no room" in one.message]
        assert "C002USD, C003USD" in problem.message
        assert "C011USD and 24 more" in problem.message
        world.document["queue"]["max_size"] = 100
        world.enqueue_secondary()
        with world.services() as services:
            assert not any("found no room" in one.message for one in collect(services).problems)

    def test_an_asset_without_a_row_is_a_failure(self, free: World) -> None:
        free.document["secondary_assets"] = [
            {"symbol": "NEWONE", "polygon_ticker": "C:NEWONE", "asset_type": "forex"}
        ]
        assert free.enqueue_secondary().exit_code == 1

    def test_a_second_start_while_one_runs_skips(self, free: World) -> None:
        with free.services() as services, services.locks.hold(Command.ENQUEUE_SECONDARY, 60):
            assert free.enqueue_secondary().result == "skipped"

    def test_a_dry_run_changes_nothing(self, free: World) -> None:
        assert free.enqueue_secondary(dry_run=True).plan == [
            "enqueue price of ETHUSD as HIGH",
            "enqueue price of GBPUSD as MEDIUM",
            "enqueue price of USDJPY as LOW",
        ]
        with free.services() as services:
            assert services.queue.state().size == 0


class TestRunQueue:
    def test_drains_the_queue_by_class(self, free: World) -> None:
        free.enqueue_secondary()
        result = free.run_queue()
        assert [asset.symbol for asset in result.assets] == ["ETHUSD", "GBPUSD", "USDJPY"]
        assert (result.result, result.ended_because, result.queue_size) == ("ok", "empty", 0)
        assert result.start_again_seconds is None
        assert free.bars("GBPUSD") > 500

    def test_an_empty_queue_costs_no_call(self, free: World) -> None:
        result = free.run_queue()
        assert (result.result, result.calls, free.paths) == ("nothing", 0, [])
        with free.services() as services:
            assert services.window.state().used == 0

    def test_takes_250_symbols_per_call_on_a_paid_plan(self, make_world: MakeWorld) -> None:
        world = make_world(plan="starter", document={"secondary_assets": MANY})
        world.enqueue_secondary()
        result = world.run_queue()
        assert [path.split("?")[0] for path in world.paths] == ["/v3/snapshot"] * 2
        assert len(result.assets) == 300

    def test_ends_when_the_next_call_is_free_only_after_its_time(self, make_world: MakeWorld) -> None:
        world = make_world(limit=2)
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        started = time.monotonic()
        result = world.run_queue()
        assert time.monotonic() - started < 15
        assert (result.calls, result.queue_size) == (2, 1)
        assert (result.ended_because or "").startswith("out of calls for")
        assert result.start_again_seconds is not None
        assert f"out of calls for {result.start_again_seconds} s" in (result.ended_because or "")

    def test_waits_for_a_slot_that_comes_in_time_and_counts_the_wait(self, make_world: MakeWorld) -> None:
        world = make_world(limit=1, window_seconds=2)
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        result = world.run_queue()
        assert (result.calls, result.waits, result.queue_size) == (3, 2, 0)
        with world.services() as services:
            assert services.history.waits_of_last_hour(world.clock.at_ms) == 2

    def test_leaves_the_slots_of_the_next_priority_cycle(self, make_world: MakeWorld) -> None:
        world = make_world(limit=5)
        with world.services() as services:
            now_ms = services.window.state().now_ms
            services.window.reserve(now_ms + 40_000, 3, 300_000)
        world.enqueue_secondary()
        result = world.run_queue()
        assert result.calls == 2
        with world.services() as services:
            assert not isinstance(services.window.ask(CallKind.QUEUE), type(None))
            assert services.window.state().remaining == 3

    def test_a_second_start_skips_unless_more_are_allowed(self, make_world: MakeWorld) -> None:
        world = make_world(limit=50)
        with world.services() as services, services.locks.hold(Command.RUN_QUEUE, 60):
            assert world.run_queue().result == "skipped"
            world.document["queue"] = {"max_concurrency": 2}
            assert world.run_queue().result == "nothing"

    def test_fresh_work_is_taken_off_without_a_call(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        free.run_queue()
        with free.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
        before = len(free.paths)
        result = free.run_queue()
        assert (result.calls, result.queue_size, len(free.paths)) == (0, 0, before)
        with free.services() as services:
            assert services.window.state().used == 3  # the slot of the fourth take was given back

    def test_what_left_the_configuration_leaves_the_queue(
        self, free: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        free.enqueue_secondary()
        free.document["secondary_assets"] = free.document["secondary_assets"][:1]
        result = free.run_queue()
        assert [asset.symbol for asset in result.assets] == ["ETHUSD"]
        assert result.queue_size == 0
        assert (
            "taken out of the queue: price of GBPUSD, price of USDJPY (not in the configuration any more)"
            in caplog.text
        )


class TestFailures:
    def test_a_failure_is_tried_again_after_the_delay_and_others_go_on(self, free: World) -> None:
        free.provider.order("status=500", path_contains="X:ETHUSD")
        free.enqueue_secondary()
        result = free.run_queue()
        assert [asset.status for asset in result.assets] == ["failed", "success", "success"]
        assert result.exit_code == 1
        with free.services() as services:
            state = services.queue.state()
        assert (state.delayed, state.size) == (1, 1)

    def test_three_failures_while_others_are_answered_make_a_dead_letter(self, make_world: MakeWorld) -> None:
        world = make_world(document={"queue": {"retry_delay_seconds": 0}, "secondary_assets": MANY[:1]})
        world.provider.order("wrong-shape", times=None)
        world.enqueue_secondary()
        for _ in range(4):
            world.run_queue()
            with world.services() as services:  # another command, between two starts of the queue
                services.redis.set(services.keys.answered, services.window.state().now_ms)
        with world.services() as services:
            (letter,) = services.queue.dead_letters()
        assert (letter.id, letter.attempts) == ("C000USD", 3)
        assert letter.error

    def test_a_provider_that_is_down_delays_two_items_and_no_more(self, free: World) -> None:
        free.provider.order("status=503", times=None)
        free.enqueue_secondary()
        with pytest.raises(UnreachableError, match="the provider answers 503"):
            free.run_queue()
        assert len(free.paths) == 2
        with free.services() as services:
            state = services.queue.state()
        assert (state.delayed, state.size, state.dead) == (2, 3, 0)

    def test_a_refused_key_hands_everything_back(self, free: World) -> None:
        free.provider.order("status=401", times=None)
        free.enqueue_secondary()
        with pytest.raises(KeyRefusedError):
            free.run_queue()
        assert len(free.paths) == 1
        with free.services() as services:
            state = services.queue.state()
        assert (state.size, state.leased, state.delayed, state.dead) == (3, 0, 0, 0)

    def test_too_many_calls_hands_the_work_back_without_counting_an_attempt(self, free: World) -> None:
        free.provider.order("429=1")
        free.enqueue_secondary()
        result = free.run_queue()
        assert (len(free.paths), result.ended_because) == (1, "the provider said too many calls")
        assert result.start_again_seconds is not None
        with free.services() as services:
            taken = services.queue.take(3, 10)
        assert [item.attempts for item in taken.items] == [0, 0, 0]  # type: ignore[union-attr]  # asserts below

    def test_an_item_is_not_lost_when_storing_it_raises(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise DatabaseError("the disk is full")

        free.enqueue_secondary()
        with monkeypatch.context() as patch:
            patch.setattr(Store, "save", full)
            with pytest.raises(DatabaseError):
                free.run_queue()
        with free.services() as services:
            state = services.queue.state()
        assert (state.size, state.delayed) == (3, 1)  # behind the others, its attempt not counted
        assert free.run_queue().queue_size == 1

    def test_what_a_long_batch_has_brought_is_stored_and_settled_on_the_way(
        self, paid: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paid.run_priority()
        save, saved = Store.save, 0

        def fill_up(store: Store, batch: Changes, now_ms: int) -> Saved:
            nonlocal saved
            saved += 1
            if saved == 3:
                raise DatabaseError("the disk is full")
            return save(store, batch, now_ms)

        monkeypatch.setattr(batch, "MAX_UNSAVED_BARS", 1)
        monkeypatch.setattr(Store, "save", fill_up)
        with pytest.raises(DatabaseError):
            paid.run_queue()
        with paid.services() as services:
            state = services.queue.state()
        assert (state.size, state.leased, state.delayed) == (1, 0, 1)
        assert [paid.bars(symbol) > 0 for symbol in ("XAUUSD", "EURUSD", "BTCUSD")] == [True, True, False]

    def test_a_killed_worker_loses_nothing(self, free: World) -> None:
        free.enqueue_secondary()
        with free.services() as services:
            lease = services.queue.take(2, lease_seconds=0.05)
            assert isinstance(lease, Lease)
            services.queue.start(lease.token, ["ETHUSD"], 0.05)  # and the process dies in its call
            time.sleep(0.06)
            services.queue.take(1, 0.05, token="sees the expired leases")
            state = services.queue.state()
        assert state.size == 3
        assert state.delayed == 1

    def test_a_polite_stop_hands_back_what_was_not_begun(self, make_world: MakeWorld) -> None:
        world = make_world(limit=1, window_seconds=10)
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        with world.services() as services, Deadline(30) as deadline:
            timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM))
            timer.start()
            started = time.monotonic()
            result = run_queue(services, deadline, Progress())
            timer.join()
        assert result.result == "stopped"
        assert time.monotonic() - started < 5
        with world.services() as services:
            state = services.queue.state()
        assert (state.size, state.leased, state.delayed) == (2, 0, 0)


def test_a_plan_without_snapshots_is_found_out_in_the_same_run(make_world: MakeWorld) -> None:
    world = make_world(plan="basic", tier="starter", limit=50)
    world.enqueue_secondary()
    result = world.run_queue()
    assert [asset.status for asset in result.assets] == ["success"] * 3
    snapshots = [path for path in world.paths if path.startswith("/v3/snapshot")]
    assert len(snapshots) == 1


def test_an_empty_answer_for_a_symbol_that_never_had_data_is_said_and_not_tried_at_once_again(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = {"symbol": "NOSUCH", "polygon_ticker": "X:NOSUCHUSD", "asset_type": "crypto"}
    world = make_world(document={"secondary_assets": [unknown]})
    world.enqueue_secondary()
    result = world.run_queue()
    assert [asset.status for asset in result.assets] == ["no_data"]
    assert (result.exit_code, result.queue_size) == (1, 0)
    assert "NOSUCH: the provider has no bars of X:NOSUCHUSD" in caplog.text
    sync = world.sync("NOSUCH")
    assert sync is not None
    assert (sync[0], sync[2]) == ("no_data", None)
    assert world.enqueue_secondary().enqueued == 0


class TestALostWindow:
    """Redis has lost the log of calls, and PostgreSQL shows that calls were made just now."""

    @pytest.fixture
    def clock(self) -> SetClock:
        return RealClock()

    def test_is_waited_for_as_if_it_were_full(self, free: World) -> None:
        free.enqueue_secondary()
        with free.services() as services:
            services.queue.take(2, 60)  # leaves one to be worked
        free.run_queue()
        with free.services() as services:
            services.redis.delete(*services.window.keys)
            services.queue.enqueue([("XAUUSD", Lane.HIGH)])
        before = len(free.paths)
        result = free.run_queue(seconds=8)
        assert (len(free.paths), result.calls) == (before, 0)
        assert re.match(r"out of calls for 7[0-3] s", result.ended_because or "")

    def test_of_a_fresh_installation_is_not(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        assert free.run_queue().calls == 3


def test_work_that_another_process_has_taken_over_is_left_to_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The machine slept in the middle of a batch; meanwhile a lease ran out."""
    world = make_world(plan="basic", tier="starter", limit=50, document={"queue": {"retry_delay_seconds": 0}})
    world.enqueue_secondary()
    load = Store.load

    def sleep_and_load(store: Store, symbols: list[str]) -> object:
        with world.services() as other:
            other.redis.zadd(other.keys.queue_leased, {"GBPUSD": 1})
            assert [item.id for item in other.queue.take(1, 60).items] == ["GBPUSD"]  # type: ignore[union-attr]
        monkeypatch.setattr(Store, "load", load)
        return load(store, symbols)

    monkeypatch.setattr(Store, "load", sleep_and_load)
    result = world.run_queue()
    assert [asset.symbol for asset in result.assets] == ["ETHUSD", "USDJPY"]
    assert "taken over by another process meanwhile: GBPUSD" in caplog.text
    with world.services() as services:
        state = services.queue.state()
    assert (state.size, state.leased) == (1, 1)


class TestWhenToStartAgain:
    @pytest.fixture
    def clock(self) -> SetClock:
        return RealClock()

    def test_with_work_that_is_tried_later_says_when_that_is(self, free: World) -> None:
        free.document["secondary_assets"] = free.document["secondary_assets"][:1]
        free.document["queue"] = {"retry_delay_seconds": 40}
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        free.provider.order("wrong-shape")
        result = free.run_queue()
        assert (result.ended_because, result.queue_size) == ("empty", 1)
        assert result.start_again_seconds in range(30, 41)

    def test_after_too_many_calls_is_the_end_of_the_window(self, free: World) -> None:
        free.provider.order("429")
        free.enqueue_secondary()
        assert free.run_queue().start_again_seconds in range(60, 75)


class TestEmptiedRedis:
    """PostgreSQL knows what is due: a Redis without memory costs no data."""

    def start_again(
        self, world: World, caplog: pytest.LogCaptureFixture, *, command: str = "run_queue"
    ) -> list[str]:
        """Start a command ten minutes later; return what it says of the loss."""
        world.clock.at_ms += 600_000
        caplog.clear()
        with caplog.at_level(NOTICE, "assetbatch"):
            getattr(world, command)()
        return [line for line in caplog.messages if line.startswith(EMPTIED)]

    @pytest.mark.parametrize("command", ["run_queue", "enqueue_secondary"])
    def test_is_told_once_with_what_is_queued_again(
        self, free: World, caplog: pytest.LogCaptureFixture, command: str
    ) -> None:
        free.run_priority()
        with free.services() as services:
            services.redis.flushall()
        (line,) = self.start_again(free, caplog, command=command)
        assert "3 items queued again (hint: " in line
        assert self.start_again(free, caplog, command=command) == []

    def test_is_told_also_where_priority_was_started_before(
        self, free: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        free.run_priority()
        with free.services() as services:
            services.redis.flushall()
        free.clock.at_ms += 600_000
        free.run_priority()
        assert len(self.start_again(free, caplog)) == 1

    def test_is_not_confused_with_a_first_start(self, free: World, caplog: pytest.LogCaptureFixture) -> None:
        with free.services() as services:
            services.redis.flushall()
        assert self.start_again(free, caplog, command="run_priority") == []
        assert self.start_again(free, caplog) == []

    def test_is_not_confused_with_one_that_was_restarted(
        self, free: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        free.run_priority()
        with free.services() as services:
            services.redis.set(services.queue._keys.queue_owner, "the server before")
            assert not services.queue.state().is_whole
        assert self.start_again(free, caplog) == []

    def test_is_not_confused_with_one_that_has_forgotten_old_cycles_by_itself(
        self, free: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        free.run_priority()
        now_ms = free.clock.at_ms
        with free.services() as services:
            services.redis.flushall()  # as an earlier version, which has not noted where the queue was whole
            for number in range(CYCLES_KEPT):
                cycle = CycleRecord(started_ms=now_ms + 300_000 + number, duration_ms=1, result="ok")
                services.history.finish(Command.RUN_PRIORITY, cycle)
        assert self.start_again(free, caplog) == []
