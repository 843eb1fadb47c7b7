"""`run-queue`: work the pending queue. A start that finds it empty loads little and asks only Redis."""

from __future__ import annotations

import logging
from contextlib import suppress

from assetbatch.commands.result import (
    judge,
    lease_seconds,
    log_unended,
    new_result,
    planned,
    recorded,
    skipped,
)
from assetbatch.deadline import Deadline
from assetbatch.domain.endings import ending_in_words
from assetbatch.domain.formatting import listed
from assetbatch.domain.records import Command, EndReason
from assetbatch.domain.results import CycleResult
from assetbatch.domain.work import without_days
from assetbatch.errors import RedisError
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services

log = logging.getLogger("assetbatch")

DRY_RUN_ITEMS = 250
"""Maximum number of items that a dry run looks at."""


def run_queue(
    services: Services, deadline: Deadline, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """Work the pending queue until it is empty, the time is over or no call is free before its end.

    Fill the queue first if it may have lost work, because Redis was emptied or is another server. Raise
    AssetbatchError if the cycle cannot be run at all; leased work is handed back then.
    """
    result = new_result(services, Command.RUN_QUEUE)
    if dry_run:
        return planned(result, _plan(services))
    max_runs = services.config.queue.max_concurrency
    with services.locks.hold(Command.RUN_QUEUE, lease_seconds(deadline), max_runs) as held:
        if not held:
            return skipped(services, result)
        started = services.history.start(Command.RUN_QUEUE, result.started_ms)
        if max_runs == 1:  # else it may be another run that has not ended
            log_unended(started)
        progress.began()
        with recorded(services, result) as calls:
            state, spare_calls = services.begin_queue_run()
            if state.leased:
                services.dead_processes.free()
            if not state.is_whole:
                from assetbatch.commands.enqueue_secondary import enqueue_due

                log.info("redis is another server: what the queue may have lost is queued again")
                enqueue_due(services, result, services.entitlements())
            try:
                if state.size or result.enqueued:
                    from assetbatch.commands.queue_worker import work_queue

                    work_queue(services, deadline, progress, result, calls, started)
                else:
                    result.ended_because = ending_in_words(EndReason.EMPTY)
                    result.queue_size = 0
                    if spare_calls:
                        from assetbatch.commands.verify import run_spare_calls

                        run_spare_calls(services, deadline, progress, result, calls, started)
                    judge(result, deadline)
            finally:
                with suppress(RedisError):
                    _log_dead_letters(services, state.now_ms)
    return result


def _plan(services: Services) -> list[str]:
    """Return what a start would do with the first items that wait now."""
    from assetbatch.commands.common import NOT_CONFIGURED, group_work, known_work, plan_lines
    from assetbatch.domain.item_words import work_in_words

    services.load_members()
    known = services.entitlements()
    ids = services.queue.peek(DRY_RUN_ITEMS)
    places = {item_id: place for place, item_id in enumerate(ids)}
    found = known_work(services, ids)
    work = list(found.work)
    for group in found.groups:
        members = group_work(services, known, group)
        work += members
        places |= {member.id: places[group.id] for member in members}
    return [
        *plan_lines(services, known, work, found.references, places),
        *(f"no call: {work_in_words(item_id)} (of no use any more)" for item_id in found.needless),
        *(f"no call: {work_in_words(item_id)} ({NOT_CONFIGURED})" for item_id in found.gone),
    ]


def _log_dead_letters(services: Services, now_ms: int) -> None:
    """Log what died since anybody was told, whoever has found it dead: this run, another one, or a script
    that ended the lease of a dead process."""
    letters = services.queue.new_dead_letters(now_ms)
    if not letters:
        return
    alike: dict[str, list[str]] = {}
    for letter in reversed(letters):
        alike.setdefault(letter.error, []).append(letter.id)
    for error, ids in alike.items():
        log.warning(
            "%s: %s (%s; hint: assetbatch dead list shows them, dead retry tries again)",
            listed(ids),
            error,
            "a dead letter now" if len(ids) == 1 else f"{len(ids)} dead letters now",
            extra={"symbols": list(map(without_days, ids)), "is_new": True},
        )
    services.queue.told(letters)
