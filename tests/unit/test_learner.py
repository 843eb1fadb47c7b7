"""What answers and refusals teach of the plan, and what of it is remembered."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import BarsCall, Call, GroupedDayCall, SnapshotCall, choose_calls
from assetbatch.domain.entitlements import (
    Entitlements,
    KnownRestriction,
    Observation,
    Restriction,
)
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import BAR_MS, Bar, Price
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import Work
from assetbatch.errors import RedisError
from assetbatch.provider.answers import BarsAnswer, PricesAnswer
from assetbatch.refresh.endpoints import endpoint_of
from assetbatch.refresh.interpretation import ClassRefusal
from assetbatch.refresh.learner import Learner
from assetbatch.refresh.reporter import Reporter
from assetbatch.state.entitlement_store import EntitlementStore

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
ETHUSD = Asset(symbol="ETHUSD", polygon_ticker="X:ETHUSD", asset_type=AssetType.CRYPTO)
AAPL = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
MSFT = Asset(symbol="MSFT", polygon_ticker="MSFT", asset_type=AssetType.STOCKS)
NDX = Asset(symbol="NDX", polygon_ticker="I:NDX", asset_type=AssetType.INDICES)
MIDNIGHT = to_ms(datetime(2026, 11, 18, tzinfo=ZoneInfo("America/New_York")))
NOW = MIDNIGHT + 10 * HOUR_MS
YESTERDAY = BarsCall((Work(BTCUSD),), MIDNIGHT - DAY_MS, MIDNIGHT - 1)
SNAPSHOT = SnapshotCall((Work(EURUSD), Work(BTCUSD)))
CRYPTO = AssetType.CRYPTO


class Recorder:
    """The memory and the reporter in one: keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[KnownRestriction | Observation] = []
        self.said: list[tuple[Restriction, bool]] = []
        self.error: RedisError | None = None

    def remember(self, learned: KnownRestriction | Observation) -> None:
        if self.error:
            raise self.error
        self.kept.append(learned)

    def learned(self, refusal: KnownRestriction, *, expected: bool) -> None:
        self.said.append((refusal.restriction, expected))


class Taught:
    """A learner with what it knows and what it has told others."""

    def __init__(self, known: Entitlements | None = None) -> None:
        self.known = known or Entitlements(end_of_day=False)
        self.others = Recorder()
        self.learner = Learner(
            self.known, cast("EntitlementStore", self.others), cast("Reporter", self.others)
        )

    def refused(self, call: Call, kind: RefusalKind, message: str) -> None:
        """As the engine does with a refusal that shows a restriction."""
        shown = endpoint_of(call).restriction(call, kind, NOW)
        assert shown is not None
        self.learner.refused(call, shown, message, NOW)


def bars_answer(*starts_ms: int, **other: Any) -> BarsAnswer:
    bars = [Bar(t_ms, 1.0, 1.0, 1.0, 1.0) for t_ms in starts_ms]
    return BarsAnswer(
        **{
            "ticker": "X:BTCUSD",
            "start_ms": YESTERDAY.start_ms,
            "end_ms": YESTERDAY.end_ms,
            "bars": bars,
            "refused": Counter(),
            **other,
        }
    )


class TestARefusal:
    def test_of_the_plan_is_remembered_and_said_once_for_each_class(self) -> None:
        taught = Taught()
        taught.refused(SNAPSHOT, RefusalKind.NOT_IN_PLAN, "upgrade")
        assert taught.others.said == [(Restriction.SNAPSHOT, False)] * 2
        assert [
            (kept.restriction, kept.message)
            for kept in taught.others.kept
            if isinstance(kept, KnownRestriction)
        ] == [(Restriction.SNAPSHOT, "upgrade")] * 2
        assert taught.learner.revision == 2
        assert not taught.known.snapshots(CRYPTO, NOW)

    def test_that_was_expected_is_said_as_such(self) -> None:
        taught = Taught(Entitlements(end_of_day=True))
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, NOW)
        taught.refused(call, RefusalKind.TODAY_NOT_YET, "wait")
        assert taught.others.said == [(Restriction.TODAY, True)]

    def test_of_a_day_that_is_not_published_has_its_midnight(self) -> None:
        taught = Taught(Entitlements(end_of_day=True))
        taught.refused(YESTERDAY, RefusalKind.TODAY_NOT_YET, "wait")
        assert taught.known.last_day_end_ms(CRYPTO, NOW) == MIDNIGHT - DAY_MS


class TestARefusalOfASnapshotForSeveralProducts:
    """Nothing shows which of the products is refused: each is asked for by itself."""

    WORK = (Work(EURUSD), Work(AAPL), Work(NDX), Work(BTCUSD))

    def calls(self, taught: Taught) -> list[list[str]]:
        found = choose_calls(self.WORK, {}, taught.known, NOW)
        assert {type(call) for call in found} == {SnapshotCall}
        return [[item.asset.symbol for item in call.work] for call in found]

    def test_parts_them_and_condemns_none(self) -> None:
        taught = Taught()
        assert self.calls(taught) == [["EURUSD", "AAPL", "NDX", "BTCUSD"]]
        taught.refused(SnapshotCall(self.WORK), RefusalKind.NOT_IN_PLAN, "upgrade")
        assert self.calls(taught) == [["EURUSD", "BTCUSD"], ["AAPL"], ["NDX"]]
        assert set(taught.others.said) == {(Restriction.MIXED_SNAPSHOT, True)}

    def test_lets_the_refusal_of_one_be_its_own(self) -> None:
        taught = Taught()
        taught.refused(SnapshotCall(self.WORK), RefusalKind.NOT_IN_PLAN, "upgrade")
        taught.refused(SnapshotCall((Work(EURUSD), Work(BTCUSD))), RefusalKind.NOT_IN_PLAN, "upgrade")
        assert not taught.known.snapshots(CRYPTO, NOW)
        assert taught.known.snapshots(AssetType.STOCKS, NOW)

    def test_is_asked_again_after_a_day(self) -> None:
        taught = Taught()
        taught.refused(SnapshotCall(self.WORK), RefusalKind.NOT_IN_PLAN, "upgrade")
        assert len(choose_calls(self.WORK, {}, taught.known, NOW + DAY_MS)) == 1


def test_stocks_whose_snapshots_are_cleared_are_asked_for_by_the_last_day_and_bars() -> None:
    taught = Taught()
    work = (Work(AAPL), Work(MSFT), Work(NDX), Work(EURUSD))
    for ticker in ("AAPL", "MSFT", "I:NDX"):
        taught.learner.found_cleared(ticker)
    assert [type(call) for call in choose_calls(work, {}, taught.known, NOW)] == [
        GroupedDayCall,
        BarsCall,
        SnapshotCall,
    ]
    assert (taught.learner.revision, taught.others.kept) == (3, [])


class TestARefusalWithinASnapshot:
    """`len(alike) > 1`: one refused ticker condemns nobody else."""

    WORK = (Work(BTCUSD), Work(ETHUSD))

    def calls(self, taught: Taught) -> list[type]:
        return [type(call) for call in choose_calls(self.WORK, {}, taught.known, NOW)]

    def test_of_one_ticker_is_its_own(self) -> None:
        taught = Taught()
        taught.learner.class_refused(Restriction.SNAPSHOT, ClassRefusal(CRYPTO, "no", "X:BTCUSD"), NOW)
        assert self.calls(taught) == [BarsCall, SnapshotCall]
        assert taught.known.snapshots(CRYPTO, NOW)
        assert not taught.known.snapshots(CRYPTO, NOW, "X:BTCUSD")
        assert taught.known.snapshots(CRYPTO, NOW, "X:ETHUSD")

    def test_of_a_class_is_of_all_its_tickers(self) -> None:
        taught = Taught()
        taught.learner.class_refused(Restriction.SNAPSHOT, ClassRefusal(CRYPTO, "no", None), NOW)
        assert self.calls(taught) == [BarsCall, BarsCall]

    def test_has_no_moment_and_the_words_of_the_answer(self) -> None:
        taught = Taught()
        taught.learner.class_refused(Restriction.SNAPSHOT, ClassRefusal(CRYPTO, "no", None), NOW)
        (kept,) = taught.others.kept
        assert isinstance(kept, KnownRestriction)
        assert (kept.restriction, kept.message, kept.history_starts_ms) == (Restriction.SNAPSHOT, "no", None)
        assert taught.others.said == [(Restriction.SNAPSHOT, False)]

    def test_of_one_ticker_after_another_is_of_both(self) -> None:
        taught = Taught()
        for ticker in ("X:BTCUSD", "X:ETHUSD"):
            taught.learner.class_refused(Restriction.SNAPSHOT, ClassRefusal(CRYPTO, "no", ticker), NOW)
        assert self.calls(taught) == [BarsCall, BarsCall]
        assert taught.known.snapshots(CRYPTO, NOW, "X:SOLUSD")

    def test_of_one_ticker_leaves_one_of_the_class_as_it_is(self) -> None:
        taught = Taught()
        for ticker in (None, "X:BTCUSD"):
            taught.learner.class_refused(Restriction.SNAPSHOT, ClassRefusal(CRYPTO, "no", ticker), NOW)
        assert not taught.known.snapshots(CRYPTO, NOW, "X:SOLUSD")

    def test_is_asked_again_after_a_day(self) -> None:
        taught = Taught()
        taught.learner.class_refused(Restriction.SNAPSHOT, ClassRefusal(CRYPTO, "no", "X:BTCUSD"), NOW)
        assert taught.known.snapshots(CRYPTO, NOW + DAY_MS, "X:BTCUSD")


class TestWhatIsSeen:
    def prices(self, **as_of_ms: int) -> PricesAnswer:
        prices = {
            f"X:{symbol}": Price(symbol=symbol, last_price=1.0, as_of_ms=at_ms)
            for symbol, at_ms in as_of_ms.items()
        }
        return PricesAnswer(prices=prices, errors={}, empty=frozenset(), refused=Counter())

    def test_of_prices_is_the_newest_of_each_class(self) -> None:
        taught = Taught()
        call = SnapshotCall((Work(BTCUSD), Work(ETHUSD), Work(EURUSD)))
        taught.learner.saw_prices(call, self.prices(BTCUSD=NOW - 5000, ETHUSD=NOW - 3000), NOW)
        assert taught.known.newest_ms(CRYPTO) == NOW - 3000
        assert taught.known.newest_ms(AssetType.FOREX) == 0
        assert taught.known.has_seen_today(CRYPTO, NOW)

    def test_of_prices_is_delayed_for_the_class_that_is_said_to_be(self) -> None:
        taught = Taught()
        shown = {
            ticker: Price(symbol=ticker, last_price=1.0, as_of_ms=NOW - age_ms)
            for ticker, age_ms in (("AAPL", 0), ("MSFT", HOUR_MS), ("I:NDX", HOUR_MS))
        }
        said = PricesAnswer(
            prices=shown,
            errors={},
            empty=frozenset(),
            refused=Counter(),
            delayed={"MSFT": True, "I:NDX": False},
        )
        taught.learner.saw_prices(SnapshotCall((Work(AAPL), Work(MSFT), Work(NDX))), said, NOW)
        assert taught.known.delay_ms(AssetType.STOCKS, NOW) == 15 * 60_000
        assert taught.known.delay_ms(AssetType.INDICES, NOW) == 0

    def test_from_the_future_counts_for_nothing(self) -> None:
        taught = Taught()
        taught.learner.saw_prices(SNAPSHOT, self.prices(BTCUSD=NOW + 60_001), NOW)
        assert taught.known.newest_ms(CRYPTO) == 0
        taught.learner.saw_prices(SNAPSHOT, self.prices(BTCUSD=NOW + 60_000), NOW)
        assert taught.known.newest_ms(CRYPTO) == NOW + 60_000

    def test_of_bars_is_the_end_of_the_last_and_that_there_are_some(self) -> None:
        taught = Taught()
        for lack in (Restriction.BARS, Restriction.INTRADAY):
            taught.known.refused(lack, CRYPTO, "no", NOW - 1, ticker="X:BTCUSD")
        taught.learner.saw_bars(YESTERDAY, bars_answer(MIDNIGHT - 2 * BAR_MS), NOW)
        assert taught.known.newest_ms(CRYPTO) == MIDNIGHT - BAR_MS
        assert taught.known.intraday(CRYPTO, NOW, "X:BTCUSD")

    def test_of_no_bars_is_nothing(self) -> None:
        taught = Taught()
        taught.learner.saw_bars(YESTERDAY, bars_answer(), NOW)
        assert (taught.others.kept, taught.learner.revision) == ([], 0)

    def test_of_bars_is_kept_for_others_with_the_lacks_that_it_disproves(self) -> None:
        taught = Taught()
        for lack in (Restriction.BARS, Restriction.INTRADAY):
            taught.known.refused(lack, CRYPTO, "no", NOW - 1, ticker="X:BTCUSD")
        taught.learner.saw_bars(YESTERDAY, bars_answer(MIDNIGHT - 2 * BAR_MS), NOW)
        refusals = [kept for kept in taught.others.kept if isinstance(kept, KnownRestriction)]
        assert [(kept.restriction, kept.tickers) for kept in refusals] == [
            (Restriction.BARS, ()),
            (Restriction.INTRADAY, ()),
        ]
        observations = [kept for kept in taught.others.kept if isinstance(kept, Observation)]
        assert [kept.newest_ms for kept in observations] == [MIDNIGHT - BAR_MS]
        assert taught.learner.revision == 3

    def test_of_prices_is_kept_for_others(self) -> None:
        taught = Taught()
        taught.learner.saw_prices(SNAPSHOT, self.prices(BTCUSD=NOW - 5000), NOW)
        assert [type(kept) for kept in taught.others.kept] == [Observation]
        taught.learner.saw_prices(SNAPSHOT, self.prices(BTCUSD=NOW - 4000), NOW + 1000)
        assert len(taught.others.kept) == taught.learner.revision == 1, "nothing new"

    def test_of_a_forming_bar_is_no_newer_than_the_end_of_its_range(self) -> None:
        taught = Taught()
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, NOW + 59_999)
        taught.learner.saw_bars(call, bars_answer(NOW), NOW + 60_000)
        assert taught.known.newest_ms(CRYPTO) == NOW + 60_000

    @pytest.mark.parametrize(("short_ms", "delay_ms"), [(0, 15 * 60_000), (1, 0)])
    def test_of_a_range_that_ends_before_now_shows_no_delay(self, short_ms: int, delay_ms: int) -> None:
        taught = Taught()
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, NOW - 1 - short_ms)
        taught.learner.saw_bars(call, bars_answer(NOW - 15 * 60_000 - BAR_MS), NOW)
        assert taught.known.delay_ms(CRYPTO, NOW) == delay_ms

    @pytest.mark.parametrize(("open_for_ms", "delay_ms"), [(HOUR_MS, 15 * 60_000), (HOUR_MS - 1, 0), (-1, 0)])
    def test_of_a_market_that_opened_within_the_hour_shows_no_delay(
        self, open_for_ms: int, delay_ms: int
    ) -> None:
        opened = to_ms(datetime(2026, 11, 22, 17, tzinfo=ZoneInfo("America/New_York")))
        now_ms = opened + open_for_ms
        taught = Taught()
        call = BarsCall((Work(EURUSD),), opened - 17 * HOUR_MS, now_ms - 1)
        taught.learner.saw_bars(call, bars_answer(now_ms - 15 * 60_000 - BAR_MS), now_ms)
        assert taught.known.delay_ms(AssetType.FOREX, now_ms) == delay_ms

    def test_of_prices_of_a_closed_market_shows_no_delay(self) -> None:
        saturday = to_ms(datetime(2026, 11, 21, 12, tzinfo=ZoneInfo("America/New_York")))
        for symbol, asset, delay_ms in (("EURUSD", EURUSD, 0), ("BTCUSD", BTCUSD, 15 * 60_000)):
            taught = Taught()
            price = Price(symbol=symbol, last_price=1.0, as_of_ms=saturday - 20 * 60_000)
            answer = PricesAnswer(
                prices={asset.polygon_ticker: price}, errors={}, empty=frozenset(), refused=Counter()
            )
            taught.learner.saw_prices(SNAPSHOT, answer, saturday)
            assert taught.known.delay_ms(asset.asset_type, saturday) == delay_ms

    @pytest.mark.parametrize(
        ("next_url", "delay_ms"), [(None, 15 * 60_000), ("https://api.massive.com/next", 0)]
    )
    def test_of_a_range_up_to_now_shows_the_plans_delay(self, next_url: str | None, delay_ms: int) -> None:
        taught = Taught()
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, NOW - 1)
        answer = bars_answer(NOW - 15 * 60_000 - BAR_MS, next_url=next_url)
        taught.learner.saw_bars(call, answer, NOW)
        assert taught.known.delay_ms(CRYPTO, NOW) == delay_ms


class TestADayWithoutBars:
    def unpublished(self, answer: BarsAnswer, call: BarsCall = YESTERDAY, newest_ms: int = 0) -> bool:
        taught = Taught(Entitlements(end_of_day=True))
        if newest_ms:
            taught.known.saw(CRYPTO, newest_ms, NOW, market_open=False)
        taught.learner.note_unpublished_day(call, answer, NOW)
        return taught.known.last_day_end_ms(CRYPTO, NOW) == MIDNIGHT - DAY_MS

    def test_is_taken_for_one_that_is_not_published_yet(self) -> None:
        assert self.unpublished(bars_answer())

    def test_is_published_where_any_other_of_the_class_has_shown_it(self) -> None:
        assert not self.unpublished(bars_answer(), newest_ms=MIDNIGHT - DAY_MS + 1)
        assert self.unpublished(bars_answer(), newest_ms=MIDNIGHT - DAY_MS)

    def test_says_nothing_with_a_page_to_come_or_elements_that_were_of_no_use(self) -> None:
        assert not self.unpublished(bars_answer(next_url="next"))
        assert not self.unpublished(bars_answer(refused=Counter(time=1)))

    def test_says_nothing_of_an_older_range_or_a_closed_day(self) -> None:
        older = BarsCall((Work(BTCUSD),), MIDNIGHT - 3 * DAY_MS, MIDNIGHT - DAY_MS - 1)
        assert not self.unpublished(bars_answer(), older)
        sunday = to_ms(datetime(2026, 11, 22, tzinfo=ZoneInfo("America/New_York")))
        taught = Taught(Entitlements(end_of_day=True))
        call = BarsCall((Work(EURUSD),), sunday - DAY_MS, sunday - 1)
        taught.learner.note_unpublished_day(call, bars_answer(), sunday + HOUR_MS)
        assert taught.others.kept == []

    @pytest.mark.parametrize(("day_of_month", "kept"), [(22, True), (21, False)])
    def test_says_nothing_of_a_day_that_was_closed(self, day_of_month: int, kept: bool) -> None:
        """Forex trades for seven hours of a Sunday, and not on a Saturday."""
        day = to_ms(datetime(2026, 11, day_of_month, tzinfo=ZoneInfo("America/New_York")))
        taught = Taught(Entitlements(end_of_day=True))
        call = BarsCall((Work(EURUSD),), day, day + DAY_MS - 1)
        taught.learner.note_unpublished_day(call, bars_answer(), day + DAY_MS + HOUR_MS)
        assert bool(taught.others.kept) is kept

    def test_is_remembered_with_its_ticker_and_its_midnight_in_words(self) -> None:
        taught = Taught(Entitlements(end_of_day=True))
        taught.learner.note_unpublished_day(YESTERDAY, bars_answer(), NOW)
        (kept,) = taught.others.kept
        assert isinstance(kept, KnownRestriction)
        assert (kept.restriction, kept.asset_type) == (Restriction.LAST_DAY, CRYPTO)
        assert kept.unpublished_since_ms == MIDNIGHT
        assert kept.message == "the answer for X:BTCUSD has nothing of 2026-11-17"
        assert kept.tickers == ("X:BTCUSD",)


class TestWhatCannotBeKept:
    """Redis refuses to be written to: the answer is stored first, and what was learned holds here."""

    def test_is_said_and_holds_in_this_process(self) -> None:
        taught = Taught()
        taught.others.error = error = RedisError("redis is read-only")
        taught.refused(SNAPSHOT, RefusalKind.NOT_IN_PLAN, "upgrade")
        assert taught.learner.redis_error is error
        assert taught.learner.revision == 2
        assert not taught.known.snapshots(CRYPTO, NOW)


def test_a_refused_day_of_a_market_is_one_that_is_not_published_yet() -> None:
    taught = Taught(Entitlements(end_of_day=True))
    day = datetime.fromtimestamp((MIDNIGHT - HOUR_MS) / 1000, ZoneInfo("America/New_York")).date()
    call = GroupedDayCall((Work(BTCUSD),), CRYPTO, day)
    taught.refused(call, RefusalKind.TODAY_NOT_YET, "wait")
    assert taught.known.last_day_end_ms(CRYPTO, NOW) == MIDNIGHT - DAY_MS
