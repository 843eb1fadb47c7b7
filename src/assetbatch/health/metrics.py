"""The metrics of the document, and which of them are beyond their thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assetbatch.config import Config
from assetbatch.domain.queueing import QueueState
from assetbatch.domain.records import CycleOutcome, CycleRecord
from assetbatch.domain.units import HOUR_MS
from assetbatch.health.document import Alert, Metric, Severity

REFRESHES_TO_JUDGE = 10
"""Minimum number of refreshes on which the success rate is judged."""

GOOD_CYCLES = 3
"""After so many good cycles nothing counts that went wrong before them."""

HEALED_CYCLES = 2
"""After so many good cycles in a row a low success rate is no alert: nothing fails any more."""


def metrics_of(cycles: Sequence[CycleRecord], queue: QueueState, waits: int, now_ms: int) -> dict[str, float]:
    """Return the metrics that have thresholds, on how many refreshes the rate is judged, and how many waits
    were those of priority cycles.

    The success rate is that of the assets that were due in the priority cycles of the last hour (see
    `judged`), in percent (100 if none was due). The latency is the duration of the last cycle.
    """
    counted = judged(cycles, now_ms)
    refreshed = sum(cycle.refreshed for cycle in counted)
    # a cycle that ended with an error before it came to its assets counts as one failure
    failed = sum(cycle.failed or (1 if cycle.error else 0) for cycle in counted)
    tried = refreshed + failed
    recent = [cycle for cycle in cycles if now_ms - cycle.started_ms <= HOUR_MS]
    return {
        Metric.SUCCESS_RATE.value: round(100 * refreshed / tried, 2) if tried else 100.0,
        Metric.REFRESHES.value: float(tried),
        Metric.LATENCY.value: float(cycles[0].duration_ms) if cycles else 0.0,
        Metric.QUEUE_SIZE.value: float(queue.size),
        Metric.WAITS.value: float(waits),
        Metric.PRIORITY_WAITS.value: float(sum(cycle.waits for cycle in recent)),
    }


def judged(cycles: Sequence[CycleRecord], now_ms: int) -> list[CycleRecord]:
    """Return the priority cycles by which the success rate is judged, the newest first.

    They are those of the last hour, but none older than the last three good ones. A cycle that found nothing
    to do is as good as the one before it: assets that failed may be left alone.
    """
    recent = [cycle for cycle in cycles if now_ms - cycle.started_ms <= HOUR_MS]
    good = {id(cycle) for cycle in _good_ones(cycles)}
    found, left = [], GOOD_CYCLES
    for cycle in recent:
        found.append(cycle)
        left -= id(cycle) in good
        if not left:
            break
    return found


def _good_ones(cycles: Sequence[CycleRecord]) -> list[CycleRecord]:
    """Return the cycles that did all they had to do, or had nothing to do after such a one."""
    good, has_failures = [], False
    for cycle in reversed(cycles):
        if cycle.failed:
            has_failures = True
        elif cycle.refreshed:
            has_failures = False
        if not cycle.error and not has_failures and (cycle.refreshed or cycle.result == CycleOutcome.NOTHING):
            good.append(cycle)
    return good


def alerts_of(metrics: Mapping[str, float], config: Config, cycles: Sequence[CycleRecord]) -> list[Alert]:
    """Return the metrics beyond their thresholds; `cycles` are those of run-priority, the newest first.

    A low success rate is only a warning once the failures have healed, and soon none. Waits of the queue are
    no alert: they are how a plan with few calls works on a backlog. Those of priority cycles are.
    """
    limits = config.alerts
    alerts = []
    rate, lowest = metrics[Metric.SUCCESS_RATE], float(limits.success_rate_min_percent)
    is_low = rate < lowest and metrics[Metric.REFRESHES] >= REFRESHES_TO_JUDGE
    good = {id(cycle) for cycle in _good_ones(cycles)}
    last = [id(cycle) for cycle in cycles[:HEALED_CYCLES]]
    if is_low and not (len(last) == HEALED_CYCLES and good.issuperset(last)):
        severity = Severity.WARNING if _healed(cycles) else Severity.CRITICAL
        alerts.append(Alert(Metric.SUCCESS_RATE, rate, lowest, severity))
    for metric, value, threshold in (
        (Metric.LATENCY, metrics[Metric.LATENCY], limits.priority_latency_max_ms),
        (Metric.QUEUE_SIZE, metrics[Metric.QUEUE_SIZE], limits.queue_size_max),
        (Metric.WAITS, metrics[Metric.PRIORITY_WAITS], limits.rate_limit_waits_per_hour_max),
    ):
        if value > threshold:
            alerts.append(Alert(metric, value, float(threshold), Severity.WARNING))
    return alerts


def _healed(cycles: Sequence[CycleRecord]) -> bool:
    """Return whether the latest cycle that had something to do did all of it.

    After a cycle that broke off, a later one that found nothing to do shows the same. After assets that
    failed it does not: they may be left alone.
    """
    found_nothing = False
    for cycle in cycles:
        if cycle.failed or (cycle.error and not found_nothing):
            return False
        if cycle.refreshed:
            return True
        found_nothing = found_nothing or cycle.result == CycleOutcome.NOTHING
    return found_nothing
