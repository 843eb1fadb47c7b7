"""Carry a plan out, in the transaction in which it was made."""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from assetbatch.config.tables import TABLES, TableMappings
from assetbatch.database import migrations, partitions
from assetbatch.database.adoption.findings import Part
from assetbatch.database.adoption.plan import Plan
from assetbatch.database.adoption.recognition import KEYS
from assetbatch.database.failures import NOT_ABOUT_THE_TABLE, said_by
from assetbatch.database.quoting import place, quoted
from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements
from assetbatch.errors import DatabaseError, SchemaRefusedError


class CarriedOut(NamedTuple):
    """What was done: migrations applied, keys of the rows that were entered, partitions added, and whether
    a table of bars became a hypertable."""

    steps: list[str]
    rows: set[str]
    partitions: list[str]
    hypertable: bool


def refuse(found: Plan) -> None:
    """Raise SchemaRefusedError with all refusals of a plan, if it has any."""
    if found.refusals:
        raise SchemaRefusedError("\n".join(str(refusal) for refusal in found.refusals))


def carry_out(
    connection: Connection, found: Plan, mappings: TableMappings, *, by_month: bool = False
) -> CarriedOut:
    """Add what the plan adds, apply the migrations, add partitions, enter rows and keep the names.

    Raise SchemaRefusedError, before anything is changed, if the plan refuses; DatabaseError if a row is not
    there afterwards; psycopg.Error for everything else.
    """
    refuse(found)
    names = found.names
    assert names is not None, "a plan without refusals has names"
    for addition in found.additions:
        if addition.part is not Part.ROW and addition.sql is not None:
            connection.execute(addition.sql.encode())
    _check_updates(connection, found)
    connection.statements = Statements(names)
    steps = migrations.migrate(connection)
    prepared = partitions.prepare(connection, by_month=by_month)
    # A table of minutes that is made now is divided as that of five minutes is.
    made = {addition.what for addition in found.additions if addition.part is Part.TABLE}
    divides = by_month or (place(names.bars_1m) in made and partitions.is_divided(connection))
    minutes = partitions.prepare(connection, by_month=divides, of="bars_1m")
    rows: set[str] = set()
    for addition in found.additions:
        if addition.part is Part.ROW and addition.sql is not None:
            entered = connection.execute(addition.sql.encode(), addition.parameters)
            rows.update(key for (key,) in entered)
    _check_entered(connection, found, rows)
    migrations.save_names(connection, names, mappings)
    return CarriedOut(
        steps,
        rows,
        prepared.partitions + minutes.partitions,
        prepared.hypertable or minutes.hypertable,
    )


def _check_updates(connection: Connection, found: Plan) -> None:
    """Raise SchemaRefusedError if a table takes no UPDATE any more that it took before a column was added.

    A trigger that copies whole rows into another table has no place for one column more.
    """
    assert found.names is not None, "a plan that is carried out has names"
    added = [addition.what for addition in found.additions if addition.part is Part.COLUMN]
    for key in TABLES:
        table = found.names.table(key)
        where = place(table)
        new = [what for what in added if what.startswith(f"{where}.")]
        if not new:
            continue
        connection.execute("SAVEPOINT updated")
        column = quoted(table.columns[KEYS[key][0]])
        try:
            connection.execute(Statements()("adoption.touch_row", table=where, column=column))
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate[:2] in NOT_ABOUT_THE_TABLE:
                raise
            said = said_by(error)
            raise SchemaRefusedError(
                f"{where} takes no UPDATE any more once it has {', '.join(new)}: {said} (hint: add the "
                "columns yourself, and to what the triggers of the table write)"
            ) from error
        connection.execute("ROLLBACK TO SAVEPOINT updated")


def _check_entered(connection: Connection, found: Plan, rows: set[str]) -> None:
    """Raise DatabaseError if a symbol is not there: another transaction cannot have entered it either."""
    doubtful = [symbol for symbol in found.missing if symbol not in rows]
    if not doubtful:
        return
    asked = connection.statements("assets.find")
    there = {symbol for (symbol,) in connection.execute(asked, {"symbols": doubtful})}
    if lost := [symbol for symbol in doubtful if symbol not in there]:
        raise DatabaseError(
            f"{place(connection.statements.names.symbols)} did not take {', '.join(lost)}",
            hint="look for a trigger, a row-level policy, or a row that differs only in upper and lower case",
        )
