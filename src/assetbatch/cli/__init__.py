"""The command line: parse, build, call, render."""

from __future__ import annotations

import atexit
import gc
import signal
from types import FrameType

COLLECTED_AFTER = 200_000
"""Number of new objects after which Python looks for garbage. A start makes 70,000 to 90,000 that stay,
and a few more at a time."""


def main() -> None:
    """Run the command line, and end the process with the command's exit code."""
    gc.set_threshold(COLLECTED_AFTER)
    atexit.register(gc.freeze)  # the memory goes back to the system as it is: no look for garbage at the end
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from assetbatch.cli.app import run

    run()


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave at once. Nothing is under way before and after the part of a command that stops by itself."""
    raise SystemExit(128 + number)
