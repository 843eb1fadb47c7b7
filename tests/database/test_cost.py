"""No statement costs more because more bars are stored, in one table or in one of many partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from psycopg.types.json import Jsonb

from assetbatch.database import Store
from assetbatch.database.partitions import MONTHS_AHEAD
from assetbatch.database.session import Connection
from assetbatch.domain.models import BAR_MS
from tests.schema import register

from .conftest import Sql, asset, on_both_tables
from .plans import Node, cost, nodes, scans_of_bars

pytestmark = on_both_tables

SYMBOLS = [f"S{number}" for number in range(10)]
FEW, MANY = 2_000, 16_000  # hours: a quarter and nearly two years
DAY_MS = 86_400_000
RANGE_BARS = 100


@pytest.fixture
def connection(store: Store, database_url: str) -> Iterator[Connection]:
    register(store, [asset(symbol) for symbol in SYMBOLS])
    with Connection.connect(database_url, autocommit=True) as connection:
        yield connection


def fill(sql: Sql, first: int, last: int) -> None:
    """Bars of every symbol, so many hours ago, and what the planner wants to know of them."""
    sql(
        "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
        " SELECT s.id, date_bin('1 hour', now(), 'epoch') - n * interval '1 hour', 1, 1, 1, 1"
        f" FROM trading.symbols s, generate_series({first}, {last}) n WHERE s.symbol ~ '^S'"
    )
    for table in ("trading.symbols", "market_data.ohlcv_5m"):
        sql(f"VACUUM ANALYZE {table}")


def newest_ms(sql: Sql) -> int:
    ((at_ms,),) = sql("SELECT (extract(epoch FROM date_bin('1 hour', now(), 'epoch')) * 1000)::int8")
    return int(at_ms)


def load(connection: Connection, _now_ms: int) -> list[Node]:
    return nodes(connection, "assets.load", symbols=SYMBOLS)


def closes(connection: Connection, _now_ms: int) -> list[Node]:
    return nodes(connection, "bars.load_closes", symbols=SYMBOLS, every=3)


def hourly_closes(connection: Connection, _now_ms: int) -> list[Node]:
    """As long as none are kept."""
    return nodes(connection, "bars.load_hourly_closes", symbols=SYMBOLS)


def gaps(connection: Connection, now_ms: int) -> list[Node]:
    ranges = [
        {"symbol": symbol, "start_ms": now_ms - (RANGE_BARS - 1) * 12 * BAR_MS, "end_ms": now_ms + BAR_MS}
        for symbol in SYMBOLS
    ]
    return nodes(connection, "coverage.find_gaps", ranges=Jsonb(ranges))


def bars_there(connection: Connection, now_ms: int) -> list[Node]:
    ranges = [{"symbol": symbol, "first_ms": now_ms - DAY_MS, "last_ms": now_ms} for symbol in SYMBOLS]
    return nodes(connection, "bars.find_stored", ranges=Jsonb(ranges))


def save_bars(connection: Connection, now_ms: int) -> list[Node]:
    """The newest hundred bars of each symbol once more."""
    with connection.transaction(force_rollback=True):
        connection.execute(connection.statements("bars.create_batch"))
        connection.execute(
            "INSERT INTO assetbatch_bars SELECT a, %s - n * 3600000::int8, 1, 1, 1, 1"
            " FROM generate_series(1, %s) a, generate_series(0, %s) n",
            [now_ms, len(SYMBOLS), RANGE_BARS - 1],
        )
        return nodes(connection, "bars.merge", symbols=SYMBOLS, settled_ms=[now_ms] * len(SYMBOLS))


READS: dict[str, tuple[Callable[[Connection, int], list[Node]], int]] = {
    "load": (load, 1),
    "closes": (closes, 288),
    "hourly_closes": (hourly_closes, 1 + 24),
    "gaps": (gaps, RANGE_BARS),
    "bars_there": (bars_there, 1),
    "save_bars": (save_bars, RANGE_BARS),
}
"""Each with the rows of a symbol that it has to read."""


def test_what_is_read_of_a_symbol_does_not_grow_with_its_bars(sql: Sql, connection: Connection) -> None:
    now_ms = newest_ms(sql)
    fill(sql, 0, FEW - 1)
    few = {name: cost(run(connection, now_ms)) for name, (run, _) in READS.items()}
    fill(sql, FEW, MANY - 1)
    many = {name: cost(run(connection, now_ms)) for name, (run, _) in READS.items()}
    for name, (_, rows) in READS.items():
        assert few[name].rows == many[name].rows == rows * len(SYMBOLS), name
        assert many[name].scans <= few[name].scans, name
        # Another level of an index, and pages that VACUUM could not mark as visible while others wrote: 61
        # for 35 was seen. Reading all bars would be eight times as many.
        assert many[name].pages <= 2.5 * few[name].pages, f"{name}: it grows with the bars"


def test_the_bars_are_read_by_their_primary_key(sql: Sql, connection: Connection, by_month: bool) -> None:
    fill(sql, 0, FEW - 1)
    for name, (run, _) in READS.items():
        read = [node for node in scans_of_bars(run(connection, newest_ms(sql))) if node["Actual Rows"]]
        assert read, name
        for node in read:
            assert node["Node Type"] in ("Index Scan", "Index Only Scan"), name
            assert node["Index Name"] == node["Relation Name"] + "_pkey", name


def test_the_last_bar_is_looked_for_from_the_newest_partition_on(
    sql: Sql, connection: Connection, by_month: bool
) -> None:
    fill(sql, 0, FEW - 1)
    found = cost(load(connection, newest_ms(sql)))
    partitions = MONTHS_AHEAD + 2 if by_month else 1  # the empty ones of the future, and the present one
    assert (found.rows, found.scans) == (len(SYMBOLS), partitions * len(SYMBOLS))


def test_the_bars_of_a_range_are_looked_for_in_its_months_only(
    sql: Sql, connection: Connection, by_month: bool
) -> None:
    fill(sql, 0, FEW - 1)
    now_ms = newest_ms(sql)
    for run in (gaps, bars_there, save_bars):
        months = {node["Relation Name"] for node in scans_of_bars(run(connection, now_ms))}
        assert len(months) <= (2 if by_month else 1), "four days may lie in two months"
