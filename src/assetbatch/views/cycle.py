"""A cycle's result as a table for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.cycles import CycleResult
from assetbatch.views.style import COLOURS, asset_table_price
from assetbatch.words import moment, plural

_ENDINGS = {
    "disabled": "the priority assets are switched off (batch.priority_assets_enabled)",
    "skipped": "skipped: an earlier start of this command is still running",
}


def render(result: CycleResult) -> RenderableType:
    """The assets with what became of them, and a line that sums up."""
    if result.result in _ENDINGS:
        return Text(_ENDINGS[result.result])
    if result.result == "planned":
        return Text("\n".join(result.plan) or "nothing is due: no call would be made")
    parts: list[RenderableType] = []
    if result.assets:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("asset")
        table.add_column("price", justify="right")
        table.add_column("as of")
        table.add_column("result")
        table.add_column("", overflow="fold")
        for asset in result.assets:
            table.add_row(
                asset.symbol,
                asset_table_price(asset.last_price),
                "" if asset.as_of_ms is None else moment(asset.as_of_ms),
                Text(asset.status.replace("_", " "), style=COLOURS.get(asset.status, "red")),
                asset.detail or (plural(asset.bars, "bar") if asset.bars else ""),
            )
        parts.append(table)
    parts.append(Text(summary(result), style="dim"))
    return Group(*parts)


def summary(result: CycleResult) -> str:
    """One line: what was done and how long it took."""
    words = [plural(result.calls, "call")]
    if result.enqueued or result.command == "enqueue_secondary":
        words = [f"{result.enqueued} put into the queue"]
    if result.published:
        words.append(f"{plural(result.published, 'price')} published")
    if result.bars_written:
        words.append(f"{plural(result.bars_written, 'bar')} stored")
    if result.waits:
        words.append(plural(result.waits, "wait"))
    if result.queue_size is not None:
        words.append(f"{result.queue_size} in the queue")
    if result.ended_because:
        words.append(f"ended: {result.ended_because}")
    return f"{', '.join(words)}; {result.duration_ms / 1000:.1f} s"
