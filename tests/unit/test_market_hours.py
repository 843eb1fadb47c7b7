"""When markets are open: weekends, the metals' daily break, New York's summer time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import (
    day_of,
    from_ms,
    is_closed_day,
    is_open,
    last_midnight,
    last_open,
    new_york_zone,
    next_open,
    open_intervals,
    open_ms_between,
    sessions,
    set_listed_days,
    special_day,
    start_of_day,
    to_ms,
    years_before,
)
from assetbatch.domain.nyse import SpecialDay, SpecialDays

HOUR_MS = 3_600_000
MARKETS = st.sampled_from(Market)
DAYS = st.dates(date(1999, 1, 1), date(2099, 12, 31)) | st.sampled_from(
    # around the days on which New York's clocks change, and around New Year
    [
        date(2026, month, day) + timedelta(days=more)
        for month, day in ((3, 8), (11, 1), (1, 1))
        for more in (-1, 0, 1)
    ]
)


@st.composite
def moments(draw: st.DrawFn) -> int:
    """Any moment of a day, with a liking for the edges of hours."""
    start = start_of_day(draw(DAYS))
    if draw(st.booleans()):
        return start + draw(st.integers(0, 25)) * HOUR_MS + draw(st.sampled_from([-1, 0, 1]))
    return start + draw(st.integers(0, 25 * HOUR_MS))


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=new_york_zone()))


class TestForex:
    @pytest.mark.parametrize(
        ("closes", "opens"),
        [
            ("2026-01-09 22:00", "2026-01-11 22:00"),  # winter
            ("2026-03-06 22:00", "2026-03-08 21:00"),  # the clocks go forward in the closed weekend
            ("2026-07-10 21:00", "2026-07-12 21:00"),  # summer
            ("2026-10-30 21:00", "2026-11-01 22:00"),  # the clocks go back
        ],
    )
    def test_is_closed_from_friday_to_sunday_at_17_in_new_york(self, closes: str, opens: str) -> None:
        end, start = utc(closes), utc(opens)
        assert is_open(Market.FOREX, end - 1)
        assert not is_open(Market.FOREX, end)
        assert not is_open(Market.FOREX, start - 1)
        assert is_open(Market.FOREX, start)
        assert last_open(Market.FOREX, start - 1) == end
        assert next_open(Market.FOREX, end) == start

    def test_is_open_all_night_between_weekdays(self) -> None:
        assert (
            open_ms_between(Market.FOREX, new_york("2026-01-12 00:00"), new_york("2026-01-16 17:00"))
            == 113 * HOUR_MS
        )


class TestMetals:
    def test_open_an_hour_after_forex_on_sunday(self) -> None:
        assert not is_open(Market.METAL, new_york("2026-01-11 17:59:59"))
        assert is_open(Market.METAL, new_york("2026-01-11 18:00"))
        assert is_open(Market.FOREX, new_york("2026-01-11 17:00"))

    @pytest.mark.parametrize("day", ["2026-01-12", "2026-01-15", "2026-07-14"])
    def test_rest_from_17_to_18_on_weekdays(self, day: str) -> None:
        end, start = new_york(f"{day} 17:00"), new_york(f"{day} 18:00")
        assert is_open(Market.METAL, end - 1)
        assert not is_open(Market.METAL, end)
        assert not is_open(Market.METAL, start - 1)
        assert is_open(Market.METAL, start)
        assert last_open(Market.METAL, start - 1) == end
        assert next_open(Market.METAL, end) == start

    def test_end_the_week_with_forex(self) -> None:
        assert next_open(Market.METAL, new_york("2026-01-16 17:00")) == new_york("2026-01-18 18:00")


class TestCrypto:
    @given(moments())
    def test_never_closes(self, at_ms: int) -> None:
        assert is_open(Market.CRYPTO, at_ms)
        assert last_open(Market.CRYPTO, at_ms) == next_open(Market.CRYPTO, at_ms) == at_ms


class TestStocks:
    @pytest.mark.parametrize(
        ("day", "session", "extended"),
        [
            ("2026-11-25", ("14:30", "21:00"), ("09:00", "01:00+1")),  # an ordinary day in winter
            ("2026-07-15", ("13:30", "20:00"), ("08:00", "00:00+1")),  # and in summer
            ("2026-11-27", ("14:30", "18:00"), ("09:00", "22:00")),  # after Thanksgiving: until 13:00
            ("2025-07-03", ("13:30", "17:00"), ("08:00", "21:00")),
        ],
    )
    def test_have_one_session_a_day(
        self, day: str, session: tuple[str, str], extended: tuple[str, str]
    ) -> None:
        def at(when: str) -> int:
            clock, _, more = when.partition("+")
            return utc(f"{day} {clock}") + int(more or 0) * 24 * HOUR_MS

        that = date.fromisoformat(day)
        expected = ((at(session[0]), at(session[1])),)
        assert sessions(Market.STOCK, that) == sessions(Market.INDEX, that) == expected
        assert sessions(Market.STOCK_EXTENDED, that) == ((at(extended[0]), at(extended[1])),)

    @pytest.mark.parametrize("day", ["2026-11-26", "2026-11-28", "2026-04-03", "2025-01-09", "2012-10-30"])
    def test_have_none_on_a_holiday_a_weekend_or_a_day_of_mourning(self, day: str) -> None:
        that = date.fromisoformat(day)
        for market in (Market.STOCK, Market.STOCK_EXTENDED, Market.INDEX):
            assert sessions(market, that) == ()

    def test_open_at_the_same_wall_clock_before_and_after_summer_time_begins(self) -> None:
        friday, monday = new_york("2026-03-06 16:00"), new_york("2026-03-09 09:30")
        assert next_open(Market.STOCK, friday) == monday == utc("2026-03-09 13:30")
        assert last_open(Market.STOCK, monday - 1) == friday == utc("2026-03-06 21:00")

    def test_were_closed_for_four_days_of_a_hurricane(self) -> None:
        friday, wednesday = new_york("2012-10-26 16:00"), new_york("2012-10-31 09:30")
        assert next_open(Market.STOCK, friday) == wednesday
        assert last_open(Market.STOCK, wednesday - 1) == friday
        assert open_ms_between(Market.STOCK, friday, wednesday) == 0

    def test_of_a_year_have_the_hours_of_its_sessions(self) -> None:
        year = new_york("2025-01-01 00:00"), new_york("2026-01-01 00:00")
        # 261 weekdays, 11 closed, 3 shorter by three hours
        assert open_ms_between(Market.STOCK, *year) == 250 * 13 * HOUR_MS // 2 - 3 * 3 * HOUR_MS
        assert open_ms_between(Market.STOCK_EXTENDED, *year) == 250 * 16 * HOUR_MS - 3 * 3 * HOUR_MS

    def test_know_why_a_day_is_closed_or_short(self) -> None:
        holiday = special_day(Market.STOCK, date(2026, 4, 3))
        assert holiday is not None
        assert holiday.name == "Good Friday"
        assert special_day(Market.INDEX, date(2026, 11, 27)) is not None
        assert special_day(Market.STOCK, date(2026, 4, 2)) is None
        assert special_day(Market.FOREX, date(2026, 4, 3)) is None


@pytest.fixture
def no_lists() -> Iterator[None]:
    """No list of this test is left to another."""
    yield
    set_listed_days({})


@pytest.mark.usefixtures("no_lists")
class TestListedDays:
    DAY = date(2026, 12, 9)

    def test_close_a_day_that_nobody_has_planned(self) -> None:
        before, after = new_york("2026-12-08 16:00"), new_york("2026-12-10 09:30")
        assert is_open(Market.STOCK, new_york("2026-12-09 12:00"))
        set_listed_days({self.DAY: SpecialDay("Storm")})
        assert not is_open(Market.STOCK, new_york("2026-12-09 12:00"))
        assert next_open(Market.STOCK, before) == after
        assert last_open(Market.STOCK, after - 1) == before
        assert open_ms_between(Market.STOCK, before, after) == 0
        assert special_day(Market.STOCK, self.DAY) == SpecialDay("Storm")

    def test_that_are_listed_no_more_are_ordinary_again(self) -> None:
        ordinary = sessions(Market.INDEX, self.DAY)
        set_listed_days({self.DAY: SpecialDay("Storm")})
        set_listed_days({})
        assert sessions(Market.INDEX, self.DAY) == ordinary != ()

    def test_end_both_sessions_early(self) -> None:
        set_listed_days({self.DAY: SpecialDay("Storm", time(12, 15))})
        assert sessions(Market.STOCK, self.DAY)[0][1] == new_york("2026-12-09 12:15")
        assert sessions(Market.STOCK_EXTENDED, self.DAY)[0][1] == new_york("2026-12-09 16:15")

    def test_open_a_holiday(self) -> None:
        set_listed_days({date(2026, 4, 3): SpecialDay("Good Friday", time(16))})
        assert is_open(Market.STOCK, new_york("2026-04-03 15:59"))
        assert special_day(Market.STOCK, date(2026, 4, 3)) is None

    def test_open_no_weekend(self) -> None:
        set_listed_days({date(2026, 12, 12): SpecialDay("a mistake", time(13))})
        assert sessions(Market.STOCK, date(2026, 12, 12)) == ()
        assert special_day(Market.STOCK, date(2026, 12, 12)) is None

    def test_that_say_what_is_computed_leave_the_exact_name(self) -> None:
        day = date(2026, 11, 27)
        set_listed_days({day: SpecialDay("Thanksgiving", time(13))})
        assert special_day(Market.STOCK, day) == SpecialDay("Day after Thanksgiving", time(13))

    def test_are_nothing_to_markets_of_currencies(self) -> None:
        set_listed_days({self.DAY: SpecialDay("Storm")})
        for market in (Market.FOREX, Market.METAL, Market.CRYPTO):
            assert is_open(market, new_york("2026-12-09 12:00"))

    @pytest.mark.parametrize("days", [1, 30, 400])
    def test_may_close_a_market_for_long(self, days: int) -> None:
        listed = [self.DAY + timedelta(days=n) for n in range(days)]
        set_listed_days(dict.fromkeys(listed, SpecialDay("War")))
        opens = next_open(Market.STOCK, start_of_day(self.DAY))
        assert day_of(opens) > listed[-1]
        assert last_open(Market.STOCK, opens - 1) == new_york("2026-12-08 16:00")

    @given(
        st.dictionaries(
            st.integers(-15, 15).map(lambda n: TestListedDays.DAY + timedelta(days=n)),
            st.builds(SpecialDay, st.just("Storm"), st.sampled_from([None, time(10), time(13), time(16)])),
        ),
        st.sampled_from([Market.STOCK, Market.STOCK_EXTENDED, Market.INDEX]),
        st.integers(-25 * 48, 25 * 48),
        st.integers(0, 25 * 48),
    )
    def test_hold_in_every_answer(self, listed: SpecialDays, market: Market, first: int, length: int) -> None:
        set_listed_days(listed)
        start_ms = start_of_day(self.DAY) + first * HOUR_MS // 2
        end_ms = start_ms + length * HOUR_MS // 2
        opens = [at for at in range(start_ms, end_ms, HOUR_MS // 2) if is_open(market, at)]
        assert open_ms_between(market, start_ms, end_ms) == len(opens) * HOUR_MS // 2
        assert sum(to - at for at, to in open_intervals(market, start_ms, end_ms)) == (
            len(opens) * HOUR_MS // 2
        )
        assert is_open(market, next_open(market, start_ms))
        assert last_open(market, start_ms) <= start_ms <= next_open(market, start_ms)
        for day, special in listed.items():
            expected = 0 if special.closes is None or day.weekday() > 4 else 1
            assert len(sessions(market, day)) == expected


class TestDays:
    @pytest.mark.parametrize(
        ("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 7, 1), 24)]
    )
    def test_a_day_is_new_yorks(self, day: date, hours: int) -> None:
        assert start_of_day(day + timedelta(days=1)) - start_of_day(day) == hours * HOUR_MS
        assert sum(end - start for start, end in sessions(Market.CRYPTO, day)) == hours * HOUR_MS

    def test_the_day_turns_at_new_yorks_midnight(self) -> None:
        assert day_of(utc("2026-01-12 04:59:59.999")) == date(2026, 1, 11)
        assert day_of(utc("2026-01-12 05:00")) == date(2026, 1, 12)
        assert day_of(utc("2026-07-12 04:00")) == date(2026, 7, 12)

    @given(moments())
    def test_a_moment_lies_in_its_day(self, at_ms: int) -> None:
        day = day_of(at_ms)
        assert last_midnight(at_ms) == start_of_day(day) <= at_ms < start_of_day(day + timedelta(days=1))

    @given(st.integers(0, 4_102_444_800_000))
    def test_moments_survive_the_way_to_a_datetime_and_back(self, at_ms: int) -> None:
        assert to_ms(from_ms(at_ms)) == at_ms

    def test_a_moment_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            to_ms(datetime(2026, 1, 1))  # noqa: DTZ001 -- the mistake itself


class TestAnyMarket:
    @given(MARKETS, moments())
    def test_the_last_opening_is_not_later_and_the_next_not_earlier(self, market: Market, at_ms: int) -> None:
        assert last_open(market, at_ms) <= at_ms <= next_open(market, at_ms)

    @given(MARKETS, moments())
    def test_an_open_market_is_its_own_last_and_next_opening(self, market: Market, at_ms: int) -> None:
        assert is_open(market, at_ms) == (next_open(market, at_ms) == at_ms)
        if is_open(market, at_ms):
            assert last_open(market, at_ms) == at_ms

    @pytest.mark.parametrize(
        ("market", "opening"),
        [
            (Market.FOREX, "2026-01-11 17:00"),
            (Market.METAL, "2026-01-11 18:00"),
            (Market.METAL, "2026-01-12 18:00"),
        ],
    )
    def test_a_market_is_open_from_the_very_moment_of_its_opening(self, market: Market, opening: str) -> None:
        at_ms = new_york(opening)
        assert last_open(market, at_ms) == next_open(market, at_ms) == at_ms
        assert last_open(market, at_ms - 1) < at_ms - 1

    @given(MARKETS, moments())
    def test_a_closed_market_was_open_just_before_its_last_opening_and_is_at_its_next(
        self, market: Market, at_ms: int
    ) -> None:
        assert is_open(market, next_open(market, at_ms))
        if not is_open(market, at_ms):
            assert is_open(market, last_open(market, at_ms) - 1)
            assert not is_open(market, last_open(market, at_ms))
            assert not is_open(market, next_open(market, at_ms) - 1)

    @given(MARKETS, moments())
    def test_nothing_is_open_between_the_last_and_the_next_opening(self, market: Market, at_ms: int) -> None:
        assert open_ms_between(market, last_open(market, at_ms), next_open(market, at_ms)) == 0

    @given(
        MARKETS, moments(), st.lists(st.integers(0, 14 * 24 * HOUR_MS), min_size=2, max_size=2).map(sorted)
    )
    def test_the_open_time_of_two_spans_is_that_of_both_together(
        self, market: Market, start_ms: int, ends: list[int]
    ) -> None:
        middle_ms, end_ms = start_ms + ends[0], start_ms + ends[1]
        parts = open_ms_between(market, start_ms, middle_ms) + open_ms_between(market, middle_ms, end_ms)
        assert open_ms_between(market, start_ms, end_ms) == parts
        assert 0 <= parts <= end_ms - start_ms

    @given(MARKETS, moments())
    def test_a_millisecond_counts_if_the_market_is_open_in_it(self, market: Market, at_ms: int) -> None:
        assert open_ms_between(market, at_ms, at_ms + 1) == int(is_open(market, at_ms))
        assert open_ms_between(market, at_ms, at_ms) == open_ms_between(market, at_ms + 1, at_ms) == 0

    @pytest.mark.parametrize(("market", "hours"), [(Market.FOREX, 120), (Market.METAL, 115)])
    @given(day=DAYS)
    def test_every_week_has_the_same_hours(self, market: Market, hours: int, day: date) -> None:
        sunday = day - timedelta(days=(day.weekday() + 1) % 7)
        week = start_of_day(sunday), start_of_day(sunday + timedelta(days=7))
        assert open_ms_between(market, *week) == hours * HOUR_MS

    @given(MARKETS, DAYS, st.integers(0, 26 * HOUR_MS), st.integers(-HOUR_MS, 1200 * 24 * HOUR_MS))
    def test_open_time_over_years_is_what_adding_up_its_sessions_gives(
        self, market: Market, first: date, offset_ms: int, length_ms: int
    ) -> None:
        start_ms = start_of_day(first) + offset_ms
        end_ms = start_ms + length_ms
        expected, day = 0, day_of(start_ms)
        while start_of_day(day) < end_ms:
            for opens, closes in sessions(market, day):
                expected += max(0, min(closes, end_ms) - max(opens, start_ms))
            day += timedelta(days=1)
        assert open_ms_between(market, start_ms, end_ms) == expected


class TestOpenSpans:
    def test_nights_between_weekdays_are_no_border(self) -> None:
        start, end = new_york("2026-01-11 17:00"), new_york("2026-01-16 17:00")
        assert open_intervals(Market.FOREX, start - HOUR_MS, end + HOUR_MS) == [(start, end)]

    def test_a_metals_break_is_one(self) -> None:
        start, end = new_york("2026-01-12 16:00"), new_york("2026-01-12 20:00")
        assert open_intervals(Market.METAL, start, end) == [
            (start, start + HOUR_MS),
            (start + 2 * HOUR_MS, end),
        ]

    def test_begin_with_the_second_session_of_a_day_whose_first_is_over(self) -> None:
        start, end = new_york("2026-01-12 17:30"), new_york("2026-01-12 20:00")
        assert open_intervals(Market.METAL, start, end) == [(start + HOUR_MS // 2, end)]

    @given(MARKETS, moments(), st.integers(-HOUR_MS, 10 * 24 * HOUR_MS))
    def test_are_apart_within_the_range_and_all_of_its_open_time(
        self, market: Market, start_ms: int, length_ms: int
    ) -> None:
        found = open_intervals(market, start_ms, start_ms + length_ms)
        assert sum(end - start for start, end in found) == open_ms_between(
            market, start_ms, start_ms + length_ms
        )
        for start, end in found:
            assert start_ms <= start < end <= start_ms + length_ms
            assert is_open(market, start)
            assert is_open(market, end - 1)
        for (_, before), (after, _) in pairwise(found):
            assert before < after
            assert not is_open(market, before)


@pytest.mark.parametrize(
    ("day", "years", "before"),
    [
        (date(2026, 11, 30), 2, date(2024, 11, 30)),
        (date(2028, 2, 29), 2, date(2026, 2, 28)),
        (date(2028, 2, 29), 4, date(2024, 2, 28)),
    ],
)
def test_years_before_a_moment_the_same_day_began(day: date, years: int, before: date) -> None:
    assert years_before(start_of_day(day) + HOUR_MS, years) == start_of_day(before)


@pytest.mark.parametrize(
    ("market", "on", "closed"),
    [
        (Market.STOCK, date(2026, 11, 26), True),  # Thanksgiving
        (Market.STOCK, date(2026, 11, 27), False),  # an early close
        (Market.STOCK_EXTENDED, date(2026, 11, 28), True),
        (Market.INDEX, date(2025, 1, 9), True),  # an unscheduled closure
        (Market.INDEX, date(2026, 11, 30), False),
        (Market.FOREX, date(2026, 11, 28), False),
        (Market.CRYPTO, date(2026, 11, 28), False),
    ],
)
def test_a_day_without_a_session_is_closed_from_midnight_to_midnight(
    market: Market, on: date, closed: bool
) -> None:
    for hours in (0, 12, 23):
        assert is_closed_day(market, start_of_day(on) + hours * HOUR_MS) is closed
