"""The views of larger bars, made of the bars of five minutes, and the functions that they call.

`init` creates, replaces and drops them. What is ours says so in its comment, which also tells its definition
from an earlier one. An object of the same name without such a comment belongs to somebody else: it stays, and
its view is left out. Where the table of bars is a hypertable, a view is a continuous aggregate.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec
import psycopg

from assetbatch.database.adoption.findings import Note
from assetbatch.database.failures import LOCK_NOT_AVAILABLE, NOT_ABOUT_THE_TABLE
from assetbatch.database.names import Names
from assetbatch.database.quoting import literal, quoted
from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements
from assetbatch.domain.bar_sizes import DerivedSize
from assetbatch.domain.units import MINUTE_MS

RANGES = "assetbatch_ranges"
BARS = "assetbatch_bars"

_MARK = re.compile(r"kept by assetbatch init \(definition ([0-9a-f]{12})\)\Z")
_CANNOT_BE_REPLACED = ("42P13", "42P16")
"""What PostgreSQL says where the columns of a view or a function have other types now."""

_FOREIGN_VIEW = ("no view is made there", "rename it, or leave its size out of `derived` in config.yml")
_FOREIGN_FUNCTION = ("no views are made", "rename it, or write `derived: []` in config.yml")
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
    """An object that should be there: `sql` creates or replaces it."""

    name: str
    kind: str
    what: str
    sql: bytes

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
    if taken & {RANGES, BARS}:
        return Steps([one for one in present if one.definition], [], foreign)
    right = {(one.name, one.kind, one.definition) for one in present}
    names = {(one.name, one.kind) for one in wanted}
    drop = [one for one in present if one.definition and (one.name, one.kind) not in names]
    create = [
        one for one in wanted if one.name not in taken and (one.name, one.kind, one.definition) not in right
    ]
    return Steps(_views_first(drop), create, foreign)


def _views_first(objects: Sequence[Present]) -> list[Present]:
    return sorted(objects, key=lambda one: one.kind == "function")


def in_the_way(schema: str, one: Present) -> Note:
    """Return the warning of an object of others."""
    why, remedy = _FOREIGN_FUNCTION if one.name in (RANGES, BARS) else _FOREIGN_VIEW
    return Note(what=f"{schema}.{one.name}", why=f"is not ours: {why}", remedy=remedy)


def foreseen(connection: Connection, names: Names, sizes: Collection[DerivedSize]) -> Steps:
    """Return what `keep` would do for tables of these names. Raise psycopg.Error."""
    statements = Statements(names)
    return decide(_present(connection, statements), _wanted(connection, statements, sizes))


def keep(connection: Connection, sizes: Collection[DerivedSize]) -> Kept:
    """Create, replace and drop what is ours, in the open transaction; what PostgreSQL refuses becomes a
    warning.

    Raise psycopg.Error for what the state of the server causes.
    """
    steps = foreseen(connection, connection.statements.names, sizes)
    schema = connection.statements.names.bars.schema
    warnings = [in_the_way(schema, one) for one in steps.foreign]
    created, dropped = [], []
    kept = False
    for one in steps.drop:
        is_view = one.kind != "function"
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
    views = [f"{schema}.{one.name}" for one in steps.create if one.kind != "function"]
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
    return [one for one in _wanted(connection, connection.statements, sizes) if one.name in names]


def _creation(statements: Statements, one: Wanted) -> Iterator[bytes]:
    place = f"{quoted(statements.names.bars.schema)}.{quoted(one.name)}"
    yield one.sql
    kind = "FUNCTION" if one.kind == "function" else "VIEW"
    yield f"COMMENT ON {kind} {place} IS {literal(one.comment)}".replace("%", "%%").encode()
    if one.kind != "function":
        yield statements("derived.grant_readers", place=literal(place).replace("%", "%%"))


def _drop(one: Present) -> bytes:
    kinds = {"function": "FUNCTION", "view": "VIEW", "aggregate": "MATERIALIZED VIEW"}
    return f"DROP {kinds[one.kind]} {one.place}".replace("%", "%%").encode()


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
        return _Refused(" ".join((error.diag.message_primary or str(error)).split()), state)
    cursor.execute("RELEASE SAVEPOINT derived")
    return None


def _present(connection: Connection, statements: Statements) -> list[Present]:
    """Return what has a name of ours in the schema of the bars."""
    names = [RANGES, BARS, *map(view_name, DerivedSize)]
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


def _wanted(connection: Connection, statements: Statements, sizes: Collection[DerivedSize]) -> list[Wanted]:
    """Return what should be there for these sizes. Before there is a table of bars, only the names count."""
    if not sizes:
        return []
    row = connection.execute(statements("derived.load_base")).fetchone()
    kind, is_naive, timescaledb = row or ("bigint", False, None)
    if is_naive:
        statements = _zoned(statements.names)
    if is_naive or not (timescaledb and _is_hypertable(connection, statements)):
        timescaledb = None  # it takes no bins of anything but its own column
    views = [_view(statements, size, timescaledb) for size in DerivedSize if size in sizes]
    return [*_functions(statements, kind), *views]


def _zoned(names: Names) -> Statements:
    """Return the statements for moments without a zone, which are in UTC unless the names say another: a
    reader's session may have any zone, which our own transactions have not."""
    zones = {"ts": "UTC", **names.bars.zones}
    return Statements(msgspec.structs.replace(names, bars=msgspec.structs.replace(names.bars, zones=zones)))


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
        ),
        Wanted(
            BARS,
            "function",
            f"Bars of any size out of {bars.place}",
            statements("derived.create_bars", schema=schema, type=kind, binned=binned),
        ),
    ]


def _view(statements: Statements, size: DerivedSize, timescaledb: str | None) -> Wanted:
    """Return the view of a size, or the continuous aggregate of TimescaleDB, whose schema that is."""
    name, bars = view_name(size), statements.names.bars
    schema = quoted(bars.schema)
    view, width = f"{schema}.{quoted(name)}", literal(f"{size.ms // MINUTE_MS} minutes")
    what = f"Bars of {size} out of {bars.place}"
    if timescaledb is None:
        sql = statements("derived.create_view", view=view, schema=schema, width=width)
        return Wanted(name, "view", what, sql)
    sql = statements(
        "derived.create_aggregate",
        view=view,
        place=literal(view),
        width=width,
        timescaledb=quoted(timescaledb),
    )
    return Wanted(name, "aggregate", what, sql)


def _is_hypertable(connection: Connection, statements: Statements) -> bool:
    return connection.execute(statements("partitions.has_hypertable")).fetchone() == (True,)
