"""Slots of the call window for other programs that use the same API key. They make the call themselves.

One slot is one request. Its entry is dated ahead like that of our own calls, by the longest time that the
request may take to arrive, until the program says that it has arrived. The death of the process that took a
slot does not free it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.queueing import LONGEST_CALL_SECONDS, CallKind, Denied
from assetbatch.errors import ConfigError
from assetbatch.slots.keeper import KILL_AFTER_SECONDS
from assetbatch.state.process_id import is_foreign, new_id
from assetbatch.state.window import ARRIVAL_SECONDS, Grant, Window

MARGIN_SECONDS = KILL_AFTER_SECONDS + ARRIVAL_SECONDS
"""Time for which a slot is kept beyond its holder's use."""


UNANSWERED_SECONDS = LONGEST_CALL_SECONDS + MARGIN_SECONDS
"""Maximum time after which the request of a program that has failed may still arrive: the system may go on
sending what was written to a connection that is closed. Our own connections discard it."""


class Slot(msgspec.Struct, frozen=True):
    """A slot that another program holds; its request has ended by `until` (`monotonic()`)."""

    grant: Grant
    kind: CallKind
    until: float

    @property
    def id(self) -> str:
        """What `done` is told."""
        return self.grant.call_id

    def deadline(self) -> datetime:
        """Return `until` on this machine's clock."""
        return datetime.fromtimestamp(time.time() + self.until - monotonic(), UTC)


class Taken(msgspec.Struct, frozen=True):
    """A slot as it is told to another program."""

    slot: str
    expires_at: str
    expires_in_seconds: float
    granted: bool = True


class NotTaken(msgspec.Struct, frozen=True):
    """Why there is no slot, and when to ask again.

    `reason` as in `DenialReason`, or `busy`: too many ask at once.
    """

    reason: str
    retry_after_seconds: float
    granted: bool = False


class Done(msgspec.Struct, frozen=True):
    """A slot that was given back."""

    slot: str
    calls_made: int


def told(answer: Slot | Denied) -> Taken | NotTaken:
    """Return what another program is told."""
    if isinstance(answer, Denied):
        return NotTaken(answer.reason, answer.wait_ms / 1000)
    left = round(answer.until - monotonic(), 3)
    return Taken(answer.id, answer.deadline().isoformat(timespec="milliseconds"), left)


class Slots:
    """Takes, renews and completes slots. Every method raises RedisError when Redis cannot be asked."""

    def __init__(self, window: Window, record_call: Callable[[], bool] | None) -> None:
        """`record_call` records in the database that calls are made from now on; it returns whether it could.

        It runs after a slot was granted, since what it records tells whether a log may be incomplete.
        None: it is recorded.
        """
        self._window = window
        self._record_call = record_call

    @property
    def is_recorded(self) -> bool:
        """Whether the database knows that calls are made."""
        return self._record_call is None

    def take(
        self,
        kind: CallKind,
        hold_seconds: float,
        wait_seconds: float,
        pause: Callable[[float], bool],
    ) -> Slot | Denied:
        """Take a slot to be used within `hold_seconds` (at most `LONGEST_CALL_SECONDS`).

        Wait for it if it will be free within `wait_seconds`; `pause` sleeps, and returns False where the wait
        is to end.
        """
        until = monotonic() + wait_seconds
        call_id = new_id(foreign=True)
        lead_seconds = hold_seconds + MARGIN_SECONDS
        if lead_seconds * 1000 > self._window.max_in_flight_ms:
            raise ValueError("no slot is held for so long")
        while True:
            answer = self._window.ask(kind, call_id, lead_seconds=lead_seconds)
            if isinstance(answer, Grant):
                if self._record_call and self._record_call():
                    self._record_call = None
                if not answer.too_old(monotonic()):
                    return Slot(answer, kind, answer.taken_at + hold_seconds)
                self._window.cancel(answer)  # this machine stood still meanwhile
                call_id = new_id(foreign=True)
                continue
            is_too_late = monotonic() + answer.wait_ms / 1000 > until
            if is_too_late or not pause(answer.pause_seconds):
                self._window.abandon_wait(call_id)
                return answer

    def renew(self, slot: Slot, hold_seconds: float) -> Slot | None:
        """Return the slot with a later end, `hold_seconds` from now; None where it ends as it is."""
        now = monotonic()
        if self._window.extend(slot.grant, slot.kind, hold_seconds + MARGIN_SECONDS):
            return msgspec.structs.replace(slot, until=now + hold_seconds)
        return None

    def done(self, slot_id: str, *, call_made: bool, arrival_seconds: float = 0.0) -> None:
        """Complete a slot: its call was made and has ended, or it was never sent.

        Raise ConfigError for an id that cannot be one.
        """
        if not is_foreign(slot_id):
            raise ConfigError("this is no slot", hint="give the id that `slot take` has printed")
        grant = Grant(slot_id, 0.0)
        if call_made:
            self._window.complete(grant, arrival_seconds=arrival_seconds)
        else:
            self._window.cancel(grant)
