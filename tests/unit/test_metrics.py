"""What a cycle adds to the counters and the series."""

from __future__ import annotations

from typing import Any

from assetbatch.metrics import (
    CALL_SECONDS,
    CALLS,
    MINUTE_MS,
    PRIORITY_LATENCY,
    QUEUE_SIZE,
    CallMade,
    Outcome,
    Point,
    age_of,
    bucket,
    measure,
)

NOON = 1_800_000_000_000 // MINUTE_MS * MINUTE_MS


def outcome(**changes: Any) -> Outcome:
    plain = Outcome(
        command="run_priority",
        result="ok",
        ended_ms=NOON,
        duration_ms=1200,
        statuses=["success", "success", "fresh"],
        totals={"bars_written": 12, "waits": 0},
        queue_size=None,
        ages_seconds={},
    )
    return plain._replace(**changes)


def test_a_cycle_is_counted_with_its_result_its_duration_and_its_assets() -> None:
    assert measure(outcome(), []).counters == {
        "cycles|run_priority|ok": 1,
        "cycle_seconds|run_priority|2.5": 1,
        "cycle_ms|run_priority": 1200,
        "refreshes|run_priority|success": 2,
        "refreshes|run_priority|fresh": 1,
        "bars_written": 12,
    }


def test_calls_are_counted_by_outcome_and_by_the_minute_they_came_back_in() -> None:
    calls = [
        CallMade(NOON + 1, "ok", 0.08),
        CallMade(NOON + 2, "vendor_down", 10.4),
        CallMade(NOON + MINUTE_MS, "ok", 0.3),
    ]
    measured = measure(outcome(), calls)
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
    measured = measure(outcome(queue_size=7, ages_seconds={"XAUUSD": 61.2}), [])
    assert set(measured.points) == {
        Point(PRIORITY_LATENCY, NOON, 1200, "max"),
        Point(QUEUE_SIZE, NOON, 7, "last"),
        Point(age_of("XAUUSD"), NOON, 61, "last"),
    }


def test_a_bucket_includes_its_upper_bound() -> None:
    assert [bucket(CALL_SECONDS, s) for s in (0.0, 0.05, 0.051, 10.0, 10.1)] == [
        "0.05",
        "0.05",
        "0.1",
        "10",
        "+Inf",
    ]
