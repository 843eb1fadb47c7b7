"""Write what an answer changes of the splits of stocks, and look whether the stored bars bear them out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import msgspec

from assetbatch.database.reading import askable
from assetbatch.database.session import Connection
from assetbatch.database.statements import doubled
from assetbatch.domain.splits import Days, KnownSplit, Listed, Split, SplitKind, SplitState, fits, learn

JUDGED_DAYS = 3 * 366
"""How many days back splits are compared with the bars."""

JUDGE_REACH_DAYS = 10
"""The greatest distance of a bar that judges a split, in days."""

MOST_JUDGED = 1_000
"""Maximum number of splits that are compared at a time."""


class Learned(NamedTuple):
    """What an answer has changed: the rows that were written, by symbol."""

    changed: Mapping[str, Sequence[KnownSplit]]

    def of_state(self, state: SplitState) -> list[tuple[str, Split]]:
        """Return the rows that have this state now, with their symbols."""
        return [
            (symbol, one.split) for symbol, some in self.changed.items() for one in some if one.state is state
        ]


def learn_answer(
    connection: Connection,
    listed: Mapping[str, Listed],
    symbols: Collection[str],
    settled: Days | None,
    now_ms: int,
) -> Learned:
    """Write what an answer changes of the splits of registered symbols, in the open transaction.

    `listed` are the rows by symbol; `symbols` are all that the answer was asked about, and `settled` the days
    of which it has every row. Raise psycopg.Error.
    """
    days = [split.execution_date for one in listed.values() for split in one.splits]
    days += list(settled or ())
    if not days:
        return Learned({})
    asked = askable(connection, symbols)
    known = _load(connection, asked, Days(min(days), max(days)))
    changed: dict[str, list[KnownSplit]] = {}
    for symbol in asked:
        news = learn(known.get(symbol, {}), listed.get(symbol, Listed()), settled)
        if news:
            changed[symbol] = news
    if changed:
        _save(connection, changed, now_ms)
    return Learned(changed)


def record_asked(connection: Connection, tickers: Mapping[str, str]) -> None:
    """Record that the splits of all times of these symbols were asked for, by the ticker of each. Raise
    psycopg.Error."""
    connection.execute(connection.statements("splits.record_asked"), {"tickers": _json(tickers)})


def find_unasked(connection: Connection, tickers: Mapping[str, str]) -> list[str]:
    """Return the registered symbols, ascending, whose splits of all times were not asked for by their ticker.

    Raise psycopg.Error.
    """
    kept = {symbol: tickers[symbol] for symbol in askable(connection, tickers)}
    rows = connection.execute(connection.statements("splits.find_unasked"), {"tickers": _json(kept)})
    return [symbol for (symbol,) in rows]


def judge(connection: Connection, today: date) -> list[tuple[str, Split]]:
    """Compare the applied splits with the bars around them and record it; return those that do not fit.

    `today` is a New York day. Raise psycopg.Error.
    """
    if "fits" not in connection.statements.names.splits.columns:
        return []
    bounds = {
        "since": date.fromordinal(today.toordinal() - JUDGED_DAYS),
        "today": today,
        "reach": JUDGE_REACH_DAYS,
        "most": MOST_JUDGED,
    }
    verdicts = []
    unfit = []
    for *row, before, after in connection.execute(connection.statements("splits.load_unjudged"), bounds):
        symbol, split = _split(row)
        verdict = fits(split, before, after)
        verdicts.append({"symbol": symbol, "execution_date": split.execution_date, "fits": verdict})
        if not verdict:
            unfit.append((symbol, split))
    if verdicts:
        connection.execute(connection.statements("splits.save_verdicts"), {"rows": _json(verdicts)})
    return unfit


def find_doubtful(connection: Connection, symbols: Iterable[str]) -> list[tuple[str, KnownSplit]]:
    """Return the splits of these symbols that a person should look at, the newest first. Raise
    psycopg.Error."""
    asked = {"symbols": askable(connection, symbols)}
    rows = connection.execute(connection.statements("splits.find_doubtful"), asked)
    return [_known(row) for row in rows]


def _load(connection: Connection, symbols: Sequence[str], days: Days) -> dict[str, dict[date, KnownSplit]]:
    arguments = {
        "symbols": list(symbols),
        "first": days.first,
        "last": days.last,
        "states": [state.value for state in SplitState],
    }
    found: dict[str, dict[date, KnownSplit]] = {}
    for row in connection.execute(connection.statements("splits.load"), arguments):
        symbol, known = _known(row)
        found.setdefault(symbol, {})[known.split.execution_date] = known
    return found


def _save(connection: Connection, changed: Mapping[str, Sequence[KnownSplit]], now_ms: int) -> None:
    rows = [
        {"symbol": symbol, "state": one.state, **msgspec.structs.asdict(one.split)}
        for symbol, some in changed.items()
        for one in some
    ]
    statements = connection.statements
    is_judged = "fits" in statements.names.splits.columns
    forgotten = doubled(statements("splits.forget_verdict").decode().rstrip()) if is_judged else ""
    connection.execute(
        statements("splits.save", forgotten=forgotten), {"rows": _json(rows), "now_ms": now_ms}
    )


def _known(row: Sequence[Any]) -> tuple[str, KnownSplit]:
    symbol, split = _split(row[:-1])
    return symbol, KnownSplit(split, SplitState(row[-1]))


def _split(row: Sequence[Any]) -> tuple[str, Split]:
    symbol, day, before, after, kind = row
    kinds = {one.value: one for one in SplitKind}  # a platform's own row may have another word
    return symbol, Split(day, before, after, kinds.get(kind, SplitKind.FORWARD))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
