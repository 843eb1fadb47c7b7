"""A bar for a person who waits for an export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress as Bars

from assetbatch.commands.export import Watcher
from assetbatch.domain.formatting import plural
from assetbatch.views.terminal.progress import bars_on_stderr


class ExportBar(Watcher):
    """Shows how many months are done, and which is next."""

    def __init__(self, bars: Bars, watcher: Watcher) -> None:
        self._bars = bars
        self._watcher = watcher
        self._task = bars.add_task("looking for bars …", total=None, count="")
        self._months = 0
        self._done = 0

    def has_months(self, count: int) -> None:
        """Set the end of the bar."""
        self._months = count

    def goes_on(self, symbol: str, month: str) -> bool:
        """Show the month that is next."""
        self._bars.update(
            self._task,
            completed=self._done,
            total=self._months,
            count=f"{self._done} of {plural(self._months, 'month')}",
            description=f"{symbol} {month}",
        )
        self._done += 1
        return self._watcher.goes_on(symbol, month)


@contextmanager
def export_bar(watcher: Watcher) -> Iterator[ExportBar]:
    """Draw a bar on stderr until the end, then leave no trace."""
    with bars_on_stderr() as bars:
        yield ExportBar(bars, watcher)
