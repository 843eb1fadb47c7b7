"""The coverage of bars in PostgreSQL: a row for each interval of a symbol."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from assetbatch.database.session import Connection
from assetbatch.database.text import shortened, storable
from assetbatch.domain.coverage import ANSWERED, record
from assetbatch.domain.models import CoveredInterval

ERROR_LIMIT = 200
"""Maximum number of characters of an error message that is kept with an interval."""

_INTERVALS = msgspec.json.Decoder(tuple[CoveredInterval, ...])


def decode(text: str | None) -> tuple[CoveredInterval, ...]:
    """Return the intervals of the JSON array that the queries make of the rows of a symbol; none of NULL."""
    return _INTERVALS.decode(text) if text else ()


def save(
    connection: Connection,
    news: Mapping[str, Sequence[CoveredInterval]],
    stored: Mapping[str, str],
    now_ms: int,
    encoding: str | None = None,
    *,
    minutes: Collection[str] = (),
) -> None:
    """Write what changes of the coverage in the open transaction, by one statement; none where nothing
    changes.

    `stored` is the coverage as JSON, read after the rows of the symbols were locked; `encoding` is the
    server's. `minutes` are the symbols that were asked for in bars of one minute. Raise psycopg.Error.
    """
    gone: list[dict[str, object]] = []
    written: list[dict[str, object]] = []
    for symbol, some in news.items():
        known = decode(stored.get(symbol))
        intervals = record(known, [_storable(interval, encoding) for interval in some])
        starts, unchanged = {interval.start_ms for interval in intervals}, set(known)
        gone += [
            {"symbol": symbol, "start_ms": interval.start_ms}
            for interval in known
            if interval.start_ms not in starts
        ]
        written += [
            {"symbol": symbol, **msgspec.structs.asdict(interval)}
            for interval in intervals
            if interval not in unchanged
        ]
    if gone or written:
        asked = [symbol for symbol, some in news.items() if _has_answers(some)]
        rows = {
            "gone": _json(gone),
            "written": _json(written),
            "now_ms": now_ms,
            # What was asked for in bars of five minutes stays so until it is asked for again.
            "in_minutes": [s for s in asked if s in minutes and not _has_answers(decode(stored.get(s)))],
            "in_five_minutes": [symbol for symbol in asked if symbol not in minutes],
        }
        connection.execute(connection.statements("coverage.save"), rows)


def _has_answers(some: Sequence[CoveredInterval]) -> bool:
    return any(one.state in ANSWERED for one in some)


def ask_again(connection: Connection, symbols: Sequence[str], now_ms: int) -> None:
    """Want everything that was asked for in bars of five minutes once more, in bars of one minute, in the
    open transaction. Raise psycopg.Error."""
    connection.execute(connection.statements("assets.lock"), {"symbols": symbols, "now_ms": now_ms})
    arguments = {"symbols": symbols, "now_ms": now_ms}
    connection.execute(connection.statements("coverage.ask_again"), arguments)


def _storable(interval: CoveredInterval, encoding: str | None) -> CoveredInterval:
    if interval.error is None:
        return interval
    return msgspec.structs.replace(interval, error=storable(shortened(interval.error, ERROR_LIMIT), encoding))


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()
