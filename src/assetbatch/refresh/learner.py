"""What answers and refusals teach of the plan: remembered for all processes of the key."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    PricesCall,
    SnapshotCall,
    asset_types,
)
from assetbatch.domain.entitlements import (
    UNPUBLISHED_DAYS,
    Entitlements,
    KnownRestriction,
    Observation,
    Restriction,
)
from assetbatch.domain.market_hours import day_of, is_open, last_midnight, open_ms_between, start_of_day
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import PAGE_MS
from assetbatch.errors import RedisError
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.interpretation import FUTURE_MS, ClassRefusal
from assetbatch.refresh.reporter import Reporter
from assetbatch.state.entitlement_store import EntitlementStore

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer, PricesAnswer

HISTORY_YEARS = 2
"""Where a plan's history begins, if it refuses an older start (the provider's free plan)."""


def lack_shown_by(call: Call, kind: RefusalKind, now_ms: int) -> Restriction | None:
    """What a refused call shows the plan to lack; None where it is the asset's own matter."""
    if isinstance(call, PricesCall):
        if kind is RefusalKind.TODAY_NOT_YET and isinstance(call, GroupedDayCall):
            return Restriction.LAST_DAY
        return _PRICES_LACKS[type(call)] if kind in _NOT_THIS_WAY else None
    if isinstance(call, PreviousDayCall):
        return Restriction.PREVIOUS_DAY if kind is RefusalKind.NOT_IN_PLAN else None
    match kind:
        case RefusalKind.TODAY_NOT_YET if call.end_ms >= last_midnight(now_ms):
            return Restriction.TODAY
        case RefusalKind.TODAY_NOT_YET if now_ms - call.end_ms < (UNPUBLISHED_DAYS + 1) * DAY_MS:
            return Restriction.LAST_DAY
        case RefusalKind.TIMEFRAME if now_ms - call.start_ms <= PAGE_MS + 7 * DAY_MS:
            return Restriction.INTRADAY
        case RefusalKind.TIMEFRAME:  # a page within the history that plans have is the ticker's own matter
            return Restriction.HISTORY if history_edge(call, now_ms) else None
        case RefusalKind.NOT_IN_PLAN:
            return Restriction.BARS
        case _:
            return None


_PRICES_LACKS = {
    SnapshotCall: Restriction.SNAPSHOT,
    MarketSnapshotCall: Restriction.MARKET_SNAPSHOT,
    GroupedDayCall: Restriction.GROUPED,
}

_NOT_THIS_WAY = (
    RefusalKind.NOT_IN_PLAN,
    RefusalKind.TIMEFRAME,
    RefusalKind.TODAY_NOT_YET,
    RefusalKind.UNKNOWN_TICKER,
)
"""Refusals of a call for many tickers as a whole: none of them is to blame, they are asked in another way."""


def edge_of(lack: Restriction, call: Call, now_ms: int) -> int:
    """The moment that belongs to a lack: what starts before it is refused (HISTORY), or the midnight up to
    which nothing is published yet (LAST_DAY); 0 for others."""
    match lack, call:
        case Restriction.LAST_DAY, GroupedDayCall(_, _, day):
            return start_of_day(day + timedelta(days=1))
        case Restriction.LAST_DAY, BarsCall():
            return start_of_day(day_of(call.end_ms) + timedelta(days=1))
        case Restriction.HISTORY, BarsCall():
            return history_edge(call, now_ms)
        case _:
            return 0


def history_edge(call: BarsCall, now_ms: int) -> int:
    """Where the plan's history is taken to begin after a range was refused as too old: two years ago if the
    range began before that, or else a day later (nobody says how the provider counts); 0 if it began
    later."""
    today = day_of(now_ms)
    if (today.month, today.day) == (2, 29):
        today -= timedelta(days=1)
    day = today.replace(year=today.year - HISTORY_YEARS)
    for edge_ms in (start_of_day(day), start_of_day(day + timedelta(days=1))):
        if call.start_ms < edge_ms:
            return edge_ms
    return 0


class PlanLearner:
    """Keeps what is known of the plan up to date, here and in the memory that all processes share.

    `now_ms` is the moment for which a call was planned: what it teaches holds from then on, so that the
    same plan can be made again with it. Where the memory cannot be written, that is kept in `redis_error`:
    the answer has to be stored first.
    """

    def __init__(self, known: Entitlements, memory: EntitlementStore, reporter: Reporter) -> None:
        self._known = known
        self._memory = memory
        self._reporter = reporter
        self.redis_error: RedisError | None = None
        self.revision = 0
        """How often something was learned that may change what is to be asked."""

    def saw_prices(self, call: PricesCall, answer: PricesAnswer, now_ms: int) -> None:
        """How new the prices of each class were."""
        for asset_type in asset_types(call):
            items = [item for item in call.work if item.asset.asset_type is asset_type]
            shown = [
                (price.as_of_ms, item.asset)
                for item in items
                if (price := answer.prices.get(item.asset.polygon_ticker))
                and price.as_of_ms <= now_ms + FUTURE_MS
            ]
            if shown:
                newest_ms, asset = max(shown, key=lambda pair: pair[0])
                self._saw(asset_type, newest_ms, now_ms, market_open=is_open(asset.market, now_ms))

    def saw_bars(self, call: BarsCall, answer: BarsAnswer, now_ms: int) -> None:
        """How new the bars were, if there were any; and that this class has some."""
        asset = call.work[0].asset
        if not answer.bars:
            return
        for lack in (Restriction.BARS, Restriction.INTRADAY):
            self.answered(lack, asset.asset_type, asset.polygon_ticker)
        newest_ms = min(answer.bars[-1].end_ms, call.end_ms + 1)
        reaches_now = call.end_ms + 1 >= now_ms and answer.next_url is None
        market_open = (
            reaches_now and is_open(asset.market, now_ms) and is_open(asset.market, now_ms - HOUR_MS)
        )
        self._saw(asset.asset_type, newest_ms, now_ms, market_open=market_open)

    def _saw(self, asset_type: AssetType, newest_ms: int, now_ms: int, *, market_open: bool) -> None:
        sighting = self._known.saw(asset_type, newest_ms, now_ms, market_open=market_open)
        if sighting:
            self._keep(sighting)

    def note_unpublished_day(self, call: BarsCall, answer: BarsAnswer, now_ms: int) -> None:
        """Where an answer up to the last midnight has nothing of the day before it, nor had any other of
        this class, that day is taken for not published yet. What could not be used may have been of it."""
        asset = call.work[0].asset
        end_ms = call.end_ms + 1
        if end_ms != last_midnight(now_ms) or answer.next_url is not None or answer.refused:
            return
        day_ms = last_midnight(end_ms - 1)
        shown = self._known.newest_ms(asset.asset_type) > day_ms
        if shown or open_ms_between(asset.market, day_ms, end_ms) < HOUR_MS:
            return
        message = f"the answer for {asset.polygon_ticker} has nothing of {day_of(day_ms)}"
        self._remember(
            Restriction.LAST_DAY, asset.asset_type, message, asset.polygon_ticker, now_ms, edge_ms=end_ms
        )

    def refused(self, call: Call, refusal: Refusal, now_ms: int) -> bool:
        """Remembers what the plan lacks; False where the refusal teaches nothing of it."""
        lack = lack_shown_by(call, refusal.kind, now_ms)
        if lack is None:
            return False
        edge_ms = edge_of(lack, call, now_ms)
        for asset_type in asset_types(call):
            ticker = next(i.asset.polygon_ticker for i in call.work if i.asset.asset_type is asset_type)
            self._remember(lack, asset_type, refusal.message, ticker, now_ms, edge_ms=edge_ms)
        return True

    def class_refused(self, call: PricesCall, refused: ClassRefusal, now_ms: int) -> None:
        """Remember that all tickers of a class were refused within a good answer; a single one for itself."""
        lack = lack_shown_by(call, RefusalKind.NOT_IN_PLAN, now_ms)
        assert lack is not None, "a call for many prices is refused as a whole"
        self._remember(
            lack,
            refused.asset_type,
            refused.message,
            refused.ticker or "",
            now_ms,
            general=refused.ticker is None,
        )

    def _remember(
        self,
        lack: Restriction,
        asset_type: AssetType,
        message: str,
        ticker: str,
        now_ms: int,
        *,
        edge_ms: int = 0,
        general: bool = True,
    ) -> None:
        expected = self._known.expects(lack, asset_type)
        refusal = self._known.refused(
            lack, asset_type, message, now_ms, ticker=ticker, edge_ms=edge_ms, general=general
        )
        self._keep(refusal)
        self._reporter.learned(refusal, expected=expected)

    def answered(self, lack: Restriction, asset_type: AssetType, ticker: str) -> None:
        """An answer has shown that a lack is none of this ticker (any more)."""
        left = self._known.answered(lack, asset_type, ticker)
        if left:
            self._keep(left)

    def _keep(self, learned: KnownRestriction | Observation) -> None:
        self.revision += 1
        try:
            self._memory.remember(learned)
        except RedisError as error:
            self.redis_error = error
