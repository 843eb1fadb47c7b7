"""Ends a command within its deadline: by polite stops, an alarm, and a guard for when nothing else works."""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from assetbatch.errors import DeadlineExceededError

log = logging.getLogger("assetbatch")

STOP_SECONDS = 15.0
"""Maximum time in seconds that a command goes on after a stop: for the call in flight, and for storing its
answer."""

CLEANUP_SECONDS = 1.0
"""Time in seconds after its deadline in which a command may still put things in order."""

LAST_RESORT_SECONDS = 5.0


def monotonic() -> float:
    """Return a monotonic clock that goes on while the machine sleeps, if the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def say(error: DeadlineExceededError) -> int:
    """Log an error, and return its exit code."""
    log.error("%s", error)
    return error.exit_code


class Deadline:
    """The time of a command: `with Deadline(60) as deadline`, in the main thread.

    SIGTERM and SIGINT set `stopped` and end every `wait`. The code that waits then finishes its work in
    progress. A wait looks at a descriptor to which the interpreter writes in C when a signal comes. A lock
    or an event could miss a signal that comes just before it blocks, or be held by the interrupted code.

    At the deadline an alarm raises DeadlineExceededError wherever the program is. If that does not help (a
    name look-up in C), a thread reports the same by `last_words` after `CLEANUP_SECONDS` and ends the
    process. If no thread runs any more, the process is ended after `LAST_RESORT_SECONDS`.
    """

    def __init__(
        self,
        seconds: float,
        last_words: Callable[[DeadlineExceededError], int] = say,
        *,
        elapsed: float = 0.0,
    ) -> None:
        """Set the deadline. `last_words` returns the exit code; `elapsed` seconds have passed already."""
        self.seconds = seconds
        self._from_entry = seconds - elapsed
        self._last_words = last_words
        self._ended = threading.Event()
        self.stopped: signal.Signals | None = None
        self._signals: socket.socket | None = None
        self._end = monotonic() + self._from_entry

    def remaining(self) -> float:
        """Return the seconds until the deadline; they are negative after it."""
        return self._end - monotonic()

    def wait(self, seconds: float) -> bool:
        """Sleep. Return False as soon as a stop is asked for."""
        until = monotonic() + seconds
        while self.stopped is None and (left := until - monotonic()) > 0:
            came, _, _ = select.select([self._signals] if self._signals else [], [], [], left)
            if came and self._signals:
                self._signals.recv(4096)
        return self.stopped is None

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopped = signal.Signals(number)
        if self.remaining() > STOP_SECONDS and not self._ended.is_set():
            self._end = monotonic() + STOP_SECONDS
            signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS)

    def _error(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"the command did not end within {self.seconds:g} s and was stopped",
            hint="is redis, postgresql or the disk hanging? assetbatch status shows what was reached",
        )

    def _alarm(self, _number: int, _frame: FrameType | None) -> None:
        raise self._error()

    def _watch(self) -> None:
        while (left := self.remaining() + CLEANUP_SECONDS) > 0:
            if self._ended.wait(min(left, STOP_SECONDS)):
                return
        os._exit(self._last_words(self._error()))

    def __enter__(self) -> Deadline:
        self._end = monotonic() + self._from_entry
        self._signals, self._written = socket.socketpair()
        self._signals.setblocking(False)
        self._written.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, self._stop),
                (signal.SIGINT, self._stop),
                (signal.SIGALRM, self._alarm),
            )
        }
        signal.setitimer(signal.ITIMER_REAL, self._from_entry)
        self._ended.clear()
        threading.Thread(target=self._watch, daemon=True).start()
        faulthandler.dump_traceback_later(self._from_entry + LAST_RESORT_SECONDS, exit=True, file=2)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        if self._signals:
            self._signals.close()
        self._written.close()
        self._signals = None
