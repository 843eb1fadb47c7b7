"""What a database has, so that two moments can be compared: its objects, and its rows with who wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

Json = dict[str, Any]
OBJECTS = (Path(__file__).parent / "objects.sql").read_text(encoding="utf-8")


class Thing(NamedTuple):
    """An object of the catalogue; `owner` is the table or schema that it belongs to."""

    kind: str
    name: str
    owner: str


class Row(NamedTuple):
    """A row as JSON, and the transaction that wrote it: another one has touched it, whatever it wrote."""

    values: Json
    written_by: str


class Snapshot(NamedTuple):
    """The objects with their definitions, the rows of each table; none of `assetbatch_…`."""

    objects: Mapping[Thing, str]
    rows: Mapping[str, Sequence[Row]]

    @property
    def tables(self) -> set[str]:
        """The tables, `schema.name` each."""
        return {thing.name for thing in self.objects if thing.kind == "relation"}

    @property
    def partitions(self) -> set[str]:
        """The tables that are parts of others."""
        return {
            thing.name
            for thing, definition in self.objects.items()
            if thing.kind == "relation" and " | partition " in definition
        }


def is_ours(name: str) -> bool:
    """Whether an object is one of the program's own, which a platform has no part in."""
    return any(part.startswith("assetbatch_") for part in name.replace('"', "").split("."))


def take(connection: psycopg.Connection[Any], *, large: Sequence[str] = ()) -> Snapshot:
    """Look at everything; of `large` tables the rows are left out, see `rows_again`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(OBJECTS.encode()).fetchall()
    objects = {
        Thing(one["kind"], one["name"], one["owner"]): one["definition"]
        for one in found
        if not is_ours(one["name"]) and not is_ours(one["owner"])
    }
    tables = {name for (kind, name, _), text in objects.items() if kind == "relation" and text[0] in "rp"}
    tables -= Snapshot(objects, {}).partitions
    return Snapshot(objects, {name: _rows(connection, name) for name in sorted(tables - set(large))})


def _table(name: str) -> Identifier:
    return Identifier(*(part.strip('"') for part in name.split(".")))


def _rows(connection: psycopg.Connection[Any], table: str) -> list[Row]:
    statement = SQL("SELECT to_jsonb(t), t.xmin::text FROM {} t").format(_table(table))
    return [Row(*row) for row in connection.execute(statement)]


def rows_again(
    connection: psycopg.Connection[Any], table: str, key: Sequence[str], before: Sequence[Row]
) -> list[Row]:
    """The rows of a table that have the keys of rows that were there before."""
    columns = SQL(", ").join(SQL("t.{}").format(Identifier(column)) for column in key)
    theirs = SQL(", ").join(SQL("n.{}").format(Identifier(column)) for column in key)
    statement = SQL(
        "SELECT to_jsonb(t), t.xmin::text FROM {table} t"
        " WHERE ({columns}) IN (SELECT {theirs} FROM jsonb_populate_recordset(NULL::{table}, %s) n)"
    ).format(table=_table(table), columns=columns, theirs=theirs)
    values = Jsonb([row.values for row in before])
    return [Row(*row) for row in connection.execute(statement, (values,))]


def lost(before: Sequence[Row], after: Sequence[Row]) -> list[Json]:
    """Rows of before that are not there any more as they were."""
    left = Counter(_text(row.values) for row in after)
    missing = []
    for row in before:
        text = _text(row.values)
        if left[text]:
            left[text] -= 1
        else:
            missing.append(row.values)
    return missing


def _text(values: Json) -> str:
    return repr(sorted(values.items(), key=lambda item: item[0]))


class Change(NamedTuple):
    """An object that is there no more, is there now, or is another now (`before` and `after`)."""

    thing: Thing
    before: str | None
    after: str | None


def changes(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    """How the objects differ."""
    for thing in sorted({*before.objects, *after.objects}):
        then, now = before.objects.get(thing), after.objects.get(thing)
        if then != now:
            yield Change(thing, then, now)
