"""Every command ends within its bound: deadlines, polite stops, and a guard for when nothing else works."""

from __future__ import annotations

import faulthandler
import select
import signal
import socket
import time
from types import FrameType, TracebackType

from assetbatch.errors import BoundExceededError

LAST_RESORT_SECONDS = 5.0


def boot_seconds() -> float:
    """A monotonic clock that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Bound:
    """A command's time: `with Bound(60) as bound`, in the main thread.

    SIGTERM and SIGINT set `stopped` and end every `wait`; work in progress is finished by whoever asks.
    A wait looks at a descriptor that the interpreter writes to when a signal comes, in C: a lock or an event
    could miss a signal that comes just before it blocks, or be held by the very code that was interrupted.
    At the bound an alarm raises BoundExceededError wherever the program is; should even that not
    help (a library stuck in C), the process is ended `LAST_RESORT_SECONDS` later.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.stopped: signal.Signals | None = None
        self._signals: socket.socket | None = None
        self._end = boot_seconds() + seconds

    def remaining(self) -> float:
        """Seconds until the bound; negative after it."""
        return self._end - boot_seconds()

    def wait(self, seconds: float) -> bool:
        """Sleeps; returns False as soon as a stop is asked for."""
        until = boot_seconds() + seconds
        while self.stopped is None and (left := until - boot_seconds()) > 0:
            came, _, _ = select.select([self._signals] if self._signals else [], [], [], left)
            if came and self._signals:
                self._signals.recv(4096)
        return self.stopped is None

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopped = signal.Signals(number)

    def _alarm(self, _number: int, _frame: FrameType | None) -> None:
        raise BoundExceededError(
            f"the command did not end within {self.seconds:g} s and was stopped",
            hint="is redis, postgresql or the disk hanging? assetbatch status shows what was reached",
        )

    def __enter__(self) -> Bound:
        self._end = boot_seconds() + self.seconds
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
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        faulthandler.dump_traceback_later(self.seconds + LAST_RESORT_SECONDS, exit=True, file=2)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        if self._signals:
            self._signals.close()
        self._written.close()
        self._signals = None
