"""A place for a fire: provider, servers, a backlog, processes to start and to kill, and their evidence.

How to read this: a fire has three parts. `Arena` sets it up and starts each `Process`, which is one cron
start (`worker.py`). A test then lets time pass, kills and starts. At the end the evidence is put together
from three independent sources: the provider's log (`arrivals`, `asked`), what is stored and queued (`done`,
`in_queue`, the `Ear` for events), and the journals of the processes (`lines`, and the functions below
`Arena` that make leases, takes and costs of them). `judges.py` looks at evidence only, and is tried on a
load that is simulated (`simulation.py`, `test_sabotage.py`). Begin with the first test of `test_fire.py`.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg
import yaml

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.init import initialise
from assetbatch.config import load
from assetbatch.deadline import Deadline
from assetbatch.domain import queueing
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.results import CycleResult
from assetbatch.refresh.progress import Progress
from assetbatch.sandbox import PLANS, Arrival, SandboxServer
from assetbatch.sandbox.universe import instruments
from assetbatch.secret import Secret
from assetbatch.services import Services
from assetbatch.state.connection import connect
from tests.fire.judges import Event, Hold, Take
from tests.fire.worker import KEY, Line, Orders, carry_out, go_file
from tests.program import modules

_FORKS = multiprocessing.get_context("forkserver")
"""Starts are forks of a process that has all modules: Python's own start took most of a fire's CPU time."""

_FORKS.set_forkserver_preload(["__main__", "tests.fire.worker", *modules()])

LIMIT = 5
WINDOW_SECONDS = 3
CALL_SECONDS = 2.0
"""Production's 10 s beside its window of 60 s; a slot that nobody settles is held for 3 s more (5 in all)."""

PLACES = 8
"""`queue.max_concurrency`: as many as live at once, since the place of a killed process is free at once."""

PRIORITY = ("BTCUSD", "ETHUSD", "SOLUSD")
CLASSES = ("HIGH", "MEDIUM", "LOW")
RETRY_DELAY_SECONDS = 1


class Process:
    """A worker under its orders, and its journal."""

    def __init__(self, orders: Orders, log: Path) -> None:
        self.orders = orders
        self.log = log
        self.killed_at: float | None = None
        """When it was dead for certain, if it was killed from outside."""
        self._process = _FORKS.Process(target=carry_out, args=(orders, str(log)))
        self._process.start()

    @property
    def ended(self) -> bool:
        return self._process.exitcode is not None

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.killed_at = time.monotonic()

    def terminate(self) -> None:
        self._process.terminate()

    @property
    def halted(self) -> bool:
        """Whether it has come to the step at which it is held up."""
        return any(line.event == "halted" for line in self.lines())

    def go_on(self) -> None:
        """Lets it go on from there."""
        go_file(self.orders.journal).touch()

    def wait(self, seconds: float) -> int:
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"it runs on after {seconds} s"
        return self._process.exitcode

    def lines(self) -> list[Line]:
        """What it has noted, and its end; a kill in the middle of a write may cut a line short."""
        path = Path(self.orders.journal)
        whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        lines = [msgspec.json.decode(line, type=Line) for line in whole]
        if self.killed_at is not None:
            lines.append(Line(at=self.killed_at, event="killed"))
        if lines and lines[-1].event == "killed":
            held = [line.token for line in lines if line.event == "taken"]
            lines[-1] = msgspec.structs.replace(lines[-1], ids=held)
        return lines


class Arena:
    """`with Arena(...) as arena`: everything is ready and `backlog` symbols are queued.

    Calls are cheap here (1 to 2 ms of the provider's CPU): the plan is known to have no 5-minute bars, so
    each asks for the previous day of one symbol; on the free plan's usual path a first call brings 34 days
    of bars, 0.3 s of CPU, and two cores would be the limit instead of the window. Symbols are crypto, so
    that they are due at any hour; each is due once and complete after that.
    """

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        database_url: str,
        prefix: str,
        *,
        backlog: int,
        latency: Any,
        provider: SandboxServer | None = None,
    ) -> None:
        """`provider` is one that another place has started: both have its key."""
        self._folder = folder
        self._redis_url = redis_url
        self._database_url = database_url
        self._prefix = prefix
        tickers = [ticker for ticker in instruments(1000) if ticker.startswith("X:")]
        symbols = [ticker[2:] for ticker in tickers if ticker[2:] not in PRIORITY]
        self.symbols = symbols[:backlog]
        self._is_guest = provider is not None
        self.provider = provider or SandboxServer(
            replace(PLANS["basic"], limit=None), key=Secret(KEY), universe=1000, latency=latency
        )
        self.processes: list[Process] = []
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        if not self._is_guest:
            self.provider.start()
        document = {
            "batch": {"interval_minutes": 1},
            "priority_assets": [_asset(symbol) for symbol in PRIORITY],
            "secondary_assets": [
                {**_asset(symbol), "priority": CLASSES[number % 3]}
                for number, symbol in enumerate(self.symbols)
            ],
            "rate_limiting": {"tier": "free", "calls_per_minute": LIMIT, "window_seconds": WINDOW_SECONDS},
            "queue": {"max_concurrency": PLACES, "retry_delay_seconds": RETRY_DELAY_SECONDS},
            "database": {"url": self._database_url},
            "redis": {"url": self._redis_url, "prefix": self._prefix},
            "provider": {"base_url": self.provider.base_url},
        }
        self.config_file.write_text(yaml.safe_dump(document))
        with self.services() as services:
            initialise(services)
            self.teach(services)
            with Deadline(20) as deadline:
                assert enqueue_secondary(services, deadline, Progress()).enqueued == len(self.symbols)
        return self

    @property
    def config_file(self) -> Path:
        return self._folder / "config.yml"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if not process.ended:
                process.kill()
            process.wait(10)
        if not self._is_guest:
            self.provider.stop()

    @contextmanager
    def services(self) -> Iterator[Services]:
        with Services(load(self.config_file, {"POLYGON_API_KEY": KEY}, cwd=self._folder)) as services:
            yield services

    def teach(self, services: Services) -> None:
        """Has Redis know what the plan lacks, so that each symbol costs one short call."""
        known = services.entitlements()
        now_ms = services.now_ms()
        for lack in (Restriction.INTRADAY, Restriction.GROUPED):
            for ticker in ("X:BTCUSD", "X:ETHUSD"):  # of one alone it would be that ticker's own matter
                refusal = known.refused(
                    lack, AssetType.CRYPTO, "made up: no timeframe", now_ms, ticker=ticker
                )
            services.entitlement_store.remember(refusal)

    def start(self, command: str, seconds: float, **orders: Any) -> Process:
        """Starts a process."""
        name = f"{next(self._numbers):04}"
        process = Process(
            Orders(
                command=command,
                config=str(self.config_file),
                journal=str(self._folder / f"{name}.jsonl"),
                seconds=seconds,
                call_seconds=CALL_SECONDS,
                **orders,
            ),
            self._folder / f"{name}.log",
        )
        self.processes.append(process)
        return process

    def living(self, command: str = "run-queue") -> list[Process]:
        return [one for one in self.processes if one.orders.command == command and not one.ended]

    def make_priority_due(self) -> None:
        """Forgets the priority assets' prices, as if their next data had come out."""
        with psycopg.connect(self._database_url) as connection:
            connection.execute(
                "UPDATE trading.symbols SET metadata = metadata - 'last_update' WHERE symbol = ANY (%s)",
                [list(PRIORITY)],
            )
            connection.execute(
                "DELETE FROM data_sources.data_sync_status d USING trading.symbols s "
                "WHERE s.id = d.ticker_id AND s.symbol = ANY (%s)",
                [list(PRIORITY)],
            )

    # Evidence

    def arrivals(self) -> list[Arrival]:
        return self.provider.arrivals

    def asked(self) -> list[tuple[str, float]]:
        """(symbol, moment) of the provider's log, of what the queue asked for."""
        asked = [(one.path.split("/")[4].removeprefix("X:"), one.at) for one in self.arrivals()]
        return [(symbol, at) for symbol, at in asked if symbol not in PRIORITY]

    def lines(self) -> list[Line]:
        return [line for process in self.processes for line in process.lines()]

    def done(self) -> set[str]:
        """The symbols whose price is stored."""
        with psycopg.connect(self._database_url) as connection:
            rows = connection.execute(
                "SELECT s.symbol FROM trading.symbols s "
                "JOIN data_sources.data_sync_status d ON d.ticker_id = s.id "
                "WHERE d.sync_status = 'success' AND s.metadata ? 'last_update'"
            ).fetchall()
        return {symbol for (symbol,) in rows}

    def in_queue(self) -> dict[str, set[str]]:
        """The ids in each of the queue's sets, and `records`, read straight from Redis."""
        with self.services() as services:
            keys, client = services.keys, services.redis
            sets = {key.rsplit(":", 1)[1]: set(client.zrange(key, 0, -1)) for key in keys.queue[1:10]}
            return {**sets, "records": set(client.hkeys(keys.queue_items))}


def _asset(symbol: str) -> dict[str, Any]:
    return {"symbol": symbol, "polygon_ticker": f"X:{symbol}", "asset_type": "crypto", "bars": False}


def holds(lines: Sequence[Line]) -> list[Hold]:
    """The leases of the journals. One ends with its process: whoever is refused frees what dead ones hold."""
    died = {token: line.at for line in lines if line.event == "killed" for token in line.ids}
    ends: dict[tuple[str, str], float] = {}
    starts: dict[tuple[str, str], float] = {}
    for line in sorted(lines, key=lambda one: one.at):
        if line.event == "taken":
            for item, _priority, _stamp in line.items:
                starts[line.token, item] = line.at
                ends[line.token, item] = line.ends
        for item in line.ids:
            if line.event == "extended":
                ends[line.token, item] = line.ends
            elif line.event == "given_up" and (line.token, item) in ends:  # else the take itself gave it up
                ends[line.token, item] = min(ends[line.token, item], line.at)
    ends = {(token, item): min(end, died.get(token, end)) for (token, item), end in ends.items()}
    return [Hold(item, token, start, ends[token, item]) for (token, item), start in starts.items()]


def takes(lines: Sequence[Line]) -> list[Take]:
    """The takes of the journals."""
    return [
        Take(item, queueing.Lane(priority), stamp, line.called, line.at)
        for line in lines
        if line.event == "taken"
        for item, priority, stamp in line.items
    ]


def call_cost(lines: Sequence[Line]) -> float:
    """For how long a slot is taken beyond the window it counts in: the mean time in seconds between a take
    and its being settled."""
    called = {line.token: line.called for line in lines if line.event == "taken"}
    costs = [line.at - called[line.token] for line in lines if line.event == "settled"]
    return sum(costs) / len(costs)


def lateness(lines: Sequence[Line]) -> float:
    """How late who waits for a slot asks again, beyond the moment it was told: the mean, in seconds. That
    is this machine's business (1 to 5 ms where its cores are free)."""
    late = []
    told: dict[str, float] = {}
    for line in sorted(lines, key=lambda one: one.at):
        if line.token in told:
            late.append(max(0.0, line.at - told.pop(line.token)))
        if line.event == "refused":
            told[line.token] = line.at + line.wait_seconds
    return sum(late) / len(late)


def results(lines: Sequence[Line], command: str) -> list[CycleResult]:
    """What the cycles that came to their end reported."""
    return [line.result for line in lines if line.result is not None and line.result.command == command]


def kills(lines: Sequence[Line]) -> Counter[str]:
    """How often each named step was the end."""
    return Counter(line.step for line in lines if line.event == "killed" and line.step)


def unexpected(processes: Sequence[Process]) -> list[tuple[int | None, str, str]]:
    """What ended neither by SIGKILL nor by itself with a result: exit code, error, end of the log.

    SIGTERM ends a process that is not yet far enough to end politely.
    """
    found = []
    for process in processes:
        errors = [line.error for line in process.lines() if line.error]
        if process.exit_code not in (0, -signal.SIGKILL, -signal.SIGTERM) or errors:
            found.append((process.exit_code, " ".join(errors), process.log.read_text()[-500:]))
    return found


class Ear(threading.Thread):
    """Hears the events of all symbols and looks for the row of each at once."""

    def __init__(self, redis_url: str, database_url: str, symbols: Sequence[str]) -> None:
        super().__init__(name="ear", daemon=True)
        self._database_url = database_url
        self._symbols = frozenset(symbols)
        self._client = connect(Secret(redis_url))
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("asset:update:*")
        self._pubsub.get_message(timeout=1)
        self._over = threading.Event()
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._pubsub.close()
        self._client.close()

    def run(self) -> None:
        """Listens until it is over."""
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            while not self._over.is_set():
                message = self._pubsub.get_message(timeout=0.1)
                if message is None:
                    continue
                told = json.loads(message["data"])
                if told["symbol"] not in self._symbols:
                    continue
                row = connection.execute(
                    "SELECT (metadata #>> '{last_update,last_price}')::float8, "
                    "metadata #>> '{last_update,timestamp}' FROM trading.symbols WHERE symbol = %s",
                    [told["symbol"]],
                ).fetchone()
                self.events.append(Event(told["symbol"], (told["last_price"], told["timestamp"]), row))
