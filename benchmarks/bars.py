"""Writing 5-minute bars beside the ways others write rows, on the same server in one run.

    python -m benchmarks.bars                          # 4 minutes; --repeat 5

Each contender writes the same bars into a table of its own with the same columns, checks and primary key,
filled with the same million of bars. Without --database-url (an empty database) it starts a PostgreSQL
of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psycopg
from tests.schema import migrate, register

from assetbatch.database import Store, binary_copy
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.five_minutes import five_minute_bars
from assetbatch.domain.market_hours import from_ms
from assetbatch.domain.models import BAR_MS, Bar, Changes, CoveredInterval, IntervalState
from assetbatch.domain.units import MINUTE_MS
from assetbatch.provider.bars import decode_bars

SYMBOLS = [f"S{number}" for number in range(5)]
AT_ONCE = 50_000
NOW_MS = 1_800_000_000_000
START_MS = NOW_MS - NOW_MS % BAR_MS - 3_000_000 * BAR_MS
COLUMNS = ("symbol_id", "ts", "open", "high", "low", "close", "volume", "vwap", "trades")
TABLE = "market_data.ohlcv_5m"
MINUTES_TABLE = "market_data.ohlcv_1m"

Bars = Mapping[str, Sequence[Bar]]


def some_bars(first: int, count: int, symbols: Sequence[str] = SYMBOLS) -> dict[str, list[Bar]]:
    """`count` bars in all, as many of each symbol, from slot `first` on; values that have their digits."""
    each = count // len(symbols)
    return {
        symbol: [
            Bar(
                START_MS + (first + n) * BAR_MS,
                1.08001 + n * 1e-7,
                1.0923,
                1.0711,
                1.0812,
                123.5 + n,
                1.0805,
                n % 900,
            )
            for n in range(each)
        ]
        for symbol in symbols
    }


class Writer(Protocol):
    """One way of writing bars."""

    name: str

    def write(self, bars: Bars) -> None:
        """Writes and commits."""


class Ours:
    """`Store.save`, as a cycle calls it."""

    name = "assetbatch"

    def __init__(self, url: str, _ids: Mapping[str, int]) -> None:
        self._store = Store.open(url)

    def write(self, bars: Bars) -> None:
        """Writes and commits."""
        self._store.save(Changes(bars=bars), NOW_MS)


class _Peer:
    name: str

    def write(self, bars: Bars) -> None:
        """Writes and commits."""
        raise NotImplementedError

    def __init__(self, url: str, ids: Mapping[str, int]) -> None:
        self.url = url
        self.connection = psycopg.connect(url)
        self._ids = ids

    def rows(self, bars: Bars) -> Iterator[tuple[Any, ...]]:
        """The bars as rows of the table."""
        for symbol, some in bars.items():
            symbol_id = self._ids[symbol]
            for bar in some:
                yield (
                    symbol_id,
                    from_ms(bar.t_ms),
                    bar.open,
                    bar.high,
                    bar.low,
                    bar.close,
                    bar.volume,
                    bar.vwap,
                    bar.trades,
                )


_UPSERT = (
    f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))}) "
    "ON CONFLICT (symbol_id, ts) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[2:])
)


class RawCopy(_Peer):
    """Binary COPY straight into the table: the limit; it fails on the first bar that is there."""

    name = "raw binary COPY"

    def write(self, bars: Bars) -> None:
        """Writes and commits."""
        with self.connection.cursor().copy(
            f"COPY {TABLE} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)".encode()
        ) as copy:
            copy.set_types(["int8", "timestamptz", *["float8"] * 6, "int8"])
            for row in self.rows(bars):
                copy.write_row(row)
        self.connection.commit()


class ExecuteMany(_Peer):
    """psycopg's executemany (pipelined) of an upsert."""

    name = "psycopg executemany"

    def write(self, bars: Bars) -> None:
        """Writes and commits."""
        with self.connection.cursor() as cursor:
            cursor.executemany(_UPSERT.encode(), list(self.rows(bars)))
        self.connection.commit()


class Sqlalchemy(_Peer):
    """SQLAlchemy Core: its insert for PostgreSQL with on_conflict_do_update, in its own batches."""

    name = "SQLAlchemy Core"

    def __init__(self, url: str, ids: Mapping[str, int]) -> None:
        import sqlalchemy
        from sqlalchemy.dialects.postgresql import insert

        super().__init__(url, ids)
        self._engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
        schema, name = TABLE.split(".")
        table = sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema, autoload_with=self._engine)
        upsert = insert(table)
        changes = {column: upsert.excluded[column] for column in COLUMNS[2:]}
        self._upsert = upsert.on_conflict_do_update(index_elements=["symbol_id", "ts"], set_=changes)

    def write(self, bars: Bars) -> None:
        """Writes and commits."""
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in self.rows(bars)]
        with self._engine.begin() as connection:
            connection.execute(self._upsert, rows)


class Pandas(_Peer):
    """DataFrame.to_sql into a staging table, and one upsert from there."""

    name = "pandas to_sql"

    def __init__(self, url: str, ids: Mapping[str, int]) -> None:
        import sqlalchemy

        super().__init__(url, ids)
        self._engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))

    def write(self, bars: Bars) -> None:
        """Writes and commits."""
        import pandas

        frame = pandas.DataFrame.from_records(self.rows(bars), columns=list(COLUMNS))
        with self._engine.begin() as connection:
            frame.to_sql("staging", connection, if_exists="replace", index=False)
            changes = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[2:])
            connection.exec_driver_sql(
                f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM staging "
                f"ON CONFLICT (symbol_id, ts) DO UPDATE SET {changes}"
            )


WRITERS: tuple[type[Ours] | type[_Peer], ...] = (Ours, RawCopy, ExecuteMany, Sqlalchemy, Pandas)


@contextmanager
def benchmark_database(url: str | None) -> Iterator[str]:
    """The URL of an empty database: the named one, or a PostgreSQL of our own."""
    if url:
        with psycopg.connect(url) as connection:
            if connection.execute("SELECT to_regnamespace('trading')").fetchone() != (None,):
                raise SystemExit(f"the database {connection.info.dbname} is not empty: name an empty one")
        yield url
        return
    from assetbatch.embedded import EmbeddedServers

    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, EmbeddedServers(Path(folder)) as servers:
        yield servers.database_url()


def fill(url: str, rows: int) -> dict[str, int]:
    """Our schema with `rows` bars of its symbols, vacuumed; the ids of the symbols."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS trading, market_data, data_sources CASCADE")
        connection.execute("DROP TABLE IF EXISTS staging")
        with Store.open(url, check_schema=False) as store:
            migrate(store)
            register(
                store,
                [
                    Asset(symbol=symbol, polygon_ticker=f"C:{symbol}", asset_type=AssetType.FOREX)
                    for symbol in SYMBOLS
                ],
            )
        connection.execute(
            f"INSERT INTO {TABLE} SELECT s.id, to_timestamp(%s / 1000.0) + n * interval '5 minutes',"
            " 1.1, 1.2, 1.0, 1.15, 10, 1.12, 7 FROM trading.symbols s, generate_series(0, %s) n".encode(),
            [START_MS, rows // len(SYMBOLS) - 1],
        )
        connection.execute(f"VACUUM ANALYZE {TABLE}".encode())
        connection.execute("CHECKPOINT")
        ids = connection.execute("SELECT symbol, id FROM trading.symbols").fetchall()
    return dict(ids)


class Measured(msgspec.Struct):
    """Seconds and bytes of write-ahead log, one of each repetition."""

    seconds: list[float] = msgspec.field(default_factory=list)
    wal: list[int] = msgspec.field(default_factory=list)

    def take(self, url: str, writer: Writer, bars: Bars) -> None:
        """Times one write."""
        with psycopg.connect(url, autocommit=True) as watcher:
            before = watcher.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            assert before is not None, "a function has one row"
            started = time.perf_counter()
            writer.write(bars)
            self.seconds.append(time.perf_counter() - started)
            row = watcher.execute(
                "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s::pg_lsn)::int8", before
            ).fetchone()
            assert row is not None, "a function has one row"
            self.wal.append(row[0])


def count(url: str) -> int:
    """How many bars the table holds."""
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {TABLE}".encode()).fetchone()
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def compare(url: str, repeat: int, rows: int) -> None:
    """50,000 bars that are new, and the same again."""
    results: dict[str, tuple[Measured, Measured]] = {}
    for kind in WRITERS:
        ids = fill(url, rows)
        writer = kind(url, ids)
        new, again = results.setdefault(kind.name, (Measured(), Measured()))
        first = rows // len(SYMBOLS)
        for number in range(repeat + 1):
            bars = some_bars(first + number * AT_ONCE // len(SYMBOLS), AT_ONCE)
            (Measured() if number == 0 else new).take(url, writer, bars)  # the first warms up
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"VACUUM {TABLE}".encode())  # else the next look writes hint bits
            if kind is not RawCopy and number:
                again.take(url, writer, bars)
        assert count(url) == rows + (repeat + 1) * AT_ONCE, kind.name
    limit = statistics.median(results[RawCopy.name][0].seconds)
    print(f"\n{AT_ONCE:,} bars of 5 symbols into {rows:,}, medians of {repeat}\n")
    print("| writer | new, ms | ratio | the same again, ms | WAL of new, MB | WAL again, MB |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, (new, again) in results.items():
        seconds = statistics.median(new.seconds)
        once_more = f"{statistics.median(again.seconds) * 1000:.0f}" if again.seconds else "fails"
        wal_again = f"{statistics.median(again.wal) / 1e6:.3f}" if again.wal else "–"
        print(
            f"| {name} | {seconds * 1000:.0f} | {seconds / limit:.2f} | {once_more} "
            f"| {statistics.median(new.wal) / 1e6:.1f} | {wal_again} |",
            flush=True,
        )


def small_into_large(url: str, repeat: int, rows: int) -> None:
    """100 bars of a symbol, 95 of them there already, as at each refresh."""
    ids = fill(url, rows)
    print(f"\n100 bars of a symbol, 5 of them new, into {rows:,}, medians of {repeat * 4}\n")
    print("| writer | ms | WAL, kB |")
    print("|---|--:|--:|")
    first = rows // len(SYMBOLS)
    for kind in WRITERS:
        if kind is RawCopy:
            continue
        writer = kind(url, ids)
        measured = Measured()
        for _ in range(repeat * 4 + 1):
            bars = some_bars(first - 95, 100, SYMBOLS[:1])
            there = some_bars(first - 95, 95, SYMBOLS[:1])
            Ours(url, ids).write(there)
            measured.take(url, writer, bars)
            first += 5
        print(
            f"| {kind.name} | {statistics.median(measured.seconds[1:]) * 1000:.1f} "
            f"| {statistics.median(measured.wal[1:]) / 1000:.0f} |",
            flush=True,
        )


def decode_and_save(url: str, repeat: int) -> None:
    """A page as the provider sends it, decoded and saved."""
    fill(url, 100_000)
    decoding, saving = [], []
    with Store.open(url) as store:
        for number in range(repeat + 1):
            (bars,) = some_bars(1_000_000 + number * 10_000, 10_000, SYMBOLS[:1]).values()
            results = [
                {
                    "t": b.t_ms,
                    "o": b.open,
                    "h": b.high,
                    "l": b.low,
                    "c": b.close,
                    "v": b.volume,
                    "n": b.trades,
                }
                for b in bars
            ]
            body = msgspec.json.encode({"status": "OK", "resultsCount": len(results), "results": results})
            started = time.perf_counter()
            answer = decode_bars(body, ticker="C:S0", start_ms=bars[0].t_ms, end_ms=bars[-1].t_ms)
            decoded = time.perf_counter()
            assert store.save(Changes(bars={"S0": answer.bars}), NOW_MS).bars_new == 10_000
            decoding.append(decoded - started)
            saving.append(time.perf_counter() - decoded)
    print(
        f"\nA page of 10,000 bars: decoded in {statistics.median(decoding[1:]) * 1000:.0f} ms, "
        f"saved in {statistics.median(saving[1:]) * 1000:.0f} ms"
    )


def minutes_beside(url: str, repeat: int) -> None:
    """50,000 minutes with the bars of five minutes that follow, beside 50,000 bars alone; and a program that
    does nothing but make the same rows and copy them, as the limit. In turns; both tables hold other symbols
    too. The CPU time is that of this process and of the server's processes."""
    ids = fill(url, 100_000)
    with psycopg.connect(url) as connection:
        connection.execute(f"INSERT INTO {MINUTES_TABLE} SELECT * FROM {TABLE}".encode())
    times: dict[str, list[tuple[float, float]]] = {}
    with Store.open(url) as store, psycopg.connect(url) as connection:
        for number in range(4 * repeat + 4):
            kind = number % 4
            step_ms, table = (MINUTE_MS, MINUTES_TABLE) if kind % 2 else (BAR_MS, TABLE)
            begin_ms = START_MS + (1_000_000 + number * AT_ONCE) * BAR_MS
            (some,) = some_bars(0, AT_ONCE, SYMBOLS[:1]).values()
            bars = [
                msgspec.structs.replace(bar, t_ms=begin_ms + place * step_ms)
                for place, bar in enumerate(some)
            ]
            end_ms = begin_ms + AT_ONCE * step_ms
            asked = CoveredInterval(begin_ms, end_ms, IntervalState.ASKED, NOW_MS)
            changes = Changes(
                bars={"S0": bars}, coverage={"S0": [asked]}, minutes={"S0"} if kind % 2 else frozenset()
            )
            used, started = cpu_seconds(url), time.perf_counter()
            if kind < 2:
                assert store.save(changes, NOW_MS).bars_new == AT_ONCE
            else:
                copy_straight(connection, table, ids["S0"], bars)
                if kind == 3:
                    copy_straight(connection, TABLE, ids["S0"], five_minute_bars(bars))
                connection.commit()
            took = time.perf_counter() - started
            times.setdefault(KINDS[kind], []).append((took, cpu_seconds(url) - used))
    print(f"\n{AT_ONCE:,} bars of a symbol saved, of {repeat} each\n")
    print("| what | median, ms | least, ms | ratio of the least | CPU in the mean, ms | ratio |")
    print("|---|--:|--:|--:|--:|--:|")
    for kind, name in enumerate(KINDS):
        walls, cpus = zip(*times[name][1:], strict=True)
        alone, alone_cpus = zip(*times[KINDS[kind - kind % 2]][1:], strict=True)
        median, cpu = statistics.median(walls), statistics.mean(cpus)
        print(
            f"| {name} | {median * 1000:.0f} | {min(walls) * 1000:.0f} | {min(walls) / min(alone):.2f} "
            f"| {cpu * 1000:.0f} | {cpu / statistics.mean(alone_cpus):.2f} |"
        )


KINDS = (
    "bars alone",
    "minutes, and 10,000 bars of them",
    "copied straight: 50,000 rows",
    "copied straight: 50,000 rows, and 10,000 made of them",
)


def cpu_seconds(url: str) -> float:
    """The CPU time that this process and the server's have used; of a server elsewhere it sees nothing."""
    with psycopg.connect(url) as connection:
        pids = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
    used = time.process_time()
    for (pid,) in pids:
        with suppress(OSError):
            used += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9  # not in ticks of 10 ms
    return used


def copy_straight(
    connection: psycopg.Connection[Any], table: str, symbol_id: int, bars: Sequence[Bar]
) -> None:
    """Copy bars into a table, with nothing before or after."""
    statement = f"COPY {table} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"
    with connection.cursor().copy(statement.encode()) as copy:
        binary_copy.write(copy, [(symbol_id, bars)], binary_copy.MICROSECONDS)


def surroundings(
    url: str, packages: Sequence[str] = ("assetbatch", "psycopg", "SQLAlchemy", "pandas")
) -> str:
    """One line: when, on what, which versions."""
    with psycopg.connect(url) as connection:
        server = connection.info.server_version // 10_000
        level = connection.execute("SHOW wal_level").fetchone()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python "
        f"{platform.python_version()}, PostgreSQL {server} (wal_level {(level or ('?',))[0]}), {versions}"
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="writing bars, beside other ways")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, of which the median counts")
    parser.add_argument("--rows", type=int, default=1_000_000, help="bars in the table before")
    parser.add_argument("--large", type=int, default=5_000_000, help="bars before the small batches")
    parser.add_argument("--database-url", help="an empty database; default: a server of our own")
    parser.add_argument("--only-minutes", action="store_true", help="minutes beside bars, and nothing else")
    options = parser.parse_args()
    with benchmark_database(options.database_url) as url:
        if options.only_minutes:
            print(surroundings(url, ("assetbatch", "psycopg")))
            minutes_beside(url, 3 * options.repeat)
            return
        print(surroundings(url))
        compare(url, options.repeat, options.rows)
        small_into_large(url, options.repeat, options.large)
        decode_and_save(url, options.repeat)
        minutes_beside(url, 3 * options.repeat)


if __name__ == "__main__":
    main()
