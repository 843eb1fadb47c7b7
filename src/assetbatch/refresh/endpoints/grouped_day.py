"""The grouped day: the bars of one New York day of a whole market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.calls import GroupedDayCall
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.formatting import plural
from assetbatch.domain.market_hours import start_of_day
from assetbatch.domain.models import MarketDay, StoredAsset
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.work import Work
from assetbatch.refresh.endpoints.endpoint import ShownRestriction
from assetbatch.refresh.endpoints.prices import PricesEndpoint, symbols_by_ticker
from assetbatch.refresh.interpretation import Findings, Page

if TYPE_CHECKING:
    from assetbatch.provider.answers import PricesAnswer
    from assetbatch.provider.client import ProviderClient


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

    def findings(
        self,
        call: GroupedDayCall,
        work: Sequence[Work],
        page: Page | None,
        answer: PricesAnswer,
        stored: Mapping[str, StoredAsset],
        known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return the price of each asset, and that the day has come if it has a bar."""
        found = super().findings(call, work, page, answer, stored, known, now_ms)
        if not answer.days:
            return found
        day = MarketDay(call.asset_type.value, call.day, len(answer.days))
        return msgspec.structs.replace(found, market_day=day)

    def restriction(self, call: GroupedDayCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return the restriction of the endpoint, or that the day is not published yet."""
        if kind is RefusalKind.TODAY_NOT_YET:
            return ShownRestriction(Restriction.LAST_DAY, start_of_day(call.day + timedelta(days=1)))
        return super().restriction(call, kind, now_ms)
