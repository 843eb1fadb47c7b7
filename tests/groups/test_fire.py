"""The fire on servers that stand in for one another: failovers and moved slots in the middle of it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from assetbatch.sandbox import windows_over_limit
from assetbatch.state.keys import Keys
from tests.fire.arena import (
    LIMIT,
    RETRY_DELAY_SECONDS,
    WINDOW_SECONDS,
    Arena,
    holds,
    unexpected,
)
from tests.fire.judges import use, work_lost_or_doubled
from tests.fire.worker import STEPS
from tests.groups.servers import Cluster, Group, Node, until

log = logging.getLogger("fire")

PROCESSES = 6
LONGEST_SECONDS = 100.0
"""It burns until all changes have been made, and the last is over for as long as work may pause."""

QUEUE_SECONDS = 20.0
BACK_AT_WORK_SECONDS = 15.0
"""From the moment at which a new server holds the keys; the window of this fire is 3 s."""


class Change(msgspec.Struct, kw_only=True):
    """What was done to the servers: `at` when it began, `over` when somebody held all keys again."""

    what: str
    at: float
    over: float


class Troubles:
    """Kills the server that holds the keys, and brings it back; in a cluster, moves the slot meanwhile."""

    def __init__(self, group: Group, prefix: str) -> None:
        self._group = group
        self._key = Keys(prefix).queue_items
        self._dead: list[Node] = []
        self.changes: list[Change] = []

    def steps(self) -> list[tuple[float, Callable[[], None]]]:
        """What is done, and how many seconds after the beginning."""
        fail_over = [(5.0, self._fail_over), (11.0, self._bring_back), (16.0, self._fail_over)]
        if isinstance(self._group, Cluster):
            fail_over += [(2.0, self._move), (13.0, self._move), (20.0, self._move)]
        return sorted(fail_over, key=lambda step: step[0])

    def _fail_over(self) -> None:
        holder = self._group.holder(self._key)
        at = time.monotonic()
        holder.kill()
        self._dead.append(holder)
        until(lambda: self._group.holder(self._key) is not holder)
        self.changes.append(Change(what="failover", at=at, over=time.monotonic()))

    def _bring_back(self) -> None:
        """It comes as a replica of who took over."""
        node = self._dead.pop()
        node.start()
        until(lambda: self._group.holder(self._key).replicas() >= 1)

    def _move(self) -> None:
        assert isinstance(self._group, Cluster)
        at = time.monotonic()
        self._group.move_slot(self._key, pause_seconds=0.5)
        self.changes.append(Change(what="move", at=at, over=time.monotonic()))


@pytest.mark.timeout(150)
def test_failovers_and_moved_slots_lose_nothing_and_open_no_window(
    group: Group, tmp_path: Path, database_url: str, prefix: str
) -> None:
    axe = random.Random(7)
    troubles = Troubles(group, prefix)
    with Arena(tmp_path, group.url, database_url, prefix, backlog=150, latency=(0.01, 0.1)) as arena:
        began = time.monotonic()
        to_do = troubles.steps()
        number = 0
        last = began
        while (now := time.monotonic()) < began + LONGEST_SECONDS and (
            to_do or now < last + BACK_AT_WORK_SECONDS
        ):
            for _ in range(PROCESSES - len(arena.living())):
                number += 1
                kill = {STEPS[number % len(STEPS)]: 0.3} if number % 2 else {}
                arena.start("run_queue", QUEUE_SECONDS, seed=number, kill=kill, lag_seconds=0.1)
            if to_do and time.monotonic() >= began + to_do[0][0]:
                to_do.pop(0)[1]()
                last = time.monotonic()
            if axe.random() < 0.02 and (living := arena.living()):
                axe.choice(living).kill()
            time.sleep(0.1)
        for process in arena.living():
            process.terminate()
        for process in arena.processes:
            process.wait(30)
        arrivals, asked, lines = arena.arrivals(), arena.asked(), arena.lines()
        done, in_queue = arena.done(), arena.in_queue()
    held = holds(lines)
    times = sorted(one.at for one in arrivals)
    pauses = [
        min((at - change.over for at in times if at > change.over), default=LONGEST_SECONDS)
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
    assert len(troubles.changes) == len(troubles.steps()) - 1  # all of it happened
    # 1: the budget holds at the vendor
    assert windows_over_limit(arrivals, LIMIT, WINDOW_SECONDS) == []
    # 3: nothing is lost, and nothing is worked twice at once
    assert work_lost_or_doubled(arena.symbols, done, in_queue, held, asked, RETRY_DELAY_SECONDS) == {}
    # (4, the order: a take whose answer was lost with its server holds its items until the lease runs out)
    # and the work goes on
    assert max(pauses) < BACK_AT_WORK_SECONDS
