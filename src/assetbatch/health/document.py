"""The parts of the health document. Its keys are a public contract; times in it are ISO 8601 in UTC."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.reasons import Reason
from assetbatch.domain.records import Command
from assetbatch.domain.status import AssetState
from assetbatch.errors import AssetbatchError


class Severity(StrEnum):
    """How bad a problem or an alert is."""

    ADVICE = "advice"
    """Something could be done, and nothing is wrong."""
    WARNING = "warning"
    CRITICAL = "critical"


class HealthStatus(StrEnum):
    """The verdict over all: unhealthy with anything critical, degraded with any warning."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Metric(StrEnum):
    """A metric of the document."""

    SUCCESS_RATE = "batch.priority.success_rate"
    REFRESHES = "batch.priority.refreshes"
    LATENCY = "batch.priority.latency_ms"
    QUEUE_SIZE = "queue.size"
    WAITS = "api.rate_limit_waits"
    PRIORITY_WAITS = "api.priority_waits"
    DEAD_LETTERS = "queue.dead_letters"
    SKIPPED = "starts.skipped"
    RESTRICTIONS = "plan.refusals"
    FRESH_PERCENT = "assets.fresh_percent"


class AssetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One asset. `as_of` is the moment of its price; `cause` and `reason` say why it is in its `state`.

    `platform_status`: the word in the platform's data_sync_status where another program has written it.
    `complete`: the share (0 to 1) of its market's open time since `complete_since` whose bars are stored, or
    known not to exist; None where no bars are kept or were asked for. `lag_seconds`: how much newer the price
    could be, by its market's hours and the plan. `verified`: the share of its stored time that was compared
    with a later answer within 90 days. `differences`: the number of bars that have differed. `by_rule`:
    whether a rule has brought it, and no entry of its own.
    """

    symbol: str
    name: str | None = None
    priority: AssetPriority = msgspec.field(name="class")
    asset_type: str
    last_price: float | None
    change_percent: float | None
    as_of: str | None
    age_seconds: float | None
    lag_seconds: float | None = msgspec.field(name="behind_seconds")
    market: Literal["open", "closed"]
    state: AssetState
    cause: Reason
    reason: str
    error: str | None
    platform_status: str | None = None
    complete: float | None
    complete_since: str | None
    verified: float | None = None
    differences: int = 0
    by_rule: bool = False


class JobHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One command's starts. `trigger` says what cron is expected to do, `next_run` when it does it next.

    `id_old` is the spelling of earlier versions; it goes with the release after this one.
    """

    id: Command
    id_old: str
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

    metric: Metric
    value: float
    threshold: float
    severity: Severity


class FailureShown(msgspec.Struct, frozen=True, kw_only=True):
    """A reason for which cycles or their assets have failed: when it came up first and last, in how many
    cycles of a command, and for which assets."""

    command: Command
    error: str
    names: str | None
    first: str
    last: str
    cycles: int


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison of stored bars with later answers has shown, of all assets.

    `share` (0 to 1) is of the stored time and counts 90 days; None where nothing was asked for. The others
    count since the beginning. `asked_again` are the symbols of which more than 1 % differed, while everything
    of them is asked for again.
    """

    share: float | None = None
    changed: int = 0
    appeared: int = 0
    vanished: int = 0
    largest_difference: float = 0.0
    asked_again: list[str] = []


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong or advice, in words, and what to do about it."""

    message: str
    hint: str | None = None
    severity: Severity = Severity.WARNING


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `status --json`."""

    status: HealthStatus
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
    failures: list[FailureShown] = []
    verification: Verification = Verification()


def unreachable(error: AssetbatchError) -> dict[str, Any]:
    """Return the document for when nothing else can be said: its keys are a part of the others'."""
    problem = Problem(error.message, error.hint, Severity.CRITICAL)
    return {"status": HealthStatus.UNHEALTHY, "problems": [problem]}


def encode(health: Health) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(health), indent=2)
