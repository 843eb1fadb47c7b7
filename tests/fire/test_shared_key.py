"""All that shares one API key, under fire: two installations with prefixes and databases of their own,
programs that call by `assetbatch call`, and one that takes slots in two steps. The provider's log of arrivals
is the judge.
"""

from __future__ import annotations

import http.client
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from assetbatch.domain import queueing
from assetbatch.domain.queueing import CallKind
from assetbatch.sandbox import windows_over_limit
from assetbatch.slots import slots
from assetbatch.slots.slots import Slot
from tests.conftest import new_database, url_of
from tests.fire.arena import CALL_SECONDS, LIMIT, PRIORITY, WINDOW_SECONDS, Arena, results, unexpected
from tests.fire.judges import use
from tests.fire.worker import KEY

log = logging.getLogger("fire")

SECONDS = 70.0
START_SECONDS = 20.0
WORKERS = 1
CALLERS = 4
KILL_EVERY_SECONDS = 6.0
PRIORITY_EVERY_SECONDS = 15.0

CALL = """
import sys
from assetbatch.domain import queueing
from assetbatch.slots import slots
queueing.LONGEST_CALL_SECONDS = slots.LONGEST_CALL_SECONDS = {seconds}
slots.UNANSWERED_SECONDS = {seconds} + slots.MARGIN_SECONDS
from assetbatch.cli import main
main()
"""
"""`assetbatch call` with calls as short as those of the fire."""

LATE_SECONDS = 6
"""When what a command has left behind would call: later than anybody expects its request."""

REQUEST = """
import http.client, os
connection = http.client.HTTPConnection("{host}", {port}, timeout=9)
connection.request("GET", "/v1/marketstatus/now?deadline=" + os.environ["ASSETBATCH_SLOT_DEADLINE"])
connection.getresponse().read()
"""

HABITS = (
    "{request}",
    "sleep 0.7; {request}",
    "trap '' TERM; sleep 30; {request}",
    "trap '{request}; exit 1' TERM; sleep 30 & wait",
    "(sleep {late}; {request}) & {request}",
    "setsid sh -c 'sleep {late}; {request}' & sleep 0.2",
    "exit 3",
)
"""What other programs do with a slot, as shell scripts; each makes one request at most while it holds it."""


class Callers:
    """Keeps `CALLERS` of them going, and kills some in the middle of their command."""

    def __init__(self, arenas: list[Arena], seed: int) -> None:
        self._arenas = arenas
        self._random = random.Random(seed)
        self._running: list[subprocess.Popen[bytes]] = []
        self._dies_at: dict[int, float] = {}
        self._spared: set[int] = set()
        self.codes: Counter[int] = Counter()
        self.kills: Counter[str] = Counter()

    def start(self, number: int) -> None:
        arena = self._arenas[number % len(self._arenas)]
        url = urlsplit(arena.provider.base_url)
        file = arena.config_file.parent / "request.py"
        file.write_text(REQUEST.format(host=url.hostname, port=url.port))
        script = HABITS[number % len(HABITS)].format(request=f"{sys.executable} -S {file}", late=LATE_SECONDS)
        arguments = ["--priority"] if number % 2 == 0 else []
        self._running.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-c", CALL.format(seconds=CALL_SECONDS)),
                    *("--config", str(arena.config_file)),
                    *("call", "--wait", "15", "--timeout", str(CALL_SECONDS), *arguments),
                    *("--", "sh", "-c", script),
                ],
                env={"PATH": "/usr/bin:/bin", "POLYGON_API_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def beat(self, number: int) -> int:
        """Starts those that are missing; returns the number of the next."""
        for process in [one for one in self._running if one.poll() is not None]:
            self.codes[process.returncode] += 1
            self._running.remove(process)
        while len(self._running) < CALLERS:
            self.start(number)
            number += 1
        return number

    def kill(self) -> None:
        """Of four that call, one is killed and of another its keeper, each after a while."""
        for process in self._running:
            if process.pid in self._spared:
                continue
            keepers = [pid for pid in children(process.pid) if b"keeper.py" in command_line(pid)]
            if keepers and process.pid not in self._dies_at:
                self._dies_at[process.pid] = time.monotonic() + self._random.uniform(0, CALL_SECONDS)
            if not keepers or time.monotonic() < self._dies_at[process.pid]:
                continue
            self._spared.add(process.pid)
            what = ("call", "keeper", "", "")[len(self._spared) % 4]
            if what:
                with suppress(ProcessLookupError):
                    os.kill(process.pid if what == "call" else keepers[0], signal.SIGKILL)
                self.kills[what] += 1

    def end(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(20)
            self.codes[process.returncode] += 1


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def paused(seconds: float) -> bool:
    time.sleep(seconds)
    return True


class Client(threading.Thread):
    """A program that asks for slots in two steps, and does not always say that it is done."""

    def __init__(self, arena: Arena, until: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._arena = arena
        self._until = until
        self._random = random.Random(seed)
        self.calls = 0

    def run(self) -> None:
        url = urlsplit(self._arena.provider.base_url)
        while time.monotonic() < self._until:
            with self._arena.services() as parts:
                mine = parts.slots()
                slot = mine.take(CallKind.QUEUE, CALL_SECONDS, 5, paused)
                if not isinstance(slot, Slot):
                    continue
                time.sleep(self._random.uniform(0, CALL_SECONDS / 2))
                connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=1)
                connection.request("GET", "/v1/marketstatus/now")
                connection.getresponse().read()
                connection.close()
                self.calls += 1
                if self._random.random() < 0.7:
                    mine.done(slot.id, call_made=True)


@pytest.mark.timeout(200)
def test_whoever_calls_the_budget_holds(
    tmp_path: Path, redis_url: str, database_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "LONGEST_CALL_SECONDS", CALL_SECONDS)
    monkeypatch.setattr(slots, "LONGEST_CALL_SECONDS", CALL_SECONDS)
    axe = random.Random(5)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with (
        new_database(postgres_url, "template0") as name,
        Arena(folders[0], redis_url, database_url, "{one}", backlog=200, latency=(0.01, 0.15)) as one,
        Arena(
            folders[1],
            redis_url,
            url_of(postgres_url, name),
            "other",
            backlog=200,
            latency=(0.01, 0.15),
            provider=one.provider,
        ) as other,
    ):
        arenas = [one, other]
        began = next_kill = next_priority = time.monotonic()
        until = began + SECONDS
        callers = Callers(arenas, 7)
        client = Client(other, until - 3, 11)
        client.start()
        number = 0
        while (now := time.monotonic()) < until:
            number = callers.beat(number)
            for arena in arenas:
                for seed in range(WORKERS - len(arena.living())):
                    arena.start("run-queue", START_SECONDS, seed=seed, until=until, lag_seconds=0.1)
            if now >= next_priority:
                next_priority = now + PRIORITY_EVERY_SECONDS
                for arena in arenas:
                    arena.make_priority_due()
                    arena.start("run-priority", START_SECONDS, lag_seconds=0.1)
            callers.kill()
            if now >= next_kill:
                next_kill = now + axe.uniform(0.5, 1.5) * KILL_EVERY_SECONDS
                if living := axe.choice(arenas).living():
                    axe.choice(living).kill()
            time.sleep(0.05)
        callers.end()
        client.join(20)
        for process in [process for arena in arenas for process in arena.processes]:
            process.terminate()
            process.wait(30)
        time.sleep(LATE_SECONDS + 1)  # who was left behind would call now
        arrivals = one.arrivals()
        done = [arena.done() for arena in arenas]
        cycles = [cycle for arena in arenas for cycle in results(arena.lines(), "run-priority")]
        failed = [trouble for arena in arenas for trouble in unexpected(arena.processes)]
    called = [arrival for arrival in arrivals if "deadline" in arrival.query]
    since_epoch = time.time() - time.monotonic()
    late = [
        arrival
        for arrival in called
        if arrival.at + since_epoch > float(arrival.query["deadline"]) + slots.MARGIN_SECONDS
    ]
    log.info(
        "%d arrivals, %d by `call`, %d of the client; %.0f %% of the budget; %s stored; exit codes %s; "
        "kills %s; priority %s",
        len(arrivals),
        len(called),
        client.calls,
        100 * use([one.at for one in arrivals], LIMIT, WINDOW_SECONDS),
        [len(symbols) for symbols in done],
        dict(callers.codes),
        dict(callers.kills),
        [(cycle.result, cycle.calls, cycle.waits) for cycle in cycles],
    )
    assert windows_over_limit(arrivals, LIMIT, WINDOW_SECONDS) == []
    assert late == []
    # it has burnt
    assert failed == []
    assert len(called) >= 3
    assert client.calls > 0
    assert min(len(symbols) for symbols in done) > 0
    assert {0, 124} <= set(callers.codes)
    assert set(callers.kills) == {"call", "keeper"}
    assert sum(cycle.calls for cycle in cycles) >= len(PRIORITY)
