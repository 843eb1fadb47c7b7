"""The previous day: the last complete day's bar of one asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.calls import PreviousDayCall
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.formatting import moment
from assetbatch.domain.market_hours import from_ms, last_midnight
from assetbatch.domain.models import DayBar, StoredAsset
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import Work
from assetbatch.refresh.endpoints.endpoint import Endpoint, ShownRestriction
from assetbatch.refresh.interpretation import Findings, Page, Result, nothing_came

if TYPE_CHECKING:
    from assetbatch.provider.answers import PreviousDay
    from assetbatch.provider.client import ProviderClient
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter


class PreviousDayEndpoint(Endpoint[PreviousDayCall]):
    """The price of one asset, if the plan has no bars of it within the day."""

    def describe(self, call: PreviousDayCall) -> str:
        """Return the call in words."""
        return f"previous day of {call.work[0].asset.polygon_ticker}"

    def send(
        self, provider: ProviderClient, call: PreviousDayCall, _page: Page | None, seconds: float
    ) -> PreviousDay | None:
        """Make one request."""
        asset = call.work[0].asset
        return provider.previous_day(asset.polygon_ticker, asset.symbol, deadline_seconds=seconds)

    def observe(
        self,
        call: PreviousDayCall,
        _answer: PreviousDay | None,
        _now_ms: int,
        learner: Learner,
        _reporter: Reporter,
    ) -> None:
        """Tell that the plan has the endpoint for this ticker."""
        asset = call.work[0].asset
        learner.answered(Restriction.PREVIOUS_DAY, asset.asset_type, asset.polygon_ticker)

    def findings(
        self,
        _call: PreviousDayCall,
        work: Sequence[Work],
        _page: Page | None,
        answer: PreviousDay | None,
        stored: Mapping[str, StoredAsset],
        _known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return the price of the day, or that there is none."""
        return previous_day_findings(work, answer, stored, now_ms)

    def restriction(self, _call: PreviousDayCall, kind: RefusalKind, _now_ms: int) -> ShownRestriction | None:
        """Return that the plan lacks the endpoint."""
        return ShownRestriction(Restriction.PREVIOUS_DAY) if kind is RefusalKind.NOT_IN_PLAN else None


def previous_day_findings(
    work: Sequence[Work], answer: PreviousDay | None, stored: Mapping[str, StoredAsset], now_ms: int
) -> Findings:
    """Take the bar of a day, and the price from it; there may be none.

    The provider stamps the bar with the start or the end of its day, so the day that has just ended may look
    like the next one. A later one is from the future.
    """
    if answer is None:
        return Findings(
            asked_ms=now_ms,
            results=[
                nothing_came(item, stored, f"the provider has no previous day of {item.asset.polygon_ticker}")
                for item in work
            ],
        )
    ended_ms, price = last_midnight(now_ms), answer.price
    if price.as_of_ms > ended_ms + DAY_MS + HOUR_MS:  # an hour more, when summer time ends
        error = f"the previous day is from the future ({moment(price.as_of_ms)})"
        return Findings(
            asked_ms=now_ms, results=[Result(work=item, status=Status.FAILED, error=error) for item in work]
        )
    price = msgspec.structs.replace(price, as_of_ms=min(price.as_of_ms, ended_ms))
    return Findings(
        asked_ms=now_ms,
        results=[Result(work=item, status=Status.SUCCESS, price=price) for item in work],
        days={item.asset.polygon_ticker: _ended(answer.bar, now_ms) for item in work},
    )


def _ended(bar: DayBar, now_ms: int) -> DayBar:
    """Return the bar under the day before if its own has not ended yet: by its moment it is that of the next
    day. Days end in UTC (currencies) or later."""
    today = from_ms(now_ms).date()
    return msgspec.structs.replace(bar, day=min(bar.day, today - timedelta(days=1)))
