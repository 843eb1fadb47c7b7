"""What the provider's list of splits changes of what is known, and which prices a split explains."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.references import Reference, ReferenceKind
from assetbatch.domain.splits import (
    AHEAD,
    BACK,
    CALLS_FOR_ALL,
    EARLIEST,
    LONGEST_PAUSE,
    TICKERS_A_CALL,
    Days,
    KnownSplit,
    Listed,
    Request,
    Split,
    SplitKind,
    SplitState,
    fits,
    learn,
    parse_request,
    request_of_market,
    requests_of_history,
)

DAY = date(2026, 11, 16)
ASKED = Days(DAY - BACK, DAY + AHEAD)
NOBODY: Mapping[date, KnownSplit] = {}


def split(before: float = 1, after: float = 4, day: date = DAY, kind: SplitKind | None = None) -> Split:
    return Split(day, before, after, kind or (SplitKind.FORWARD if after > before else SplitKind.REVERSE))


def applied(one: Split) -> KnownSplit:
    return KnownSplit(one, SplitState.APPLIED)


def known(*some: KnownSplit) -> dict[date, KnownSplit]:
    return {one.split.execution_date: one for one in some}


class TestLearn:
    def test_what_is_listed_is_applied(self) -> None:
        assert learn(NOBODY, Listed([split()]), ASKED) == [applied(split())]

    def test_what_is_known_is_not_written_again(self) -> None:
        assert learn(known(applied(split())), Listed([split()]), ASKED) == []

    def test_a_corrected_ratio_replaces_the_earlier_one(self) -> None:
        assert learn(known(applied(split())), Listed([split(1, 5)]), ASKED) == [applied(split(1, 5))]

    @pytest.mark.parametrize("again", [split(), split(2, 8), split(0.25, 1)])
    def test_equal_duplicates_are_one(self, again: Split) -> None:
        (one,) = learn(NOBODY, Listed([split(), again]), ASKED)
        assert one.state is SplitState.APPLIED
        assert one.split.is_like(split())

    def test_the_same_ratio_in_other_numbers_changes_nothing(self) -> None:
        assert learn(known(applied(split())), Listed([split(2, 8)]), ASKED) == []

    def test_two_that_differ_for_one_day_are_a_conflict(self) -> None:
        found = learn(NOBODY, Listed([split(1, 5), split(1, 4)]), ASKED)
        assert found == [KnownSplit(split(1, 4), SplitState.CONFLICT)]

    def test_a_conflict_keeps_the_numbers_that_were_known(self) -> None:
        before = known(applied(split(1, 5)))
        found = learn(before, Listed([split(1, 4), split(1, 5)]), ASKED)
        assert found == [KnownSplit(split(1, 5), SplitState.CONFLICT)]

    def test_a_conflict_is_over_when_the_list_is_right(self) -> None:
        before = known(KnownSplit(split(1, 4), SplitState.CONFLICT))
        assert learn(before, Listed([split(1, 5)]), ASKED) == [applied(split(1, 5))]

    def test_what_is_listed_no_more_is_withdrawn(self) -> None:
        before = known(applied(split()))
        assert learn(before, Listed(), ASKED) == [KnownSplit(split(), SplitState.WITHDRAWN)]

    def test_a_misdated_one_moves(self) -> None:
        other = split(day=DAY + timedelta(days=1))
        found = learn(known(applied(split())), Listed([other]), ASKED)
        assert found == [KnownSplit(split(), SplitState.WITHDRAWN), applied(other)]

    def test_what_was_withdrawn_is_so_once_and_may_come_back(self) -> None:
        before = known(KnownSplit(split(), SplitState.WITHDRAWN))
        assert learn(before, Listed(), ASKED) == []
        assert learn(before, Listed([split()]), ASKED) == [applied(split())]

    @pytest.mark.parametrize("day", [ASKED.first - timedelta(days=1), ASKED.last + timedelta(days=1)])
    def test_what_was_not_asked_for_stays(self, day: date) -> None:
        assert learn(known(applied(split(day=day))), Listed(), ASKED) == []

    def test_an_answer_that_may_lack_rows_withdraws_nothing(self) -> None:
        assert learn(known(applied(split())), Listed(), None) == []

    def test_a_useless_row_withdraws_nothing(self) -> None:
        assert learn(known(applied(split())), Listed(useless={DAY}), ASKED) == []

    @given(
        st.lists(
            st.builds(split, st.sampled_from([1, 2, 3]), st.sampled_from([5, 7]), st.dates(*ASKED)),
            max_size=6,
        ),
        st.randoms(use_true_random=False),
    )
    def test_the_order_of_the_rows_and_a_second_answer_change_nothing(
        self, some: list[Split], random: Random
    ) -> None:
        found = learn(NOBODY, Listed(some), ASKED)
        shuffled = random.sample(some, len(some))
        assert learn(NOBODY, Listed(shuffled), ASKED) == found
        assert learn(known(*found), Listed(shuffled), ASKED) == []


class TestRequestOfTheMarket:
    def test_reaches_from_a_week_ago_to_two_weeks_ahead(self) -> None:
        assert request_of_market(DAY, DAY).days(DAY) == (date(2026, 11, 9), date(2026, 11, 30))

    def test_reaches_back_over_a_pause(self) -> None:
        assert request_of_market(DAY, date(2026, 9, 30)).first == date(2026, 9, 23)
        assert request_of_market(DAY, None).first == DAY - LONGEST_PAUSE - BACK

    def test_stays_the_same_until_it_is_answered(self) -> None:
        answered = date(2026, 11, 15)
        assert request_of_market(DAY, answered) == request_of_market(DAY + timedelta(days=1), answered)

    def test_is_not_shortened_by_an_answer_of_a_clock_that_was_ahead(self) -> None:
        assert request_of_market(DAY, DAY + timedelta(days=30)) == request_of_market(DAY, DAY)

    def test_is_for_every_ticker_that_is_kept(self) -> None:
        many = [f"T{number}" for number in range(2 * TICKERS_A_CALL)]
        assert request_of_market(DAY, DAY).tickers(many) == sorted(many)


class TestRequestsOfHistory:
    MANY = tuple(f"T{number:04}" for number in range(3 * TICKERS_A_CALL))

    def test_have_as_many_tickers_as_fit(self) -> None:
        found = requests_of_history(reversed(self.MANY), self.MANY)
        asked = [one.tickers(self.MANY) for one in found]
        assert [ticker for some in asked for ticker in some] == list(self.MANY)
        assert [len(some) for some in asked] == [TICKERS_A_CALL] * 3
        assert {one.first for one in found} == {EARLIEST}

    def test_ask_for_a_new_one_alone(self) -> None:
        assert requests_of_history(["T0007"], self.MANY) == [Request(EARLIEST, "T0007", "T0007")]

    def test_share_neighbours(self) -> None:
        found = requests_of_history(["T0700", "T0007", "T0011", "ELSE"], self.MANY)
        assert found == [Request(EARLIEST, "T0007", "T0011"), Request(EARLIEST, "T0700", "T0700")]

    def test_are_those_of_the_whole_market_where_these_are_fewer(self) -> None:
        most = [f"T{number:05}" for number in range(CALLS_FOR_ALL * TICKERS_A_CALL)]
        assert len(requests_of_history(most, most)) == CALLS_FOR_ALL
        (found,) = requests_of_history(kept := [*most, "T99999"], kept)
        assert (found.first, found.is_of_market, found.is_history) == (EARLIEST, True, True)
        assert found.tickers(kept) == kept
        assert found.is_about(kept)
        assert not found.is_about(most)  # what is registered later lacks the first pages
        assert parse_request(found.text) == found

    @given(st.sets(st.sampled_from(MANY)), st.data())
    def test_bring_all_within_the_limit(self, kept: set[str], data: st.DataObject) -> None:
        unasked = data.draw(st.sets(st.sampled_from(sorted(kept))) if kept else st.just(set()))
        found = [one.tickers(kept) for one in requests_of_history(unasked, kept)]
        assert unasked <= {ticker for some in found for ticker in some}
        assert all(len(some) <= TICKERS_A_CALL for some in found)


@pytest.mark.parametrize(
    "request_",
    [
        Request(DAY),
        Request(EARLIEST, "*", "0a1b2c3d"),
        Request(EARLIEST, "BRK.B", "BRK.B"),
        Request(EARLIEST, "AAPL", "KIMpL"),
    ],
)
def test_a_request_is_read_as_it_was_written(request_: Request) -> None:
    assert parse_request(request_.text) == request_


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ("2026-11-09", "splits of all stocks since 2026-11-09"),
        ("1900-01-01:*~0a1b2c3d", "all splits of all stocks"),
        ("2011-02-03:*~0a1b2c3d", "splits of all stocks since 2011-02-03"),
        ("1900-01-01:BRK.B", "splits of BRK.B"),
        ("1900-01-01:AAPL~SPY", "splits of AAPL to SPY"),
        ("2011-02-03:AAPL~SPY", "splits of AAPL to SPY since 2011-02-03"),
        ("of a later version", "splits of of a later version"),
    ],
)
def test_people_read_what_is_asked_for(detail: str, words: str) -> None:
    assert Reference(ReferenceKind.SPLITS, detail).words == words


@pytest.mark.parametrize("text", ["", "AAPL", "2026-13-01", "of:AAPL"])
def test_what_is_no_request_is_none(text: str) -> None:
    assert parse_request(text) is None


class TestFits:
    @pytest.mark.parametrize(
        ("one", "before", "after"),
        [
            (split(1, 4), 500.0, 127.0),
            (split(1, 4), 500.0, 80.0),  # a bad night besides
            (split(10, 1), 0.3, 2.0),  # what often follows a reverse split
            (split(20, 21, kind=SplitKind.STOCK_DIVIDEND), 100.0, 100.0),  # less than a night
            (split(2, 3), 150.0, 101.0),
        ],
    )
    def test_a_night_moves_prices_too(self, one: Split, before: float, after: float) -> None:
        assert fits(one, before, after)

    @pytest.mark.parametrize(
        ("one", "before", "after"),
        [
            (split(1, 4), 500.0, 500.0),  # another day
            (split(2, 3), 150.0, 149.0),
            (split(1, 4), 500.0, 250.0),  # another ratio
            (split(4, 1), 500.0, 125.0),  # the other way round
            (split(20, 21), 100.0, 200.0),
        ],
    )
    def test_another_day_or_ratio_does_not_fit(self, one: Split, before: float, after: float) -> None:
        assert not fits(one, before, after)
