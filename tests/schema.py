"""The schema as tests make it: without assets, or with more of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from assetbatch.config.tables import TableMappings
from assetbatch.database import Store
from assetbatch.domain.assets import Asset


class Made(NamedTuple):
    """Migrations applied, partitions added, whether a hypertable was made."""

    steps: list[str]
    partitions: list[str]
    hypertable: bool = False


class Registered(NamedTuple):
    """Symbols that were added, and that were there already."""

    added: list[str]
    present: list[str]


def migrate(store: Store, *, by_month: bool = False) -> Made:
    """What `init` does where no asset is configured."""
    done = store.initialise(TableMappings(), [], by_month=by_month)
    return Made(done.steps, done.partitions, done.hypertable)


def register(store: Store, assets: Iterable[Asset]) -> Registered:
    """What `init` does where these assets are configured."""
    done = store.initialise(TableMappings(), assets)
    return Registered(done.added, done.present)
