"""One line for a monitoring system, by the Monitoring Plugins Development Guidelines.

`ASSETBATCH WARNING - what is wrong | 'label'=value;warning;critical;min;max …`; the exit code says the same.
"""

from __future__ import annotations

from assetbatch.config import Config
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import plural
from assetbatch.errors import AssetbatchError, ConfigError
from assetbatch.health import Health, HealthStatus, Metric
from assetbatch.views import facts

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CODES = {HealthStatus.HEALTHY: 0, HealthStatus.DEGRADED: 1, HealthStatus.UNHEALTHY: 2}
LONGEST = 400
"""Maximum number of characters of the line before its figures."""


def render(health: Health, config: Config) -> tuple[int, str]:
    """Return the exit code and the line."""
    code = CODES[health.status]
    said = [problem.message for problem in facts.problems(health)]
    fresh = sum(asset.state.is_well for asset in health.assets)
    if not said:
        waiting = f"{health.queue['total_items']} in the queue"
        said = [f"{fresh} of {plural(len(health.assets), 'asset')} fresh, {waiting}"]
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
    metrics, limits, queue = health.metrics, config.alerts, health.queue
    ages = [
        asset.lag_seconds
        for asset in health.assets
        if asset.priority is AssetPriority.CRITICAL and asset.lag_seconds is not None
    ]
    rate, latency = metrics[Metric.SUCCESS_RATE], metrics[Metric.LATENCY]
    priority_waits = metrics.get(Metric.PRIORITY_WAITS, 0.0)
    data = [
        f"'batch.priority.success_rate'={rate:g}%;;{limits.success_rate_min_percent:g}:;0;100",
        f"'batch.priority.latency_ms'={latency:g}ms;{limits.priority_latency_max_ms};;0",
        f"'queue.size'={queue['total_items']};{limits.queue_size_max};;0;{queue['max_size']}",
        f"'api.rate_limit_waits'={metrics[Metric.WAITS]:g};;;0",
        f"'api.priority_waits'={priority_waits:g};{limits.rate_limit_waits_per_hour_max};;0",
        f"'api.calls_remaining'={health.api_calls_remaining};;;0;{health.plan['limit']}",
        f"'queue.dead_letters'={queue['dead']};0;;0",
        f"'assets.fresh'={metrics[Metric.FRESH_PERCENT]:g}%;;;0;100",
    ]
    if ages:
        data.append(f"'priority.behind'={max(ages):g}s;;;0")
    return data
