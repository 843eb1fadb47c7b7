"""What the pending queue promises, in plain Python: the model beside which the real scripts are run.

Written from the contracts (the head comments of `lua/*.lua`, the docstrings of `state/queue.py`), not from
the scripts' bodies: one list of work, no sorted sets, no copies of a record that could disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from assetbatch.domain.queueing import (
    Cancelled,
    DeadLetter,
    Empty,
    Enqueued,
    Failure,
    Fault,
    ItemState,
    Lane,
    QueuedItem,
    QueueState,
    Retried,
)
from assetbatch.state.queue import Lease

LANES = tuple(Lane)
RISE_US = 2 * 3600 * 1_000_000
RISES_TO_HIGH = {Lane.HIGH: 0, Lane.MEDIUM: 1, Lane.LOW: 2, Lane.BARS: 6, Lane.HISTORY: 12}
ALONE = (Lane.BARS, Lane.HISTORY)
LEASE_RAN_OUT = "the worker died: its lease ran out"


@dataclass
class Work:
    """One id the queue knows of. It is leased, delayed or, where neither is set, waiting."""

    id: str
    lane: Lane
    enqueued_us: int
    attempts: int = 0
    holder: str | None = None
    started: bool = False
    life_ms: int = 0
    lease_ends_ms: int | None = None
    retry_at_ms: int | None = None
    last_error: str | None = None
    failed_ms: int | None = None

    @property
    def waiting(self) -> bool:
        return self.lease_ends_ms is None and self.retry_at_ms is None

    def end_lease(self, *, counted: bool) -> None:
        if self.started and not counted:
            self.attempts -= 1
        self.holder = self.lease_ends_ms = None
        self.started = False

    @property
    def order(self) -> tuple[int, int, int]:
        """Sorts by who is served first. Among equals the elder one."""
        if self.lane is Lane.CRITICAL:
            return (0, self.enqueued_us, self.enqueued_us)
        return (1, self.enqueued_us + RISES_TO_HIGH[self.lane] * RISE_US, self.enqueued_us)


@dataclass(frozen=True)
class Letter:
    """Work that failed for good."""

    work: Work
    died_ms: int
    error: str


@dataclass
class Model:
    """The queue as documented. Methods are named and answer as those of `Queue`; `now_ms` is handed in."""

    max_size: int
    max_attempts: int
    delay_ms: int
    letters_kept: int
    works: dict[str, Work] = field(default_factory=dict)
    letters: dict[str, Letter] = field(default_factory=dict)
    last_enqueued_us: int = 0
    answers: dict[str, Lease] = field(default_factory=dict)

    def waiting(self) -> list[Work]:
        """What waits, first to be served first."""
        return sorted((work for work in self.works.values() if work.waiting), key=lambda work: work.order)

    def leased(self) -> list[Work]:
        """What is being worked, in the order in which the leases run out."""
        leased = [work for work in self.works.values() if work.lease_ends_ms is not None]
        return sorted(leased, key=lambda work: (work.lease_ends_ms, work.id))

    def delayed(self) -> list[Work]:
        return [work for work in self.works.values() if work.retry_at_ms is not None]

    def held(self, token: str, item_id: str) -> Work | None:
        work = self.works.get(item_id)
        return work if work and work.holder == token else None

    def enqueue(self, now_ms: int, items: Sequence[tuple[str, Lane]]) -> Enqueued:
        """`added` and `dropped` tell how it ended: an id may have to go and come back within one batch."""
        words: dict[str, list[str]] = {"added": [], "raised": [], "duplicate": [], "dropped": []}
        for item_id, lane in items:
            words[self._enqueue_one(now_ms, item_id, lane, words["dropped"])].append(item_id)
        return Enqueued(
            added=tuple(each for each in dict.fromkeys(words["added"]) if each in self.works),
            raised=tuple(words["raised"]),
            duplicates=tuple(words["duplicate"]),
            dropped=tuple(each for each in dict.fromkeys(words["dropped"]) if each not in self.works),
        )

    def _enqueue_one(self, now_ms: int, item_id: str, lane: Lane, displaced: list[str]) -> str:
        known = self.works.get(item_id)
        if known:
            if LANES.index(lane) >= LANES.index(known.lane) or known.holder:
                return "duplicate"
            known.lane = lane
            return "raised"
        newcomer = Work(item_id, lane, max(now_ms * 1000, self.last_enqueued_us + 1))
        if len(self.works) >= self.max_size:
            last = max([*self.waiting(), newcomer], key=lambda work: work.order)
            if last is newcomer:
                return "dropped"
            del self.works[last.id]
            displaced.append(last.id)
        self.works[item_id] = newcomer
        self.last_enqueued_us = newcomer.enqueued_us
        return "added"

    def take(
        self, now_ms: int, token: str, count: int, lease_ms: int, alone: int | None = None
    ) -> Lease | Empty:
        if token in self.answers:
            return self.answers[token]
        self._clamp(now_ms, lease_ms)
        for work in self.leased():
            if work.lease_ends_ms is not None and work.lease_ends_ms <= now_ms:
                if work.started:
                    self._attempt_failed(now_ms, work, LEASE_RAN_OUT, final=False)
                else:
                    work.end_lease(counted=False)
        for work in self.delayed():
            if work.retry_at_ms is not None and work.retry_at_ms <= now_ms:
                work.retry_at_ms = None
        taken: list[Work] = []
        for work in self.waiting():
            takes_a_call = [each for each in taken if each.lane in ALONE]
            if work.lane in ALONE and alone is not None and len(takes_a_call) >= alone:
                continue
            taken += [work] if len(taken) < count else []
        if not taken:
            return Empty(min((work.retry_at_ms for work in self.delayed() if work.retry_at_ms), default=None))
        for work in taken:
            work.holder, work.life_ms, work.lease_ends_ms = token, lease_ms, now_ms + lease_ms
        heads = [f"{work.lane.rank}:{work.attempts}:{work.enqueued_us}" for work in taken]
        self.answers[token] = Lease(token, [work.id for work in taken], heads, None)
        return self.answers[token]

    def _clamp(self, now_ms: int, usual_ms: int) -> None:
        """After the clock was set back: a lease ends within its life from now, a retry within the delay."""
        for work in self.works.values():
            if work.lease_ends_ms is not None and work.lease_ends_ms > now_ms + usual_ms:
                work.lease_ends_ms = min(work.lease_ends_ms, now_ms + work.life_ms)
            if work.retry_at_ms is not None:
                work.retry_at_ms = min(work.retry_at_ms, now_ms + self.delay_ms)

    def start(self, now_ms: int, token: str, ids: Sequence[str], lease_ms: int) -> tuple[str, ...]:
        lost = tuple(each for each in ids if not self.held(token, each))
        for item_id in () if lost else ids:
            work = self.works[item_id]
            work.attempts += not work.started
            work.started, work.life_ms, work.lease_ends_ms = True, lease_ms, now_ms + lease_ms
        return lost

    def finish(self, token: str, ids: Sequence[str]) -> tuple[str, ...]:
        lost = []
        for item_id in ids:
            if self.held(token, item_id):
                del self.works[item_id]
                self.letters.pop(item_id, None)
            else:
                lost.append(item_id)
        return tuple(lost)

    def fail(self, now_ms: int, token: str, failures: Sequence[Failure], answered_ms: int) -> tuple[str, ...]:
        words = []
        for failure in failures:
            work = self.held(token, failure.id)
            outage = failure.fault is Fault.PROVIDER and work and answered_ms <= (work.failed_ms or now_ms)
            if work and not failure.final and (outage or failure.fault is Fault.NOBODY):
                work.end_lease(counted=False)
                self._try_later(now_ms, work, failure.error)
                words.append("retry")
            else:
                words.append(
                    self._attempt_failed(now_ms, work, failure.error, final=failure.final) if work else "lost"
                )
        return tuple(words)

    def _try_later(self, now_ms: int, work: Work, error: str) -> None:
        work.retry_at_ms, work.last_error, work.failed_ms = now_ms + self.delay_ms, error, now_ms

    def _attempt_failed(self, now_ms: int, work: Work, error: str, *, final: bool) -> str:
        work.end_lease(counted=True)
        if not final and work.attempts < self.max_attempts:
            self._try_later(now_ms, work, error)
            return "retry"
        del self.works[work.id]
        self.letters[work.id] = Letter(work, now_ms, error)
        for letter in self.dead_letters()[self.letters_kept :]:
            del self.letters[letter.id]
        return "dead"

    def release(self, token: str, ids: Sequence[str]) -> int:
        released = 0
        for item_id in ids:
            if work := self.held(token, item_id):
                work.end_lease(counted=False)
                released += 1
        return released

    def cancel(self, ids: Sequence[str]) -> Cancelled:
        words: dict[str, list[str]] = {"cancelled": [], "leased": [], "unknown": []}
        for item_id in ids:
            work = self.works.get(item_id)
            if work is None:
                words["unknown"].append(item_id)
            elif work.holder:
                words["leased"].append(item_id)
            else:
                del self.works[item_id]
                words["cancelled"].append(item_id)
        return Cancelled(**{name: tuple(some) for name, some in words.items()})

    def items(self) -> list[QueuedItem]:
        delayed = sorted(self.delayed(), key=lambda work: (work.retry_at_ms, work.id))
        places = [(ItemState.LEASED, self.leased()), (ItemState.WAITING, self.waiting())]
        return [
            QueuedItem(
                id=work.id,
                lane=work.lane,
                state=state,
                attempts=work.attempts,
                enqueued_us=work.enqueued_us,
                until_ms=work.lease_ends_ms or work.retry_at_ms,
                failed_ms=work.failed_ms,
                error=work.last_error,
            )
            for state, works in [*places, (ItemState.DELAYED, delayed)]
            for work in works
        ]

    def state(self, now_ms: int) -> QueueState:
        waiting = self.waiting()
        return QueueState(
            now_ms=now_ms,
            size=len(self.works),
            by_lane={each: sum(work.lane is each for work in waiting) for each in LANES},
            leased=len(self.leased()),
            delayed=len(self.delayed()),
            dead=len(self.letters),
            oldest_ms=min((work.enqueued_us // 1000 for work in waiting), default=None),
            is_whole=False,
        )

    def retry_dead(self, now_ms: int, ids: Sequence[str]) -> Retried:
        words: dict[str, list[str]] = {"retried": [], "queued": [], "without_room": [], "unknown": []}
        for item_id in ids:
            letter = self.letters.get(item_id)
            if letter is None:
                words["unknown"].append(item_id)
                continue
            if item_id in self.works:
                words["queued"].append(item_id)
            elif len(self.works) >= self.max_size:
                words["without_room"].append(item_id)
                continue
            else:
                self.last_enqueued_us = max(now_ms * 1000, self.last_enqueued_us + 1)
                self.works[item_id] = Work(item_id, letter.work.lane, self.last_enqueued_us)
                words["retried"].append(item_id)
            del self.letters[item_id]
        return Retried(**{name: tuple(some) for name, some in words.items()})

    def drop_dead(self, ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(item_id for item_id in ids if self.letters.pop(item_id, None))

    def dead_letters(self) -> list[DeadLetter]:
        """Newest first; of one moment in the reverse order of their ids, as a sorted set has them."""
        newest_first = sorted(self.letters.items(), key=lambda pair: (pair[1].died_ms, pair[0]), reverse=True)
        return [
            DeadLetter(item_id, letter.work.lane, letter.work.attempts, letter.died_ms, letter.error)
            for item_id, letter in newest_first
        ]
