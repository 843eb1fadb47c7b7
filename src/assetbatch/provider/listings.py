"""What the reference says of one ticker, and the tickers that its company has had, checked."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from assetbatch.domain.listings import Details, TickerChange
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.decoding import LIST, Body, attempt, check, decode, text
from assetbatch.provider.refusals import Refusal, classify, one_line
from assetbatch.secret import Secret


class _Details(msgspec.Struct):
    ticker: Any = None
    active: Any = None
    list_date: Any = None
    delisted_utc: Any = None
    composite_figi: Any = None


class _DetailsEnvelope(msgspec.Struct):
    results: _Details | None = None


class _Events(msgspec.Struct):
    events: list[msgspec.Raw] | None = None


class _EventsEnvelope(msgspec.Struct):
    results: _Events | None = None


class _Change(msgspec.Struct):
    ticker: Any = None


class _Event(msgspec.Struct):
    date: Any = None
    ticker_change: _Change | None = None


_ROW = msgspec.json.Decoder(_Details)
_DETAILS = msgspec.json.Decoder(_DetailsEnvelope)
_EVENTS = msgspec.json.Decoder(_EventsEnvelope)
_EVENT = msgspec.json.Decoder(_Event)


def decode_details(body: Body, ticker: str, key: Secret | None = None) -> Details:
    """Decode the answer of `/v3/reference/tickers/{ticker}`; raise Refusal if it is none, or that of another
    ticker. Only the word that it is not active says that it is delisted."""
    found = decode(_DETAILS, body, key).results
    if found is None:
        raise classify(200, body, {}, key)
    if found.ticker != ticker:
        other = one_line(text(found.ticker), key) or "something else"
        raise Refusal(RefusalKind.NONSENSE, f"the answer for {ticker} is one for {other}", http_status=200)
    return _checked(found)


def decode_ended(body: Body, ticker: str, key: Secret | None = None) -> Details | None:
    """Decode the list of those who had a ticker and have it no more; return the last of them. Raise Refusal
    if the answer is none. A row of another ticker, or of one that is active, counts for nothing."""
    envelope = decode(LIST, body, key)
    check(envelope, envelope.results, body, key)
    rows = (attempt(_ROW, raw) for raw in envelope.results or ())
    found = [_checked(row) for row in rows if row and row.ticker == ticker and row.active is False]
    return max(found, key=lambda one: (one.delisted or date.min, one.figi), default=None)


def _checked(found: _Details) -> Details:
    return Details(
        is_active=found.active is not False,
        list_date=_day(found.list_date),
        delisted=_day(found.delisted_utc),
        figi=_figi(found.composite_figi),
    )


def decode_changes(body: Body, key: Secret | None = None) -> tuple[TickerChange, ...]:
    """Decode the answer of `/vX/reference/tickers/{id}/events`; raise Refusal if it is none. An event that
    cannot be used is passed over."""
    found = decode(_EVENTS, body, key).results
    if found is None:
        raise classify(200, body, {}, key)
    events = [attempt(_EVENT, raw) for raw in found.events or ()]
    return tuple(
        TickerChange(day, ticker)
        for event in events
        if event is not None
        and event.ticker_change is not None
        and (day := _day(event.date)) is not None
        and (ticker := one_line(text(event.ticker_change.ticker), key))
    )


def _day(said: object) -> date | None:
    """Return the day of a date or of a moment."""
    try:
        return date.fromisoformat(text(said).strip()[:10])
    except ValueError:
        return None


def _figi(said: object) -> str:
    """Return a FIGI, twelve letters and digits; an empty text for anything else."""
    figi = text(said).strip()
    return figi if len(figi) == _FIGI_LENGTH and figi.isascii() and figi.isalnum() else ""


_FIGI_LENGTH = 12
