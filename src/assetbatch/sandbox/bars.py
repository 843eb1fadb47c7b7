"""Rows of prices in whole ticks, how they are merged, and how a bar is divided into shorter ones.

A row is `(start_ms, open, high, low, close, volume, count, turnover)`. Prices are integers in units
of the instrument's last digit, so sums and comparisons are exact. `volume` is a count of quotes for
forex, in 1e-8 base units for crypto, in thousandths of a share for stocks, and 0 for indices; `count` counts
quotes or trades; `turnover` is the sum of volume times (open + high + low + close), from which the average
price follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import add
from typing import NamedTuple, Protocol

from assetbatch.sandbox.universe import Instrument

VOLUME_DIGITS = 8
VOLUME_UNITS = 10**VOLUME_DIGITS
"""Crypto volume is kept in units of 1e-8 of the base currency."""
SHARE_UNITS = 1_000
"""The volume of stocks is kept in thousandths of a share."""

Row = tuple[int, int, int, int, int, int, int, int]


class Bar(NamedTuple):
    """Rows merged into one: their number, and the starts of the first and the last of them."""

    row: Row
    rows: int
    first_ms: int
    last_ms: int


class Source(Protocol):
    """A source of prices, generated or recorded."""

    instruments: Mapping[str, Instrument]

    def grain_ms(self, instrument: Instrument, span_ms: int | None) -> int:
        """Return the length of the rows from which bars of `span_ms` are built; None: bars of whole days."""

    def rows(
        self, instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int, now_ms: int
    ) -> list[Row]:
        """Return rows that start in `[start_ms, end_ms)`, ascending, blind to `now_ms` and later."""

    def bar(
        self, instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int, now_ms: int
    ) -> Bar | None:
        """Return the result of `rows` merged, or None if there is none."""

    def next_data(self, instrument: Instrument, at_ms: int) -> int | None:
        """Return the first moment from `at_ms` on at which there may be a row, or None."""

    def last_data(self, instrument: Instrument, at_ms: int) -> int | None:
        """Return the last moment up to `at_ms` before which there may be a row, or None."""

    def last(self, instrument: Instrument, now_ms: int) -> tuple[Row, int] | None:
        """Return the newest row of at most a minute and the moment of its close, or None without any data."""

    def quote(self, instrument: Instrument, row: Row) -> tuple[int, int]:
        """Return bid and ask at the close of a row, in ticks."""


def merge(rows: Sequence[Row], start_ms: int) -> Row:
    """Return one row that starts at `start_ms` out of one or more consecutive rows."""
    return (
        start_ms,
        rows[0][1],
        max([row[2] for row in rows]),
        min([row[3] for row in rows]),
        rows[-1][4],
        sum([row[5] for row in rows]),
        sum([row[6] for row in rows]),
        sum([row[7] for row in rows]),
    )


def bar_of(rows: Sequence[Row], start_ms: int) -> Bar | None:
    """Return the bar that starts at `start_ms` and consists of the rows, or None without any."""
    return Bar(merge(rows, start_ms), len(rows), rows[0][0], rows[-1][0]) if rows else None


def divide(row: Row, parts: int, part_ms: int, noise: bytes) -> tuple[Row | None, ...]:
    """Return the `parts` rows of `part_ms` of which `row` consists, with None for those without a quote.

    Merged they give the row's open, high, low, close, volume and count again. `noise` holds three bytes
    for each part.
    """
    start_ms, opened, high, low, closed, volume, count, _ = row
    # Shares of the count by weight; rounding the running sum down keeps the total exact.
    weights = list(accumulate([32 + byte for byte in noise[:parts]]))
    total = weights[-1]
    counted = [0, *[count * weight // total for weight in weights]]
    active = [part for part in range(parts) if counted[part + 1] > counted[part]]
    # A walk from open to close over the parts with quotes, kept within low and high.
    steps = len(active)
    walked = list(accumulate([noise[parts + part] - 128 for part in active]))
    scale = (high - low) / (160 * steps**0.5)
    slope = (closed - opened - scale * walked[-1]) / steps
    path = [opened]
    for step in range(1, steps):
        level = int(opened + slope * step + scale * walked[step - 1])
        path.append(low if level < low else high if level > high else level)
    path.append(closed)
    middles = list(map(add, path, path[1:]))
    peak, trough = middles.index(max(middles)), middles.index(min(middles))
    reach = (high - low) // 4
    out: list[Row | None] = [None] * parts
    for step, part in enumerate(active):
        first, last = path[step], path[step + 1]
        top, bottom = (first, last) if first > last else (last, first)
        wick = noise[2 * parts + part]
        top += reach * (wick >> 4) // 16
        bottom -= reach * (wick & 15) // 16
        if top > high or step == peak:
            top = high
        if bottom < low or step == trough:
            bottom = low
        before, after = counted[part], counted[part + 1]
        part_volume = volume * after // count - volume * before // count
        turnover = part_volume * (first + top + bottom + last)
        out[part] = (
            start_ms + part * part_ms,
            first,
            top,
            bottom,
            last,
            part_volume,
            after - before,
            turnover,
        )
    return tuple(out)
