"""Dead letters as a table, lines and JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assetbatch.domain.formatting import ago, iso, plural
from assetbatch.domain.groups import parse_group
from assetbatch.domain.queueing import DeadLetter
from assetbatch.domain.references import parse_reference
from assetbatch.domain.work import WorkKind, parse_work_id

if TYPE_CHECKING:  # rich is loaded for a table only
    from rich.console import RenderableType


def work_in_words(work_id: str) -> str:
    """Return what an item of the queue asks for, such as `history of XAUUSD, 2024-11-01 to 2024-12-04`."""
    symbol, kind, first, last = parse_work_id(work_id)
    if group := parse_group(work_id):
        return f"prices of {group.asset_type}, the {group.priority} members of rules"
    if kind is WorkKind.REFERENCE:
        reference = parse_reference(work_id)
        return reference.words if reference else work_id
    days = f", {first} to {last}" if kind is WorkKind.HISTORY else ""
    return f"{kind} of {symbol}{days}"


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
