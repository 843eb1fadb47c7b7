"""What a person should look at, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from assetbatch.config import Config
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import ago, format_duration, listed, plural
from assetbatch.domain.queueing import DeadLetter, QueueState
from assetbatch.domain.records import ENQUEUE_SECONDARY, RUN_PRIORITY, RUN_QUEUE, JobState
from assetbatch.domain.units import HOUR_MS, MINUTE_MS
from assetbatch.health.assets import NOT_REGISTERED, NOT_STORED
from assetbatch.health.document import Alert, AssetHealth, Problem, Severity

MISSED_STARTS = 3
QUEUE_SILENT_MS = 10 * MINUTE_MS
ENQUEUE_SILENT_MS = 3 * HOUR_MS
NAMES_SHOWN = 3


def problems_of(
    assets: Sequence[AssetHealth],
    jobs: Mapping[str, JobState],
    dead: Sequence[DeadLetter],
    queue: QueueState,
    config: Config,
    now_ms: int,
    known_since_ms: int | None = None,
) -> list[Problem]:
    """What a person should look at, the gravest first. `known_since_ms` is the start of the earliest cycle of
    run-priority that is remembered."""
    problems = []
    for command, job in jobs.items():
        if job.last_error:
            failed = job.last_result == "failed"
            how = "failed" if failed else "was cut short"
            words = f"the last {command.replace('_', '-')} {how}: {job.last_error}"
            severity: Severity = "critical" if failed and command == RUN_PRIORITY else "warning"
            problems.append(Problem(words, "assetbatch doctor looks into it", severity))
    priority = jobs[RUN_PRIORITY]
    interval_ms = config.batch.interval_minutes * MINUTE_MS
    if not config.enabled_priority_assets:
        pass  # nothing is to be started
    elif priority.last_started_ms is None:
        problems.append(
            Problem("run-priority has never been started", "start it by hand, then by cron (crontab.example)")
        )
    elif now_ms - priority.last_started_ms > MISSED_STARTS * interval_ms and not config.sandbox:
        problems.append(
            Problem(
                f"run-priority was last started {ago(now_ms - priority.last_started_ms)}, "
                f"it should be every {config.batch.interval_minutes} min",
                "is cron running, and does its log say why?",
                "critical",
            )
        )
    enqueue_started = jobs[ENQUEUE_SECONDARY].last_started_ms
    silent_ms = now_ms - (enqueue_started or known_since_ms or now_ms)
    if config.enabled_secondary_assets and not config.sandbox and silent_ms > ENQUEUE_SILENT_MS:
        started = f"last started {ago(silent_ms)}" if enqueue_started else "never started"
        hint = "cron should start it every half hour (crontab.example)"
        problems.append(Problem(f"enqueue-secondary was {started}", hint))
    queue_started = jobs[RUN_QUEUE].last_started_ms
    if queue.size and not config.sandbox and now_ms - (queue_started or 0) > QUEUE_SILENT_MS:
        started = f"last started {ago(now_ms - queue_started)}" if queue_started else "never started"
        problems.append(
            Problem(
                f"{plural(queue.size, 'item')} in the queue, and run-queue was {started}",
                "cron should start it every minute (crontab.example)",
            )
        )
    if unknown := [asset for asset in assets if asset.reason == NOT_REGISTERED]:
        names = listed([asset.symbol for asset in unknown], NAMES_SHOWN)
        grave = any(asset.asset_class is AssetPriority.CRITICAL for asset in unknown)
        words = f"{names}: not registered in the database"
        problems.append(Problem(words, "run assetbatch init", "critical" if grave else "warning"))
    problems += problems_of_assets(assets)
    if queue.dead:
        shown = ", ".join(f"{letter.id} ({letter.error})" for letter in dead)
        message = f"{plural(queue.dead, 'dead letter')}, the latest: {shown}"
        problems.append(
            Problem(message, "assetbatch dead list shows them; dead retry or dead drop settles them")
        )
    return sorted(problems, key=lambda problem: problem.severity != "critical")


def problems_of_assets(assets: Sequence[AssetHealth]) -> list[Problem]:
    """A line for each priority asset that is not well, and one for all others in the same state."""
    problems = []
    others: dict[str, list[AssetHealth]] = {}
    for asset in assets:
        if asset.reason == NOT_STORED and asset.asset_class is AssetPriority.CRITICAL:
            hint = "assetbatch doctor looks into it: a trigger, a row-level policy or another program?"
            problems.append(Problem(f"{asset.symbol}: {NOT_STORED}", hint, "critical"))
            continue
        if asset.state in ("fresh", "due", "never"):
            continue
        if asset.asset_class is AssetPriority.CRITICAL:
            problems.append(Problem(f"{asset.symbol}: {_what_is_wrong(asset)}", None, "critical"))
        else:
            others.setdefault(asset.state, []).append(asset)
    for alike in others.values():
        names = listed([asset.symbol for asset in alike], NAMES_SHOWN)
        problems.append(Problem(f"{names}: {_what_is_wrong(alike[0])}"))
    return problems


def _what_is_wrong(asset: AssetHealth) -> str:
    if asset.state == "stale":
        age = format_duration(round((asset.age_seconds or 0) * 1000))
        return f"stale, its price is {age} old ({asset.reason})"
    words = asset.state.replace("_", " ")
    return f"{words} ({asset.error})" if asset.error else words


def verdict(
    problems: Sequence[Problem], alerts: Sequence[Alert]
) -> Literal["healthy", "degraded", "unhealthy"]:
    """Unhealthy with anything critical, degraded with any warning."""
    severities = {problem.severity for problem in problems} | {alert.severity for alert in alerts}
    return "unhealthy" if "critical" in severities else "degraded" if severities else "healthy"
