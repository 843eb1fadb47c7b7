"""The three commands that cron starts: what they are called, how often they start, and how it went."""

from __future__ import annotations

from assetbatch.config import Config
from assetbatch.domain.due import expected_next_start
from assetbatch.domain.formatting import iso, iso_or_none
from assetbatch.domain.records import Command, JobState
from assetbatch.domain.units import MINUTE_MS, SECOND_MS
from assetbatch.health.document import JobHealth

NAMES = {
    Command.RUN_PRIORITY: "refresh the priority assets",
    Command.RUN_QUEUE: "work the queue",
    Command.ENQUEUE_SECONDARY: "queue the secondary assets that are due",
}
ENQUEUE_MS = 30 * MINUTE_MS
"""How often crontab.example starts enqueue-secondary."""

LONGEST_END_SECONDS = 30
"""How long a start may take beyond its deadline."""

RUNNING, DIED = "running", "died"
"""What the last result says of a start that has not ended."""


def interval_ms(command: Command, config: Config) -> int:
    """Return how often cron is expected to start a command, as crontab.example says it."""
    match command:
        case Command.RUN_PRIORITY:
            return config.batch.interval_minutes * MINUTE_MS
        case Command.RUN_QUEUE:
            return MINUTE_MS
        case Command.ENQUEUE_SECONDARY:
            return ENQUEUE_MS


def job_health(command: Command, job: JobState, config: Config, now_ms: int) -> JobHealth:
    """Return a command's starts under their public names.

    `last_result` is `running` for a start that has not ended, and `died` once the deadline that every command
    has is over. `next_run` follows the rhythm of the last starts; that of a command that was never started is
    when cron would start it.
    """
    every_ms = interval_ms(command, config)
    next_ms = expected_next_start(job.starts_ms or (now_ms,), every_ms)
    if next_ms <= now_ms:  # starts were missed: the next one by the same rhythm
        next_ms += ((now_ms - next_ms) // every_ms + 1) * every_ms
    minutes = every_ms // MINUTE_MS
    return JobHealth(
        id=command,
        id_old=command.old,
        name=NAMES[command],
        trigger="every minute" if minutes == 1 else f"every {minutes} minutes",
        last_started=iso_or_none(job.last_started_ms),
        last_finished=iso_or_none(job.last_finished_ms),
        last_result=_last_result(job, config, now_ms),
        last_error=job.last_error,
        next_run=iso(next_ms),
        skipped=job.skipped,
    )


def _last_result(job: JobState, config: Config, now_ms: int) -> str | None:
    if job.last_started_ms is None or (job.last_finished_ms or 0) >= job.last_started_ms:
        return job.last_result
    longest_ms = (max(60, config.batch.max_cycle_seconds) + LONGEST_END_SECONDS) * SECOND_MS
    return RUNNING if now_ms - job.last_started_ms < longest_ms else DIED
