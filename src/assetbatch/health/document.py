"""The health document's parts; its keys are a public contract, times in it are ISO 8601 in UTC."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from assetbatch.domain.assets import AssetPriority

Severity = Literal["warning", "critical"]


class AssetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One asset. `state`: fresh, due, stale, never, or a failed sync's status; `as_of`: of its price.
    `platform_status`: the word in the platform's data_sync_status where another program has written it.

    `complete`: the share (0 to 1) of its market's open time since `complete_since` whose bars are stored, or
    known not to exist; None where no bars are kept or were asked for. `behind_seconds`: how much newer the
    price could be, by its market's hours and the plan.
    """

    symbol: str
    asset_class: AssetPriority = msgspec.field(name="class")
    asset_type: str
    last_price: float | None
    change_percent: float | None
    as_of: str | None
    age_seconds: float | None
    behind_seconds: float | None
    market: Literal["open", "closed"]
    state: str
    reason: str
    error: str | None
    platform_status: str | None = None
    complete: float | None
    complete_since: str | None


class JobHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One command's starts. `trigger` says what cron is expected to do, `next_run` when it does it next."""

    id: str
    name: str
    trigger: str
    last_started: str | None
    last_finished: str | None
    last_result: str | None
    last_error: str | None
    next_run: str
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


def encode(health: Health) -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(health), indent=2)
