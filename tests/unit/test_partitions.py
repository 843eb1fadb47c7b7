"""Which partitions a table of bars needs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from assetbatch.database.partitions import (
    EARLIER,
    LATER,
    MONTHS_AHEAD,
    MONTHS_BACK,
    Partition,
    missing,
)
from assetbatch.domain.market_hours import month_of, to_ms


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


NOW = utc("2026-11-27 23:30")
MOMENTS = st.integers(utc("1990-01-01"), utc("2090-01-01"))


def after(there: list[Partition], needed: list[Partition]) -> list[Partition]:
    """The partitions once those that are needed have been added, in their order."""
    replaced = {part.name for part in needed}
    kept = [part for part in there if part.name not in replaced]
    return sorted([*kept, *needed], key=lambda part: part.start_ms or 0)


def test_a_new_table_has_two_years_three_months_ahead_and_all_that_is_earlier_and_later() -> None:
    found = missing([], NOW)
    assert [found[0], found[1], found[-2], found[-1]] == [
        Partition(EARLIER, None, utc("2024-11-01")),
        Partition("ohlcv_5m_2024_11", utc("2024-11-01"), utc("2024-12-01")),
        Partition("ohlcv_5m_2027_02", utc("2027-02-01"), utc("2027-03-01")),
        Partition(LATER, utc("2027-03-01"), None),
    ]
    assert len(found) == MONTHS_BACK + 1 + MONTHS_AHEAD + 2


def test_nothing_is_missing_until_the_month_turns_at_midnight_utc() -> None:
    there = missing([], NOW)
    assert missing(there, utc("2026-11-30 23:59:59")) == []
    assert missing(there, utc("2026-12-01 00:00")) == [
        Partition("ohlcv_5m_2027_03", utc("2027-03-01"), utc("2027-04-01")),
        Partition(LATER, utc("2027-04-01"), None),
    ]


def test_a_month_that_was_dropped_is_missing() -> None:
    there = missing([], NOW)
    assert missing([*there[:5], *there[6:]], NOW) == [there[5]]


def test_a_table_that_was_there_before_is_the_first_partition() -> None:
    old = Partition("old", None, utc("2026-12-01"))
    assert [part.name for part in missing([old], NOW)] == [
        "ohlcv_5m_2026_12",
        "ohlcv_5m_2027_01",
        "ohlcv_5m_2027_02",
        LATER,
    ]


def test_a_month_that_begins_in_the_middle_is_named_by_the_day() -> None:
    old = Partition("old", None, utc("2026-12-10"))
    assert missing([old], NOW)[0] == Partition("ohlcv_5m_2026_12_10", utc("2026-12-10"), utc("2027-01-01"))


def test_where_a_platforms_partitions_reach_to_the_end_nothing_is_added_there() -> None:
    theirs = [Partition("p1", None, utc("2020-01-01")), Partition("p2", utc("2020-01-01"), None)]
    assert missing(theirs, NOW) == []


@given(MOMENTS)
def test_a_month_begins_at_its_first_midnight(at_ms: int) -> None:
    start_ms = month_of(at_ms)
    assert start_ms <= at_ms < month_of(at_ms, 1)
    assert month_of(start_ms - 1) == month_of(at_ms, -1)


@given(MOMENTS, MOMENTS, st.sets(st.integers(0, 40)))
def test_whatever_was_dropped_and_however_late_every_moment_gets_one_partition(
    made_ms: int, now_ms: int, dropped: set[int]
) -> None:
    there = [part for number, part in enumerate(missing([], made_ms)) if number not in dropped]
    full = after(there, missing(there, now_ms))
    assert (full[0].start_ms, full[-1].end_ms) == (None, None)
    assert all(one.end_ms == other.start_ms for one, other in pairwise(full))
    assert len({part.name for part in full}) == len(full)
    assert full[-1].start_ms is not None
    assert full[-1].start_ms >= month_of(now_ms, MONTHS_AHEAD + 1)
    assert missing(full, now_ms) == []
