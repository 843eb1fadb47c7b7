"""One line for a monitoring system, by the Monitoring Plugins Development Guidelines.

`ASSETBATCH WARNING - what is wrong | 'label'=value;warning;critical;min;max …`; the exit code says the same.
"""

from __future__ import annotations

from assetbatch.config import Config
from assetbatch.domain.assets import AssetPriority
from assetbatch.errors import AssetbatchError, ConfigError
from assetbatch.health import Health, HealthStatus, Metric, Severity
from assetbatch.views import facts

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CODES = {HealthStatus.HEALTHY: 0, HealthStatus.DEGRADED: 1, HealthStatus.UNHEALTHY: 2}
LONGEST = 400
"""Maximum number of characters of the line before its figures."""


def render(health: Health, config: Config) -> tuple[int, str]:
    """Return the exit code and the line."""
    code = CODES[health.status]
    wrong = (one for one in facts.problems(health) if one.severity is not Severity.ADVICE)
    said = [problem.message for problem in wrong]
    if not said:
        said = [f"{facts.fresh(health.assets)}, {health.queue['total_items']} in the queue"]
    words = said[0] if len(said) == 1 else f"{said[0]} (and {len(said) - 1} more)"
    return code, f"{_line(code, words)} | {' '.join(_perfdata(health, config))}"


def render_error(error: AssetbatchError) -> tuple[int, str]:
    """Return the same without a health document.

    A wrong configuration is UNKNOWN. Everything else is CRITICAL, since nothing works without Redis.
    """
    code = 3 if isinstance(error, ConfigError) else 2
    return code, _line(code, " ".join(str(error).split()))


def _line(code: int, words: str) -> str:
    text = " ".join(words.replace("|", "/").split())
    shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return f"ASSETBATCH {STATES[code]} - {shown}"


def _perfdata(health: Health, config: Config) -> list[str]:
    """Return the figures that are known, each with its thresholds and its range."""
    limits, queue = config.alerts, health.queue
    ages = [
        asset.lag_seconds
        for asset in health.assets
        if asset.priority is AssetPriority.CRITICAL and asset.lag_seconds is not None
    ]
    metrics: tuple[tuple[str, Metric, str], ...] = (
        (
            "batch.priority.success_rate",
            Metric.SUCCESS_RATE,
            f"%;;{limits.success_rate_min_percent:g}:;0;100",
        ),
        ("batch.priority.latency_ms", Metric.LATENCY, f"ms;{limits.priority_latency_max_ms};;0"),
        ("queue.size", Metric.QUEUE_SIZE, f";{limits.queue_size_max};;0;{queue['max_size']}"),
        ("api.rate_limit_waits", Metric.WAITS, ";;;0"),
        ("api.priority_waits", Metric.PRIORITY_WAITS, f";{limits.rate_limit_waits_per_hour_max};;0"),
        ("queue.dead_letters", Metric.DEAD_LETTERS, ";0;;0"),
        ("assets.fresh", Metric.FRESH_PERCENT, "%;;;0;100"),
    )
    known = dict(health.metrics)
    if not known.get(Metric.REFRESHES, 1.0):
        known.pop(Metric.SUCCESS_RATE, None)  # nothing was due: nobody knows it
    data = [f"'{label}'={known[metric]:g}{rest}" for label, metric, rest in metrics if metric in known]
    data.append(f"'api.calls_remaining'={health.api_calls_remaining};;;0;{health.plan['limit']}")
    if ages:
        data.append(f"'priority.behind'={max(ages):g}s;;;0")
    return data
