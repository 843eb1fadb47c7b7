"""What the columns of the table of bars can hold, from their types alone.

A value that is too large, or a price that its column would round to 0, is found here before PostgreSQL is
asked. On a table of our own types there is nothing to check.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from assetbatch.database.names import OWN, Table
from assetbatch.database.statements import VALUES
from assetbatch.domain.models import Bar, DayBar

PRICES = ("open", "high", "low", "close", "vwap")

_INTEGERS = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
_LARGEST_REAL = 3.4028235e38
_SMALLEST_REAL = 7.1e-46
"""Half of the smallest real number: what is nearer to 0 is an underflow."""

_NUMERIC_HEADER = 4
"""Bytes that PostgreSQL adds to the modifier of a numeric."""


class Cause(StrEnum):
    """Why a bar cannot be stored."""

    VALUE = "value"
    """A value that its column, or a rule of the table, refuses."""
    NO_PARTITION = "no_partition"
    """No partition of the table takes its moment."""


class RejectedBar(NamedTuple):
    """Why the database refuses a bar."""

    error: str
    cause: Cause = Cause.VALUE


class Column(NamedTuple):
    """A column: `type` as declared, `base` without a domain and a modifier, `modifier` as in pg_attribute."""

    name: str
    type: str
    base: str
    modifier: int
    not_null: bool

    @property
    def scale(self) -> int | None:
        """Digits after the point of a numeric that limits them; None for every other type."""
        if self.base != "numeric" or self.modifier < _NUMERIC_HEADER:
            return None
        return (((self.modifier - _NUMERIC_HEADER) & 0x7FF) ^ 0x400) - 0x400  # 11 bits, signed

    @property
    def most(self) -> float | None:
        """The smallest value that is too large for the column; None where every double fits."""
        if self.base in _INTEGERS:
            return float(_INTEGERS[self.base]) + 0.5
        if self.base == "real":
            return _LARGEST_REAL
        if self.scale is None:
            return None
        precision = ((self.modifier - _NUMERIC_HEADER) >> 16) & 0xFFFF
        return 10.0 ** (precision - self.scale) - 0.5 * 10.0**-self.scale

    @property
    def least(self) -> float | None:
        """The smallest value above 0 that the column does not round to 0; None where there is none."""
        if self.base == "real":
            return _SMALLEST_REAL
        if self.base in _INTEGERS:
            return 0.5
        return None if self.scale is None else 0.5 * 10.0**-self.scale


class _Check:
    """A column's limits, worked out once: a page has thousands of bars."""

    def __init__(self, column: Column, table: Table) -> None:
        self._column = column
        self._table = table
        self._value_of = attrgetter(column.name)
        self._most = math.inf if column.most is None else column.most
        rounds = column.name in PRICES or column.base == "real"  # a volume of nearly 0 may be called 0
        self._least = (column.least or 0.0) if rounds else 0.0

    def error(self, bar: Bar | DayBar) -> str | None:
        """Return why the column cannot hold its value of the bar; None if it can."""
        value = self._value_of(bar)
        if value is None:
            return self._said("takes no NULL") if self._column.not_null else None
        if value >= self._most:
            return self._said(f"cannot hold {value!r}")
        if 0 < value < self._least:
            return self._said(f"would round {value!r} to 0")
        return None

    def _said(self, what: str) -> str:
        name = self._table.columns[self._column.name]
        return f"{self._table.place}.{name} ({self._column.type}) {what}"


class BarColumns:
    """The columns of the table of bars as they are, by our names."""

    def __init__(self, columns: Iterable[Column], table: Table = OWN.bars) -> None:
        self._table = table
        self.by_name: Mapping[str, Column] = {column.name: column for column in columns}
        narrow = (self.by_name[name] for name in VALUES if name in self.by_name)
        self._checks = [_Check(column, table) for column in narrow if _is_narrow(column)]

    @property
    def form(self) -> str:
        """The format of COPY: binary where the types are those of our own table, else text."""
        fits = all(column.type == _own_type(column.name) for column in self.by_name.values())
        is_ours = len(self._table.columns) == 2 + len(VALUES) and not self._table.constants
        return "binary" if fits and is_ours else "text"

    def error(self, bar: DayBar) -> str | None:
        """Return why the columns cannot hold a bar, by the first of them; None if they can."""
        return next(filter(None, (check.error(bar) for check in self._checks)), None)

    def rejected(self, bars: Collection[Bar]) -> dict[int, RejectedBar]:
        """Return the bars that their columns cannot hold, by start, with the first reason of each."""
        found: dict[int, RejectedBar] = {}
        for check in self._checks:
            for bar in bars:
                if error := check.error(bar):
                    found.setdefault(bar.t_ms, RejectedBar(error))
        return found


_NULLABLE = ("volume", "vwap", "trades")


def _is_narrow(column: Column) -> bool:
    if column.not_null and column.name in _NULLABLE:
        return True
    return column.most is not None and column.base != "bigint"


def _own_type(name: str) -> str:
    if name == "ts":
        return "timestamp with time zone"
    return "bigint" if name in ("symbol_id", "trades") else "double precision"
