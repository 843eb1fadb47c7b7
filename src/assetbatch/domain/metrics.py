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

from assetbatch.domain.units import MINUTE_MS

CALLS = "api.calls"
"""Calls answered in each minute."""

QUEUE_SIZE = "queue.size"
"""Items in the queue at the end of the last cycle of each five minutes."""

PRIORITY_LATENCY = "batch.priority.latency_ms"
"""The longest run-priority of each five minutes, in ms."""

QUEUE_LATENCY = "batch.queue.latency_ms"
"""The longest run-queue of each five minutes, in ms."""

CYCLE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the histogram of cycle durations."""

CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
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


class Outcome(NamedTuple):
    """An ended cycle as the metrics see it.

    `statuses` has the status of each asset that was worked on, `ages_seconds` the age of each priority
    asset; `queue_size` is None where the cycle did not look.
    """

    command: str
    result: str
    ended_ms: int
    duration_ms: int
    statuses: Iterable[str]
    totals: Mapping[str, int]
    queue_size: int | None
    ages_seconds: Mapping[str, float]


def measure(outcome: Outcome, calls: Iterable[CallMade]) -> Measured:
    """Return what an ended cycle and its calls add to counters and series."""
    command, seconds = outcome.command, outcome.duration_ms / 1000
    counters: Counter[str] = Counter()
    counters[f"cycles|{command}|{outcome.result}"] += 1
    counters[f"cycle_seconds|{command}|{bucket(CYCLE_SECONDS, seconds)}"] += 1
    counters[f"cycle_ms|{command}"] += outcome.duration_ms
    for status in outcome.statuses:
        counters[f"refreshes|{command}|{status}"] += 1
    counters.update({name: count for name, count in outcome.totals.items() if count})
    per_minute: Counter[int] = Counter()
    for call in calls:
        counters[f"calls|{call.outcome}"] += 1
        counters[f"call_seconds|{bucket(CALL_SECONDS, call.seconds)}"] += 1
        counters["call_ms"] += round(call.seconds * 1000)
        if call.sent:  # a connection that is refused uses nothing of the limit
            per_minute[call.at_ms // MINUTE_MS * MINUTE_MS] += 1
    points = [Point(CALLS, minute_ms, count, "sum") for minute_ms, count in sorted(per_minute.items())]
    latency = {"run_priority": PRIORITY_LATENCY, "run_queue": QUEUE_LATENCY}.get(command)
    if latency:
        points.append(Point(latency, outcome.ended_ms, outcome.duration_ms, "max"))
    if outcome.queue_size is not None:
        points.append(Point(QUEUE_SIZE, outcome.ended_ms, outcome.queue_size, "last"))
    for symbol, age in islice(outcome.ages_seconds.items(), AGE_SERIES):
        points.append(Point(age_of(symbol), outcome.ended_ms, round(age), "last"))
    return Measured(dict(counters), tuple(points))


def bucket(bounds: tuple[float, ...], seconds: float) -> str:
    """Return the bucket of the histogram that a duration falls into, by the label of its upper bound."""
    index = bisect_left(bounds, seconds)
    return f"{bounds[index]:g}" if index < len(bounds) else BEYOND
