"""Bars as rows of PostgreSQL's binary COPY, packed a symbol at a time.

A row is the number of its values, then the length and the bytes of each value; the length -1 is a NULL. All
is big-endian. psycopg's `write_row` makes the same bytes in three times the CPU time.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
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
    (double precision; trades bigint). Raises psycopg.Error.
    """
    copy.write(_SIGNATURE)
    for number, some in bars:
        copy.write(_rows(number, some, unit))
    copy.write(_END)


def _rows(number: int, bars: Iterable[Bar], unit: Unit) -> bytes:
    begin = _BEGIN.pack(9, 8, number, 8)
    zero_ms, of_a_ms = unit
    pack = _WHOLE.pack
    rows: list[bytes] = []
    for bar in bars:
        ts, o, h, l, c = (bar.t_ms - zero_ms) * of_a_ms, bar.open, bar.high, bar.low, bar.close  # noqa: E741
        v, vw, n = bar.volume, bar.vwap, bar.trades
        if v is None or vw is None or n is None:
            rows += (
                _PRICES.pack(begin, ts, 8, o, 8, h, 8, l, 8, c),
                _NULL if v is None else _DOUBLE.pack(8, v),
                _NULL if vw is None else _DOUBLE.pack(8, vw),
                _NULL if n is None else _INTEGER.pack(8, n),
            )
        else:
            rows.append(pack(begin, ts, 8, o, 8, h, 8, l, 8, c, 8, v, 8, vw, 8, n))
    return b"".join(rows)
