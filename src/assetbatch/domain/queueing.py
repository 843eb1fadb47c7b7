"""Values of the queue and of the call window: lanes, leases, failures, dead letters, permissions to call."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from assetbatch.domain.assets import AssetPriority


class Lane(StrEnum):
    """Where work waits, the most urgent first: prices by priority, then the latest bars, then pages of the
    past."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    BARS = "BARS"
    HISTORY = "HISTORY"

    @staticmethod
    def of(priority: AssetPriority) -> Lane:
        """Return the lane of the prices of this priority."""
        return _LANE_OF[priority]

    @property
    def rank(self) -> int:
        """The number that the scripts use: 0 for CRITICAL to 5 for HISTORY."""
        return _RANKS[self]

    @property
    def priority(self) -> AssetPriority:
        """The priority it counts as: bars and history are LOW."""
        return AssetPriority.LOW if self in (Lane.BARS, Lane.HISTORY) else AssetPriority(self.value)


LANES = tuple(Lane)
_LANE_OF = {priority: Lane(priority.value) for priority in AssetPriority}
_RANKS = {lane: rank for rank, lane in enumerate(LANES)}
RANKS = "".join(str(lane.rank) for lane in LANES)


class Item(msgspec.Struct, frozen=True, gc=False):
    """Leased work. `attempts` counts those before this lease; `enqueued_us` is when it was enqueued, in
    µs."""

    id: str
    lane: Lane
    attempts: int
    enqueued_us: int


class ItemState(StrEnum):
    """What is going on with an item of the queue."""

    WAITING = "waiting"
    LEASED = "leased"
    """It is being worked."""
    DELAYED = "delayed"
    """It has failed, and waits for its next attempt."""


class QueuedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item as it is in the queue, looked at without being taken.

    `attempts` counts the calls that went out for it, without those that an outage has cost. `until_ms` is the
    end of its lease, or the moment of its next attempt; None while it waits. `error` is that of its last
    failure at `failed_ms`, if it has failed.
    """

    id: str
    lane: Lane
    state: ItemState
    attempts: int
    enqueued_us: int
    until_ms: int | None = None
    failed_ms: int | None = None
    error: str | None = None


class Cancelled(msgspec.Struct, frozen=True):
    """What became of items that were to be taken out of the queue: they are out, stay because they are being
    worked, or are not there."""

    cancelled: tuple[str, ...]
    leased: tuple[str, ...]
    unknown: tuple[str, ...]


class Empty(msgspec.Struct, frozen=True):
    """Nothing waits. The next retry is due at `retry_at_ms`; None without any."""

    retry_at_ms: int | None


class Enqueued(msgspec.Struct, frozen=True):
    """What became of each id: added, raised to a higher lane, there before, or dropped (no room).

    `dropped` also names work of the last lane that had to go for something more urgent.
    """

    added: tuple[str, ...]
    raised: tuple[str, ...]
    duplicates: tuple[str, ...]
    dropped: tuple[str, ...]


class Fault(StrEnum):
    """Whose fault a failure is. It decides whether the attempt counts."""

    ITEM = "item"
    """It counts."""
    PROVIDER = "provider"
    """It counts if the provider has answered somebody since the item failed last; else it is an outage."""
    NOBODY = "nobody"
    """It does not count. The item is tried again after the delay."""
    ROW_HELD = "row_held"
    """Another transaction holds the symbol's row. It does not count, and this start does not try again."""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why an item failed; `final` if another try cannot help."""

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
    """What became of dead letters that were to be tried again.

    They are back in their lane, were queued already (the letter is gone), found no room (the letter stays),
    or are no letters any more.
    """

    retried: tuple[str, ...]
    queued: tuple[str, ...]
    without_room: tuple[str, ...]
    unknown: tuple[str, ...]


class QueueState(msgspec.Struct, frozen=True):
    """The queue's figures.

    `size` counts what waits, is delayed or leased; `by_lane` what waits. `oldest_ms` is when the work that
    has waited longest was enqueued; None when nothing waits.
    """

    now_ms: int
    size: int
    by_lane: dict[Lane, int]
    leased: int
    delayed: int
    dead: int
    oldest_ms: int | None
    is_whole: bool = True
    """False if the server is not the one on which the queue was filled: work may be missing."""

    @property
    def by_priority(self) -> dict[AssetPriority, int]:
        """What waits by priority; bars and history count as LOW."""
        return {
            priority: sum(count for lane, count in self.by_lane.items() if lane.priority is priority)
            for priority in AssetPriority
        }


ASK_AGAIN_SECONDS = 2.0
"""Maximum pause of a caller that waits for a slot. A wait can become shorter: a slot is given back, a dead
process's slot is freed, the server's clock is set back. Only the next request finds that out."""


LONGEST_CALL_SECONDS = 10.0
"""Maximum duration of a call, from name resolution to the last byte. It decides how far a slot is dated
ahead."""


class CallKind(StrEnum):
    """Who asks for a slot: the queue leaves those that the next priority cycle will need."""

    PRIORITY = "priority"
    QUEUE = "queue"


class DenialReason(StrEnum):
    """Why a caller gets no slot now."""

    WINDOW = "window"
    """All slots are used."""
    BLOCKED = "blocked"
    """The provider has said too many calls."""
    LOST = "lost"
    """The log of calls may be incomplete."""
    RESERVED = "reserved"
    """The free slots are kept for priority."""
    SPACED = "spaced"
    """Another run of the queue had a call just now."""


class Denied(msgspec.Struct, frozen=True):
    """No slot: come back at `retry_at_ms` (the server's clock), which is `wait_ms` after the answer."""

    retry_at_ms: int
    reason: DenialReason
    wait_ms: int

    @classmethod
    def from_reply(cls, retry_at: str, reason: str, now: str) -> Denied:
        """Read what the scripts answer."""
        return cls(int(retry_at), DenialReason(reason), max(0, int(retry_at) - int(now)))

    @property
    def pause_seconds(self) -> float:
        """How long a caller that waits for a slot sleeps before it asks again."""
        return min(self.wait_ms / 1000 + 0.001, ASK_AGAIN_SECONDS)


class CallLimit(NamedTuple):
    """At most `limit` calls in any `window_ms` milliseconds."""

    limit: int
    window_ms: int
