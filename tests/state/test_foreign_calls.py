"""Slots for calls that other programs make: how far ahead they are dated, and who frees them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from assetbatch.domain.queueing import LONGEST_CALL_SECONDS, CallKind, CallLimit, Denied
from assetbatch.domain.records import Command
from assetbatch.errors import ConfigError
from assetbatch.slots.slots import MARGIN_SECONDS, Slot, Slots, told
from assetbatch.state.connection import RedisClient
from assetbatch.state.dead_processes import DeadProcesses
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import is_foreign, new_id
from assetbatch.state.queue import RetryPolicy
from assetbatch.state.window import Grant, Window, WindowSettings

from .conftest import FakeClock

CALL_SECONDS = 10.0
WINDOW_MS = 60_000


@pytest.fixture
def window(redis_client: RedisClient, keys: Keys, clock: FakeClock) -> Window:
    return Window(
        redis_client, WindowSettings(keys, "abc", CallLimit(2, WINDOW_MS), CALL_SECONDS), clock_ms=clock
    )


@pytest.fixture
def slots(window: Window) -> Slots:
    return Slots(window, None)


def take(slots: Slots, hold: float = LONGEST_CALL_SECONDS, kind: CallKind = CallKind.QUEUE) -> Slot:
    answer = slots.take(kind, hold, 0, lambda _: True)
    assert isinstance(answer, Slot), answer
    return answer


def dated_ms(window: Window, slot: Slot, client: RedisClient, clock: FakeClock) -> int:
    """How far ahead of now the entry of a slot is dated."""
    return int(client.zscore(window.keys[0], slot.id)) - clock.now_ms


def id_of_a_dead_process() -> str:
    code = "from assetbatch.state.process_id import new_id; print(new_id(foreign=True))"
    return subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


class TestASlot:
    def test_is_dated_by_its_hold_and_a_margin(
        self, slots: Slots, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        assert dated_ms(window, take(slots, 3), redis_client, clock) == 1000 * (3 + MARGIN_SECONDS)
        assert dated_ms(window, take(slots), redis_client, clock) == window.max_in_flight_ms

    def test_does_not_shorten_those_of_others(
        self, slots: Slots, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        long = take(slots)
        take(slots, 1)
        assert dated_ms(window, long, redis_client, clock) == window.max_in_flight_ms

    def test_ends_by_itself(self, slots: Slots, window: Window, clock: FakeClock) -> None:
        take(slots, 3)
        clock.advance(3 + MARGIN_SECONDS + WINDOW_MS / 1000)
        assert window.state().used == 0

    def test_counts_from_when_it_is_done(
        self, slots: Slots, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        slot = take(slots)
        clock.advance(2)
        slots.done(slot.id, call_made=True)
        assert dated_ms(window, slot, redis_client, clock) == 1
        other = take(slots)
        slots.done(other.id, call_made=True, arrival_seconds=1)
        assert dated_ms(window, other, redis_client, clock) == 1001

    def test_that_was_not_used_is_free_again_but_only_once(self, slots: Slots, window: Window) -> None:
        slot = take(slots)
        slots.done(slot.id, call_made=False)
        assert window.state().used == 0
        slot = take(slots)
        slots.done(slot.id, call_made=True)
        slots.done(slot.id, call_made=False)
        assert window.state().used == 1

    @pytest.mark.parametrize(
        "forged",
        [
            "",
            "x",
            "a" * 10_000,
            "fd32022f.1cf54a2f.12.34.d.0123456789abcdef",
            "fd32022f.1cf54a2f.12.34.f.0123456789abcdef\n",
            "fd32022f.1cf54a2f.٣.34.f.0123456789abcdef",
            "fd32022f.1cf54a2f.12.34.f.0123456789abcdef.f.0123456789abcdef",
            "*",
        ],
    )
    def test_with_another_id_is_none(
        self, slots: Slots, redis_client: RedisClient, window: Window, forged: str
    ) -> None:
        for call_made in (True, False):
            with pytest.raises(ConfigError, match="this is no slot"):
                slots.done(forged, call_made=call_made)
        assert not redis_client.exists(window.keys[0])

    def test_names_itself(self) -> None:
        assert is_foreign(new_id(foreign=True))
        assert not is_foreign(new_id())

    def test_is_told_when_there_will_be_one(self, slots: Slots, clock: FakeClock) -> None:
        for _ in range(2):
            slots.done(take(slots).id, call_made=True)
        clock.advance(10)
        answer = slots.take(CallKind.PRIORITY, 5, 49, lambda _: pytest.fail("it would wait in vain"))
        assert isinstance(answer, Denied)
        told_it = told(answer)
        assert (told_it.granted, told_it.reason, told_it.retry_after_seconds) == (False, "window", 50.001)  # type: ignore[union-attr]

    def test_is_waited_for_and_then_taken(self, slots: Slots, clock: FakeClock) -> None:
        for _ in range(2):
            slots.done(take(slots).id, call_made=True)

        def pause(seconds: float) -> bool:
            clock.advance(seconds)
            return True

        assert isinstance(slots.take(CallKind.QUEUE, 5, 70, pause), Slot)

    def test_that_is_not_waited_for_any_more_leaves_no_turn(
        self, slots: Slots, window: Window, redis_client: RedisClient
    ) -> None:
        for _ in range(2):
            take(slots)
        assert isinstance(slots.take(CallKind.QUEUE, 5, 100, lambda _: False), Denied)
        assert not redis_client.exists(*window.keys[3:5])


class TestWhatIsReserved:
    def test_is_for_priority_only(self, slots: Slots, window: Window, clock: FakeClock) -> None:
        window.reserve(clock.now_ms, 2, 300_000)
        answer = slots.take(CallKind.QUEUE, 5, 0, lambda _: True)
        assert isinstance(answer, Denied)
        assert answer.reason == "reserved"
        take(slots, kind=CallKind.PRIORITY)
        assert window.state().reserved == 1


class TestADeadProcess:
    """The program for which it has taken a slot may live on, and call late."""

    @pytest.fixture
    def dead_processes(self, redis_client: RedisClient, keys: Keys, clock: FakeClock) -> DeadProcesses:
        return DeadProcesses(
            redis_client, keys, keys.window("abc"), tuple(Command), RetryPolicy(3, 60_000, 100), clock
        )

    def test_leaves_its_slot_taken(
        self, window: Window, dead_processes: DeadProcesses, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        an_id = id_of_a_dead_process()
        assert isinstance(window.ask(CallKind.QUEUE, an_id), Grant)
        assert not dead_processes.free()
        assert redis_client.zscore(window.keys[0], an_id) == clock.now_ms + window.max_in_flight_ms

    def test_leaves_its_turn_to_others(self, window: Window, dead_processes: DeadProcesses) -> None:
        for _ in range(2):
            window.ask(CallKind.QUEUE)
        assert isinstance(window.ask(CallKind.QUEUE, id_of_a_dead_process()), Denied)
        assert dead_processes.free()


class TestASlotThatIsRenewed:
    def test_is_dated_ahead_anew(
        self, slots: Slots, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        slot = take(slots)
        clock.advance(8)
        later = slots.renew(slot, 5)
        assert later
        assert later.until > slot.until - 5  # of the boot clock, which stands here
        assert dated_ms(window, slot, redis_client, clock) == 1000 * (5 + MARGIN_SECONDS)

    def test_is_never_dated_back(
        self, slots: Slots, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        slot = take(slots)
        slots.renew(slot, 1)
        assert dated_ms(window, slot, redis_client, clock) == window.max_in_flight_ms

    def test_ends_as_it_is_where_redis_has_forgotten_it(
        self, slots: Slots, window: Window, redis_client: RedisClient
    ) -> None:
        slot = take(slots)
        redis_client.delete(window.keys[0])
        assert slots.renew(slot, 10) is None
        assert not redis_client.exists(window.keys[0])

    def test_ends_as_it_is_where_the_log_may_be_incomplete(
        self, slots: Slots, window: Window, redis_client: RedisClient
    ) -> None:
        slot = take(slots)
        redis_client.set(window.keys[5], "another server")
        assert slots.renew(slot, 10) is None

    def test_ends_as_it_is_once_its_time_is_over(
        self, slots: Slots, window: Window, clock: FakeClock
    ) -> None:
        slot = take(slots)
        clock.now_ms += window.max_in_flight_ms
        assert slots.renew(slot, 10) is None

    def test_ends_as_it_is_where_priority_needs_it(
        self, slots: Slots, window: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        window.reserve(clock.now_ms + window.max_in_flight_ms + WINDOW_MS, 2, 300_000)
        first, second = take(slots), take(slots, kind=CallKind.PRIORITY)
        clock.advance(3)
        assert slots.renew(first, 10) is None
        assert dated_ms(window, first, redis_client, clock) == window.max_in_flight_ms - 3000
        assert slots.renew(second, 10)
