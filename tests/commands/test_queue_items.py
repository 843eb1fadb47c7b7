"""What is in the queue and when its turn is; work that is taken out of it."""

from __future__ import annotations

from datetime import date

import pytest

from assetbatch.commands.backfill import backfill
from assetbatch.commands.queue_items import QueueEntry, cancel, list_queue, next_start
from assetbatch.domain.coverage import GapReason
from assetbatch.domain.queueing import Failure, ItemState, Lane
from assetbatch.domain.records import JobState
from assetbatch.domain.work import parse_work_id
from assetbatch.services import Services
from assetbatch.state.queue import Lease
from tests.commands.test_backfill import holes_of
from tests.world import World

from .conftest import MakeWorld

SECOND, MINUTE = 1000, 60_000


def entries(world: World, *names: str, lanes: tuple[Lane, ...] = ()) -> list[QueueEntry]:
    with world.services() as services:
        return list_queue(services, names, lanes)


def dump(services: Services) -> dict[str, object]:
    """What the keys of the queue hold."""
    return {name: services.redis.dump(name) for name in services.keys.queue}


def fail_first(world: World) -> str:
    """The first item that waits fails once; return its id."""
    with world.services() as services:
        lease = services.queue.take(1, 60)
        assert isinstance(lease, Lease)
        (item,) = lease.items
        services.queue.start(lease.token, [item.id], 60)
        services.queue.fail(lease.token, [Failure(item.id, "HTTP 503")])
    return item.id


class TestTheList:
    def test_has_what_is_worked_then_what_waits_in_its_order_then_what_is_tried_later(
        self, free: World
    ) -> None:
        free.enqueue_secondary()
        delayed = fail_first(free)
        with free.services() as services:
            services.queue.take(1, 60)
            services.queue.enqueue([("bars:ETHUSD", Lane.BARS), ("XAUUSD", Lane.CRITICAL)])
        found = entries(free)
        assert [(entry.item.id, entry.item.state, entry.place) for entry in found] == [
            ("GBPUSD", ItemState.LEASED, None),
            ("XAUUSD", ItemState.WAITING, 1),
            ("USDJPY", ItemState.WAITING, 2),
            ("bars:ETHUSD", ItemState.WAITING, 3),
            (delayed, ItemState.DELAYED, None),
        ]
        item = found[-1].item
        assert (delayed, item.attempts, item.error) == ("ETHUSD", 1, "HTTP 503")
        assert found[-1].turn_ms == item.until_ms

    def test_leaves_leases_and_places_as_they_are(self, free: World) -> None:
        free.enqueue_secondary()
        with free.services() as services:
            lease = services.queue.take(1, 60)
            before = dump(services)
        assert isinstance(lease, Lease)
        entries(free)
        with free.services() as services:
            assert dump(services) == before
            assert services.queue.finish(lease.token, [lease.items[0].id]) == ()

    def test_of_names_and_classes_keeps_the_places_among_all(self, free: World) -> None:
        free.enqueue_secondary()
        assert [(one.item.id, one.place) for one in entries(free, "USDJPY")] == [("USDJPY", 3)]
        found = entries(free, lanes=(Lane.HIGH, Lane.LOW))
        assert [(one.item.id, one.place) for one in found] == [("ETHUSD", 1), ("USDJPY", 3)]
        assert entries(free, "NOSUCH") == []

    def test_says_no_moment_as_long_as_nobody_starts_run_queue(self, free: World) -> None:
        free.enqueue_secondary()
        assert {entry.turn_ms for entry in entries(free)} == {None}

    def test_knows_a_moment_for_as_long_as_status_takes_run_queue_to_be_started(self) -> None:
        started = JobState(
            last_started_ms=0,
            last_finished_ms=1,
            last_result="ok",
            last_error=None,
            last_refreshed_ms=None,
            skipped=0,
            starts_ms=(0,),
        )
        assert next_start(started, 10 * MINUTE) == 10 * MINUTE
        assert next_start(started, 10 * MINUTE + 1) is None

    def test_says_when_the_calls_go_out_at_the_rate_that_is_left(self, make_world: MakeWorld) -> None:
        world = make_world(limit=2, window_seconds=60)
        world.run_queue(seconds=1)
        world.enqueue_secondary()
        start_ms = world.clock.at_ms // MINUTE * MINUTE + MINUTE
        turns = [entry.turn_ms for entry in entries(world)]
        assert turns == [start_ms, start_ms, start_ms + MINUTE]

    def test_waits_for_the_next_slot_of_a_full_window(self, make_world: MakeWorld) -> None:
        world = make_world(limit=1, window_seconds=3600)
        world.know_that_today_is_refused()
        world.enqueue_secondary()
        world.run_queue(seconds=30)  # it ends with the one call
        with world.services() as services:
            free_ms = services.window.state().next_slot_ms
        turns = [entry.turn_ms for entry in entries(world)]
        assert turns == [free_ms, free_ms + 60 * MINUTE]

    def test_lets_prices_share_a_call_where_snapshots_bring_them(self, paid: World) -> None:
        paid.run_queue(seconds=1)
        paid.enqueue_secondary()
        assert len({entry.turn_ms for entry in entries(paid)}) == 1


class TestCancelling:
    def test_takes_out_what_waits_and_what_is_tried_later_and_leaves_what_is_worked(
        self, free: World
    ) -> None:
        free.enqueue_secondary()
        delayed = fail_first(free)
        with free.services() as services:
            lease = services.queue.take(1, 60)
            assert isinstance(lease, Lease)
            done = cancel(services, [])
            assert (done.cancelled, done.leased) == (("USDJPY", delayed), (lease.items[0].id,))
            assert services.queue.finish(lease.token, [lease.items[0].id]) == ()
            assert services.queue.state().size == 0
            assert services.redis.exists(services.keys.queue_errors) == 0

    def test_of_a_symbol_takes_out_all_its_work(self, free: World) -> None:
        with free.services() as services:
            services.queue.enqueue(
                [("ETHUSD", Lane.HIGH), ("bars:ETHUSD", Lane.BARS), ("GBPUSD", Lane.MEDIUM)]
            )
            assert cancel(services, ["ETHUSD"]).cancelled == ("ETHUSD", "bars:ETHUSD")
            assert services.queue.peek(5) == ["GBPUSD"]

    def test_leaves_a_price_due_so_that_it_is_queued_again(self, free: World) -> None:
        free.enqueue_secondary()
        with free.services() as services:
            cancel(services, ["ETHUSD"])
        assert free.enqueue_secondary().enqueued == 1
        with free.services() as services:
            assert "ETHUSD" in services.queue.peek(5)

    def test_of_a_page_leaves_its_bars_missing_so_that_it_is_queued_again(self, free: World) -> None:
        free.know_that_today_is_refused()
        with free.services() as services:
            backfill(services, ["BTCUSD"], date(2026, 6, 1), date(2026, 6, 30), dry_run=False)
            assert len(cancel(services, ["BTCUSD"]).cancelled) == 1
        assert {gap.reason for gap in holes_of(free).gaps} == {GapReason.NOT_ASKED, GapReason.NOT_PUBLISHED}
        free.enqueue_secondary()
        with free.services() as services:
            pages = [parse_work_id(item_id) for item_id in services.queue.peek(20)]
        assert any(page.first_day == date(2026, 6, 1) for page in pages)

    def test_says_what_is_not_there(self, free: World) -> None:
        with free.services() as services:
            assert services.queue.cancel(["NOSUCH"]).unknown == ("NOSUCH",)


@pytest.mark.parametrize("text", ["", "9:0:1:", "no record"])
def test_a_record_that_cannot_be_read_is_no_item_and_can_be_taken_out(free: World, text: str) -> None:
    free.enqueue_secondary()
    with free.services() as services:
        services.redis.hset(services.keys.queue_items, "GBPUSD", text)
        assert [entry.item.id for entry in list_queue(services)] == ["ETHUSD", "USDJPY"]
        assert services.queue.cancel(["GBPUSD"]).cancelled == ("GBPUSD",)
        assert services.redis.zscore(services.keys.queue_waiting[2], "GBPUSD") is None
