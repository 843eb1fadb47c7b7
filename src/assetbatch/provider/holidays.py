"""The holidays and early closes that the provider lists, checked."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, time
from typing import Any

import msgspec

from assetbatch.domain.asset_classes import TradingDays
from assetbatch.domain.market_hours import new_york_zone
from assetbatch.domain.nyse import SpecialDay
from assetbatch.provider.answers import ListedDays
from assetbatch.provider.decoding import Body, attempt, decode, text
from assetbatch.provider.refusals import one_line
from assetbatch.secret import Secret


class _Row(msgspec.Struct):
    date: Any = None
    exchange: Any = None
    name: Any = None
    status: Any = None
    close: Any = None


_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ROW = msgspec.json.Decoder(_Row)

_EXCHANGES = ("NASDAQ", "NYSE")
"""The later one counts where both have a day."""

_ORDINARY = TradingDays()
_GRID_MINUTES = 5
"""A close is at the end of a bar."""


def decode_holidays(body: Body, key: Secret | None = None) -> ListedDays:
    """Decode the answer of `/v1/marketstatus/upcoming`; raise Refusal if it is no list.

    Nasdaq's row of a day counts where NYSE has none that is usable. Rows of other exchanges are passed over.
    """
    refused: Counter[str] = Counter()
    found: dict[str, dict[date, set[SpecialDay]]] = {name: defaultdict(set) for name in _EXCHANGES}
    for raw in decode(_LIST, body, key):
        row = attempt(_ROW, raw)
        exchange = text(row.exchange).strip().upper() if row else ""
        if row is None or not exchange:
            refused["undecodable"] += 1
            continue
        if exchange not in found:
            continue
        read = _read(row, key)
        if isinstance(read, str):
            refused[read] += 1
        else:
            day, special = read
            found[exchange][day].add(special)
    days: dict[date, SpecialDay] = {}
    for exchange in _EXCHANGES:
        for day, said in found[exchange].items():
            special = min(said, key=lambda one: one.name)
            if len({one.closes for one in said}) > 1:
                refused["contradiction"] += 1
                continue
            refused["exchange"] += day in days and days[day].closes != special.closes
            days[day] = special
    return ListedDays(days=dict(sorted(days.items())), refused=+refused)


def _read(row: _Row, key: Secret | None) -> tuple[date, SpecialDay] | str:
    """Return the day of a row, or the reason for which it is useless."""
    try:
        day = date.fromisoformat(text(row.date).strip())
    except ValueError:
        return "date"
    if day.weekday() > 4:
        return "date"
    name = one_line(text(row.name), key) or "a holiday without a name"
    match text(row.status).strip().lower().replace("_", "-"):
        case "closed":
            return day, SpecialDay(name)
        case "early-close":
            closes = _closing_time(text(row.close), day)
            return "close" if closes is None else (day, SpecialDay(name, closes))
        case _:
            return "status"


def _closing_time(said: str, day: date) -> time | None:
    """Return New York's time of a close, or None if that day cannot end then."""
    try:
        moment = datetime.fromisoformat(said.strip())
        if moment.tzinfo is None:
            return None
        local = moment.astimezone(new_york_zone())
    except (ValueError, OverflowError):
        return None
    at = local.time()
    on_grid = at == time(at.hour, at.minute) and at.minute % _GRID_MINUTES == 0
    possible = local.date() == day and _ORDINARY.opens < at <= _ORDINARY.closes
    return at if possible and on_grid else None
