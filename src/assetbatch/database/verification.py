"""Compare the bars of a batch with the stored ones before they are written, and record what differed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from assetbatch.database.bars import BarsOfSymbols, copy_batch
from assetbatch.database.session import Connection
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import Comparison, CoveredInterval, Look
from assetbatch.domain.verification import RECENT_MS, Tally, Verified, record, to_doubt

_ROWS = msgspec.json.Decoder(tuple[Verified, ...])
_TALLY = msgspec.json.Decoder(Tally)

_DIFFERENCE = ",\n".join(
    f"CASE WHEN k.old_{name} BETWEEN 1e-100 AND 1e100"
    f" THEN abs(k.{name}::float8 - k.old_{name}::float8) / k.old_{name}::float8 END"
    for name in ("open", "high", "low", "close")
)
"""The relative differences of the prices of a bar as SQL; of a price that cannot be one there is none."""

_SIZES = {"bars": BarSize.FIVE_MINUTES, "bars_1m": BarSize.ONE_MINUTE}
"""The size of the bars of each table."""


class Compared(NamedTuple):
    """What the looks of a batch have shown of each symbol, and what the coverage is to say of those of which
    too much differs."""

    found: dict[str, Comparison]
    doubted: dict[str, list[CoveredInterval]]


class _Known(NamedTuple):
    asked_again_ms: int | None
    rows: tuple[Verified, ...]


_NOTHING_KNOWN = _Known(None, ())


def load(connection: Connection, symbols: Iterable[str]) -> dict[str, tuple[Verified, ...]]:
    """Return what is known of the verified bars of each symbol, ascending; symbols without any are absent.

    Raise psycopg.Error.
    """
    return {symbol: known.rows for symbol, known in _load(connection, symbols).items()}


def tallies(connection: Connection, symbols: Iterable[str], now_ms: int) -> dict[str, Tally]:
    """Return what the comparisons of each symbol amount to; symbols without any are absent. Raise
    psycopg.Error."""
    arguments = {"symbols": list(symbols), "since_ms": now_ms - RECENT_MS}
    rows = connection.execute(connection.statements("verification.tally"), arguments)
    return {symbol: _TALLY.decode(text) for symbol, text in rows}


def compare(
    connection: Connection,
    looks: Mapping[str, Sequence[Look]],
    bars: BarsOfSymbols,
    forms: Mapping[str, str],
    tables: Mapping[str, str],
    coverage: Mapping[str, Sequence[CoveredInterval]],
    now_ms: int,
) -> Compared:
    """Compare the bars that came with those that are stored, and record what the looks of registered symbols
    show, in the open transaction.

    `tables` is the table of bars of each symbol, `forms` the form of COPY for each table; `coverage` is what
    is known of each symbol once the batch is stored. Raise psycopg.Error.
    """
    found: dict[str, list[Comparison]] = {
        symbol: [Comparison()] * len(some) for symbol, some in looks.items()
    }
    for of, form in forms.items():
        mine = {symbol: some for symbol, some in looks.items() if tables[symbol] == of}
        for symbol, number, comparison in _compared(connection, mine, bars, form, of, now_ms):
            found[symbol][number] = comparison
    known = _load(connection, looks)
    after: dict[str, Sequence[Verified]] = {}
    doubted: dict[str, list[CoveredInterval]] = {}
    for symbol, some in looks.items():
        before = known.get(symbol, _NOTHING_KNOWN)
        rows: Sequence[Verified] = before.rows
        for look, comparison in zip(some, found[symbol], strict=True):
            rows = record(rows, look, comparison)
        after[symbol] = rows
        news = to_doubt(coverage.get(symbol, ()), rows, before.asked_again_ms, now_ms)
        if news and not all(look.insisted for look in some):
            doubted[symbol] = news
    _save(connection, {symbol: one.rows for symbol, one in known.items()}, after, list(doubted), now_ms)
    return Compared(
        {
            symbol: sum(some, Comparison())
            for symbol, some in found.items()
            if any(look.usable for look in looks[symbol])
        },
        doubted,
    )


def _compared(
    connection: Connection,
    looks: Mapping[str, Sequence[Look]],
    bars: BarsOfSymbols,
    form: str,
    of: str,
    now_ms: int,
) -> list[tuple[str, int, Comparison]]:
    """Return what the usable looks show of the bars of one table: symbol, number of the look, comparison."""
    symbols = [symbol for symbol, some in looks.items() if any(look.usable for look in some)]
    if not symbols:
        return []
    copy_batch(connection, {symbol: bars.get(symbol, ()) for symbol in symbols}, form, of)
    places = [
        (symbol, number, asset, look)
        for asset, symbol in enumerate(symbols, start=1)
        for number, look in enumerate(looks[symbol])
        if look.usable
    ]
    rows = [
        {"number": at, "symbol": symbol, "asset": asset, "start_ms": look.start_ms, "end_ms": look.end_ms}
        for at, (symbol, _, asset, look) in enumerate(places)
    ]
    size = _SIZES[of]
    shown = connection.execute(
        connection.statements("verification.compare", of, difference=_DIFFERENCE),
        {"looks": _json(rows), "size_ms": size.ms, "bar_size": size.value, "now_ms": now_ms},
    ).fetchall()
    return [(places[at][0], places[at][1], Comparison(*counts)) for at, *counts in shown]


def _load(connection: Connection, symbols: Iterable[str]) -> dict[str, _Known]:
    rows = connection.execute(connection.statements("verification.load"), {"symbols": list(symbols)})
    return {symbol: _Known(asked_again_ms, _ROWS.decode(text)) for symbol, asked_again_ms, text in rows}


def _save(
    connection: Connection,
    before: Mapping[str, Sequence[Verified]],
    after: Mapping[str, Sequence[Verified]],
    doubted: Sequence[str],
    now_ms: int,
) -> None:
    gone: list[dict[str, object]] = []
    written: list[dict[str, object]] = []
    for symbol, rows in after.items():
        starts, unchanged = {row.start_ms for row in rows}, set(before.get(symbol, ()))
        gone += [
            {"symbol": symbol, "start_ms": row.start_ms}
            for row in before.get(symbol, ())
            if row.start_ms not in starts
        ]
        written += [{"symbol": symbol, "row": row} for row in rows if row not in unchanged]
    connection.execute(
        connection.statements("verification.save"),
        {"gone": _json(gone), "written": _json(written), "doubted": doubted, "now_ms": now_ms},
    )


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()
