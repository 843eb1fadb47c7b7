"""The metrics of the document, and which of them are beyond their thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assetbatch.config import Config
from assetbatch.domain.queueing import QueueState
from assetbatch.domain.records import CycleRecord
from assetbatch.domain.units import HOUR_MS
from assetbatch.health.document import Alert, Severity


def metrics_of(cycles: Sequence[CycleRecord], queue: QueueState, waits: int, now_ms: int) -> dict[str, float]:
    """The four metrics. The success rate is that of the assets that were due in the priority cycles of the
    last hour, in percent (100 where none was due); the latency is the last cycle's duration."""
    recent = [cycle for cycle in cycles if now_ms - cycle.started_ms <= HOUR_MS]
    refreshed = sum(cycle.refreshed for cycle in recent)
    # a cycle that ended with an error before it came to its assets counts as one failure
    failed = sum(cycle.failed or (1 if cycle.error else 0) for cycle in recent)
    tried = refreshed + failed
    return {
        "batch.priority.success_rate": round(100 * refreshed / tried, 2) if tried else 100.0,
        "batch.priority.latency_ms": float(cycles[0].duration_ms) if cycles else 0.0,
        "queue.size": float(queue.size),
        "api.rate_limit_waits": float(waits),
    }


def alerts_of(metrics: Mapping[str, float], config: Config, cycles: Sequence[CycleRecord]) -> list[Alert]:
    """The metrics beyond their thresholds. What has failed within the hour of the priority cycles (the newest
    first) is only a warning where it has healed."""
    limits = config.alerts
    alerts = []
    rate = metrics["batch.priority.success_rate"]
    if rate < limits.success_rate_min_percent:
        severity: Severity = "warning" if _healed(cycles) else "critical"
        alerts.append(
            Alert("batch.priority.success_rate", rate, float(limits.success_rate_min_percent), severity)
        )
    for metric, threshold in (
        ("batch.priority.latency_ms", limits.priority_latency_max_ms),
        ("queue.size", limits.queue_size_max),
        ("api.rate_limit_waits", limits.rate_limit_waits_per_hour_max),
    ):
        if metrics[metric] > threshold:
            alerts.append(Alert(metric, metrics[metric], float(threshold), "warning"))
    return alerts


def _healed(cycles: Sequence[CycleRecord]) -> bool:
    """Whether the latest cycle that had something to do did all of it. Of a cycle that broke off, a later one
    that found nothing to do shows the same; of assets that failed it does not: they may be left alone."""
    found_nothing = False
    for cycle in cycles:
        if cycle.failed or (cycle.error and not found_nothing):
            return False
        if cycle.refreshed:
            return True
        found_nothing = found_nothing or cycle.result == "nothing"
    return found_nothing
