"""What grows with the stored bars and what with the assets: each tenfold, twice, while the other stays.

    python -m benchmarks.big_tables [--small 100] [--bars-each 1000] [--times 10] [--repeat 5]
                                    [--only table|months] [--more bars|assets]
                                    [--database-url URL] [--redis-url URL]

First `--small` assets with `--bars-each` bars, then with ten and a hundred times as many bars each; then as
many bars each and ten and a hundred times as many assets; the last of both holds 10 million bars. Everything
is measured on one table and on one in partitions of a month, within a process whose services are open:
no start of an interpreter, no connecting. Every asset has a price, a sync status and a ledger that wants two
years and has asked for what is stored; markets never close, so that nothing depends on the day of the week.
"""

from __future__ import annotations

import argparse
import json
import statistics
import string
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
from benchmarks.bars import benchmark_database, surroundings
from benchmarks.limiter import benchmark_server

from assetbatch.commands.backfill import interleaved
from assetbatch.commands.enqueue_secondary import due_prices
from assetbatch.commands.gaps import find_gaps
from assetbatch.commands.init import initialise
from assetbatch.config import load
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import choose_calls
from assetbatch.domain.due import bars_to_queue
from assetbatch.domain.models import BAR_MS, SNAPSHOT_TICKERS, Bar, Changes, Outcome, Price
from assetbatch.domain.ranges import newest_to_ask
from assetbatch.domain.status import Status
from assetbatch.health import collect
from assetbatch.monitoring import snapshot
from assetbatch.services import Services

SAMPLE = 10
"""Assets of a priority cycle, and of a question for holes."""
WARM_UP = 3
ROOM = 500
"""Half of the queue: so many pages of the past find room in it."""
PAGES_OF_TWO_YEARS = 21
SAVED_TOGETHER = 500
HOLES_MS = 3 * 86_400_000
"""How far back holes are looked for."""


def batched(symbols: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The symbols in portions."""
    return (symbols[at : at + size] for at in range(0, len(symbols), size))


def names(count: int) -> list[str]:
    """So many tickers of four letters."""
    letters = product(string.ascii_uppercase, repeat=4)
    return ["".join(four) for four in islice(letters, count)]


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """The URL of a new database of this name on the server."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def filled(
    folder: Path, database_url: str, redis_url: str, assets: int, bars_each: int, *, by_month: bool
) -> Iterator[Services]:
    """Open services on a database of its own with so many assets and bars up to now."""
    name = f"big_{assets}_{bars_each}"
    with database(database_url, name) as url:
        document = {
            "priority_assets": [],
            "secondary_assets": [
                {"symbol": f"{four}USD", "polygon_ticker": f"X:{four}USD", "asset_type": "crypto"}
                for four in names(assets)
            ],
            "rate_limiting": {"tier": "starter"},
            "database": {"url": url},
            "redis": {"url": redis_url, "prefix": f"{{{name}}}"},
        }
        path = folder / f"{name}.yml"
        path.write_text(json.dumps(document))
        config = load(path, {"POLYGON_API_KEY": "made-up-key"}, cwd=folder)
        with Services(config) as services:
            initialise(services, by_month=by_month)
            with psycopg.connect(url, autocommit=True) as connection:
                fill(services, connection, bars_each)
            yield services


def fill(services: Services, connection: psycopg.Connection[tuple[object, ...]], bars_each: int) -> None:
    """Bars, prices, statuses and ledgers of all registered assets, vacuumed. All but the older bars and the
    ledgers is stored as a cycle of ten minutes ago would have stored it."""
    now_ms = services.now_ms() - 600_000
    last_ms = now_ms - now_ms % BAR_MS - BAR_MS
    connection.execute(
        "INSERT INTO market_data.ohlcv_5m SELECT s.id, to_timestamp(%s::int8 / 1000.0) - n * interval"
        " '5 minutes', 1.1, 1.2, 1.0, 1.15, 10, 1.12, 7 FROM trading.symbols s, generate_series(1, %s - 1) n",
        [last_ms, bars_each],
    )
    connection.execute(
        "INSERT INTO data_sources.assetbatch_spans (symbol_id, start_ts, end_ts, state, asked_at)"
        " SELECT s.id, date_bin('5 min', since - interval '731 days', 'epoch'), since, 'wanted', NULL"
        " FROM trading.symbols s, to_timestamp(%(since)s::int8 / 1000.0) since UNION ALL"
        " SELECT s.id, since, to_timestamp(%(until)s::int8 / 1000.0), 'asked', now()"
        " FROM trading.symbols s, to_timestamp(%(since)s::int8 / 1000.0) since",
        {"since": last_ms - (bars_each - 1) * BAR_MS, "until": last_ms + BAR_MS},
    )
    for some in batched([asset.symbol for asset in services.config.assets], SAVED_TOGETHER):
        services.store.save(
            Changes(
                prices=[Price(symbol=symbol, last_price=1.15, as_of_ms=now_ms, bid=1.1) for symbol in some],
                bars={symbol: [Bar(last_ms, 1.1, 1.2, 1.0, 1.15, 10.0, 1.12, 7)] for symbol in some},
                outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in some],
            ),
            now_ms,
        )
    for table in (
        "trading.symbols",
        "market_data.ohlcv_5m",
        "data_sources.data_sync_status",
        "data_sources.assetbatch_sync",
        "data_sources.assetbatch_closes",
        "data_sources.assetbatch_spans",
    ):
        connection.execute(f"VACUUM ANALYZE {table}".encode())
    connection.execute("CHECKPOINT")


# --- what is measured ---


def load_all(services: Services) -> None:
    """What is stored of every asset, by one query."""
    found = services.store.load([asset.symbol for asset in services.config.assets])
    _expect(len(found), len(services.config.assets))


def status(services: Services) -> None:
    """The health document."""
    _expect(len(collect(services).assets), len(services.config.assets))


def page(services: Services) -> None:
    """The page, with the health document that it shows."""
    text = "".join(snapshot.page(services, collect(services), interval_seconds=300))
    _expect(text.count('<th scope="row" class="name">'), len(services.config.assets))


def holes(services: Services) -> None:
    """The holes of some symbols in the last days."""
    symbols = [asset.symbol for asset in _sample(services)]
    found = find_gaps(services, symbols, services.now_ms() - HOLES_MS)
    _expect(len(found), SAMPLE)


def priority(services: Services) -> None:
    """What a priority cycle plans before its first call."""
    now_ms, known = services.now_ms(), services.entitlements()
    stored = services.store.load([asset.symbol for asset in _sample(services)])
    due, _ = due_prices(services, known, _sample(services), stored)
    _expect(len(choose_calls(due, stored, known, now_ms)), -(-SAMPLE // SNAPSHOT_TICKERS))


def secondary(services: Services) -> None:
    """What enqueue-secondary finds to be queued: prices, bars, and the pages of two years that find room."""
    now_ms, known = services.now_ms(), services.entitlements()
    assets = services.config.enabled_secondary_assets
    stored = services.store.load([asset.symbol for asset in assets])
    due, _ = due_prices(services, known, assets, stored)
    _expect(len(due), len(assets))
    for asset in assets:
        bars_to_queue(asset, stored[asset.symbol], known, now_ms)
    pages = (newest_to_ask(asset, stored[asset.symbol], known, now_ms) for asset in assets)
    least = min(ROOM, PAGES_OF_TWO_YEARS * len(assets))
    _expect(min(least, len(list(islice(interleaved(pages), ROOM)))), least)


def _sample(services: Services) -> Sequence[Asset]:
    return services.config.assets[:SAMPLE]


def _expect(found: int, expected: int) -> None:
    if found != expected:
        raise SystemExit(f"{found} instead of {expected}: nothing was measured")


OF_ALL: dict[str, Callable[[Services], None]] = {
    "what is stored of all assets": load_all,
    "`status`: the health document": status,
    "the page": page,
    "planning of `enqueue-secondary`": secondary,
}
OF_SOME: dict[str, Callable[[Services], None]] = {
    f"`holes` of {SAMPLE} symbols, {HOLES_MS // 86_400_000} days": holes,
    f"planning of `run-priority`, {SAMPLE} assets": priority,
}


class Step(NamedTuple):
    """How much is stored, and how to ask about it."""

    assets: int
    bars: int
    services: Services


def measured(steps: Sequence[Step], ask: Callable[[Services], None], repeat: int) -> list[float]:
    """The median seconds of each step. They take turns, so that what else the machine does meets all alike;
    the first turns fill the caches of new connections."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(WARM_UP + repeat):
        for step, seconds in zip(steps, taken, strict=True):
            started = time.perf_counter()
            ask(step.services)
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds[WARM_UP:]) for seconds in taken]


def compare(steps: Sequence[Step], repeat: int) -> None:
    """A row for each question: ms (and of all assets also µs for each), the last in terms of the first."""
    heads = [f"{step.assets:,} assets, {step.bars:,} bars" for step in steps]
    print(f"| ms (µs an asset) | {' | '.join(heads)} | last to first |")
    print("|---|" + "--:|" * (len(steps) + 1))
    for name, ask in OF_ALL.items():
        seconds = measured(steps, ask, repeat)
        each = [one / step.assets for one, step in zip(seconds, steps, strict=True)]
        cells = [f"{one * 1000:.1f} ({part * 1e6:.0f})" for one, part in zip(seconds, each, strict=True)]
        print(f"| {name} | {' | '.join(cells)} | {each[-1] / each[0]:.2f} an asset |", flush=True)
    for name, ask in OF_SOME.items():
        seconds = measured(steps, ask, repeat)
        cells = [f"{one * 1000:.1f}" for one in seconds]
        print(f"| {name} | {' | '.join(cells)} | {seconds[-1] / seconds[0]:.2f} |", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="what grows with the bars, and what with the assets")
    parser.add_argument("--small", type=int, default=100, help="assets of the first step")
    parser.add_argument("--bars-each", type=int, default=1_000, help="bars of each asset of the first step")
    parser.add_argument("--times", type=int, default=10, help="growth of a step, two of them")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, of which the median counts")
    parser.add_argument("--only", choices=("table", "months"), help="one kind of table; default: both")
    parser.add_argument("--more", choices=("bars", "assets"), help="what grows; default: each in turn")
    parser.add_argument("--database-url", help="whose server takes more databases; default: our own")
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    growth = [options.times**power for power in range(3)]
    with (
        benchmark_database(options.database_url) as database_url,
        benchmark_server(options.redis_url) as redis_url,
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
    ):
        print(surroundings(database_url))
        kinds = {"table": False, "months": True}
        growing = {"bars": (1, 0), "assets": (0, 1)}
        for by_month in [kinds[options.only]] if options.only else kinds.values():
            for what, more in growing.items():
                if options.more not in (None, what):
                    continue
                with ExitStack() as stack:
                    steps = []
                    for factor in growth:
                        each = options.bars_each * factor ** more[0]
                        assets = options.small * factor ** more[1]
                        services = stack.enter_context(
                            filled(Path(folder), database_url, redis_url, assets, each, by_month=by_month)
                        )
                        steps.append(Step(assets, assets * each, services))
                    print(f"\nmore {what}, {'in partitions of a month' if by_month else 'in one table'}\n")
                    compare(steps, options.repeat)


if __name__ == "__main__":
    main()
