"""Collects the health document from Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assetbatch.config import Config
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, restriction_in_words
from assetbatch.domain.forecast import Forecast, QueueLoad, forecast
from assetbatch.domain.formatting import iso, iso_or_none
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane, QueueState
from assetbatch.domain.records import COMMANDS, RUN_PRIORITY, RUN_QUEUE, CycleRecord
from assetbatch.errors import DatabaseError
from assetbatch.health.assets import asset_health, newest_of_markets
from assetbatch.health.document import AssetHealth, Health, Problem
from assetbatch.health.jobs import job_health
from assetbatch.health.metrics import alerts_of, metrics_of
from assetbatch.health.problems import problems_of, verdict
from assetbatch.services import Services
from assetbatch.state.preflight import preflight_errors
from assetbatch.state.window import WindowState

CYCLES_SHOWN = 5


def collect(services: Services) -> Health:
    """Reads Redis and PostgreSQL; a database that cannot be read is a problem in the document, a Redis that
    cannot be read raises RedisError (nothing else would be true then)."""
    config = services.config
    now_ms = services.now_ms()
    known = services.entitlements()
    jobs = {command: services.history.job(command) for command in COMMANDS}
    cycles = {command: services.history.cycles(command) for command in (RUN_PRIORITY, RUN_QUEUE)}
    window = services.window.state()
    queue = services.queue.state()
    waits = services.history.waits_of_last_hour(now_ms)
    problems: list[Problem] = []
    stored: Mapping[str, StoredAsset] | None = None
    try:
        stored = services.store.load([asset.symbol for asset in config.assets])
    except DatabaseError as error:
        problems.append(Problem(error.message, error.hint, "critical"))
    assets: list[AssetHealth] = []
    if stored is not None:
        newest = newest_of_markets(config.assets, stored)
        assets = [
            asset_health(asset, stored.get(asset.symbol), known, now_ms, newest.get(asset.market, 0))
            for asset in config.assets
        ]
    write, *_ = preflight_errors(services.redis, ("HSET", services.keys.job("status"), "field", "value"))
    if write:
        problems.append(Problem(write.message, write.hint, "critical"))
    metrics = metrics_of(cycles[RUN_PRIORITY], queue, waits, now_ms)
    alerts = alerts_of(metrics, config, cycles[RUN_PRIORITY])
    refusals = known.believed(now_ms)
    metrics |= {
        "queue.dead_letters": float(queue.dead),
        "starts.skipped": float(sum(job.skipped for job in jobs.values())),
        "plan.refusals": float(len(refusals)),
        "assets.fresh_percent": fresh_percent(assets),
    }
    ahead = None
    if stored is not None and queue.size:
        starts_ms = jobs[RUN_PRIORITY].starts_ms
        queued = services.queue.by_lane()
        load = QueueLoad(queued=queued, starts_ms=starts_ms, cycles=cycles[RUN_QUEUE])
        ahead = forecast(services.budget(), load, known, stored, now_ms)
    dead = services.queue.dead_letters(3)
    known_since_ms = cycles[RUN_PRIORITY][-1].started_ms if cycles[RUN_PRIORITY] else None
    problems += problems_of(assets, jobs, dead, queue, config, now_ms, known_since_ms)
    return Health(
        status=verdict(problems, alerts),
        checked_at=iso(now_ms),
        problems=problems,
        plan=plan_of(config, window, known, refusals, now_ms),
        jobs=[job_health(command, jobs[command], config, now_ms) for command in COMMANDS],
        queue=queue_of(queue, config, ahead),
        last_priority_update=iso_or_none(jobs[RUN_PRIORITY].last_refreshed_ms),
        api_calls_remaining=window.remaining,
        next_slot_in_seconds=round(max(0, window.next_slot_ms - window.now_ms) / 1000, 3),
        window={"used": window.used, "reserved_for_priority": window.reserved},
        assets=assets,
        cycles=cycles_of(cycles, now_ms),
        metrics=metrics,
        alerts=alerts,
        database_error=stored is None,
    )


def plan_of(
    config: Config,
    window: WindowState,
    known: Entitlements,
    refusals: Sequence[KnownRestriction],
    now_ms: int,
) -> dict[str, Any]:
    """The configured plan, up to when it shows data, and what the provider refused of it."""
    tier = config.tier
    types = dict.fromkeys(asset.asset_type for asset in config.assets)
    return {
        "tier": config.rate_limiting.tier,
        "limit": window.limit,
        "window_seconds": window.window_ms / 1000,
        "rate_limit": tier.rate_limit,
        "delay_minutes": tier.delay_minutes,
        "websocket_enabled": tier.websocket_enabled,
        "upgrade_url": config.rate_limiting.upgrade_url.masked(),
        "data_up_to": {kind.value: iso(known.visible_until_ms(kind, now_ms)) for kind in types},
        "refusals": [restriction_in_words(refusal) for refusal in refusals],
        "simulated": config.sandbox,
    }


def fresh_percent(assets: Sequence[AssetHealth]) -> float:
    """The share of assets that are as new as they can be, or will be by their next turn."""
    fresh = sum(asset.state in ("fresh", "due") for asset in assets)
    return round(100 * fresh / len(assets), 2) if assets else 100.0


def queue_of(state: QueueState, config: Config, ahead: Forecast | None) -> dict[str, Any]:
    """The queue's figures under their public names; `done_in_seconds` is when it is expected to be empty."""
    age = None if state.oldest_ms is None else round((state.now_ms - state.oldest_ms) / 1000, 1)
    return {
        "total_items": state.size,
        "by_priority": {priority.value: count for priority, count in state.by_priority.items()},
        "bars": state.by_lane[Lane.BARS],
        "history": state.by_lane[Lane.HISTORY],
        "oldest_item_age_seconds": age,
        "leased": state.leased,
        "delayed": state.delayed,
        "dead": state.dead,
        "max_size": config.queue.max_size,
        "calls_ahead": ahead.calls if ahead else 0,
        "done_in_seconds": round((ahead.done_ms - state.now_ms) / 1000) if ahead else None,
    }


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
