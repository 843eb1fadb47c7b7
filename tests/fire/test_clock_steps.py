"""The server's clock is set back by an hour in the middle of the work, again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetbatch.sandbox import windows_over_limit
from assetbatch.state.window import ARRIVAL_SECONDS, GRANT_AGE_SECONDS
from tests.fire.arena import LIMIT, RETRY_DELAY_SECONDS, WINDOW_SECONDS, Arena, unexpected
from tests.fire.judges import asked_again_within, lost
from tests.fire.test_hosts import FAKETIME
from tests.fire.test_lost_memory import SILENCE_SECONDS
from tests.own_redis import OwnServer

log = logging.getLogger("fire")

PROCESSES = 3
SECONDS = 30.0
LATE_SECONDS = 4.0
"""A start of the interpreter on a busy machine, and the pause between calls."""


WORK_SECONDS = 1.5
UNDER_WAY_SECONDS = GRANT_AGE_SECONDS + ARRIVAL_SECONDS
"""What was granted before a step of the clock may arrive for so long after it."""


class Clock:
    """The clock of one server, which can be set."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._hours = 0
        self._write()
        self.environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_back(self) -> None:
        """By an hour."""
        self._hours += 1
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"-{self._hours}h\n")
        new.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path, environment=clock.environment)
    server.start()
    yield server
    server.kill()


def nothing(_arena: Arena) -> None:
    """The work goes on."""


def all_held(arena: Arena) -> None:
    """Several processes die with a call, a lease and a place; this machine's own are found to be dead."""
    for process in arena.living():
        process.kill()


def blocked(arena: Arena) -> None:
    """The provider has just said too many calls."""
    arena.provider.order("429=2", times=1)
    before = len(arena.arrivals())
    until = time.monotonic() + SILENCE_SECONDS
    while len(arena.arrivals()) == before and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)


def failed(arena: Arena) -> None:
    """Some items have just failed and wait for their retry."""
    arena.provider.order("status=500", times=2)
    time.sleep(WINDOW_SECONDS)


def silent(arena: Arena) -> None:
    """Redis has just lost its memory."""
    with arena.services() as services:
        services.redis.flushall()
        arena.teach(services)
    arena.start("run-queue", SECONDS)
    time.sleep(1)


def since(arena: Arena, moment: float) -> list[float]:
    """How long after a moment calls arrived that were not under way then, in seconds."""
    return [at - moment for at in (one.at for one in arena.arrivals()) if at - moment > UNDER_WAY_SECONDS]


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
@pytest.mark.timeout(240)
def test_a_clock_that_is_set_back_by_an_hour_stops_calls_for_a_window_and_the_longest_call_at_most(
    tmp_path: Path, server: OwnServer, clock: Clock, database_url: str
) -> None:
    troubles = [nothing, all_held, blocked, failed, silent]
    pauses: dict[str, float] = {}
    with Arena(
        tmp_path, f"unix://{server.socket}", database_url, "{clock}", backlog=150, latency=(0.01, 0.1)
    ) as arena:
        for trouble in troubles:
            for _ in range(PROCESSES - len(arena.living())):
                arena.start("run-queue", SECONDS)
            before = len(arena.arrivals())
            until = time.monotonic() + SILENCE_SECONDS + LATE_SECONDS
            while len(arena.arrivals()) < before + LIMIT and time.monotonic() < until:
                time.sleep(0.05)
            trouble(arena)
            clock.set_back()
            stepped_at = time.monotonic()
            with arena.services() as services:  # what was learned in times to come is asked for again
                arena.teach(services)
            for _ in range(PROCESSES - len(arena.living())):
                arena.start("run-queue", SECONDS)
            until = stepped_at + SILENCE_SECONDS + LATE_SECONDS
            while not (after := since(arena, stepped_at)) and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(WORK_SECONDS)
            pauses[trouble.__name__] = min(after, default=float("inf"))
            log.info("%s: a call after %.1f s", trouble.__name__, pauses[trouble.__name__])
        for process in arena.living():
            process.terminate()
        for process in arena.processes:
            process.wait(SECONDS)
        arrivals, asked = arena.arrivals(), arena.asked()
        done, in_queue = arena.done(), arena.in_queue()
    assert unexpected([one for one in arena.processes if one.exit_code != 1]) == []
    assert windows_over_limit(arrivals, LIMIT, WINDOW_SECONDS) == []
    assert max(pauses.values()) <= SILENCE_SECONDS + LATE_SECONDS, pauses
    assert asked_again_within(asked, RETRY_DELAY_SECONDS) == []
    assert lost(arena.symbols, done, in_queue["records"], in_queue["dead"]) == []
