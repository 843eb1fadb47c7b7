"""Refreshing many assets on a snapshot plan beside the obvious way and the provider's client with pandas.

All contenders ask the same simulated provider (a process of its own) over real HTTP with the same latency,
at the same simulated times, and write into the same PostgreSQL (each into a database of its own) and Redis.
They take turns, round by round, so that what else the machine does hits all of them. Ours are whole cycles
as cron starts them, but in process: the start of an interpreter is in nobody's time. Every round is checked:
every row has a newer price, every status was written, every event was heard. Run from the repository's root:

    python -m benchmarks.cycle [--sizes 3 250 2500] [--repeat 5] [--slow-repeat 1]
                               [--database-url URL] [--redis-url URL]
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import multiprocessing
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import psycopg
import redis
import requests
import yaml
from benchmarks.bars import benchmark_database
from benchmarks.limiter import benchmark_server, surroundings
from psycopg.sql import SQL, Identifier

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.init import initialise
from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.config import load
from assetbatch.deadline import Deadline
from assetbatch.refresh.progress import Progress
from assetbatch.sandbox import PLANS, SandboxServer, system_clock
from assetbatch.sandbox.universe import instruments
from assetbatch.services import Services
from assetbatch.state.clock import ServerClock

LATENCY_SECONDS = 0.05
KEY = "made-up-key"
UNIVERSE = 2500
CHUNK = 250  # tickers that one call for snapshots may name
THREADS = 8
START_MS = 1_795_014_005_000
"""A Wednesday at 10 in the morning in New York: all markets are open. The 5 s because just then the simulated
provider makes up 250 prices within its latency; at 0 s or 47 s past the minute it takes longer."""
STEP_MS = 600_000  # between rounds: everything is due again, and has another price
BAR_RATIO = 100

# spawn: the provider's process inherits nothing of the servers' and the clients'.
_spawn = multiprocessing.get_context("spawn")


def serve(ahead_ms: Any, parent: Connection) -> None:
    """The provider's process: tells its address, then the number of arrivals as often as it is asked."""
    with SandboxServer(
        PLANS["starter"],
        clock=lambda: system_clock() + int(ahead_ms.value),
        latency=(LATENCY_SECONDS, LATENCY_SECONDS),
        universe=UNIVERSE,
    ) as provider:
        parent.send(provider.base_url)
        while parent.recv():
            parent.send(len(provider.arrivals))


class Provider:
    """The simulated provider in a process of its own, so that its work does not hold up its callers, and the
    simulated time: the machine's, moved."""

    def __init__(self) -> None:
        self._ahead_ms = _spawn.Value("q", 0)
        self._pipe, child = _spawn.Pipe()
        self._process = _spawn.Process(target=serve, args=(self._ahead_ms, child), daemon=True)
        self._process.start()
        self.base_url: str = self._pipe.recv()

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pipe.send(False)
        self._process.join()

    @property
    def arrived(self) -> int:
        """How many calls have arrived so far."""
        self._pipe.send(True)
        return int(self._pipe.recv())

    @property
    def ahead_ms(self) -> int:
        """How far the simulated time is ahead of the machine's; negative where it is behind."""
        return int(self._ahead_ms.value)

    def move_to(self, at_ms: int) -> None:
        """Makes it that moment."""
        self._ahead_ms.value = at_ms - system_clock()

    def snapshot_seconds(self, tickers: Sequence[str]) -> float:
        """How long the answer for these tickers takes, 250 a call. The first at a moment makes up their
        prices; then the provider has those of some hundred tickers ready, for all contenders."""
        with requests.Session() as http:
            http.headers["Authorization"] = f"Bearer {KEY}"
            started = time.perf_counter()
            for first in range(0, len(tickers), CHUNK):
                query = {"ticker.any_of": ",".join(tickers[first : first + CHUNK]), "limit": str(CHUNK)}
                http.get(f"{self.base_url}/v3/snapshot", params=query, timeout=10).raise_for_status()
            return time.perf_counter() - started


class MovedClock:
    """The Redis server's time, moved as the provider's is."""

    def __init__(self, clock: ServerClock, ahead_ms: int) -> None:
        self._clock = clock
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self._clock.now_ms() + self._ahead_ms


class Row(NamedTuple):
    """What is stored of an asset: its price as a document, and when its sync status was written."""

    update: Mapping[str, Any]
    status_at: datetime | None


class Place:
    """An installation of a contender's own with `size` registered assets of both classes."""

    def __init__(
        self, folder: Path, database_url: str, redis_url: str, provider: Provider, size: int
    ) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.provider = provider
        self.symbols = {ticker: ticker.replace(":", "") for ticker in some_tickers(size)}
        assets = [
            {
                "symbol": symbol,
                "polygon_ticker": ticker,
                "asset_type": "crypto" if ticker.startswith("X:") else "forex",
                "bars": False,
            }
            for ticker, symbol in self.symbols.items()
        ]
        document = {
            "priority_assets": assets if size <= CHUNK else [],
            "secondary_assets": [] if size <= CHUNK else assets,
            "rate_limiting": {"tier": "starter"},  # any number of calls
            "queue": {"max_size": 10_000},
            "database": {"url": database_url},
            "redis": {"url": redis_url, "prefix": f"{{benchmark-{size}}}"},
            "provider": {"base_url": provider.base_url},
        }
        path = folder / "config.yml"
        path.write_text(yaml.safe_dump(document))
        self.config = load(path, {"POLYGON_API_KEY": KEY}, cwd=folder)
        with Services(self.config) as services:
            initialise(services)

    @contextmanager
    def services(self) -> Iterator[Services]:
        """New ones, as each start of a command has."""
        with Services(self.config) as services:
            clock = MovedClock(services.clock, self.provider.ahead_ms)
            services.clock = clock  # type: ignore[assignment]  # all that is asked of one
            yield services

    def rows(self) -> dict[str, Row]:
        """What is stored of each symbol that has a price."""
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(
                "SELECT s.symbol, s.metadata -> 'last_update', d.updated_at FROM trading.symbols s"
                " LEFT JOIN data_sources.data_sync_status d ON d.ticker_id = s.id"
                " WHERE s.metadata ? 'last_update'"
            ).fetchall()
        return {symbol: Row(update, status_at) for symbol, update, status_at in found}


def some_tickers(size: int) -> list[str]:
    """So many of the provider's tickers, evenly from all."""
    return list(instruments(UNIVERSE))[:: UNIVERSE // size][:size]


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


def ours(place: Place) -> None:
    """A priority cycle; of more assets than one call serves, what enqueue-secondary and run-queue do."""
    if len(place.symbols) <= CHUNK:
        with place.services() as services, Deadline(60) as deadline:
            result = run_priority(services, deadline, Progress())
    else:
        with place.services() as services, Deadline(60) as deadline:
            enqueue_secondary(services, deadline, Progress())
        with place.services() as services, Deadline(60) as deadline:
            result = run_queue(services, deadline, Progress())
    assert result.result == "ok", result


_UPDATE = """
    UPDATE trading.symbols
    SET metadata = jsonb_set(metadata, '{last_update}', %s::jsonb), updated_at = now()
    WHERE symbol = %s
"""
_SYNC = """
    INSERT INTO data_sources.data_sync_status
        (ticker_id, provider_id, last_sync_timestamp, sync_status, updated_at)
    SELECT s.id, p.id, now(), 'success', now()
    FROM trading.symbols s, data_sources.api_providers p WHERE s.symbol = %s AND p.code = 'polygon'
    ON CONFLICT (ticker_id, provider_id) DO UPDATE
    SET last_sync_timestamp = excluded.last_sync_timestamp, sync_status = 'success', updated_at = now()
"""


def refresh_each(place: Place, tickers: Sequence[str]) -> None:
    """For each a GET of its snapshot, an UPDATE and an upsert, each committed, and a PUBLISH; all
    connections are kept."""
    with (
        requests.Session() as http,
        psycopg.connect(place.database_url, autocommit=True) as database,
        redis.Redis.from_url(place.redis_url) as publisher,
    ):
        http.headers["Authorization"] = f"Bearer {KEY}"
        url = f"{place.provider.base_url}/v3/snapshot"
        for ticker in tickers:
            (entry,) = http.get(url, params={"ticker.any_of": ticker}, timeout=10).json()["results"]
            quote, trade = entry.get("last_quote"), entry.get("last_trade")
            update = {
                "bid": quote["bid"] if quote else None,
                "ask": quote["ask"] if quote else None,
                "last_price": trade["price"] if trade else (quote["bid"] + quote["ask"]) / 2,
                "timestamp": iso(quote["last_updated"] if quote else trade["participant_timestamp"]),
            }
            symbol = place.symbols[ticker]
            text = msgspec.json.encode(update).decode()
            database.execute(_UPDATE, [text, symbol])
            database.execute(_SYNC, [symbol])
            publisher.publish(f"asset:update:{symbol}", text)


def iso(at_ns: int) -> str:
    """ISO 8601 in UTC of Unix nanoseconds."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat()


def obvious(place: Place) -> None:
    """One asset after the other."""
    refresh_each(place, list(place.symbols))


def obvious_with_threads(place: Place) -> None:
    """The same with 8 threads, each with connections of its own."""
    tickers = list(place.symbols)
    shares = [share for n in range(THREADS) if (share := tickers[n::THREADS])]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda share: refresh_each(place, share), shares))


def pandas_way(place: Place) -> None:
    """The provider's client for 250 snapshots a call, a DataFrame, to_sql into a staging table, one UPDATE;
    no sync status and no events."""
    import pandas
    import sqlalchemy
    from massive import RESTClient  # type: ignore[import-untyped]

    client = RESTClient(api_key=KEY, base=place.provider.base_url)
    rows = []
    tickers = list(place.symbols)
    for first in range(0, len(tickers), CHUNK):
        chunk = tickers[first : first + CHUNK]
        for entry in client.list_universal_snapshots(ticker_any_of=chunk, limit=CHUNK):
            quote, trade = entry.last_quote, entry.last_trade
            rows.append(
                {
                    "symbol": place.symbols[entry.ticker],
                    "bid": quote.bid if quote else None,
                    "ask": quote.ask if quote else None,
                    "last_price": trade.price if trade else (quote.bid + quote.ask) / 2,
                    "timestamp": iso(quote.last_updated if quote else trade.participant_timestamp),
                }
            )
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(place.database_url)
    )
    with engine.begin() as connection:
        pandas.DataFrame(rows).to_sql("staging", connection, if_exists="replace", index=False)
        connection.exec_driver_sql(
            "UPDATE trading.symbols s SET metadata = jsonb_set(s.metadata, '{last_update}',"
            " to_jsonb(n) - 'symbol'), updated_at = now() FROM staging n WHERE n.symbol = s.symbol"
        )
    engine.dispose()


class Contender(NamedTuple):
    """A way of refreshing; whether it also writes the sync status and publishes, and whether it takes a
    minute or more for 2,500 assets."""

    name: str
    refresh: Callable[[Place], None]
    whole: bool = True
    slow: bool = False


OURS = Contender("assetbatch", ours)
OBVIOUS = Contender("a call, UPDATE, upsert, PUBLISH per asset", obvious, slow=True)
CONTENDERS = (
    OURS,
    OBVIOUS,
    Contender(f"the same with {THREADS} threads", obvious_with_threads, slow=True),
    Contender("provider's client, pandas.to_sql; no status, no events", pandas_way, whole=False),
)


def one_round(place: Place, contender: Contender) -> float:
    """Seconds that a round took; its work is checked."""
    before = place.rows()
    with redis.Redis.from_url(place.redis_url) as client, client.pubsub() as listener:
        listener.psubscribe("asset:update:*")
        listener.get_message(timeout=1)  # the answer to that
        started = time.perf_counter()
        contender.refresh(place)
        seconds = time.perf_counter() - started
        heard = []  # read only now: meanwhile the messages wait in the socket and in Redis
        while message := listener.get_message(timeout=0.3):
            heard.append((message["channel"].decode(), msgspec.json.decode(message["data"])["last_price"]))
    check(place, contender, before, sorted(heard))
    return seconds


def check(
    place: Place, contender: Contender, before: Mapping[str, Row], heard: Sequence[tuple[str, float]]
) -> None:
    """Ends the program if a round did not do what it is measured for."""
    size, after = len(place.symbols), place.rows()
    moments = {symbol: row.update["timestamp"] for symbol, row in before.items()}
    rows = sum(row.update["timestamp"] != moments.get(symbol) for symbol, row in after.items())
    old = {symbol: row.update["last_price"] for symbol, row in before.items()}
    prices = sum(row.update["last_price"] != old.get(symbol) for symbol, row in after.items())
    statuses = sum(
        row.status_at is not None and (symbol not in before or row.status_at != before[symbol].status_at)
        for symbol, row in after.items()
    )
    told = sorted((f"asset:update:{symbol}", row.update["last_price"]) for symbol, row in after.items())
    done = rows == size and prices > size / 2  # some pairs have the price of ten minutes ago once more
    if contender.whole:
        done = done and statuses == size and heard == told
    if not done:
        raise SystemExit(
            f"{contender.name}: of {size} assets {rows} newer rows, {prices} other prices, {statuses} "
            f"statuses, {len(heard)} events: nothing was measured"
        )


class Measured(NamedTuple):
    """Seconds of each round, and the calls of one."""

    seconds: list[float]
    calls: int

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)


def measure(places: Mapping[Contender, Place], repeat: int, slow_repeat: int) -> dict[Contender, Measured]:
    """All contenders in turn, `repeat` times after a first time that warms up; slow ones of many assets
    `slow_repeat` times without it."""
    seconds: dict[Contender, list[float]] = {contender: [] for contender in places}
    calls = {}
    for number in range(repeat + 1):
        for contender, place in places.items():
            slow = contender.slow and len(place.symbols) > CHUNK
            if slow and number >= slow_repeat:
                continue
            provider = place.provider
            provider.move_to(START_MS + number * STEP_MS)
            provider.snapshot_seconds(list(place.symbols))
            arrived = provider.arrived
            took = one_round(place, contender)
            calls[contender] = provider.arrived - arrived
            if number or slow:
                seconds[contender].append(took)
    return {contender: Measured(seconds[contender], calls[contender]) for contender in places}


def print_answers(provider: Provider, sizes: Sequence[int]) -> None:
    """Prints what the latency really is: the provider must make up what it answers."""
    print(f"\n{LATENCY_SECONDS * 1000:.0f} ms latency at the provider; its answers, connection included:\n")
    print("| tickers asked for | tickers in an answer | ms an answer |")
    print("|--:|--:|--:|")
    for size in sorted({1, *sizes}):
        tickers = some_tickers(size)
        answers = -(-size // CHUNK)
        seconds = []
        for number in range(5):
            provider.move_to(START_MS + number * STEP_MS)
            provider.snapshot_seconds(tickers)
            seconds.append(provider.snapshot_seconds(tickers))
        print(f"| {size:,} | {min(size, CHUNK)} | {statistics.median(seconds) / answers * 1000:.0f} |")


def compare(database_url: str, redis_url: str, sizes: Sequence[int], repeat: int, slow_repeat: int) -> None:
    """Prints a row for each contender and size, and whether the bar is held."""
    versions = surroundings(
        redis_url, ["assetbatch", "psycopg", "redis", "requests", "massive", "SQLAlchemy", "pandas"]
    )
    with psycopg.connect(database_url) as connection:
        print(f"{versions}, PostgreSQL {connection.info.server_version // 10_000}")
    verdict = ""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        provider = stack.enter_context(Provider())
        print_answers(provider, sizes)
        print(
            f"\nmedians of {repeat} rounds after one that warms up; beyond {CHUNK} assets, of a call per "
            f"asset, of {slow_repeat} without\n"
        )
        print("| assets | contender | calls | seconds | least | most | assets/s | ratio |")
        print("|--:|---|--:|--:|--:|--:|--:|--:|")
        for size in sizes:
            places = {
                contender: Place(
                    folder, stack.enter_context(new_database(database_url)), redis_url, provider, size
                )
                for contender in CONTENDERS
            }
            measured = measure(places, repeat, slow_repeat)
            for contender, one in measured.items():
                print(
                    f"| {size:,} | {contender.name} | {one.calls:,} | {one.median:.3f} "
                    f"| {min(one.seconds):.3f} | {max(one.seconds):.3f} | {size / one.median:,.0f} "
                    f"| {one.median / measured[OURS].median:,.1f} |",
                    flush=True,
                )
            if size == CHUNK:
                calls, ratio = measured[OURS].calls, measured[OBVIOUS].median / measured[OURS].median
                held = "held" if calls == 1 and ratio >= BAR_RATIO else "missed"
                verdict = (
                    f"{size} assets: calls {calls} (bar: 1), {ratio:.0f} times faster than a call per asset "
                    f"(bar: {BAR_RATIO}): {held}"
                )
    if verdict:
        print(f"\n{verdict}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="refreshing assets, beside other ways")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, CHUNK, UNIVERSE], help="how many assets")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument(
        "--slow-repeat", type=int, default=1, help=f"the same of an asset at a time, beyond {CHUNK} assets"
    )
    parser.add_argument(
        "--database-url", help="an empty database whose user may create others; default: a server of our own"
    )
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    if not all(1 <= size <= UNIVERSE for size in options.sizes):
        parser.error(f"--sizes: from 1 to {UNIVERSE}")
    with (
        benchmark_database(options.database_url) as database_url,
        benchmark_server(options.redis_url) as redis_url,
    ):
        try:
            compare(database_url, redis_url, options.sizes, options.repeat, options.slow_repeat)
        finally:
            redis.Redis.from_url(redis_url).flushdb()  # which was empty


if __name__ == "__main__":
    main()
