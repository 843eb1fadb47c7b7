"""The pending queue: lanes, first in first out inside a lane, leases, retries, dead letters.

Waiting items lie in sorted sets: `lua/_queue.lua` describes the keys, `lua/_lanes.lua` the order. Each method
is one script and one round trip for a whole batch, and raises RedisError when Redis cannot be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.queueing import (
    LANES,
    RANKS,
    CallKind,
    Cancelled,
    DeadLetter,
    Denied,
    Empty,
    Enqueued,
    Failure,
    FailureOutcome,
    Item,
    ItemState,
    Lane,
    QueuedItem,
    QueueState,
    Retried,
)
from assetbatch.state.clock import Clock, server_clock
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id
from assetbatch.state.scripts import Script, in_parts, packed
from assetbatch.state.window import Grant, Window

DEAD_LETTERS_KEPT = 1000
"""Maximum number of dead letters; the oldest are deleted."""

LETTERS_AT_ONCE = 250
"""Maximum number of dead letters that one script moves, or of items that one cancels: it keeps others from
the server for a few ms."""

FAILURES_AT_ONCE = 125
"""Maximum number of failures that one script records, for the same reason."""

ITEMS_AT_ONCE = 200
"""Maximum number of items that one script enqueues, for the same reason: a full queue costs most."""

LEASED_AT_ONCE = 1000
"""Maximum number of items that one script takes, starts or deletes."""

LOOKED_AT_ONCE = 1000
"""Maximum number of records that one command reads, for the same reason."""


_RECORD = re.compile(r"[0-5]:\d+:\d+:")
"""How the record of an item begins: rank, attempts, enqueued_us."""


SPARE_CALLS_KEPT = 10
"""Maximum number of spare calls that are kept, and so the maximum of one start on a plan without a limit."""


class Lease(msgspec.Struct, frozen=True):
    """What a take brought: the ids of items held by `token`, what is said of each (`lua/_queue.lua`), and the
    slot that was granted with them."""

    token: str
    ids: Sequence[str]
    heads: Sequence[str]
    grant: Grant | None

    @property
    def items(self) -> tuple[Item, ...]:
        """The items, decoded."""
        return tuple(map(_item, self.ids, self.heads))


class RetryPolicy(msgspec.Struct, frozen=True):
    """What becomes of failed work, as the scripts get it."""

    max_attempts: int
    delay_ms: int
    """Time before the next attempt."""
    dead_letters_kept: int


class Queue:
    """The pending queue below a key prefix. `clock_ms` is given by tests only; else Redis TIME counts."""

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        *,
        max_size: int,
        retry_max_attempts: int,
        retry_delay_seconds: float,
        server_name: str = "",
        clock_ms: Clock = server_clock,
    ) -> None:
        self._client = client
        self._keys = keys
        self.max_size = max_size
        delay_ms = round(retry_delay_seconds * 1000)
        self.retry = RetryPolicy(retry_max_attempts, delay_ms, DEAD_LETTERS_KEPT)
        self._server_name = server_name
        self._clock = clock_ms
        self._enqueue = Script(client, "enqueue")
        self._take = Script(client, "take")
        self._finish = Script(client, "finish")
        self._fail = Script(client, "fail")
        self._release = Script(client, "release")
        self._start = Script(client, "start")
        self._state = Script(client, "queue_state")
        self._begin_run = Script(client, "begin_queue_run")
        self._retry_dead = Script(client, "retry_dead")
        self._drop_dead = Script(client, "drop_dead")
        self._begin = Script(client, "begin_queue")
        self._own = Script(client, "own_queue")
        self._dead_letters = Script(client, "dead_letters")
        self._cancel = Script(client, "cancel_work")
        self._lane_scores = Script(client, "lane_scores")

    def _options(self, **options: object) -> dict[str, object]:
        return {"now_ms": self._clock(), **options}

    def enqueue(self, items: Sequence[tuple[str, Lane]]) -> Enqueued:
        """Put (id, lane) pairs into the queue in their order, each id once."""
        by_code: dict[str, list[str]] = {"a": [], "r": [], "d": [], "x": []}
        gone: dict[str, None] = {}
        for some in in_parts(items, ITEMS_AT_ONCE):
            codes, *displaced = self._enqueue(
                [*self._keys.queue, self._keys.queue_stamp],
                packed([part for item_id, lane in some for part in (item_id, lane.rank)]),
                options=self._options(max_size=self.max_size),
            )
            for (item_id, _), code in zip(some, codes, strict=True):
                by_code[code].append(item_id)
                if gone and code == "a":
                    gone.pop(item_id, None)
            gone.update(dict.fromkeys(displaced))
        added = {item_id: None for item_id in by_code["a"] if item_id not in gone}
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
        """Lease up to `count` items, at most `alone` of them (None: any number) of bars and history, which
        take a call each; with a `window` only together with a slot for one call.

        Expired leases and due retries come back first. `token` is made here unless given. A caller that was
        denied takes again with the same token, to keep its ticket, or calls `Window.abandon_wait`. No attempt
        is counted before `start`.
        """
        token = token or new_id()
        keys = [*self._keys.queue, self._keys.queue_reply(token), *(window.keys if window else ())]
        while True:
            taken_at = monotonic()
            options = self._options(
                lease_ms=round(lease_seconds * 1000),
                retry=self.retry,
                window=window.options(CallKind.QUEUE) if window else None,
            )
            kind, *rest = self._take(keys, token, count, count if alone is None else alone, options=options)
            if window and kind == "unknown":
                window.recover()
            elif kind == "empty":
                return Empty(int(rest[0]) or None)
            elif window and kind == "denied":
                denied = Denied.from_reply(*rest)
                if not window.may_be_freed(denied):
                    return denied
            else:
                break
        ids, heads = map(msgspec.json.decode, rest[1:])
        return Lease(token, ids, heads, Grant(token, taken_at) if window else None)

    def start(self, token: str, ids: Sequence[str], lease_seconds: float) -> tuple[str, ...]:
        """Count an attempt of leased items, once in a lease, and renew the lease, just before their call.

        Return the ids whose lease was lost meanwhile: another process may be working them, so the call must
        not go out.
        """
        lost: list[str] = []
        for some in in_parts(ids, LEASED_AT_ONCE):
            options = self._options(lease_ms=round(lease_seconds * 1000))
            lost += self._start(self._keys.queue, token, packed(some), options=options)
        return tuple(lost)

    def finish(self, token: str, ids: Sequence[str]) -> tuple[str, ...]:
        """Delete work that is done; return the ids whose lease was lost meanwhile."""
        lost: list[str] = []
        for some in in_parts(ids, LEASED_AT_ONCE):
            lost += self._finish(self._keys.queue, token, packed(some))
        return tuple(lost)

    def fail(
        self, token: str, failures: Sequence[Failure], answered_ms: int = 0
    ) -> tuple[FailureOutcome, ...]:
        """Record failures; return what becomes of each item.

        `answered_ms` is when the provider last answered anybody, 0 where that is not known.
        """
        outcomes: list[FailureOutcome] = []
        for some in in_parts(failures, FAILURES_AT_ONCE):
            args = [token]
            for failure in some:
                args += [failure.id, failure.error[:500], "final" if failure.final else failure.fault.value]
            options = self._options(retry=self.retry, answered_ms=answered_ms)
            outcomes += map(FailureOutcome, self._fail(self._keys.queue, *args, options=options))
        return tuple(outcomes)

    def release(self, token: str, ids: Sequence[str]) -> int:
        """Hand back leased work to its old place, without counting an attempt; return the number of items."""
        if not ids:
            return 0
        return int(self._release(self._keys.queue, token, *ids))

    def state(self) -> QueueState:
        """Return the figures, in one round trip of constant cost."""
        figures = self._state(
            [*self._keys.queue[:10], self._keys.queue_owner],
            options=self._options(server=self._server_name),
        )
        return _queue_state(figures)

    def begin_run(self, window: Window, share: float) -> tuple[QueueState, int]:
        """Return the figures and how many spare calls there are, in one round trip of constant cost.

        A `share` (0 to 1) of the calls that are left over while nothing is in the queue may be made as spare
        calls (see `SpareCalls`).
        """
        most = min(SPARE_CALLS_KEPT, max(1, round(share * window.call_limit.limit)))
        keys = [*self._keys.queue[:10], self._keys.queue_owner, self._keys.spare, *window.keys]
        options = self._options(
            server=self._server_name,
            window=window.options(CallKind.QUEUE),
            spare={"share": share, "most": most},
        )
        *figures, calls = self._begin_run(keys, options=options)
        return _queue_state(figures), int(calls)

    def next_retry_ms(self) -> int | None:
        """Return the moment of the next attempt of what is delayed; None without any."""
        with redis_errors():
            first = self._client.zrange(self._keys.queue_delayed, 0, 0, withscores=True)
        return int(first[0][1]) if first else None

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of these ids that the queue has: waiting, delayed or leased."""
        if not ids:
            return set()
        with redis_errors():
            texts = self._client.hmget(self._keys.queue_items, ids)
        return {item_id for item_id, text in zip(ids, texts, strict=True) if text is not None}

    def was_derived(self) -> bool:
        """Return whether it was ever derived here: not in a new Redis, nor in one that was emptied."""
        with redis_errors():
            return bool(self._client.exists(self._keys.queue_owner))

    @contextmanager
    def derived(self) -> Iterator[None]:
        """Record that the queue is whole, once the body has put in again what may have been lost of it; not
        where the server has lost its memory meanwhile."""
        mark = self._keys.queue_mark(new_id())
        self._begin([mark], options={"server": self._server_name})
        yield
        self._own([self._keys.queue_owner, mark], options={"server": self._server_name})

    def peek(self, count: int) -> list[str]:
        """Return the ids that wait, each lane in its order, the most urgent lane first; takes nothing."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for lane in self._keys.queue_waiting:
                pipeline.zrange(lane, 0, count - 1)
            lanes = pipeline.execute()
        return [item_id for lane in lanes for item_id in lane][:count]

    def items(self) -> list[QueuedItem]:
        """Return all items: those that are leased, then those that wait, in the order in which they are
        served if nothing more comes in, then those that are delayed.

        Take nothing. Three round trips, whatever the size; what changes between them is seen as it was or is.
        """
        keys = self._keys
        with redis_errors():
            more_us = [int(text) for text in self._lane_scores([keys.queue_items])]
            pipeline = self._client.pipeline(transaction=False)
            for name in (*keys.queue_waiting, keys.queue_leased, keys.queue_delayed):
                pipeline.zrange(name, 0, -1, withscores=True)
            pipeline.hlen(keys.queue_errors)
            *lanes, leased, delayed, failed = pipeline.execute()
            waiting = sorted(
                (int(at_us) + more_us[rank], int(at_us), item_id)
                for rank, lane in enumerate(lanes)
                for item_id, at_us in lane
            )
            places: dict[str, tuple[ItemState, int | None]] = {}
            for state, some in ((ItemState.LEASED, leased), (ItemState.DELAYED, delayed)):
                places |= {item_id: (state, int(until_ms)) for item_id, until_ms in some}
            for _, _, item_id in waiting:  # what is in two places was moved between the reads
                places.setdefault(item_id, (ItemState.WAITING, None))
            order = [item_id for item_id, (state, _) in places.items() if state is ItemState.LEASED]
            order += [item_id for _, _, item_id in waiting if places[item_id][0] is ItemState.WAITING]
            order += [item_id for item_id, (state, _) in places.items() if state is ItemState.DELAYED]
            texts = self._read(keys.queue_items, order)
            errors = self._read(keys.queue_errors, order) if failed else {}
        return [
            _queued_item(item_id, *places[item_id], record[0], errors.get(item_id, ""))
            for item_id in order
            if (record := _RECORD.match(texts.get(item_id, "")))  # else it was finished between the reads
        ]

    def _read(self, name: str, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the fields of a hash that are there, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for some in in_parts(ids, LOOKED_AT_ONCE):
            pipeline.hmget(name, some)
        texts = [text for some in pipeline.execute() for text in some]
        return {item_id: text for item_id, text in zip(ids, texts, strict=True) if text is not None}

    def cancel(self, ids: Sequence[str]) -> Cancelled:
        """Take items out of the queue that wait or are delayed; what is being worked stays.

        Dead letters are left alone. What is due is queued again by enqueue-secondary.
        """
        by_code: dict[str, list[str]] = {"c": [], "l": [], "u": []}
        for some in in_parts(ids, LETTERS_AT_ONCE):
            codes = self._cancel(self._keys.queue, *some)
            for item_id, code in zip(some, codes, strict=True):
                by_code[code].append(item_id)
        return Cancelled(*(tuple(some) for some in by_code.values()))

    def by_lane(self) -> dict[Lane, int]:
        """Return how many items each lane has: waiting, delayed and leased. Takes longer than `state`."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for lane in self._keys.queue_waiting:
                pipeline.zcard(lane)
            pipeline.zrange(self._keys.queue_leased, 0, -1)
            pipeline.zrange(self._keys.queue_delayed, 0, -1)
            *waiting, leased, delayed = pipeline.execute()
            ids = [*leased, *delayed]
            texts = self._client.hmget(self._keys.queue_items, ids) if ids else []
        counts = dict(zip(LANES, waiting, strict=True))
        for text in texts:
            if text and text[0] in RANKS:  # else it was finished between the two reads
                counts[LANES[int(text[0])]] += 1
        return counts

    def dead_letters(self, count: int = 100) -> list[DeadLetter]:
        """Return the youngest dead letters, newest first."""
        fields = self._dead_letters(self._keys.queue, count)
        return [
            DeadLetter(item_id, LANES[int(rank)], int(attempts), int(died_ms), error)
            for item_id, died_ms, rank, attempts, error in zip(*[iter(fields)] * 5, strict=True)
        ]

    def new_dead_letters(self, now_ms: int) -> list[DeadLetter]:
        """Return the dead letters of which nobody was told, newest first; `told` notes those that are.

        Where there are none, this is one round trip of constant cost.
        """
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(self._keys.queue_told)
            pipeline.zrange(self._keys.queue_dead, 0, 0, desc=True, withscores=True)
            text, newest = pipeline.execute()
        told_ms = int(text or 0)
        if told_ms > now_ms:  # the server's clock was set back since
            told_ms = 0
        if not newest or newest[0][1] <= told_ms:
            return []
        return [letter for letter in self.dead_letters(DEAD_LETTERS_KEPT) if letter.died_ms > told_ms]

    def told(self, letters: Sequence[DeadLetter]) -> None:
        """Note that somebody was told of these dead letters, and so of all older ones."""
        with redis_errors():
            self._client.set(self._keys.queue_told, max(letter.died_ms for letter in letters))

    def retry_dead(self, ids: Sequence[str]) -> Retried:
        """Put dead letters back at the end of their lanes, with all their attempts anew."""
        by_code: dict[str, list[str]] = {"a": [], "d": [], "x": [], "u": []}
        for some in in_parts(ids, LETTERS_AT_ONCE):
            keys = [*self._keys.queue, self._keys.queue_stamp]
            codes = self._retry_dead(keys, *some, options=self._options(max_size=self.max_size))
            for item_id, code in zip(some, codes, strict=True):
                by_code[code].append(item_id)
        return Retried(*(tuple(some) for some in by_code.values()))

    def drop_dead(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Delete dead letters; return the ids of those that were there."""
        dropped: list[str] = []
        for some in in_parts(ids, LETTERS_AT_ONCE):
            dropped += self._drop_dead(self._keys.queue, *some)
        return tuple(dropped)


def _queue_state(figures: Sequence[bytes | str | int]) -> QueueState:
    now, size, *rest = figures
    counts = [int(value) for value in rest]
    return QueueState(
        now_ms=int(now),
        size=int(size),
        by_lane=dict(zip(LANES, counts[:6], strict=True)),
        leased=counts[6],
        delayed=counts[7],
        dead=counts[8],
        oldest_ms=counts[9] // 1000 or None,
        is_whole=bool(counts[10]),
    )


def _item(item_id: str, head: str) -> Item:
    """Read what is said of a leased item; `lua/_queue.lua` describes it."""
    rank, attempts, enqueued_us = head.split(":")
    return Item(item_id, LANES[int(rank)], int(attempts), int(enqueued_us))


def _queued_item(
    item_id: str, state: ItemState, until_ms: int | None, record: str, failed: str
) -> QueuedItem:
    """Read the beginning of an item's record, and its last failure; `lua/_queue.lua` describes both."""
    rank, attempts, enqueued_us, _ = record.split(":")
    failed_ms, _, error = failed.partition(":")
    return QueuedItem(
        id=item_id,
        lane=LANES[int(rank)],
        state=state,
        attempts=int(attempts),
        enqueued_us=int(enqueued_us),
        until_ms=until_ms,
        failed_ms=int(failed_ms) if failed_ms else None,
        error=error or None,
    )
