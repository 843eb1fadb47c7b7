"""`init`: make a database ready with its schema, the provider and the configured assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.formatting import plural
from assetbatch.domain.rules import RIGHT_HINT
from assetbatch.services import Services

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.database import Store
    from assetbatch.database.adoption import Plan
    from assetbatch.database.shape import Concern

MIGRATION_SECONDS = 100.0
"""Maximum time of the transaction of the schema: it may have to move bars into their months."""


class SetupReport(msgspec.Struct, frozen=True):
    """What `init` has found and done."""

    migrations: tuple[str, ...]
    """The migrations that were applied now."""
    added: tuple[str, ...]
    """The symbols that were added now."""
    present: tuple[str, ...]
    """The symbols that were there."""
    partitions: tuple[str, ...] = ()
    """The partitions of the table of bars that were added now."""
    hypertable: bool = False
    """Whether the table of bars became a hypertable."""
    concerns: tuple[str, ...] = ()
    """What the tables will refuse or spoil for the configured assets, or do not have, each with what to
    do."""
    views: tuple[str, ...] = ()
    """The views of larger bars that were made or replaced now."""
    dropped_views: tuple[str, ...] = ()
    """The views of larger bars that are not configured any more, and were dropped now."""
    taken: tuple[str, ...] = ()
    """What of the tables of a platform is used as it is."""
    rules: tuple[RuleReport, ...] = ()
    """What was found of the members of rules."""


class RuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the members of one rule: how many there are now, how many of them are new, how many
    are gone, and whether the provider's whole list was seen. `error` is why it was not."""

    rule: str
    members: int
    new: int
    gone: int
    calls: int
    is_complete: bool
    error: str | None = None
    hint: str | None = None
    """What to change, as the members cannot be kept like this."""

    @property
    def words(self) -> str:
        """The same for people."""
        found = f"{plural(self.members, 'member')} ({self.new:,} new, {self.gone:,} gone), "
        found += plural(self.calls, "call")
        if self.is_complete:
            hint = self.hint if self.members else f"nothing that the provider lists fits: {RIGHT_HINT}"
            return f"{found} (hint: {hint})" if hint else found
        why = f": {self.error}" if self.error else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{found}; not all are looked up yet{why} (run-queue goes on with it){hint}"


def initialise(services: Services, *, by_month: bool = False, anew: bool = True) -> SetupReport:
    """Create or upgrade the schema, with bars `by_month` if that is set, and register all configured assets.

    Safe to repeat, and to run several times at once. If `anew`, what the database has refused is due again,
    and stocks that have ended are asked for again. Raise SchemaRefusedError, with nothing changed, if the
    tables of a platform cannot be used.
    """
    config = services.config
    with services.open_store(check_schema=False, within_seconds=MIGRATION_SECONDS) as store:
        done = store.initialise(
            config.database.tables, _every_asset(config), by_month=by_month, derived=config.derived
        )
        if anew:
            store.forget_rejections()
        found = look_at(store, config.assets)
    return SetupReport(
        tuple(done.steps),
        tuple(done.added),
        tuple(done.present),
        tuple(done.partitions),
        done.hypertable,
        (
            *(str(warning) for warning in (*done.plan.warnings, *done.views.warnings)),
            *(f"{concern.message} (hint: {concern.hint})" for concern in found),
        ),
        tuple(done.views.created),
        tuple(done.views.dropped),
        tuple(str(note) for note in done.plan.taken),
    )


def planned(services: Services, *, by_month: bool = False) -> Plan:
    """Return what `initialise` would do. Change nothing."""
    config = services.config
    with services.open_store(check_schema=False, within_seconds=MIGRATION_SECONDS) as store:
        return store.plan(
            config.database.tables, _every_asset(config), by_month=by_month, derived=config.derived
        )


def _every_asset(config: Config) -> list[Asset]:
    return [*config.priority_assets, *config.secondary_assets]


def look_at(store: Store, assets: Iterable[Asset]) -> list[Concern]:
    """Return what the tables mean for these assets, before anything is stored of them or after."""
    from assetbatch.database.shape import concerns

    wanted = list(assets)
    now_ms = store.facts().now_ms
    in_minutes = [asset for asset in wanted if asset.bars is BarSize.ONE_MINUTE]
    shapes = [
        (store.shape([asset.symbol for asset in some], now_ms, of), some)
        for of, some in (("bars", wanted), ("bars_1m", in_minutes))
        if some
    ]

    def found(prices: Mapping[str, float]) -> list[Concern]:
        return [one for shape, some in shapes for one in concerns(shape, some, prices, now_ms)]

    without_prices = found({})
    if any(concern.stops_all for concern in without_prices):  # a column that is read may be missing
        return without_prices
    stored = store.load([asset.symbol for asset in wanted])
    return found({symbol: of.last_price for symbol, of in stored.items() if of.last_price is not None})
