"""The coverage of bars in PostgreSQL: a row for each interval of a symbol."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.database.session import Connection
from assetbatch.database.text import shortened, storable
from assetbatch.domain.coverage import ANSWERED, record, unanswered
from assetbatch.domain.models import END_OF_TIME_MS, CoveredInterval

if TYPE_CHECKING:
    from assetbatch.domain.bar_sizes import BarSize

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
    in_session: Collection[str] = (),
) -> None:
    """Write what changes of the coverage in the open transaction, by one statement; none where nothing
    changes.

    `stored` is the coverage as JSON, read after the rows of the symbols were locked; `encoding` is the
    server's. `minutes` are the symbols that were asked for in bars of one minute, `in_session` those of which
    bars beside the session were left out. Raise psycopg.Error.
    """
    gone: list[dict[str, object]] = []
    written: list[dict[str, object]] = []
    before = {symbol: decode(stored.get(symbol)) for symbol in news}
    for symbol, some in news.items():
        known = before[symbol]
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
        asked = {
            symbol: from_ms
            for symbol, some in news.items()
            if (from_ms := _answered_from(some, before[symbol])) is not None
        }
        rows = {
            "gone": _json(gone),
            "written": _json(written),
            "now_ms": now_ms,
            # What was asked for in bars of five minutes stays so until it is asked for again.
            "in_minutes": [s for s in asked if s in minutes and _answered_from(before[s]) is None],
            "in_five_minutes": _json(
                [{"symbol": s, "from_ms": from_ms} for s, from_ms in asked.items() if s not in minutes]
            ),
        }
        connection.execute(connection.statements("coverage.save"), rows)
        if in_session := [symbol for symbol in in_session if symbol in asked]:
            firsts = {s: _answered_from([*before[s], *news[s]]) for s in in_session}
            kept = [{"symbol": s, "from_ms": asked[s], "first_ms": firsts[s]} for s in in_session]
            connection.execute(connection.statements("coverage.save_session"), {"rows": _json(kept)})


def _answered_from(some: Iterable[CoveredInterval], before: Sequence[CoveredInterval] = ()) -> int | None:
    """Return the first moment that was answered, and was not `before`; None without any."""
    new = (
        part for one in some if one.state in ANSWERED for part in unanswered(before, one.start_ms, one.end_ms)
    )
    return min((part.start_ms for part in new), default=None)


def ask_again(
    connection: Connection, less: Mapping[str, int], sizes: Mapping[str, BarSize], now_ms: int
) -> None:
    """Want everything once more that was answered from a moment of each symbol on, in bars of its size now.

    It happens in the open transaction. Raise psycopg.Error.
    """
    connection.execute(connection.statements("assets.lock"), {"symbols": list(less), "now_ms": now_ms})
    parts = [{"symbol": s, "from_ms": from_ms, "bar_size": sizes[s].value} for s, from_ms in less.items()]
    arguments = {"parts": _json(parts), "now_ms": now_ms, "never_ms": END_OF_TIME_MS}
    connection.execute(connection.statements("coverage.part"), arguments)
    connection.execute(connection.statements("coverage.ask_again"), arguments)


def _storable(interval: CoveredInterval, encoding: str | None) -> CoveredInterval:
    if interval.error is None:
        return interval
    return msgspec.structs.replace(interval, error=storable(shortened(interval.error, ERROR_LIMIT), encoding))


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()
