"""Counters and series in Redis: they add up, and they stay bounded whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.metrics import CALLS, QUEUE_SIZE, Measured, Point
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.metrics import Metrics

MIDNIGHT = 1_800_000_000_000 // DAY_MS * DAY_MS
NOON = MIDNIGHT + DAY_MS // 2


@pytest.fixture
def metrics(redis_client: RedisClient, keys: Keys) -> Metrics:
    return Metrics(redis_client, keys)


def points(*points: Point) -> Measured:
    return Measured({}, points)


def test_counters_add_up(metrics: Metrics) -> None:
    metrics.record(Measured({"calls|ok": 2, "cycles|run_queue|ok": 1}, ()))
    metrics.record(Measured({"calls|ok": 3}, ()))
    assert metrics.counters() == {"calls|ok": 5, "cycles|run_queue|ok": 1}


@pytest.mark.parametrize(("how", "value"), [("sum", 9.0), ("last", 2.0), ("max", 4.0)])
def test_points_of_one_interval_are_one(metrics: Metrics, how: str, value: float) -> None:
    for number in (3, 4, 2):
        metrics.record(points(Point(CALLS, NOON + number, number, how)))  # type: ignore[arg-type]
    assert metrics.series([CALLS], NOON + 10)[CALLS].points == [(NOON, value)]


def test_series_are_read_in_the_order_of_time(metrics: Metrics) -> None:
    at = [NOON - 5 * MINUTE_MS, NOON - 700 * MINUTE_MS, NOON]
    metrics.record(points(*(Point(QUEUE_SIZE, moment, 1, "last") for moment in at)))
    found = metrics.series([QUEUE_SIZE, CALLS], NOON)
    assert [start for start, _ in found[QUEUE_SIZE].points] == sorted(at)
    assert found[CALLS].points == []


def test_a_day_later_nothing_of_today_is_shown(metrics: Metrics) -> None:
    metrics.record(points(Point(CALLS, NOON, 5, "sum")))
    assert metrics.series([CALLS], NOON + DAY_MS - 1)[CALLS].points == [(NOON, 5.0)]
    assert metrics.series([CALLS], NOON + DAY_MS)[CALLS].points == []


def test_the_same_minute_of_the_next_day_begins_anew_in_the_same_place(
    metrics: Metrics, redis_client: RedisClient, keys: Keys
) -> None:
    metrics.record(points(Point(CALLS, NOON, 5, "sum")))
    metrics.record(points(Point(CALLS, NOON + DAY_MS, 2, "sum")))
    assert metrics.series([CALLS], NOON + DAY_MS)[CALLS].points == [(NOON + DAY_MS, 2.0)]
    assert redis_client.hlen(keys.series(CALLS)) == 1


def test_what_a_clock_that_was_ahead_has_left_is_not_shown(metrics: Metrics) -> None:
    metrics.record(points(Point(CALLS, NOON + 60 * MINUTE_MS, 5, "sum")))
    assert metrics.series([CALLS], NOON)[CALLS].points == []


@given(moments=st.lists(st.integers(0, 3 * DAY_MS), max_size=40))
def test_a_series_has_never_more_points_than_intervals_of_a_day(redis_url: str, moments: list[int]) -> None:
    from assetbatch.secret import Secret
    from assetbatch.state.connection import connect

    with connect(Secret(redis_url)) as client:
        keys = Keys("{test-bounded-series}")
        client.delete(keys.series(QUEUE_SIZE))
        metrics = Metrics(client, keys)
        metrics.record(points(*(Point(QUEUE_SIZE, MIDNIGHT + at, 1, "last") for at in moments)))
        intervals = {at // (5 * MINUTE_MS) % 288 for at in moments}
        assert client.hlen(keys.series(QUEUE_SIZE)) == len(intervals)
        assert not moments or client.pttl(keys.series(QUEUE_SIZE)) <= 2 * DAY_MS
