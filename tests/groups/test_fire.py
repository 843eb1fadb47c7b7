"""The fire on servers that stand in for one another: their changes in the middle of it.

A server that has taken over is not trusted before all earlier calls have left the window, and the queue is
derived again from PostgreSQL: so the budget holds and no work is lost, whatever the servers forget.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from assetbatch.sandbox import windows_over_limit
from assetbatch.state.connection import VIEW_SECONDS
from assetbatch.state.keys import Keys
from assetbatch.state.window import ARRIVAL_SECONDS, GRANT_AGE_SECONDS
from tests.fire.arena import (
    CALL_SECONDS,
    LIMIT,
    RETRY_DELAY_SECONDS,
    WINDOW_SECONDS,
    Arena,
    holds,
    unexpected,
)
from tests.fire.judges import Hold, use, work_lost_or_doubled
from tests.fire.worker import STEPS
from tests.groups.servers import MASTER, Cluster, Group, Node, SentinelGroup, until

log = logging.getLogger("fire")

PROCESSES = 6
QUEUE_SECONDS = 20.0
IN_FLIGHT_SECONDS = CALL_SECONDS + GRANT_AGE_SECONDS + ARRIVAL_SECONDS
"""What a call may still take when its server has changed; production's is 13 s."""

SILENCE_SECONDS = WINDOW_SECONDS + IN_FLIGHT_SECONDS + VIEW_SECONDS
BACK_AT_WORK_SECONDS = SILENCE_SECONDS + 15.0
"""What a command waits for servers that are changing, a start of the interpreter and the silence."""

WORK_SECONDS = SILENCE_SECONDS + 4.0
"""From one change to the next, so that calls are made between them."""


class Change(msgspec.Struct, kw_only=True):
    """What was done to the servers: `at` when it began, `over` when somebody held all keys again."""

    what: str
    at: float
    over: float


class Troubles:
    """Changes the server that holds the keys in every way that an operator or a fault does."""

    def __init__(self, group: Group, prefix: str) -> None:
        self._group = group
        self._key = Keys(prefix).queue_items
        self._dead: list[Node] = []
        self.changes: list[Change] = []

    def steps(self) -> list[Callable[[], None]]:
        """What is done, one after another, each while the work goes on."""
        if isinstance(self._group, Cluster):
            return [self._move, self._kill, self._bring_back, self._move, self._freeze_holder]
        return [
            self._planned,
            self._kill,
            self._bring_back,
            self._freeze_holder,
            self._twice,
            self._bring_back,
            self._frozen_replica_takes_over,
        ]

    def _changed(self, what: str, change: Callable[[Node], None]) -> None:
        holder = self._group.holder(self._key)
        at = time.monotonic()
        change(holder)
        until(lambda: self._group.holder(self._key) is not holder)
        self.changes.append(Change(what=what, at=at, over=time.monotonic()))

    def _kill(self) -> None:
        def kill(holder: Node) -> None:
            holder.kill()
            self._dead.append(holder)

        self._changed("killed", kill)

    def _bring_back(self) -> None:
        """They come as replicas of who took over."""
        while self._dead:
            self._dead.pop().start()
        until(lambda: self._group.holder(self._key).replicas() >= 1)

    def _freeze_holder(self) -> None:
        """One that was frozen takes itself for the holder when it comes back."""
        frozen = self._group.holder(self._key)
        self._changed("frozen", lambda holder: holder.freeze())
        time.sleep(SILENCE_SECONDS)
        frozen.thaw()

    def _planned(self) -> None:
        assert isinstance(self._group, SentinelGroup)
        sentinel = self._group.sentinels[0].client
        self._changed("planned", lambda _: sentinel.execute_command("SENTINEL", "FAILOVER", MASTER))

    def _twice(self) -> None:
        self._kill()
        assert isinstance(self._group, SentinelGroup)
        sentinels = self._group.sentinels
        until(lambda: len({sentinel.names() for sentinel in sentinels}) == 1)
        until(lambda: self._group.holder(self._key).replicas() >= 1)
        self._kill()

    def _frozen_replica_takes_over(self) -> None:
        """It has missed what came after its sleep began: some calls and leases."""
        living = [node for node in self._group.servers if node.process and node.process.poll() is None]
        holder = self._group.holder(self._key)
        frozen, *others = [node for node in living if node is not holder]
        frozen.freeze()
        time.sleep(SILENCE_SECONDS)

        def leave_it_alone(holder: Node) -> None:
            for node in (*others, holder):
                node.kill()
                self._dead.append(node)
            frozen.thaw()

        self._changed("old replica", leave_it_alone)

    def _move(self) -> None:
        assert isinstance(self._group, Cluster)
        group = self._group

        def move(_: Node) -> None:
            group.move_slot(self._key, pause_seconds=0.5)

        self._changed("moved", move)


def cut(held: Sequence[Hold], changes: Sequence[Change]) -> list[Hold]:
    """What was leased before a change is leased no more: whoever holds it makes no further call for it."""
    ended = []
    for hold in held:
        after = [change.over + IN_FLIGHT_SECONDS for change in changes if change.over > hold.start]
        ended.append(Hold(hold.item, hold.token, hold.start, min(hold.end, *after)) if after else hold)
    return ended


@pytest.mark.timeout(300)
def test_no_change_of_the_servers_loses_work_or_opens_a_window(
    group: Group, tmp_path: Path, database_url: str, prefix: str
) -> None:
    axe = random.Random(7)
    troubles = Troubles(group, prefix)
    with Arena(tmp_path, group.url, database_url, prefix, backlog=250, latency=(0.01, 0.1)) as arena:
        number = 0
        for step in [*troubles.steps(), None]:
            goes_on_until = time.monotonic() + (WORK_SECONDS if step else BACK_AT_WORK_SECONDS)
            while time.monotonic() < goes_on_until:
                for _ in range(PROCESSES - len(arena.living())):
                    number += 1
                    kill = {STEPS[number % len(STEPS)]: 0.3} if number % 2 else {}
                    arena.start("run-queue", QUEUE_SECONDS, seed=number, kill=kill, lag_seconds=0.1)
                if axe.random() < 0.02 and (living := arena.living()):
                    axe.choice(living).kill()
                time.sleep(0.1)
            if step:
                step()
        for process in arena.living():
            process.terminate()
        for process in arena.processes:
            process.wait(30)
        arrivals, asked, lines = arena.arrivals(), arena.asked(), arena.lines()
        done, in_queue = arena.done(), arena.in_queue()
    held = cut(holds(lines), troubles.changes)
    times = sorted(one.at for one in arrivals)
    pauses = [
        min((at - change.over for at in times if at > change.over), default=float("inf"))
        for change in troubles.changes
    ]
    log.info(
        "%d processes; %d arrivals, %.0f %% of the budget; %d symbols stored; back at work after %s; "
        "failed starts %s; queue %s",
        len(arena.processes),
        len(arrivals),
        100 * use(times, LIMIT, WINDOW_SECONDS),
        len(done),
        [
            (change.what, round(change.over - change.at, 1), round(pause, 2))
            for change, pause in zip(troubles.changes, pauses, strict=True)
        ],
        [(code, error) for code, error, _ in unexpected(arena.processes)],
        {name: len(ids) for name, ids in in_queue.items()},
    )
    # 1: the budget holds at the provider
    assert windows_over_limit(arrivals, LIMIT, WINDOW_SECONDS) == []
    # 3: nothing is lost, and nothing is worked twice at once
    assert work_lost_or_doubled(arena.symbols, done, in_queue, held, asked, RETRY_DELAY_SECONDS) == {}
    # (4, the order: a take whose answer was lost with its server holds its items until the lease runs out)
    # and the work goes on
    assert max(pauses[-1:]) < BACK_AT_WORK_SECONDS
