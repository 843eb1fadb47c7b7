"""Slots of the call window for one batch: waited for within the deadline, and given back in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from assetbatch.deadline import monotonic
from assetbatch.domain.endings import WAITS_FOR
from assetbatch.domain.formatting import format_duration
from assetbatch.domain.queueing import CallKind, Denied
from assetbatch.refresh.call_time import CallTime
from assetbatch.refresh.reporter import Reporter
from assetbatch.state.process_id import new_id
from assetbatch.state.window import Grant, Window


class NoPermit(NamedTuple):
    """Why no call may go out. `pause_seconds` is None if none is possible before the end of this cycle."""

    reason: str
    pause_seconds: float | None = None


class Permits:
    """Holds at most one slot that no call uses yet. Whoever uses it calls `close` at the end."""

    def __init__(
        self,
        window: Window,
        kind: CallKind,
        time: CallTime,
        reporter: Reporter,
        *,
        before_wait: Callable[[], None],
        grant: Grant | None = None,
    ) -> None:
        """Take over `grant`, if it is given. `before_wait` is called before each wait for a slot."""
        self._window = window
        self._kind = kind
        self._time = time
        self._reporter = reporter
        self._before_wait = before_wait
        self._grant = grant
        self._ticket: str | None = None

    def acquire(self, *, may_wait: bool) -> NoPermit | None:
        """Hold a slot that a call may use now, or return why there is none.

        Wait for it within the deadline, but only with `may_wait`. Raise RedisError.
        """
        is_first = True
        while self._time.left > 0:
            if self.is_usable:
                return None
            self._give_back()
            denied = self._ask()
            if denied is None:
                continue
            why = WAITS_FOR[denied.reason]
            if denied.wait_ms / 1000 > self._time.left:
                self.close()
                free_in = format_duration(denied.wait_ms)
                return NoPermit(f"{why}; the next call is free in {free_in}, after this cycle's end")
            if not may_wait:
                self.close()
                return NoPermit(why, denied.pause_seconds)
            self._before_wait()
            self._reporter.waiting(denied, first=is_first)
            is_first = False
            self._time.deadline.wait(denied.pause_seconds)
        self.close()
        return NoPermit("stopped before its call" if self._time.is_stopped else "no time left for its call")

    @property
    def is_usable(self) -> bool:
        """Whether a slot is held that is young enough for a call."""
        return self._grant is not None and not self._grant.too_old(monotonic())

    def use(self) -> tuple[Grant, float]:
        """Hand the slot over to a call that goes out now. Return it, and the moment (`monotonic()`) by which
        the call must have ended."""
        grant, self._grant = self._grant, None
        assert grant is not None, "a slot is acquired before it is used"
        return grant, self._window.call_ends_at(grant)

    def complete(self, grant: Grant, *, was_sent: bool) -> None:
        """Complete the slot of a call that has ended; free it if no request was sent. Raise RedisError."""
        if was_sent:
            self._window.complete(grant)
        else:
            self._window.cancel(grant)

    def close(self) -> None:
        """Give back the slot that no call has used, and the ticket of one that was waited for.

        May be called at any time, and again. Raise RedisError.
        """
        self._give_back()
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._window.abandon_wait(ticket)

    def _give_back(self) -> None:
        grant, self._grant = self._grant, None
        if grant is not None:
            self._window.cancel(grant)

    def _ask(self) -> Denied | None:
        """Ask for a slot, with the ticket of the last time if it was denied. Return None if it is held
        now."""
        # No ticket is kept while Redis is asked: if it fails, `close` does not ask it once more.
        ticket, self._ticket = self._ticket or new_id(), None
        answer = self._window.ask(self._kind, ticket)
        if isinstance(answer, Denied):
            self._ticket = ticket
            return answer
        self._grant = answer
        return None
