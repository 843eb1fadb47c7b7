"""The ledger of bars: what replaces what, what is missing and why, and the fewest pages that fill it."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.coverage import (
    Gap,
    GapReason,
    asked_to,
    completeness,
    explained_gaps,
    pages,
    record,
    unanswered,
)
from assetbatch.domain.market_hours import day_of, is_open, new_york_zone, sessions, start_of_day, to_ms
from assetbatch.domain.models import BAR_MS, CoveredInterval, IntervalState
from assetbatch.domain.pages import Reach

ASKED, REQUESTED, FAILED, NOT_IN_PLAN, REJECTED, NOT_WANTED, AGAIN = IntervalState
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SLOTS = 24
"""So many slots the small ledgers of these properties are long."""


def span(
    start: int, end: int, state: IntervalState, asked: int | None = None, error: str | None = None
) -> CoveredInterval:
    """A span between two numbers of slots."""
    return CoveredInterval(start * BAR_MS, end * BAR_MS, state, asked, error)


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=new_york_zone()))


@st.composite
def some_spans(draw: st.DrawFn, states: tuple[IntervalState, ...] = tuple(IntervalState)) -> CoveredInterval:
    start, end = draw(st.tuples(st.integers(0, SLOTS), st.integers(0, SLOTS)).map(sorted))
    state = draw(st.sampled_from(states))
    error = draw(st.sampled_from([None, "timeout"])) if state is FAILED else None
    return span(start, end, state, draw(st.none() | st.integers(1, 5)), error)


NEWS = st.lists(some_spans(), max_size=8)
LEDGERS = NEWS.map(lambda news: record([], news))
ANSWERED = (ASKED, FAILED, NOT_IN_PLAN, REJECTED)
BATCHES = st.lists(some_spans(ANSWERED), max_size=8) | st.lists(
    some_spans((REQUESTED, NOT_WANTED)), max_size=8
)
"""News that are saved together: of answers, or of a backfill."""


def slots(spans: list[CoveredInterval]) -> dict[int, tuple[IntervalState, str | None]]:
    """State and error of each slot that has a row."""
    return {at: (s.state, s.error) for s in spans for at in range(s.start_ms, s.end_ms, BAR_MS)}


class TestRecord:
    @pytest.mark.parametrize(
        ("known", "new", "after"),
        [
            (REQUESTED, ASKED, ASKED),
            (FAILED, ASKED, ASKED),
            (NOT_IN_PLAN, ASKED, ASKED),
            (ASKED, REQUESTED, ASKED),
            (ASKED, FAILED, ASKED),
            (ASKED, NOT_IN_PLAN, ASKED),
            (REQUESTED, FAILED, FAILED),
            (REQUESTED, NOT_IN_PLAN, NOT_IN_PLAN),
            (FAILED, NOT_IN_PLAN, NOT_IN_PLAN),
            (NOT_IN_PLAN, FAILED, FAILED),
            (NOT_IN_PLAN, REQUESTED, REQUESTED),
            (FAILED, REQUESTED, FAILED),
            (REJECTED, REQUESTED, REJECTED),
            (REJECTED, ASKED, ASKED),
            (ASKED, REJECTED, ASKED),
            (REJECTED, FAILED, FAILED),
            (FAILED, REJECTED, REJECTED),
            (REQUESTED, NOT_WANTED, NOT_WANTED),
            (FAILED, NOT_WANTED, NOT_WANTED),
            (REJECTED, NOT_WANTED, NOT_WANTED),
            (ASKED, NOT_WANTED, ASKED),
            (NOT_IN_PLAN, NOT_WANTED, NOT_WANTED),
            (NOT_WANTED, REQUESTED, REQUESTED),
            (NOT_WANTED, ASKED, ASKED),
            (NOT_WANTED, NOT_IN_PLAN, NOT_IN_PLAN),
            (NOT_WANTED, FAILED, NOT_WANTED),
            (NOT_WANTED, REJECTED, NOT_WANTED),
            (ASKED, AGAIN, AGAIN),
            (FAILED, AGAIN, FAILED),
            (REQUESTED, AGAIN, REQUESTED),
            (NOT_IN_PLAN, AGAIN, NOT_IN_PLAN),
            (NOT_WANTED, AGAIN, NOT_WANTED),
            (AGAIN, ASKED, ASKED),
            (AGAIN, REQUESTED, AGAIN),
        ],
    )
    def test_which_state_replaces_which(
        self, known: IntervalState, new: IntervalState, after: IntervalState
    ) -> None:
        kept = span(0, 9, known, 1)
        moment = 1 if new is AGAIN else 2
        assert record([kept], [span(0, 9, new, 2)]) == [kept if after is known else span(0, 9, new, moment)]

    @pytest.mark.parametrize("state", [FAILED, REJECTED])
    def test_a_failure_leaves_what_is_wanted_again_answered_with_its_moment_and_error(
        self, state: IntervalState
    ) -> None:
        ledger = record([span(0, 9, AGAIN)], [span(3, 6, state, 5, "timeout")])
        assert ledger == [span(0, 3, AGAIN), span(3, 6, AGAIN, 5, "timeout"), span(6, 9, AGAIN)]

    @pytest.mark.parametrize("state", [NOT_WANTED, NOT_IN_PLAN])
    def test_what_is_wanted_again_is_what_it_was_once_nobody_wants_it_or_the_plan_lacks_it(
        self, state: IntervalState
    ) -> None:
        assert record([span(0, 9, AGAIN, 1)], [span(0, 9, state, 5)]) == [span(0, 9, ASKED, 1)]

    def test_nothing_is_wanted_again_that_was_never_answered(self) -> None:
        ledger = record([span(3, 6, ASKED, 1)], [span(0, 9, AGAIN)])
        assert ledger == [span(0, 3, REQUESTED), span(3, 6, AGAIN, 1), span(6, 9, REQUESTED)]

    def test_a_later_failure_replaces_an_earlier_one(self) -> None:
        known, new = span(0, 9, FAILED, 1, "timeout"), span(0, 9, FAILED, 2, "status 500")
        assert record([known], [new]) == [new]

    def test_what_was_asked_keeps_its_first_moment(self) -> None:
        assert record([span(0, 9, ASKED, 1)], [span(0, 9, ASKED, 2)]) == [span(0, 9, ASKED, 1)]

    def test_what_is_not_replaced_stays_around_the_new(self) -> None:
        ledger = record([span(0, 9, REQUESTED)], [span(3, 6, FAILED, 5, "timeout")])
        assert ledger == [span(0, 3, REQUESTED), span(3, 6, FAILED, 5, "timeout"), span(6, 9, REQUESTED)]

    def test_the_new_fills_the_places_around_what_stays(self) -> None:
        ledger = record([span(3, 6, ASKED, 1)], [span(0, 9, FAILED, 5)])
        assert ledger == [span(0, 3, FAILED, 5), span(3, 6, ASKED, 1), span(6, 9, FAILED, 5)]

    @pytest.mark.parametrize(("first", "second"), [(None, 2), (2, None)])
    def test_what_others_have_stored_stays_apart_from_what_was_asked_for(
        self, first: int | None, second: int | None
    ) -> None:
        two = [span(0, 3, ASKED, first), span(3, 6, ASKED, second)]
        assert record([], two) == two

    @pytest.mark.parametrize(("first", "second", "both"), [(1, 2, 1), (2, 1, 1), (None, None, None)])
    def test_neighbours_alike_become_one_as_old_as_the_older(
        self, first: int | None, second: int | None, both: int | None
    ) -> None:
        ledger = record([span(0, 3, ASKED, first)], [span(3, 6, ASKED, second)])
        assert ledger == [span(0, 6, ASKED, both)]

    def test_failures_of_two_kinds_stay_apart(self) -> None:
        two = [span(0, 3, FAILED, 1, "timeout"), span(3, 6, FAILED, 1, "status 500")]
        assert record([], two) == two

    def test_failures_of_two_moments_stay_apart_since_each_is_asked_again_in_its_time(self) -> None:
        two = [span(0, 3, FAILED, 1, "timeout"), span(3, 6, FAILED, 2, "timeout")]
        assert record([], two) == two

    def test_steady_state_is_one_row(self) -> None:
        ledger: list[CoveredInterval] = []
        for n in range(50):
            ledger = record(ledger, [span(max(0, n - 1), n + 1, ASKED, n)])
        assert ledger == [span(0, 50, ASKED, 0)]

    def test_news_of_no_length_are_no_news(self) -> None:
        assert record([], [span(3, 3, ASKED), span(4, 3, ASKED)]) == []
        known = [span(0, 9, REQUESTED)]
        assert record(known, [span(3, 3, ASKED), span(4, 3, ASKED)]) == known

    @given(NEWS, NEWS)
    def test_each_slot_has_what_the_rules_make_of_its_news(
        self, before: list[CoveredInterval], news: list[CoveredInterval]
    ) -> None:
        expected: dict[int, tuple[IntervalState, str | None]] = {}
        for new in before + news:
            for at_ms in range(new.start_ms, new.end_ms, BAR_MS):
                there = expected[at_ms][0] if at_ms in expected else None
                if new.state is AGAIN:
                    if there in (None, ASKED, AGAIN):
                        expected[at_ms] = (AGAIN if there else REQUESTED, None)
                    continue
                if there is AGAIN and new.state is not ASKED:
                    if new.state in (FAILED, REJECTED):
                        expected[at_ms] = (AGAIN, new.error)
                    elif new.state is not REQUESTED:
                        expected[at_ms] = (ASKED, None)
                    continue
                stays = {
                    REQUESTED: (FAILED, REJECTED),
                    FAILED: (NOT_WANTED,),
                    REJECTED: (NOT_WANTED,),
                }
                if there is ASKED or there in stays.get(new.state, ()):
                    continue
                expected[at_ms] = (new.state, new.error)
        assert slots(record(record([], before), news)) == expected

    @given(LEDGERS, NEWS)
    def test_rows_ascend_apart_and_unlike_their_neighbours(
        self, known: list[CoveredInterval], news: list[CoveredInterval]
    ) -> None:
        ledger = record(known, news)
        assert all(row.start_ms < row.end_ms for row in ledger)
        for before, after in pairwise(ledger):
            assert before.end_ms <= after.start_ms
            alike = (before.state, before.error) == (after.state, after.error)
            both_asked = (before.asked_ms is None) == (after.asked_ms is None)
            timeless = before.state is REQUESTED or (before.state is ASKED and both_asked)
            alike &= timeless or before.asked_ms == after.asked_ms
            assert not (alike and before.end_ms == after.start_ms)

    @given(LEDGERS, BATCHES)
    def test_the_same_news_again_change_nothing(
        self, known: list[CoveredInterval], news: list[CoveredInterval]
    ) -> None:
        once = record(known, news)
        assert record(once, news) == once

    @given(LEDGERS)
    def test_no_news_change_nothing(self, known: list[CoveredInterval]) -> None:
        assert record(known, []) == known

    @given(st.lists(some_spans(tuple(set(IntervalState) - {AGAIN})), max_size=8))
    def test_a_row_is_as_old_as_its_oldest_part(self, news: list[CoveredInterval]) -> None:
        """Of parts that nothing replaces: what was asked first."""
        first: dict[int, int | None] = {}
        for new in [new for new in news if new.state is ASKED]:
            for at_ms in range(new.start_ms, new.end_ms, BAR_MS):
                first.setdefault(at_ms, new.asked_ms)
        for row in [row for row in record([], news) if row.state is ASKED]:
            moments = [first[at_ms] for at_ms in range(row.start_ms, row.end_ms, BAR_MS)]
            assert row.asked_ms == min((at for at in moments if at is not None), default=None)

    def test_an_answer_of_ten_thousand_bars_of_which_every_second_is_faulty_is_no_matter(self) -> None:
        news = [span(n, n + 1, FAILED if n % 2 else ASKED, 1) for n in range(10_000)]
        started = time.process_time()
        assert len(record(record([], news), [span(0, 10_000, REQUESTED), *news])) == 10_000
        assert time.process_time() - started < 3  # measured 0.04


class TestOpenStretches:
    def test_what_was_not_asked_is_told_with_what_is_known_of_it(self) -> None:
        ledger = [span(2, 4, ASKED, 1), span(4, 6, FAILED, 7, "timeout"), span(8, 30, NOT_IN_PLAN, 2)]
        assert unanswered(ledger, 0, 10 * BAR_MS) == [
            span(0, 2, REQUESTED),
            span(4, 6, FAILED, 7, "timeout"),
            span(6, 8, REQUESTED),
            span(8, 10, NOT_IN_PLAN, 2),
        ]

    def test_without_a_ledger_all_is_open(self) -> None:
        assert unanswered([], 0, BAR_MS) == [span(0, 1, REQUESTED)]
        assert unanswered([], BAR_MS, BAR_MS) == []
        assert unanswered([span(0, 9, FAILED)], 3 * BAR_MS, 3 * BAR_MS) == []

    @given(LEDGERS, st.integers(0, SLOTS), st.integers(0, SLOTS))
    def test_each_slot_that_is_not_asked_is_in_one_stretch(
        self, ledger: list[CoveredInterval], start: int, end: int
    ) -> None:
        known = slots(ledger)
        expected = {
            at: known.get(at, (REQUESTED, None))
            for at in range(start * BAR_MS, end * BAR_MS, BAR_MS)
            if known.get(at, (REQUESTED, None))[0] is not ASKED
        }
        found = unanswered(ledger, start * BAR_MS, end * BAR_MS)
        assert slots(found) == expected
        assert all(part.start_ms < part.end_ms for part in found)
        assert sum(part.end_ms - part.start_ms for part in found) == len(expected) * BAR_MS


class TestAskedTo:
    LEDGER = (span(0, 2, ASKED), span(2, 4, REQUESTED), span(6, 8, ASKED), span(8, 9, FAILED))

    def test_is_the_end_of_the_last_asked_span(self) -> None:
        assert asked_to(self.LEDGER, 20 * BAR_MS) == 8 * BAR_MS

    def test_is_never_later_than_now_though_the_clock_was_ahead_once(self) -> None:
        assert asked_to(self.LEDGER, 7 * BAR_MS) == 7 * BAR_MS
        assert asked_to(self.LEDGER, 5 * BAR_MS) == 2 * BAR_MS

    def test_is_none_where_nothing_was_asked(self) -> None:
        assert asked_to([], BAR_MS) is asked_to([span(0, 2, FAILED)], BAR_MS) is None
        assert asked_to([span(1, 2, ASKED)], BAR_MS) is None


FRIDAY, SUNDAY = new_york("2026-01-09 17:00"), new_york("2026-01-11 17:00")
SUMMER, THANKSGIVING = new_york("2026-03-08 00:00"), new_york("2026-11-26 00:00")
"""Forex closes and opens again."""


class TestHoles:
    @pytest.mark.parametrize(
        ("known", "reason"),
        [
            ([span(0, 9, ASKED, 7)], GapReason.NOTHING),
            ([span(0, 9, FAILED, 7, "timeout")], GapReason.FAILED),
            ([span(0, 9, NOT_IN_PLAN, 7)], GapReason.NOT_IN_PLAN),
            ([span(0, 9, REJECTED, 7)], GapReason.REJECTED),
            ([span(0, 9, REQUESTED)], GapReason.NOT_ASKED),
            ([span(0, 9, NOT_WANTED)], GapReason.NOT_WANTED),
            ([], GapReason.NOT_ASKED),
        ],
    )
    def test_the_reason_follows_from_the_coverage(
        self, known: list[CoveredInterval], reason: GapReason
    ) -> None:
        asked_ms, error = (known[0].asked_ms, known[0].error) if known else (None, None)
        found = explained_gaps(Market.CRYPTO, known, [(2 * BAR_MS, 5 * BAR_MS)], DAY_MS)
        assert found == [Gap(2 * BAR_MS, 5 * BAR_MS, reason, 3, asked_ms, error)]

    def test_what_the_key_may_not_see_yet_is_not_published(self) -> None:
        found = explained_gaps(Market.CRYPTO, [span(0, 9, ASKED, 7)], [(0, 5 * BAR_MS)], 3 * BAR_MS)
        assert [(gap.reason, gap.bars) for gap in found] == [
            (GapReason.NOTHING, 3),
            (GapReason.NOT_PUBLISHED, 2),
        ]

    def test_a_slot_that_has_not_ended_when_the_view_ends_is_not_published(self) -> None:
        found = explained_gaps(Market.CRYPTO, [], [(0, 5 * BAR_MS)], 3 * BAR_MS - 1)
        assert [(gap.reason, gap.bars) for gap in found] == [
            (GapReason.NOT_ASKED, 2),
            (GapReason.NOT_PUBLISHED, 3),
        ]

    def test_a_closed_market_is_no_gap(self) -> None:
        assert explained_gaps(Market.FOREX, [], [(FRIDAY, SUNDAY)], SUNDAY + DAY_MS) == []

    def test_a_gap_over_a_weekend_is_one_and_counts_only_open_slots(self) -> None:
        gap = (FRIDAY - 2 * BAR_MS, SUNDAY + 3 * BAR_MS)
        assert explained_gaps(Market.FOREX, [], [gap], SUNDAY + DAY_MS) == [Gap(*gap, GapReason.NOT_ASKED, 5)]

    def test_a_gap_begins_and_ends_with_a_missing_slot(self) -> None:
        start_ms = FRIDAY - 2 * BAR_MS
        found = explained_gaps(Market.FOREX, [], [(start_ms, SUNDAY - BAR_MS)], SUNDAY + DAY_MS)
        assert found == [Gap(start_ms, FRIDAY, GapReason.NOT_ASKED, 2)]

    def test_a_stored_bar_between_them_keeps_gaps_apart(self) -> None:
        gaps = [(0, 2 * BAR_MS), (3 * BAR_MS, 5 * BAR_MS)]
        assert [gap.bars for gap in explained_gaps(Market.CRYPTO, [], gaps, DAY_MS)] == [2, 2]

    def test_other_errors_keep_gaps_apart(self) -> None:
        known = [span(0, 2, FAILED, 1, "timeout"), span(2, 5, FAILED, 1, "status 500")]
        found = explained_gaps(Market.CRYPTO, known, [(0, 5 * BAR_MS)], DAY_MS)
        assert [(gap.bars, gap.error) for gap in found] == [(2, "timeout"), (3, "status 500")]

    def test_a_gap_of_several_rows_was_asked_when_its_oldest_part_was(self) -> None:
        known = [
            CoveredInterval(FRIDAY - BAR_MS, FRIDAY, FAILED, 9, "timeout"),
            CoveredInterval(SUNDAY, SUNDAY + BAR_MS, FAILED, 3, "timeout"),
        ]
        found = explained_gaps(Market.FOREX, known, [(FRIDAY - BAR_MS, SUNDAY + BAR_MS)], SUNDAY + DAY_MS)
        assert found == [Gap(FRIDAY - BAR_MS, SUNDAY + BAR_MS, GapReason.FAILED, 2, 3, "timeout")]

    def test_closed_times_are_listed_when_asked_for(self) -> None:
        gap = (FRIDAY - 2 * BAR_MS, SUNDAY + 3 * BAR_MS)
        found = explained_gaps(Market.FOREX, [], [gap], SUNDAY + DAY_MS, include_closed=True)
        assert found == [
            Gap(gap[0], FRIDAY, GapReason.NOT_ASKED, 2),
            Gap(FRIDAY, SUNDAY, GapReason.CLOSED, 0),
            Gap(SUNDAY, gap[1], GapReason.NOT_ASKED, 3),
        ]
        assert explained_gaps(Market.FOREX, [], [(FRIDAY, SUNDAY)], FRIDAY, include_closed=True) == [
            Gap(FRIDAY, SUNDAY, GapReason.CLOSED, 0)
        ]

    @pytest.mark.parametrize(
        ("market", "reason"),
        [
            (Market.STOCK, GapReason.HALTED_OR_THIN),
            (Market.STOCK_EXTENDED, GapReason.HALTED_OR_THIN),
            (Market.INDEX, GapReason.NOTHING),
        ],
    )
    def test_a_stock_of_which_there_is_nothing_was_halted_or_not_traded(
        self, market: Market, reason: GapReason
    ) -> None:
        noon = new_york("2026-11-24T12:00")
        known = [CoveredInterval(noon, noon + DAY_MS, ASKED, 7)]
        found = explained_gaps(market, known, [(noon, noon + 2 * BAR_MS)], noon + DAY_MS)
        assert found == [Gap(noon, noon + 2 * BAR_MS, reason, 2, 7)]

    @pytest.mark.parametrize(
        ("start", "end", "holiday"),
        [
            ("2026-11-25T16:00", "2026-11-27T09:30", "Thanksgiving Day"),
            ("2026-11-26T10:00", "2026-11-26T11:00", "Thanksgiving Day"),
            ("2026-11-27T13:00", "2026-11-30T09:30", "Day after Thanksgiving"),
            ("2026-11-27T00:00", "2026-11-27T09:30", None),
            ("2026-11-20T16:00", "2026-11-23T09:30", None),
            ("2012-10-26T16:00", "2012-10-31T09:30", "Hurricane Sandy"),
            ("2025-01-08T16:00", "2025-01-10T09:30", "Funeral of Jimmy Carter"),
        ],
    )
    def test_a_closed_time_has_the_name_of_its_holiday(
        self, start: str, end: str, holiday: str | None
    ) -> None:
        gap = new_york(start), new_york(end)
        found = explained_gaps(Market.STOCK, [], [gap], gap[1], include_closed=True)
        assert found == [Gap(*gap, GapReason.CLOSED, 0, holiday=holiday)]

    @given(st.data(), st.sampled_from(Market), st.booleans())
    def test_every_open_slot_of_the_gaps_is_in_one_gap_with_its_reason(
        self, data: st.DataObject, market: Market, include_closed: bool
    ) -> None:
        # Three days around a weekend, a metal's break or a holiday, at borders of an hour or anywhere.
        start = data.draw(st.sampled_from([FRIDAY, SUNDAY, SUMMER, THANKSGIVING])) - DAY_MS
        border = st.integers(0, 3 * 24 * 12) | st.integers(0, 72).map(lambda hour: hour * 12)
        moment = border.map(lambda slot: start + slot * BAR_MS)
        edges = sorted(set(data.draw(st.lists(moment, max_size=8))))
        gaps = list(zip(edges[::2], edges[1::2], strict=False))
        stretches = st.tuples(
            moment, moment, st.sampled_from(IntervalState), st.sampled_from([None, "timeout"])
        )
        known = record(
            [],
            [
                CoveredInterval(first, last, state, 1, error if state is FAILED else None)
                for first, last, state, error in data.draw(st.lists(stretches, max_size=6))
            ],
        )
        visible_until_ms = data.draw(moment) + data.draw(st.sampled_from([0, 1, BAR_MS - 1]))

        rows = slots(known)
        nothing = (
            GapReason.HALTED_OR_THIN if market in (Market.STOCK, Market.STOCK_EXTENDED) else GapReason.NOTHING
        )
        reasons = {
            ASKED: nothing,
            REQUESTED: GapReason.NOT_ASKED,
            FAILED: GapReason.FAILED,
            NOT_IN_PLAN: GapReason.NOT_IN_PLAN,
            NOT_WANTED: GapReason.NOT_WANTED,
            REJECTED: GapReason.REJECTED,
            AGAIN: nothing,
        }
        expected: dict[int, tuple[GapReason, str | None]] = {}
        for first, last in gaps:
            for at_ms in range(first, last, BAR_MS):
                if at_ms + BAR_MS > visible_until_ms:
                    why: tuple[GapReason, str | None] = (GapReason.NOT_PUBLISHED, None)
                else:
                    state, error = rows.get(at_ms, (REQUESTED, None))
                    why = (reasons[state], error)
                if is_open(market, at_ms):
                    expected[at_ms] = why
                elif include_closed:
                    expected[at_ms] = (GapReason.CLOSED, None)

        found = explained_gaps(market, known, gaps, visible_until_ms, include_closed=include_closed)
        told: dict[int, tuple[GapReason, str | None]] = {}
        for gap in found:
            inside = [at for at in range(gap.start_ms, gap.end_ms, BAR_MS) if at in expected]
            counted = [at for at in inside if is_open(market, at)]
            assert gap.bars == (0 if gap.reason is GapReason.CLOSED else len(counted))
            assert not told.keys() & set(inside), "no slot is in two gaps"
            told.update(dict.fromkeys(inside, (gap.reason, gap.error)))
            assert gap.start_ms in expected
            assert gap.end_ms - BAR_MS in expected, "begins and ends with a slot of its own"
        assert told == expected

        for before, after in pairwise(found):
            assert before.end_ms <= after.start_ms
            between = range(before.end_ms, after.start_ms, BAR_MS)
            alike = (before.reason, before.error) == (after.reason, after.error)
            if alike and before.reason is not GapReason.CLOSED:
                assert any(is_open(market, at_ms) for at_ms in between), "alike, and nothing between them"


class TestCompleteness:
    def test_is_the_share_of_open_time_that_was_asked(self) -> None:
        known = [span(0, 6, ASKED), span(8, 9, ASKED)]
        assert completeness(Market.CRYPTO, known, 14 * BAR_MS) == 0.5

    def test_counts_from_the_first_row_to_the_horizon(self) -> None:
        known = [span(4, 5, REQUESTED), span(5, 20, ASKED)]
        assert completeness(Market.CRYPTO, known, 8 * BAR_MS) == 0.75

    def test_leaves_out_what_the_plan_does_not_have(self) -> None:
        known = [span(0, 90, NOT_IN_PLAN), span(90, 91, REQUESTED), span(91, 94, ASKED)]
        assert completeness(Market.CRYPTO, known, 94 * BAR_MS) == 0.75

    def test_leaves_out_closed_times(self) -> None:
        known = [CoveredInterval(FRIDAY - HOUR_MS, FRIDAY, ASKED)]
        assert completeness(Market.FOREX, known, SUNDAY) == 1
        assert completeness(Market.FOREX, known, SUNDAY + HOUR_MS) == 0.5

    def test_is_exactly_1_when_all_that_has_ended_when_the_view_ends_was_asked(self) -> None:
        assert completeness(Market.CRYPTO, [span(0, 7, ASKED)], 8 * BAR_MS - 1) == 1

    @pytest.mark.parametrize(
        ("known", "visible_until_ms"),
        [
            ([], FRIDAY),
            ([CoveredInterval(FRIDAY, SUNDAY, ASKED)], SUNDAY),
            ([CoveredInterval(FRIDAY - HOUR_MS, FRIDAY, NOT_IN_PLAN)], SUNDAY),
            ([CoveredInterval(FRIDAY - HOUR_MS, FRIDAY, ASKED)], FRIDAY - HOUR_MS),
            ([CoveredInterval(FRIDAY - HOUR_MS, FRIDAY, ASKED)], FRIDAY - DAY_MS),
        ],
    )
    def test_is_none_where_there_is_no_open_time(
        self, known: list[CoveredInterval], visible_until_ms: int
    ) -> None:
        assert completeness(Market.FOREX, known, visible_until_ms) is None

    @given(LEDGERS, st.integers(0, SLOTS + 3))
    def test_agrees_with_counting_slots(self, known: list[CoveredInterval], horizon: int) -> None:
        rows = slots(known)
        first = known[0].start_ms if known else 0
        states = [rows.get(at, (REQUESTED, None))[0] for at in range(first, horizon * BAR_MS, BAR_MS)]
        total = sum(state not in (NOT_IN_PLAN, NOT_WANTED) for state in states)
        answered = sum(state in (ASKED, AGAIN) for state in states)
        expected = answered / total if known and total else None
        assert completeness(Market.CRYPTO, known, horizon * BAR_MS) == expected


def fewest(days: list[date], page_days: int) -> int:
    """The fewest pages that cover these days (ascending), by trying every length of the first page."""

    @cache
    def of(start: int) -> int:
        if start == len(days):
            return 0
        ends = [n for n in range(start, len(days)) if (days[n] - days[start]).days < page_days]
        return 1 + min(of(end + 1) for end in ends)

    return of(0)


class TestPages:
    MONDAY = date(2026, 1, 5)

    def day(self, number: int) -> date:
        return self.MONDAY + timedelta(days=number)

    def whole(self, first: int, last: int) -> tuple[int, int]:
        """From the start of a day to the end of another; day 0 is a Monday."""
        return start_of_day(self.day(first)), start_of_day(self.day(last + 1))

    def test_the_newest_comes_first_and_ends_at_the_newest_day(self) -> None:
        assert pages(Market.CRYPTO, [self.whole(0, 69)]) == [
            (self.day(36), self.day(69)),
            (self.day(2), self.day(35)),
            (self.day(0), self.day(1)),
        ]

    def test_near_stretches_share_a_page(self) -> None:
        stretches = [self.whole(0, 0), self.whole(20, 21), self.whole(33, 33)]
        assert pages(Market.CRYPTO, stretches) == [(self.day(0), self.day(33))]

    def test_no_page_covers_what_nobody_needs(self) -> None:
        stretches = [self.whole(0, 0), self.whole(300, 301)]
        assert pages(Market.CRYPTO, stretches) == [(self.day(300), self.day(301)), (self.day(0), self.day(0))]

    def test_a_weekend_is_at_no_edge(self) -> None:
        # From a Saturday to the Saturday after the next: 13 days, of which Sunday to Friday are needed.
        assert pages(Market.FOREX, [self.whole(5, 19)]) == [(self.day(6), self.day(18))]

    def test_closed_time_needs_no_page(self) -> None:
        assert pages(Market.FOREX, [(FRIDAY, SUNDAY)]) == []
        assert pages(Market.FOREX, []) == []

    def test_a_stretch_that_ends_when_the_market_opens_begins_no_page(self) -> None:
        monday_ms = SUNDAY + 24 * HOUR_MS
        monday = day_of(monday_ms)
        assert pages(Market.FOREX, [(FRIDAY, SUNDAY), (monday_ms, monday_ms + HOUR_MS)]) == [(monday, monday)]

    def test_a_slot_makes_its_day_needed(self) -> None:
        start = start_of_day(self.day(1)) - BAR_MS
        assert pages(Market.FOREX, [(start, start + 2 * BAR_MS)]) == [(self.day(0), self.day(1))]
        assert pages(Market.FOREX, [(start, start + BAR_MS)]) == [(self.day(0), self.day(0))]

    def test_two_years_of_a_market_that_never_closes_are_at_most_23_calls(self) -> None:
        end = datetime(2026, 11, 23, tzinfo=UTC)
        assert len(pages(Market.CRYPTO, [(to_ms(end - timedelta(days=731)), to_ms(end))])) <= 23

    @given(st.sampled_from(Market), st.lists(st.tuples(*[st.integers(0, 40 * 24)] * 2)), st.integers(1, 9))
    def test_the_fewest_pages_cover_every_open_slot(
        self, market: Market, hours: list[tuple[int, int]], page_days: int
    ) -> None:
        first_ms = start_of_day(date(2026, 2, 20))  # the clocks change on day 16
        stretches = [(first_ms + start * HOUR_MS, first_ms + end * HOUR_MS) for start, end in hours]
        days = sorted(
            {
                day_of(at_ms)
                for start_ms, end_ms in stretches
                for at_ms in range(start_ms, end_ms, HOUR_MS // 2)
                if is_open(market, at_ms)
            }
        )
        found = pages(market, stretches, Reach(page_days))
        assert all(any(first <= day <= last for first, last in found) for day in days)
        assert all(first in days and last in days for first, last in found), "edges are needed days"
        assert all((last - first).days < page_days for first, last in found)
        assert all(later[0] > earlier[1] for later, earlier in pairwise(found))
        assert len(found) == fewest(days, page_days)
        assert all(sessions(market, day) for page in found for day in page)
