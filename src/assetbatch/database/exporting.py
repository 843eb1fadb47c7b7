"""Read bars for files: as text, a piece at a time, and what tells one content from another."""

from __future__ import annotations

import io

from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements
from assetbatch.domain.exporting import Content, ExportSize, Piece
from assetbatch.domain.units import MINUTE_MS

_TABLES = {ExportSize.MINUTE: "bars_1m", ExportSize.DAY: "bars_1d"}


def load_range(connection: Connection, symbol: str, size: ExportSize, piece: Piece) -> tuple[int, int] | None:
    """Return the first and the last moment (ms) at which a stored bar begins within a range of a symbol; None
    where there is none. Raise psycopg.Error.

    Bars that are made of others are looked for where those are.
    """
    statement = connection.statements("export.load_range", source=_stored(connection.statements, size))
    ((first_ms, last_ms),) = connection.execute(statement, _arguments(symbol, piece)).fetchall()
    return None if first_ms is None else (first_ms, last_ms)


def load_content(connection: Connection, symbol: str, size: ExportSize, piece: Piece) -> Content:
    """Return what is stored for a piece; of bars that are made of others, what is stored of those. Raise
    psycopg.Error."""
    statement = connection.statements("export.load_content", source=_stored(connection.statements, size))
    ((bars, digest),) = connection.execute(statement, _arguments(symbol, piece)).fetchall()
    return Content(bars, digest)


def copy_bars(connection: Connection, symbol: str, size: ExportSize, piece: Piece) -> bytes:
    """Return the bars of a piece as lines of CSV without a header, ascending. Raise psycopg.Error."""
    source = _stored(connection.statements, size)
    if size.derived:
        width = f"interval '{size.derived.ms // MINUTE_MS} minutes'"
        source = connection.statements("derived.binned", width=width, between=source).decode()
    statement = connection.statements("export.copy_bars", source=source)
    connection.execute(connection.statements("export.set_format"))
    lines = io.BytesIO()  # a list of all rows would take 12 MB for a month of minutes
    with connection.cursor() as cursor, cursor.copy(statement, _arguments(symbol, piece)) as rows:
        for row in rows:
            lines.write(row)
    return lines.getvalue()


def _stored(statements: Statements, size: ExportSize) -> str:
    """Return the source of what is stored for bars of this size."""
    of = _TABLES.get(size, "bars")
    return statements(
        "export.days" if size is ExportSize.DAY else "derived.between",
        of,
        instrument=statements("export.instrument", of).decode(),
        since=statements("export.since").decode(),
        until=statements("export.until").decode(),
    ).decode()


def _arguments(symbol: str, piece: Piece) -> dict[str, object]:
    return {"symbol": symbol, "start_ms": piece.start_ms, "end_ms": piece.end_ms}
