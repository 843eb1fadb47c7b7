"""Larger and adjusted bars of one symbol out of 10 million bars: the views of `init` beside other ways.

    python -m benchmarks.derived [--symbols 50] [--bars-each 200000] [--repeat 9] [--database-url URL]

All ask for the same bars of a quarter of an hour, by one connection, in turns; the first turn fills the
caches. EXPLAIN says how many blocks each reads. Direct is the aggregation of the rows of the range, written
by hand; grouped is the view that one would write first. Adjusted bars stand beside the raw ones of the same
table; each symbol has four splits, of which three took effect within its bars.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from benchmarks.bars import benchmark_database, surroundings

from assetbatch.config.tables import TableMappings
from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import DerivedSize

Run = Callable[[str], list[tuple[Any, ...]]]

AGGREGATES = """(array_agg(open ORDER BY b.ts))[1] AS open, max(high) AS high, min(low) AS low,
    (array_agg(close ORDER BY b.ts))[count(*)] AS close,
    CASE WHEN count(volume) = count(*) THEN sum(volume)::numeric::float8 END AS volume,
    CASE WHEN count(volume * vwap) = count(*) AND sum(volume) > 0
         THEN least(max(high), greatest(min(low), sum(volume * vwap) / sum(volume))) END AS vwap,
    CASE WHEN count(trades) = count(*) THEN sum(trades)::int8 END AS trades"""
BIN = "date_bin('15 min', b.ts, 'epoch'::timestamptz)"
GROUPED = f"""CREATE VIEW grouped AS SELECT symbol_id, {BIN} AS ts, {AGGREGATES}
    FROM market_data.ohlcv_5m b GROUP BY 1, 2"""

LAST_MS = 1_796_083_200_000  # 2026-12-01 00:00 UTC
RANGES = {"a day": 1, "a month": 30, "all of the symbol": 100_000}


def within(days: int, of_days: int) -> tuple[str, str]:
    """The beginning and the end of so many days before the middle of a table of `of_days` days."""
    end = f"to_timestamp({LAST_MS // 1000}) - interval '{of_days // 2} days'"
    if days == RANGES["all of the symbol"]:
        return "'-infinity'::timestamptz", "'infinity'::timestamptz"
    return f"({end} - interval '{days} days')", f"({end})"


def ways(symbol_id: int, days: int, of_days: int) -> dict[str, str]:
    """Each way to ask for the larger bars of a symbol in some days."""
    since, until = within(days, of_days)
    where = f"symbol_id = {symbol_id} AND ts >= {since} AND ts < {until}"
    return {
        "direct": f"SELECT symbol_id, {BIN}, {AGGREGATES} FROM market_data.ohlcv_5m b"
        f" WHERE {where} GROUP BY 1, 2",
        "`assetbatch_bars`": "SELECT * FROM market_data.assetbatch_bars("
        f"{symbol_id}, '15 min', {since}, {until})",
        "`ohlcv_15m`": f"SELECT * FROM market_data.ohlcv_15m WHERE {where}",
        "grouped": f"SELECT * FROM grouped WHERE {where}",
    }


def adjusted_ways(symbol_id: int, days: int, of_days: int) -> dict[str, str]:
    """Each way to ask for bars of a symbol in some days: raw and adjusted, of five minutes and of days."""
    since, until = within(days, of_days)
    found = {}
    for table, column, kind in (("ohlcv_5m", "ts", "timestamptz"), ("ohlcv_1d", "day", "date")):
        for name in (table, f"{table}_adjusted"):
            found[f"`{name}`"] = (
                f"SELECT * FROM market_data.{name} WHERE symbol_id = {symbol_id}"
                f" AND {column} >= {since}::{kind} AND {column} < {until}::{kind}"
            )
    name = "ohlcv_5m_adjusted"
    found["the same by symbol"] = (
        f"SELECT b.* FROM market_data.{name} b JOIN trading.symbols s ON s.id = b.symbol_id"
        f" WHERE s.symbol = (SELECT symbol FROM trading.symbols WHERE id = {symbol_id})"
        f" AND ts >= {since} AND ts < {until}"
    )
    return found


def fill(url: str, symbols: int, bars_each: int, *, by_month: bool) -> None:
    """Our schema with its views and so many bars, vacuumed."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS trading, market_data, data_sources CASCADE")
        with Store.open(url, check_schema=False, within_seconds=120) as store:
            assets = [
                Asset(symbol=f"S{n}", polygon_ticker=f"S{n}", asset_type=AssetType.STOCKS)
                for n in range(symbols)
            ]
            store.initialise(TableMappings(), assets, by_month=by_month, derived=tuple(DerivedSize))
        connection.execute(
            "INSERT INTO market_data.ohlcv_5m SELECT s.id, to_timestamp(%s) - n * interval '5 minutes',"
            " 100, 101, 99, 100.5, 10, 100.2, 7 FROM generate_series(1, %s) n, trading.symbols s",
            [LAST_MS // 1000, bars_each],
        )
        connection.execute(
            "INSERT INTO market_data.ohlcv_1d SELECT s.id, (to_timestamp(%s) - n * interval '1 day')::date,"
            " 100, 101, 99, 100.5, 10, 100.2, 7 FROM generate_series(1, %s) n, trading.symbols s",
            [LAST_MS // 1000, bars_each // 288],
        )
        connection.execute(
            "INSERT INTO market_data.splits SELECT s.id, (to_timestamp(%s) - n * interval '1 day')::date,"
            " 1, 2, 'forward_split', 'applied' FROM unnest(%s::int[]) n, trading.symbols s",
            [LAST_MS // 1000, [-30, *(bars_each // 288 * part // 8 for part in (1, 4, 6))]],
        )
        connection.execute("VACUUM ANALYZE market_data.ohlcv_1d, market_data.splits")
        connection.execute("DROP VIEW IF EXISTS grouped")
        connection.execute(GROUPED.encode())
        connection.execute("VACUUM ANALYZE market_data.ohlcv_5m")
        connection.execute("ANALYZE trading.symbols")


def measured(run: Run, queries: Sequence[str], repeat: int) -> list[list[float]]:
    """Milliseconds of each query, in turns, without the first."""
    taken: list[list[float]] = [[] for _ in queries]
    for _ in range(repeat + 1):
        for query, times in zip(queries, taken, strict=True):
            started = time.perf_counter()
            run(query)
            times.append((time.perf_counter() - started) * 1000)
    return [times[1:] for times in taken]


def compare(url: str, repeat: int, of_days: int, ways: Callable[[int, int, int], dict[str, str]]) -> None:
    """A row for each range: ms, least and median."""
    names = list(ways(1, 1, 1))
    print(f"| least (median), ms | bars | {' | '.join(names)} |")
    print("|---|--:|" + "--:|" * len(names))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET jit = off; SET max_parallel_workers_per_gather = 0")

        def run(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query.encode()).fetchall()

        for what, days in RANGES.items():
            queries = list(ways(7, days, of_days).values())
            counts = {len(run(query)) for query in queries}
            assert ways is adjusted_ways or len(counts) == 1, "the ways disagree"
            times = measured(run, queries, repeat)
            cells = [f"{min(some):.1f} ({statistics.median(some):.1f})" for some in times]
            print(f"| {what} | {max(counts):,} | {' | '.join(cells)} |")
            read = [f"{blocks(connection, query):,}" for query in queries]
            print(f"| blocks read for it | | {' | '.join(read)} |", flush=True)


def blocks(connection: psycopg.Connection[Any], query: str) -> int:
    """Number of blocks of tables and indexes (8 kB) that a query reads, from the cache or the disk."""
    explained = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) {query}".encode())
    (((top,),),) = explained.fetchall()
    return int(top["Plan"]["Shared Hit Blocks"] + top["Plan"]["Shared Read Blocks"])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="larger bars, beside other ways to ask for them")
    parser.add_argument("--symbols", type=int, default=50, help="symbols with bars")
    parser.add_argument("--bars-each", type=int, default=200_000, help="bars of each")
    parser.add_argument("--repeat", type=int, default=9, help="repetitions")
    parser.add_argument("--database-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    with benchmark_database(options.database_url) as url:
        print(surroundings(url, ("assetbatch", "psycopg")))
        for by_month in (False, True):
            fill(url, options.symbols, options.bars_each, by_month=by_month)
            total = options.symbols * options.bars_each
            print(f"\n{total:,} bars, {'in partitions of a month' if by_month else 'in one table'}\n")
            for asked in (ways, adjusted_ways):
                compare(url, options.repeat, options.bars_each // 288, asked)
                print()


if __name__ == "__main__":
    main()
