"""The ledger of bars in PostgreSQL: a row for each span of a symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from assetbatch.database.session import Connection
from assetbatch.database.text import shortened, storable
from assetbatch.domain.coverage import record
from assetbatch.domain.models import CoveredInterval

ERROR_LIMIT = 200
"""Characters of an error message that are kept with a span."""


def decode(text: str | None) -> tuple[CoveredInterval, ...]:
    """The spans of the JSON array that the queries make of the rows of a symbol; none of NULL."""
    return msgspec.json.decode(text, type=tuple[CoveredInterval, ...]) if text else ()


def save(
    connection: Connection,
    news: Mapping[str, Sequence[CoveredInterval]],
    stored: Mapping[str, str],
    now_ms: int,
    encoding: str | None = None,
) -> None:
    """Write what the news change in the open transaction, by one statement; none where nothing changes.

    `stored` are the ledgers as JSON, read after the rows of the symbols were locked; `encoding` is the
    server's. Raises psycopg.Error.
    """
    gone: list[dict[str, object]] = []
    written: list[dict[str, object]] = []
    for symbol, some in news.items():
        known = decode(stored.get(symbol))
        spans = record(known, [_storable(span, encoding) for span in some])
        starts, unchanged = {span.start_ms for span in spans}, set(known)
        gone += [
            {"symbol": symbol, "start_ms": span.start_ms} for span in known if span.start_ms not in starts
        ]
        written += [
            {"symbol": symbol, **msgspec.structs.asdict(span)} for span in spans if span not in unchanged
        ]
    if gone or written:
        rows = {"gone": _json(gone), "written": _json(written), "now_ms": now_ms}
        connection.execute(connection.statements("coverage.save"), rows)


def _storable(span: CoveredInterval, encoding: str | None) -> CoveredInterval:
    if span.error is None:
        return span
    return msgspec.structs.replace(span, error=storable(shortened(span.error, ERROR_LIMIT), encoding))


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()
