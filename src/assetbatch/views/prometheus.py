"""The health document and the counters in Prometheus' text format (version 0.0.4).

Names follow Prometheus' conventions: base units (seconds, ratios), `_total` on counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.metrics import BEYOND, CALL_SECONDS_BUCKETS, CYCLE_SECONDS
from assetbatch.health import Health, HealthStatus, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, float]

_TOTALS = {
    "waits": ("rate_limit_waits", "Calls that had to wait for the window."),
    "bars_written": ("bars_written", "Bars written, new or corrected, in the size that was asked for."),
    "bars_corrected": ("bars_corrected", "Stored bars that the provider has corrected."),
    "bars_filled": (
        "bars_filled",
        "Bars stored with a value that the provider did not give.",
    ),
    "bars_refused": ("bars_refused", "Bars of answers that cannot be true or that the database refuses."),
    "prices_refused": ("prices_refused", "Prices and quotes of answers that cannot be true, not stored."),
    "published": ("events_published", "Prices published to listeners."),
    "enqueued": ("queue_enqueued", "Items put into the queue."),
    "dropped": ("queue_dropped", "Items that found no room in the queue."),
    "pages_verified": ("pages_verified", "Pages of stored bars asked for again with spare calls."),
    "bars_compared": ("bars_compared", "Bars compared with a later answer."),
    "bars_changed": ("bars_changed", "Compared bars that had other values."),
    "bars_appeared": ("bars_appeared", "Compared bars that were not stored."),
    "bars_vanished": ("bars_vanished", "Stored bars that a later answer did not bring."),
}


def render(health: Health, counters: Mapping[str, int]) -> str:
    """Return all metrics; `counters` are those of `state/metrics.py`."""
    gauges = (family for part in GAUGES for family in part(health))
    return "".join([*gauges, *_counters(health, counters), *_histograms(counters)])


def render_down() -> str:
    """Return what is left to say when Redis cannot be asked."""
    return _up(is_up=False)


def _up(*, is_up: bool) -> str:
    return _gauge("up", "Whether Redis and PostgreSQL could be read.", [((), int(is_up))])


def _verdict(health: Health) -> Iterator[str]:
    yield _up(is_up=not health.database_error)
    yield _gauge(
        "health_status",
        "The verdict: 1 for the one that holds.",
        [((("status", status),), int(status == health.status)) for status in HealthStatus],
    )


def _priority(health: Health) -> Iterator[str]:
    metrics = health.metrics
    yield _gauge(
        "priority_success_ratio",
        "Refreshed of the due priority assets of the last hour's cycles.",
        [((), metrics[Metric.SUCCESS_RATE] / 100)] if Metric.SUCCESS_RATE in metrics else [],
    )
    yield _gauge(
        "priority_latency_seconds",
        "Duration of the last priority cycle.",
        [((), metrics[Metric.LATENCY] / 1000)] if Metric.LATENCY in metrics else [],
    )
    yield _gauge(
        "rate_limit_waits_last_hour",
        "Calls that had to wait for the window within the last hour.",
        [((), metrics[Metric.WAITS])],
    )
    yield _gauge(
        "priority_waits_last_hour",
        "Calls of priority cycles that had to wait for the window within the last hour.",
        [((), metrics.get(Metric.PRIORITY_WAITS, 0.0))],
    )
    yield _gauge(
        "priority_refreshes",
        "Refreshes on which the success ratio is judged.",
        [((), metrics.get(Metric.REFRESHES, 0.0))],
    )
    yield _gauge(
        "alert",
        "1 for each metric that is beyond its threshold.",
        [((("metric", alert.metric), ("severity", alert.severity)), 1) for alert in health.alerts],
    )


def _queue(health: Health) -> Iterator[str]:
    queue = health.queue
    yield _gauge("queue_items", "Items in the queue, of all kinds.", [((), queue["total_items"])])
    yield _gauge(
        "queue_waiting_items",
        "Items that wait in the queue, by class.",
        [((("class", name),), count) for name, count in queue["by_priority"].items()],
    )
    for name, words in (("leased", "being worked on"), ("delayed", "waiting for their next try")):
        yield _gauge(f"queue_{name}_items", f"Items {words}.", [((), queue[name])])
    yield _gauge("queue_dead_letters", "Items that failed for good.", [((), queue["dead"])])
    yield _gauge(
        "queue_oldest_item_age_seconds",
        "How long the item that has waited longest has waited; 0 where nothing waits.",
        [((), queue["oldest_item_age_seconds"] or 0)],
    )


def _window(health: Health) -> Iterator[str]:
    yield _gauge("window_calls_limit", "Calls that may be made in a window.", [((), health.plan["limit"])])
    yield _gauge("window_seconds", "The length of the window.", [((), health.plan["window_seconds"])])
    yield _gauge("window_calls_used", "Calls of the window that are used.", [((), health.window["used"])])
    yield _gauge("window_next_slot_seconds", "Until a call is free.", [((), health.next_slot_in_seconds)])
    yield _gauge("plan_refusals", "What the plan is known to lack.", [((), len(health.plan["refusals"]))])


def _commands(health: Health) -> Iterator[str]:
    for name, words in (("started", "last started"), ("finished", "last ended")):
        moments = [(job.id, getattr(job, f"last_{name}")) for job in health.jobs]
        yield _gauge(
            f"command_last_{name}_timestamp_seconds",
            f"When a command {words}.",
            _spelled([((("command", command),), _seconds(moment)) for command, moment in moments if moment]),
        )
    yield _gauge(
        "last_priority_update_timestamp_seconds",
        "When a priority cycle last brought something.",
        [((), _seconds(health.last_priority_update))] if health.last_priority_update else [],
    )


def _assets(health: Health) -> Iterator[str]:
    counts: dict[tuple[str, str], int] = {}
    for asset in health.assets:
        key = (asset.priority.value, asset.state)
        counts[key] = counts.get(key, 0) + 1
    yield _gauge(
        "assets",
        "Assets by class and state.",
        [((("class", name), ("state", state)), count) for (name, state), count in sorted(counts.items())],
    )
    by_type = Counter((asset.asset_type, asset.state.value) for asset in health.assets)
    yield _gauge(
        "assets_by_type",
        "Assets by type and state.",
        [((("type", name), ("state", state)), count) for (name, state), count in sorted(by_type.items())],
    )
    priority = [asset for asset in health.assets if asset.priority is AssetPriority.CRITICAL]
    yield _gauge(
        "asset_age_seconds",
        "Age of each priority asset's price.",
        [((("symbol", a.symbol),), a.age_seconds) for a in priority if a.age_seconds is not None],
    )
    yield _gauge(
        "asset_behind_seconds",
        "How much newer each priority asset's price could be, by its market's hours and the plan.",
        [((("symbol", a.symbol),), a.lag_seconds) for a in priority if a.lag_seconds is not None],
    )
    yield _gauge(
        "asset_complete_ratio",
        "Share of each priority asset's bars that are stored or known not to exist.",
        [((("symbol", a.symbol),), a.complete) for a in priority if a.complete is not None],
    )
    complete = [asset.complete for asset in health.assets if asset.complete is not None]
    yield _gauge(
        "assets_complete_ratio",
        "The same over all assets that keep bars, in the mean.",
        [((), sum(complete) / len(complete))] if complete else [],
    )
    share = health.verification.share
    yield _gauge(
        "bars_verified_ratio",
        "Share of what is stored that was compared with a later answer within 90 days.",
        [] if share is None else [((), share)],
    )
    yield _gauge(
        "assets_asked_again",
        "Assets of which more than 1 % of the bars differed, while everything of them is asked for again.",
        [((), len(health.verification.asked_again))],
    )


GAUGES: tuple[Callable[[Health], Iterable[str]], ...] = (
    _verdict,
    _priority,
    _queue,
    _window,
    _commands,
    _assets,
)
"""The gauges of the document, by subject."""


def _counters(health: Health, counters: Mapping[str, int]) -> Iterable[str]:
    cycles = _spelled(_labelled(counters, "cycles", "command", "result"))
    yield _counter("cycles", "Ended cycles, by result.", cycles)
    yield _counter(
        "starts_skipped",
        "Starts that found an earlier one of the same command still running.",
        _spelled([((("command", job.id),), job.skipped) for job in health.jobs]),
    )
    yield _counter("calls", "Calls to the provider, by outcome.", _labelled(counters, "calls", "outcome"))
    yield _counter(
        "refreshes",
        "What became of the assets that cycles looked at.",
        _spelled(_labelled(counters, "refreshes", "command", "status")),
    )
    for field, (name, words) in _TOTALS.items():
        yield _counter(name, words, [((), counters.get(field, 0))])


def _histograms(counters: Mapping[str, int]) -> Iterable[str]:
    commands = sorted({labels[0][1] for labels, _ in _labelled(counters, "cycle_ms", "command")})
    lines = []
    for command in commands:
        counts = _counts(counters, f"cycle_seconds|{command}", CYCLE_SECONDS)
        total = counters.get(f"cycle_ms|{command}", 0) / 1000
        for label, _ in _spelled([((("command", command),), total)]):
            lines.append(_histogram_lines("cycle_duration_seconds", label, counts, total))
    yield _head("cycle_duration_seconds", "How long cycles took.", "histogram") + "".join(lines)
    counts = _counts(counters, "call_seconds", CALL_SECONDS_BUCKETS)
    total = counters.get("call_ms", 0) / 1000
    yield _head("call_duration_seconds", "How long calls took.", "histogram") + _histogram_lines(
        "call_duration_seconds", (), counts, total
    )


def _counts(counters: Mapping[str, int], family: str, bounds: tuple[float, ...]) -> dict[str, int]:
    labels = [*(f"{bound:g}" for bound in bounds), BEYOND]
    return {label: counters.get(f"{family}|{label}", 0) for label in labels}


def _histogram_lines(name: str, labels: Labels, counts: Mapping[str, int], total: float) -> str:
    lines, so_far = [], 0
    for bound, count in counts.items():
        so_far += count
        lines.append(_line(f"{name}_bucket", (*labels, ("le", bound)), so_far))
    lines += [_line(f"{name}_sum", labels, total), _line(f"{name}_count", labels, so_far)]
    return "".join(lines)


def _labelled(counters: Mapping[str, int], family: str, *names: str) -> list[Sample]:
    samples = []
    for field, count in sorted(counters.items()):
        first, *values = field.split("|")
        if first == family and len(values) == len(names):
            samples.append((tuple(zip(names, values, strict=True)), float(count)))
    return samples


def _spelled(samples: Iterable[Sample]) -> list[Sample]:
    """Return samples of commands in both spellings: as they are typed, and as earlier versions wrote them.

    Alerts and panels that select the old one work until the release after this one.
    """
    return [
        ((("command", spelling), *others), value)
        for ((_, command), *others), value in samples
        for spelling in (command.replace("_", "-"), command.replace("-", "_"))
    ]


def _gauge(name: str, words: str, samples: Iterable[Sample]) -> str:
    return _head(name, words, "gauge") + "".join(_line(name, labels, value) for labels, value in samples)


def _counter(name: str, words: str, samples: Iterable[Sample]) -> str:
    name = f"{name}_total"
    return _head(name, words, "counter") + "".join(_line(name, labels, value) for labels, value in samples)


def _head(name: str, words: str, kind: str) -> str:
    return f"# HELP assetbatch_{name} {words}\n# TYPE assetbatch_{name} {kind}\n"


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    number = f"{value:.0f}" if value == int(value) else repr(float(value))
    return f"assetbatch_{name}{f'{{{inside}}}' if inside else ''} {number}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
