"""The rows that `init` inserts, as statements over the platform's own columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from assetbatch.database.adoption.catalogue import Column, TableFacts
from assetbatch.database.adoption.recognition import KEYS, Recognised
from assetbatch.database.adoption.vocabulary import INTEGERS, PROVIDER_NAME
from assetbatch.database.names import Table
from assetbatch.database.quoting import listed, literal, place, quoted
from assetbatch.database.text import storable
from assetbatch.domain.assets import Asset

SHOWN_ROWS = 10
"""Maximum number of rows in a statement to copy."""


class Insert(NamedTuple):
    """Rows of one table: `sql` takes them as the parameter `rows`, a JSON array, and returns the keys of
    those that were not there. `lacking` are columns that need a value that is not known here; `by_hand`
    is the statement to copy."""

    sql: str
    rows: str
    keys: tuple[str, ...]
    lacking: tuple[str, ...]
    by_hand: str


class _Given(NamedTuple):
    column: str
    type: str
    values: Sequence[object]


def insert_symbols(
    recognised: Recognised, assets: Sequence[Asset], encoding: str | None, *, tried: bool = False
) -> Insert:
    """Return the statement that enters these assets; if only `tried`, without a sequence."""
    table = recognised.names.symbols
    values: Mapping[str, list[object]] = {
        "symbol": [asset.symbol for asset in assets],
        "name": [storable(asset.name or asset.symbol, encoding) for asset in assets],
        "asset_type": [str(asset.asset_type) for asset in assets],
        "metadata": [{} for _ in assets],
    }
    pairs = [_sides(asset) for asset in assets]
    return _insert("symbols", recognised, table, values, pairs=pairs, timed="updated_at", tried=tried)


def _sides(asset: Asset) -> tuple[str, str | None]:
    """Return the two currencies of a pair. A stock or an index is no pair: nothing here says its currency."""
    name = asset.polygon_ticker.removeprefix(asset.asset_class.prefix)
    return (name[:-3], name[-3:]) if asset.asset_class.quotes else (name, None)


def insert_provider(recognised: Recognised, code: str, *, tried: bool = False) -> Insert:
    """Return the statement that enters the provider."""
    values: Mapping[str, list[object]] = {"code": [code], "name": [PROVIDER_NAME]}
    return _insert("providers", recognised, recognised.names.providers, values, tried=tried)


def _insert(
    key: str,
    recognised: Recognised,
    table: Table,
    values: Mapping[str, list[object]],
    *,
    pairs: Sequence[tuple[str, str | None]] = (),
    timed: str = "",
    tried: bool,
) -> Insert:
    facts = recognised.tables.get(key)
    (ours,) = KEYS[key]
    count = len(values[ours])
    given = [
        _Given(table.columns[name], _type(facts, table.columns[name], name), some)
        for name, some in values.items()
        if name in table.columns
    ]
    given += [
        _Given(name, _type(facts, name, ""), [value] * count) for name, value in table.constants.items()
    ]
    sources = {one.column: f"n.{quoted(one.column)}" for one in given}
    if timed in table.columns:
        sources.setdefault(table.columns[timed], _now(recognised, key, table, timed))
    identity = facts.column(table.columns["id"]) if facts else None
    if identity is not None and identity.base == "uuid" and not identity.is_given:
        sources.setdefault(identity.name, "gen_random_uuid()")
    counted = _counted(facts, sources) if facts and tried else []
    for column in counted:
        last = f"(SELECT coalesce(max({quoted(column.name)}), 0) FROM {place(table)})"
        sources[column.name] = f"{last} + row_number() OVER ()"
    overriding = any(column.identity_always for column in counted)
    rows = [{one.column: one.values[at] for one in given} for at in range(count)]
    lacking = tuple(
        column.name
        for column in (facts.columns if facts else ())
        if column.not_null and not column.is_given and column.name not in sources
    )
    return Insert(
        _statement(table, table.columns[ours], given, sources, tried=tried, overriding=overriding),
        msgspec.json.encode(rows).decode(),
        tuple(str(value) for value in values[ours]),
        lacking,
        _by_hand(table, given, lacking, count, pairs),
    )


def _now(recognised: Recognised, key: str, table: Table, timed: str) -> str:
    """Return the present moment, as the table's column for it takes it."""
    moment = recognised.column(key, timed)
    if moment is None or moment.base != "timestamp":
        return "now()"
    return f"now() AT TIME ZONE {literal(table.zones.get(timed, 'UTC'))}"


def _counted(facts: TableFacts, given: Collection[str]) -> list[Column]:
    """Return the columns that a sequence fills: a row that is only tried must not move it."""
    return [
        column
        for column in facts.columns
        if (column.identity or "nextval(" in (column.default or ""))
        and column.base in INTEGERS
        and column.name not in given
    ]


def _statement(
    table: Table,
    key_column: str,
    given: Sequence[_Given],
    sources: Mapping[str, str],
    *,
    tried: bool,
    overriding: bool,
) -> str:
    """Return the INSERT of rows that are not there; `sources` gives the expression for each column."""
    known = " AND ".join(f"t.{quoted(name)} = n.{quoted(name)}" for name in (key_column, *table.key))
    definition = ", ".join(f"{quoted(one.column)} {one.type}" for one in given)
    # What is tried may have no unique index yet.
    or_not = "" if tried else f"ON CONFLICT ({listed((key_column, *table.key))}) DO NOTHING\n"
    sql = (
        f"INSERT INTO {place(table)} ({listed(sources)}) {'OVERRIDING SYSTEM VALUE ' if overriding else ''}\n"
        f"SELECT {', '.join(sources.values())}\n"
        f"FROM jsonb_to_recordset(%(rows)s::jsonb) AS n({definition})\n"
        f"WHERE NOT EXISTS (SELECT FROM {place(table)} t WHERE {known})\n"
        f"ORDER BY n.{quoted(key_column)}\n"
        f"{or_not}RETURNING {quoted(key_column)}::text"
    )
    return sql.replace("%", "%%").replace("%%(rows)s", "%(rows)s")


def _type(facts: TableFacts | None, column: str, ours: str) -> str:
    """Return the type of a column, that the JSON is read with."""
    found: Column | None = facts.column(column) if facts else None
    if found is not None:
        return found.type
    return "jsonb" if ours == "metadata" else "text"


_SIDE = re.compile(r"(base|quote)(?:_?(?:asset|currency|coin|symbol))?", re.IGNORECASE)


def _by_hand(
    table: Table,
    given: Sequence[_Given],
    lacking: Sequence[str],
    count: int,
    pairs: Sequence[tuple[str, str | None]],
) -> str:
    """Return the statement with the values that are known and `...` for the platform's. `pairs` are the two
    currencies of each row: the names of many columns say that they want one of them."""

    def guess(column: str, at: int) -> str:
        side = _SIDE.fullmatch(column)
        value = pairs[at][side[1].lower() == "quote"] if side and pairs else None
        return literal(value) if value else "..."

    shown = [one for one in given if one.type != "jsonb" and one.type != "json"]
    columns = [*(one.column for one in shown), *lacking]
    rows = []
    for at in range(min(count, SHOWN_ROWS)):
        known = [literal(str(one.values[at])) for one in shown]
        rows.append(f"({', '.join([*known, *(guess(name, at) for name in lacking)])})")
    more = f" -- and {count - SHOWN_ROWS} more" if count > SHOWN_ROWS else ""
    return f"INSERT INTO {place(table)} ({listed(columns)}) VALUES {', '.join(rows)};{more}"
