"""Dead letters as a table, lines and JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assetbatch.domain.formatting import ago, iso, plural
from assetbatch.domain.item_words import work_in_words
from assetbatch.domain.queueing import DeadLetter
from assetbatch.domain.work import parse_work_id

if TYPE_CHECKING:  # rich is loaded for a table only
    from rich.console import RenderableType


def line(letter: DeadLetter) -> str:
    """Return one letter in one line."""
    died = f"dead since {iso(letter.died_ms)} after {plural(letter.attempts, 'attempt')}"
    return f"{work_in_words(letter.id)} ({letter.lane}): {died}: {letter.error}"


def render(letters: Sequence[DeadLetter], now_ms: int) -> RenderableType:
    """Return a table, the latest letter first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("work", overflow="fold")
    table.add_column("line", no_wrap=True)
    table.add_column("attempts", justify="right")
    table.add_column("died", no_wrap=True)
    table.add_column("last error", overflow="fold")
    for letter in letters:
        died = ago(now_ms - letter.died_ms)
        table.add_row(work_in_words(letter.id), letter.lane, str(letter.attempts), died, letter.error)
    return table


def document(letter: DeadLetter) -> dict[str, Any]:
    """Return one element of `dead list --json`; moments are ISO 8601 in UTC."""
    symbol, kind, first, last = parse_work_id(letter.id)
    return {
        "id": letter.id,
        "symbol": symbol or None,
        "kind": kind,
        "first_day": first,
        "last_day": last,
        "line": letter.lane,
        "attempts": letter.attempts,
        "died": iso(letter.died_ms),
        "error": letter.error,
    }
