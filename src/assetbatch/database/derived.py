"""The views of larger bars and of adjusted bars, and the functions that they call.

`init` creates, replaces and drops them. What is ours says so in its comment, which also tells its definition
from an earlier one. An object of the same name without such a comment belongs to somebody else: it stays, and
its view is left out. Where the table of bars is a hypertable, larger bars are a continuous aggregate.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec
import psycopg

from assetbatch.database.adoption.findings import Note
from assetbatch.database.failures import LOCK_NOT_AVAILABLE, NOT_ABOUT_THE_TABLE, said_by
from assetbatch.database.names import Names, Table
from assetbatch.database.quoting import literal, qualified, quoted
from assetbatch.database.quoting import place as place_of
from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements
from assetbatch.domain.bar_sizes import DerivedSize
from assetbatch.domain.units import MINUTE_MS

RANGES = "assetbatch_ranges"
BARS = "assetbatch_bars"
PRODUCT = "assetbatch_product"

ADJUSTED = {"bars": "ohlcv_5m_adjusted", "bars_1m": "ohlcv_1m_adjusted", "bars_1d": "ohlcv_1d_adjusted"}
"""The views of adjusted bars, by the table whose bars they show. They lie in the schema of the bars."""

_MARK = re.compile(r"kept by assetbatch init \(definition ([0-9a-f]{12})\)\Z")
VIEWS = ("view", "aggregate")
_KINDS = {
    "function": "FUNCTION",
    "product": "AGGREGATE",
    "view": "VIEW",
    "aggregate": "MATERIALIZED VIEW",
}
"""What PostgreSQL calls each kind. A continuous aggregate of TimescaleDB is one kind, an aggregate function
another."""
_CANNOT_BE_REPLACED = ("42P13", "42P16")
"""What PostgreSQL says where the columns of a view or a function have other types now."""

_FOREIGN_VIEW = ("no view is made there", "rename it, or leave its size out of `derived` in config.yml")
_FOREIGN_FUNCTION = ("no views are made", "rename it, or write `derived: []` in config.yml")
_FOREIGN_ADJUSTED = ("no view of adjusted bars is made there", "rename it, then run init again")
_IN_USE = "run init again when nobody reads it"
_NO_RIGHT = "give the role CREATE on the schema, or drop what depends on the view, then run init again"


class Present(NamedTuple):
    """An object that is there: its name, its kind, the definition in its comment (None: it is not ours), and
    how DROP names it."""

    name: str
    kind: str
    definition: str | None
    place: str


class Wanted(NamedTuple):
    """An object that should be there: `sql` creates or replaces it. Without the functions that it `needs` it
    is not made."""

    name: str
    kind: str
    what: str
    sql: bytes
    needs: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """What tells this definition from another."""
        return sha256(self.kind.encode() + self.sql).hexdigest()[:12]

    @property
    def comment(self) -> str:
        """The comment that marks it as ours."""
        return f"{self.what}, kept by assetbatch init (definition {self.definition})"


class Steps(NamedTuple):
    """What is to be done: objects to drop, to create or replace, and those of others that are in the way."""

    drop: list[Present]
    create: list[Wanted]
    foreign: list[Present]


class Kept(NamedTuple):
    """The views that were created or replaced and those that were dropped, and what stood in the way."""

    created: list[str]
    dropped: list[str]
    warnings: list[Note]


def view_name(size: DerivedSize) -> str:
    """Return the name of the view of a size, in the schema of the bars."""
    return f"ohlcv_{size}"


def decide(present: Sequence[Present], wanted: Sequence[Wanted]) -> Steps:
    """Return what turns the objects that are there into those that are wanted.

    What belongs to others is left alone. Without the functions there are no views.
    """
    foreign = [one for one in present if one.definition is None and one.name in {of.name for of in wanted}]
    taken = {one.name for one in foreign}
    possible = [one for one in wanted if taken.isdisjoint((one.name, *one.needs))]
    right = {(one.name, one.kind, one.definition) for one in present}
    names = {(one.name, one.kind) for one in possible}
    drop = [one for one in present if one.definition and (one.name, one.kind) not in names]
    create = [one for one in possible if (one.name, one.kind, one.definition) not in right]
    return Steps(_views_first(drop), create, foreign)


def _views_first(objects: Sequence[Present]) -> list[Present]:
    return sorted(objects, key=lambda one: one.kind not in VIEWS)


def in_the_way(schema: str, one: Present) -> Note:
    """Return the warning of an object of others."""
    of_larger = _FOREIGN_FUNCTION if one.name in (RANGES, BARS) else _FOREIGN_VIEW
    is_larger = one.name in (RANGES, BARS, *map(view_name, DerivedSize))
    why, remedy = of_larger if is_larger else _FOREIGN_ADJUSTED
    return Note(what=f"{schema}.{one.name}", why=f"is not ours: {why}", remedy=remedy)


def foreseen(
    connection: Connection, names: Names, sizes: Collection[DerivedSize], *, adjusts: bool = False
) -> Steps:
    """Return what `keep` would do for tables of these names. Raise psycopg.Error."""
    statements = Statements(names)
    present = _present(connection, statements)
    return decide(present, _wanted(connection, statements, sizes, adjusts=adjusts or _has_adjusted(present)))


def keep(connection: Connection, sizes: Collection[DerivedSize], *, adjusts: bool = False) -> Kept:
    """Create, replace and drop what is ours, in the open transaction; what PostgreSQL refuses becomes a
    warning.

    With `adjusts` there are views of adjusted bars; those that are there stay.

    Raise psycopg.Error for what the state of the server causes.
    """
    steps = foreseen(connection, connection.statements.names, sizes, adjusts=adjusts)
    schema = connection.statements.names.bars.schema
    warnings = [in_the_way(schema, one) for one in steps.foreign]
    created, dropped = [], []
    kept = False
    for one in steps.drop:
        is_view = one.kind in VIEWS
        if not is_view and kept:
            continue  # the view that was not dropped calls it
        if refused := _tried(connection, [_drop(one)]):
            why = f"is not wanted any more and cannot be dropped: {refused.said}"
            remedy = _IN_USE if refused.is_in_use else None
            warnings.append(Note(what=f"{schema}.{one.name}", why=why, remedy=remedy))
            kept = True
        elif is_view:
            dropped.append(f"{schema}.{one.name}")
    made = [f"{schema}.{one.name}" for one in steps.create]
    views = [f"{schema}.{one.name}" for one in steps.create if one.kind in VIEWS]
    if refused := _create(connection, steps.create):
        why = f"cannot be made: {refused.said}"
        remedy = _IN_USE if refused.is_in_use else _NO_RIGHT
        warnings += [Note(what=name, why=why, remedy=remedy) for name in views or made]
    else:
        created = views
    return Kept(created, [name for name in dropped if name not in created], warnings)


class _Refused(NamedTuple):
    """What PostgreSQL says where it refuses a statement, and its SQLSTATE."""

    said: str
    state: str

    @property
    def is_in_use(self) -> bool:
        return self.state == LOCK_NOT_AVAILABLE


def _create(connection: Connection, wanted: Sequence[Wanted]) -> _Refused | None:
    """Create or replace; return why that is refused, if it is.

    An object whose columns have other types now is dropped first: it cannot be replaced.
    """
    refused = _tried(connection, [sql for one in wanted for sql in _creation(connection.statements, one)])
    if not refused or refused.state not in _CANNOT_BE_REPLACED:
        return refused
    ours = _views_first([one for one in _present(connection, connection.statements) if one.definition])
    every = _wanted_again(connection, wanted, ours)
    again = [sql for one in every for sql in _creation(connection.statements, one)]
    return _tried(connection, [*map(_drop, ours), *again])


def _wanted_again(
    connection: Connection, wanted: Sequence[Wanted], dropped: Sequence[Present]
) -> list[Wanted]:
    """Return what has to be made after all that is ours was dropped."""
    names = {one.name for one in wanted} | {one.name for one in dropped}
    sizes = [size for size in DerivedSize if view_name(size) in names]
    every = _wanted(connection, connection.statements, sizes, adjusts=PRODUCT in names)
    return [one for one in every if one.name in names]


def _creation(statements: Statements, one: Wanted) -> Iterator[bytes]:
    place = qualified(statements.names.bars.schema, one.name)
    yield one.sql
    kind = "VIEW" if one.kind in VIEWS else _KINDS[one.kind]
    arguments = "(float8)" if one.kind == "product" else ""
    yield f"COMMENT ON {kind} {place}{arguments} IS {literal(one.comment)}".replace("%", "%%").encode()
    readable = [place] if one.kind in VIEWS else []
    if one.name in ADJUSTED.values():
        readable.append(place_of(statements.names.splits))
    for what in readable:
        yield statements("derived.grant_readers", place=literal(what).replace("%", "%%"))


def _drop(one: Present) -> bytes:
    return f"DROP {_KINDS[one.kind]} {one.place}".replace("%", "%%").encode()


def _tried(connection: Connection, statements: Sequence[bytes]) -> _Refused | None:
    """Carry out all of the statements or none; return what PostgreSQL says where it refuses one."""
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("SAVEPOINT derived")
    try:
        for statement in statements:
            cursor.execute(statement, {})
    except psycopg.Error as error:
        state = error.sqlstate
        if state is None or (state[:2] in NOT_ABOUT_THE_TABLE and state != LOCK_NOT_AVAILABLE):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT derived")
        return _Refused(said_by(error), state)
    cursor.execute("RELEASE SAVEPOINT derived")
    return None


def _present(connection: Connection, statements: Statements) -> list[Present]:
    """Return what has a name of ours in the schema of the bars."""
    names = [*_FUNCTIONS, *map(view_name, DerivedSize), *ADJUSTED.values()]
    rows = connection.execute(statements("derived.load_present"), {"names": names}).fetchall()
    found = []
    for name, kind, comment, place in rows:
        mark = _MARK.search(comment or "")
        found.append(Present(name, kind, mark[1] if mark and kind != "other" else None, place))
    if any(one.kind == "view" for one in found) and _keeps_aggregates(connection):
        aggregates = {name for (name,) in connection.execute(statements("derived.find_aggregates"))}
        found = [one._replace(kind="aggregate") if one.name in aggregates else one for one in found]
    return found


def _keeps_aggregates(connection: Connection) -> bool:
    return connection.execute(connection.statements("derived.keeps_aggregates")).fetchone() == (True,)


def _has_adjusted(present: Sequence[Present]) -> bool:
    """Return whether there are views of adjusted bars already: their readers keep them."""
    return any(one.definition and one.name in ADJUSTED.values() for one in present)


def _wanted(
    connection: Connection, statements: Statements, sizes: Collection[DerivedSize], *, adjusts: bool
) -> list[Wanted]:
    """Return what should be there. Before there are tables of bars, only the names count."""
    larger = _larger(connection, statements, sizes) if sizes else []
    return [*larger, *(_adjusted(connection, statements) if adjusts else ())]


def _larger(connection: Connection, statements: Statements, sizes: Collection[DerivedSize]) -> list[Wanted]:
    """Return the views of these sizes, and what they call."""
    row = connection.execute(statements("derived.load_base")).fetchone()
    kind, is_naive, timescaledb = row or ("bigint", False, None)
    if is_naive:
        statements = _zoned(statements.names, "bars")
    if is_naive or not (timescaledb and _is_hypertable(connection, statements)):
        timescaledb = None  # it takes no bins of anything but its own column
    views = [_view(statements, size, timescaledb) for size in DerivedSize if size in sizes]
    return [*_functions(statements, kind), *views]


def _zoned(names: Names, of: str) -> Statements:
    """Return the statements for moments without a zone, which are in UTC unless the names say another: a
    reader's session may have any zone, which our own transactions have not."""
    table = names.table(of)
    zoned = msgspec.structs.replace(table, zones={"ts": "UTC", **table.zones})
    return Statements(msgspec.structs.replace(names, **{of: zoned}))


def _functions(statements: Statements, kind: str) -> list[Wanted]:
    """Return the functions; `kind` is the type of what the table of bars holds for an instrument."""
    bars, schema = statements.names.bars, quoted(statements.names.bars.schema)
    of_bars = bars.instrument == "polygon_ticker"
    instruments = statements(
        "derived.instruments_of_bars" if of_bars else "derived.instruments_of_symbols", type=kind
    ).decode()
    between = statements(
        "derived.between", instrument="instrument", since="bins.since", until="bins.until"
    ).decode()
    binned = statements("derived.binned", width="width", between=between).decode()
    return [
        Wanted(
            RANGES,
            "function",
            f"Where the bars of each instrument in {bars.place} begin and end",
            statements("derived.create_ranges", schema=schema, type=kind, instruments=instruments),
            (RANGES, BARS),
        ),
        Wanted(
            BARS,
            "function",
            f"Bars of any size out of {bars.place}",
            statements("derived.create_bars", schema=schema, type=kind, binned=binned),
            (RANGES, BARS),
        ),
    ]


def _view(statements: Statements, size: DerivedSize, timescaledb: str | None) -> Wanted:
    """Return the view of a size, or the continuous aggregate of TimescaleDB, whose schema that is."""
    name, bars = view_name(size), statements.names.bars
    schema = quoted(bars.schema)
    view, width = qualified(bars.schema, name), literal(f"{size.ms // MINUTE_MS} minutes")
    what = f"Bars of {size} out of {bars.place}"
    if timescaledb is None:
        sql = statements("derived.create_view", view=view, schema=schema, width=width)
        return Wanted(name, "view", what, sql, (RANGES, BARS))
    sql = statements(
        "derived.create_aggregate",
        view=view,
        place=literal(view),
        width=width,
        timescaledb=quoted(timescaledb),
    )
    return Wanted(name, "aggregate", what, sql, (RANGES, BARS))


def _adjusted(connection: Connection, statements: Statements) -> list[Wanted]:
    """Return the views of adjusted bars, and what they call."""
    schema = quoted(statements.names.bars.schema)
    product = statements("adjusted.create_product", schema=schema)
    found = [Wanted(PRODUCT, "product", "The product of some numbers", product, (PRODUCT,))]
    for of, view in ADJUSTED.items():
        function, bars = _function_of(of), statements.names.table(of)
        row = connection.execute(statements("adjusted.load_kinds", of)).fetchone()
        kind, is_naive = row or ("bigint", False)
        sql = _adjusting(
            _zoned(statements.names, of) if is_naive else statements, of, kind, is_naive=is_naive
        )
        needs = (PRODUCT, function)
        what = f"Adjusted bars out of {bars.place}"
        found.append(Wanted(function, "function", what, sql, needs))
        places = {"view": f"{schema}.{quoted(view)}", "function": f"{schema}.{quoted(function)}"}
        found.append(Wanted(view, "view", what, statements("adjusted.create_view", **places), needs))
    return found


def _function_of(of: str) -> str:
    """Return the name of the function that adjusts the bars of a table."""
    return f"assetbatch_adjusted_{ADJUSTED[of].split('_')[1]}"


_FUNCTIONS = (RANGES, BARS, PRODUCT, *map(_function_of, ADJUSTED))


def _adjusting(statements: Statements, of: str, kind: str, *, is_naive: bool) -> bytes:
    """Return the function that adjusts the bars of a table; `kind` is the type of its instrument."""
    schema, names = quoted(statements.names.bars.schema), statements.names
    time_name = "day" if of == "bars_1d" else "ts"
    time_kind = "date" if of == "bars_1d" else "timestamp" if is_naive else "timestamptz"
    time = f"o.{quoted(names.table(of).columns[time_name])}::{time_kind}"
    day = time if of == "bars_1d" else statements("adjusted.day_of", of).decode().strip()
    return statements(
        "adjusted.create_bars",
        of,
        schema=schema,
        function=f"{schema}.{quoted(_function_of(of))}",
        type=kind,
        kind=time_kind,
        time_name=time_name,
        time=time,
        day=day,
        instrument=_of_splits(statements, of),
    )


def _of_splits(statements: Statements, of: str) -> str:
    """Return what the splits have for the instrument of a bar `o`."""
    names = statements.names
    bars, splits = names.table(of), names.splits
    if (bars.instrument, bars.target) == (splits.instrument, splits.target):
        return f"o.{quoted(bars.columns['symbol_id'])}"
    named = {"of_bars": _named(names, bars), "of_splits": _named(names, splits)}
    return statements("adjusted.instrument_of_splits", of, **named).decode().strip()


def _named(names: Names, table: Table) -> str:
    """Return what a table has for a row `s` of the symbols, as far as that row says it."""
    columns = names.symbols.columns
    name = table.target or columns["id"] if table.instrument == "id" else columns["symbol"]
    return f"s.{quoted(name)}"


def _is_hypertable(connection: Connection, statements: Statements) -> bool:
    return connection.execute(statements("partitions.has_hypertable")).fetchone() == (True,)
