"""Health documents to look at: made from values, without servers."""

from __future__ import annotations

from typing import Any

import pytest

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import iso
from assetbatch.domain.metrics import (
    CALLS,
    PRIORITY_LATENCY,
    QUEUE_LATENCY,
    QUEUE_SIZE,
    Series,
    age_of,
    step_ms,
)
from assetbatch.domain.reasons import Reason
from assetbatch.domain.records import Command
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import MINUTE_MS
from assetbatch.health import Alert, AssetHealth, Health, HealthStatus, JobHealth, Metric, Problem, Severity
from assetbatch.health.jobs import NAMES

NOW_MS = 1_800_000_000_000
CLASSES = list(AssetPriority)


def asset(number: int, *, state: str = "fresh", **changes: Any) -> AssetHealth:
    """The first three are priority assets, the others HIGH, MEDIUM and LOW in turn."""
    values: dict[str, Any] = {
        "symbol": ["XAUUSD", "EURUSD", "BTCUSD"][number] if number < 3 else f"SYM{number}",
        "priority": CLASSES[0] if number < 3 else CLASSES[1 + number % 3],
        "asset_type": "crypto" if number == 2 else "forex",
        "last_price": 4083.31 / (number + 1),
        "change_percent": (-1) ** number * 0.42,
        "as_of": iso(NOW_MS - 300_000),
        "age_seconds": 300.0,
        "lag_seconds": 0.0 if state == "fresh" else 86_400.0,
        "market": "open",
        "state": AssetState(state),
        "cause": Reason.COMPLETE if state == "fresh" else Reason.REFRESHED,
        "reason": "complete up to now" if state == "fresh" else "its frequency has passed",
        "error": None,
        "complete": 1.0 if state == "fresh" else 0.9371,
        "complete_since": iso(NOW_MS - 34 * 86_400_000),
    }
    return AssetHealth(**{**values, **changes})


def health(assets: list[AssetHealth], **changes: Any) -> Health:
    """A document of a free plan that is well."""
    values: dict[str, Any] = {
        "status": HealthStatus.HEALTHY,
        "checked_at": iso(NOW_MS),
        "problems": [],
        "plan": {
            "tier": "free",
            "plans": {"currencies": "free"},
            "limit": 5,
            "window_seconds": 60.0,
            "rate_limit": 5,
            "delay_minutes": 15,
            "websocket_enabled": False,
            "upgrade_url": "https://massive.com/pricing",
            "data_up_to": {"forex": iso(NOW_MS - 8 * 3_600_000), "crypto": iso(NOW_MS)},
            "refusals": [],
            "pages": [],
            "simulated": False,
        },
        "jobs": [
            JobHealth(
                id=command,
                id_old=command.old,
                name=NAMES[command],
                trigger=f"every {minutes} minutes",
                last_started=iso(NOW_MS - 60_000),
                last_finished=iso(NOW_MS - 58_000),
                last_result="ok",
                last_error=None,
                next_run=iso(NOW_MS + minutes * 60_000 - 60_000),
                skipped=2,
            )
            for command, minutes in zip(Command, (5, 1, 30), strict=True)
        ],
        "queue": {
            "total_items": 12,
            "by_priority": {"CRITICAL": 0, "HIGH": 4, "MEDIUM": 5, "LOW": 3},
            "bars": 0,
            "history": 2,
            "oldest_item_age_seconds": 95.0,
            "leased": 1,
            "delayed": 1,
            "dead": 0,
            "max_size": 1000,
            "calls_ahead": 12,
            "done_in_seconds": 180,
        },
        "last_priority_update": iso(NOW_MS - 58_000),
        "api_calls_remaining": 2,
        "next_slot_in_seconds": 0.0,
        "window": {"used": 3, "reserved_for_priority": 2, "pause": None, "pause_begun": True},
        "assets": assets,
        "cycles": [
            {
                "command": Command.RUN_PRIORITY,
                "started": iso(NOW_MS - 60_000),
                "age_seconds": 60.0,
                "duration_ms": 1200,
                "result": "ok",
                "refreshed": 3,
                "failed": 0,
                "fresh": 0,
                "calls": 3,
            }
        ],
        "metrics": {
            "batch.priority.success_rate": 100.0,
            "batch.priority.latency_ms": 1200.0,
            "queue.size": 12.0,
            "api.rate_limit_waits": 0.0,
            "queue.dead_letters": 0.0,
            "starts.skipped": 6.0,
            "plan.refusals": 0.0,
            "assets.fresh_percent": 100.0,
        },
        "alerts": [],
    }
    return Health(**{**values, **changes})


def broken(count: int) -> Health:
    """Everything that can be wrong at once."""
    assets = [
        asset(number, state="stale" if number % 2 else "failed", error="no answer within 10 s" * 4)
        for number in range(count)
    ]
    return health(
        assets,
        status=HealthStatus.UNHEALTHY,
        problems=[
            Problem(
                "the last run-priority failed: the provider refuses the API key", None, Severity.CRITICAL
            ),
            Problem(
                "run-priority was last started 3 h ago, it should be every 5 min",
                "is cron running, and does its log say why?",
                Severity.CRITICAL,
            ),
            Problem("XAUUSD: stale, its price is 3 h old " + "and more words " * 20),
        ],
        alerts=[Alert(Metric.SUCCESS_RATE, 12.5, 90.0, Severity.CRITICAL)],
        api_calls_remaining=0,
        next_slot_in_seconds=41.0,
    )


def no_database() -> Health:
    problem = Problem(
        "connecting to db at localhost:5432: nothing listens there", "start it", Severity.CRITICAL
    )
    document = health([], status=HealthStatus.UNHEALTHY, problems=[problem], database_error=True)
    del document.metrics["assets.fresh_percent"]
    return document


def day() -> dict[str, Series]:
    """A full day of every series."""
    wanted = [
        CALLS,
        QUEUE_SIZE,
        PRIORITY_LATENCY,
        QUEUE_LATENCY,
        *map(age_of, ("XAUUSD", "EURUSD", "BTCUSD")),
    ]
    found = {}
    for metric in wanted:
        step = step_ms(metric)
        first = (NOW_MS - 1440 * MINUTE_MS) // step + 1
        starts = range(first * step, NOW_MS, step)
        found[metric] = Series(metric, step, [(start, float(start // step % 6)) for start in starts])
    return found


@pytest.fixture
def well() -> Health:
    return health([asset(number) for number in range(20)])
