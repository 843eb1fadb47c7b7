"""Refreshing many assets on a snapshot plan beside the obvious way and the vendor's client with pandas.

    python -m benchmarks.cycle                          # 8 minutes; --repeat 5 --slow-repeat 1

All contenders ask the same simulated vendor over real HTTP with the same latency and write into the same
PostgreSQL and Redis, in the same run. Ours are whole cycles as cron starts them, in process.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import redis
import requests
import yaml

from assetbatch import cycles
from assetbatch.bounds import Bound
from assetbatch.config import load
from assetbatch.embedded import EmbeddedServers
from assetbatch.sandbox import PLANS, SandboxServer
from assetbatch.sandbox.universe import instruments
from assetbatch.services import Services
from assetbatch.setup import initialise

LATENCY_SECONDS = 0.05
KEY = "made-up-key"
SIZES = (3, 250, 2500)
START_MS = 1_795_014_000_000  # a Wednesday at 10 in the morning in New York: all markets are open
STEP_MS = 600_000
CHUNK = 250


class Clock:
    """The time of the vendor and of our cycles, moved on between rounds so that prices are new."""

    def __init__(self) -> None:
        self.at_ms = START_MS

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self.at_ms


class Place:
    """Servers, vendor, configuration and the registered assets, for one number of assets."""

    def __init__(
        self, folder: Path, servers: EmbeddedServers, vendor: SandboxServer, clock: Clock, size: int
    ):
        self.database_url = servers.database_url()
        self.redis_url = servers.redis_url()
        self.base_url = vendor.base_url
        self.vendor = vendor
        self.clock = clock
        chosen = list(instruments(max(SIZES)).values())[:size]
        self.tickers = {one.ticker: one.ticker.replace(":", "") for one in chosen}
        assets = [
            {
                "symbol": self.tickers[one.ticker],
                "polygon_ticker": one.ticker,
                "asset_type": "crypto" if one.kind == "crypto" else "forex",
                "bars": False,
            }
            for one in chosen
        ]
        few = size <= CHUNK
        document = {
            "priority_assets": assets if few else [],
            "secondary_assets": [] if few else assets,
            "rate_limiting": {"tier": "starter"},
            "queue": {"max_size": 10_000},
            "database": {"url": self.database_url},
            "redis": {"url": self.redis_url},
            "provider": {"base_url": vendor.base_url},
        }
        path = folder / "config.yml"
        path.write_text(yaml.safe_dump(document))
        self.config = load(path, {"POLYGON_API_KEY": KEY}, cwd=folder)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS trading, market_data, data_sources CASCADE")
            connection.execute("DROP TABLE IF EXISTS staging")
        redis.Redis.from_url(self.redis_url).flushdb()
        with Services(self.config) as services:
            initialise(services)

    def updated(self) -> int:
        """How many rows of trading.symbols hold a price of the present round."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM trading.symbols WHERE"
                " (metadata #>> '{last_update,timestamp}')::timestamptz > to_timestamp(%s / 1000.0)",
                [self.clock.at_ms - STEP_MS],
            ).fetchone()
        assert row is not None, "an aggregate has one row"
        return int(row[0])


Round = Callable[[Place], None]


def ours(place: Place) -> None:
    """A priority cycle; of more assets than one call serves, what enqueue-secondary and run-queue do."""
    with Services(place.config) as services, Bound(60) as bound:
        services.clock = place.clock  # type: ignore[assignment]  # the same two methods
        if len(place.tickers) <= CHUNK:
            cycles.run_priority(services, bound, lambda _text: None)
            return
        cycles.enqueue_secondary(services, bound)
    with Services(place.config) as services, Bound(60) as bound:
        services.clock = place.clock  # type: ignore[assignment]  # the same two methods
        cycles.run_queue(services, bound, lambda _text: None)


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


class _Session(threading.local):
    """Connections of a thread."""

    def __init__(self, place: Place) -> None:
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {KEY}"
        self.database = psycopg.connect(place.database_url)
        self.redis: Any = redis.Redis.from_url(place.redis_url)


def _one_asset(place: Place, session: _Session, ticker: str) -> None:
    """A call, an UPDATE, an upsert and a PUBLISH, each committed."""
    answer = session.http.get(f"{place.base_url}/v3/snapshot", params={"ticker.any_of": ticker}, timeout=10)
    (entry,) = answer.json()["results"]
    quote, trade = entry.get("last_quote"), entry.get("last_trade")
    moment_ns = (quote or {}).get("last_updated") or (trade or {})["participant_timestamp"]
    update = {
        "bid": quote["bid"] if quote else None,
        "ask": quote["ask"] if quote else None,
        "last_price": trade["price"] if trade else (quote["bid"] + quote["ask"]) / 2,
        "timestamp": datetime.fromtimestamp(moment_ns / 1e9, UTC).isoformat(),
    }
    symbol = place.tickers[ticker]
    text = msgspec.json.encode(update).decode()
    session.database.execute(_UPDATE, [text, symbol])
    session.database.commit()
    session.database.execute(_SYNC, [symbol])
    session.database.commit()
    session.redis.publish(f"asset:update:{symbol}", text)


def obvious(place: Place) -> None:
    """One asset after the other."""
    session = _Session(place)
    for ticker in place.tickers:
        _one_asset(place, session, ticker)


def obvious_with_threads(place: Place) -> None:
    """The same with 8 threads."""
    session = _Session(place)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda ticker: _one_asset(place, session, ticker), place.tickers))


def pandas_way(place: Place) -> None:
    """The vendor's client for 250 snapshots a call, a DataFrame, to_sql into a staging table, one UPDATE;
    no sync status and no events."""
    import pandas
    import sqlalchemy
    from massive import RESTClient  # type: ignore[import-untyped]

    client = RESTClient(api_key=KEY, base=place.base_url)
    rows = []
    tickers = list(place.tickers)
    for first in range(0, len(tickers), CHUNK):
        chunk = tickers[first : first + CHUNK]
        for entry in client.list_universal_snapshots(ticker_any_of=chunk, limit=CHUNK):
            quote, trade = entry.last_quote, entry.last_trade
            rows.append(
                {
                    "symbol": place.tickers[entry.ticker],
                    "bid": quote.bid if quote else None,
                    "ask": quote.ask if quote else None,
                    "last_price": trade.price if trade else (quote.bid + quote.ask) / 2,
                    "timestamp": datetime.fromtimestamp(
                        (quote.last_updated if quote else trade.participant_timestamp) / 1e9, UTC
                    ).isoformat(),
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


CONTENDERS: dict[str, Round] = {
    "assetbatch": ours,
    "a call, UPDATE, upsert, PUBLISH per asset": obvious,
    "the same with 8 threads": obvious_with_threads,
    "vendor's client, pandas.to_sql": pandas_way,
}


@contextmanager
def counting(url: str) -> Iterator[list[Any]]:
    """The events that are published meanwhile."""
    heard: list[Any] = []
    client: Any = redis.Redis.from_url(url)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe(**{"asset:update:*": heard.append})
    thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
    time.sleep(0.05)
    try:
        yield heard
        time.sleep(0.2)
    finally:
        thread.stop()
        thread.join()
        client.close()


def measure(place: Place, name: str, repeat: int) -> tuple[list[float], int]:
    """Seconds of each round, and the calls of the last; every round must have done its work."""
    seconds = []
    for number in range(repeat + 1):
        place.clock.at_ms += STEP_MS
        arrived = len(place.vendor.arrivals)
        with counting(place.redis_url) as heard:
            started = time.perf_counter()
            CONTENDERS[name](place)
            took = time.perf_counter() - started
        if number or repeat == 1:  # the first round warms up
            seconds.append(took)
        size = len(place.tickers)
        assert place.updated() == size, f"{name}: {place.updated()} of {size} rows"
        assert len(heard) == (0 if name.startswith("vendor") else size), f"{name}: {len(heard)} events"
        if repeat == 1:
            break
    return seconds, len(place.vendor.arrivals) - arrived


def surroundings() -> str:
    """One line: when, on what, which versions."""
    packages = ("assetbatch", "psycopg", "redis", "requests", "massive", "pandas")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {versions}"
    )


def compare(sizes: Sequence[int], repeat: int, slow_repeat: int) -> None:
    """Prints a row for each contender and size."""
    clock = Clock()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as text,
        EmbeddedServers(Path(text)) as servers,
        SandboxServer(
            PLANS["starter"],
            clock=clock.now_ms,
            latency=(LATENCY_SECONDS, LATENCY_SECONDS),
            universe=max(SIZES),
        ) as vendor,
    ):
        print(surroundings())
        print(
            f"\n{LATENCY_SECONDS * 1000:.0f} ms latency at the vendor; medians of {repeat} ({slow_repeat})\n"
        )
        print("| assets | contender | calls | seconds | assets/s | ratio |")
        print("|--:|---|--:|--:|--:|--:|")
        for size in sizes:
            ours_seconds = 0.0
            for name in CONTENDERS:
                place = Place(Path(text), servers, vendor, clock, size)
                slow = size > CHUNK and name != "assetbatch"
                seconds, calls = measure(place, name, slow_repeat if slow else repeat)
                median = statistics.median(seconds)
                ours_seconds = ours_seconds or median
                print(
                    f"| {size:,} | {name} | {calls:,} | {median:.3f} | {size / median:,.0f} "
                    f"| {median / ours_seconds:,.1f} |",
                    flush=True,
                )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="refreshing assets, beside other ways")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument("--slow-repeat", type=int, default=1, help="the same of the others at 2,500 assets")
    options = parser.parse_args()
    compare(options.sizes, options.repeat, options.slow_repeat)


if __name__ == "__main__":
    main()
