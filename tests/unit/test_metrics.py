"""What a cycle adds to the counters and the series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from assetbatch.domain.metrics import (
    CALL_SECONDS_BUCKETS,
    CALLS,
    CYCLE_SECONDS,
    PRIORITY_LATENCY,
    QUEUE_LATENCY,
    QUEUE_SIZE,
    TOTALS,
    CallMade,
    Measured,
    Point,
    age_of,
    bucket,
    measure,
    step_ms,
)
from assetbatch.domain.records import Command
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.domain.status import Status

MINUTE_MS = 60_000
NOON = 1_800_000_000_000


def report(symbol: str, status: Status = Status.SUCCESS, age_seconds: float | None = None) -> AssetReport:
    as_of_ms = None if age_seconds is None else NOON - round(age_seconds * 1000)
    return AssetReport(symbol=symbol, status=status, as_of_ms=as_of_ms)


def cycle(**changes: Any) -> CycleResult:
    plain: dict[str, Any] = {
        "command": Command.RUN_PRIORITY,
        "cycle_id": "c",
        "result": "ok",
        "started_ms": NOON - 1200,
        "duration_ms": 1200,
        "bars_written": 12,
        "assets": [report("A"), report("B"), report("C", Status.FRESH)],
    }
    return CycleResult(**plain | changes)


def measured_of(result: CycleResult, calls: Sequence[CallMade] = ()) -> Measured:
    return measure(result, calls, NOON)


def test_a_cycle_is_counted_with_its_result_its_duration_and_its_assets() -> None:
    assert measured_of(cycle()).counters == {
        "cycles|run_priority|ok": 1,
        "cycle_seconds|run_priority|2.5": 1,
        "cycle_ms|run_priority": 1200,
        "refreshes|run_priority|success": 2,
        "refreshes|run_priority|fresh": 1,
        "bars_written": 12,
    }


def test_a_call_that_was_never_sent_is_none_of_the_minutes() -> None:
    measured = measured_of(cycle(), [CallMade(NOON, "vendor_down", 0.01, sent=False, answered=False)])
    assert measured.counters["calls|vendor_down"] == 1
    assert [point for point in measured.points if point.metric == CALLS] == []


def test_calls_are_counted_by_outcome_and_by_the_minute_they_came_back_in() -> None:
    calls = [
        CallMade(NOON + 1, "ok", 0.08, sent=True, answered=True),
        CallMade(NOON + 2, "vendor_down", 10.4, sent=True, answered=False),
        CallMade(NOON + MINUTE_MS, "ok", 0.3, sent=True, answered=True),
    ]
    measured = measured_of(cycle(), calls)
    assert {n: c for n, c in measured.counters.items() if n.startswith("call")} == {
        "calls|ok": 2,
        "calls|vendor_down": 1,
        "call_seconds|0.1": 1,
        "call_seconds|0.5": 1,
        "call_seconds|+Inf": 1,
        "call_ms": 10_780,
    }
    minutes = [point for point in measured.points if point.metric == CALLS]
    assert minutes == [Point(CALLS, NOON, 2, "sum"), Point(CALLS, NOON + MINUTE_MS, 1, "sum")]


def test_the_series_get_the_duration_the_queue_and_the_ages() -> None:
    measured = measured_of(cycle(queue_size=7, assets=[report("XAUUSD", age_seconds=61.2), report("EURUSD")]))
    assert set(measured.points) == {
        Point(PRIORITY_LATENCY, NOON, 1200, "max"),
        Point(QUEUE_SIZE, NOON, 7, "last"),
        Point(age_of("XAUUSD"), NOON, 61, "last"),
    }


def test_everything_that_is_counted_has_its_own_counter() -> None:
    numbers = {name: number for number, name in enumerate(TOTALS, start=1)}
    counters = measured_of(cycle(**numbers, dropped=["S1", "S2"])).counters
    assert {name: counters[name] for name in TOTALS} == numbers
    assert counters["dropped"] == 2


def test_only_priority_assets_have_a_series_of_their_ages() -> None:
    points = measured_of(cycle(command=Command.RUN_QUEUE, assets=[report("XAUUSD", age_seconds=61.2)])).points
    assert [point.metric for point in points] == [QUEUE_LATENCY]


def test_the_latency_is_that_of_the_command_and_enqueueing_has_none() -> None:
    (point,) = measured_of(cycle(command=Command.RUN_QUEUE)).points
    assert point == Point(QUEUE_LATENCY, NOON, 1200, "max")
    assert measured_of(cycle(command=Command.ENQUEUE_SECONDARY)).points == ()


def test_ages_are_those_of_the_first_hundred_assets_each_in_its_own_series() -> None:
    points = measured_of(cycle(assets=[report(f"S{n}", age_seconds=n) for n in range(150)])).points[1:]
    assert [(point.metric, point.value) for point in points] == [(f"age.S{n}", n) for n in range(100)]


def test_the_duration_of_a_cycle_is_counted_in_seconds() -> None:
    counters = measured_of(cycle(duration_ms=2500)).counters
    assert counters["cycle_seconds|run_priority|2.5"] == 1
    assert "cycle_seconds|run_priority|5" in measured_of(cycle(duration_ms=2501)).counters


def test_calls_have_a_point_each_minute_and_all_else_each_five() -> None:
    assert step_ms(CALLS) == 60_000
    assert {step_ms(metric) for metric in (QUEUE_SIZE, PRIORITY_LATENCY, age_of("XAUUSD"))} == {300_000}


@pytest.mark.parametrize(
    ("bounds", "edges"),
    [
        (CYCLE_SECONDS, "0.1 0.25 0.5 1 2.5 5 10 30 60 120"),
        (CALL_SECONDS_BUCKETS, "0.05 0.1 0.25 0.5 1 2.5 5 10"),
    ],
)
def test_a_bucket_includes_its_upper_bound(bounds: tuple[float, ...], edges: str) -> None:
    labels = [*edges.split(), "+Inf"]
    assert [bucket(bounds, float(edge)) for edge in labels] == labels
    assert [bucket(bounds, float(edge) + 0.001) for edge in labels[:-1]] == labels[1:]
    assert bucket(bounds, 0.0) == labels[0]
