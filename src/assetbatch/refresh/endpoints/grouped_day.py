"""The grouped day: the bars of one New York day of a whole market."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from assetbatch.domain.calls import GroupedDayCall
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.formatting import plural
from assetbatch.domain.market_hours import start_of_day
from assetbatch.domain.refusals import RefusalKind
from assetbatch.refresh.endpoints.endpoint import ShownRestriction
from assetbatch.refresh.endpoints.prices import PricesEndpoint, symbols_by_ticker

if TYPE_CHECKING:
    from assetbatch.provider.answers import PricesAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.refresh.interpretation import Page


class GroupedDayEndpoint(PricesEndpoint[GroupedDayCall]):
    """Prices of a whole market, as of the end of a day."""

    restricts = Restriction.GROUPED

    def describe(self, call: GroupedDayCall) -> str:
        """Return the call in words."""
        return f"daily bars of all {call.asset_type} on {call.day}, for {plural(len(call.work), 'ticker')}"

    def send(
        self, provider: ProviderClient, call: GroupedDayCall, _page: Page | None, seconds: float
    ) -> PricesAnswer:
        """Make one request."""
        symbols = symbols_by_ticker(call.work)
        return provider.grouped_day(call.asset_type, call.day, symbols, deadline_seconds=seconds)

    def restriction(self, call: GroupedDayCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return the restriction of the endpoint, or that the day is not published yet."""
        if kind is RefusalKind.TODAY_NOT_YET:
            return ShownRestriction(Restriction.LAST_DAY, start_of_day(call.day + timedelta(days=1)))
        return super().restriction(call, kind, now_ms)
