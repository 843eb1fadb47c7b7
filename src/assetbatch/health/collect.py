"""Collects the health document from Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from assetbatch.config import Config
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, restriction_in_words
from assetbatch.domain.forecast import Forecast, QueueLoad, forecast
from assetbatch.domain.formatting import iso, iso_or_none
from assetbatch.domain.models import IntervalState, StoredAsset
from assetbatch.domain.pages import length_in_words
from assetbatch.domain.queueing import Lane, QueueState
from assetbatch.domain.ranges import calls_saved, expected_history
from assetbatch.domain.records import Command, CycleRecord, JobState
from assetbatch.domain.units import SECOND_MS
from assetbatch.domain.verification import Tally, answered_ms
from assetbatch.errors import AssetbatchError, DatabaseError
from assetbatch.health.assets import asset_health, newest_of_markets
from assetbatch.health.document import AssetHealth, Health, Metric, Problem, Severity, Verification
from assetbatch.health.failures import failures_of
from assetbatch.health.jobs import job_health
from assetbatch.health.metrics import alerts_of, metrics_of
from assetbatch.health.problems import Situation, problems_of, verdict
from assetbatch.services import Services
from assetbatch.state.preflight import preflight_errors
from assetbatch.state.window import WindowState

if TYPE_CHECKING:
    from assetbatch.domain.splits import KnownSplit

CYCLES_SHOWN = 5
"""Maximum number of cycles of each command in the document."""

LETTERS_SHOWN = 3
"""Maximum number of dead letters that a problem tells."""


class _Facts(NamedTuple):
    """What Redis and PostgreSQL say. `stored` is None where the database cannot be read."""

    now_ms: int
    known: Entitlements
    jobs: Mapping[Command, JobState]
    cycles: Mapping[Command, Sequence[CycleRecord]]
    window: WindowState
    queue: QueueState
    waits: int
    finer: Mapping[str, int]
    stored: Mapping[str, StoredAsset] | None
    tallies: Mapping[str, Tally]
    splits: Sequence[tuple[str, KnownSplit]]
    rules_without_members: Sequence[str]
    errors: Sequence[AssetbatchError]


def collect(services: Services) -> Health:
    """Read Redis and PostgreSQL, and return the document.

    A database that cannot be read is a problem in it. Raise RedisError where Redis cannot be read: nothing
    else would be true then.
    """
    services.config.require_api_key()  # before a server is asked: an embedded one would be started
    facts = _read(services)
    config = services.config  # with the members of rules
    now_ms, known, cycles = facts.now_ms, facts.known, facts.cycles[Command.RUN_PRIORITY]
    assets = _assets(config, facts)
    restrictions = known.believed(now_ms)
    metrics = metrics_of(cycles, facts.queue, facts.waits, now_ms)
    alerts = alerts_of(metrics, config, cycles)
    metrics |= {
        Metric.DEAD_LETTERS.value: float(facts.queue.dead),
        Metric.SKIPPED.value: float(sum(job.skipped for job in facts.jobs.values())),
        Metric.RESTRICTIONS.value: float(len(restrictions)),
    }
    if assets:
        metrics[Metric.FRESH_PERCENT.value] = fresh_percent(assets)
    problems = _problems(services, facts, assets)
    window = facts.window
    return Health(
        status=verdict(problems, alerts),
        checked_at=iso(now_ms),
        problems=problems,
        plan=plan_of(config, window, known, restrictions, now_ms),
        jobs=[job_health(command, job, config, now_ms) for command, job in facts.jobs.items()],
        queue=queue_of(facts.queue, config, _forecast(services, facts)),
        last_priority_update=iso_or_none(facts.jobs[Command.RUN_PRIORITY].last_refreshed_ms),
        api_calls_remaining=window.remaining,
        next_slot_in_seconds=round(max(0, window.next_slot_ms - window.now_ms) / SECOND_MS, 3),
        window={
            "used": window.used,
            "reserved_for_priority": window.reserved,
            "pause": window.pause,
            "pause_begun": window.pause_begun,
        },
        assets=assets,
        cycles=cycles_of(
            {command: facts.cycles[command] for command in (Command.RUN_PRIORITY, Command.RUN_QUEUE)}, now_ms
        ),
        metrics=metrics,
        alerts=alerts,
        database_error=facts.stored is None,
        failures=failures_of(facts.cycles, now_ms),
        verification=verification_of(facts.stored or {}, facts.tallies),
    )


def _read(services: Services) -> _Facts:
    """Ask Redis, then PostgreSQL, then whether Redis takes writes."""
    now_ms = services.now_ms()
    known = services.entitlements()
    jobs = {command: services.history.job(command) for command in Command}
    cycles = {command: services.history.cycles(command) for command in Command}
    window = services.window.state()
    queue = services.queue.state()
    waits, finer = services.history.waits_of_last_hour(now_ms), services.history.finer_of_last_day(now_ms)
    errors: list[AssetbatchError] = []
    stored: Mapping[str, StoredAsset] | None = None
    tallies: Mapping[str, Tally] = {}
    splits: Sequence[tuple[str, KnownSplit]] = ()
    empty: Sequence[str] = ()
    try:
        services.load_members()
        empty = _rules_without_members(services)
        symbols = [asset.symbol for asset in services.config.assets]
        stored, tallies = services.store.load(symbols), services.store.tallies(symbols, now_ms)
        stocks = [asset.symbol for asset in services.config.assets if asset.asset_class.has_splits]
        splits = services.store.doubtful_splits(stocks) if stocks else ()
    except DatabaseError as error:
        errors.append(error)
    write, *_ = preflight_errors(services.redis, ("HSET", services.keys.job("status"), "field", "value"))
    if write:
        errors.append(write)
    return _Facts(
        now_ms, known, jobs, cycles, window, queue, waits, finer, stored, tallies, splits, empty, errors
    )


def _rules_without_members(services: Services) -> list[str]:
    """Return the rules whose look-up has found nothing. PostgreSQL is asked only if one may be among them."""
    rules = [rule.key for rule in services.config.enabled_rules]
    rules = [key for key in rules if key not in services.rules_with_members]
    if not rules:
        return []
    services.load_walks()
    return [key for key in rules if (walk := services.walks.get(key)) is not None and walk.knows_members]


def _assets(config: Config, facts: _Facts) -> list[AssetHealth]:
    if facts.stored is None:
        return []
    newest = newest_of_markets(config.assets, facts.stored)
    return [
        asset_health(
            asset,
            facts.stored.get(asset.symbol),
            facts.known,
            facts.now_ms,
            newest.get(asset.market, 0),
            facts.tallies.get(asset.symbol),
            by_rule=asset.symbol in config.members_by_symbol,
        )
        for asset in config.assets
    ]


def _problems(services: Services, facts: _Facts, assets: Sequence[AssetHealth]) -> list[Problem]:
    cycles, enqueued = facts.cycles[Command.RUN_PRIORITY], facts.cycles[Command.ENQUEUE_SECONDARY]
    situation = Situation(
        assets=assets,
        jobs=facts.jobs,
        dead=services.queue.dead_letters(LETTERS_SHOWN),
        queue=facts.queue,
        config=services.config,
        now_ms=facts.now_ms,
        known_since_ms=cycles[-1].started_ms if cycles else None,
        last_enqueued=enqueued[0] if enqueued else None,
        asked_again=asked_again(facts.stored or {}, facts.tallies),
        finer=facts.finer,
        splits=facts.splits,
        rules_without_members=facts.rules_without_members,
    )
    broken = [Problem(error.message, error.hint, Severity.CRITICAL) for error in facts.errors]
    return broken + problems_of(situation)


def _forecast(services: Services, facts: _Facts) -> Forecast | None:
    if facts.stored is None or not facts.queue.size:
        return None
    by_lane, saved, config = services.queue.by_lane(), 0, services.config
    if by_lane[Lane.HISTORY]:
        expected = expected_history(config.history_years, facts.now_ms)
        ids = [item.id for item in services.queue.items() if item.lane is Lane.HISTORY]
        coverage = {symbol: one.coverage for symbol, one in facts.stored.items()}
        saved = calls_saved(ids, config.assets, coverage, facts.known, expected, facts.now_ms)
    load = QueueLoad(
        queued=by_lane,
        calls_saved=saved,
        starts_ms=facts.jobs[Command.RUN_PRIORITY].starts_ms,
        cycles=facts.cycles[Command.RUN_QUEUE],
    )
    return forecast(services.budget(), load, facts.known, facts.stored, facts.now_ms)


def plan_of(
    config: Config,
    window: WindowState,
    known: Entitlements,
    restrictions: Sequence[KnownRestriction],
    now_ms: int,
) -> dict[str, Any]:
    """Return the configured plan, up to when it shows data, and what it is known to lack."""
    tier = config.tier
    types = config.asset_types
    return {
        "tier": config.rate_limiting.tier,
        "plans": {product.value: config.rate_limiting.plan_of(product) for product in config.products},
        "limit": window.limit,
        "window_seconds": window.window_ms / SECOND_MS,
        "rate_limit": tier.rate_limit,
        "delay_minutes": tier.delay_minutes,
        "websocket_enabled": tier.websocket_enabled,
        "upgrade_url": config.rate_limiting.upgrade_url.masked(),
        "data_up_to": {kind.value: iso(known.visible_until_ms(kind, now_ms)) for kind in types},
        "refusals": [restriction_in_words(restriction) for restriction in restrictions],
        "pages": [length_in_words(length, days) for length, days in known.market_lengths(now_ms)],
        "simulated": config.sandbox,
    }


def asked_again(stored: Mapping[str, StoredAsset], tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Return the symbols of which too much has differed, while everything of them is asked for again, and
    since when that is so (ms). What came and was of no use has been asked for."""
    return {
        symbol: tally.asked_again_ms
        for symbol, tally in tallies.items()
        if tally.asked_again_ms is not None
        and any(one.state is IntervalState.AGAIN and one.fault is None for one in stored[symbol].coverage)
    }


def verification_of(stored: Mapping[str, StoredAsset], tallies: Mapping[str, Tally]) -> Verification:
    """Return what the comparisons of all assets have shown."""
    total_ms = sum(answered_ms(one.coverage) for one in stored.values())
    verified_ms = sum(
        min(one.verified_ms, answered_ms(stored[symbol].coverage)) for symbol, one in tallies.items()
    )
    return Verification(
        share=round(verified_ms / total_ms, 6) if total_ms else None,
        changed=sum(one.changed for one in tallies.values()),
        appeared=sum(one.appeared for one in tallies.values()),
        vanished=sum(one.vanished for one in tallies.values()),
        largest_difference=max((one.largest for one in tallies.values()), default=0.0),
        asked_again=list(asked_again(stored, tallies)),
    )


def fresh_percent(assets: Sequence[AssetHealth]) -> float:
    """Return the share of assets that are as new as they can be, or will be by their next turn, in percent.

    Without assets nobody knows it.
    """
    return round(100 * sum(asset.state.is_well for asset in assets) / len(assets), 2)


def queue_of(state: QueueState, config: Config, ahead: Forecast | None) -> dict[str, Any]:
    """Return the queue's figures under their public names.

    `done_in_seconds` is when the queue is expected to be empty.
    """
    age = None if state.oldest_ms is None else round((state.now_ms - state.oldest_ms) / SECOND_MS, 1)
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
        "done_in_seconds": round((ahead.done_ms - state.now_ms) / SECOND_MS) if ahead else None,
    }


def cycles_of(cycles: Mapping[Command, Sequence[CycleRecord]], now_ms: int) -> list[dict[str, Any]]:
    """Return the last few cycles of each command, newest first."""
    shown = [
        {
            "command": command,
            "command_old": command.old,
            "started": iso(cycle.started_ms),
            "age_seconds": round((now_ms - cycle.started_ms) / SECOND_MS, 1),
            "duration_ms": cycle.duration_ms,
            "result": cycle.result,
            "refreshed": cycle.refreshed,
            "failed": cycle.failed,
            "fresh": cycle.fresh,
            "calls": cycle.calls,
            "calling_ms": cycle.calling_ms,
            "waits": cycle.waits,
        }
        for command, records in cycles.items()
        for cycle in records[:CYCLES_SHOWN]
    ]
    return sorted(shown, key=lambda cycle: cycle["age_seconds"])
