"""Makes a database ready: schema, provider, configured assets."""

from __future__ import annotations

import msgspec

from assetbatch.services import Services

MIGRATION_SECONDS = 100.0
"""The longest that the schema's transaction may take: bars may have to be moved into their months."""


class SetupReport(msgspec.Struct, frozen=True):
    """What `init` found and did: migrations applied now, symbols added, symbols that were there, partitions
    of the table of bars added now, and whether that became a hypertable."""

    migrations: tuple[str, ...]
    added: tuple[str, ...]
    present: tuple[str, ...]
    partitions: tuple[str, ...] = ()
    hypertable: bool = False


def initialise(services: Services, *, by_month: bool = False) -> SetupReport:
    """Creates or upgrades the schema, with bars `by_month` if so told, and registers all configured assets;
    safe to repeat and to race."""
    config = services.config
    with services.open_store(check_schema=False, within_seconds=MIGRATION_SECONDS) as store:
        migrated = store.migrate(by_month=by_month)
        registered = store.register([*config.priority_assets, *config.secondary_assets])
    return SetupReport(
        tuple(migrated.steps),
        tuple(registered.added),
        tuple(registered.present),
        tuple(migrated.partitions),
        migrated.hypertable,
    )
