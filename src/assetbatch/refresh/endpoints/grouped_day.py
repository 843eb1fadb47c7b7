"""The grouped day: the bars of one New York day of a whole market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.asset_classes import class_of_type
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
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter


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

    def observe(
        self,
        call: GroupedDayCall,
        answer: PricesAnswer,
        now_ms: int,
        learner: Learner,
        reporter: Reporter,
    ) -> None:
        """Tell how new the prices are, and of stocks whether the day is published."""
        super().observe(call, answer, now_ms, learner, reporter)
        if class_of_type(call.asset_type).has_trading_days:
            learner.saw_day(call, answer, now_ms)

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
        """Return the price of each asset, and that the day has come if the answer is of use; nothing if it is
        not published yet, so that the day before is asked for."""
        if not answer.days and known.is_unpublished(call.asset_type, _end_of(call), now_ms):
            return Findings(asked_ms=now_ms)
        from assetbatch.domain.market_days import is_useful  # few cycles ask for a whole market

        found = super().findings(call, work, page, answer, stored, known, now_ms)
        if not is_useful(len(answer.days), answer.useless_days):
            return found
        day = MarketDay(call.asset_type.value, call.day, len(answer.days))
        return msgspec.structs.replace(found, market_day=day)

    def restriction(self, call: GroupedDayCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return the restriction of the endpoint, or that the day is not published yet."""
        if kind is RefusalKind.TODAY_NOT_YET:
            return ShownRestriction(Restriction.LAST_DAY, _end_of(call))
        return super().restriction(call, kind, now_ms)


def _end_of(call: GroupedDayCall) -> int:
    return start_of_day(call.day + timedelta(days=1))
