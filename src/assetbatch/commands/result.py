"""Record the outcome of one start of a run command.

Loads little: an idle start needs no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from assetbatch.deadline import LAST_RESORT_SECONDS, Deadline, monotonic
from assetbatch.domain.endings import TOO_MANY_CALLS
from assetbatch.domain.metrics import CallMade, measure
from assetbatch.domain.records import Command, CycleOutcome, CycleRecord
from assetbatch.domain.results import CycleResult
from assetbatch.domain.status import Status
from assetbatch.errors import AssetbatchError
from assetbatch.services import Services

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
        raised.cycle = result
        raise
    finally:
        result.duration_ms = round((monotonic() - began) * 1000)
        if error:
            result.result = CycleOutcome.FAILED
            result.error = error.message
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
