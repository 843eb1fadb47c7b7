"""Charts as inline SVG: numbers in, markup out. The page's style has the colours, by class.

Every chart also says in words what it shows (last, lowest, highest), for people who do not see it. The
drawings stretch with the page. The words beside them do not, and stay readable at any width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from itertools import groupby
from typing import NamedTuple

from assetbatch.domain.formatting import moment
from assetbatch.domain.market_hours import from_ms
from assetbatch.domain.metrics import Series
from assetbatch.domain.units import HOUR_MS
from assetbatch.health.hours import Day, HourState

Points = Sequence[tuple[int, float]]
Words = Callable[[float], str]

WIDTH, HEIGHT = 360, 96
TOP, BOTTOM = 4, 2
SPARK_WIDTH, SPARK_HEIGHT = 960, 220
"""Ten units a pixel: whole numbers are short, and a page may have thousands of them."""

COLUMNS = 144
"""Maximum number of columns: ten minutes of a day each. Thinner ones cannot be told apart on a phone."""

PAUSE_STEPS = 3
"""Number of intervals without a point after which a line is broken."""


class Frame(NamedTuple):
    """The part of the plane that a chart shows."""

    start_ms: int
    end_ms: int
    low: float
    high: float

    def x(self, at_ms: int) -> float:
        """Return the x of a moment."""
        return (at_ms - self.start_ms) / (self.end_ms - self.start_ms) * WIDTH

    def y(self, value: float) -> float:
        """Return the y of a value."""
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def chart(
    title: str,
    series: Series,
    start_ms: int,
    end_ms: int,
    words: Words,
    *,
    are_counts: bool = False,
    limit: float | None = None,
    from_zero: bool = True,
    ends: tuple[str, ...] = ("24 h ago", "12 h ago", "now"),
) -> str:
    """Draw a series from `start_ms` to `end_ms`, as a line or as columns of counts, with the limit as a line.

    `words` writes a value with its unit, `ends` are the texts of moments at equal distances. Without points
    the chart says that nothing was measured.
    """
    points = [(at, value) for at, value in series.points if start_ms <= at <= end_ms]
    head = f'<figure class="chart"><figcaption><strong>{escape(title)}</strong>'
    if not points:
        return f'{head}</figcaption><p class="none">nothing measured</p></figure>'
    values = [value for _, value in points]
    frame = Frame(start_ms, end_ms, *_scale(values, limit, from_zero or are_counts))
    grid = "".join(f"M{WIDTH * quarter / 4:g} 0V{HEIGHT}" for quarter in (1, 2, 3))
    marks = f'<path class="grid" d="{grid}M0 {frame.y(frame.low):.1f}H{WIDTH}"/>'
    keys: dict[str, str] = {}  # facts with a mark of their own, and its CSS class
    if are_counts:
        keys = {"mean": "mean", "highest": "peak"}
        drawn, facts = _columns(points, series.step_ms, frame, words)
    else:
        drawn, facts = _line(points, series.step_ms, frame), _facts(values, words)
    marks += drawn
    if limit is not None:
        marks += f'<path class="limit" d="M0 {frame.y(limit):.1f}H{WIDTH}"/>'
        facts, keys["limit"] = {**facts, "limit": words(limit)}, "limit"
    return (
        f'{head} <span class="said">{_keyed(facts, keys)}</span></figcaption>'
        f'<div class="plot"><div class="scale" aria-hidden="true"><span>{escape(words(frame.high))}</span>'
        f"<span>{escape(words(frame.low))}</span></div>"
        f"{_svg(title, _said(facts), (WIDTH, HEIGHT), marks, stretched=True)}"
        f'<div class="ends" aria-hidden="true">{"".join(f"<span>{escape(end)}</span>" for end in ends)}</div>'
        "</div></figure>"
    )


def sparkline(title: str, values: Sequence[float], words: Words) -> str:
    """Draw a small line without axes, from its lowest to its highest value. Below two values draw nothing.

    The values have equal distances: the hours in which a market is closed take no room.
    """
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    top, room = (20.0, (SPARK_HEIGHT - 40) / (high - low)) if high > low else (SPARK_HEIGHT / 2, 0.0)
    places = zip(_places(len(values)), values, strict=True)
    path = "L".join([f"{x} {int(top + (high - value) * room)}" for x, value in places])
    mark = f'<path class="{direction(values)}" d="M{path}"/>'
    return _svg(title, _said(_facts(values, words)), (SPARK_WIDTH, SPARK_HEIGHT), mark)


@lru_cache
def _places(count: int) -> tuple[int, ...]:
    """Return the x of each of so many values of a sparkline."""
    return tuple(10 + round(place * (SPARK_WIDTH - 20) / (count - 1)) for place in range(count))


_MARKS: dict[HourState, tuple[str, ...]] = {
    HourState.STORED: ("5",),
    HourState.PENDING: ("5",),
    HourState.CLOSED: ("9.2",),
    HourState.MISSING: ("7.4",),
    HourState.FAILED: ("3", "9"),
}
"""The middles of the marks of an hour. Height and place tell the states apart as well as the colours do."""


@lru_cache(maxsize=4096)  # most assets of a market are alike
def hour_bars(day: Day) -> str:
    """Draw a mark for each hour, the oldest left. The style has their colours and heights, and the gaps
    between hours by dashes."""
    runs: dict[HourState, list[tuple[int, int]]] = {}
    place = 0
    for state, members in groupby(day.hours):
        length = sum(1 for _ in members)
        runs.setdefault(state, []).append((place, length))
        place += length
    marks = "".join(
        f'<path class="{state}{number or ""}" d="{path}"/>'
        for state, pieces in runs.items()
        for number, middle in enumerate(_MARKS[state])
        if (path := "".join(f"M{first} {middle}h{length}" for first, length in pieces))
    )
    said = ", ".join(_told(state, runs[state], day) for state in HourState if state in runs)
    return (
        f'<svg class="hours" viewBox="0 0 {len(day.hours)} 10" preserveAspectRatio="none" role="img">'
        f"<title>24 hours up to {moment(day.end_ms)}: {said}</title>{marks}</svg>"
    )


def hour_sample(state: HourState) -> str:
    """Draw the mark of one hour, for a legend."""
    marks = "".join(
        f'<path class="{state}{number or ""}" d="M0 {middle}h1"/>'
        for number, middle in enumerate(_MARKS[state])
    )
    return (
        f'<svg class="hours" viewBox="0 0 1 10" preserveAspectRatio="none" aria-hidden="true">{marks}</svg>'
    )


_NAMED = (HourState.MISSING, HourState.FAILED)
"""States of which it is told when they were."""


def _told(state: HourState, pieces: Sequence[tuple[int, int]], day: Day) -> str:
    """Return how many hours are in a state, as `2 missing (03:00 to 05:00)`."""
    count = sum(length for _, length in pieces)
    if state not in _NAMED:
        return f"{count} {state}"
    first_ms = day.end_ms - len(day.hours) * HOUR_MS
    ranges = ", ".join(
        f"{_clock(first_ms + start * HOUR_MS)} to {_clock(first_ms + (start + length) * HOUR_MS)}"
        for start, length in pieces
    )
    return f"{count} {state} ({ranges})"


def _clock(at_ms: int) -> str:
    return from_ms(at_ms).strftime("%H:%M")


def stacked(parts: Mapping[str, int]) -> str:
    """Draw numbers as parts of one bar. The style has their colours, by name; the words stand elsewhere."""
    shown = "".join(
        f'<span class="part {name}" style="flex-grow:{count}"></span>'
        for name, count in parts.items()
        if count
    )
    return f'<div class="stacked" aria-hidden="true">{shown}</div>'


def direction(values: Sequence[float]) -> str:
    """Return the CSS class of a line by its direction from the first value to the last."""
    return "up" if values[-1] >= values[0] else "down"


def _facts(values: Sequence[float], words: Words) -> dict[str, str]:
    return {"last": words(values[-1]), "lowest": words(min(values)), "highest": words(max(values))}


def _said(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _scale(values: Sequence[float], limit: float | None, from_zero: bool) -> tuple[float, float]:
    """Return the lowest and the highest value that a chart has room for; they differ."""
    shown = [*values, *([limit] if limit is not None else []), *([0.0] if from_zero else [])]
    low, high = min(shown), max(shown)
    if high > low:
        return low, high
    return (low, high + 1.0) if high == 0 else (low - abs(low) * 0.001, high + abs(high) * 0.001)


def _line(points: Points, step_ms: int, frame: Frame) -> str:
    """Draw a line that is broken at pauses. A point between two pauses is a dot."""
    pieces: list[list[str]] = []
    before: int | None = None
    for at, value in points:
        if before is None or at - before > PAUSE_STEPS * step_ms:
            pieces.append([])
        pieces[-1].append(f"{frame.x(at):.1f} {frame.y(value):.1f}")
        before = at
    path = "".join(f"M{'L'.join(piece)}" for piece in pieces if len(piece) > 1)
    dots = "".join(f"M{piece[0]}h0" for piece in pieces if len(piece) == 1)
    marks = f'<path class="data" d="{path}"/>' if path else ""
    return marks + (f'<path class="data dot" d="{dots}"/>' if dots else "")


def _columns(points: Points, step_ms: int, frame: Frame, words: Words) -> tuple[str, dict[str, str]]:
    """Draw columns with their facts: each is the mean of its intervals and, lighter, the highest of them.

    An interval without a point counted nothing. The last count is that of the newest interval, or of the one
    before while the newest has only begun.
    """
    values = [value for _, value in points]
    length_ms = frame.end_ms - frame.start_ms
    intervals = max(len(points), length_ms // step_ms)
    highest: dict[int, float] = {}
    total: dict[int, float] = {}
    for at, value in points:
        place = min(COLUMNS - 1, (at - frame.start_ms) * COLUMNS // length_ms)
        highest[place] = max(value, highest.get(place, 0.0))
        total[place] = total.get(place, 0.0) + value
    in_each = max(1.0, intervals / COLUMNS)
    means = {place: min(highest[place], value / in_each) for place, value in total.items()}
    wide, ground = WIDTH / COLUMNS, f"{frame.y(0):.1f}"
    marks = ""
    for kind, heights in (("peak", highest), ("mean", means)):
        path = "".join(
            f"M{place * wide:.1f} {ground}V{frame.y(value):.1f}H{(place + 1) * wide:.1f}V{ground}"
            for place, value in heights.items()
            if value > 0
        )
        marks += f'<path class="data {kind}" d="{path}"/>'
    has_newest = points[-1][0] > frame.end_ms - 2 * step_ms
    return marks, {
        "last": words(values[-1] if has_newest else 0.0),
        "lowest": words(min(values) if len(points) == intervals else 0.0),
        "mean": words(sum(values) / intervals),
        "highest": words(max(values)),
    }


def _keyed(facts: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """Write the facts, each with a sample of its mark if it has one."""
    return ", ".join(
        f'<span class="key {keys[name]}">{name} {escape(value)}</span>'
        if name in keys
        else f"{name} {escape(value)}"
        for name, value in facts.items()
    )


def _svg(title: str, said: str, size: tuple[int, int], marks: str, *, stretched: bool = False) -> str:
    ratio = ' preserveAspectRatio="none"' if stretched else ""
    return (
        f'<svg viewBox="0 0 {size[0]} {size[1]}"{ratio} role="img">'
        f"<title>{escape(title)}</title><desc>{escape(said)}</desc>{marks}</svg>"
    )
