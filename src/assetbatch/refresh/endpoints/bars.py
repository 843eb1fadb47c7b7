"""The bars: the 5-minute bars of one asset, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from assetbatch.domain.calls import BarsCall
from assetbatch.domain.entitlements import UNPUBLISHED_DAYS, Entitlements, Restriction
from assetbatch.domain.formatting import moment
from assetbatch.domain.market_hours import day_of, last_midnight, start_of_day
from assetbatch.domain.models import CoveredInterval, StoredAsset
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import DAY_MS
from assetbatch.domain.work import PAGE_MS, Work
from assetbatch.refresh.endpoints.endpoint import Endpoint, ShownRestriction
from assetbatch.refresh.interpretation import CONSEQUENCES, Findings, Page, bars_findings, failed_range

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.provider.refusals import Refusal
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter

HISTORY_YEARS = 2
"""Years of history of a plan that refuses an older start (the provider's free plan)."""


class BarsEndpoint(Endpoint[BarsCall]):
    """Bars of one asset, from which its price follows too."""

    shows_today = True

    def describe(self, call: BarsCall) -> str:
        """Return the call in words."""
        ticker = call.work[0].asset.polygon_ticker
        return f"5-minute bars of {ticker}, {moment(call.start_ms)} to {moment(call.end_ms + 1)}"

    def send(self, provider: ProviderClient, call: BarsCall, page: Page | None, seconds: float) -> BarsAnswer:
        """Make one request, for the first page or for `page`."""
        if page:
            return provider.next_page(page.answer, deadline_seconds=seconds)
        ticker = call.work[0].asset.polygon_ticker
        return provider.bars(ticker, call.start_ms, call.end_ms, deadline_seconds=seconds)

    def observe(
        self, call: BarsCall, answer: BarsAnswer, now_ms: int, learner: Learner, reporter: Reporter
    ) -> None:
        """Tell how new the bars are and whether the last day is published. Report bars that cannot be
        true."""
        if answer.refused or answer.unordered:
            reporter.odd_bars(call.work[0].asset.symbol, answer.refused, answer.unordered)
        learner.saw_bars(call, answer, now_ms)
        learner.note_unpublished_day(call, answer, now_ms)

    def findings(
        self,
        call: BarsCall,
        work: Sequence[Work],
        page: Page | None,
        answer: BarsAnswer,
        stored: Mapping[str, StoredAsset],
        known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return the bars, the price that follows from them, and what the coverage learns."""
        return bars_findings(call, work, page, answer, stored, known, now_ms)

    def restriction(self, call: BarsCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return what the refused range shows: the running day, the last day, the history or all bars."""
        match kind:
            case RefusalKind.TODAY_NOT_YET if call.end_ms >= last_midnight(now_ms):
                return ShownRestriction(Restriction.TODAY)
            case RefusalKind.TODAY_NOT_YET if now_ms - call.end_ms < (UNPUBLISHED_DAYS + 1) * DAY_MS:
                day_after = day_of(call.end_ms) + timedelta(days=1)
                return ShownRestriction(Restriction.LAST_DAY, start_of_day(day_after))
            case RefusalKind.TIMEFRAME if now_ms - call.start_ms <= PAGE_MS + 7 * DAY_MS:
                return ShownRestriction(Restriction.INTRADAY)
            case RefusalKind.TIMEFRAME:  # a page within the history of the plan concerns only the ticker
                edge_ms = history_edge(call, now_ms)
                return ShownRestriction(Restriction.HISTORY, edge_ms) if edge_ms else None
            case RefusalKind.NOT_IN_PLAN:
                return ShownRestriction(Restriction.BARS)
            case _:
                return None

    def refused_intervals(
        self, call: BarsCall, page: Page | None, refusal: Refusal, now_ms: int
    ) -> Sequence[CoveredInterval]:
        """Return the range of the call, or what is left of it after some pages."""
        state = CONSEQUENCES[refusal.kind].span
        return failed_range(call, page, state, refusal.message, now_ms) if state else ()


def history_edge(call: BarsCall, now_ms: int) -> int:
    """Return where the history of the plan is assumed to begin, after a range was refused as too old.

    That is two years ago if the range begins before that, or else a day later (the provider does not say how
    it counts). Return 0 if the range begins later.
    """
    today = day_of(now_ms)
    if (today.month, today.day) == (2, 29):
        today -= timedelta(days=1)
    day = today.replace(year=today.year - HISTORY_YEARS)
    for edge_ms in (start_of_day(day), start_of_day(day + timedelta(days=1))):
        if call.start_ms < edge_ms:
            return edge_ms
    return 0
