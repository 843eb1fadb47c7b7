"""Which stored bars are asked for again, and what is known of them afterwards."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import looks
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import start_of_day
from assetbatch.domain.models import (
    BAR_MS,
    Comparison,
    CoveredInterval,
    IntervalState,
    Look,
    StoredAsset,
)
from assetbatch.domain.pages import PAGE_DAYS
from assetbatch.domain.pauses import NOTHING_AGAIN_MS
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.verification import (
    SETTLED_MS,
    Tally,
    Verified,
    Wanted,
    next_page,
    pages_to_verify,
    record,
    to_doubt,
)
from assetbatch.domain.work import Work, WorkKind, days_range

BEGIN = start_of_day(date(2026, 3, 9))
NOW = start_of_day(date(2026, 11, 18))
SLOTS = 40


def day(number: float) -> int:
    return BEGIN + round(number * DAY_MS)


def asked(first: float, end: float, asked_ms: int | None = 1) -> CoveredInterval:
    return CoveredInterval(day(first), day(end), IntervalState.ASKED, asked_ms)


def seen(first: float, end: float, at: float, **known: float) -> Verified:
    return Verified(day(first), day(end), day(at), day(at), **known)  # type: ignore[arg-type]


def page(coverage: list[CoveredInterval], rows: list[Verified], at: float, **options: int) -> Wanted | None:
    now_ms = day(at)
    bounds = 0, now_ms - SETTLED_MS
    return next_page(Market.CRYPTO, coverage, rows, bounds, now_ms, **options)


def days_of(wanted: Wanted | None) -> tuple[date, date] | None:
    return (wanted.first_day, wanted.last_day) if wanted else None


class TestWhichPageIsNext:
    def test_the_oldest_of_what_was_never_asked_for_again(self) -> None:
        coverage = [asked(0, 200, BEGIN)]
        assert days_of(page(coverage, [], 200)) == (date(2026, 3, 9), date(2026, 4, 11))

    def test_then_the_one_behind_it(self) -> None:
        rows = [seen(0, PAGE_DAYS, 200)]
        assert days_of(page([asked(0, 200, BEGIN)], rows, 200)) == (date(2026, 4, 12), date(2026, 5, 15))

    def test_the_one_that_was_asked_for_least_recently(self) -> None:
        rows = [seen(0, 34, 300), seen(34, 68, 290), seen(68, 102, 295)]
        assert days_of(page([asked(0, 102, BEGIN)], rows, 310)) == (date(2026, 4, 12), date(2026, 5, 15))

    def test_none_within_a_week_of_the_last_request(self) -> None:
        assert page([asked(0, 34, BEGIN)], [seen(0, 34, 300)], 306) is None
        assert page([asked(0, 34, BEGIN)], [seen(0, 34, 300)], 307) is not None

    def test_what_a_backfill_has_just_brought_waits_a_week(self) -> None:
        assert page([asked(0, 34, day(300))], [], 306) is None
        assert page([asked(0, 34, day(300))], [], 307) is not None

    def test_what_grows_day_by_day_is_asked_for_by_the_week(self) -> None:
        rows = [seen(0, 34, 45)]
        assert page([asked(0, 47.9, BEGIN)], rows, 47.9) is None
        assert days_of(page([asked(0, 48, BEGIN)], rows, 48)) == (date(2026, 4, 12), date(2026, 4, 18))

    def test_an_interval_without_a_bar_goes_first_after_7_30_and_then_180_days(self) -> None:
        assert NOTHING_AGAIN_MS == (7 * DAY_MS, 30 * DAY_MS, 180 * DAY_MS)
        coverage = [asked(0, 68, BEGIN)]
        for checks, pause in ((1, 30), (2, 180), (9, 180)):
            rows = [seen(0, 34, 200), seen(34, 68, 205, nothing=3, checks=checks)]
            before, due = page(coverage, rows, 204.9 + pause), page(coverage, rows, 205 + pause)
            assert (before and before.first_day, due and due.first_day) == (
                date(2026, 3, 9),
                date(2026, 4, 12),
            )

    def test_whatever_else_was_answered_comes_along_as_far_as_a_page_reaches(self) -> None:
        rows = [seen(0, 5, 200), seen(5, 10, 290), seen(10, 15, 300)]
        assert days_of(page([asked(0, 15, BEGIN)], rows, 302)) == (date(2026, 3, 9), date(2026, 3, 23))

    @pytest.mark.parametrize("state", [IntervalState.NOT_WANTED, IntervalState.NOT_IN_PLAN])
    def test_what_nobody_wants_or_the_plan_lacks_does_not(self, state: IntervalState) -> None:
        coverage = [asked(0, 5, 1), CoveredInterval(day(5), day(10), state), asked(10, 15, 1)]
        assert days_of(page(coverage, [], 200)) == (date(2026, 3, 9), date(2026, 3, 13))

    def test_what_another_program_has_stored_is_left_alone(self) -> None:
        assert page([asked(0, 5, None)], [], 200) is None
        coverage = [asked(0, 5, 1), asked(5, 10, None)]
        assert days_of(page(coverage, [], 200)) == (date(2026, 3, 9), date(2026, 3, 13))

    def test_what_is_asked_for_anyway_is_left_to_that(self) -> None:
        coverage = [CoveredInterval(day(0), day(5), IntervalState.AGAIN)]
        assert page(coverage, [], 200) is None

    def test_closed_time_is_no_reason_for_a_call(self) -> None:
        saturday = start_of_day(date(2026, 3, 14))
        coverage = [CoveredInterval(saturday, saturday + 20 * HOUR_MS, IntervalState.ASKED, 1)]
        bounds = 0, NOW
        assert next_page(Market.FOREX, coverage, [], bounds, NOW) is None
        assert next_page(Market.CRYPTO, coverage, [], bounds, NOW) is not None


class TestAllPages:
    ASSETS = tuple(
        Asset(symbol=name, polygon_ticker=f"X:{name}", asset_type=AssetType.CRYPTO) for name in ("A", "B")
    )

    def pages(self, stored: dict[str, StoredAsset], **options: int) -> list[Work]:
        known = Entitlements(end_of_day=True)
        return list(pages_to_verify(self.ASSETS, stored, {}, known, NOW, **options))

    def test_each_comes_once_the_longest_unasked_first(self) -> None:
        stored = {
            "A": StoredAsset(symbol="A", coverage=(asked(0, 100, day(20)),)),
            "B": StoredAsset(symbol="B", coverage=(asked(0, 50, day(10)),)),
        }
        found = [(work.asset.symbol, work.first_day) for work in self.pages(stored)]
        assert found == [
            ("B", date(2026, 3, 9)),
            ("A", date(2026, 3, 9)),
            ("B", date(2026, 4, 12)),
            ("A", date(2026, 4, 12)),
            ("A", date(2026, 5, 16)),
        ]

    def test_none_of_what_is_not_registered_unknown_or_not_in_the_plan(self) -> None:
        refused = StoredAsset(symbol="A", coverage=(asked(0, 9),), sync_status=Status.NOT_FOUND)
        assert self.pages({"A": refused}) == []
        assert self.pages({"A": StoredAsset(symbol="A")}) == []

    @given(
        st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), max_size=4),
        st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40), st.integers(0, 400)), max_size=4),
    )
    def test_they_cover_all_that_is_due_and_end(
        self, parts: list[tuple[int, int]], done: list[tuple[int, int, int]]
    ) -> None:
        coverage: list[CoveredInterval] = []
        at = 0
        for gap, length in parts:
            coverage.append(asked(at + gap, at + gap + length, BEGIN))
            at += gap + length + 1
        rows: list[Verified] = []
        for first, length, tried in done:
            rows = record(rows, Look(day(first), day(first + length), day(tried - 200)), Comparison())
        stored = {"A": StoredAsset(symbol="A", coverage=tuple(coverage))}
        known = Entitlements(end_of_day=True)
        found = list(pages_to_verify(self.ASSETS[:1], stored, {"A": rows}, known, NOW, pause_ms=0))
        assert len(found) <= 2 * (len(parts) + len(rows)) + at // PAGE_DAYS + 1
        spans = [days_range(work) for work in found]
        for one in coverage:
            for at_ms in range(one.start_ms, min(one.end_ms, NOW - SETTLED_MS), DAY_MS):
                recent = any(row.start_ms <= at_ms < row.end_ms and row.tried_ms >= NOW for row in rows)
                assert recent or any(start <= at_ms < end for start, end in spans)
        for work in found:
            assert work.kind is WorkKind.VERIFY
            start_ms, end_ms = days_range(work)
            assert end_ms - start_ms <= (PAGE_DAYS + 1) * DAY_MS


def look(first: int, end: int, at: int = 9, **options: bool) -> Look:
    return Look(first * BAR_MS, end * BAR_MS, at, end - first, **options)


def row(first: int, end: int, at: int = 1, **known: float) -> Verified:
    return Verified(first * BAR_MS, end * BAR_MS, at, at, **known)  # type: ignore[arg-type]


ROUND = Comparison(compared=10, changed=2, appeared=0, vanished=1, largest=0.5, slots=4)


class TestWhatIsRecorded:
    def test_of_a_page_that_was_never_compared(self) -> None:
        (only,) = record([], look(0, 6), ROUND)
        assert only == row(
            0,
            6,
            9,
            compared=10,
            differed=3,
            changed=2,
            vanished=1,
            largest=0.5,
            nothing=2,
            checks=1,
        )

    def test_differences_add_up_and_nothing_is_confirmed(self) -> None:
        first = record([], look(0, 6), ROUND)
        (only,) = record(first, look(0, 6, 20), Comparison(compared=10, changed=1, largest=0.1, slots=4))
        assert (only.changed, only.vanished, only.differed, only.largest, only.checks) == (3, 1, 1, 0.5, 2)

    def test_a_bar_that_appears_begins_the_pauses_anew(self) -> None:
        first = [row(0, 6, nothing=2, checks=5)]
        (only,) = record(first, look(0, 6), Comparison(compared=5, appeared=1, slots=5))
        assert (only.nothing, only.checks) == (1, 1)

    def test_what_was_ordered_says_nothing_of_the_rest(self) -> None:
        (only,) = record([], look(0, 6, insisted=True), ROUND)
        assert (only.compared, only.differed, only.changed) == (0, 0, 2)

    def test_an_answer_of_no_use_leaves_what_is_known_and_its_moment(self) -> None:
        rows = record([row(2, 4, compared=7)], look(0, 6, usable=False), Comparison())
        assert [(r.start_ms // BAR_MS, r.tried_ms, r.verified_ms, r.compared) for r in rows] == [
            (0, 9, None, 0),
            (2, 9, 1, 7),
            (4, 9, None, 0),
        ]

    @given(
        st.lists(
            st.tuples(st.integers(0, SLOTS - 1), st.integers(1, SLOTS), st.booleans(), st.integers(0, 9)),
            max_size=8,
        )
    )
    def test_rows_never_overlap_know_the_last_request_and_lose_no_difference(
        self, events: list[tuple[int, int, bool, int]]
    ) -> None:
        rows: list[Verified] = []
        tried: dict[int, int] = {}
        compared: dict[int, int] = {}
        total = 0
        for at, (first, length, usable, changed) in enumerate(events, start=1):
            found = Comparison(compared=9, changed=changed, slots=length) if usable else Comparison()
            total += found.changed
            rows = record(rows, look(first, first + length, at, usable=usable), found)
            tried |= dict.fromkeys(range(first, first + length), at)
            compared |= dict.fromkeys(range(first, first + length), at) if usable else {}
        for before, after in pairwise(rows):
            assert before.end_ms <= after.start_ms
        shown = {
            slot: (r.tried_ms, r.verified_ms)
            for r in rows
            for slot in range(r.start_ms // BAR_MS, r.end_ms // BAR_MS)
        }
        assert shown == {slot: (at, compared.get(slot)) for slot, at in tried.items()}
        assert sum(r.changed for r in rows) == total


class TestDoubts:
    COVERAGE = (asked(0, 300, 1),)

    def test_more_than_one_percent_makes_all_wanted_again_but_for_what_was_just_compared(self) -> None:
        rows = [seen(0, 34, 200, compared=1000, differed=0), seen(34, 68, 250, compared=1000, differed=21)]
        assert to_doubt(self.COVERAGE, rows, None, day(250)) == [
            CoveredInterval(day(0), day(34), IntervalState.AGAIN),
            CoveredInterval(day(68), day(300), IntervalState.AGAIN),
        ]

    @pytest.mark.parametrize(
        ("compared", "differed", "since"),
        [(1000, 10, None), (99, 50, None), (1000, 500, day(260))],
    )
    def test_one_percent_or_few_bars_or_what_was_seen_before_the_last_time_does_not(
        self, compared: int, differed: int, since: int | None
    ) -> None:
        rows = [seen(34, 68, 250, compared=compared, differed=differed)]
        assert to_doubt(self.COVERAGE, rows, since, day(270)) == []


class TestTheShareThatIsVerified:
    def test_is_of_what_was_answered(self) -> None:
        coverage = [asked(0, 30), CoveredInterval(day(30), day(40), IntervalState.REQUESTED)]
        assert Tally(verified_ms=15 * DAY_MS).share_of(coverage) == 0.5
        assert Tally(verified_ms=99 * DAY_MS).share_of(coverage) == 1.0
        assert Tally().share_of([]) is None


class TestWhatAnAnswerIsComparedWith:
    NEWS = (
        CoveredInterval(day(0), day(2), IntervalState.ASKED, 9),
        CoveredInterval(day(2), day(3), IntervalState.FAILED, 9),
    )
    BEFORE = (asked(1, 2.5), CoveredInterval(day(2.5), day(3), IntervalState.AGAIN))

    def test_what_was_answered_before_as_far_as_it_is_usable(self) -> None:
        found = looks(Market.CRYPTO, self.NEWS, self.BEFORE, 9, insisted=False)
        assert [(one.start_ms, one.end_ms, one.usable) for one in found] == [
            (day(1), day(2), True),
            (day(2), day(2.5), False),
            (day(2.5), day(3), False),
        ]

    def test_of_what_somebody_insists_on_only_what_was_wanted_again(self) -> None:
        assert looks(Market.CRYPTO, self.NEWS, self.BEFORE, 9, insisted=True) == []
        before = [CoveredInterval(day(0), day(2), IntervalState.AGAIN)]
        (only,) = looks(Market.CRYPTO, self.NEWS, before, 9, insisted=True)
        assert (only.start_ms, only.end_ms, only.room, only.insisted) == (day(0), day(2), 576, True)
