"""The proof that a platform is not harmed: refused and left as it was, or adopted and nobody notices."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
import pytest

from assetbatch.commands.gaps import find_gaps
from assetbatch.deadline import Deadline
from assetbatch.doctor import Finding, examine
from assetbatch.domain.bar_sizes import DerivedSize
from assetbatch.domain.models import BAR_MS
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.errors import AssetbatchError
from assetbatch.health import encode
from assetbatch.monitoring import snapshot
from assetbatch.services import Services
from tests.world import World

from .parts import PRICES, VOLUMES
from .shapes import Shape, Writer
from .snapshot import Change, Json, Row, Snapshot, changes, lost, rows_again, take

OWNED = frozenset(
    {"metadata", "updated_at", "updatedAt", "last_sync_timestamp", "sync_status", "error_message"}
).union(*({*PRICES[way], *VOLUMES[way]} for way in PRICES), {"vw", "trade_count"})
"""Columns whose values are assetbatch's to write in rows that it keeps."""

MADE = ("splits", *(f"ohlcv_{size}" for size in ("1m", "1d", *DerivedSize)))
"""The tables and views that `init` makes beside the table of bars."""

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
SAMPLES = 30
"""So many bars of a symbol are held against the provider's, evenly spread."""


UUID_OSSP = 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp";'
UUID_GENERATE_V4 = (
    "CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';"
)
"""What the platforms take from the extension, for servers that are built without it."""


def platform(world: World, shape: Shape, ddl: str) -> None:
    """Make the database, and have the configuration speak of it."""
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp'").fetchall():
            ddl = ddl.replace(UUID_OSSP, UUID_GENERATE_V4)
        connection.execute(ddl.encode())
    world.document["priority_assets"] = [dict(asset) for asset in shape.priority]
    world.document["secondary_assets"] = [dict(asset) for asset in shape.secondary]
    if shape.configured:
        world.document["database"] = {**world.document["database"], "tables": shape.configured}
    world.config()  # wrong here would look like a refusal


def look(world: World, shape: Shape, *, large: bool = True) -> Snapshot:
    with psycopg.connect(world.database_url) as connection:
        return take(connection, large=() if large else [shape.tables.bars])


def broken_writers(world: World, shape: Shape) -> list[str]:
    """The writers of the platform that fail, each with the reason; what they write is rolled back."""
    failed = []
    with psycopg.connect(world.database_url) as connection:
        for writer in shape.writers:
            statement, rows = writer if isinstance(writer, Writer) else (writer, None)
            try:
                _write(connection, statement, rows)
            except psycopg.Error as error:
                failed.append(f"{statement}: {error}")
            connection.rollback()
    return failed


def _write(connection: psycopg.Connection[Any], statement: str, rows: str | None) -> None:
    cursor = connection.cursor()
    if rows is None:
        cursor.execute(statement.encode())
        return
    with cursor.copy(f"COPY ({rows}) TO STDOUT".encode()) as out:
        data = b"".join(bytes(part) for part in out)
    with cursor.copy(statement.encode()) as into:
        into.write(data)


def assert_refused(world: World, shape: Shape, *any_of: Sequence[str]) -> None:
    """`init` ends with code 2, says what and why and what to do, and has changed nothing at all.

    `any_of`: one of several things that are wrong is said, rather than all of `shape.refused`.
    """
    before = look(world, shape)
    assert broken_writers(world, shape) == []
    with pytest.raises(AssetbatchError) as caught:
        world.init()
    text = str(caught.value)
    assert caught.value.exit_code == 2, text
    lacking = [[word for word in words if not re.search(word, text)] for words in any_of or [shape.refused]]
    assert [] in lacking, f"{lacking} not in: {text}"
    assert "hint:" in text
    after = look(world, shape)
    assert after.objects == before.objects
    assert after.rows == before.rows


def assert_adopted(world: World, shape: Shape) -> None:
    """After `init` and the commands our data is where their readers look, and all else is as it was."""
    tables = shape.tables
    before = look(world, shape)
    had_bars = bars_of(world, shape) if tables.bars in before.tables else {}
    assert broken_writers(world, shape) == []

    world.init()
    after_init = look(world, shape)
    assert unexpected(changes(before, after_init), before, shape) == []
    assert_rows(before, after_init, world, shape, fetched=False)
    assert broken_writers(world, shape) == []
    world.init()
    again = look(world, shape)
    assert (again.objects, again.rows) == (after_init.objects, after_init.rows), (
        "init changes what it has made"
    )

    trust_the_window(world)
    assert_stored(world, shape, cycles(world))
    world.clock.at_ms += DAY_MS  # there is a bar to be replaced, a price to be renewed
    assert_stored(world, shape, cycles(world))
    assert_bars(world, shape, had_bars)
    after = look(world, shape, large=False)
    assert after.objects == after_init.objects, "a cycle changes the schema"
    assert_rows(before, after, world, shape, fetched=True)
    assert broken_writers(world, shape) == []
    assert silent_readers(world, shape) == []
    assert_reported(world, shape)


def cycles(world: World) -> list[CycleResult]:
    """One start of each command that cron starts."""
    return [world.run_priority(), world.enqueue_secondary(), world.run_queue()]


def trust_the_window(world: World) -> None:
    """Nobody has used the key before; outcomes of the provider that are there would have us wait a window."""
    with psycopg.connect(world.database_url) as connection:
        connection.execute("DELETE FROM data_sources.assetbatch_calls")


def unexpected(found: Iterable[Change], before: Snapshot, shape: Shape) -> list[Change]:
    """Changes of the schema that are neither tables or views of ours that were missing nor in `adds`."""
    schema = shape.tables.bars.split(".")[0]
    made = {*shape.tables.all, *(f"{schema}.{name}" for name in MADE)} - before.tables
    spaces = {table.split(".")[0] for table in made}

    def expected(change: Change) -> bool:
        thing = change.thing
        if change.before is not None:
            return False
        if thing.kind == "index" and thing.owner not in made:
            parent = shape.tables.bars if thing.owner in before.partitions else thing.owner
            return f"unique {parent}" in shape.adds and "UNIQUE" in (change.after or "")
        return (
            thing.owner in made
            or (thing.kind == "schema" and thing.name in spaces)
            or f"{thing.kind} {thing.name}" in shape.adds
            # the sequence of an identity column
            or (thing.kind == "relation" and any(thing.name.startswith(f"{table}_") for table in made))
        )

    return [change for change in found if not expected(change)]


def assert_rows(before: Snapshot, after: Snapshot, world: World, shape: Shape, *, fetched: bool) -> None:
    """Every row that was there is there, unchanged but for what assetbatch owns; nothing else was written."""
    tables = shape.tables
    id_, symbol = plain(tables.id), plain(tables.symbol)
    ids = {
        row.values[id_] for row in after.rows[tables.symbols] if row.values[symbol].strip() in shape.symbols
    }
    ids |= set(shape.symbols)
    for table, theirs in before.rows.items():
        columns = {name for row in theirs for name in row.values}
        if table in after.rows:
            now = after.rows[table]
        else:
            with psycopg.connect(world.database_url) as connection:
                now = rows_again(connection, table, tables.bars_key, theirs)
        ours = fetched and table in (tables.symbols, tables.bars, tables.sync_status)
        owned = OWNED.union(map(plain, (tables.metadata, *tables.prices))) if ours else frozenset()
        missing = lost(
            [_kept(row, owned, columns, shape) for row in theirs],
            [_kept(row, owned, columns, shape) for row in now],
        )
        assert missing == [], f"rows of {table} that are there no more"
        written = {_key(row, table, shape) for row in set_difference(now, theirs)}
        if table == tables.symbols:
            assert written <= set(shape.symbols), f"{table}: rows that nobody configured"
        elif table == tables.sync_status:
            assert written <= ids, f"{table}: rows that nobody configured"
            assert fetched or not written
        elif table == tables.providers:
            assert len(written) <= 1
        elif table == tables.bars:
            assert fetched or not written
        else:
            assert written == set(), f"{table} was written"


def set_difference(now: Sequence[Row], then: Sequence[Row]) -> list[Row]:
    """Rows that another transaction than before has written."""
    known = {row.written_by for row in then}
    return [row for row in now if row.written_by not in known]


def _key(row: Row, table: str, shape: Shape) -> Any:
    tables = shape.tables
    column = {tables.symbols: plain(tables.symbol), tables.sync_status: "ticker_id"}.get(table)
    value = row.values[column] if column else repr(row.values)
    return value.strip() if isinstance(value, str) else value


def plain(name: str) -> str:
    """A name of a column as the catalogue has it."""
    return name.strip('"')


def _kept(row: Row, owned: frozenset[str], columns: set[str], shape: Shape) -> Row:
    """The row without what is ours: of a metadata document only `last_update`."""
    values = {name: value for name, value in row.values.items() if name in columns - owned}
    metadata = plain(shape.tables.metadata)
    if metadata in columns & owned:
        values[metadata] = _theirs(row.values[metadata])
    return Row(values, row.written_by)


def _theirs(document: Any) -> Any:
    """What a metadata document has of theirs: what is no object is kept as `previous`."""
    if not isinstance(document, dict):
        return document
    rest = {key: value for key, value in document.items() if key != "last_update"}
    return rest["previous"] if rest.keys() == {"previous"} else rest or None


def bars_of(world: World, shape: Shape) -> dict[str, dict[int, tuple[float, ...]]]:
    """The bars of each symbol by their start in ms, as the platform's readers find them."""
    bars: dict[str, dict[int, tuple[float, ...]]] = defaultdict(dict)
    for symbol, start, *prices in world.rows(shape.tables.read_bars()):
        assert isinstance(start, datetime)
        bars[symbol][round(start.timestamp() * 1000)] = tuple(prices)
    return bars


def asked(world: World, ticker: str) -> list[tuple[int, int]]:
    """The ranges of bars that the provider was asked for, in ms, both ends inclusive."""
    parts = [path.split("?")[0].split("/") for path in world.paths]
    return [(int(p[8]), int(p[9])) for p in parts if p[1:4] == ["v2", "aggs", "ticker"] and p[4] == ticker]


def assert_bars(world: World, shape: Shape, before: dict[str, dict[int, tuple[float, ...]]]) -> None:
    """Each symbol has its own bars, as the provider has them; beyond what was asked it has what was there."""
    source = world.provider.source
    now = bars_of(world, shape)
    for asset in (*shape.priority, *shape.secondary):
        symbol, ticker = asset["symbol"], asset["polygon_ticker"]
        ranges = asked(world, ticker)
        assert ranges, f"{symbol} was not asked for"
        ours = {t: bar for t, bar in now[symbol].items() if any(a <= t <= b for a, b in ranges)}
        assert ours, f"no bars of {symbol}"
        assert {t: bar for t, bar in now[symbol].items() if t not in ours} == {
            t: bar for t, bar in before.get(symbol, {}).items() if not any(a <= t <= b for a, b in ranges)
        }, f"bars of {symbol} outside of what was asked"
        instrument = source.instruments[ticker]
        unit = 10.0**-instrument.digits
        for t_ms in sorted(ours)[:: max(1, len(ours) // SAMPLES)]:
            real = source.bar(instrument, MINUTE_MS, t_ms, t_ms + BAR_MS, world.clock.now_ms())
            assert real is not None, f"{symbol} has a bar at {t_ms} that the provider has not"
            wanted = [price * unit for price in real.row[1:5]]
            assert ours[t_ms] == pytest.approx(wanted, rel=1e-6, abs=1e-4), f"{symbol} at {t_ms}"
    others = set(now) - set(shape.symbols)
    assert {symbol: now[symbol] for symbol in others} == {symbol: before[symbol] for symbol in others}


def assert_stored(world: World, shape: Shape, results: Sequence[CycleResult]) -> None:
    """What the cycles call a success is in the tables; all of it is a success."""
    reports: dict[str, AssetReport] = {}
    for result in results:
        reports |= {report.symbol: report for report in result.assets}
    told = {symbol: (report.status, report.detail) for symbol, report in reports.items()}
    assert told == dict.fromkeys(shape.symbols, ("success", None))
    assert [result.exit_code for result in results] == [0, 0, 0]
    prices = dict(world.rows(shape.tables.read_prices()))
    states = {symbol: (state, error) for symbol, state, error in world.rows(shape.tables.read_states())}
    for symbol, report in reports.items():
        assert prices[symbol], f"no price of {symbol}"
        assert prices[symbol]["last_price"] == report.last_price
        assert states[symbol] == (shape.success, None)


def silent_readers(world: World, shape: Shape) -> list[str]:
    """The readers of the platform that find nothing."""
    return [query for query in shape.readers if not world.rows(query)]


def problems(world: World) -> tuple[Json, list[Finding]]:
    """The health document, and what `doctor` finds wrong with the database."""
    with world.services() as services:
        document = snapshot.health_document(services)
        for _ in snapshot.page(services, document, interval_seconds=300):  # with the courses of all
            pass
        health: Json = msgspec.json.decode(encode(document))
    with (
        Services(world.config()) as services,
        Deadline(20) as deadline,
    ):  # it compares the clocks of the servers
        found = list(examine(services, deadline, call=False))
    return health, [one for one in found if one.check == "postgresql" and one.level != "ok"]


def assert_reported(world: World, shape: Shape) -> None:
    """`status`, `holes` and `doctor` have no complaint."""
    health, findings = problems(world)
    assert [one for one in findings if one.level == "error"] == []
    states = {asset["symbol"]: asset["state"] for asset in health["assets"]}
    assert set(states) == set(shape.symbols)
    assert set(states.values()) == {"fresh"}, states
    with world.services() as services:
        assert {one.symbol for one in find_gaps(services, [], None)} == set(shape.symbols)
