"""The call window: at most `limit` calls arrive at the vendor in any rolling window.

A grant writes an entry dated ahead by the longest the call may still take; the answer moves it
back to the moment it came. A process that dies holds its slot a little longer, never shorter.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.queueing import CallKind, CallLimit, Refused
from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id, this_host

GRANT_AGE_SECONDS = 2.0
"""How old a grant may be when its call is sent; an older one is given back."""

ARRIVAL_SECONDS = 1.0
"""How long a request may be under way once its sender has closed the connection and sends nothing more."""

MAX_BLOCK_SECONDS = 3600.0
"""The longest Retry-After that is believed."""


RESERVATION_GRACE_SECONDS = 60.0
"""How long slots are kept for a priority cycle that is late or still running."""


SHARE_OF_SPACING = 0.75

LIMIT_THAT_IS_SCARCE = 60
"""Of more calls in a window nobody who works the queue is left out."""


class Grant(msgspec.Struct, frozen=True):
    """Permission for one call. `taken_at` is `monotonic()` at or before the grant."""

    call_id: str
    taken_at: float

    def too_old(self, now: float) -> bool:
        """Whether it must not be used any more; `now` is `monotonic()`."""
        return now - self.taken_at > GRANT_AGE_SECONDS


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


def spacing_ms(call_limit: CallLimit, queue_runs: int) -> int:
    """How far apart the queue's calls are kept so that `queue_runs` at a time each get some; 0 for a single
    one, and where there are calls enough for all.

    A part of what they are apart on average: much more of it leaves calls unused, much less leaves the first
    of several hosts most of them (tests/simulation).
    """
    if queue_runs == 1 or call_limit.limit > LIMIT_THAT_IS_SCARCE:
        return 0
    return round(SHARE_OF_SPACING * call_limit.window_ms / call_limit.limit)


def never(trust: Callable[[], object]) -> bool:
    """Say that no call was ever made: what a window without a database knows."""
    trust()
    return True


class Window:
    """The window of one API key. `clock_ms` is given by tests only; otherwise Redis TIME counts.

    Every method raises RedisError when Redis cannot be asked: then nobody is called.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        name: str,
        call_limit: CallLimit,
        call_seconds: float,
        *,
        first_call: Callable[[Callable[[], object]], bool] = never,
        server_name: str = "",
        view_seconds: float = 0.0,
        free_dead: Callable[[], bool] = lambda: False,
        queue_runs: int = 1,
        host: str = "",
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        """Prepare; connects to nobody.

        `name` is the fingerprint of the API key, or the name that keys with a common limit share.
        `first_call` runs its argument and returns True where the database has never seen a call, else returns
        False. `server_name` is that of a server which keeps its log over a restart. `view_seconds` is how old
        the client's knowledge may be of which server holds the keys. `free_dead` frees what dead processes
        hold, and returns whether there was anything.
        """
        self._client = client
        self._first_call = first_call
        self._server_name = server_name
        self._view_ms = round(view_seconds * 1000)
        self._free_dead = free_dead
        self._spacing_ms = spacing_ms(call_limit, queue_runs)
        self._host = host or this_host()
        self._installation = keys.prefix
        self.keys = keys.window(name)
        self.call_limit = call_limit
        self.hold_ms = round((call_seconds + GRANT_AGE_SECONDS + ARRIVAL_SECONDS) * 1000)
        self._clock = clock_ms
        self._grant = script(client, "grant")
        self._settle = script(client, "settle")
        self._block = script(client, "block")
        self._recover = script(client, "recover_window")
        self._leave = script(client, "leave")
        self._cancel = script(client, "cancel")
        self._extend = script(client, "extend")
        self._reserve = script(client, "reserve")
        self._state = script(client, "window_state")

    def _now(self) -> str:
        return str(self._clock()) if self._clock else ""

    def options(self, kind: CallKind, lead_seconds: float | None = None) -> bytes:
        """Return what the scripts have to know of this window; `lua/_window.lua` names the fields."""
        lead_ms = self.hold_ms if lead_seconds is None else min(self.hold_ms, round(lead_seconds * 1000))
        return msgspec.msgpack.encode(
            {
                "limit": self.call_limit.limit,
                "window": self.call_limit.window_ms,
                "hold": self.hold_ms,
                "lead": lead_ms,
                "kind": kind.value,
                "server": self._server_name,
                "spacing": self._spacing_ms,
                "host": self._host,
                "installation": self._installation,
            }
        )

    def ask(
        self, kind: CallKind, call_id: str | None = None, *, lead_seconds: float | None = None
    ) -> Grant | Refused:
        """Asks for one slot, in one round trip.

        Who was refused asks again with the same `call_id`, to keep its turn, or calls `leave`. The call
        arrives within `lead_seconds` (default: what a call of ours may take), if it is made.
        """
        call_id = call_id or new_id()
        while True:
            taken_at = monotonic()
            with redis_errors():
                answer, *refusal = self._grant(
                    keys=self.keys, args=[self._now(), self.options(kind, lead_seconds), call_id]
                )
            if answer == "granted":
                return Grant(call_id, taken_at)
            if answer == "unknown":
                self.recover()
                continue
            refused = Refused.from_reply(*refusal)
            if not self.may_be_freed(refused):
                return refused

    def call_ends_at(self, grant: Grant) -> float:
        """Return the moment (`monotonic()`) by which a call with this grant must have ended.

        After it the request could arrive later than its entry says.
        """
        return grant.taken_at + self.hold_ms / 1000 - ARRIVAL_SECONDS

    def may_be_freed(self, refused: Refused) -> bool:
        """Return whether slots that dead processes held were freed, so that it is worth asking again."""
        return refused.reason in ("window", "reserved") and self._free_dead()

    def leave(self, call_id: str) -> None:
        """Gives up the turn of a call that was refused and will not be asked for again."""
        with redis_errors():
            self._leave(keys=self.keys[3:5], args=[call_id])

    def recover(self) -> None:
        """Trust a server that did not write the log it holds: restarted, emptied, promoted, another one.

        Nobody calls for one window and the longest a call may take, since calls may be missing in the log.
        Only where the database has never seen a call, and no server a log of this key, nothing can be missing
        and nobody waits. Raises what `first_call` raises.
        """
        if not self._first_call(lambda: self._trust(is_first=True)):
            self._trust(is_first=False)

    def _trust(self, *, is_first: bool) -> None:
        silence_ms = self.call_limit.window_ms + self.hold_ms + self._view_ms
        args = [self._now(), self.options(CallKind.QUEUE), silence_ms, int(is_first)]
        with redis_errors():
            self._recover(keys=self.keys, args=args)

    def settle(self, grant: Grant, *, arrival_seconds: float = 0.0) -> None:
        """The answer is in, or the call has failed: its entry is dated to this moment.

        A request that may be under way still counts as one that arrives within `arrival_seconds`.
        """
        args = [self._now(), grant.call_id, round(arrival_seconds * 1000)]
        with redis_errors():
            self._settle(keys=self.keys[:1], args=args)

    def extend(self, grant: Grant, kind: CallKind, lead_seconds: float) -> bool:
        """Date the entry of a call that takes longer ahead, by `lead_seconds` from now; return whether it is.

        If not, the call must have ended when it should have before.
        """
        args = [self._now(), self.options(kind, lead_seconds), grant.call_id]
        with redis_errors():
            return bool(self._extend(keys=self.keys, args=args))

    def cancel(self, grant: Grant) -> None:
        """The call was certainly never sent: its slot is free again, and nobody is kept apart from it."""
        with redis_errors():
            self._cancel(keys=[self.keys[0], self.keys[6]], args=[self._now(), grant.call_id])

    def block(self, seconds: float | None) -> int:
        """The vendor said "too many calls": the window is full for everybody.

        For `seconds` (its Retry-After, capped) or one whole window. Returns until when, in ms.
        """
        window = self.call_limit.window_ms
        duration = window if seconds is None else round(min(max(seconds, 1.0), MAX_BLOCK_SECONDS) * 1000)
        with redis_errors():
            return int(self._block(keys=self.keys[1:2], args=[self._now(), duration]))

    def reserve(self, at_ms: int, slots: int, interval_ms: int) -> None:
        """Keep `slots` free for this installation's priority cycle expected at `at_ms`, and for up to three
        later ones an interval apart should it not come; replace what it had reserved before."""
        grace_ms = round(RESERVATION_GRACE_SECONDS * 1000)
        args = [self._now(), self._installation, at_ms, slots, interval_ms, grace_ms]
        with redis_errors():
            self._reserve(keys=self.keys[2:3], args=args)

    def state(self) -> WindowState:
        """What is left; changes nothing."""
        limit = self.call_limit
        args = [self._now(), self.options(CallKind.QUEUE)]
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
