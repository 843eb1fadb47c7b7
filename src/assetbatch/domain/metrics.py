"""What is measured: the series of the last 24 hours, and the counters that a monitor reads.

Here is what a cycle adds to them, and how they are named. `state/metrics.py` keeps them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from assetbatch.domain.records import Command
from assetbatch.domain.results import CycleResult
from assetbatch.domain.units import MINUTE_MS

CALLS = "api.calls"
"""Calls answered in each minute."""

QUEUE_SIZE = "queue.size"
"""Items in the queue at the end of the last cycle of each five minutes."""

PRIORITY_LATENCY = "batch.priority.latency_ms"
"""The longest run-priority of each five minutes, in ms."""

QUEUE_LATENCY = "batch.queue.latency_ms"
"""The longest run-queue of each five minutes, in ms."""

LATENCIES = {Command.RUN_PRIORITY: PRIORITY_LATENCY, Command.RUN_QUEUE: QUEUE_LATENCY}

CYCLE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the histogram of cycle durations."""

CALL_SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of call durations."""

BEYOND = "+Inf"
"""The bucket of durations beyond the last bound."""

AGE_SERIES = 100
"""Maximum number of priority assets whose ages are kept: each is a series in Redis."""


def age_of(symbol: str) -> str:
    """Return the name of the series of a priority asset's age, in seconds.

    It has the age at the last run-priority of each five minutes.
    """
    return f"age.{symbol}"


def step_ms(metric: str) -> int:
    """Return the length of a series' intervals; a day of them is kept."""
    return MINUTE_MS if metric == CALLS else 5 * MINUTE_MS


class Series(msgspec.Struct, frozen=True):
    """A metric's last 24 hours.

    `points` are (start of the interval in Unix ms, value), ascending; intervals of `step_ms` in which nothing
    was measured are absent.
    """

    metric: str
    step_ms: int
    points: list[tuple[int, float]]


class Point(NamedTuple):
    """One measurement. Within an interval it adds to the value there, replaces it, or the larger counts."""

    metric: str
    at_ms: int
    value: float
    how: Literal["sum", "last", "max"]


class CallMade(NamedTuple):
    """One call that came back or failed.

    `outcome` is `ok` or a refusal's kind. `sent`: a request reached the provider; `answered`: it was
    answered.
    """

    at_ms: int
    outcome: str
    seconds: float
    sent: bool
    answered: bool


class Measured(msgspec.Struct, frozen=True):
    """What one cycle adds: increments of counters by name (`cycles|run_queue|ok`), and points of series."""

    counters: Mapping[str, int]
    points: tuple[Point, ...]


TOTALS = (
    "waits",
    "bars_written",
    "bars_corrected",
    "bars_refused",
    "bars_filled",
    "prices_refused",
    "published",
    "enqueued",
    "pages_verified",
    "bars_compared",
    "bars_changed",
    "bars_appeared",
    "bars_vanished",
)
"""The numbers of a cycle that are added up, each in a counter of its name."""


def measure(result: CycleResult, calls: Iterable[CallMade], ended_ms: int) -> Measured:
    """Return what an ended cycle and its calls add to counters and series."""
    command, seconds = result.command, result.duration_ms / 1000
    counters: Counter[str] = Counter()
    counters[f"cycles|{command.old}|{result.result}"] += 1
    counters[f"cycle_seconds|{command.old}|{bucket(CYCLE_SECONDS, seconds)}"] += 1
    counters[f"cycle_ms|{command.old}"] += result.duration_ms
    for status, count in Counter(asset.status for asset in result.assets).items():
        counters[f"refreshes|{command.old}|{status}"] += count
    totals = {name: getattr(result, name) for name in TOTALS} | {"dropped": len(result.dropped)}
    counters.update({name: count for name, count in totals.items() if count})
    points = _count_calls(counters, calls)
    latency = LATENCIES.get(command)
    if latency:
        points.append(Point(latency, ended_ms, result.duration_ms, "max"))
    if result.queue_size is not None:
        points.append(Point(QUEUE_SIZE, ended_ms, result.queue_size, "last"))
    if command is Command.RUN_PRIORITY:
        ages = ((one.symbol, ended_ms - one.as_of_ms) for one in result.assets if one.as_of_ms is not None)
        for symbol, age_ms in islice(ages, AGE_SERIES):
            points.append(Point(age_of(symbol), ended_ms, round(age_ms / 1000), "last"))
    return Measured(dict(counters), tuple(points))


def measure_calls(result: CycleResult, calls: Iterable[CallMade]) -> Measured:
    """Return what calls add that belong to no cycle, and what they brought."""
    counters: Counter[str] = Counter()
    points = _count_calls(counters, calls)
    counters.update({name: count for name in TOTALS if (count := getattr(result, name))})
    return Measured(counters, tuple(points))


def _count_calls(counters: Counter[str], calls: Iterable[CallMade]) -> list[Point]:
    """Count calls; return the points of their series."""
    per_minute: Counter[int] = Counter()
    for call in calls:
        counters[f"calls|{call.outcome}"] += 1
        counters[f"call_seconds|{bucket(CALL_SECONDS_BUCKETS, call.seconds)}"] += 1
        counters["call_ms"] += round(call.seconds * 1000)
        if call.sent:  # a connection that is refused uses nothing of the limit
            per_minute[call.at_ms // MINUTE_MS * MINUTE_MS] += 1
    return [Point(CALLS, minute_ms, count, "sum") for minute_ms, count in sorted(per_minute.items())]


def bucket(bounds: tuple[float, ...], seconds: float) -> str:
    """Return the bucket of the histogram that a duration falls into, by the label of its upper bound."""
    index = bisect_left(bounds, seconds)
    return f"{bounds[index]:g}" if index < len(bounds) else BEYOND
