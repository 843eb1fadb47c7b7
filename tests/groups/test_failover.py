"""Servers that stand in for one another: no failover and no move of our slot lets a call too many through.

What was written before a failover may be lost with it, and nothing here relies on it: after any change of
server nobody calls until all earlier calls have left the window.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Empty, Lane
from assetbatch.errors import RedisError
from assetbatch.secret import Secret
from assetbatch.state.connection import VIEW_SECONDS, RedisClient, Waiting, connect
from assetbatch.state.keys import Keys
from assetbatch.state.locks import Locks
from assetbatch.state.queue import Lease, Queue
from assetbatch.state.window import Grant, Window, WindowSettings
from tests.groups.servers import MASTER, Cluster, Group, SentinelGroup, until

LIMIT = 5
WINDOW_MS = 60_000
CALL_SECONDS = 10.0
SILENCE_MS = WINDOW_MS + 13_000 + round(VIEW_SECONDS * 1000)
HOUR_MS = 3_600_000
AT_ONCE_SECONDS = 4.0


class Clock:
    """The servers' time, moved on by the test."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


class Process:
    """What one start has of Redis, on a database that has seen calls."""

    def __init__(self, url: str, keys: Keys, clock: Clock, seconds: float = 15.0) -> None:
        self.client: RedisClient = connect(Secret(url), keys.prefix, Waiting(seconds))
        self.clock = clock
        self.window = Window(
            self.client,
            WindowSettings(keys, "abc", CallLimit(LIMIT, WINDOW_MS), CALL_SECONDS, view_seconds=VIEW_SECONDS),
            first_call=lambda _trust: False,
            clock_ms=clock,
        )
        self.queue = Queue(
            self.client, keys, max_size=1000, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
        )
        self.locks = Locks(self.client, keys, clock)

    def begin(self) -> None:
        """Lets the first silence pass, as it does on every server that is new."""
        refused = self.window.ask(CallKind.PRIORITY, "first")
        assert isinstance(refused, Denied)
        self.clock.ahead_ms += refused.wait_ms
        self.window.abandon_wait("first")

    def call(self) -> None:
        """One call, answered at once."""
        answer = self.window.ask(CallKind.PRIORITY)
        assert isinstance(answer, Grant), answer
        self.window.complete(answer)

    def is_silent(self) -> bool:
        """Whether nobody calls, for about a window and the longest call."""
        answer = self.window.ask(CallKind.PRIORITY, "silent")
        self.window.abandon_wait("silent")
        return (
            isinstance(answer, Denied)
            and answer.reason == "lost"
            and SILENCE_MS - 10_000 < answer.wait_ms <= SILENCE_MS
        )


Start = Callable[[Group], Process]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(keys: Keys, clock: Clock) -> Iterator[Start]:
    started: list[Process] = []

    def start(group: Group) -> Process:
        started.append(Process(group.url, keys, clock))
        return started[-1]

    yield start
    for process in started:
        process.client.close()


def called(process: Process) -> Process:
    """A process that may call, and has made a call."""
    process.begin()
    process.call()
    return process


def kill_holder(group: Group, keys: Keys) -> None:
    group.holder(keys.queue_items).kill()


def open_sockets() -> int:
    """How many this process has."""
    opened = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own, closed by now
            opened += os.readlink(entry).startswith("socket:")
    return opened


class TestAGroup:
    @pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
    def test_a_closed_client_leaves_no_connection_to_whom_it_has_asked(
        self, group: Group, keys: Keys
    ) -> None:
        before = open_sockets()
        with connect(Secret(group.url), keys.prefix) as client:
            assert not Locks(client, keys).held("run_queue")
            assert open_sockets() >= before + 2
        assert open_sockets() == before

    def test_serves_window_queue_and_locks_like_one_server(self, group: Group, start: Start) -> None:
        process = start(group)
        process.begin()
        process.queue.enqueue([("EURUSD", Lane.MEDIUM), ("BTCUSD", Lane.HIGH)])
        with process.locks.hold("run_queue", 60) as held:
            assert held
            taken = process.queue.take(2, 60, process.window)
            assert isinstance(taken, Lease)
            assert [item.id for item in taken.items] == ["BTCUSD", "EURUSD"]
            assert taken.grant is not None
            process.window.complete(taken.grant)
            process.queue.finish(taken.token, ["BTCUSD", "EURUSD"])
        assert process.queue.state().size == 0
        assert process.window.state().used == 1

    def test_a_failover_is_waited_for_and_then_nobody_calls_for_a_window_and_the_longest_call(
        self, group: Group, start: Start, keys: Keys, clock: Clock
    ) -> None:
        process = called(start(group))
        kill_holder(group, keys)
        assert process.is_silent()
        clock.ahead_ms += SILENCE_MS
        for _ in range(LIMIT):
            process.call()

    def test_a_second_failover_begins_the_silence_anew(
        self, sentinels: SentinelGroup, start: Start, keys: Keys, clock: Clock
    ) -> None:
        process = called(start(sentinels))
        kill_holder(sentinels, keys)
        assert process.is_silent()
        clock.ahead_ms += SILENCE_MS // 2
        until(lambda: len({sentinel.names() for sentinel in sentinels.sentinels}) == 1)
        kill_holder(sentinels, keys)
        assert process.is_silent()

    def test_the_queue_of_a_new_holder_is_not_taken_for_whole(
        self, group: Group, start: Start, keys: Keys
    ) -> None:
        process = start(group)
        assert not process.queue.state().is_whole
        with process.queue.derived():
            pass
        assert process.queue.state().is_whole
        kill_holder(group, keys)
        assert not process.queue.state().is_whole

    def test_another_process_finds_the_new_holder_too(self, group: Group, start: Start, keys: Keys) -> None:
        start(group).queue.state()
        kill_holder(group, keys)
        assert isinstance(start(group).queue.take(1, 60), Empty)

    def test_a_wrong_password_is_told_at_once(self, group: Group, keys: Keys) -> None:
        for node in group.servers:
            node.client.config_set("requirepass", "made-up")
        scheme, rest = group.url.split("://")
        began = time.monotonic()
        client = connect(Secret(f"{scheme}://:wrong@{rest}"), keys.prefix)
        with pytest.raises(RedisError, match="redis refuses the login"):
            Locks(client, keys).held("run_queue")
        assert time.monotonic() - began < AT_ONCE_SECONDS
        client.close()

    def test_nobody_to_be_reached_is_told_with_the_places_that_were_asked(
        self, group: Group, keys: Keys
    ) -> None:
        group.stop()
        client = connect(Secret(group.url), keys.prefix, Waiting(0.3))
        with pytest.raises(RedisError, match=r"redis cannot be reached: no .*127\.0\.0\.1:\d+, "):
            Locks(client, keys).held("run_queue")

    def test_a_holder_that_does_not_answer_is_told_as_servers_that_are_changing(
        self, group: Group, keys: Keys
    ) -> None:
        kill_holder(group, keys)
        client = connect(Secret(group.url), keys.prefix, Waiting(0.0))
        with pytest.raises(RedisError, match=r"redis is changing its server: the .*not answer") as caught:
            Locks(client, keys).held("run_queue")
        assert "failover" in str(caught.value.hint)

    def test_a_command_that_is_to_stop_waits_for_no_failover(self, group: Group, keys: Keys) -> None:
        kill_holder(group, keys)
        began = time.monotonic()
        client = connect(Secret(group.url), keys.prefix, Waiting(stopped=lambda: True))
        with pytest.raises(RedisError, match="redis is changing its server"):
            Locks(client, keys).held("run_queue")
        assert time.monotonic() - began < AT_ONCE_SECONDS


class TestSentinel:
    def test_a_planned_failover_is_followed_by_silence(
        self, sentinels: SentinelGroup, start: Start, clock: Clock
    ) -> None:
        """A process that was connected goes on with the new master, although the old one answers."""
        process = called(start(sentinels))
        fail_over(sentinels)
        assert process.is_silent()

    def test_a_planned_failover_an_hour_after_the_last_call_is_followed_by_silence_too(
        self, sentinels: SentinelGroup, start: Start, clock: Clock
    ) -> None:
        process = called(start(sentinels))
        clock.ahead_ms += HOUR_MS
        fail_over(sentinels)
        assert process.is_silent()

    def test_a_master_that_comes_back_to_its_place_is_not_trusted_with_what_it_once_wrote(
        self, sentinels: SentinelGroup, start: Start, clock: Clock
    ) -> None:
        process = called(start(sentinels))
        first = sentinels.servers[0]
        for _ in range(10):
            fail_over(sentinels)
            if sentinels.holder("").port == first.port:
                break
        else:
            pytest.skip("the sentinels chose another one each time")
        assert process.is_silent()

    def test_a_frozen_replica_that_takes_over_with_an_old_log_is_silent(
        self, sentinels: SentinelGroup, start: Start, clock: Clock
    ) -> None:
        process = start(sentinels)
        process.begin()
        frozen = sentinels.servers[1]
        frozen.freeze()
        for _ in range(LIMIT):
            process.call()
        sentinels.servers[2].kill()
        sentinels.servers[0].kill()
        frozen.thaw()
        assert process.is_silent()

    def test_a_master_that_was_replaced_and_lives_on_grants_nothing(
        self, sentinels: SentinelGroup, start: Start, clock: Clock
    ) -> None:
        process, other = called(start(sentinels)), start(sentinels)
        old = sentinels.servers[0]
        sentinels.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: sum(sentinel.names() != old.port for sentinel in sentinels.sentinels) >= 2)
        assert other.is_silent()
        clock.ahead_ms += SILENCE_MS
        for _ in range(LIMIT):
            other.call()
        assert isinstance(process.window.ask(CallKind.PRIORITY), Denied)

    def test_a_frozen_master_that_comes_back_grants_nothing(
        self, sentinels: SentinelGroup, start: Start, clock: Clock
    ) -> None:
        process, other = called(start(sentinels)), start(sentinels)
        old = sentinels.servers[0]
        old.freeze()
        try:
            assert other.is_silent()
            clock.ahead_ms += SILENCE_MS
            for _ in range(LIMIT):
                other.call()
        finally:
            old.thaw()
        for _ in range(20):
            assert isinstance(process.window.ask(CallKind.PRIORITY), Denied)

    def test_sentinels_of_which_most_do_not_answer_leave_nobody_who_may_call(
        self, sentinels: SentinelGroup, start: Start, keys: Keys
    ) -> None:
        process = called(start(sentinels))
        for sentinel in sentinels.sentinels[1:]:
            sentinel.kill()
        time.sleep(VIEW_SECONDS)
        hasty = connect(Secret(sentinels.url), keys.prefix, Waiting(0.3))
        process.window = Window(
            hasty,
            WindowSettings(keys, "abc", CallLimit(LIMIT, WINDOW_MS), CALL_SECONDS),
            clock_ms=process.clock,
        )
        with pytest.raises(RedisError, match="do not answer, or do not agree on a master"):
            process.window.ask(CallKind.PRIORITY)

    def test_sentinels_that_want_a_login_say_so_at_once(self, sentinels: SentinelGroup, keys: Keys) -> None:
        for sentinel in sentinels.sentinels:
            sentinel.client.execute_command("ACL", "SETUSER", "default", "resetpass", ">made-up")
        began = time.monotonic()
        with pytest.raises(RedisError, match="the sentinels refuse the login") as caught:
            Locks(connect(Secret(sentinels.url), keys.prefix), keys).held("run_queue")
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert "sentinel_password" in str(caught.value.hint)
        with_login = connect(Secret(f"{sentinels.url}?sentinel_password=made-up"), keys.prefix)
        assert Locks(with_login, keys).held("run_queue") == []

    def test_a_name_that_no_sentinel_knows_is_told_at_once(
        self, sentinels: SentinelGroup, keys: Keys
    ) -> None:
        began = time.monotonic()
        client = connect(Secret(sentinels.url.replace("mymaster", "other")), keys.prefix)
        with pytest.raises(RedisError, match="no sentinel knows a master 'other'"):
            Locks(client, keys).held("run_queue")
        assert time.monotonic() - began < AT_ONCE_SECONDS

    def test_a_dead_sentinel_is_passed_over(self, sentinels: SentinelGroup, start: Start) -> None:
        sentinels.sentinels[0].kill()
        called(start(sentinels))


class TestACluster:
    def test_a_move_of_our_slot_is_waited_for_and_followed_by_silence(
        self, cluster: Cluster, start: Start, keys: Keys
    ) -> None:
        process = called(start(cluster))
        process.queue.enqueue([("EURUSD", Lane.MEDIUM)])
        moved = threading.Thread(target=cluster.move_slot, args=(keys.queue_items, 1.0))
        moved.start()
        time.sleep(0.3)  # half of the keys are there, half here
        taken = process.queue.take(1, 60)
        moved.join()
        assert isinstance(taken, Lease)
        assert process.is_silent()

    def test_a_slot_on_its_way_is_told_as_servers_that_are_changing(
        self, cluster: Cluster, start: Start, keys: Keys
    ) -> None:
        start(cluster).queue.enqueue([("EURUSD", Lane.MEDIUM), ("BTCUSD", Lane.HIGH)])
        hasty = connect(Secret(cluster.url), keys.prefix, Waiting(0.0))
        queue = Queue(hasty, keys, max_size=10, retry_max_attempts=3, retry_delay_seconds=60)
        moved = threading.Thread(target=cluster.move_slot, args=(keys.queue_items, 2.0))
        moved.start()
        time.sleep(0.5)
        with pytest.raises(RedisError, match="the slot of our keys is moving"):
            queue.take(1, 60)
        moved.join()


def fail_over(group: SentinelGroup) -> None:
    """A failover as an operator asks for it; returns when all Sentinels name the new master."""
    old = group.sentinels[0].names()
    until(lambda: group.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", MASTER))
    until(lambda: len({sentinel.names() for sentinel in group.sentinels} - {old}) == 1)
    until(lambda: all(sentinel.names() != old for sentinel in group.sentinels))
