"""A Redis that loses its memory at each step of each command: the budget holds, and no work is lost.

Each way of losing it has an installation of its own, with its own Redis, database, provider and budget, all
side by side: most of the time they are silent, as they must be.
"""

from __future__ import annotations

import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from assetbatch.sandbox import windows_over_limit
from assetbatch.state.window import ARRIVAL_SECONDS, GRANT_AGE_SECONDS
from tests.conftest import new_database, url_of
from tests.fire.arena import CALL_SECONDS, LIMIT, RETRY_DELAY_SECONDS, WINDOW_SECONDS, Arena, Process
from tests.fire.judges import asked_again_within, lost
from tests.own_redis import OwnServer

log = logging.getLogger("fire")

SILENCE_SECONDS = WINDOW_SECONDS + CALL_SECONDS + GRANT_AGE_SECONDS + ARRIVAL_SECONDS
SECONDS = 26.0
"""The deadline of a start: the silence, and time for calls after it where nobody knows how long calls
take."""

PATIENCE_SECONDS = 25.0
LATE_SECONDS = 10.0
"""How long after the silence the first call is waited for on a busy machine."""

WORK_SECONDS = 1.5
"""From the first call after a loss to the end of its round."""

Steps = Mapping[str, tuple[str, int]]
"""At which step each command is held up while Redis loses its memory, and at which passing of it."""

ROUNDS: tuple[Steps, ...] = (
    {"run-priority": ("answer", 3), "run-queue": ("finish", 1), "enqueue-secondary": ("enqueue", 1)},
    {"run-priority": ("grant", 3), "run-queue": ("grant", 1), "enqueue-secondary": ("load", 1)},
    {"run-priority": ("complete", 3), "run-queue": ("answer", 1), "enqueue-secondary": ("own", 1)},
    {"run-priority": ("commit", 1), "run-queue": ("complete", 1), "enqueue-secondary": ("enqueue", 1)},
    {"run-priority": ("publish", 1), "run-queue": ("commit", 1), "enqueue-secondary": ("load", 1)},
    {"run-priority": ("grant", 1), "run-queue": ("publish", 1), "enqueue-secondary": ("own", 1)},
)
QUEUE_RUNS = 2


class Forgetful:
    """A server of a test's own, and a way in which it loses its memory."""

    def __init__(self, folder: Path, way: str) -> None:
        folder.mkdir()
        append = ["--appendonly", "yes", "--appendfsync", "everysec"] if way == "append only" else []
        self.server = OwnServer(folder, *append)
        self.server.start()
        self.url = f"unix://{self.server.socket}"
        self._way = way
        self._dump, self._aside = folder / "dump.rdb", folder / "aside"

    def save(self) -> None:
        """Writes the snapshot that is there after a loss."""
        if self._way == "old snapshot" and self._aside.exists():
            return
        if self._way in ("snapshot", "old snapshot"):
            with closing(self.server.client()) as client:
                client.save()
            shutil.copy(self._dump, self._aside)

    def lose(self) -> None:
        """Loses what came since, and is there again."""
        if self._way == "flushed":
            with closing(self.server.client()) as client:
                client.flushall()
            return
        self.server.kill()
        if self._way == "old snapshot":
            shutil.copy(self._aside, self._dump)
        self.server.start()


WAYS = ("snapshot", "old snapshot", "emptied", "flushed", "append only")


@pytest.fixture
def installations(tmp_path: Path, postgres_url: str) -> Iterator[Callable[[str], tuple[Arena, Forgetful]]]:
    with ExitStack() as stack:

        def make(way: str) -> tuple[Arena, Forgetful]:
            folder = tmp_path / way.replace(" ", "-")
            memory = Forgetful(folder, way)
            stack.callback(memory.server.kill)
            database_url = url_of(postgres_url, stack.enter_context(new_database(postgres_url, "template0")))
            place = Arena(folder, memory.url, database_url, "{lost}", backlog=120, latency=(0.01, 0.1))
            return stack.enter_context(place), memory

        yield make


def held_up(arena: Arena, memory: Forgetful, steps: Steps, **orders: Any) -> list[Process]:
    """Starts the commands and waits until each is held up at its step, or over; saves in the middle of it."""
    arena.make_priority_due()
    commands = ["run-priority", *["run-queue"] * QUEUE_RUNS, "enqueue-secondary"]
    running = [
        arena.start(command, SECONDS, halt=steps[command], seed=number, **orders)
        for number, command in enumerate(commands)
        if command in steps
    ]
    wait_for(lambda: any(one.halted or one.ended for one in running))
    memory.save()
    wait_for(lambda: all(one.halted or one.ended for one in running))
    return running


def wait_for(condition: Callable[[], bool]) -> None:
    """As long as patience lasts."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and not condition():
        time.sleep(0.02)


def begin_again(arena: Arena, running: Sequence[Process], fresh: Sequence[Process]) -> None:
    """Right after a loss: who was held up goes on, and new starts begin."""
    with arena.services() as services:
        arena.teach(services)
    for process in running:
        process.go_on()
    time.sleep(0.2)  # what has come is stored
    arena.make_priority_due()
    for process in fresh:
        process.go_on()


def lose_all(
    arena: Arena, memory: Forgetful, steps: Steps, **orders: Any
) -> tuple[list[Process], list[float]]:
    """One loss in the middle of all commands; returns who was held up, and when the calls came that were not
    under way at the loss, in seconds after it."""
    commands = ("run-priority", "run-queue")
    fresh = [arena.start(command, SECONDS, halt=("begin", 1), **orders) for command in commands]
    wait_for(lambda: all(one.halted for one in fresh))
    running = held_up(arena, memory, steps, **orders)
    memory.lose()
    lost_at = time.monotonic()
    begin_again(arena, running, fresh)

    def after() -> list[float]:
        moments = [one.at - lost_at for one in arena.arrivals()]
        return [at for at in moments if at > GRANT_AGE_SECONDS + ARRIVAL_SECONDS]

    until = lost_at + SILENCE_SECONDS + LATE_SECONDS
    while time.monotonic() < until and not after():
        time.sleep(0.05)
    time.sleep(WORK_SECONDS)
    return running, after()


def end(arena: Arena) -> None:
    """All that still runs is stopped; what hangs is found here."""
    for process in arena.processes:
        if not process.ended:
            process.terminate()
    for process in arena.processes:
        process.wait(SECONDS)


def asked(arena: Arena) -> list[tuple[str, float]]:
    """(symbol, moment) of the provider's log, of all symbols."""
    return [(one.path.split("/")[4].removeprefix("X:"), one.at) for one in arena.arrivals()]


def odd_ends(arena: Arena) -> list[tuple[int | None, str]]:
    """What ended neither done, nor in part, nor with a server that cannot be reached, nor by SIGTERM."""
    fine = (0, 1, 3, -signal.SIGTERM)
    return [
        (process.exit_code, process.log.read_text()[-500:])
        for process in arena.processes
        if process.exit_code not in fine
        or "Traceback" in process.log.read_text()
        or any(line.event == "out of deadline" for line in process.lines())
    ]


def breaches(arena: Arena) -> dict[str, object]:
    """What is broken, by the name of the promise."""
    queue = arena.in_queue()
    places = [queue[name] for name in ("critical", "high", "medium", "low", "leased", "delayed")]
    found: dict[str, list[Any]] = {
        "over the limit": windows_over_limit(arena.arrivals(), LIMIT, WINDOW_SECONDS),
        "lost": lost(arena.symbols, arena.done(), queue["records"], queue["dead"]),
        "in no set": lost(queue["records"], *places),
        "asked by two": asked_again_within(asked(arena), RETRY_DELAY_SECONDS),
        "ends": odd_ends(arena),
    }
    return {name: [len(seen), *seen[:3]] for name, seen in found.items() if seen}


def fire(way: str, arena: Arena, memory: Forgetful, rounds: Sequence[Steps]) -> dict[str, object]:
    """The rounds of one installation; returns the breaches by way and steps."""
    found: dict[str, object] = {}
    for number, steps in enumerate(rounds):
        running, after = lose_all(arena, memory, steps)
        end(arena)
        seen = breaches(arena)
        if not after:
            seen["back at work"] = "never"
        hit = [(one.orders.command, one.orders.halt[0]) for one in running if one.halted]
        first = min(after, default=0.0)
        log.info("%s, %d: %s; %d calls after %.1f s; %s", way, number, hit, len(after), first, seen)
        if seen:
            found[f"{way}: {steps}"] = seen
    return found


@pytest.mark.timeout(300)
def test_no_loss_at_any_step_opens_a_window_or_loses_work(
    installations: Callable[[str], tuple[Arena, Forgetful]],
) -> None:
    places = {way: installations(way) for way in WAYS}
    with ThreadPoolExecutor(len(WAYS)) as threads:
        fires = []
        for number, (way, (arena, memory)) in enumerate(places.items()):
            rounds = [*ROUNDS[number:], *ROUNDS[:number]]  # the first cycle of all ends elsewhere in each
            fires.append(threads.submit(fire, way, arena, memory, rounds))
        found = {place: seen for one in fires for place, seen in one.result().items()}
    assert found == {}
    processes = [one for arena, _ in places.values() for one in arena.processes]
    hit = {(one.orders.command, one.orders.halt[0]) for one in processes if one.halted}
    assert hit >= {(command, step) for steps in ROUNDS for command, (step, _) in steps.items()}


TRUSTED = "redis.call('GET', w.log_owner) == server_name(w.server)"


def test_a_log_that_is_trusted_whoever_wrote_it_is_found(
    installations: Callable[[str], tuple[Arena, Forgetful]],
) -> None:
    """The judge sees what the rule prevents: it is broken here."""
    arena, memory = installations("emptied")
    lose_all(arena, memory, {"run-priority": ("answer", 3)}, scripts=[(TRUSTED, "true")])
    assert windows_over_limit(arena.arrivals(), LIMIT, WINDOW_SECONDS) != []
