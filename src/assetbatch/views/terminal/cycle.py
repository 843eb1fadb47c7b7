"""A cycle's result as a table for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.domain.formatting import moment, plural
from assetbatch.domain.results import CycleResult
from assetbatch.domain.work import WorkKind
from assetbatch.views.terminal.style import asset_table_price, colour_of
from assetbatch.views.terminal.summary import ENDINGS, summary, what_is_left


def render(result: CycleResult) -> RenderableType:
    """Return the assets with what became of them, and a line that sums up."""
    if result.result in ENDINGS:
        return Text(ENDINGS[result.result])
    parts: list[RenderableType] = []
    if result.assets:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("asset", overflow="fold")
        table.add_column("price", justify="right")
        table.add_column("as of")
        table.add_column("result")
        table.add_column("", overflow="fold")
        for asset in result.assets:
            is_price = asset.kind == WorkKind.PRICE
            table.add_row(
                asset.symbol if is_price else f"{asset.symbol} {asset.kind}",
                asset_table_price(asset.last_price) if is_price else "",
                moment(asset.as_of_ms) if is_price and asset.as_of_ms is not None else "",
                Text(asset.status.label, style=colour_of(asset.status)),
                asset.detail or (plural(asset.bars, "bar") if asset.bars else ""),
            )
        parts.append(table)
    parts.append(Text(summary(result), style="dim"))
    if left := what_is_left(result):
        parts.append(Text(left))
    return Group(*parts)
