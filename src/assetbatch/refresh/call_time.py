"""The time of a command that is left for calls: a call begins only if its answer can still be stored."""

from __future__ import annotations

from assetbatch.deadline import Deadline
from assetbatch.domain.queueing import CallLimit
from assetbatch.refresh.inflight import calls_that_fit

SAVE_SECONDS = 4.0
"""Time before the deadline of a command that is kept for storing and publishing."""

SAVE_SHARE = 0.3
"""The same as a share of the deadline, if that is less."""

MIN_CALL_SECONDS = 1.0
"""Minimum time that a call needs, however fast the last calls were."""

UNKNOWN_CALL_SECONDS = 5.0
"""Time that a call needs if nobody knows how long calls take."""

FIRST_CALL_SHARE = 0.5
"""The first call of a start may begin in this share of its time if no start is long enough for calls as slow
as these. The next start would have no more time."""

LONG_ENOUGH_SHARE = 0.9
"""A start is long enough for calls that take at most this share of its time."""

CUT_SHORT_SECONDS = 0.2
"""A call that fails with less time left than this was ended by its own deadline."""


def time_until_saving(seconds: float, remaining: float) -> float:
    """Return the seconds until the answers must be stored, with `remaining` of a deadline of `seconds`."""
    return remaining - min(SAVE_SECONDS, SAVE_SHARE * seconds)


def time_for_calls(
    seconds: float, remaining: float, slowest_call: float | None, *, is_first: bool = False
) -> float:
    """Return the seconds within which a call may still begin.

    A call is assumed to take as long as the slowest of the last calls (None if nobody knows).
    """
    needed = UNKNOWN_CALL_SECONDS if slowest_call is None else max(MIN_CALL_SECONDS, slowest_call)
    whole = time_until_saving(seconds, seconds)
    if is_first and needed > LONG_ENOUGH_SHARE * whole:
        needed = FIRST_CALL_SHARE * whole
    return time_until_saving(seconds, remaining) - needed


class CallTime:
    """How long calls take, and how much time of a command is left for them."""

    def __init__(self, deadline: Deadline, call_limit: CallLimit, slowest_seconds: float | None) -> None:
        self.deadline = deadline
        self._call_limit = call_limit
        self._slowest_seconds = slowest_seconds
        self._has_called = False

    @property
    def is_stopped(self) -> bool:
        """Whether a stop was asked for."""
        return bool(self.deadline.stopped)

    @property
    def left(self) -> float:
        """Seconds within which a call may still begin; 0 or less after a stop."""
        if self.is_stopped:
            return 0.0
        seconds, remaining = self.deadline.seconds, self.deadline.remaining()
        return time_for_calls(seconds, remaining, self._slowest_seconds, is_first=not self._has_called)

    @property
    def until_saving(self) -> float:
        """Seconds until the answers must be stored."""
        return time_until_saving(self.deadline.seconds, self.deadline.remaining())

    @property
    def is_cut_short(self) -> bool:
        """Whether a call that has just failed was ended by the deadline of its command."""
        return self.until_saving < CUT_SHORT_SECONDS

    @property
    def calls_that_fit(self) -> int:
        """How many calls can still begin."""
        slowest = max(MIN_CALL_SECONDS, self._slowest_seconds or UNKNOWN_CALL_SECONDS)
        return calls_that_fit(self._call_limit, max(0.0, self.left), slowest)

    def call_began(self) -> None:
        """Record that a call has begun."""
        self._has_called = True

    def call_took(self, seconds: float) -> None:
        """Record how long a call has taken that reached the provider."""
        self._slowest_seconds = max(seconds, self._slowest_seconds or 0.0)
