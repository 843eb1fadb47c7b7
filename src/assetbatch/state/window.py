"""The call window: at most `limit` calls arrive at the provider in any rolling window.

A grant writes an entry that is dated ahead by the longest time that the call may still take. The answer moves
the entry back to the moment at which it came. A process that dies holds its slot a little longer, never
shorter.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.queueing import CallKind, CallLimit, DenialReason, Denied
from assetbatch.state.clock import Clock, server_clock
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id, this_host
from assetbatch.state.scripts import Script

GRANT_AGE_SECONDS = 2.0
"""Maximum age of a grant when its call is sent; an older one is given back."""

ARRIVAL_SECONDS = 1.0
"""Maximum time for which a request is under way once its sender has closed the connection."""

MAX_BLOCK_SECONDS = 3600.0
"""Maximum Retry-After that is believed."""

RESERVATION_GRACE_SECONDS = 60.0
"""How long slots are kept for a priority cycle that is late or still running."""

SHARE_OF_SPACING = 0.75
"""The share of the average distance between calls by which calls of the queue are kept apart.

A larger one leaves calls unused; a much smaller one leaves the first of several hosts most of them
(tests/simulation).
"""

LIMIT_THAT_IS_SCARCE = 60
"""Maximum number of calls in a window for which calls are kept apart: of more, every host gets some."""


class Grant(msgspec.Struct, frozen=True):
    """Permission for one call. `taken_at` is `monotonic()` at or before the grant."""

    call_id: str
    taken_at: float

    def too_old(self, now: float) -> bool:
        """Return whether it must not be used any more; `now` is `monotonic()`."""
        return now - self.taken_at > GRANT_AGE_SECONDS


class WindowState(msgspec.Struct, frozen=True):
    """What is left of the window at `now_ms`.

    `pause` says why no call is made before `next_slot_ms`, whatever is used; None where the calls that count
    decide. A pause that has not begun yet begins with the first start that asks for a call.
    """

    now_ms: int
    limit: int
    window_ms: int
    used: int
    next_slot_ms: int
    reserved: int
    reserved_from_ms: int
    pause: DenialReason | None = None
    pause_begun: bool = True

    @property
    def remaining(self) -> int:
        """Calls that may be made at once."""
        return 0 if self.pause else max(0, self.limit - self.used)

    def next_slot_for(self, start_ms: int) -> int:
        """Return when a start at `start_ms` gets its first slot, as far as other starts leave it."""
        if self.pause_begun:
            return max(start_ms, self.next_slot_ms)
        return max(start_ms, self.now_ms) + self.next_slot_ms - self.now_ms


def spacing_ms(call_limit: CallLimit, queue_runs: int) -> int:
    """Return how far apart the queue's calls are kept so that each of `queue_runs` at a time gets some.

    0 for a single one, and where there are calls enough for all.
    """
    if queue_runs == 1 or call_limit.limit > LIMIT_THAT_IS_SCARCE:
        return 0
    return round(SHARE_OF_SPACING * call_limit.window_ms / call_limit.limit)


def never(trust: Callable[[], object]) -> bool:
    """Say that no call was ever made: what a window without a database knows."""
    trust()
    return True


class WindowSettings(msgspec.Struct, frozen=True):
    """What makes up a window, and what uses it."""

    keys: Keys
    name: str
    """The fingerprint of the API key, or the name that keys with a common limit share."""
    call_limit: CallLimit
    call_seconds: float
    """Maximum time of a call."""
    server_name: str = ""
    """The name of a server which keeps its log over a restart."""
    view_seconds: float = 0.0
    """How old the client's knowledge may be of which server holds the keys."""
    queue_runs: int = 1
    """Maximum number of runs of the queue at the same time."""
    host: str = ""
    """Given by tests only."""


class Window:
    """The window of one API key. `clock_ms` is given by tests only; otherwise Redis TIME counts.

    Every method raises RedisError when Redis cannot be asked: then no call may be made.
    """

    def __init__(
        self,
        client: RedisClient,
        settings: WindowSettings,
        *,
        first_call: Callable[[Callable[[], object]], bool] = never,
        free_dead: Callable[[], bool] = lambda: False,
        clock_ms: Clock = server_clock,
    ) -> None:
        """Prepare, without a connection.

        `first_call` runs its argument and returns True where the database has never seen a call, else returns
        False. `free_dead` frees what dead processes hold, and returns whether there was anything.
        """
        self._settings = settings
        self._first_call = first_call
        self._free_dead = free_dead
        self._clock = clock_ms
        self._spacing_ms = spacing_ms(settings.call_limit, settings.queue_runs)
        self._host = settings.host or this_host()
        self.keys = settings.keys.window(settings.name)
        self.call_limit = settings.call_limit
        in_flight_seconds = settings.call_seconds + GRANT_AGE_SECONDS + ARRIVAL_SECONDS
        self.max_in_flight_ms = round(in_flight_seconds * 1000)
        view_ms = round(settings.view_seconds * 1000)
        self._silence_ms = settings.call_limit.window_ms + self.max_in_flight_ms + view_ms
        self._grant = Script(client, "grant")
        self._complete = Script(client, "complete")
        self._block = Script(client, "block")
        self._recover = Script(client, "recover_window")
        self._abandon_wait = Script(client, "abandon_wait")
        self._cancel = Script(client, "cancel")
        self._extend = Script(client, "extend")
        self._reserve = Script(client, "reserve")
        self._state = Script(client, "window_state")

    def options(self, kind: CallKind, lead_seconds: float | None = None) -> dict[str, object]:
        """Return what the scripts have to know of this window; `lua/_window.lua` says what each means."""
        lead_ms = self.max_in_flight_ms
        if lead_seconds is not None:
            lead_ms = min(lead_ms, round(lead_seconds * 1000))
        return {
            "now_ms": self._clock(),
            "limit": self.call_limit.limit,
            "window_ms": self.call_limit.window_ms,
            "max_in_flight_ms": self.max_in_flight_ms,
            "lead_ms": lead_ms,
            "kind": kind.value,
            "server": self._settings.server_name,
            "spacing_ms": self._spacing_ms,
            "host": self._host,
            "installation": self._settings.keys.prefix,
        }

    def ask(
        self, kind: CallKind, call_id: str | None = None, *, lead_seconds: float | None = None
    ) -> Grant | Denied:
        """Ask for one slot, in one round trip.

        A caller that was denied asks again with the same `call_id`, to keep its ticket, or calls
        `abandon_wait`. The call arrives within `lead_seconds` (default: what a call of ours may take), if it
        is made.
        """
        call_id = call_id or new_id()
        while True:
            taken_at = monotonic()
            answer, *denial = self._grant(self.keys, call_id, options=self.options(kind, lead_seconds))
            if answer == "granted":
                return Grant(call_id, taken_at)
            if answer == "unknown":
                self.recover()
                continue
            denied = Denied.from_reply(*denial)
            if not self.may_be_freed(denied):
                return denied

    def call_ends_at(self, grant: Grant) -> float:
        """Return the moment (`monotonic()`) by which a call with this grant must have ended.

        After it the request could arrive later than its entry says.
        """
        return grant.taken_at + self.max_in_flight_ms / 1000 - ARRIVAL_SECONDS

    def may_be_freed(self, denied: Denied) -> bool:
        """Return whether slots that dead processes held were freed, so that it is worth asking again."""
        return denied.reason in (DenialReason.WINDOW, DenialReason.RESERVED) and self._free_dead()

    def abandon_wait(self, call_id: str) -> None:
        """Give up the ticket of a call that was denied and will not be asked for again."""
        self._abandon_wait(self.keys[3:5], call_id)

    def recover(self) -> None:
        """Trust a server that did not write the log it holds: restarted, emptied, promoted, another one.

        Nobody calls for one window and the longest a call may take, since calls may be missing in the log.
        Only where the database has never seen a call, and no server a log of this key, nothing can be missing
        and nobody waits. Raise what `first_call` raises.
        """
        if not self._first_call(lambda: self._trust(is_first=True)):
            self._trust(is_first=False)

    def _trust(self, *, is_first: bool) -> None:
        options = self.options(CallKind.QUEUE) | {"silence_ms": self._silence_ms, "is_first": is_first}
        self._recover(self.keys, options=options)

    def complete(self, grant: Grant, *, arrival_seconds: float = 0.0) -> None:
        """Date the entry of a call to this moment: its answer is in, or it has failed.

        A request that may be under way still counts as one that arrives within `arrival_seconds`.
        """
        options = {"now_ms": self._clock(), "arrival_ms": round(arrival_seconds * 1000)}
        self._complete(self.keys[:1], grant.call_id, options=options)

    def extend(self, grant: Grant, kind: CallKind, lead_seconds: float) -> bool:
        """Date the entry of a call that takes longer ahead, by `lead_seconds` from now; return whether it is.

        If not, the call must have ended when it should have before.
        """
        options = self.options(kind, lead_seconds)
        return bool(self._extend(self.keys, grant.call_id, options=options))

    def cancel(self, grant: Grant) -> None:
        """Free the slot of a call that was certainly never sent; no later call is kept apart from it."""
        self._cancel([self.keys[0], self.keys[6]], grant.call_id, options={"now_ms": self._clock()})

    def block(self, seconds: float | None) -> int:
        """Block all calls, because the provider said "too many calls"; return until when, in ms.

        The block lasts for `seconds` (its Retry-After, capped) or one whole window.
        """
        window = self.call_limit.window_ms
        duration = window if seconds is None else round(min(max(seconds, 1.0), MAX_BLOCK_SECONDS) * 1000)
        options = {"now_ms": self._clock(), "duration_ms": duration}
        return int(self._block(self.keys[1:2], options=options))

    def reserve(self, at_ms: int, slots: int, interval_ms: int) -> None:
        """Keep `slots` free for this installation's priority cycle that is expected at `at_ms`.

        Should it not come, they are kept for up to three later cycles an interval apart. What the
        installation had reserved before is replaced.
        """
        options = {
            "now_ms": self._clock(),
            "installation": self._settings.keys.prefix,
            "at_ms": at_ms,
            "slots": slots,
            "interval_ms": interval_ms,
            "grace_ms": round(RESERVATION_GRACE_SECONDS * 1000),
        }
        self._reserve(self.keys[2:3], options=options)

    def state(self) -> WindowState:
        """Return what is left; changes nothing."""
        limit = self.call_limit
        now, used, free_at, reserved, reserved_from, pause, begun = self._state(
            self.keys, options=self.options(CallKind.QUEUE) | {"silence_ms": self._silence_ms}
        )
        return WindowState(
            now_ms=int(now),
            limit=limit.limit,
            window_ms=limit.window_ms,
            used=int(used),
            next_slot_ms=int(free_at),
            reserved=int(reserved),
            reserved_from_ms=int(reserved_from),
            pause=DenialReason(pause) if pause else None,
            pause_begun=begun != 0 or not pause,
        )
