"""The call window: at most `limit` calls arrive at the vendor in any rolling window.

A grant writes an entry dated ahead by the longest the call may still take; the answer moves it
back to the moment it came. A process that dies holds its slot a little longer, never shorter.
"""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import cache, partial
from typing import Any

import msgspec

from assetbatch.bounds import boot_seconds
from assetbatch.config import CallLimit
from assetbatch.errors import RedisError
from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.state.keys import Keys

GRANT_AGE_SECONDS = 2.0
"""How old a grant may be when its call is sent; an older one is given back."""

MAX_BLOCK_SECONDS = 3600.0
"""The longest Retry-After that is believed."""

RESERVATION_GRACE_SECONDS = 60.0
"""How long slots are kept for a priority cycle that is late or still running."""


SHARE_OF_SPACING = 0.7

LIMIT_THAT_IS_SCARCE = 60
"""Of more calls in a window nobody who works the queue is left out."""


class CallKind(StrEnum):
    """Who asks: the queue leaves the slots that the next priority cycle will need."""

    PRIORITY = "priority"
    QUEUE = "queue"


class Grant(msgspec.Struct, frozen=True):
    """Permission for one call. `taken_at` is `boot_seconds()` at or before the grant."""

    call_id: str
    taken_at: float

    def too_old(self, now: float) -> bool:
        """Whether it must not be used any more; `now` is `boot_seconds()`."""
        return now - self.taken_at > GRANT_AGE_SECONDS


class Refused(msgspec.Struct, frozen=True):
    """No slot: come back at `retry_at_ms` (the server's clock), which is `wait_ms` from the answer on.

    `reason` is `window` (all slots used), `blocked` (the vendor said so), `lost` (the log of calls may be
    incomplete), `reserved` (kept for priority) or `spaced` (another run of the queue had a call just now).
    """

    retry_at_ms: int
    reason: str
    wait_ms: int

    @classmethod
    def from_reply(cls, retry_at: str, reason: str, now: str) -> Refused:
        """Reads what the scripts answer."""
        return cls(int(retry_at), reason, max(0, int(retry_at) - int(now)))


class WindowState(msgspec.Struct, frozen=True):
    """What is left of the window at `now_ms`."""

    now_ms: int
    limit: int
    window_ms: int
    used: int
    next_slot_ms: int
    reserved: int
    reserved_from_ms: int

    @property
    def remaining(self) -> int:
        """Calls that may be made at once."""
        return max(0, self.limit - self.used)


@cache
def this_host() -> str:
    """Eight hex digits that stand for this host."""
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def new_call_id(host: str = "") -> str:
    """An id for one call or one take, made by the caller so that asking again is harmless. It begins with
    the host (this one, but in tests), so that hosts that share a window can let each other go before."""
    return (host or this_host()) + uuid.uuid4().hex


def spacing_ms(call_limit: CallLimit, queue_runs: int) -> int:
    """How far apart the queue's calls are kept so that `queue_runs` at a time each get some; 0 for a single
    one, and where there are calls enough for all.

    A part of what they are apart on average: much more of it leaves calls unused, much less leaves the first
    of several hosts most of them (tests/simulation).
    """
    if queue_runs == 1 or call_limit.limit > LIMIT_THAT_IS_SCARCE:
        return 0
    return round(SHARE_OF_SPACING * call_limit.window_ms / call_limit.limit)


class Window:
    """The window of one API key. `clock_ms` is given by tests only; otherwise Redis TIME counts.

    With `confirm`, which returns when all that was written is on a replica too, a grant is used only then,
    and the log is believed after a failover. Every method raises RedisError when Redis cannot be asked:
    then nobody is called.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        key_fingerprint: str,
        call_limit: CallLimit,
        call_seconds: float,
        *,
        last_call_ms: Callable[[], int | None] = lambda: None,
        server_name: str = "",
        queue_runs: int = 1,
        host: str = "",
        confirm: Callable[..., bool] | None = None,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._confirm = confirm
        self._last_call_ms = last_call_ms
        self.server_name = server_name
        self.spacing_ms = spacing_ms(call_limit, queue_runs)
        self.host = host or this_host()
        self.keys = keys.window(key_fingerprint)
        self.call_limit = call_limit
        self.hold_ms = round((call_seconds + GRANT_AGE_SECONDS + 1) * 1000)
        self._clock = clock_ms
        self._grant = script(client, "grant")
        self._settle = script(client, "settle")
        self._block = script(client, "block")
        self._believe = script(client, "believe")
        self._leave = script(client, "leave")
        self._state = script(client, "window_state")

    def _now(self) -> str:
        return str(self._clock()) if self._clock else ""

    def ask(self, kind: CallKind, call_id: str | None = None) -> Grant | Refused:
        """Asks for one slot, in one round trip.

        Who was refused asks again with the same `call_id`, to keep its turn, or calls `leave`.
        """
        call_id = call_id or new_call_id()
        limit = self.call_limit
        while True:
            taken_at = boot_seconds()
            args = [self._now(), call_id, limit.limit, limit.window_ms, self.hold_ms, kind.value]
            with redis_errors():
                answer, *refusal = self._grant(
                    keys=self.keys, args=[*args, self.server_name, self.spacing_ms, self.host]
                )
            if answer == "granted":
                grant = Grant(call_id, taken_at)
                if self.confirm(call_id, partial(self.cancel, grant)):
                    return grant
                continue
            if answer == "refused":
                return Refused.from_reply(*refusal)
            self.restore()

    def confirm(self, call_id: str, undo: Callable[[], object]) -> bool:
        """Sees to it that a grant, and what was written with it, survives a failover. False where one has
        lost it: ask again. Calls `undo` and raises RedisError where no replica confirms it."""
        if self._confirm is None:
            return True
        try:
            return self._confirm("ZSCORE", self.keys[0], call_id)
        except RedisError:
            with suppress(RedisError):
                undo()
            raise

    def leave(self, call_id: str) -> None:
        """Gives up the turn of a call that was refused and will not be asked for again."""
        with redis_errors():
            self._leave(keys=self.keys[3:5], args=[call_id])

    def restore(self) -> None:
        """Makes up for a log that is gone, or lies on another server than the one that wrote it.

        Where `last_call_ms` (the database) shows that calls were made so recently that they may still
        count, nobody calls for a window and the longest a call may take. A fresh installation, where
        nothing shows a call, waits for nothing; nor does a replica that has taken over and has every
        call that was confirmed. Raises what `last_call_ms` raises.
        """
        with redis_errors():
            seconds, microseconds = self._client.time()
        now_ms = self._clock() if self._clock else seconds * 1000 + microseconds // 1000
        counts_ms = self.call_limit.window_ms + self.hold_ms
        last_call_ms = self._last_call_ms()
        recent = last_call_ms is not None and last_call_ms > now_ms - counts_ms
        args = [self._now(), self.server_name, counts_ms if recent else 0]
        args += [last_call_ms or 0, self.hold_ms if self._confirm else 0]
        with redis_errors():
            self._believe(keys=[self.keys[0], self.keys[1], self.keys[5]], args=args)

    def settle(self, grant: Grant) -> None:
        """The answer is in, or the call has failed: its entry is dated to this moment."""
        with redis_errors():
            self._settle(keys=self.keys[:1], args=[self._now(), grant.call_id])

    def cancel(self, grant: Grant) -> None:
        """The call was certainly never sent: its slot is free again."""
        with redis_errors():
            self._client.zrem(self.keys[0], grant.call_id)

    def block(self, seconds: float | None) -> int:
        """The vendor said "too many calls": the window is full for everybody.

        For `seconds` (its Retry-After, capped) or one whole window. Returns until when, in ms.
        """
        window = self.call_limit.window_ms
        duration = window if seconds is None else round(min(max(seconds, 1.0), MAX_BLOCK_SECONDS) * 1000)
        with redis_errors():
            return int(self._block(keys=self.keys[1:2], args=[self._now(), duration]))

    def reserve(self, at_ms: int, slots: int, interval_ms: int) -> None:
        """Keeps `slots` free for the priority cycle expected at `at_ms`, and for up to three later
        ones an interval apart should it not come; replaces the reservation before."""
        mapping: dict[str, Any] = {
            "at": at_ms,
            "slots": slots,
            "interval": interval_ms,
            "grace": round(RESERVATION_GRACE_SECONDS * 1000),
            "used": 0,
        }
        with redis_errors():
            self._client.hset(self.keys[2], mapping=mapping)

    def state(self) -> WindowState:
        """What is left; changes nothing."""
        limit = self.call_limit
        args = [self._now(), limit.limit, limit.window_ms]
        with redis_errors():
            now, used, free_at, reserved, reserved_from = self._state(keys=self.keys, args=args)
        return WindowState(
            now_ms=int(now),
            limit=limit.limit,
            window_ms=limit.window_ms,
            used=int(used),
            next_slot_ms=int(free_at),
            reserved=int(reserved),
            reserved_from_ms=int(reserved_from),
        )
