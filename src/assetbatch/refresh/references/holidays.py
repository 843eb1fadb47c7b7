"""The holidays and early closes of the stock exchange, once a week; daily while one may be lifted soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from assetbatch.domain import nyse
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.formatting import plural
from assetbatch.domain.market_hours import day_of, from_ms, set_listed_days, special_day
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.references import Asked, Reference, ReferenceKind, is_due
from assetbatch.domain.units import DAY_MS
from assetbatch.refresh.references.handler import ReferenceHandler, Stored

if TYPE_CHECKING:
    from assetbatch.provider.answers import ListedDays
    from assetbatch.provider.client import ProviderClient
    from assetbatch.services import Services

EVERY_MS = 7 * DAY_MS
"""How often the provider's list is asked for."""

NEAR_EVERY_MS = DAY_MS
"""How often it is asked for while a listed day is near that follows from no rule."""

NEAR_DAYS = 3
"""How many days ahead a day is near."""

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
        """Return the list, if an asset follows the exchange and the last answer is a week old; a day, while
        a day is near on which only the list says that the exchange is closed, or not."""
        if not self.is_wanted(services, HOLIDAYS):
            return []
        every_ms = NEAR_EVERY_MS if _may_be_lifted(day_of(now_ms)) else EVERY_MS
        return [HOLIDAYS] if is_due(asked.get(HOLIDAYS.name), every_ms, now_ms) else []

    def is_wanted(self, services: Services, _reference: Reference) -> bool:
        """Return whether an asset follows the exchange."""
        return services.config.follows_exchange

    def send(
        self, _services: Services, provider: ProviderClient, _reference: Reference, seconds: float
    ) -> ListedDays:
        """Make one request."""
        return provider.holidays(deadline_seconds=seconds)

    def store(self, services: Services, _reference: Reference, answer: ListedDays, now_ms: int) -> Stored:
        """Keep the listed days, and those that are over or that the answer does not reach."""
        known = services.reference_store.special_days()
        days = nyse.learn(known, answer.days, from_ms(now_ms).date())
        services.reference_store.keep_special_days(days)
        set_listed_days(days)
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(answer.refused.items()))
        words = f"{plural(len(answer.days), 'day')} listed"
        return Stored(f"{words}; not used: {refused}" if refused else words)


def _may_be_lifted(today: date) -> bool:
    """Return whether a listed day is near that is another than the computed one."""
    near = (today + timedelta(days=ahead) for ahead in range(NEAR_DAYS + 1))
    return any(special_day(Market.STOCK, day) != nyse.special_day(day) for day in near)
