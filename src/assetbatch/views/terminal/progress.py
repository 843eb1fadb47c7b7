"""A live line for a person who waits, and a bar once a queue is being worked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars

from assetbatch.refresh.progress import Progress


class TerminalProgress(Progress):
    """Shows what is going on; the bar's end moves when the queue grows or is worked by others."""

    watched = True

    def __init__(self, bars: Bars, when_begun: Callable[[], None]) -> None:
        super().__init__(when_begun)
        self._bars = bars
        self._task = bars.add_task("starting …", total=None, count="")

    def say(self, text: str) -> None:
        """Show the line."""
        self._bars.update(self._task, description=text)

    def worked(self, done: int, left: int) -> None:
        """Show the bar."""
        self._bars.update(self._task, completed=done, total=done + left, count=f"{done} of {done + left}")


@contextmanager
def on_terminal(when_begun: Callable[[], None]) -> Iterator[TerminalProgress]:
    """Draw on stderr until the end, then leave no trace."""
    with bars_on_stderr() as bars:
        yield TerminalProgress(bars, when_begun)


@contextmanager
def bars_on_stderr() -> Iterator[Bars]:
    """Draw bars on stderr until the end, then leave no trace."""
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.description}", markup=False),
    )
    before = sys.stderr
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars, _log_through(before):
        yield bars


@contextmanager
def _log_through(stderr: TextIO) -> Iterator[None]:
    """Let the log write through what stands for stderr meanwhile, so that its lines stand above the live
    one."""
    handlers = [
        handler
        for handler in logging.getLogger("assetbatch").handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is stderr
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(stderr)
