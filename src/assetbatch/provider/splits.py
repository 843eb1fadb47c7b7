"""The splits that the provider lists, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from assetbatch.domain.numbers import positive
from assetbatch.domain.splits import Days, Split, SplitKind
from assetbatch.provider.answers import SplitsAnswer
from assetbatch.provider.decoding import LIST, Body, attempt, check, decode, text
from assetbatch.secret import Secret


class _Row(msgspec.Struct):
    ticker: Any = None
    execution_date: Any = None
    split_from: Any = None
    split_to: Any = None
    adjustment_type: Any = None


_ROW = msgspec.json.Decoder(_Row)

_DAY = timedelta(days=1)

_LARGEST = 1e6
"""The most shares that a split is of, or makes; the least is its inverse."""


def decode_splits(body: Body, asked: Days, key: Secret | None = None) -> SplitsAnswer:
    """Decode a page of `/stocks/v1/splits`; raise Refusal if it is none.

    A bad row costs itself only. Rows of tickers that nobody keeps are for the caller to leave out.
    """
    envelope = decode(LIST, body, key)
    check(envelope, envelope.results, body, key)
    refused: Counter[str] = Counter()
    splits: dict[str, list[Split]] = {}
    useless: dict[str, set[date]] = {}
    days: list[date] = []
    unplaced = False
    for raw in envelope.results or ():
        row = attempt(_ROW, raw)
        ticker = text(row.ticker).strip() if row else ""
        day = _day(row.execution_date) if row else None
        if row is None or not ticker or day is None:
            refused["undecodable" if row is None else "ticker" if not ticker else "date"] += 1
            unplaced = True
        elif day not in asked:
            refused["outside"] += 1
        else:
            days.append(day)
            if (split := _split(row, day)) is None:
                refused["ratio"] += 1
                useless.setdefault(ticker, set()).add(day)
            else:
                splits.setdefault(ticker, []).append(split)
    settled, rest = _reach(days, asked, is_full=bool(text(envelope.next_url)))
    return SplitsAnswer(
        splits=splits,
        useless=useless,
        refused=refused,
        settled=settled if splits and not unplaced else None,  # an empty list is more likely cut than true
        rest=rest,
    )


def _reach(days: Sequence[date], asked: Days, *, is_full: bool) -> tuple[Days | None, Days | None]:
    """Return the days that a page is complete for, and those that are left.

    A full page was asked for in the order of the days, so it is complete up to the day before its last. That
    day is asked for again: no page of a cursor has to be remembered.
    """
    if not is_full:
        return asked, None
    if not days:
        return None, None
    last = max(days)
    whole = last > asked.first and list(days) == sorted(days)
    begin = max(last, asked.first + _DAY)  # a day that fills a whole page is given up
    rest = Days(begin, asked.last) if begin <= asked.last else None
    return Days(asked.first, last - _DAY) if whole else None, rest


def _day(said: object) -> date | None:
    try:
        return date.fromisoformat(text(said).strip())
    except ValueError:
        return None


def _split(row: _Row, day: date) -> Split | None:
    """Return the split of a row, or None where its ratio cannot be one."""
    before, after = positive(row.split_from), positive(row.split_to)
    if before is None or after is None or before == after:
        return None
    if not 1 / _LARGEST <= min(before, after) <= max(before, after) <= _LARGEST:
        return None
    try:
        kind = SplitKind(text(row.adjustment_type).strip().lower())
    except ValueError:  # a word that is new, or none: the ratio says it
        kind = SplitKind.FORWARD if after > before else SplitKind.REVERSE
    return Split(day, before, after, kind)
