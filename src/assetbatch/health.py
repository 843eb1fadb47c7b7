"""The health document: what is fresh, what waits, what is left of the window, what went wrong.

`collect` reads, `assess_*` and the other functions decide and are pure. The document's keys are a
public contract; times in it are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from assetbatch.assets import Asset, AssetPriority
from assetbatch.config import Config
from assetbatch.cycles import ENQUEUE_SECONDARY, RUN_PRIORITY, RUN_QUEUE
from assetbatch.entitlements import HOUR_MS, Entitlements
from assetbatch.errors import DatabaseError
from assetbatch.hours import is_open, last_open, next_open
from assetbatch.ledger import completeness
from assetbatch.market import StoredAsset
from assetbatch.planning import Work, assess, expected_next_start
from assetbatch.report import lack_in_words
from assetbatch.services import Services
from assetbatch.state.journal import CycleRecord, JobState
from assetbatch.state.queue import DeadLetter, Line, QueueState
from assetbatch.state.window import WindowState
from assetbatch.words import ago, iso, plural, span

COMMANDS = (RUN_PRIORITY, RUN_QUEUE, ENQUEUE_SECONDARY)
Severity = Literal["warning", "critical"]
STALE_SLACK_MS = 60_000
COMPLETE_SLACK_MS = 30 * 60_000
MISSED_STARTS = 3
CYCLES_SHOWN = 5
QUEUE_SILENT_MS = 10 * 60_000
NAMES_SHOWN = 3


class AssetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One asset. `state`: fresh, due, stale, never, or a failed sync's status; `as_of`: of its price.

    `complete`: the share (0 to 1) of its market's open time since `complete_since` whose bars are stored, or
    known not to exist; None where no bars are kept or were asked for.
    """

    symbol: str
    asset_class: AssetPriority = msgspec.field(name="class")
    asset_type: str
    last_price: float | None
    change_percent: float | None
    as_of: str | None
    age_seconds: float | None
    market: Literal["open", "closed"]
    state: str
    reason: str
    error: str | None
    complete: float | None
    complete_since: str | None


class JobHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One command's starts; `next_run` is expected for the priority cycle only."""

    id: str
    last_started: str | None
    last_finished: str | None
    last_result: str | None
    last_error: str | None
    next_run: str | None
    skipped: int


class Alert(msgspec.Struct, frozen=True):
    """A metric beyond its threshold."""

    metric: str
    value: float
    threshold: float
    severity: Severity


class Problem(msgspec.Struct, frozen=True):
    """Something is wrong, in words, and what to do about it."""

    message: str
    hint: str | None = None
    severity: Severity = "warning"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `status --json`."""

    status: Literal["healthy", "degraded", "unhealthy"]
    checked_at: str
    problems: list[Problem]
    plan: dict[str, Any]
    jobs: list[JobHealth]
    queue: dict[str, Any]
    last_priority_update: str | None
    api_calls_remaining: int
    next_slot_in_seconds: float
    window: dict[str, Any]
    assets: list[AssetHealth]
    cycles: list[dict[str, Any]]
    metrics: dict[str, float]
    alerts: list[Alert]
    database_error: bool = False


def collect(services: Services) -> Health:
    """Reads Redis and PostgreSQL; a database that cannot be read is a problem in the document, a Redis that
    cannot be read raises RedisError (nothing else would be true then)."""
    config = services.config
    now_ms = services.now_ms()
    known = services.entitlements()
    jobs = {command: services.journal.job(command) for command in COMMANDS}
    cycles = {command: services.journal.cycles(command) for command in (RUN_PRIORITY, RUN_QUEUE)}
    window = services.window.state()
    queue = services.queue.state()
    waits = services.journal.waits_of_last_hour(now_ms)
    problems: list[Problem] = []
    stored: Mapping[str, StoredAsset] | None = None
    try:
        stored = services.store.load([asset.symbol for asset in config.assets])
    except DatabaseError as error:
        problems.append(Problem(error.message, error.hint, "critical"))
    assets = (
        [asset_health(asset, stored.get(asset.symbol), known, now_ms) for asset in config.assets]
        if (stored is not None)
        else []
    )
    metrics = metrics_of(cycles[RUN_PRIORITY], queue, waits, now_ms)
    alerts = alerts_of(metrics, config)
    problems += problems_of(assets, jobs, services.queue.dead_letters(3), queue, config, now_ms)
    return Health(
        status=verdict(problems, alerts),
        checked_at=iso(now_ms),
        problems=problems,
        plan=plan_of(config, window, known, now_ms),
        jobs=[job_health(command, jobs[command], config, now_ms) for command in COMMANDS],
        queue=queue_of(queue, config),
        last_priority_update=_iso(jobs[RUN_PRIORITY].last_refreshed_ms),
        api_calls_remaining=window.remaining,
        next_slot_in_seconds=round(max(0, window.next_slot_ms - window.now_ms) / 1000, 3),
        window={"used": window.used, "reserved_for_priority": window.reserved},
        assets=assets,
        cycles=cycles_of(cycles, now_ms),
        metrics=metrics,
        alerts=alerts,
        database_error=stored is None,
    )


def asset_health(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> AssetHealth:
    """One asset's line of the document."""
    checked = assess(Work(asset), stored, known, now_ms)
    state, reason = "fresh", checked.reason
    if stored is None:
        state, reason = "never", "not registered: run assetbatch init"
    elif checked.refusal:
        state = "not_entitled"
    elif stored.sync_status not in (None, "success"):
        state = stored.sync_status or "failed"
    elif stored.as_of_ms is None or stored.last_sync_ms is None:
        state = "never"
    elif checked.due:
        state = "stale" if is_stale(asset, stored.last_sync_ms, known, now_ms) else "due"
    change = None
    if stored and stored.last_price and stored.daily_open:
        change = round((stored.last_price / stored.daily_open - 1) * 100, 3)
    as_of_ms = stored.as_of_ms if stored else None
    spans = stored.spans if stored and asset.bars else ()
    complete_to = known.horizon_ms(asset.asset_type, now_ms)
    if known.shows_today(asset.asset_type, now_ms):  # what is on its way is not missing yet
        complete_to -= max(COMPLETE_SLACK_MS, 2 * asset.update_frequency_seconds * 1000)
    complete = completeness(asset.market, spans, complete_to)
    return AssetHealth(
        symbol=asset.symbol,
        asset_class=asset.priority,
        asset_type=asset.asset_type.value,
        last_price=stored.last_price if stored else None,
        change_percent=change,
        as_of=iso(as_of_ms) if as_of_ms is not None else None,
        age_seconds=round((now_ms - as_of_ms) / 1000, 1) if as_of_ms is not None else None,
        market="open" if is_open(asset.market, now_ms) else "closed",
        state=state,
        reason=reason,
        error=stored.error_message if stored else None,
        complete=None if complete is None else round(complete, 6),
        complete_since=iso(spans[0].start_ms) if spans else None,
    )


def is_stale(asset: Asset, last_sync_ms: int, known: Entitlements, now_ms: int) -> bool:
    """Whether an asset that is due is later than two of its frequencies and a minute.

    Counted from the last success, or from when newer data could first be seen: the market's opening, or
    the end of the day where the plan shows only ended days. A weekend makes nothing stale.
    """
    horizon = known.horizon_ms(asset.asset_type, now_ms)
    since_ms = max(last_sync_ms, min(now_ms, next_open(asset.market, last_sync_ms)))
    if horizon < now_ms:
        since_ms = max(since_ms, last_open(asset.market, horizon), horizon)
    return now_ms - since_ms > 2 * asset.update_frequency_seconds * 1000 + STALE_SLACK_MS


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


def alerts_of(metrics: Mapping[str, float], config: Config) -> list[Alert]:
    """The metrics beyond their thresholds."""
    limits = config.alerts
    alerts = []
    rate = metrics["batch.priority.success_rate"]
    if rate < limits.success_rate_min_percent:
        alerts.append(
            Alert("batch.priority.success_rate", rate, float(limits.success_rate_min_percent), "critical")
        )
    for metric, threshold in (
        ("batch.priority.latency_ms", limits.priority_latency_max_ms),
        ("queue.size", limits.queue_size_max),
        ("api.rate_limit_waits", limits.rate_limit_waits_per_hour_max),
    ):
        if metrics[metric] > threshold:
            alerts.append(Alert(metric, metrics[metric], float(threshold), "warning"))
    return alerts


def problems_of(
    assets: Sequence[AssetHealth],
    jobs: Mapping[str, JobState],
    dead: Sequence[DeadLetter],
    queue: QueueState,
    config: Config,
    now_ms: int,
) -> list[Problem]:
    """What a person should look at, the gravest first."""
    problems = []
    for command, job in jobs.items():
        if job.last_error:
            failed = job.last_result == "failed"
            how = "failed" if failed else "was cut short"
            words = f"the last {command.replace('_', '-')} {how}: {job.last_error}"
            severity: Severity = "critical" if failed and command == RUN_PRIORITY else "warning"
            problems.append(Problem(words, None, severity))
    priority = jobs[RUN_PRIORITY]
    interval_ms = config.batch.interval_minutes * 60_000
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
    queue_started = jobs[RUN_QUEUE].last_started_ms
    if queue.size and not config.sandbox and now_ms - (queue_started or 0) > QUEUE_SILENT_MS:
        started = f"last started {ago(now_ms - queue_started)}" if queue_started else "never started"
        problems.append(
            Problem(
                f"{plural(queue.size, 'item')} in the queue, and run-queue was {started}",
                "cron should start it every minute (crontab.example)",
            )
        )
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
        if asset.state in ("fresh", "due", "never"):
            continue
        if asset.asset_class is AssetPriority.CRITICAL:
            problems.append(Problem(f"{asset.symbol}: {_what_is_wrong(asset)}", None, "critical"))
        else:
            others.setdefault(asset.state, []).append(asset)
    for alike in others.values():
        names = ", ".join(asset.symbol for asset in alike[:NAMES_SHOWN])
        if len(alike) > NAMES_SHOWN:
            names += f" and {len(alike) - NAMES_SHOWN} more"
        problems.append(Problem(f"{names}: {_what_is_wrong(alike[0])}"))
    return problems


def _what_is_wrong(asset: AssetHealth) -> str:
    if asset.state == "stale":
        return f"stale, its price is {span(round((asset.age_seconds or 0) * 1000))} old ({asset.reason})"
    words = asset.state.replace("_", " ")
    return f"{words} ({asset.error})" if asset.error else words


def verdict(
    problems: Sequence[Problem], alerts: Sequence[Alert]
) -> Literal["healthy", "degraded", "unhealthy"]:
    """Unhealthy with anything critical, degraded with any warning."""
    severities = {problem.severity for problem in problems} | {alert.severity for alert in alerts}
    return "unhealthy" if "critical" in severities else "degraded" if severities else "healthy"


def plan_of(config: Config, window: WindowState, known: Entitlements, now_ms: int) -> dict[str, Any]:
    """The configured plan, up to when it shows data, and what the vendor refused of it."""
    tier = config.tier
    types = dict.fromkeys(asset.asset_type for asset in config.assets)
    return {
        "tier": config.rate_limiting.tier,
        "limit": window.limit,
        "window_seconds": window.window_ms / 1000,
        "rate_limit": tier.rate_limit,
        "delay_minutes": tier.delay_minutes,
        "websocket_enabled": tier.websocket_enabled,
        "upgrade_url": str(config.rate_limiting.upgrade_url),
        "data_up_to": {kind.value: iso(known.horizon_ms(kind, now_ms)) for kind in types},
        "refusals": [lack_in_words(refusal) for refusal in known.believed(now_ms)],
        "simulated": config.sandbox,
    }


def queue_of(state: QueueState, config: Config) -> dict[str, Any]:
    """The queue's figures under their public names."""
    age = None if state.oldest_ms is None else round((state.now_ms - state.oldest_ms) / 1000, 1)
    return {
        "total_items": state.size,
        "by_priority": {priority.value: count for priority, count in state.by_priority.items()},
        "bars": state.by_line[Line.BARS],
        "history": state.by_line[Line.HISTORY],
        "oldest_item_age_seconds": age,
        "leased": state.leased,
        "delayed": state.delayed,
        "dead": state.dead,
        "max_size": config.queue.max_size,
    }


def job_health(command: str, job: JobState, config: Config, now_ms: int) -> JobHealth:
    """A command's starts under their public names. `last_result` is `running`, or `died` where a start has
    not ended within the bound that every command has, until it has ended."""
    next_run = None
    interval_ms = config.batch.interval_minutes * 60_000
    if command == RUN_PRIORITY and job.starts_ms:
        next_ms = expected_next_start(job.starts_ms, interval_ms)
        if next_ms <= now_ms:  # starts were missed: the next one by the same rhythm
            next_ms += ((now_ms - next_ms) // interval_ms + 1) * interval_ms
        next_run = iso(next_ms)
    result = job.last_result
    if job.last_started_ms is not None and (job.last_finished_ms or 0) < job.last_started_ms:
        longest_ms = (max(60, config.batch.max_cycle_seconds) + 30) * 1000
        result = "running" if now_ms - job.last_started_ms < longest_ms else "died"
    return JobHealth(
        id=command,
        last_started=_iso(job.last_started_ms),
        last_finished=_iso(job.last_finished_ms),
        last_result=result,
        last_error=job.last_error,
        next_run=next_run,
        skipped=job.skipped,
    )


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def cycles_of(cycles: Mapping[str, Sequence[CycleRecord]], now_ms: int) -> list[dict[str, Any]]:
    """The last few cycles of each command, newest first."""
    shown = [
        {
            "command": command,
            "started": iso(cycle.started_ms),
            "age_seconds": round((now_ms - cycle.started_ms) / 1000, 1),
            "duration_ms": cycle.duration_ms,
            "result": cycle.result,
            "refreshed": cycle.refreshed,
            "failed": cycle.failed,
            "fresh": cycle.fresh,
            "calls": cycle.calls,
        }
        for command, records in cycles.items()
        for cycle in records[:CYCLES_SHOWN]
    ]
    return sorted(shown, key=lambda cycle: cycle["age_seconds"])


def encode(health: Health) -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(health), indent=2)
