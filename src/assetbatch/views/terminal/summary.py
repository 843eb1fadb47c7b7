"""A cycle's result in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetbatch.domain.formatting import format_duration, plural
from assetbatch.domain.records import Command, CycleOutcome

if TYPE_CHECKING:
    from assetbatch.domain.results import CycleResult

ENDINGS: dict[str, str] = {
    CycleOutcome.DISABLED: "the priority assets are switched off (batch.priority_assets_enabled)",
    CycleOutcome.SKIPPED: "skipped: an earlier start of this command is still running",
}


def summary(result: CycleResult) -> str:
    """Return one line: what was done, and how long it took."""
    if result.result in ENDINGS:
        return ENDINGS[result.result]
    words = [plural(result.calls, "call")]
    if result.enqueued or result.command is Command.ENQUEUE_SECONDARY:
        words = [f"{result.enqueued} put into the queue"]
    if result.published:
        words.append(f"{plural(result.published, 'price')} published")
    if result.bars_written:
        words.append(f"{plural(result.bars_written, 'bar')} stored")
    if result.waits:
        words.append(plural(result.waits, "wait"))
    if result.queue_size is not None:
        words.append(f"{result.queue_size} in the queue")
    if result.ended_because:
        words.append(f"ended: {result.ended_because}")
    return f"{', '.join(words)}; {result.duration_ms / 1000:.1f} s"


def what_is_left(result: CycleResult) -> str:
    """Return when to start run-queue again; empty if nothing is left in the queue."""
    if result.start_again_seconds is None:
        return ""
    when = f"in {format_duration(result.start_again_seconds * 1000)}" if result.start_again_seconds else "now"
    items = plural(result.queue_size or 0, "item")
    return f"{items} left: start run-queue again {when} (cron starts it every minute)"
