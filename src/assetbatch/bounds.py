"""Every command ends within its bound: deadlines, polite stops, and a guard for when nothing else works."""

from __future__ import annotations

import faulthandler
import signal
import threading
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
    At the bound an alarm raises BoundExceededError wherever the program is; should even that not
    help (a library stuck in C), the process is ended `LAST_RESORT_SECONDS` later.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.stopped: signal.Signals | None = None
        self._event = threading.Event()
        self._end = boot_seconds() + seconds

    def remaining(self) -> float:
        """Seconds until the bound; negative after it."""
        return self._end - boot_seconds()

    def wait(self, seconds: float) -> bool:
        """Sleeps; returns False as soon as a stop is asked for."""
        return not self._event.wait(max(0.0, seconds))

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopped = signal.Signals(number)
        self._event.set()

    def _alarm(self, _number: int, _frame: FrameType | None) -> None:
        raise BoundExceededError(
            f"the command did not end within {self.seconds:g} s and was stopped",
            hint="is redis, postgresql or the disk hanging? assetbatch status shows what was reached",
        )

    def __enter__(self) -> Bound:
        self._end = boot_seconds() + self.seconds
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
