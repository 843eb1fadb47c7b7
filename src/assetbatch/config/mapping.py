"""Reads `database.tables`: what a platform calls the tables and their columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from assetbatch.config.checking import ConfigProblem, KeyPath, unknown_key
from assetbatch.config.tables import BARS, OF_INSTRUMENTS, TABLES, Constant, TableMapping, TableMappings
from assetbatch.config.wording import kind_of, shown
from assetbatch.domain.status import OPEN, Status

FILLED = ("volume", "vwap", "trades")
"""The columns of bars in which `missing` may be written."""

OPTIONAL = {
    "symbols": ("name", "asset_type", "updated_at"),
    **dict.fromkeys(BARS, FILLED),
    "splits": ("fits",),
}
"""The columns that a platform may do without, by table."""

INSTRUMENTS = ("symbol", "polygon_ticker")
STATES = tuple(status.value for status in Status if status not in OPEN and status is not Status.FRESH)
"""The states that are written into `sync_status`."""

_LONGEST_NAME = 63
"""Maximum length of a name in PostgreSQL, in bytes."""

_COLUMN = f"a column's name of 1 to {_LONGEST_NAME} bytes"
_CONSTANT = "a text, a number, true or false: it is a further column of the platform with this value"


def read_tables(raw: object, path: KeyPath, problems: list[ConfigProblem]) -> TableMappings:
    """Return the mapping without its wrong parts; add these to the problems."""
    if not isinstance(raw, dict):
        text = f"found {kind_of(raw)}, expected a mapping with the keys {', '.join(TABLES)}"
        problems.append(ConfigProblem(path, text))
        return TableMappings()
    found: dict[str, TableMapping] = {}
    for name, value in raw.items():
        if name not in TABLES:
            problems.append(unknown_key(path, name, list(TABLES)))
        elif isinstance(value, dict):
            found[name] = _Reader(name, (*path, name), problems).table(value)
        elif value is not None:
            text = f"found {kind_of(value)}, expected a mapping of names"
            problems.append(ConfigProblem((*path, name), text))
    return TableMappings(**found)


class _Reader:
    """Reads the mapping of one table."""

    def __init__(self, name: str, path: KeyPath, problems: list[ConfigProblem]) -> None:
        self._name = name
        self._path = path
        self._problems = problems
        self._columns = TABLES[name]
        self._settings: tuple[str, ...] = ("table",)
        if name in BARS:
            self._settings = ("table", "instrument", "missing")
        elif name in OF_INSTRUMENTS:
            self._settings = ("table", "instrument")
        elif name == "sync_status":
            self._settings = ("table", "states")

    def table(self, raw: Mapping[object, object]) -> TableMapping:
        """Return the right parts of the mapping of a table."""
        columns: dict[str, str | None] = {}
        constants: dict[str, Constant] = {}
        settings: dict[str, Any] = {}
        taken: dict[str, str] = {}
        for key, value in raw.items():
            if not isinstance(key, str) or not _is_name(key):
                text = f"found the key {shown(key)}, expected {_COLUMN}"
                self._add((), f"{text} (YAML reads NO and yes without quotes as false and true)")
                continue
            if key in self._settings:
                if (read := self._setting(key, value)) is not None:
                    settings[key] = read
                continue
            column = None
            if key in self._columns:
                if not self._is_column(key, value):
                    continue
                columns[key] = column = value if _is_text(value) else None
            elif near := self._nearly(key, value):
                keys = ", ".join(self._keys)
                text = f"unknown key, did you mean {near}? expected one of {keys}, or a further column"
                self._add((key,), text)
            elif constant := self._constant(key, value):
                constants |= constant
                column = key
            if column in taken:
                self._add(
                    (key,),
                    f"found the column {shown(column)} again, expected every column once "
                    f"(first as {taken[column]})",
                )
            elif column is not None:
                taken[column] = key
        return TableMapping(columns=columns, constants=constants, **settings)

    @property
    def _keys(self) -> tuple[str, ...]:
        return (*self._settings, *self._columns)

    def _add(self, steps: KeyPath, text: str) -> None:
        self._problems.append(ConfigProblem((*self._path, *steps), text))

    def _setting(self, key: str, value: object) -> object:
        """Return the value of a key that is no column, or None if it is wrong."""
        if key == "table":
            parts = value.split(".") if isinstance(value, str) else []
            if len(parts) == 2 and all(map(_is_name, parts)):
                return value
            self._add((key,), f"found {shown(value)}, expected SCHEMA.NAME, such as trading.symbols")
        elif key == "instrument":
            if value in INSTRUMENTS:
                return value
            self._add((key,), f"found {shown(value)}, expected one of {', '.join(INSTRUMENTS)}")
        elif key == "missing":
            return dict(self._entries(key, value, FILLED, _is_number, "a number"))
        else:
            words = "the platform's word for it"
            return dict(self._entries(key, value, STATES, _is_text, words))
        return None

    def _entries(
        self, key: str, raw: object, names: tuple[str, ...], fits: Any, expected: str
    ) -> Iterator[tuple[str, Any]]:
        """Yield the right entries of a mapping with these names."""
        if not isinstance(raw, dict):
            self._add((key,), f"found {kind_of(raw)}, expected a mapping with the keys {', '.join(names)}")
            return
        for name, value in raw.items():
            if name not in names:
                self._problems.append(unknown_key((*self._path, key), name, list(names)))
            elif fits(value):
                yield name, value
            else:
                self._add((key, name), f"found {shown(value)}, expected {expected}")

    def _is_column(self, key: str, value: object) -> bool:
        optional = key in OPTIONAL.get(self._name, ())
        if _is_name(value) or (value is None and optional):
            return True
        self._add((key,), f"found {shown(value)}, expected {_COLUMN}{', or null for none' * optional}")
        return False

    def _nearly(self, key: str, value: object) -> str | None:
        """Return our key that was most likely meant, if any.

        One letter behind the first is wrong, and the value is no number.

        A short name tells too little: `uid` is a column of its own.
        """
        if isinstance(value, int | float):
            return None
        likely = (name for name in self._keys if len(name) > 3 and name[0] == key[0])
        return next((name for name in likely if _is_one_slip(key, name)), None)

    def _constant(self, key: str, value: object) -> dict[str, Constant]:
        is_left_open = isinstance(value, str) and not value.strip(".\u2026 ")  # as a hint shows it
        if (_is_text(value) and not is_left_open) or isinstance(value, bool) or _is_number(value):
            return {key: value}
        self._add((key,), f"found {shown(value)}, expected {_CONSTANT}")
        return {}


def _is_name(value: object) -> TypeGuard[str]:
    """Return whether PostgreSQL takes the value as a name.

    It is quoted where it is used, so any letter is right.
    """
    return _is_text(value) and "." not in value and len(value.encode()) <= _LONGEST_NAME


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != "" and value.isprintable()


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _is_one_slip(typed: str, meant: str) -> bool:
    """Return whether one letter is missing, too many or wrong, or two neighbours are exchanged."""
    if typed == meant or abs(len(typed) - len(meant)) > 1:
        return False
    at = next(
        (i for i, (a, b) in enumerate(zip(typed, meant, strict=False)) if a != b), min(len(typed), len(meant))
    )
    left, right = typed[at:], meant[at:]
    swapped = left[:2] == right[:2][::-1] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]
