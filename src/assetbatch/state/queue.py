"""The pending queue: classes, first in first out inside a class, leases, retries, dead letters.

What waits lies in sorted sets; `lua/_queue.lua` describes the keys and the order. Each method is one
script and one round trip for a whole batch, and raises RedisError when Redis cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.queueing import (
    _LANES,
    _RANKS,
    CallKind,
    DeadLetter,
    Denied,
    Empty,
    Enqueued,
    Failure,
    FailureOutcome,
    Item,
    Lane,
    QueueState,
    Retried,
)
from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id
from assetbatch.state.window import Grant, Window

DEAD_LETTERS_KEPT = 1000

LETTERS_AT_ONCE = 250
"""So many dead letters are moved by one script, which keeps others from the server for a few ms."""

FAILURES_AT_ONCE = 125
"""So many failures are recorded by one script, for the same reason."""

ITEMS_AT_ONCE = 200
"""So many items are enqueued by one script, for the same reason: into a full queue each costs most."""

FINISHED_AT_ONCE = 1000
"""So many items are taken off the books, or begun, by one script."""


class Lease(msgspec.Struct, frozen=True):
    """What a take brought: items held by `token`, and the slot that was granted with them."""

    token: str
    items: tuple[Item, ...]
    grant: Grant | None


class Queue:
    """The pending queue below a key prefix. `clock_ms` is given by tests; otherwise Redis TIME counts."""

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        *,
        max_size: int,
        retry_max_attempts: int,
        retry_delay_seconds: float,
        server_name: str = "",
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self.max_size = max_size
        self.retry = (retry_max_attempts, round(retry_delay_seconds * 1000), DEAD_LETTERS_KEPT)
        self._server_name = server_name
        self._clock = clock_ms
        self._enqueue = script(client, "enqueue")
        self._take = script(client, "take")
        self._finish = script(client, "finish")
        self._fail = script(client, "fail")
        self._release = script(client, "release")
        self._start = script(client, "start")
        self._state = script(client, "queue_state")
        self._retry_dead = script(client, "retry_dead")
        self._drop_dead = script(client, "drop_dead")
        self._begin = script(client, "begin_queue")
        self._own = script(client, "own_queue")
        self._dead_letters = script(client, "dead_letters")

    def _now(self) -> str:
        return str(self._clock()) if self._clock else ""

    def enqueue(self, items: Sequence[tuple[str, Lane]]) -> Enqueued:
        """Puts (id, lane) pairs in line in their order, each id once."""
        by_code: dict[str, list[str]] = {"a": [], "r": [], "d": [], "x": []}
        gone: dict[str, None] = {}
        for at in range(0, len(items), ITEMS_AT_ONCE):
            some = items[at : at + ITEMS_AT_ONCE]
            args: list[str | int] = [self._now(), self.max_size]
            for item_id, lane in some:
                args += [item_id, lane.rank]
            with redis_errors():
                codes, *displaced = self._enqueue(keys=[*self._keys.queue, self._keys.queue_stamp], args=args)
            for (item_id, _), code in zip(some, codes, strict=True):
                by_code[code].append(item_id)
                if code == "a":
                    gone.pop(item_id, None)
            gone.update(dict.fromkeys(displaced))
        added = [item_id for item_id in dict.fromkeys(by_code["a"]) if item_id not in gone]
        without_room = [item_id for item_id in by_code["x"] if item_id not in added]
        return Enqueued(
            added=tuple(added),
            raised=tuple(by_code["r"]),
            duplicates=tuple(by_code["d"]),
            dropped=tuple(dict.fromkeys([*without_room, *gone])),
        )

    def take(
        self,
        count: int,
        lease_seconds: float,
        window: Window | None = None,
        token: str | None = None,
        *,
        alone: int | None = None,
    ) -> Lease | Empty | Denied:
        """Leases up to `count` items, at most `alone` of them (None: any number) of bars and history, which
        take a call each; with a `window` only together with a slot for one call.

        Expired leases and due retries come back first. `token` is made here unless given; who was
        refused takes again with the same one, to keep its turn, or calls `Window.leave`. No attempt is
        counted before `start`.
        """
        how_many = f"[{count},{count if alone is None else alone}]"
        token = token or new_id()
        attempts, delay_ms, keep = self.retry
        keys = [*self._keys.queue, self._keys.queue_reply(token), *(window.keys if window else ())]
        while True:
            taken_at = monotonic()
            args = [self._now(), token, how_many, round(lease_seconds * 1000), attempts, delay_ms, keep]
            args.append(window.options(CallKind.QUEUE) if window else "")
            with redis_errors():
                kind, *rest = self._take(keys=keys, args=args)
            if window and kind == "unknown":
                window.recover()
            elif kind == "empty":
                return Empty(int(rest[0]) or None)
            elif window and kind == "refused":
                refused = Denied.from_reply(*rest)
                if not window.may_be_freed(refused):
                    return refused
            else:
                break
        fields: list[str] = msgspec.json.decode(rest[1])
        items = tuple(
            Item(fields[i], _LANES[int(fields[i + 1])], int(fields[i + 2]), int(fields[i + 3]))
            for i in range(0, len(fields), 4)
        )
        return Lease(token, items, Grant(token, taken_at) if window else None)

    def start(self, token: str, ids: Sequence[str], lease_seconds: float) -> tuple[str, ...]:
        """Counts an attempt of leased items, once in a lease, and renews the lease: to be called just before
        the call for them goes out. Returns the ids whose lease was lost meanwhile: somebody else may be
        working them, so the call must not go out."""
        lost: list[str] = []
        for at in range(0, len(ids), FINISHED_AT_ONCE):
            some = msgspec.json.encode(ids[at : at + FINISHED_AT_ONCE])
            args = [self._now(), token, round(lease_seconds * 1000), some]
            with redis_errors():
                lost += self._start(keys=self._keys.queue, args=args)
        return tuple(lost)

    def finish(self, token: str, ids: Sequence[str]) -> tuple[str, ...]:
        """Takes done work off the books; returns the ids whose lease was lost meanwhile."""
        lost: list[str] = []
        for at in range(0, len(ids), FINISHED_AT_ONCE):
            some = msgspec.json.encode(ids[at : at + FINISHED_AT_ONCE])
            with redis_errors():
                lost += self._finish(keys=self._keys.queue, args=[token, some])
        return tuple(lost)

    def fail(
        self, token: str, failures: Sequence[Failure], answered_ms: int = 0
    ) -> tuple[FailureOutcome, ...]:
        """Record failures; return what becomes of each item. `answered_ms` is when the provider last answered
        anybody, 0 if that is not known."""
        if not failures:
            return ()
        outcomes: list[FailureOutcome] = []
        for at in range(0, len(failures), FAILURES_AT_ONCE):
            args: list[str | int] = [self._now(), token, *self.retry, answered_ms]
            for failure in failures[at : at + FAILURES_AT_ONCE]:
                args += [failure.id, failure.error[:500], "final" if failure.final else failure.fault.value]
            with redis_errors():
                outcomes += map(FailureOutcome, self._fail(keys=self._keys.queue, args=args))
        return tuple(outcomes)

    def release(self, token: str, ids: Sequence[str]) -> int:
        """Hands back leased work: to its old place, without counting an attempt."""
        if not ids:
            return 0
        with redis_errors():
            return int(self._release(keys=self._keys.queue, args=[token, *ids]))

    def state(self) -> QueueState:
        """The figures, in one round trip of constant cost."""
        with redis_errors():
            now, size, *rest = self._state(
                keys=[*self._keys.queue[:10], self._keys.queue_owner], args=[self._now(), self._server_name]
            )
        counts = [int(value) for value in rest]
        return QueueState(
            now_ms=int(now),
            size=int(size),
            by_lane=dict(zip(_LANES, counts[:6], strict=True)),
            leased=counts[6],
            delayed=counts[7],
            dead=counts[8],
            oldest_ms=counts[9] // 1000 or None,
            is_whole=bool(counts[10]),
        )

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that the queue has: waiting, delayed or leased."""
        if not ids:
            return set()
        with redis_errors():
            texts = self._client.hmget(self._keys.queue_items, ids)
        return {item_id for item_id, text in zip(ids, texts, strict=True) if text is not None}

    @contextmanager
    def derived(self) -> Iterator[None]:
        """Record that the queue is whole, once the body has put in again what may have been lost of it; not
        where the server has lost its memory meanwhile."""
        mark = self._keys.queue_mark(new_id())
        with redis_errors():
            self._begin(keys=[mark], args=[self._server_name])
        yield
        with redis_errors():
            self._own(keys=[self._keys.queue_owner, mark], args=[self._server_name])

    def peek(self, count: int) -> list[str]:
        """The ids that wait, each lane in its order, the most urgent lane first; takes nothing."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for lane in self._keys.queue_waiting:
                pipeline.zrange(lane, 0, count - 1)
            lanes = pipeline.execute()
        return [item_id for lane in lanes for item_id in lane][:count]

    def by_lane(self) -> dict[Lane, int]:
        """How many items each lane has in all: waiting, delayed and leased. Takes longer than `state`."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for lane in self._keys.queue_waiting:
                pipeline.zcard(lane)
            pipeline.zrange(self._keys.queue_leased, 0, -1)
            pipeline.zrange(self._keys.queue_delayed, 0, -1)
            *waiting, leased, delayed = pipeline.execute()
            ids = [*leased, *delayed]
            texts = self._client.hmget(self._keys.queue_items, ids) if ids else []
        counts = dict(zip(_LANES, waiting, strict=True))
        for text in texts:
            if text and text[0] in _RANKS:  # else it was finished between the two reads
                counts[_LANES[int(text[0])]] += 1
        return counts

    def dead_letters(self, count: int = 100) -> list[DeadLetter]:
        """The youngest dead letters, newest first."""
        with redis_errors():
            fields = self._dead_letters(keys=self._keys.queue, args=[count])
        return [
            DeadLetter(item_id, _LANES[int(rank)], int(attempts), int(died_ms), error)
            for item_id, died_ms, rank, attempts, error in zip(*[iter(fields)] * 5, strict=True)
        ]

    def retry_dead(self, ids: Sequence[str]) -> Retried:
        """Puts dead letters back at the end of their lanes, with all their attempts anew."""
        by_code: dict[str, list[str]] = {"a": [], "d": [], "x": [], "u": []}
        for at in range(0, len(ids), LETTERS_AT_ONCE):
            some = ids[at : at + LETTERS_AT_ONCE]
            args = [self._now(), self.max_size, *some]
            with redis_errors():
                codes = self._retry_dead(keys=[*self._keys.queue, self._keys.queue_stamp], args=args)
            for item_id, code in zip(some, codes, strict=True):
                by_code[code].append(item_id)
        return Retried(*(tuple(some) for some in by_code.values()))

    def drop_dead(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Throws dead letters away; returns the ids of those that were there."""
        dropped: list[str] = []
        for at in range(0, len(ids), LETTERS_AT_ONCE):
            with redis_errors():
                dropped += self._drop_dead(keys=self._keys.queue, args=ids[at : at + LETTERS_AT_ONCE])
        return tuple(dropped)
