"""The metrics of the document, and which of them are beyond their thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assetbatch.config import Config
from assetbatch.domain.queueing import QueueState
from assetbatch.domain.records import CycleOutcome, CycleRecord
from assetbatch.domain.units import HOUR_MS
from assetbatch.health.document import Alert, Metric, Severity


def metrics_of(cycles: Sequence[CycleRecord], queue: QueueState, waits: int, now_ms: int) -> dict[str, float]:
    """Return the four metrics that have thresholds.

    The success rate is that of the assets that were due in the priority cycles of the last hour, in percent
    (100 if none was due). The latency is the duration of the last cycle.
    """
    recent = [cycle for cycle in cycles if now_ms - cycle.started_ms <= HOUR_MS]
    refreshed = sum(cycle.refreshed for cycle in recent)
    # a cycle that ended with an error before it came to its assets counts as one failure
    failed = sum(cycle.failed or (1 if cycle.error else 0) for cycle in recent)
    tried = refreshed + failed
    return {
        Metric.SUCCESS_RATE.value: round(100 * refreshed / tried, 2) if tried else 100.0,
        Metric.LATENCY.value: float(cycles[0].duration_ms) if cycles else 0.0,
        Metric.QUEUE_SIZE.value: float(queue.size),
        Metric.WAITS.value: float(waits),
    }


def alerts_of(metrics: Mapping[str, float], config: Config, cycles: Sequence[CycleRecord]) -> list[Alert]:
    """Return the metrics beyond their thresholds; `cycles` are those of run-priority, the newest first.

    A low success rate is only a warning once the failures of the hour have healed.
    """
    limits = config.alerts
    alerts = []
    rate, lowest = metrics[Metric.SUCCESS_RATE], float(limits.success_rate_min_percent)
    if rate < lowest:
        severity = Severity.WARNING if _healed(cycles) else Severity.CRITICAL
        alerts.append(Alert(Metric.SUCCESS_RATE, rate, lowest, severity))
    for metric, threshold in (
        (Metric.LATENCY, limits.priority_latency_max_ms),
        (Metric.QUEUE_SIZE, limits.queue_size_max),
        (Metric.WAITS, limits.rate_limit_waits_per_hour_max),
    ):
        if metrics[metric] > threshold:
            alerts.append(Alert(metric, metrics[metric], float(threshold), Severity.WARNING))
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
