"""The rows that `init` inserts, as statements over the platform's own columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
"""Rows that a statement to copy has at most."""


class Insert(NamedTuple):
    """Rows of one table: `sql` takes them as the parameter `rows`, a JSON array, and returns the keys of
    those that were not there. `lacking` are columns that insist on a value that nobody here knows; `by_hand`
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
    pairs = [(asset.polygon_ticker[2:-3], asset.polygon_ticker[-3:]) for asset in assets]
    return _insert("symbols", recognised, table, values, pairs=pairs, timed="updated_at", tried=tried)


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
    pairs: Sequence[tuple[str, str]] = (),
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
    columns = [one.column for one in given]
    sources = [f"n.{quoted(name)}" for name in columns]
    if timed in table.columns and table.columns[timed] not in columns:
        columns.append(table.columns[timed])
        zone = table.zones.get(timed, "UTC")
        moment = recognised.column(key, timed)
        naive = moment is not None and moment.base == "timestamp"
        sources.append(f"now() AT TIME ZONE {literal(zone)}" if naive else "now()")
    identity = facts.column(table.columns["id"]) if facts else None
    if (
        identity is not None
        and identity.base == "uuid"
        and not identity.is_given
        and identity.name not in columns
    ):
        columns.append(identity.name)
        sources.append("gen_random_uuid()")
    overriding = ""
    for column in facts.columns if facts and tried else ():
        counts = column.identity or "nextval(" in (column.default or "")
        if counts and column.base in INTEGERS and column.name not in columns:
            columns.append(column.name)
            last = f"(SELECT coalesce(max({quoted(column.name)}), 0) FROM {place(table)})"
            sources.append(f"{last} + row_number() OVER ()")
            overriding = "OVERRIDING SYSTEM VALUE " if column.identity_always or overriding else ""
    key_column = table.columns[ours]
    known = " AND ".join(f"t.{quoted(name)} = n.{quoted(name)}" for name in (key_column, *table.key))
    definition = ", ".join(f"{quoted(one.column)} {one.type}" for one in given)
    # What is tried may have no unique index yet.
    or_not = "" if tried else f"ON CONFLICT ({listed((key_column, *table.key))}) DO NOTHING\n"
    sql = (
        f"INSERT INTO {place(table)} ({listed(columns)}) {overriding}\n"
        f"SELECT {', '.join(sources)}\n"
        f"FROM jsonb_to_recordset(%(rows)s::jsonb) AS n({definition})\n"
        f"WHERE NOT EXISTS (SELECT FROM {place(table)} t WHERE {known})\n"
        f"ORDER BY n.{quoted(key_column)}\n"
        f"{or_not}RETURNING {quoted(key_column)}::text"
    )
    rows = [{one.column: one.values[at] for one in given} for at in range(count)]
    lacking = tuple(
        column.name
        for column in (facts.columns if facts else ())
        if column.not_null and not column.is_given and column.name not in columns
    )
    return Insert(
        sql.replace("%", "%%").replace("%%(rows)s", "%(rows)s"),
        msgspec.json.encode(rows).decode(),
        tuple(str(value) for value in values[ours]),
        lacking,
        _by_hand(table, given, lacking, count, pairs),
    )


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
    pairs: Sequence[tuple[str, str]],
) -> str:
    """Return the statement with the values that are known and `...` for the platform's. `pairs` are the two
    currencies of each row: the names of many columns say that they want one of them."""

    def guess(column: str, at: int) -> str:
        side = _SIDE.fullmatch(column)
        return literal(pairs[at][side[1].lower() == "quote"]) if side and pairs else "..."

    shown = [one for one in given if one.type != "jsonb" and one.type != "json"]
    columns = [*(one.column for one in shown), *lacking]
    rows = []
    for at in range(min(count, SHOWN_ROWS)):
        known = [literal(str(one.values[at])) for one in shown]
        rows.append(f"({', '.join([*known, *(guess(name, at) for name in lacking)])})")
    more = f" -- and {count - SHOWN_ROWS} more" if count > SHOWN_ROWS else ""
    return f"INSERT INTO {place(table)} ({listed(columns)}) VALUES {', '.join(rows)};{more}"
