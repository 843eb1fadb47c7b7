"""Refreshing many assets on a snapshot plan beside other ways.

All contenders ask the same canned provider of `benchmarks.wide` (a process of its own) over real HTTP with
the same latency, and write into the same PostgreSQL (each into a database of its own) and Redis. They take
turns, round by round, so that what else the machine does hits all of them. Ours are whole cycles as cron
starts them, but in process: the start of an interpreter is in nobody's time, nor are imports. Every round is
checked: every row has a newer price, every status was written, every event was heard. Run from the
repository's root:

    python -m benchmarks.cycle [--sizes 3 250 2500 10000] [--repeat 5] [--slow-repeat 1]
                               [--database-url URL] [--redis-url URL]
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
import redis
import requests
from benchmarks import pandas_way, straight
from benchmarks.bars import benchmark_database
from benchmarks.limiter import benchmark_server, surroundings
from benchmarks.straight import CHUNK
from benchmarks.wide import (
    LATENCY_SECONDS,
    Provider,
    as_priority,
    install,
    job_of,
    make_due,
    new_database,
    read_config,
)

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.deadline import Deadline
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services

THREADS = 8
BAR_RATIO = 100
MOST_IN_TURN = 2500
"""Maximum number of assets for which the ways that take a call for each are measured."""


class Row(NamedTuple):
    """What is stored of an asset: its price as a document, and when its sync status was written."""

    update: Mapping[str, Any]
    status_at: datetime | None


class Place:
    """An installation of a contender's own with `size` registered assets."""

    def __init__(
        self, folder: Path, database_url: str, redis_url: str, provider: Provider, size: int
    ) -> None:
        folder /= uuid.uuid4().hex
        path = install(folder, database_url, redis_url, provider.base_url, size, with_bars=False)
        self.provider = provider
        self.config = read_config(as_priority(path) if size <= CHUNK else path)
        self.job = job_of(self.config)

    def rows(self) -> dict[str, Row]:
        """What is stored of each symbol that has a price."""
        with psycopg.connect(self.job.database_url) as connection:
            found = connection.execute(
                "SELECT s.symbol, s.metadata -> 'last_update', d.updated_at FROM trading.symbols s"
                " LEFT JOIN data_sources.data_sync_status d ON d.ticker_id = s.id"
                " WHERE s.metadata ? 'last_update'"
            ).fetchall()
        return {symbol: Row(update, status_at) for symbol, update, status_at in found}


def ours(place: Place) -> None:
    """A priority cycle; of more assets than one call serves, what enqueue-secondary and run-queue do."""
    if len(place.job.symbols) <= CHUNK:
        with Services(place.config) as services, Deadline(60) as deadline:
            result = run_priority(services, deadline, Progress())
    else:
        with Services(place.config) as services, Deadline(60) as deadline:
            enqueue_secondary(services, deadline, Progress())
        with Services(place.config) as services, Deadline(60) as deadline:
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


def refresh_each(job: straight.Job, tickers: Sequence[str]) -> None:
    """For each a GET of its snapshot, an UPDATE and an upsert, each committed, and a PUBLISH; all
    connections are kept."""
    with (
        requests.Session() as http,
        psycopg.connect(job.database_url, autocommit=True) as database,
        redis.Redis.from_url(job.redis_url) as publisher,
    ):
        http.headers["Authorization"] = f"Bearer {job.key}"
        url = f"{job.base_url}/v3/snapshot"
        for ticker in tickers:
            (entry,) = http.get(url, params={"ticker.any_of": ticker}, timeout=10).json()["results"]
            quote = entry["last_quote"]
            update = {
                "bid": quote["bid"],
                "ask": quote["ask"],
                "last_price": (quote["bid"] + quote["ask"]) / 2,
                "timestamp": straight.iso(quote["last_updated"]),
            }
            symbol = job.symbols[ticker]
            text = msgspec.json.encode(update).decode()
            database.execute(_UPDATE, [text, symbol])
            database.execute(_SYNC, [symbol])
            publisher.publish(f"asset:update:{symbol}", text)


def obvious(place: Place) -> None:
    """One asset after the other."""
    refresh_each(place.job, list(place.job.symbols))


def obvious_with_threads(place: Place) -> None:
    """The same with 8 threads, each with connections of its own."""
    tickers = list(place.job.symbols)
    shares = [share for n in range(THREADS) if (share := tickers[n::THREADS])]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda share: refresh_each(place.job, share), shares))


def straight_way(place: Place) -> None:
    """The straightest program that does the work of a cycle."""
    straight.refresh(place.job)


def with_pandas(place: Place) -> None:
    """The provider's client for 250 snapshots a call, and pandas."""
    pandas_way.refresh(place.job)


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
    Contender("the straightest program (benchmarks/straight.py)", straight_way),
    Contender("provider's client, pandas.to_sql; no status, no events", with_pandas, whole=False),
)


def one_round(place: Place, contender: Contender) -> float:
    """Seconds that a round took; its work is checked."""
    before = place.rows()
    with redis.Redis.from_url(place.job.redis_url) as client, client.pubsub() as listener:
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
    size, after = len(place.job.symbols), place.rows()
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
            slow = contender.slow and len(place.job.symbols) > CHUNK
            if slow and number >= slow_repeat:
                continue
            make_due(place.job.database_url)
            arrived = place.provider.arrived
            took = one_round(place, contender)
            calls[contender] = place.provider.arrived - arrived
            if number or slow:
                seconds[contender].append(took)
    return {contender: Measured(seconds[contender], calls[contender]) for contender in calls}


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
        print(
            f"\n{LATENCY_SECONDS * 1000:.0f} ms latency at the provider; medians of {repeat} rounds after one"
            f" that warms up; beyond {CHUNK} assets, of a call per asset, of {slow_repeat} without\n"
        )
        print("| assets | contender | calls | seconds | least | most | assets/s | ratio |")
        print("|--:|---|--:|--:|--:|--:|--:|--:|")
        for size in sizes:
            places = {
                contender: Place(
                    folder, stack.enter_context(new_database(database_url)), redis_url, provider, size
                )
                for contender in CONTENDERS
                if size <= MOST_IN_TURN or not contender.slow
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
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, CHUNK, 2500, 10_000])
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument(
        "--slow-repeat", type=int, default=1, help=f"the same of an asset at a time, beyond {CHUNK} assets"
    )
    parser.add_argument(
        "--database-url", help="an empty database whose user may create others; default: a server of our own"
    )
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
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
