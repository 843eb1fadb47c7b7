"""The three commands that cron starts: what they are called, how often they start, and how it went."""

from __future__ import annotations

from assetbatch.config import Config
from assetbatch.domain.due import RUN_QUEUE_MS, expected_next_start
from assetbatch.domain.formatting import iso, iso_or_none, listed
from assetbatch.domain.records import Command, JobState
from assetbatch.domain.units import MINUTE_MS, SECOND_MS
from assetbatch.health.document import JobHealth

NAMES = {
    Command.RUN_PRIORITY: "refresh the priority assets",
    Command.RUN_QUEUE: "work the queue",
    Command.ENQUEUE_SECONDARY: "queue the secondary assets that are due",
}
TOO_FREQUENT_HINT = (
    "lower that key in config.yml and run assetbatch cron install again, or raise update_frequency_seconds"
)

LONGEST_END_SECONDS = 30
"""How long a start may take beyond its deadline."""

NAMES_SHOWN = 3
"""Maximum number of symbols that a line names."""

RUNNING, DIED = "running", "died"
"""What the last result says of a start that has not ended."""


def interval_ms(command: Command, config: Config) -> int:
    """Return how often cron is expected to start a command."""
    match command:
        case Command.RUN_PRIORITY:
            return config.batch.interval_minutes * MINUTE_MS
        case Command.RUN_QUEUE:
            return RUN_QUEUE_MS
        case Command.ENQUEUE_SECONDARY:
            return config.batch.enqueue_interval_minutes * MINUTE_MS


def enqueue_needed_ms(config: Config) -> int:
    """Return how often enqueue-secondary has to be started: at its interval, or as often as the asset that is
    due most often needs it, if that is less often."""
    frequencies = [asset.update_frequency_seconds for asset in config.enabled_secondary_assets]
    frequencies += [rule.update_frequency_seconds for rule in config.enabled_rules]
    return max(interval_ms(Command.ENQUEUE_SECONDARY, config), min(frequencies, default=0) * SECOND_MS)


def too_frequent(config: Config) -> list[str]:
    """Return a line for each interval in which a price becomes older than its frequency allows."""
    batch = config.batch
    lines = []
    for assets, key, minutes in (
        (config.enabled_priority_assets, "batch.interval_minutes", batch.interval_minutes),
        (config.enabled_secondary_assets, "batch.enqueue_interval_minutes", batch.enqueue_interval_minutes),
    ):
        often = [
            asset for asset in assets if asset.update_frequency_seconds * SECOND_MS < minutes * MINUTE_MS
        ]
        if often:
            least = min(asset.update_frequency_seconds for asset in often)
            names = listed([asset.symbol for asset in often], NAMES_SHOWN)
            lines.append(f"{names}: update_frequency_seconds {least} cannot be kept, {key} is {minutes}")
    return lines


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
        last_result=last_result(job, config, now_ms),
        last_error=job.last_error,
        next_run=iso(next_ms),
        skipped=job.skipped,
    )


def last_result(job: JobState, config: Config, now_ms: int) -> str | None:
    """Return how the last start of a command ended, or that it runs, or died."""
    if job.last_started_ms is None or (job.last_finished_ms or 0) >= job.last_started_ms:
        return job.last_result
    longest_ms = (max(60, config.batch.max_cycle_seconds) + LONGEST_END_SECONDS) * SECOND_MS
    return RUNNING if now_ms - job.last_started_ms < longest_ms else DIED
