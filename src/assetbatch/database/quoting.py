"""Names and values as SQL writes them, for statements that are printed and carried out alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

from assetbatch.database.names import Table

_SIMPLE = re.compile(r"[a-z_][a-z0-9_$]*\Z")
_WORDS = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check
collate collation column concurrently constraint create cross current_catalog current_date
current_role current_schema current_time current_timestamp current_user default deferrable desc
distinct do else end except false fetch for foreign freeze from full grant group having ilike in
initially inner intersect into is isnull join lateral leading left like limit localtime
localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
references returning right select session_user similar some symmetric system_user table tablesample
then to trailing true union unique user using variadic verbose when where window with
"""
_RESERVED = frozenset(_WORDS.split())
"""Words of PostgreSQL that are no name of a table or column unless they are quoted."""


def quoted(name: str) -> str:
    """Return a name as SQL writes it: in quotes where it needs them."""
    if _SIMPLE.match(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Return a text as SQL writes it."""
    text = "'" + value.replace("'", "''") + "'"
    return "E" + text.replace("\\", "\\\\") if "\\" in value else text


def listed(names: Iterable[str]) -> str:
    """Return the names as a list of columns, without parentheses."""
    return ", ".join(quoted(name) for name in names)


def qualified(*names: str) -> str:
    """Return a name after those of what it lies in, as SQL writes it: `schema.table.column`."""
    return ".".join(map(quoted, names))


def place(table: Table, *column: str) -> str:
    """Return the qualified name of a table, or of one of its columns."""
    return qualified(table.schema, table.name, *column)
