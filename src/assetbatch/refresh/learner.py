"""Learn from answers and refusals what the plan has, and remember it for all processes of the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.calls import BarsCall, Call, GroupedDayCall, PricesCall, asset_types
from assetbatch.domain.entitlements import (
    UNPUBLISHED_DAYS,
    Entitlements,
    KnownRestriction,
    Observation,
    Restriction,
)
from assetbatch.domain.market_hours import day_of, days_span, is_open, last_midnight, open_ms_between
from assetbatch.domain.pages import PageLength, PageLesson
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.errors import RedisError
from assetbatch.refresh.endpoints.endpoint import ShownRestriction
from assetbatch.refresh.interpretation import FUTURE_MS, ClassRefusal
from assetbatch.refresh.reporter import Reporter
from assetbatch.state.entitlement_store import EntitlementStore

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer, PricesAnswer


DAYS_BELIEVED_MS = 5 * DAY_MS
"""How long it is believed that the plan has days of a whole market, once it has shown one: over a weekend
with a holiday."""

DAY_DOUBTED_MS = 2 * HOUR_MS
"""How old a day may be whose refusal is not believed then."""


class Learner:
    """Keeps the entitlements up to date, here and in the store that all processes share.

    `now_ms` is the moment for which a call was chosen. What the call shows holds from then on, so that the
    same choice can be made again with it. If the store cannot be written, `redis_error` keeps why: the answer
    has to be stored first.
    """

    def __init__(self, known: Entitlements, memory: EntitlementStore, reporter: Reporter) -> None:
        self._known = known
        self._memory = memory
        self._reporter = reporter
        self.redis_error: RedisError | None = None
        self.revision = 0
        """The version of the entitlements: it rises when something is learned that may change the calls."""

    def saw_prices(self, call: PricesCall, answer: PricesAnswer, now_ms: int) -> None:
        """Observe how new the prices of each class are, and whether they are said to be delayed."""
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
                said = (answer.delayed.get(one.polygon_ticker) for _, one in shown if answer.delayed)
                self._saw(
                    asset_type,
                    newest_ms,
                    now_ms,
                    market_open=is_open(asset.market, now_ms),
                    delayed=next((word for word in said if word is not None), None),
                )

    def saw_bars(self, call: BarsCall, answer: BarsAnswer, now_ms: int) -> None:
        """Observe how new the bars are, if there are any, and that the plan has bars of this class."""
        asset = call.work[0].asset
        if not answer.bars:
            return
        for restriction in (Restriction.BARS, Restriction.INTRADAY):
            self.answered(restriction, asset.asset_type, asset.polygon_ticker)
        newest_ms = min(answer.bars[-1].t_ms + answer.size_ms, call.end_ms + 1)
        reaches_now = call.end_ms + 1 >= now_ms and answer.next_url is None
        market_open = (
            reaches_now and is_open(asset.market, now_ms) and is_open(asset.market, now_ms - HOUR_MS)
        )
        self._saw(asset.asset_type, newest_ms, now_ms, market_open=market_open)

    def _saw(
        self,
        asset_type: AssetType,
        newest_ms: int,
        now_ms: int,
        *,
        market_open: bool,
        delayed: bool | None = None,
    ) -> None:
        observation = self._known.saw(asset_type, newest_ms, now_ms, market_open=market_open, delayed=delayed)
        if observation:
            self._keep(observation)

    def saw_day(self, call: GroupedDayCall, answer: PricesAnswer, now_ms: int) -> None:
        """Observe that the provider has the whole market of a day, or that it has nothing of the last day yet
        on which the market was open.

        An answer without most of what it was asked for may not be whole. Elements that could not be used may
        be of that day.
        """
        asset_type, asset = call.asset_type, call.work[0].asset
        start_ms, end_ms = days_span(call.day, call.day)
        if answer.days:
            is_whole = 2 * len(answer.prices) >= len(call.work)
            observation = self._known.saw_day(asset_type, end_ms, now_ms) if is_whole else None
            if observation:
                self._keep(observation)
            return
        is_last = now_ms - end_ms < UNPUBLISHED_DAYS * DAY_MS and end_ms == self._known.last_day_end_ms(
            asset_type, now_ms
        )
        shown = answer.refused or self._known.newest_ms(asset_type) > start_ms
        if is_last and not shown and open_ms_between(asset.market, start_ms, end_ms) >= HOUR_MS:
            message = f"the answer for all {asset_type} has nothing of {call.day}"
            ticker = asset.polygon_ticker
            self._remember(Restriction.LAST_DAY, asset_type, message, ticker, now_ms, edge_ms=end_ms)

    def note_unpublished_day(self, call: BarsCall, answer: BarsAnswer, now_ms: int) -> None:
        """Remember the day before the last midnight as not published yet, if the answer up to that midnight
        has nothing of it and no other answer of this class had. Elements that could not be used may be of
        that day: then nothing is remembered."""
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

    def refused(self, call: Call, shown: ShownRestriction, message: str, now_ms: int) -> None:
        """Remember what a refused call shows the plan to lack, for each class of its assets."""
        if isinstance(call, GroupedDayCall) and self._is_doubtful(call, now_ms):
            shown = ShownRestriction(Restriction.LAST_DAY, days_span(call.day, call.day)[1])
        for asset_type in asset_types(call):
            ticker = next(i.asset.polygon_ticker for i in call.work if i.asset.asset_type is asset_type)
            self._remember(shown.restriction, asset_type, message, ticker, now_ms, edge_ms=shown.edge_ms)

    def found_cleared(self, ticker: str) -> None:
        """Take into account that the snapshot of a ticker is cleared. No other process needs to know."""
        self._known.found_cleared(ticker)
        self.revision += 1

    def _is_doubtful(self, call: GroupedDayCall, now_ms: int) -> bool:
        """Return whether the refusal of a young day contradicts the days that were shown lately.

        It is then taken for a day that is not published yet: without grouped days each of thousands of stocks
        would cost a call of its own.
        """
        shown_ms = self._known.whole_day_at_ms(call.asset_type, 0)
        if shown_ms is None or now_ms - shown_ms > DAYS_BELIEVED_MS:
            return False
        return now_ms - days_span(call.day, call.day)[1] < DAY_DOUBTED_MS

    def class_refused(self, restriction: Restriction, refused: ClassRefusal, now_ms: int) -> None:
        """Remember that all tickers of a class were refused within a good answer, or a single one for
        itself."""
        self._remember(
            restriction,
            refused.asset_type,
            refused.message,
            refused.ticker or "",
            now_ms,
            general=refused.ticker is None,
        )

    def _remember(
        self,
        restriction: Restriction,
        asset_type: AssetType,
        message: str,
        ticker: str,
        now_ms: int,
        *,
        edge_ms: int = 0,
        general: bool = True,
    ) -> None:
        expected = self._known.expects(restriction, asset_type)
        refusal = self._known.refused(
            restriction, asset_type, message, now_ms, ticker=ticker, edge_ms=edge_ms, general=general
        )
        self._keep(refusal)
        self._reporter.learned(refusal, expected=expected)

    def answered(self, restriction: Restriction, asset_type: AssetType, ticker: str) -> None:
        """Remember that an answer has disproved a restriction for this ticker."""
        left = self._known.answered(restriction, asset_type, ticker)
        if left:
            self._keep(left)

    def learn_page(self, lesson: PageLesson, now_ms: int) -> None:
        """Remember what an answer shows of longer pages."""
        learned = self._known.learn_page(lesson, now_ms)
        if learned:
            self._keep(learned)

    def _keep(self, learned: KnownRestriction | Observation | PageLength) -> None:
        self.revision += 1
        try:
            self._memory.remember(learned)
        except RedisError as error:
            self.redis_error = error
