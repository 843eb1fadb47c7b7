"""Wide plans: 10,000 prices by snapshot and the first bars of 500 symbols, on a plan without a limit.

The provider is a process of its own that answers after 50 ms with texts that cost it little: what is measured
are the cycles and the database, not the making up of prices. Beside our cycles stand the straightest
program that does the same work (`straight.py`) and the provider's client with pandas (`pandas_way.py`), in
turns, with the same servers. Each run is that of a new process with its libraries loaded, timed from its
first line to its end (what a start costs is benchmarks.startup's). CPU is that of the process alone. Run from
the repository's root:

    python -m benchmarks.wide [--assets 10000] [--bars 500] [--stocks 0] [--repeat 5]
                              [--database-url URL] [--redis-url URL]

`--stocks 10000` compares a cycle over so many stocks and 250 coins with one over as many coins. Stocks are
due in the hours of their exchange only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import re
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import psycopg
import redis
from benchmarks import pandas_way, straight, straight_bars, straight_queue
from benchmarks.bars import benchmark_database
from benchmarks.limiter import benchmark_server, surroundings
from psycopg.sql import SQL, Identifier

from assetbatch.cli import COLLECTED_AFTER
from assetbatch.commands.init import initialise
from assetbatch.config import Config, load
from assetbatch.database import Store
from assetbatch.deadline import Deadline
from assetbatch.domain.models import SNAPSHOT_TICKERS, Changes
from assetbatch.domain.pages import PAGE_MS
from assetbatch.provider.client import ProviderClient
from assetbatch.refresh.inflight import MAX_IN_FLIGHT
from assetbatch.refresh.progress import Progress
from assetbatch.secret import Secret
from assetbatch.services import Services

LATENCY_SECONDS = 0.05

LARGE_PAGE_BARS = 50_000
LARGE_PAGE_MS = LARGE_PAGE_BARS * 300_000
LARGE_PAGE_START_MS = 1_200_000_000_000  # long before all other bars
KEY = "made-up-key"

_spawn = multiprocessing.get_context("spawn")


# --- the provider ---


class CannedProvider:
    """Answers `/v3/snapshot` and ranges of 5-minute bars of any ticker over HTTP, `LATENCY_SECONDS` late."""

    def __init__(self) -> None:
        self.arrived = 0
        self.most_at_once = 0
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept as long as the client wants."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.arrived += 1
                self._open += 1
                self.most_at_once = max(self.most_at_once, self._open)
                target = unquote(head.split(b" ", 2)[1].decode())
                await asyncio.sleep(LATENCY_SECONDS)
                body = snapshot(target) if target.startswith("/v3/snapshot") else bars(target)
                self._open -= 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def snapshot(target: str) -> bytes:
    """As the provider answers `ticker.any_of`, each ticker quoted just now."""
    tickers = re.findall(r"[=,]((?:X:)?[A-Z0-9]+)", target.partition("&")[0])
    now_ns = time.time_ns()
    price = 1 + now_ns // 1_000_000 % 100_000 / 1e5
    stock = (
        f'"type":"stocks","market_status":"open","name":"made up","timeframe":"REAL-TIME",'
        f'"last_updated":{now_ns},'
        f'"session":{{"change":0.01,"change_percent":0.5,"close":{price},"high":{price + 0.1},'
        f'"low":{price - 0.1},"open":{price},"previous_close":{price},"volume":1200,'
        '"decimal_volume":"1200.5"},'
        f'"last_minute":{{"close":{price},"high":{price},"low":{price},"open":{price},"volume":12,'
        '"decimal_volume":"12.5","transactions":3,"vwap":1.0}}'
    )
    entries = (
        f'{{"ticker":"{ticker}",{stock}'
        if ":" not in ticker
        else f'{{"ticker":"{ticker}","type":"crypto","market_status":"open","name":"made up","fmv":null,'
        f'"session":{{"change":0.01,"change_percent":0.5,"close":{price},"high":{price + 0.1},'
        f'"low":{price - 0.1},"open":{price},"previous_close":{price}}},'
        f'"last_quote":{{"last_updated":{now_ns},"timeframe":"REAL-TIME","ask":{price + 0.001},"bid":{price},'
        f'"exchange":48}},"last_trade":{{"id":"1","price":{price},"size":0.5,"exchange":2,"conditions":[2],'
        f'"timeframe":"REAL-TIME","participant_timestamp":{now_ns}}}}}'
        for ticker in tickers
    )
    return f'{{"request_id":"r","status":"OK","results":[{",".join(entries)}]}}'.encode()


def bars(target: str) -> bytes:
    """As the provider answers a range: a bar every 5 minutes, 10,000 at most; far more than it ever would for
    the range from `LARGE_PAGE_START_MS` on."""
    found = re.search(r"/ticker/([^/]+)/range/5/minute/(\d+)/(\d+)", target)
    assert found, target
    start_ms, end_ms = int(found[2]), int(found[3])
    most = LARGE_PAGE_BARS if start_ms == LARGE_PAGE_START_MS else 10_000
    first = -(-start_ms // 300_000) * 300_000
    rows = ",".join(
        f'{{"v":12,"vw":1.08,"o":1.08,"c":1.0812,"h":1.09,"l":1.07,"t":{t},"n":12}}'
        for t in range(first, min(end_ms + 1, first + most * 300_000), 300_000)
    )
    return f'{{"ticker":"{found[1]}","status":"OK","adjusted":true,"results":[{rows}]}}'.encode()


def run_provider(pipe: Connection) -> None:
    """The provider's process: tells its port, then its counts as often as it is asked."""

    async def main() -> None:
        provider = CannedProvider()
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, limit=2**17)
        pipe.send(server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv):
            pipe.send((provider.arrived, provider.most_at_once))

    asyncio.run(main())


class Provider:
    """The canned provider in a process of its own."""

    def __init__(self) -> None:
        self._pipe, child = _spawn.Pipe()
        self._process = _spawn.Process(target=run_provider, args=(child,), daemon=True)
        self._process.start()
        self.base_url = f"http://127.0.0.1:{self._pipe.recv()}"

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.join()

    def counts(self) -> tuple[int, int]:
        """Calls that have arrived, and the most at once."""
        self._pipe.send(True)
        found: tuple[int, int] = self._pipe.recv()
        return found

    @property
    def arrived(self) -> int:
        """Calls that have arrived."""
        return self.counts()[0]


# --- contenders, each in a process of its own ---


class Run(NamedTuple):
    """What one run took: seconds, the process' CPU seconds within them, its peak memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    result: dict[str, Any]


def most_memory_mb() -> float:
    """The most memory this process ever had. Not `ru_maxrss`, which begins with that of its parent."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "Linux"
    return int(found[1]) / 1024


LOADED_ON_THE_WAY = (
    "assetbatch.commands.queue_worker",
    "assetbatch.commands.verify",
    "assetbatch.config.options",
    "assetbatch.database.verification",
    "assetbatch.state.failures",
    "assetbatch.state.spare_calls",
    "secrets",
)
"""What our commands load where they need it. Without kept bytecode they would compile it while timed."""

STRAIGHT = "the straightest program"
ENQUEUE = "the straightest program that queues"
WORK = "the straightest program that works the queue"
PANDAS = "the provider's client and pandas"


def our_command(path: Path, command: str) -> Callable[[], dict[str, Any]]:
    """One command of the configuration, with its libraries loaded, and our modules too."""
    for name in LOADED_ON_THE_WAY:
        import_module(name)
    from assetbatch.commands.enqueue_secondary import enqueue_secondary
    from assetbatch.commands.run_priority import run_priority
    from assetbatch.commands.run_queue import run_queue
    from assetbatch.provider import client  # noqa: F401 - loads the HTTP library

    config = read_config(path)
    command_of = {
        "run-priority": run_priority,
        "run-queue": run_queue,
        "enqueue-secondary": enqueue_secondary,
    }[command]

    def run() -> dict[str, Any]:
        with Services(config) as services, Deadline(120) as deadline:
            result = command_of(services, deadline, Progress())
        return {
            "result": result.result,
            "calls": result.calls,
            "bars": result.bars_written,
            "published": result.published,
            "assets": len(result.assets),
            "waits": result.waits,
        }

    return run


def peer(job: straight.Job, contender: str) -> Callable[[], dict[str, Any]]:
    """One of the others, with its libraries loaded."""
    if contender != PANDAS:
        import requests  # noqa: F401

        def run() -> dict[str, Any]:
            if contender == ENQUEUE:
                return {"result": "ok", "enqueued": straight_queue.enqueue(job)}
            calls, published = straight.refresh(job) if contender == STRAIGHT else straight_queue.work(job)
            return {"result": "ok", "calls": calls, "published": published}

        return run
    import massive  # type: ignore[import-untyped]  # noqa: F401
    import pandas  # noqa: F401
    import sqlalchemy  # noqa: F401

    def run_pandas() -> dict[str, Any]:
        pandas_way.refresh(job)
        return {"result": "ok"}

    return run_pandas


def peer_of_bars(job: straight_bars.Job) -> dict[str, Any]:
    """The straight program for bars."""
    calls, bars = straight_bars.refresh(job)
    return {"result": "ok", "calls": calls, "bars": bars}


Given = Path | straight.Job | straight_bars.Job
"""What a contender works on: a configuration, or what a straight program needs of it."""


def timed(given: Given, contender: str, pipe: Connection) -> None:
    """Runs one contender in this process and sends what it took."""
    if isinstance(given, Path):
        run = our_command(given, contender)
    elif isinstance(given, straight_bars.Job):
        run = partial(peer_of_bars, given)
    else:
        run = peer(given, contender)
    gc.set_threshold(COLLECTED_AFTER)  # as our command line does; the others get the same
    started, cpu = time.perf_counter(), time.process_time()
    result = run()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    pipe.send(Run(seconds, cpu, most_memory_mb(), result))


def start(given: Given, contender: str) -> Run:
    """One run in a new process."""
    pipe, child = _spawn.Pipe()
    process = _spawn.Process(target=timed, args=(given, contender, child))
    process.start()
    child.close()
    found: Run = pipe.recv()
    process.join()
    return found


def read_config(path: Path) -> Config:
    """The configuration in a file, with the key."""
    return load(path, {"POLYGON_API_KEY": KEY}, cwd=path.parent)


def job_of(config: Config) -> straight.Job:
    """The prices of a configuration, for those that need no more of it."""
    database_url, redis_url = config.database.url, config.redis.url
    assert database_url
    assert redis_url
    return straight.Job(
        config.provider.base_url,
        KEY,
        database_url.reveal(),
        redis_url.reveal(),
        {asset.polygon_ticker: asset.symbol for asset in config.assets},
    )


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """The URL of a new database on that server, dropped in the end."""
    name = f"benchmark_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def install(
    folder: Path,
    database_url: str,
    redis_url: str,
    base_url: str,
    assets: int,
    *,
    with_bars: bool,
    stocks: int = 0,
) -> Path:
    """A configuration with so many secondary assets, the first of which are stocks, registered; its file."""
    names = [
        f"{chr(65 + n // 17576 % 26)}{chr(65 + n // 676 % 26)}{chr(65 + n // 26 % 26)}{chr(65 + n % 26)}"
        for n in range(assets)
    ]
    document = {
        "priority_assets": [],
        "secondary_assets": [
            {
                "symbol": f"{name}USD",
                "polygon_ticker": f"{name}USD" if number < stocks else f"X:{name}USD",
                # a market that never closes is measured at any hour
                "asset_type": "stocks" if number < stocks else "crypto",
                "bars": with_bars,
                "update_frequency_seconds": 60,
            }
            for number, name in enumerate(names)
        ],
        "rate_limiting": {"tier": "starter"},
        "queue": {"max_size": 50_000},
        "database": {"url": database_url},
        "redis": {"url": redis_url, "prefix": f"{{wide-{assets}-{stocks}}}"},
        "provider": {"base_url": base_url},
    }
    folder.mkdir()
    path = folder / "config.yml"
    path.write_text(json.dumps(document))
    with Services(read_config(path)) as services:
        initialise(services)
    return path


# --- the tables ---


def make_due(database_url: str) -> None:
    """Lets an hour pass for every sync status."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE data_sources.assetbatch_sync SET last_success_at = now() - interval '1 hour',"
            " status_at = now() - interval '1 hour'"
        )
        connection.execute(
            "UPDATE data_sources.data_sync_status SET last_sync_timestamp = now() - interval '1 hour'"
        )


def as_priority(path: Path) -> Path:
    """The same configuration with all assets as priority assets."""
    document = json.loads(path.read_text())
    document["priority_assets"], document["secondary_assets"] = document["secondary_assets"], []
    copy = path.parent / "priority.yml"
    copy.write_text(json.dumps(document))
    return copy


def prices(
    folder: Path, database_url: str, redis_url: str, provider: Provider, assets: int, repeat: int
) -> None:
    """Prints what refreshing so many prices takes."""
    calls = -(-assets // SNAPSHOT_TICKERS)
    alone = -(-calls // MAX_IN_FLIGHT) * LATENCY_SECONDS
    rows: dict[str, list[Run]] = {}
    with ExitStack() as stack:

        def new_place(name: str) -> tuple[Path, str]:
            url = stack.enter_context(new_database(database_url))
            return install(folder / name, url, redis_url, provider.base_url, assets, with_bars=False), url

        secondary, own_url = new_place("ours")
        turns: dict[str, tuple[Path | straight.Job, str | None]] = {
            "enqueue-secondary": (secondary, own_url),
            "run-queue": (secondary, None),
            "run-priority": (as_priority(secondary), own_url),
        }
        for contender in (STRAIGHT, ENQUEUE, PANDAS):
            path, url = new_place(contender)
            turns[contender] = job_of(read_config(path)), url
            if contender == ENQUEUE:
                turns[WORK] = turns[contender][0], None
        for number in range(repeat + 1):
            for contender, (given, due_at) in turns.items():
                if due_at:
                    make_due(due_at)
                one = start(given, contender)
                check(contender, one.result, calls, assets)
                if number:  # the first warms up
                    rows.setdefault(contender, []).append(one)
    for first, second in (("enqueue-secondary", "run-queue"), (ENQUEUE, WORK)):
        rows[f"{first} and {second}"] = list(map(together, rows[first], rows[second]))
    print(
        f"\n{assets:,} prices, {calls} calls of {LATENCY_SECONDS * 1000:.0f} ms, {MAX_IN_FLIGHT} at once: "
        f"{alone * 1000:.0f} ms\n"
    )
    print("| contender | ms | least | ratio | of the least | CPU ms | least | ratio | of the least | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for contender, runs in rows.items():
        print(f"| {contender} | {figures(runs, rows[STRAIGHT])} | {max(one.peak_mb for one in runs):.0f} |")


COINS = 250
"""How many coins stand beside the stocks."""


def mixed(
    folder: Path, database_url: str, redis_url: str, provider: Provider, stocks: int, repeat: int
) -> None:
    """Prints what a cycle over stocks and coins takes, beside one over as many coins."""
    assets = stocks + COINS
    rows: dict[str, list[Run]] = {}
    with ExitStack() as stack:
        turns = {}
        for name, of_these in (("coins", 0), ("stocks and coins", stocks)):
            url = stack.enter_context(new_database(database_url))
            path = install(
                folder / name, url, redis_url, provider.base_url, assets, with_bars=False, stocks=of_these
            )
            turns[name] = as_priority(path), url
        for number in range(repeat + 1):
            for name, (path, url) in turns.items():
                make_due(url)
                one = start(path, "run-priority")
                check(name, one.result, -(-assets // SNAPSHOT_TICKERS), assets)
                if number:
                    rows.setdefault(name, []).append(one)
    print(f"\nrun-priority, {assets:,} prices\n")
    print("| of | ms | least | ratio | of the least | CPU ms | least | ratio | of the least | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, runs in rows.items():
        print(f"| {name} | {figures(runs, rows['coins'])} | {max(one.peak_mb for one in runs):.0f} |")


def together(one: Run, two: Run) -> Run:
    """Two runs, one after the other."""
    return Run(
        one.seconds + two.seconds, one.cpu_seconds + two.cpu_seconds, max(one.peak_mb, two.peak_mb), {}
    )


def check(contender: str, result: Mapping[str, Any], calls: int, assets: int) -> None:
    """Ends the program if a run did not do what it is measured for."""
    expected = {"calls": calls, "published": assets, "result": "ok"}
    if contender not in ("enqueue-secondary", ENQUEUE, PANDAS) and not expected.items() <= result.items():
        raise SystemExit(f"{contender}: {result}: nothing was measured")


def figures(runs: Sequence[Run], of_straight: Sequence[Run]) -> str:
    """The medians and the least of wall and CPU in ms, and their ratios to the straightest program."""
    cells = []
    for field in ("seconds", "cpu_seconds"):
        for statistic in (statistics.median, min):
            ours, theirs = (statistic(getattr(one, field) for one in some) for some in (runs, of_straight))
            cells.append((f"{ours * 1000:.0f}", f"{ours / theirs:.2f}"))
    (wall, least), (cpu, least_cpu) = cells[:2], cells[2:]
    return " | ".join([wall[0], least[0], wall[1], least[1], cpu[0], least_cpu[0], cpu[1], least_cpu[1]])


def first_bars(
    folder: Path, server_url: str, redis_url: str, provider: Provider, assets: int, repeat: int
) -> None:
    """Prints what the first page of so many symbols takes, each time in new tables."""
    rows: dict[str, list[Run]] = {"run-queue": [], STRAIGHT: []}
    for number in range(repeat):
        for contender, runs in rows.items():
            with new_database(server_url) as url, redis.Redis.from_url(redis_url) as client:
                client.flushdb()
                name = f"bars-{contender}-{number}"
                path = install(folder / name, url, redis_url, provider.base_url, assets, with_bars=True)
                if contender == STRAIGHT:
                    end_ms = time.time_ns() // 1_000_000
                    ours = straight_bars.Job(provider.base_url, KEY, url, redis_url, end_ms - PAGE_MS, end_ms)
                    runs.append(start(ours, contender))
                else:
                    start(path, "enqueue-secondary")
                    runs.append(start(path, contender))
                with psycopg.connect(url) as connection:
                    stored = connection.execute("SELECT count(*) FROM market_data.ohlcv_5m").fetchone()
                if stored != (runs[-1].result["bars"],):
                    raise SystemExit(f"{contender}: {stored} bars are stored: nothing was measured")
    print(f"\nthe bars of {assets:,} symbols, each {repeat} times\n")
    print(
        "| contender | calls | bars | ms | least | ratio | of the least | CPU ms | least | ratio "
        "| of the least | MB |"
    )
    print("|---|" + "--:|" * 11)
    for contender, runs in rows.items():
        result, most_mb = runs[-1].result, max(one.peak_mb for one in runs)
        print(
            f"| {contender} | {result['calls']:,} | {result['bars']:,} | {figures(runs, rows[STRAIGHT])} "
            f"| {most_mb:.0f} |"
        )


class Page(NamedTuple):
    """What a page took: seconds to fetch and decode, and to store it; the peak memory before and after."""

    fetch_seconds: float
    store_seconds: float
    before_mb: float
    peak_mb: float
    new: int


def page(database_url: str, base_url: str, symbol: str, pipe: Connection) -> None:
    """Fetches, decodes and stores one answer of 50,000 bars in this process, which does nothing else."""
    with Store.open(database_url) as store, ProviderClient(base_url, Secret(KEY)) as client:
        before_mb = most_memory_mb()
        began = time.perf_counter()
        answer = client.bars(f"X:{symbol}", LARGE_PAGE_START_MS, LARGE_PAGE_START_MS + LARGE_PAGE_MS - 1)
        decoded = time.perf_counter()
        saved = store.save(Changes(bars={symbol: answer.bars}), LARGE_PAGE_START_MS + 2 * LARGE_PAGE_MS)
        stored = time.perf_counter()
    peak_mb = most_memory_mb()
    pipe.send(Page(decoded - began, stored - decoded, before_mb, peak_mb, saved.bars_new))


def large_page(folder: Path, server_url: str, redis_url: str, provider: Provider) -> None:
    """Prints what one answer of 50,000 bars takes: five times what a page of the provider holds."""
    with new_database(server_url) as url:
        install(folder / "large", url, redis_url, provider.base_url, 1, with_bars=True)
        pipe, child = _spawn.Pipe()
        process = _spawn.Process(target=page, args=(url, provider.base_url, "AAAAUSD", child))
        process.start()
        child.close()
        found: Page = pipe.recv()
        process.join()
    if found.new != LARGE_PAGE_BARS:
        raise SystemExit(f"{found.new} bars were stored: nothing was measured")
    print(f"\nan answer of {LARGE_PAGE_BARS:,} bars\n")
    print("| fetched and decoded, ms | stored, ms | most memory, MB | of it before |")
    print("|--:|--:|--:|--:|")
    print(
        f"| {found.fetch_seconds * 1000:.0f} | {found.store_seconds * 1000:.0f} "
        f"| {found.peak_mb:.0f} | {found.before_mb:.0f} |"
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="cycles of a plan without a limit")
    parser.add_argument("--assets", type=int, default=10_000, help="how many prices; 0: none")
    parser.add_argument("--bars", type=int, default=500, help="of how many symbols the bars; 0: none")
    parser.add_argument("--stocks", type=int, default=0, help="how many stocks beside 250 coins; 0: none")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument("--database-url", help="an empty database; default: a server of our own")
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    with (
        benchmark_database(options.database_url) as database_url,
        benchmark_server(options.redis_url) as redis_url,
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        Provider() as provider,
    ):
        print(surroundings(redis_url, ["assetbatch", "psycopg", "redis", "requests"]))
        if options.assets:
            prices(Path(folder), database_url, redis_url, provider, options.assets, options.repeat)
        if options.stocks:
            mixed(Path(folder), database_url, redis_url, provider, options.stocks, options.repeat)
        if options.bars:
            first_bars(Path(folder), database_url, redis_url, provider, options.bars, options.repeat)
            large_page(Path(folder), database_url, redis_url, provider)


if __name__ == "__main__":
    main()
