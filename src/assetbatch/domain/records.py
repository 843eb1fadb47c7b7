"""What is recorded of the starts and cycles of each command."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec


class Command(StrEnum):
    """A command that cron starts, as it is typed, and as JSON and metrics name it."""

    RUN_PRIORITY = "run-priority"
    RUN_QUEUE = "run-queue"
    ENQUEUE_SECONDARY = "enqueue-secondary"

    @property
    def old(self) -> str:
        """The spelling of earlier versions: `run_priority`.

        JSON and metrics have it beside the other until the release after this one. Keys and counters in Redis
        keep it: two versions share them during an upgrade.
        """
        return self.value.replace("-", "_")


class CycleOutcome(StrEnum):
    """How a start of a command ended."""

    OK = "ok"
    NOTHING = "nothing"
    """Nothing was due."""
    POSTPONED = "postponed"
    """The calls went into learning what the plan lacks."""
    PARTIAL = "partial"
    """Some assets failed, others did not."""
    FAILED = "failed"
    STOPPED = "stopped"
    """A signal asked for its end."""
    SKIPPED = "skipped"
    """An earlier start of the command was still running."""
    DISABLED = "disabled"
    """The configuration switches the priority assets off."""
    PLANNED = "planned"
    """A dry run."""


class EndReason(StrEnum):
    """Why a run of the queue ended."""

    EMPTY = "empty"
    """Nothing waits."""
    OUT_OF_TIME = "out_of_time"
    STOPPED = "stopped"
    """A signal asked for its end."""
    OUT_OF_CALLS = "out_of_calls"
    """No slot is free before the end of its time."""
    TOO_MANY_CALLS = "too_many_calls"
    """The provider said so."""
    PROVIDER_DOWN = "provider_down"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A reason for which assets failed in a cycle."""

    error: str
    count: int
    """How many assets."""
    names: tuple[str, ...] = ()
    """The first of them."""


class CycleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One ended cycle. Counts are of assets."""

    started_ms: int
    duration_ms: int
    result: str
    """A CycleOutcome, as this version or another has written it."""
    refreshed: int = 0
    failed: int = 0
    fresh: int = 0
    calls: int = 0
    error: str | None = None
    calling_ms: int = 0
    """How long its calls took, added up."""
    waits: int = 0
    """How many of its calls waited for a slot."""
    causes: tuple[Cause, ...] = ()
    """Why assets failed; the first few reasons."""
    dropped: int = 0
    """How many assets found no room in the queue."""
    dropped_names: tuple[str, ...] = ()
    """The first of them."""


class Started(NamedTuple):
    """What a start has to know of those before."""

    starts_ms: tuple[int, ...]
    """The last starts of its command, ascending, itself last."""
    slowest_call_ms: int | None
    """How long the slowest of the last calls took; None where nobody knows."""
    answered_ms: int
    """When the provider last answered anybody; 0 where it never did."""
    unended_ms: int | None = None
    """When the start before this one began, if nobody has recorded its end; else None."""


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a command's starts; None where it never did."""

    last_started_ms: int | None
    last_finished_ms: int | None
    last_result: str | None
    """A CycleOutcome, as this version or another has written it."""
    last_error: str | None
    last_refreshed_ms: int | None
    skipped: int
    starts_ms: tuple[int, ...]
