"""Which weekdays are special at the New York Stock Exchange, with another calendar as the judge."""

from __future__ import annotations

from datetime import date, time, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.nyse import LISTED_AHEAD, SpecialDay, SpecialDays, learn, special_day, special_days

FIRST, LAST = date(2003, 1, 1), date(2027, 12, 31)
YEARS = st.integers(2003, 2199)


@pytest.mark.filterwarnings("ignore:Series.values")  # the judge's own
def test_each_day_closes_when_another_calendar_says() -> None:
    from exchange_calendars import get_calendar  # 0.4 s of CPU: loads pandas

    judge = get_calendar("XNYS", start=FIRST.isoformat(), end=LAST.isoformat())
    closes = judge.closes.dt.tz_convert("America/New_York").dt.time
    expected = dict(zip(judge.sessions.date, closes, strict=True))
    days = (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))
    found = {
        day: special.closes if special else time(16)
        for day in days
        if day.weekday() < 5 and not ((special := special_day(day)) and special.closes is None)
    }
    assert found == expected


def test_the_days_of_a_year_have_their_names() -> None:
    early = time(13)
    assert list(special_days(2025).items()) == [
        (date(2025, 1, 1), SpecialDay("New Year's Day")),
        (date(2025, 1, 9), SpecialDay("Funeral of Jimmy Carter")),
        (date(2025, 1, 20), SpecialDay("Martin Luther King Jr. Day")),
        (date(2025, 2, 17), SpecialDay("Presidents' Day")),
        (date(2025, 4, 18), SpecialDay("Good Friday")),
        (date(2025, 5, 26), SpecialDay("Memorial Day")),
        (date(2025, 6, 19), SpecialDay("Juneteenth")),
        (date(2025, 7, 3), SpecialDay("Day before Independence Day", early)),
        (date(2025, 7, 4), SpecialDay("Independence Day")),
        (date(2025, 9, 1), SpecialDay("Labor Day")),
        (date(2025, 11, 27), SpecialDay("Thanksgiving Day")),
        (date(2025, 11, 28), SpecialDay("Day after Thanksgiving", early)),
        (date(2025, 12, 24), SpecialDay("Christmas Eve", early)),
        (date(2025, 12, 25), SpecialDay("Christmas Day")),
    ]


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2022, 1, 3), None),  # New Year was a Saturday
        (date(2021, 12, 31), None),
        (date(2023, 1, 2), "New Year's Day"),  # and here a Sunday
        (date(2021, 6, 18), None),  # the first one was in 2022
        (date(2022, 6, 20), "Juneteenth"),
        (date(2027, 6, 18), "Juneteenth"),
        (date(2026, 7, 3), "Independence Day"),
        (date(2021, 7, 5), "Independence Day"),
        (date(2021, 12, 24), "Christmas Day"),
        (date(2022, 12, 26), "Christmas Day"),
        (date(2012, 10, 30), "Hurricane Sandy"),
        (date(2018, 12, 5), "Funeral of George H. W. Bush"),
        (date(2008, 3, 21), "Good Friday"),  # nearly the earliest
        (date(2038, 4, 23), "Good Friday"),  # the latest
    ],
)
def test_it_is_closed_where_a_holiday_is_observed(day: date, name: str | None) -> None:
    assert special_day(day) == (name and SpecialDay(name))


@pytest.mark.parametrize(
    "day",
    [
        date(2013, 7, 3),  # Wednesday, before a Thursday
        date(2018, 7, 3),
        date(2023, 7, 3),
        date(2026, 11, 27),
        date(2020, 12, 24),
        date(2003, 12, 26),
    ],
)
def test_it_closes_at_13_before_and_after_some_holidays(day: date) -> None:
    special = special_day(day)
    assert special is not None
    assert special.closes == time(13)


@pytest.mark.parametrize("day", [date(2021, 7, 2), date(2022, 7, 1), date(2022, 12, 23), date(2023, 12, 22)])
def test_no_other_day_closes_early_where_the_usual_one_is_on_a_weekend(day: date) -> None:
    assert special_day(day) is None


@given(YEARS)
def test_special_days_are_weekdays_of_their_year_in_order(year: int) -> None:
    days = list(special_days(year))
    assert days == sorted(days)
    assert all(day.year == year and day.weekday() < 5 for day in days)


@given(YEARS)
def test_good_friday_lies_where_easter_can(year: int) -> None:
    (day,) = (day for day, special in special_days(year).items() if special.name == "Good Friday")
    assert day.weekday() == 4
    assert date(year, 3, 20) <= day <= date(year, 4, 23)


class TestLearn:
    TODAY = date(2026, 11, 30)
    LISTS = st.dictionaries(
        st.integers(-20, 60).map(lambda n: TestLearn.TODAY + timedelta(days=n)),
        st.builds(SpecialDay, st.sampled_from(["Storm", "Christmas"]), st.sampled_from([None, time(13)])),
        max_size=8,
    )

    def after(self, more: int) -> date:
        return self.TODAY + timedelta(days=more)

    def test_a_closure_that_is_listed_no_more_is_withdrawn(self) -> None:
        storm, christmas = {self.after(4): SpecialDay("Storm")}, {self.after(25): SpecialDay("Christmas Day")}
        assert learn(storm, christmas, self.TODAY) == christmas

    def test_a_short_list_says_nothing_of_the_time_after_it(self) -> None:
        near, far = {self.after(4): SpecialDay("Storm")}, {self.after(25): SpecialDay("Christmas Day")}
        assert learn(far, near, self.TODAY) == near | far
        assert learn(far, {}, self.TODAY) == far

    @pytest.mark.parametrize("more", [-300, -1])
    def test_a_past_closure_stays_though_only_later_ones_are_listed(self, more: int) -> None:
        known = {self.after(more): SpecialDay("Storm")}
        listed = {self.after(25): SpecialDay("Christmas Day")}
        assert learn(known, listed, self.TODAY) == known | listed

    @pytest.mark.parametrize("more", [0, 1, 2])
    def test_a_closure_is_lifted_up_to_its_day(self, more: int) -> None:
        known = {self.after(more): SpecialDay("Storm")}
        listed = {self.after(25): SpecialDay("Christmas Day")}
        assert learn(known, listed, self.TODAY) == listed
        assert learn(known, {}, self.TODAY) == known

    def test_what_is_listed_for_today_replaces_what_was_known(self) -> None:
        known, listed = {self.TODAY: SpecialDay("Storm")}, {self.TODAY: SpecialDay("Storm", time(12))}
        assert learn(known, listed, self.TODAY) == listed

    @pytest.mark.parametrize("day", [date(2026, 11, 29), TODAY + LISTED_AHEAD + timedelta(days=1)])
    def test_a_day_that_no_list_of_what_comes_has_is_passed_over(self, day: date) -> None:
        known = {self.after(25): SpecialDay("Christmas Day")}
        assert learn(known, {day: SpecialDay("Storm")}, self.TODAY) == known

    @given(LISTS, LISTS)
    def test_hearing_a_list_twice_is_hearing_it_once(self, known: SpecialDays, listed: SpecialDays) -> None:
        once = learn(known, listed, self.TODAY)
        assert learn(once, listed, self.TODAY) == once
        assert list(once) == sorted(once)

    @given(LISTS, LISTS)
    def test_the_list_holds_from_today_on_and_the_past_stays(
        self, known: SpecialDays, listed: SpecialDays
    ) -> None:
        found = learn(known, listed, self.TODAY)
        for day in {*known, *listed, *found}:
            if day < self.TODAY:
                assert found.get(day) == known.get(day)
            elif day in listed:
                assert found[day] == listed[day]
            elif day in found:
                assert found[day] == known[day]

    @given(LISTS)
    def test_what_is_known_survives_the_way_through_json(self, known: SpecialDays) -> None:
        assert msgspec.json.decode(msgspec.json.encode(known), type=dict[date, SpecialDay]) == known
