"""Write bars into a file: CSV as PostgreSQL gives it, or Parquet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from assetbatch.domain.exporting import ExportFormat, ExportSize
from assetbatch.errors import ConfigError

PARQUET_HINT = "pipx inject assetbatch pyarrow; docs/installing.md has other ways"

ROWS_OF_A_GROUP = 40_000
"""Number of rows after which a row group of Parquet is written: it bounds the memory."""


class Writer(Protocol):
    """A file that is being written."""

    def write(self, lines: bytes) -> None:
        """Add lines of CSV without a header."""

    def close(self) -> None:
        """Write what is left. The file itself stays open."""


def writer_of(written_as: ExportFormat, size: ExportSize) -> Callable[[BinaryIO], Writer]:
    """Return what makes a writer of a file. Raise ConfigError if a package is missing."""
    if written_as is ExportFormat.CSV:
        return lambda file: _CsvWriter(file, size)
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError)
        why = "is not installed" if is_missing else f"cannot be loaded ({' '.join(str(error).split())})"
        raise ConfigError(f"pyarrow, which writes Parquet, {why}", hint=PARQUET_HINT) from None
    return lambda file: _ParquetWriter(pyarrow, file, size)


class _CsvWriter:
    """The lines as they come, below one line with the names of the columns."""

    def __init__(self, file: BinaryIO, size: ExportSize) -> None:
        self._file = file
        file.write(",".join(size.columns).encode() + b"\n")

    def write(self, lines: bytes) -> None:
        self._file.write(lines)

    def close(self) -> None:
        pass


class _ParquetWriter:
    """Columns of their own types: moments in UTC, days, doubles, whole numbers."""

    def __init__(self, arrow: Any, file: BinaryIO, size: ExportSize) -> None:
        time = arrow.date32() if size is ExportSize.DAY else arrow.timestamp("us", tz="UTC")
        kinds = [arrow.string(), time, *[arrow.float64()] * 6, arrow.int64()]
        self._arrow = arrow
        self._schema = arrow.schema(list(zip(size.columns, kinds, strict=True)))
        self._writer = arrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._tables: list[Any] = []

    def write(self, lines: bytes) -> None:
        if not lines:
            return
        csv = self._arrow.csv
        self._tables.append(
            csv.read_csv(
                self._arrow.BufferReader(lines),
                read_options=csv.ReadOptions(use_threads=False, column_names=self._schema.names),
                parse_options=csv.ParseOptions(newlines_in_values=False),
                convert_options=csv.ConvertOptions(
                    column_types=self._schema, null_values=[""], strings_can_be_null=False
                ),
            )
        )
        if sum(table.num_rows for table in self._tables) >= ROWS_OF_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._tables:
            self._writer.write_table(self._arrow.concat_tables(self._tables))
            self._tables.clear()
            # Else the memory grows: by 20 MB within a million bars.
            self._arrow.default_memory_pool().release_unused()

    def close(self) -> None:
        self._flush()
        self._writer.close()
