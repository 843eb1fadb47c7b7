"""Tables of our own beside those of a platform that have their names and do not fit.

Pure. It concerns only tables that an upgrade adds and nobody has asked for: such a one must not stop `init`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database.adoption.catalogue import Catalogue
from assetbatch.database.adoption.findings import Note, Refusal, configured
from assetbatch.database.adoption.recognition import wanted_place
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize

UNASKED = ("bars_1m", "bars_1d", "splits")
"""Tables that `init` makes or adopts although nobody has named them."""

_PREFIX = "assetbatch_"


def beside(mappings: TableMappings, keys: Iterable[str]) -> TableMappings:
    """Return the mappings with tables of our own names for these."""
    changed = {key: TableMapping(table=".".join(_place(key, mappings))) for key in keys}
    return msgspec.structs.replace(mappings, **changed)


def beside_before(catalogue: Catalogue, mappings: TableMappings) -> list[str]:
    """Return the tables that an earlier `init` has put beside the platform's: they stay there."""
    installed = catalogue.installed
    if installed is None:
        return []
    return [
        key
        for key in _unmapped(mappings)
        if key not in catalogue.new
        and (installed.table(key).schema, installed.table(key).name) == _place(key, mappings)
    ]


def unasked_tables(catalogue: Catalogue, mappings: TableMappings, assets: Sequence[Asset]) -> list[str]:
    """Return the tables that may stand beside the platform's: those that no earlier `init` has used and
    nobody has asked for. Who keeps minutes of an asset has asked for a table of them."""
    has_minutes = any(asset.bars is BarSize.ONE_MINUTE for asset in assets)
    return [
        key
        for key in _unmapped(mappings)
        if (catalogue.installed is None or key in catalogue.new) and not (key == "bars_1m" and has_minutes)
    ]


def left_alone(key: str, mappings: TableMappings, why: Refusal) -> Note:
    """Return the words for a table that is left alone."""
    theirs, ours = ".".join(wanted_place(key, mappings)), ".".join(_place(key, mappings))
    return Note(
        what=theirs,
        why=f"does not fit and is left alone, {ours} is used instead: {why.what} {why.why}",
        remedy=f"to use it: {why.remedy}; to settle it: {configured(key, f'table: {ours}')}",
    )


def _unmapped(mappings: TableMappings) -> list[str]:
    return [key for key in UNASKED if mappings.table(key) == TableMapping()]


def _place(key: str, mappings: TableMappings) -> tuple[str, str]:
    schema, name = wanted_place(key, mappings)
    return schema, _PREFIX + name
