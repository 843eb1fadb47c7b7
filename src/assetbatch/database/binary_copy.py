"""Bars as rows of PostgreSQL's binary COPY, packed a symbol at a time.

A row is the number of its values, then the length and the bytes of each value; the length -1 is a NULL. All
is big-endian. psycopg's `write_row` makes the same bytes in three times the CPU time.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from itertools import islice
from typing import NamedTuple

import psycopg

from assetbatch.domain.models import Bar


class Unit(NamedTuple):
    """What the second column holds: the moment that is 0, in Unix ms, and how many units a ms has."""

    zero_ms: int
    of_a_ms: int


MILLISECONDS = Unit(0, 1)
"""Unix milliseconds, as in the table of a batch."""

MICROSECONDS = Unit(946_684_800_000, 1000)
"""A timestamptz: microseconds since 2000-01-01 UTC (see timestamptz_send of PostgreSQL)."""

BLOCK = 5_000
"""Maximum number of rows that are packed at once: 50,000 would take 12 MB."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"

_BEGIN = struct.Struct(">hiqi")
_WHOLE = struct.Struct(f">{_BEGIN.size}sqididididididiq")
_PRICES = struct.Struct(f">{_BEGIN.size}sqidididid")
_DOUBLE = struct.Struct(">id")
_INTEGER = struct.Struct(">iq")
_NULL = struct.pack(">i", -1)


def write(copy: psycopg.Copy, bars: Iterable[tuple[int, Collection[Bar]]], unit: Unit) -> None:
    """Write all rows of a COPY: the number of a symbol (bigint), the start of a bar in `unit`, its values
    (double precision; trades bigint). Raise psycopg.Error.
    """
    copy.write(_SIGNATURE)
    for number, some in bars:
        left = iter(some)
        while block := tuple(islice(left, BLOCK)):
            copy.write(_rows(number, block, unit))
    copy.write(_END)


def _rows(number: int, bars: Collection[Bar], unit: Unit) -> bytes:
    begin = _BEGIN.pack(9, 8, number, 8)
    zero_ms, of_a_ms = unit
    pack = _WHOLE.pack
    try:
        rows = [
            pack(begin, (bar.t_ms - zero_ms) * of_a_ms, 8, bar.open, 8, bar.high, 8, bar.low, 8, bar.close,
                 8, bar.volume, 8, bar.vwap, 8, bar.trades)
            for bar in bars
        ]  # fmt: skip
    except struct.error:  # None is no number
        rows = [_row(begin, (bar.t_ms - zero_ms) * of_a_ms, bar) for bar in bars]
    return b"".join(rows)


def _row(begin: bytes, start: int, bar: Bar) -> bytes:
    """Return a row in which each value may be NULL."""
    volume, vwap, trades = bar.volume, bar.vwap, bar.trades
    return b"".join(
        (
            _PRICES.pack(begin, start, 8, bar.open, 8, bar.high, 8, bar.low, 8, bar.close),
            _NULL if volume is None else _DOUBLE.pack(8, volume),
            _NULL if vwap is None else _DOUBLE.pack(8, vwap),
            _NULL if trades is None else _INTEGER.pack(8, trades),
        )
    )
