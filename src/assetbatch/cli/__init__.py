"""What one types: parse, build, call, render."""

from __future__ import annotations

import signal
from types import FrameType


def main() -> None:
    """Runs the command line; ends the process with the command's exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from assetbatch.cli.app import run

    run()


def _leave(number: int, _frame: FrameType | None) -> None:
    """Before and after the part of a command that stops by itself, where nothing is under way."""
    raise SystemExit(128 + number)
