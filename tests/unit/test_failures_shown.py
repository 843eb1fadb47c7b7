"""The last failures of the health document, from records of cycles."""

from __future__ import annotations

from assetbatch.domain.records import Cause, Command, CycleRecord
from assetbatch.health.failures import FAILURES_SHOWN, failures_of

NOW = 1_800_000_000_000  # 2027-01-15 08:00 UTC
MINUTE = 60_000


def record(minutes_ago: int, *causes: Cause, error: str | None = None) -> CycleRecord:
    started_ms = NOW - minutes_ago * MINUTE
    return CycleRecord(started_ms=started_ms, duration_ms=1, result="partial", causes=causes, error=error)


def shown(**cycles: list[CycleRecord]) -> list[tuple[str, str | None, str, str, int]]:
    found = failures_of({Command[name.upper()]: records for name, records in cycles.items()}, NOW)
    return [(one.error, one.names, one.first[11:16], one.last[11:16], one.cycles) for one in found]


HTML = Cause(error="HTML", count=1, names=("XAUUSD",))


def test_alike_are_one_with_its_first_and_last_time() -> None:
    other = Cause(error="HTML", count=1, names=("EURUSD",))
    assert shown(run_priority=[record(5), record(10, HTML), record(15, other), record(20, HTML)]) == [
        ("HTML", "XAUUSD, EURUSD", "07:40", "07:50", 3)
    ]


def test_an_hour_apart_are_two() -> None:
    found = shown(run_priority=[record(10, HTML), record(70, HTML), record(131, HTML)])
    assert [(first, last) for _, _, first, last, _ in found] == [("06:50", "07:50"), ("05:49", "05:49")]


def test_of_a_cycle_that_broke_off_have_its_error_once() -> None:
    down = Cause(error="no answer", count=3, names=("A", "B", "C"))
    assert shown(run_priority=[record(1, down, error="the API cannot be reached: no answer")]) == [
        ("no answer", "A, B, C", "07:59", "07:59", 1)
    ]
    assert shown(run_priority=[record(1, error="redis is full")]) == [
        ("redis is full", None, "07:59", "07:59", 1)
    ]


def test_are_the_latest_of_all_commands_of_a_day() -> None:
    found = shown(
        run_priority=[record(9, error="one"), record(1441, error="long ago")],
        run_queue=[record(3, error="two")],
        enqueue_secondary=[record(5, error="three")],
    )
    assert [error for error, *_ in found] == ["two", "three", "one"]
    many = [record(n, error=f"error {n}") for n in range(FAILURES_SHOWN + 5)]
    assert len(shown(run_queue=many)) == FAILURES_SHOWN
