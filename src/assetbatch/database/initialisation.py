"""What `init` does in its one transaction: make the plan, carry it out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from assetbatch.config.tables import TableMappings
from assetbatch.database import derived, migrations
from assetbatch.database.adoption import Plan, carry_out, lost_tables, plan, read_catalogue, refuse
from assetbatch.database.adoption.beside import beside, beside_before, left_alone, unasked_tables
from assetbatch.database.adoption.catalogue import Catalogue
from assetbatch.database.adoption.findings import Addition, Note, Part, Refusal
from assetbatch.database.session import Connection
from assetbatch.database.text import storable
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import DerivedSize
from assetbatch.errors import DatabaseError


class Initialised(NamedTuple):
    """What was planned and done: migrations applied now, symbols that were added and that were there already,
    partitions added now, what became of the views of larger bars, and whether a table of bars became a
    hypertable of TimescaleDB."""

    plan: Plan
    steps: list[str]
    added: list[str]
    present: list[str]
    partitions: list[str]
    views: derived.Kept
    hypertable: bool = False


def initialise(
    connection: Connection,
    mappings: TableMappings,
    assets: Sequence[Asset],
    *,
    by_month: bool,
    sizes: Collection[DerivedSize],
    is_plain: bool = False,
) -> Initialised:
    """Create or adopt the tables, enter what is missing and make the views of larger bars of these sizes, in
    the open transaction. If a stock is among the assets, the views of adjusted bars are made too.

    What the server's encoding cannot hold of a name becomes a question mark; if `is_plain`, whatever is not
    ASCII does.

    Raise SchemaRefusedError, DatabaseError, psycopg.Error.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if strange := [asset.symbol for asset in assets if storable(asset.symbol, encoding) != asset.symbol]:
        raise DatabaseError(
            f"the server's encoding {encoding} cannot hold the symbol {', '.join(strange)}",
            hint="name it otherwise, or make the database with ENCODING 'UTF8'",
        )
    migrations.lock(connection)
    found = planned(connection, mappings, assets, by_month=by_month, is_plain=is_plain)
    refuse(found)
    done = carry_out(connection, found, mappings, by_month=by_month)
    added = done.rows.intersection(found.missing)
    return Initialised(
        found,
        done.steps,
        [symbol for symbol in found.missing if symbol in added],
        [asset.symbol for asset in assets if asset.symbol not in added],
        done.partitions,
        derived.keep(connection, sizes, adjusts=_adjusts(assets)),
        done.hypertable,
    )


def planned(
    connection: Connection,
    mappings: TableMappings,
    assets: Sequence[Asset],
    *,
    by_month: bool = False,
    tries: bool = True,
    is_plain: bool = False,
) -> Plan:
    """Return what `init` would do, in the open transaction; see `read_catalogue`.

    A table of the platform that has the name of one that nobody has asked for, and does not fit, is left
    alone: a table of our own stands beside it. Raise DatabaseError if the schema is newer than this program
    or a table is gone, psycopg.Error.
    """

    def read(chosen: TableMappings) -> Catalogue:
        return read_catalogue(connection, chosen, assets, tries=tries, is_plain=is_plain)

    def planned_with(chosen: TableMappings) -> Plan:
        return plan(read(chosen), chosen, assets, by_month=by_month)

    catalogue = read(mappings)
    if before := beside_before(catalogue, mappings):
        mappings = beside(mappings, before)
        catalogue = read(mappings)
    migrations.verify(connection, lost_tables(catalogue, mappings))
    found = plan(catalogue, mappings, assets, by_month=by_month)
    unasked = unasked_tables(catalogue, mappings, assets) if found.refusals else ()
    if not unasked:
        return found
    without = planned_with(beside(mappings, unasked))
    reasons: dict[str, Refusal] = {}
    for key in unasked:
        others = [other for other in unasked if other != key]
        alone = planned_with(beside(mappings, others))
        if own := [refusal for refusal in alone.refusals if refusal not in without.refusals]:
            reasons[key] = own[0]
    found = planned_with(beside(mappings, reasons))
    return msgspec.structs.replace(
        found, warnings=(*found.warnings, *(left_alone(key, mappings, why) for key, why in reasons.items()))
    )


def _adjusts(assets: Sequence[Asset]) -> bool:
    return any(asset.asset_class.has_splits for asset in assets)


def with_views(
    connection: Connection, found: Plan, assets: Sequence[Asset], sizes: Collection[DerivedSize]
) -> Plan:
    """Return the plan with what `init` would do about the views of larger and of adjusted bars."""
    if found.names is None or found.refusals:
        return found
    schema = found.names.bars.schema
    steps = derived.foreseen(connection, found.names, sizes, adjusts=_adjusts(assets))
    views = [one for one in steps.create if one.kind in derived.VIEWS]
    made_again = {one.name for one in views}
    dropped = [one for one in steps.drop if one.kind in derived.VIEWS and one.name not in made_again]
    return msgspec.structs.replace(
        found,
        additions=(
            *found.additions,
            *(Addition(part=Part.VIEW, what=f"{schema}.{one.name}") for one in views),
        ),
        warnings=(
            *found.warnings,
            *(
                Note(what=f"{schema}.{one.name}", why="is not in `derived` any more: it is dropped")
                for one in dropped
            ),
            *(derived.in_the_way(schema, one) for one in steps.foreign),
        ),
    )
