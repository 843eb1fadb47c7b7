"""What an export writes: its sizes, its months, its files, and which of them are out of date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePath
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from assetbatch.domain.bar_sizes import DerivedSize
from assetbatch.domain.market_hours import from_ms, month_of, to_ms

EARLIEST_MS = to_ms(datetime(1900, 1, 1, tzinfo=UTC))
LATEST_MS = to_ms(datetime(2200, 1, 1, tzinfo=UTC))
"""No bar is older or younger."""

MANIFEST = "assetbatch-export.json"
"""The file that says what the others beside it hold."""

MANIFEST_VERSION = 1
"""A manifest of another version counts as none: every file is written again."""


class ExportSize(StrEnum):
    """Size of the bars that are exported."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    QUARTER = "15m"
    HOUR = "1h"
    FOUR_HOURS = "4h"
    DAY = "1d"

    @property
    def derived(self) -> DerivedSize | None:
        """The size, if its bars are made of bars of five minutes."""
        return next((size for size in DerivedSize if size.value == self.value), None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a file."""
        time = "day" if self is ExportSize.DAY else "ts"
        return ("symbol", time, "open", "high", "low", "close", "volume", "vwap", "trades")


class ExportFormat(StrEnum):
    """Format of a file."""

    CSV = "csv"
    PARQUET = "parquet"


class Piece(NamedTuple):
    """A range `[start_ms, end_ms)` that lies within one month (UTC)."""

    start_ms: int
    end_ms: int

    @property
    def month(self) -> str:
        """The month as a file is named after it: 2024-11."""
        return f"{from_ms(self.start_ms):%Y-%m}"


class Content(NamedTuple):
    """What is stored in a piece: the number of bars, and a hash of them all. Both are 0 where none are."""

    bars: int
    digest: int


class Written(msgspec.Struct, frozen=True):
    """A file as it was written: what was stored then, and its size in bytes."""

    bars: int
    digest: int
    bytes: int


class Manifest(msgspec.Struct):
    """The files of a folder by their names."""

    version: int = MANIFEST_VERSION
    files: dict[str, Written] = {}


def pieces(start_ms: int, end_ms: int, *, whole: bool) -> Iterator[Piece]:
    """Yield the months of a range, cut at its ends; if `whole`, each from its first to its last moment."""
    at_ms = start_ms
    while at_ms < end_ms:
        next_ms = month_of(at_ms, 1)
        yield Piece(month_of(at_ms), next_ms) if whole else Piece(at_ms, min(next_ms, end_ms))
        at_ms = next_ms


def file_of(symbol: str, size: ExportSize, month: str, written_as: ExportFormat) -> PurePath:
    """Return where a month of a symbol lies in the folder: XAUUSD/5m/2024-11.parquet.

    A character of the symbol that no path should have is percent-encoded.
    """
    folder = quote(symbol, safe="")
    if folder.startswith("."):
        folder = f"%2E{folder[1:]}"
    return PurePath(folder, size.value, f"{month}.{written_as}")


def is_current(written: Written | None, content: Content, size: int | None) -> bool:
    """Return whether a file of `size` bytes (None: it is not there) holds what is stored."""
    return written is not None and (written.bars, written.digest, written.bytes) == (*content, size)
