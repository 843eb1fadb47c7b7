"""How long a page may be: its reach, and what is learned of it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import days_span, is_open, open_ms_between, start_of_day
from assetbatch.domain.pages import (
    BY_OPEN_TIME,
    LENGTH_AGAIN_MS,
    LENGTH_KEPT_MS,
    PAGE_MS,
    SURE,
    Doubt,
    PageKind,
    PageLength,
    PageLesson,
    learned,
    pages_of_thin,
)
from assetbatch.domain.units import HOUR_MS

NOW = 1_795_000_000_000
WHOLE = PageLesson(of=Market.FOREX, whole=True)
CUT = PageLesson(of=Market.FOREX, whole=False)
DOUBT = Doubt("EURUSD", 1, 2)


@pytest.mark.parametrize(
    ("market", "least", "most"), [(Market.FOREX, 46, 48), (Market.METAL, 48, 51), (Market.CRYPTO, 34, 34)]
)
def test_a_page_by_open_time_is_as_long_as_its_open_hours_fit(market: Market, least: int, most: int) -> None:
    for shift in range(60):
        last = date(2026, 11, 17) - timedelta(days=shift)
        first = BY_OPEN_TIME.first_day(market, last)
        assert least <= (last - first).days + 1 <= most
        span = days_span(first, last)
        assert open_ms_between(market, *span) <= PAGE_MS or (last - first).days == 33
        assert BY_OPEN_TIME.last_day(market, first) >= last


@pytest.mark.parametrize("market", [Market.STOCK, Market.STOCK_EXTENDED])
def test_a_page_of_a_stock_has_room_for_the_minutes_beside_the_session(market: Market) -> None:
    last = date(2026, 11, 17)
    first = BY_OPEN_TIME.first_day(market, last)
    sessions = sum(
        is_open(Market.STOCK, start_of_day(first + timedelta(days=day)) + 12 * HOUR_MS)
        for day in range((last - first).days + 1)
    )
    assert 51 <= sessions <= 53  # 50,000 minutes of 960 a day


class TestLearning:
    def test_a_page_that_came_whole_is_believed_for_a_month(self) -> None:
        known = learned(None, WHOLE, NOW)
        assert known is not None
        assert (known.whole, known.until_ms) == (True, NOW + LENGTH_KEPT_MS)

    def test_it_is_written_again_once_a_day(self) -> None:
        known = learned(None, WHOLE, NOW)
        assert learned(known, WHOLE, NOW + LENGTH_AGAIN_MS - 1) is None
        again = learned(known, WHOLE, NOW + LENGTH_AGAIN_MS)
        assert again is not None
        assert again.until_ms == NOW + LENGTH_AGAIN_MS + LENGTH_KEPT_MS

    def test_a_cut_takes_the_length_back_and_counts_for_a_month(self) -> None:
        known = learned(learned(None, WHOLE, NOW), CUT, NOW)
        assert known is not None
        assert known.whole is False
        assert learned(known, WHOLE, known.until_ms - 1) is None
        tried_again = learned(known, WHOLE, known.until_ms)
        assert tried_again is not None
        assert tried_again.whole is True

    def test_a_doubt_is_kept_until_it_is_settled(self) -> None:
        known = learned(None, PageLesson(of=Market.FOREX, doubts=(DOUBT,)), NOW)
        assert known is not None
        assert (known.whole, known.doubts) == (None, (DOUBT,))
        settled = learned(known, PageLesson(of=Market.FOREX, settled=(DOUBT,)), NOW)
        assert settled is not None
        assert settled.doubts == ()

    def test_what_says_nothing_is_not_written(self) -> None:
        assert learned(None, PageLesson(of="C:EURUSD", pages=1), NOW) is None


class TestKinds:
    def kind(self, *lengths: PageLength, at_ms: int = NOW) -> PageKind:
        known = Entitlements(end_of_day=True, page_lengths=lengths)
        return known.page_kind(Market.FOREX, "C:EURUSD", at_ms)

    def length(self, **fields: object) -> PageLength:
        given = {"of": Market.FOREX, "since_ms": NOW, "until_ms": NOW + LENGTH_KEPT_MS, **fields}
        return PageLength(**given)  # type: ignore[arg-type]

    def test_a_longer_page_is_tried_as_long_as_nobody_knows_and_after_a_month(self) -> None:
        assert self.kind() is PageKind.TRIED
        assert self.kind(self.length(whole=None, doubts=(DOUBT,))) is PageKind.TRIED
        assert self.kind(self.length(whole=False), at_ms=NOW + LENGTH_KEPT_MS) is PageKind.TRIED

    def test_what_was_learned_of_the_market_counts(self) -> None:
        assert self.kind(self.length(whole=True)) is PageKind.PROVEN
        assert self.kind(self.length(whole=False)) is PageKind.SURE
        assert self.kind(self.length(of=Market.METAL, whole=True)) is PageKind.TRIED

    def test_a_ticker_that_is_traded_seldom_has_its_own(self) -> None:
        market = self.length(whole=False)
        assert self.kind(market, self.length(of="C:EURUSD", pages=3)) is PageKind.THIN
        assert self.kind(market, self.length(of="C:EURUSD", pages=3, whole=False)) is PageKind.SURE

    def test_the_reach_follows(self) -> None:
        known = Entitlements(end_of_day=True, page_lengths=[self.length(whole=True)])
        assert known.reach(Market.FOREX, NOW) == BY_OPEN_TIME
        assert known.reach(Market.FOREX, NOW + LENGTH_KEPT_MS) == SURE
        assert [days for _, days in known.market_lengths(NOW)] == [BY_OPEN_TIME_DAYS]


BY_OPEN_TIME_DAYS = 48


@pytest.mark.parametrize(("hours", "pages"), [(34 * 24, 1), (34 * 12, 1), (34 * 6, 2), (34, 12), (1, 12)])
def test_a_thin_symbol_has_room_for_twice_its_bars(hours: int, pages: int) -> None:
    assert pages_of_thin(hours * HOUR_MS, PAGE_MS) == pages
