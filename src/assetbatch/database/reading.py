"""Load what is stored of a set of symbols: what planning and `status` need, in one query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from assetbatch.database import coverage, last_update
from assetbatch.database.names import Names
from assetbatch.database.session import Connection
from assetbatch.database.text import storable
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import IntervalState, StoredAsset
from assetbatch.domain.status import OPEN, Status

if TYPE_CHECKING:
    from assetbatch.domain.listings import Listing

BARS_OF_A_DAY = 288

_STATUSES = {status.value: status for status in Status if status not in OPEN}


def load(connection: Connection, symbols: Iterable[str]) -> dict[str, StoredAsset]:
    """Return the stored state of each symbol that is registered, in the order asked; the others are absent.

    Raise psycopg.Error.
    """
    asked = askable(connection, symbols)
    words = _words(connection.statements.names)
    found: dict[str, StoredAsset] = {}
    for (
        symbol,
        text,
        fetched_to_ms,
        last_sync_ms,
        sync_status,
        status_at_ms,
        error_message,
        word,
        last_bar_ms,
        intervals,
        rejected_ms,
        rejected_since_ms,
        bar_size,
        listing,
        coarse_from_ms,
        session_from_ms,
    ) in connection.execute(connection.statements("assets.load"), {"symbols": asked}).fetchall():
        update = last_update.read(text)
        found[symbol] = StoredAsset(
            symbol,  # by place: Python makes a dictionary for more than 15 names, ten times as slow
            update.last_price,
            update.bid,
            update.ask,
            update.daily_open,
            last_update.as_of_ms(update.timestamp),
            fetched_to_ms,
            last_sync_ms,
            platform_status=None if word == words.get(sync_status, sync_status) else word,
            sync_status=None if sync_status is None else _STATUSES.get(sync_status, Status.FAILED),
            status_at_ms=status_at_ms,
            error_message=error_message,
            last_bar_ms=last_bar_ms,
            coverage=coverage.decode(intervals),
            rejected_ms=rejected_ms,
            rejected_since_ms=rejected_since_ms,
            bar_size=None if bar_size is None else BarSize(bar_size),
            listing=None if listing is None else _listing(listing),
            coarse_from_ms=coarse_from_ms,
            session_from_ms=session_from_ms,
        )
    return {symbol: found[symbol] for symbol in asked if symbol in found}


def _listing(text: str) -> Listing:
    from assetbatch.domain.listings import Listing  # currencies have none

    return msgspec.json.decode(text, type=Listing)


def _words(names: Names) -> dict[str, str]:
    """Return the word that is written in the platform's row for each of our own."""
    return {ours: names.states.get(ours, ours) for ours in _STATUSES}


def closes(connection: Connection, symbols: Iterable[str], points: int) -> dict[str, list[tuple[int, float]]]:
    """Return (start of the bar in ms, close) of each symbol's newest 288 stored bars, ascending.

    Thinned to at most `points` of them; symbols without bars are absent. Raise psycopg.Error.
    """
    asked = askable(connection, symbols)
    arguments = {"symbols": asked, "every": -(-BARS_OF_A_DAY // points)}
    found: dict[str, list[tuple[int, float]]] = {}
    for symbol, start_ms, close in connection.execute(connection.statements("bars.load_closes"), arguments):
        found.setdefault(symbol, []).append((start_ms, float(close)))
    return found


def hourly_closes(connection: Connection, symbols: Iterable[str]) -> dict[str, list[float]]:
    """Return the last close of each of the newest 24 hours that have bars, ascending; symbols without bars
    are absent. Raise psycopg.Error."""
    rows = connection.execute(
        connection.statements("bars.load_hourly_closes"), {"symbols": askable(connection, symbols)}
    )
    return {symbol: [close for close in some if close is not None] for symbol, some in rows}


def recent_coverage(
    connection: Connection, symbols: Iterable[str], since_ms: int
) -> dict[str, list[tuple[int, int, IntervalState]]]:
    """Return the intervals `[start_ms, end_ms)` of bars that end after a moment, and what is known of each.

    Those of a symbol are ascending; symbols without any are absent. Raise psycopg.Error.
    """
    arguments = {"symbols": askable(connection, symbols), "since_ms": since_ms}
    row = connection.execute(connection.statements("coverage.load_recent"), arguments).fetchone()
    return msgspec.json.decode(row[0], type=dict[str, list[tuple[int, int, IntervalState]]]) if row else {}


def gaps(connection: Connection, ranges: Mapping[str, tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Return the intervals `[start_ms, end_ms)` without bars within a range of each symbol, ascending.

    A symbol that is not registered is absent. Raise psycopg.Error.
    """
    there = set(askable(connection, ranges))
    rows = [
        {"symbol": symbol, "start_ms": start_ms, "end_ms": end_ms}
        for symbol, (start_ms, end_ms) in ranges.items()
        if symbol in there
    ]
    found: dict[str, list[tuple[int, int]]] = {}
    document = msgspec.json.encode(rows).decode()
    for symbol, start_ms, end_ms in connection.execute(
        connection.statements("coverage.find_gaps"), {"ranges": document}
    ):
        found.setdefault(symbol, []).append((start_ms, end_ms))
    return found


def askable(connection: Connection, symbols: Iterable[str]) -> list[str]:
    """Return the symbols that the server's encoding can hold, each once: no others can be registered."""
    encoding = connection.info.parameter_status("server_encoding")
    return [symbol for symbol in dict.fromkeys(symbols) if storable(symbol, encoding) == symbol]
