"""The holidays and early closes of the stock exchange, once a week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assetbatch.domain.formatting import plural
from assetbatch.domain.market_hours import day_of, set_listed_days
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.nyse import learn
from assetbatch.domain.references import Asked, Reference, ReferenceKind, is_due
from assetbatch.domain.units import DAY_MS
from assetbatch.refresh.references.handler import ReferenceHandler, Stored

if TYPE_CHECKING:
    from assetbatch.provider.answers import ListedDays
    from assetbatch.provider.client import ProviderClient
    from assetbatch.services import Services

EVERY_MS = 7 * DAY_MS
"""How often the provider's list is asked for."""

HOLIDAYS = Reference(ReferenceKind.HOLIDAYS)


class HolidaysHandler(ReferenceHandler["ListedDays"]):
    """What the provider lists is laid over the computed days, in all processes of an installation."""

    def due(
        self,
        services: Services,
        _stored: Mapping[str, StoredAsset],
        asked: Mapping[str, Asked],
        now_ms: int,
    ) -> Sequence[Reference]:
        """Return the list, if an asset follows the exchange and the last answer is a week old."""
        is_wanted = self.is_wanted(services, HOLIDAYS)
        return [HOLIDAYS] if is_wanted and is_due(asked.get(HOLIDAYS.name), EVERY_MS, now_ms) else []

    def is_wanted(self, services: Services, _reference: Reference) -> bool:
        """Return whether an asset follows the exchange."""
        return services.config.follows_exchange

    def describe(self, _reference: Reference) -> str:
        """Return the call in words."""
        return "holidays of the stock exchange"

    def send(
        self, _services: Services, provider: ProviderClient, _reference: Reference, seconds: float
    ) -> ListedDays:
        """Make one request."""
        return provider.holidays(deadline_seconds=seconds)

    def store(self, services: Services, _reference: Reference, answer: ListedDays, now_ms: int) -> Stored:
        """Keep the listed days, and those that are over or that the answer does not reach."""
        known = services.reference_store.special_days()
        days = learn(known, answer.days, day_of(now_ms))
        services.reference_store.keep_special_days(days)
        set_listed_days(days)
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(answer.refused.items()))
        words = f"{plural(len(answer.days), 'day')} listed"
        return Stored(f"{words}; not used: {refused}" if refused else words)
