"""The three commands that cron starts: what they are called, how often they start, and how it went."""

from __future__ import annotations

from assetbatch.config import Config
from assetbatch.domain.due import expected_next_start
from assetbatch.domain.formatting import iso, iso_or_none
from assetbatch.domain.records import ENQUEUE_SECONDARY, RUN_PRIORITY, RUN_QUEUE, JobState
from assetbatch.domain.units import MINUTE_MS
from assetbatch.health.document import JobHealth

NAMES = {
    RUN_PRIORITY: "refresh the priority assets",
    RUN_QUEUE: "work the queue",
    ENQUEUE_SECONDARY: "queue the secondary assets that are due",
}
ENQUEUE_MS = 30 * MINUTE_MS
"""How often crontab.example starts enqueue-secondary."""


def interval_ms(command: str, config: Config) -> int:
    """How often cron is expected to start a command, as crontab.example says it."""
    return {RUN_PRIORITY: config.batch.interval_minutes * MINUTE_MS, RUN_QUEUE: MINUTE_MS}.get(
        command, ENQUEUE_MS
    )


def job_health(command: str, job: JobState, config: Config, now_ms: int) -> JobHealth:
    """A command's starts under their public names. `last_result` is `running`, or `died` where a start has
    not ended within the deadline that every command has, until it has ended. `next_run` follows the rhythm of
    the last starts; that of a command that was never started is when cron would start it."""
    every_ms = interval_ms(command, config)
    next_ms = expected_next_start(job.starts_ms or (now_ms,), every_ms)
    if next_ms <= now_ms:  # starts were missed: the next one by the same rhythm
        next_ms += ((now_ms - next_ms) // every_ms + 1) * every_ms
    result = job.last_result
    if job.last_started_ms is not None and (job.last_finished_ms or 0) < job.last_started_ms:
        longest_ms = (max(60, config.batch.max_cycle_seconds) + 30) * 1000
        result = "running" if now_ms - job.last_started_ms < longest_ms else "died"
    minutes = every_ms // MINUTE_MS
    return JobHealth(
        id=command,
        name=NAMES[command],
        trigger="every minute" if minutes == 1 else f"every {minutes} minutes",
        last_started=iso_or_none(job.last_started_ms),
        last_finished=iso_or_none(job.last_finished_ms),
        last_result=result,
        last_error=job.last_error,
        next_run=iso(next_ms),
        skipped=job.skipped,
    )
