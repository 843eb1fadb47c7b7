"""What the pending queue promises, in plain Python: the model beside which the real scripts are run.

Written from the contracts (the head comments of `lua/*.lua`, the docstrings of `state/queue.py`), not from
the scripts' bodies: one list of work, no sorted sets, no copies of a record that could disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from assetbatch.assets import AssetPriority
from assetbatch.state.queue import DeadLetter, Empty, Enqueued, Failure, Item, Lease, QueueState

CLASSES = tuple(AssetPriority)
RISE_US = 2 * 3600 * 1_000_000
LEASE_RAN_OUT = "the worker died: its lease ran out"


@dataclass
class Work:
    """One id the queue knows of. It is leased, delayed or, where neither is set, waiting."""

    id: str
    priority: AssetPriority
    stamp_us: int
    attempts: int = 0
    holder: str | None = None
    lease_ends_ms: int | None = None
    retry_at_ms: int | None = None
    last_error: str | None = None

    @property
    def waiting(self) -> bool:
        return self.lease_ends_ms is None and self.retry_at_ms is None

    @property
    def turn(self) -> tuple[int, int, int]:
        """Sorts by who is served first. Among equals the elder one."""
        if self.priority is AssetPriority.CRITICAL:
            return (0, self.stamp_us, self.stamp_us)
        classes_below_high = CLASSES.index(self.priority) - CLASSES.index(AssetPriority.HIGH)
        return (1, self.stamp_us + classes_below_high * RISE_US, self.stamp_us)


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
    last_stamp_us: int = 0
    answers: dict[str, Lease] = field(default_factory=dict)

    def waiting(self) -> list[Work]:
        """What waits, first to be served first."""
        return sorted((work for work in self.works.values() if work.waiting), key=lambda work: work.turn)

    def leased(self) -> list[Work]:
        """What is being worked, in the order in which the leases run out."""
        leased = [work for work in self.works.values() if work.lease_ends_ms is not None]
        return sorted(leased, key=lambda work: (work.lease_ends_ms, work.id))

    def delayed(self) -> list[Work]:
        return [work for work in self.works.values() if work.retry_at_ms is not None]

    def held(self, token: str, item_id: str) -> Work | None:
        work = self.works.get(item_id)
        return work if work and work.holder == token else None

    def enqueue(self, now_ms: int, items: Sequence[tuple[str, AssetPriority]]) -> Enqueued:
        """`added` and `dropped` tell how it ended: an id may have to go and come back within one batch."""
        words: dict[str, list[str]] = {"added": [], "raised": [], "duplicate": [], "dropped": []}
        for item_id, priority in items:
            words[self._enqueue_one(now_ms, item_id, priority, words["dropped"])].append(item_id)
        return Enqueued(
            added=tuple(each for each in dict.fromkeys(words["added"]) if each in self.works),
            raised=tuple(words["raised"]),
            duplicates=tuple(words["duplicate"]),
            dropped=tuple(each for each in dict.fromkeys(words["dropped"]) if each not in self.works),
        )

    def _enqueue_one(self, now_ms: int, item_id: str, priority: AssetPriority, displaced: list[str]) -> str:
        known = self.works.get(item_id)
        if known:
            if CLASSES.index(priority) >= CLASSES.index(known.priority) or known.holder:
                return "duplicate"
            known.priority = priority
            return "raised"
        newcomer = Work(item_id, priority, max(now_ms * 1000, self.last_stamp_us + 1))
        if len(self.works) >= self.max_size:
            last = max([*self.waiting(), newcomer], key=lambda work: work.turn)
            if last is newcomer:
                return "dropped"
            del self.works[last.id]
            displaced.append(last.id)
        self.works[item_id] = newcomer
        self.last_stamp_us = newcomer.stamp_us
        return "added"

    def take(self, now_ms: int, token: str, count: int, lease_ms: int) -> Lease | Empty:
        if token in self.answers:
            return self.answers[token]
        for work in self.leased():
            if work.lease_ends_ms is not None and work.lease_ends_ms <= now_ms:
                self._attempt_failed(now_ms, work, LEASE_RAN_OUT, final=False)
        for work in self.delayed():
            if work.retry_at_ms is not None and work.retry_at_ms <= now_ms:
                work.retry_at_ms = None
        taken = self.waiting()[:count]
        if not taken:
            return Empty(min((work.retry_at_ms for work in self.delayed() if work.retry_at_ms), default=None))
        for work in taken:
            work.attempts += 1
            work.holder, work.lease_ends_ms = token, now_ms + lease_ms
        items = tuple(Item(work.id, work.priority, work.attempts, work.stamp_us) for work in taken)
        self.answers[token] = Lease(token, items, None)
        return self.answers[token]

    def finish(self, token: str, ids: Sequence[str]) -> tuple[str, ...]:
        lost = []
        for item_id in ids:
            if self.held(token, item_id):
                del self.works[item_id]
                self.letters.pop(item_id, None)
            else:
                lost.append(item_id)
        return tuple(lost)

    def fail(self, now_ms: int, token: str, failures: Sequence[Failure]) -> tuple[str, ...]:
        words = []
        for failure in failures:
            work = self.held(token, failure.id)
            words.append(
                self._attempt_failed(now_ms, work, failure.error, final=failure.final) if work else "lost"
            )
        return tuple(words)

    def _attempt_failed(self, now_ms: int, work: Work, error: str, *, final: bool) -> str:
        work.holder = work.lease_ends_ms = None
        if not final and work.attempts < self.max_attempts:
            work.retry_at_ms = now_ms + self.delay_ms
            work.last_error = error
            return "retry"
        del self.works[work.id]
        self.letters[work.id] = Letter(work, now_ms, error)
        for letter in self.dead_letters()[self.letters_kept :]:
            del self.letters[letter.id]
        return "dead"

    def extend(self, now_ms: int, token: str, ids: Sequence[str], lease_ms: int) -> tuple[str, ...]:
        for item_id in ids:
            if work := self.held(token, item_id):
                work.lease_ends_ms = now_ms + lease_ms
        return tuple(each for each in ids if not self.held(token, each))

    def release(self, token: str, ids: Sequence[str]) -> int:
        released = 0
        for item_id in ids:
            if work := self.held(token, item_id):
                work.holder = work.lease_ends_ms = None
                work.attempts -= 1
                released += 1
        return released

    def state(self, now_ms: int) -> QueueState:
        waiting = self.waiting()
        return QueueState(
            now_ms=now_ms,
            size=len(self.works),
            by_priority={each: sum(work.priority is each for work in waiting) for each in CLASSES},
            leased=len(self.leased()),
            delayed=len(self.delayed()),
            dead=len(self.letters),
            oldest_ms=min((work.stamp_us // 1000 for work in waiting), default=None),
        )

    def dead_letters(self) -> list[DeadLetter]:
        """Newest first; of one moment in the reverse order of their ids, as a sorted set has them."""
        newest_first = sorted(self.letters.items(), key=lambda pair: (pair[1].died_ms, pair[0]), reverse=True)
        return [
            DeadLetter(item_id, letter.work.priority, letter.work.attempts, letter.died_ms, letter.error)
            for item_id, letter in newest_first
        ]
