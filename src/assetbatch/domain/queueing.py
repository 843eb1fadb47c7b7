"""Values of the queue and of the call window: lanes, leases, failures, dead letters, permissions to call."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self

import msgspec

from assetbatch.domain.assets import AssetPriority


class Lane(StrEnum):
    """Where work waits, the most urgent first: prices by the class of their asset, then the latest bars,
    then pages of the past."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    BARS = "BARS"
    HISTORY = "HISTORY"

    @classmethod
    def of(cls, priority: AssetPriority) -> Self:
        """The lane of the prices of a class."""
        return cls(priority.value)

    @property
    def rank(self) -> int:
        """0 for CRITICAL to 5 for HISTORY: the number the scripts use."""
        return _LANES.index(self)

    @property
    def priority(self) -> AssetPriority:
        """The class it counts as: bars and history are LOW."""
        return AssetPriority.LOW if self in (Lane.BARS, Lane.HISTORY) else AssetPriority(self.value)


_LANES = tuple(Lane)


class Item(msgspec.Struct, frozen=True):
    """Leased work. `attempts` counts those before this lease; `enqueued_us` is its stamp in microseconds."""

    id: str
    lane: Lane
    attempts: int
    enqueued_us: int


class Empty(msgspec.Struct, frozen=True):
    """Nothing waits; the next retry is due at `retry_at_ms`, None where there is none."""

    retry_at_ms: int | None


class Enqueued(msgspec.Struct, frozen=True):
    """What became of each id: added, raised to a higher class, there before, or dropped (no room).

    `dropped` also names what had waited last in line and had to go for something more urgent.
    """

    added: tuple[str, ...]
    raised: tuple[str, ...]
    duplicates: tuple[str, ...]
    dropped: tuple[str, ...]


class Fault(StrEnum):
    """Whose fault a failure is, which decides whether its attempt counts."""

    ITEM = "item"
    """It counts."""
    PROVIDER = "provider"
    """It counts where the provider has answered somebody since the item failed last: else it is an outage."""
    NOBODY = "nobody"
    """It does not count; the item is tried again after the delay."""
    ROW_HELD = "row_held"
    """The same of a symbol whose row another transaction holds: it is not tried again in this start."""


class Failure(msgspec.Struct, frozen=True):
    """Why an item failed; `final` where another try cannot help."""

    id: str
    error: str
    final: bool = False
    fault: Fault = Fault.ITEM


class FailureOutcome(StrEnum):
    """What the queue does with an item that failed."""

    RETRY = "retry"
    DEAD = "dead"
    LOST = "lost"
    """Nothing: another process has its lease."""


class DeadLetter(msgspec.Struct, frozen=True):
    """An item that failed for good."""

    id: str
    lane: Lane
    attempts: int
    died_ms: int
    error: str


class Retried(msgspec.Struct, frozen=True):
    """What became of dead letters that were to be tried again: back in line, queued already (the letter is
    gone), without room in the queue (it stays), or no letter any more."""

    retried: tuple[str, ...]
    queued: tuple[str, ...]
    without_room: tuple[str, ...]
    unknown: tuple[str, ...]


class QueueState(msgspec.Struct, frozen=True):
    """The queue's figures. `size` counts what waits, is delayed or leased; `by_lane` what waits;
    `oldest_ms` is when what has waited longest was enqueued, None when nothing waits."""

    now_ms: int
    size: int
    by_lane: dict[Lane, int]
    leased: int
    delayed: int
    dead: int
    oldest_ms: int | None
    is_whole: bool = True
    """False where the server is not the one on which the queue was filled: work may be missing."""

    @property
    def by_priority(self) -> dict[AssetPriority, int]:
        """What waits by class; bars and history count as LOW."""
        return {
            priority: sum(count for lane, count in self.by_lane.items() if lane.priority is priority)
            for priority in AssetPriority
        }


ASK_AGAIN_SECONDS = 2.0
"""Maximum pause of a caller that waits for a slot. A wait can become shorter: a slot is given back, a dead
process's slot is freed, the server's clock is set back. Only the next request finds that out."""


class CallKind(StrEnum):
    """Who asks: the queue leaves the slots that the next priority cycle will need."""

    PRIORITY = "priority"
    QUEUE = "queue"


class DenialReason(StrEnum):
    """Why a call gets no slot now; the words of the scripts."""

    WINDOW = "window"
    """All slots are used."""
    BLOCKED = "blocked"
    """The provider said that there were too many calls."""
    LOST = "lost"
    """The log of calls may be incomplete."""
    RESERVED = "reserved"
    """The free slots are kept for the next priority cycle."""
    SPACED = "spaced"
    """Another run of the queue had a call just now."""


class Denied(msgspec.Struct, frozen=True):
    """No slot: come back at `retry_at_ms` (the server's clock), which is `wait_ms` from the answer on."""

    retry_at_ms: int
    reason: DenialReason
    wait_ms: int

    @classmethod
    def from_reply(cls, retry_at: str, reason: str, now: str) -> Denied:
        """Return what the scripts answer."""
        return cls(int(retry_at), DenialReason(reason), max(0, int(retry_at) - int(now)))

    @property
    def pause_seconds(self) -> float:
        """How long a caller that waits for the slot sleeps before it asks again."""
        return min(self.wait_ms / 1000 + 0.001, ASK_AGAIN_SECONDS)


class CallLimit(NamedTuple):
    """At most `limit` calls in any `window_ms` milliseconds."""

    limit: int
    window_ms: int
