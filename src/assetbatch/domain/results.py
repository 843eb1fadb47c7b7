"""The outcome of one start of a run command."""

from __future__ import annotations

import msgspec

from assetbatch.domain.records import Command, CycleOutcome
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.work import WorkKind


class AssetReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of one piece of work, as people and programs read it.

    `paused`: the work failed before and is left alone for a while.
    """

    symbol: str
    status: Status
    kind: WorkKind = WorkKind.PRICE
    last_price: float | None = None
    as_of_ms: int | None = None
    bars: int = 0
    detail: str | None = None
    paused: bool = False

    @property
    def is_well(self) -> bool:
        """Whether it is as it should be: refreshed, or known to need no call."""
        return self.status in (Status.SUCCESS, Status.FRESH) and not self.paused

    @property
    def work_id(self) -> str:
        """What the work is called in the queue, but for the days of a page."""
        return self.symbol if self.kind is WorkKind.PRICE else f"{self.kind}:{self.symbol}"


class CycleResult(msgspec.Struct, kw_only=True):
    """The outcome of one start of a command."""

    command: Command
    command_old: str = ""
    """The command in the spelling of earlier versions; it goes with the release after this one."""
    cycle_id: str
    result: CycleOutcome
    started_ms: int
    duration_ms: int = 0
    calls: int = 0
    answered: int = 0
    """Number of calls that the provider answered, refusals of single assets among them."""
    waits: int = 0
    bars_written: int = 0
    bars_corrected: int = 0
    """Number of the written bars that were stored before with other values."""
    bars_refused: int = 0
    """Number of bars that cannot be true, or that the database refuses."""
    bars_filled: int = 0
    """Number of bars without a volume or the like, stored with what the column of the table wants instead of
    NULL."""
    prices_refused: int = 0
    """Number of prices and quotes that cannot be true, or belong to another ticker."""
    published: int = 0
    pages_verified: int = 0
    """Number of pages of stored bars that were asked for again, with calls that nobody else needed."""
    bars_compared: int = 0
    bars_changed: int = 0
    bars_appeared: int = 0
    bars_vanished: int = 0
    """Number of bars, stored or sent, that were compared with a later answer; and of those that had other
    values, were not stored, or did not come."""
    assets: list[AssetReport] = msgspec.field(default_factory=list)
    plan: list[str] = msgspec.field(default_factory=list)
    enqueued: int = 0
    dropped: list[str] = msgspec.field(default_factory=list)
    queue_size: int | None = None
    ended_because: str | None = None
    """Why a run of the queue ended, for people."""
    start_again_seconds: int | None = None
    """After how many seconds another run of the queue can go on; None if nothing is left in the queue."""
    error: str | None = None
    too_many_calls: bool = False
    """The provider refused a call with 429: the window is full for everybody."""

    def __post_init__(self) -> None:
        """Fill in the old spelling."""
        self.command_old = self.command.old

    @property
    def failed(self) -> list[AssetReport]:
        """The assets that failed."""
        fine = (Status.SUCCESS, Status.POSTPONED, Status.FRESH)
        return [asset for asset in self.assets if asset.status not in fine]

    @property
    def unasked(self) -> list[str]:
        """The symbols of which this start learned nothing: left alone after a failure, or without a call."""
        return [asset.symbol for asset in self.assets if asset.paused or asset.status in OPEN]

    @property
    def exit_code(self) -> int:
        """0 all done, nothing to do or skipped; 1 some assets failed or found no room in the queue."""
        return 1 if self.result in (CycleOutcome.PARTIAL, CycleOutcome.FAILED) or self.dropped else 0
