"""Numbered SQL files, each applied once. Step 1, the owner's tables, has none: it is a plan carried out.

All that are missing are applied in one transaction under an advisory lock, so that several programs may
start `init` at once and nothing is ever half done. What was applied is recorded in
`data_sources.assetbatch_migrations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from assetbatch.config.tables import TableMappings
from assetbatch.database.failures import INIT_HINT
from assetbatch.database.names import OWN, Names, decode
from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements
from assetbatch.errors import DatabaseError, SchemaMissingError

_OWN_TABLE = "data_sources.assetbatch_migrations"


class Migration(NamedTuple):
    """One step of the schema: `0002_spans.sql` is version 2."""

    version: int
    name: str
    sql: bytes


OWNER_TABLES = Migration(1, "owner_tables", b"")


@cache
def all_migrations() -> tuple[Migration, ...]:
    """Return the steps that this program knows, in their order."""
    folder = files("assetbatch.database").joinpath("sql", "migrations")
    steps = [
        Migration(int(path.name[:4]), path.name[5:-4], path.read_bytes())
        for path in folder.iterdir()
        if path.name.endswith(".sql")
    ]
    return OWNER_TABLES, *sorted(steps)


def lock(connection: Connection) -> None:
    """Let one program at a time migrate, until the end of the open transaction.

    The catalogue is read only afterwards: PostgreSQL keeps in mind what it has not found before.
    """
    connection.execute(connection.statements("schema.lock_migrations"))


def version_of(connection: Connection) -> int:
    """Return the version of the schema that is there; 0 where none is. Raise psycopg.Error."""
    if _OWN_TABLE in _missing_tables(connection):
        return 0
    return max(_applied(connection), default=0)


def own_tables_missing(connection: Connection) -> list[str]:
    """Return the tables of assetbatch itself that are not there. Raise psycopg.Error."""
    return list(_missing_tables(connection))


def verify(connection: Connection, lost: Mapping[str, int]) -> None:
    """Raise DatabaseError if the schema is newer than this program, or a table that was made is gone.

    That is one of assetbatch itself, or one of the owner's that are `lost`, with the version that made each.
    """
    version = version_of(connection)
    _refuse_newer(version)
    if version:
        _refuse_lost(dict(lost) | _missing_tables(connection), version)


def migrate(connection: Connection) -> list[str]:
    """Apply what is missing in the open transaction; return the names of the steps.

    The transaction has the lock, and the owner's tables are there. Raise psycopg.Error.
    """
    missing = _missing_tables(connection)
    applied = set() if _OWN_TABLE in missing else _applied(connection)
    steps = [step for step in all_migrations() if step.version not in applied]
    for step in steps:
        if step.sql:
            connection.execute(connection.statements.rendered(step.sql.decode()))
    if _OWN_TABLE in missing:
        connection.execute(connection.statements("schema.create_migrations_table"))
    for step in steps:
        connection.execute(
            connection.statements("schema.record_migration"), {"version": step.version, "name": step.name}
        )
    return [step.name for step in steps]


class SchemaState(NamedTuple):
    """What a usable schema's check has seen: whether the server takes writes, whether a call to the provider
    was ever recorded, and what the owner's tables are called."""

    takes_writes: bool
    has_calls: bool
    names: Names = OWN


def check(connection: Connection, mappings: TableMappings) -> SchemaState:
    """Raise SchemaMissingError or DatabaseError unless this program made the schema with these mappings."""
    missing = _missing_tables(connection)
    if _OWN_TABLE in missing:
        raise SchemaMissingError("the database has no tables of assetbatch", hint=INIT_HINT)
    last = all_migrations()[-1].version
    if any(made_by > 1 for made_by in missing.values()):  # then the version says which should be there
        ((version,),) = connection.execute(connection.statements("schema.load_version")).fetchall()
        _refuse_newer(version)
        _refuse_lost(missing, version)
        raise SchemaMissingError(f"the schema is at version {version}, which is too old", hint=INIT_HINT)
    ((version, names, made_with, has_calls, read_only, lost),) = connection.execute(
        connection.statements("schema.load_state"), {"own": msgspec.json.encode(OWN).decode()}
    ).fetchall()
    _refuse_newer(version)
    if version < last:
        raise SchemaMissingError(f"the schema is at version {version}, which is too old", hint=INIT_HINT)
    state = SchemaState(not read_only, has_calls, decode(names) if names else OWN)
    if (msgspec.json.decode(made_with, type=TableMappings) if made_with else TableMappings()) != mappings:
        raise SchemaMissingError(
            "database.tables says otherwise than when the schema was made", hint=INIT_HINT
        )
    connection.statements = Statements(state.names)
    _refuse_lost({name.replace('"', ""): 1 for name in lost}, 1)
    ((has_provider,),) = connection.execute(connection.statements("schema.find_provider")).fetchall()
    if not has_provider:
        place, code = state.names.providers.place, state.names.provider
        raise SchemaMissingError(f"{place} has no row with code {code}", hint=INIT_HINT)
    return state


def load_names(connection: Connection) -> Names:
    """Return what the owner's tables are called; our own names where nothing is recorded."""
    return _recorded(connection)[0]


def _recorded(connection: Connection) -> tuple[Names, TableMappings]:
    if "data_sources.assetbatch_names" not in _missing_tables(connection):
        for names, mappings in connection.execute(connection.statements("schema.load_names")):
            return decode(names), msgspec.json.decode(mappings, type=TableMappings)
    return OWN, TableMappings()


def save_names(connection: Connection, names: Names, mappings: TableMappings) -> None:
    """Record what the owner's tables are called, and what was configured of that, in the open transaction.

    What is recorded already is not written again: a role that may not write it can repeat `init`.
    """
    if _recorded(connection) == (names, mappings):
        return
    rows = {
        "names": msgspec.json.encode(names).decode(),
        "mappings": msgspec.json.encode(mappings).decode(),
    }
    connection.execute(connection.statements("schema.save_names"), rows)


def _missing_tables(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(connection.statements("schema.find_missing_own_tables")).fetchall())


def _applied(connection: Connection) -> set[int]:
    return {version for (version,) in connection.execute(connection.statements("schema.load_migrations"))}


def _refuse_lost(missing: dict[str, int], version: int) -> None:
    lost = [name for name, made_by in missing.items() if made_by <= version]
    if lost:
        raise DatabaseError(
            f"{', '.join(lost)} is missing, but was there when the schema was made",
            hint=f"restore it; or DELETE FROM {_OWN_TABLE} and {INIT_HINT} to have it made again, empty",
        )


def _refuse_newer(version: int) -> None:
    known = all_migrations()[-1].version
    if version > known:
        raise DatabaseError(
            f"the schema is at version {version}, this program knows {known}", hint="upgrade assetbatch"
        )
