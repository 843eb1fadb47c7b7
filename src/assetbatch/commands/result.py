"""Record the outcome of one start of a run command.

Loads little: an idle start needs no more.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from assetbatch.deadline import LAST_RESORT_SECONDS, Deadline, monotonic
from assetbatch.domain.endings import TOO_MANY_CALLS
from assetbatch.domain.formatting import listed, moment, plural
from assetbatch.domain.metrics import CallMade, measure
from assetbatch.domain.records import Cause, Command, CycleOutcome, CycleRecord, Started
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.domain.status import Status
from assetbatch.errors import AssetbatchError
from assetbatch.services import Services

log = logging.getLogger("assetbatch")

CAUSES_KEPT = 3
"""Maximum number of reasons of failures that the history keeps of a cycle."""

NAMES_KEPT = 10
"""Maximum number of names that it keeps of each."""

LEASE_SLACK_SECONDS = LAST_RESORT_SECONDS
"""Time after the deadline of its command for which a lease or lock still lives. By then no holder can be
alive, and that of a dead one ends by itself before the second start after it."""


def lease_seconds(deadline: Deadline) -> float:
    """Return how long a lease or lock lives that a command takes now."""
    return deadline.remaining() + LEASE_SLACK_SECONDS


@contextmanager
def recorded(services: Services, result: CycleResult) -> Iterator[list[CallMade]]:
    """Record the end of a cycle in the history and the metrics, however it ends. Yield the list for its
    calls."""
    began = monotonic()
    error: AssetbatchError | None = None
    calls: list[CallMade] = []
    try:
        yield calls
    except AssetbatchError as raised:
        error = raised
        raised.document = result
        raise
    finally:
        result.duration_ms = round((monotonic() - began) * 1000)
        if error:
            result.result = CycleOutcome.FAILED
            result.error = error.message
        if result.dropped:
            _log_full_queue(services, result)
        statuses = Counter(asset.status for asset in result.assets)
        record = CycleRecord(
            started_ms=result.started_ms,
            duration_ms=result.duration_ms,
            result=result.result,
            refreshed=statuses[Status.SUCCESS],
            failed=len(result.failed),
            fresh=statuses[Status.FRESH],
            calls=result.calls,
            error=error.message if error else TOO_MANY_CALLS if result.too_many_calls else None,
            calling_ms=round(sum(call.seconds for call in calls) * 1000),
            waits=result.waits,
            causes=_causes(result.failed),
            dropped=len(result.dropped),
            dropped_names=tuple(result.dropped[:NAMES_KEPT]),
        )
        try:
            services.history.finish(
                result.command,
                record,
                [round(call.seconds * 1000) for call in calls if call.sent],
                max((call.at_ms for call in calls if call.answered), default=0),
            )
            services.metrics.record(measure(result, calls, services.now_ms()))
        except AssetbatchError:
            if not error:
                raise


def _causes(failed: Sequence[AssetReport]) -> tuple[Cause, ...]:
    """Return why assets failed: the reasons that most of them share."""
    alike: dict[str, list[str]] = {}
    for asset in failed:
        alike.setdefault(asset.detail or asset.status, []).append(asset.symbol)
    most = sorted(alike.items(), key=lambda pair: -len(pair[1]))[:CAUSES_KEPT]
    return tuple(
        Cause(error=error, count=len(names), names=tuple(names[:NAMES_KEPT])) for error, names in most
    )


def _log_full_queue(services: Services, result: CycleResult) -> None:
    """Log how many prices found no room, and the first of them. The names differ from start to start: it is
    one failure all the same."""
    log.warning(
        "the queue is full (at most %s): %s found no room: %s "
        "(hint: raise queue.max_size, or enable fewer assets)",
        f"{services.config.queue.max_size:,}",
        plural(len(result.dropped), "asset"),
        listed(result.dropped, NAMES_KEPT),
        extra={"kind": "queue", "key": "the queue is full"},
    )


def log_unended(started: Started) -> None:
    """Log that the start before this one has died, if it has: nobody else could say so.

    This start has the lock: the one before does not run any more. It may have said itself why it could not
    record its end; `unless_said_since_ms` leaves that to whoever knows.
    """
    if started.unended_ms is None:
        return
    log.warning(
        "the start of %s died before its end "
        "(hint: was it killed, or did the machine go down? where memory is short, journalctl -k says so)",
        moment(started.unended_ms),
        extra={
            "kind": "died",
            "key": "died",
            "at_once": True,
            "unless_said_since_ms": started.unended_ms,
        },
    )


def new_result(services: Services, command: Command) -> CycleResult:
    """Return a result to be filled, begun now."""
    return CycleResult(
        command=command, cycle_id=services.cycle_id, result=CycleOutcome.NOTHING, started_ms=services.now_ms()
    )


def skipped(services: Services, result: CycleResult) -> CycleResult:
    """Return the result of a start that found an earlier one still running."""
    services.history.skip(result.command)
    result.result = CycleOutcome.SKIPPED
    return result


def planned(result: CycleResult, lines: list[str]) -> CycleResult:
    """Return the result of a dry run."""
    result.result = CycleOutcome.PLANNED
    result.plan = lines
    return result


def judge(result: CycleResult, deadline: Deadline) -> None:
    """Set the result of a cycle in a word, from what became of its assets."""
    statuses = {asset.status for asset in result.assets}
    if deadline.stopped:
        result.result = CycleOutcome.STOPPED
    elif result.failed:
        result.result = CycleOutcome.PARTIAL if Status.SUCCESS in statuses else CycleOutcome.FAILED
    elif Status.POSTPONED in statuses:
        result.result = CycleOutcome.POSTPONED
    else:
        result.result = CycleOutcome.OK if Status.SUCCESS in statuses else CycleOutcome.NOTHING
