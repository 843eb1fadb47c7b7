"""What is recorded of the starts and cycles of each command."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

RUN_PRIORITY = "run_priority"
RUN_QUEUE = "run_queue"
ENQUEUE_SECONDARY = "enqueue_secondary"
COMMANDS = (RUN_PRIORITY, RUN_QUEUE, ENQUEUE_SECONDARY)


class CycleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One ended cycle. `result` is ok, partial, failed, stopped or an error's word; counts are of assets."""

    started_ms: int
    duration_ms: int
    result: str
    refreshed: int = 0
    failed: int = 0
    fresh: int = 0
    calls: int = 0
    error: str | None = None


class Started(NamedTuple):
    """What a start wants to know of those before."""

    starts_ms: tuple[int, ...]
    """The last starts of its command, ascending, itself last."""
    slowest_call_ms: int | None
    """How long the slowest of the last calls took; None where nobody knows."""
    answered_ms: int
    """When the provider last answered anybody; 0 where it never did."""


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a command's starts; None where it never did."""

    last_started_ms: int | None
    last_finished_ms: int | None
    last_result: str | None
    last_error: str | None
    last_refreshed_ms: int | None
    skipped: int
    starts_ms: tuple[int, ...]
