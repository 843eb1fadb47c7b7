"""The outcome of one start of a run command, and how it is recorded.

Loads little: an idle start needs no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from assetbatch.deadline import LAST_RESORT_SECONDS, Deadline, monotonic
from assetbatch.domain.metrics import CallMade, Outcome, measure
from assetbatch.domain.records import RUN_PRIORITY, CycleRecord
from assetbatch.domain.status import OPEN, Status
from assetbatch.errors import AssetbatchError
from assetbatch.services import Services

LEASE_SLACK_SECONDS = LAST_RESORT_SECONDS
"""How much longer than its command's deadline a lease or lock lives: by then no holder can be alive, and
a dead one's ends by itself before the next start but one."""

TOO_MANY_CALLS = "the provider said too many calls"


class AssetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one piece of work. `status` is a status.Status, `kind` a planning.WorkKind; `paused` is
    work that failed before and is left alone for a while."""

    symbol: str
    status: str
    kind: str = "price"
    last_price: float | None = None
    as_of_ms: int | None = None
    bars: int = 0
    detail: str | None = None
    paused: bool = False


class CycleResult(msgspec.Struct, kw_only=True):
    """The outcome of one start.

    `result` is ok, nothing, postponed, partial, failed, stopped, skipped, disabled or planned.
    """

    command: str
    cycle_id: str
    result: str
    started_ms: int
    duration_ms: int = 0
    calls: int = 0
    waits: int = 0
    bars_written: int = 0
    bars_corrected: int = 0
    """How many of the written bars were stored before with other values."""
    bars_refused: int = 0
    """Bars of the answers that cannot be true, or that the database refuses."""
    bars_filled: int = 0
    """Bars without a volume or the like, stored with what the table's column wants instead of NULL."""
    prices_refused: int = 0
    """Prices and quotes of the answers that cannot be true, or belong to another ticker."""
    published: int = 0
    assets: list[AssetReport] = msgspec.field(default_factory=list)
    plan: list[str] = msgspec.field(default_factory=list)
    enqueued: int = 0
    dropped: list[str] = msgspec.field(default_factory=list)
    queue_size: int | None = None
    ended_because: str | None = None
    error: str | None = None
    too_many_calls: bool = False
    """The provider refused a call with 429: the window is full for everybody."""

    @property
    def failed(self) -> list[AssetReport]:
        """The assets that did not get what they were due."""
        fine = (Status.SUCCESS.value, Status.POSTPONED.value, Status.FRESH.value)
        return [asset for asset in self.assets if asset.status not in fine]

    @property
    def unasked(self) -> list[str]:
        """The symbols that this start learned nothing of: left alone after a failure, or without a call."""
        return [asset.symbol for asset in self.assets if asset.paused or asset.status in OPEN]

    @property
    def exit_code(self) -> int:
        """0 all done, nothing to do or skipped; 1 some assets failed or found no room in the queue."""
        return 1 if self.result in ("partial", "failed") or self.dropped else 0


@contextmanager
def recorded(services: Services, result: CycleResult) -> Iterator[list[CallMade]]:
    """Writes the end of a cycle into the history and the metrics, however it ends; yields the list that its
    calls go to."""
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
            result.result = "failed"
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
            services.metrics.record(measure(_outcome(services, result), calls))
        except AssetbatchError:
            if not error:
                raise


def _outcome(services: Services, result: CycleResult) -> Outcome:
    ended_ms = services.now_ms()
    ages: dict[str, float] = {}
    if result.command == RUN_PRIORITY:
        prices = [asset for asset in result.assets if asset.as_of_ms is not None]
        ages = {asset.symbol: (ended_ms - (asset.as_of_ms or 0)) / 1000 for asset in prices}
    return Outcome(
        command=result.command,
        result=result.result,
        ended_ms=ended_ms,
        duration_ms=result.duration_ms,
        statuses=[asset.status for asset in result.assets],
        totals={
            "waits": result.waits,
            "bars_written": result.bars_written,
            "bars_corrected": result.bars_corrected,
            "bars_refused": result.bars_refused,
            "bars_filled": result.bars_filled,
            "prices_refused": result.prices_refused,
            "published": result.published,
            "enqueued": result.enqueued,
            "dropped": len(result.dropped),
        },
        queue_size=result.queue_size,
        ages_seconds=ages,
    )


def new_result(services: Services, command: str) -> CycleResult:
    """A result to be filled, begun now."""
    return CycleResult(
        command=command, cycle_id=services.cycle_id, result="nothing", started_ms=services.now_ms()
    )


def skipped(services: Services, result: CycleResult) -> CycleResult:
    """The result of a start that found an earlier one still running."""
    services.history.skip(result.command)
    result.result = "skipped"
    return result


def planned(result: CycleResult, lines: list[str]) -> CycleResult:
    """The result of a dry run."""
    result.result = "planned"
    result.plan = lines
    return result


def judge(result: CycleResult, deadline: Deadline) -> None:
    """The cycle's result in a word, from what became of its assets."""
    statuses = {asset.status for asset in result.assets}
    if deadline.stopped:
        result.result = "stopped"
    elif result.failed:
        result.result = "partial" if Status.SUCCESS in statuses else "failed"
    elif Status.POSTPONED in statuses:
        result.result = "postponed"
    else:
        result.result = "ok" if Status.SUCCESS in statuses else "nothing"
