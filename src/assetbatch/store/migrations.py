"""Numbered SQL files, each applied once. Step 1, the owner's tables, has none: it is a plan carried out (`adoption`).

All that are missing are applied in one transaction under an advisory lock, so that several programs may
start `init` at once and nothing is ever half done. What was applied is recorded in
`data_sources.assetbatch_migrations`. The files are templates over the names of the owner's tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from assetbatch.errors import DatabaseError, SchemaMissingError
from assetbatch.store.connection import Connection
from assetbatch.store.failures import INIT_HINT
from assetbatch.store.statements import rendered, statement

_OWN_PREFIX = "data_sources.assetbatch_"
_OWN_TABLE = f"{_OWN_PREFIX}migrations"


class Migration(NamedTuple):
    """One step of the schema: `0002_spans.sql` is version 2."""

    version: int
    name: str
    sql: bytes


OWNER_TABLES = Migration(1, "owner_tables", b"")


@cache
def all_migrations() -> tuple[Migration, ...]:
    """The steps that this program knows, in their order."""
    folder = files("assetbatch.store").joinpath("sql", "migrations")
    steps = [
        Migration(int(path.name[:4]), path.name[5:-4], path.read_bytes())
        for path in folder.iterdir()
        if path.name.endswith(".sql")
    ]
    return OWNER_TABLES, *sorted(steps)


def lock(connection: Connection) -> None:
    """Let one program at a time make the schema; until the end of the transaction. Raises psycopg.Error."""
    connection.execute(statement("migrations_lock"))


def verify(connection: Connection, lost: Sequence[str]) -> None:
    """Raise DatabaseError if the schema is newer than this program, or a table that was made is gone: one of
    assetbatch itself, or those of the owner that are `lost`."""
    missing = _missing_tables(connection)
    applied = set() if _OWN_TABLE in missing else _applied(connection)
    _refuse_newer(max(applied, default=0))
    if applied:
        own = {name: made_by for name, made_by in missing.items() if name.startswith(_OWN_PREFIX)}
        _refuse_lost(dict.fromkeys(lost, 1) | own, max(applied))


def migrate(connection: Connection, values: Mapping[str, str]) -> list[str]:
    """Apply what is missing in the open transaction, after the owner's tables were made; return the names of
    the steps. `values` are those of the places in their templates. Raises psycopg.Error."""
    missing = _OWN_TABLE in _missing_tables(connection)
    applied = set() if missing else _applied(connection)
    steps = [step for step in all_migrations() if step.version not in applied]
    for step in steps:
        if step.sql:
            connection.execute(rendered(step.sql.decode(), values).encode())
    if missing:
        connection.execute(statement("migrations_table"))
    for step in steps:
        connection.execute(statement("migrations_record"), {"version": step.version, "name": step.name})
    return [step.name for step in steps]


def installed_version(connection: Connection) -> int:
    """Return the version of the schema that is there; 0 where none is. Raises psycopg.Error."""
    return max(_applied(connection), default=0)


def own_tables_missing(connection: Connection) -> list[str]:
    """Return the tables of assetbatch itself that are not there. Raises psycopg.Error."""
    return [name for name in _missing_tables(connection) if name.startswith(_OWN_PREFIX)]


class SchemaState(NamedTuple):
    """What a usable schema's check has seen: whether the server takes writes, and whether a call to the
    provider was ever recorded."""

    takes_writes: bool
    has_calls: bool


def check(connection: Connection) -> SchemaState:
    """Raise SchemaMissingError or DatabaseError unless the schema is the one this program was written for."""
    missing = _missing_tables(connection)
    if _OWN_TABLE in missing:
        raise SchemaMissingError("the database has no tables of assetbatch", hint=INIT_HINT)
    _refuse_lost(missing, 1)
    ((version, has_provider, read_only),) = connection.execute(statement("schema_state")).fetchall()
    _refuse_newer(version)
    _refuse_lost(missing, version)
    if version < all_migrations()[-1].version:
        raise SchemaMissingError(f"the schema is at version {version}, which is too old", hint=INIT_HINT)
    if not has_provider:
        raise SchemaMissingError("data_sources.api_providers has no row with code polygon", hint=INIT_HINT)
    ((has_calls,),) = connection.execute(statement("has_calls")).fetchall()
    return SchemaState(takes_writes=not read_only, has_calls=has_calls)


def _missing_tables(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(statement("tables_missing")).fetchall())


def _applied(connection: Connection) -> set[int]:
    return {version for (version,) in connection.execute(statement("migrations_applied"))}


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
