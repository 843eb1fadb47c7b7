"""Servers that stand in for one another: neither a failover nor a move of our slot loses anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from assetbatch.config import CallLimit
from assetbatch.errors import RedisError
from assetbatch.secret import Secret
from assetbatch.state import groups
from assetbatch.state.connection import RedisClient, connect
from assetbatch.state.groups import has_moved
from assetbatch.state.keys import Keys
from assetbatch.state.locks import Locks
from assetbatch.state.queue import Empty, Lease, Line, Queue
from assetbatch.state.replication import SETTLE_MS, Replication
from assetbatch.state.window import CallKind, Grant, Refused, Window
from tests.groups.servers import MASTER, Cluster, Group, SentinelGroup, until

LIMIT = 5
CALL_SECONDS = 10.0


class Process:
    """What one start has of Redis."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.client: RedisClient = connect(Secret(url), keys.prefix)
        confirm = Replication(self.client, keys, partial(has_moved, self.client)).confirm
        limit = CallLimit(LIMIT, 60_000)
        self.last_call_ms: int | None = None
        """What the database knows of the last call."""
        self.window = Window(
            self.client,
            keys,
            "abc",
            limit,
            CALL_SECONDS,
            last_call_ms=lambda: self.last_call_ms,
            confirm=confirm,
        )
        self.queue = Queue(
            self.client, keys, max_size=1000, retry_max_attempts=3, retry_delay_seconds=60, confirm=confirm
        )
        self.locks = Locks(self.client, keys)

    def call(self) -> None:
        """One call, answered at once and stored."""
        answer = self.window.ask(CallKind.PRIORITY)
        assert isinstance(answer, Grant), answer
        self.last_call_ms = self.now_ms()
        self.window.settle(answer)

    def now_ms(self) -> int:
        seconds, microseconds = self.client.time()
        return int(seconds * 1000 + microseconds // 1000)


Start = Callable[[Group], Process]


@pytest.fixture
def start(keys: Keys) -> Iterator[Start]:
    started: list[Process] = []

    def start(group: Group) -> Process:
        started.append(Process(group.url, keys))
        return started[-1]

    yield start
    for process in started:
        process.client.close()


def kill_holder(group: Group, keys: Keys) -> None:
    group.holder(keys.queue_items).kill()


class TestAGroup:
    def test_serves_window_queue_and_locks_like_one_server(self, group: Group, start: Start) -> None:
        process = start(group)
        process.queue.enqueue([("EURUSD", Line.MEDIUM), ("BTCUSD", Line.HIGH)])
        with process.locks.hold("run_queue", 60) as held:
            assert held
            taken = process.queue.take(2, 60, process.window)
            assert isinstance(taken, Lease)
            assert [item.id for item in taken.items] == ["BTCUSD", "EURUSD"]
            assert taken.grant is not None
            process.window.settle(taken.grant)
            process.queue.finish(taken.token, ["BTCUSD", "EURUSD"])
        assert process.queue.state().size == 0
        assert process.window.state().used == 1

    def test_a_failover_is_waited_for_and_nothing_of_queue_and_window_is_lost(
        self, group: Group, start: Start, keys: Keys
    ) -> None:
        process = start(group)
        for _ in range(LIMIT - 2):
            process.call()
        process.queue.enqueue([(f"S{n}", Line.MEDIUM) for n in range(100)])
        taken = process.queue.take(10, 60)
        assert isinstance(taken, Lease)
        process.queue.enqueue([("LATE", Line.LOW)])  # confirms what was leased, too
        kill_holder(group, keys)
        process.call()
        process.call()
        refused = process.window.ask(CallKind.PRIORITY)
        assert isinstance(refused, Refused)
        assert refused.reason == "window"  # the log was believed at once
        state = process.queue.state()
        assert (state.size, state.leased) == (101, 10)

    def test_another_process_finds_the_new_holder_too(self, group: Group, start: Start, keys: Keys) -> None:
        start(group).queue.enqueue([("EURUSD", Line.MEDIUM)])
        kill_holder(group, keys)
        assert isinstance(start(group).queue.take(1, 60), Lease)

    def test_calls_that_the_log_does_not_know_of_fill_the_window_after_a_failover(
        self, group: Group, start: Start, keys: Keys
    ) -> None:
        process = start(group)
        process.call()
        kill_holder(group, keys)
        process.last_call_ms = process.now_ms() + 1001  # a second is what clocks may differ
        refused = process.window.ask(CallKind.PRIORITY)
        assert isinstance(refused, Refused)
        assert refused.reason == "lost"

    def test_entries_of_another_servers_clock_count_for_a_second_longer(
        self, group: Group, start: Start, keys: Keys
    ) -> None:
        process = start(group)
        process.call()
        before = process.client.zrange(process.window.keys[0], 0, -1, withscores=True)
        kill_holder(group, keys)
        process.call()
        after = dict(process.client.zrange(process.window.keys[0], 0, -1, withscores=True))
        ((call_id, score),) = before
        assert after[call_id] == score + 1000

    def test_a_wrong_password_is_told_at_once(self, group: Group, keys: Keys) -> None:
        for node in group.servers:
            node.client.config_set("requirepass", "made-up")
        scheme, rest = group.url.split("://")
        began = time.monotonic()
        client = connect(Secret(f"{scheme}://:wrong@{rest}"), keys.prefix)
        with pytest.raises(RedisError, match="redis refuses the login"):
            Locks(client, keys).held("run_queue")
        assert time.monotonic() - began < groups.PATIENCE_SECONDS / 3
        client.close()

    def test_nobody_to_be_reached_is_told_with_the_places_that_were_asked(
        self, group: Group, keys: Keys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(groups, "PATIENCE_SECONDS", 0.3)
        group.stop()
        client = connect(Secret(group.url), keys.prefix)
        with pytest.raises(RedisError, match=r"redis cannot be reached: no .*127\.0\.0\.1:\d+, "):
            Locks(client, keys).held("run_queue")


class TestAGrant:
    """It is used only when a replica has it, so that no failover forgets a call."""

    def test_is_given_back_while_the_replicas_that_follow_confirm_nothing(
        self, sentinels: SentinelGroup, start: Start
    ) -> None:
        process = start(sentinels)
        process.call()
        process.queue.enqueue([("EURUSD", Line.MEDIUM)])
        for replica in sentinels.servers[1:]:
            replica.freeze()
        try:
            with pytest.raises(RedisError, match="no replica of redis has confirmed a write within 2 s"):
                process.window.ask(CallKind.PRIORITY)
            with pytest.raises(RedisError, match="no replica of redis has confirmed"):
                process.queue.take(1, 60, process.window)
        finally:
            for replica in sentinels.servers[1:]:
                replica.thaw()
        assert process.window.state().used == 1
        assert process.queue.state().leased == 0

    def test_is_used_where_no_replica_follows_so_that_none_can_take_over(
        self, sentinels: SentinelGroup, start: Start
    ) -> None:
        process = start(sentinels)
        for replica in sentinels.servers[1:]:
            replica.kill()
        until(lambda: sentinels.servers[0].client.info("replication")["connected_slaves"] == 0)
        process.call()

    def test_waits_for_a_replica_that_has_just_left_since_it_may_be_taking_over(
        self, sentinels: SentinelGroup, start: Start
    ) -> None:
        process = start(sentinels)
        process.call()
        sentinels.servers[1].kill()
        until(lambda: sentinels.servers[0].client.info("replication")["connected_slaves"] == 1)
        began = time.monotonic()
        process.call()
        waited = time.monotonic() - began
        process.call()
        assert waited > SETTLE_MS / 1000 - 0.1
        assert time.monotonic() - began - waited < 1

    def test_is_not_believed_of_a_server_that_was_started_again(
        self, sentinels: SentinelGroup, start: Start
    ) -> None:
        process = start(sentinels)
        process.call()
        sentinels.servers[0].kill()
        sentinels.servers[0].start()  # before anybody calls it down, and without persistence: its log is gone
        refused = process.window.ask(CallKind.PRIORITY)
        assert isinstance(refused, Refused)
        assert refused.reason == "lost"


class TestSentinel:
    def test_a_master_that_was_replaced_and_lives_on_grants_nothing(
        self, sentinels: SentinelGroup, start: Start
    ) -> None:
        process, other = start(sentinels), start(sentinels)
        process.call()
        old = sentinels.servers[0]
        sentinels.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: all(sentinel.names() != old.port for sentinel in sentinels.sentinels))
        for _ in range(LIMIT - 1):
            other.call()
        assert old.client.info("replication")["role"] == "master"
        assert isinstance(process.window.ask(CallKind.PRIORITY), Refused)

    def test_sentinels_that_do_not_answer_leave_nobody_who_may_call(
        self, sentinels: SentinelGroup, start: Start
    ) -> None:
        process = start(sentinels)
        process.call()
        for sentinel in sentinels.sentinels[1:]:
            sentinel.kill()
        with pytest.raises(RedisError, match="do not answer, or do not agree on a master"):
            process.window.ask(CallKind.PRIORITY)
        assert process.window.state().used == 1

    def test_a_name_that_no_sentinel_knows_is_told_at_once(
        self, sentinels: SentinelGroup, keys: Keys
    ) -> None:
        began = time.monotonic()
        client = connect(Secret(sentinels.url.replace("mymaster", "other")), keys.prefix)
        with pytest.raises(RedisError, match="no sentinel knows a master 'other'"):
            Locks(client, keys).held("run_queue")
        assert time.monotonic() - began < groups.PATIENCE_SECONDS / 3

    def test_a_dead_sentinel_is_passed_over(self, sentinels: SentinelGroup, start: Start) -> None:
        sentinels.sentinels[0].kill()
        start(sentinels).call()


class TestACluster:
    def test_a_move_of_our_slot_is_waited_for_and_the_log_is_believed_at_its_new_place(
        self, cluster: Cluster, start: Start, keys: Keys
    ) -> None:
        process = start(cluster)
        for _ in range(LIMIT - 1):
            process.call()
        process.queue.enqueue([("EURUSD", Line.MEDIUM)])
        moved = threading.Thread(target=cluster.move_slot, args=(keys.queue_items, 1.0))
        moved.start()
        time.sleep(0.3)  # half of the keys are there, half here
        taken = process.queue.take(1, 60, process.window)
        moved.join()
        assert isinstance(taken, Lease)
        assert process.window.state().used == LIMIT
        assert isinstance(process.queue.take(1, 60), Empty)
