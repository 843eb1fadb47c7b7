"""Makes a database ready: schema, provider, configured assets."""

from __future__ import annotations

import msgspec

from assetbatch.services import Services


class SetupReport(msgspec.Struct, frozen=True):
    """What `init` found and did: migrations applied now, symbols added, symbols that were there."""

    migrations: tuple[str, ...]
    added: tuple[str, ...]
    present: tuple[str, ...]


def initialise(services: Services) -> SetupReport:
    """Creates or upgrades the schema and registers all configured assets; safe to repeat and to race."""
    config = services.config
    with services.open_store(check_schema=False) as store:
        migrations = store.migrate()
        registered = store.register([*config.priority_assets, *config.secondary_assets])
    return SetupReport(tuple(migrations), tuple(registered.added), tuple(registered.present))
