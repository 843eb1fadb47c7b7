"""The command line: parse, build, call, render."""

from __future__ import annotations

import signal
from types import FrameType


def main() -> None:
    """Run the command line, and end the process with the command's exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from assetbatch.cli.app import run

    run()


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave at once. Nothing is under way before and after the part of a command that stops by itself."""
    raise SystemExit(128 + number)
