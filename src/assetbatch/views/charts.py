"""Charts as inline SVG: numbers in, markup out. Colours come from the page's style, by class.

Every chart has a title and says in words what it shows, for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import count
from typing import NamedTuple

Points = Sequence[tuple[int, float]]

WIDTH, HEIGHT = 360, 120
LEFT, RIGHT, TOP, BOTTOM = 4, 4, 8, 18
SPARK_WIDTH, SPARK_HEIGHT = 96, 22

_ids = count(1)


class Line(NamedTuple):
    """One line of a chart: its CSS class and its points (Unix ms, value), ascending."""

    style: str
    points: Points
    step_ms: int = 0
    """From one point to the next at most; a longer pause breaks the line. 0: never broken."""


def chart(
    title: str,
    line: Line,
    start_ms: int,
    end_ms: int,
    words: Callable[[float], str],
    *,
    limit: float | None = None,
    from_zero: bool = True,
    ends: tuple[str, str] = ("24 h ago", "now"),
) -> str:
    """A line over the time from `start_ms` to `end_ms`, with the limit as a line of its own.

    `words` says a value with its unit, `ends` name the two ends of the time. Without points it says that
    nothing was measured.
    """
    points = [(at, value) for at, value in line.points if start_ms <= at <= end_ms]
    name = escape(title)
    if not points:
        none = '<p class="none">nothing measured</p>'
        return f'<figure class="chart"><figcaption>{name}</figcaption>{none}</figure>'
    values = [value for _, value in points]
    low = 0.0 if from_zero else min(values)
    high = max([*values, limit or 0.0]) if from_zero else max(values)
    if high <= low:
        low, high = (0.0, 1.0) if high == 0 else (low - abs(low) * 0.001, high + abs(high) * 0.001)

    def x(at: int) -> float:
        return LEFT + (at - start_ms) / (end_ms - start_ms) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    said = f"last {words(values[-1])}, from {words(min(values))} to {words(max(values))}"
    marks = [f'<path class="{line.style}" d="{_path(points, x, y, line.step_ms)}"/>']
    if limit is not None:
        said += f", limit {words(limit)}"
        marks.append(f'<path class="limit" d="M{LEFT} {y(limit):.1f}H{WIDTH - RIGHT}"/>')
    marks.append(f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    marks.append(f'<text class="tick" x="{LEFT}" y="{HEIGHT - 4}">{escape(ends[0])}</text>')
    marks.append(f'<text class="tick end" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}">{escape(ends[1])}</text>')
    return (
        f'<figure class="chart"><figcaption>{name} <span class="said">{escape(said)}</span></figcaption>'
        f"{_svg(title, said, WIDTH, HEIGHT, marks)}</figure>"
    )


def sparkline(title: str, points: Points) -> str:
    """A small line without axes, from its lowest to its highest; empty below two points."""
    if len(points) < 2:
        return ""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    first, last = points[0][0], points[-1][0]
    span = high - low or 1.0

    def x(at: int) -> float:
        return 1 + (at - first) / max(1, last - first) * (SPARK_WIDTH - 2)

    def y(value: float) -> float:
        return 2 + (high - value) / span * (SPARK_HEIGHT - 4)

    style = "up" if values[-1] >= values[0] else "down"
    said = f"{title}: from {values[0]:g} to {values[-1]:g}"
    path = f'<path class="{style}" d="{_path(points, x, y, 0)}"/>'
    return _svg(title, said, SPARK_WIDTH, SPARK_HEIGHT, [path])


def _path(points: Points, x: Callable[[int], float], y: Callable[[float], float], step_ms: int) -> str:
    parts = []
    before: int | None = None
    for at, value in points:
        begins = before is None or (step_ms and at - before > 3 * step_ms)
        parts.append(f"{'M' if begins else 'L'}{x(at):.1f} {y(value):.1f}")
        before = at
    if len(points) == 1:
        parts.append("h0.1")  # a dot
    return "".join(parts)


def _svg(title: str, said: str, width: int, height: int, marks: Sequence[str]) -> str:
    number = next(_ids)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="t{number} d{number}">'
        f'<title id="t{number}">{escape(title)}</title><desc id="d{number}">{escape(said)}</desc>'
        f"{''.join(marks)}</svg>"
    )
