"""What `doctor` asks of the server and the role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from assetbatch.database.migrations import load_names
from assetbatch.database.partitions import Partition, looked_after, partitions
from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements


class DatabaseFacts(NamedTuple):
    """The server's version number (170002 is 17.2) and time, what this role may not do, and the partitions of
    each table of bars that assetbatch has partitioned."""

    version: int
    now_ms: int
    read_only: bool
    missing_rights: tuple[str, ...]
    partitions: Mapping[str, tuple[Partition, ...]] = {}


def facts(connection: Connection) -> DatabaseFacts:
    """Ask the server; changes nothing. Raise psycopg.Error.

    The tables are those that `init` has found, if this role may read what they are called.
    """
    if connection.execute(connection.statements("doctor.may_read_names")).fetchall() == [(True,)]:
        connection.statements = Statements(load_names(connection))
    ((version, now_ms, read_only),) = connection.execute(
        connection.statements("doctor.load_facts")
    ).fetchall()
    missing = missing_rights(connection)
    there = {of: partitions(connection, of) for of in ("bars", "bars_1m")}
    ours = {of: some for of, some in there.items() if looked_after(some, of)}
    return DatabaseFacts(version, now_ms, read_only, missing, ours)


def missing_rights(connection: Connection) -> tuple[str, ...]:
    """Return the rights that a cycle needs and this role lacks, as GRANT writes them."""
    return tuple(
        right for (right,) in connection.execute(connection.statements("doctor.find_missing_rights"))
    )
