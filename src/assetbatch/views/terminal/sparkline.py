"""A day of a metric as a line of characters."""

from __future__ import annotations

from typing import Literal

from assetbatch.domain.metrics import Series
from assetbatch.domain.units import DAY_MS

TICKS = "▁▂▃▄▅▆▇█"
ASCII_TICKS = "_.-:=+*#"

How = Literal["sum", "max"]


def sparkline(series: Series, now_ms: int, width: int, how: How, *, plain: bool = False) -> str:
    """Return the 24 hours before `now_ms` in `width` characters, from 0 to the largest value.

    Each character stands for `24 / width` hours: the sum of its points or the largest. A blank is nothing
    measured.
    """
    cells: list[float | None] = [None] * width
    for start_ms, value in series.points:
        index = min(width - 1, width - 1 - (now_ms - start_ms) * width // DAY_MS)
        if index < 0:
            continue
        before = cells[index]
        cells[index] = value if before is None else before + value if how == "sum" else max(before, value)
    top = max((cell for cell in cells if cell is not None), default=0)
    ticks = ASCII_TICKS if plain else TICKS
    return "".join(" " if cell is None else _tick(cell, top, ticks) for cell in cells)


def _tick(value: float, top: float, ticks: str) -> str:
    if top <= 0:
        return ticks[0]
    return ticks[min(len(ticks) - 1, max(0, round(value / top * (len(ticks) - 1))))]
