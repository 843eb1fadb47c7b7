"""`metadata.last_update` of a symbol: how it is written, how it is read, and what is newer.

Other programs may write into the same document, so that reading takes nothing for granted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from assetbatch.domain.formatting import iso
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import Price
from assetbatch.domain.numbers import positive
from assetbatch.domain.units import DAY_MS

_Price = Annotated[float, msgspec.Meta(gt=0)]


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What is read of a stored document: prices above 0, and the moment as it is written."""

    bid: _Price | None = None
    ask: _Price | None = None
    last_price: _Price | None = None
    daily_open: _Price | None = None
    timestamp: str | None = None


_NOTHING = Stored()
_STORED = msgspec.json.Decoder(Stored)


def document(price: Price) -> dict[str, float | str | None]:
    """Return the document with the owner's keys; what is absent, or is no price (0, negative, not finite), is
    null."""
    return {
        "bid": positive(price.bid),
        "ask": positive(price.ask),
        "last_price": positive(price.last_price),
        "daily_open": positive(price.daily_open),
        "daily_high": positive(price.daily_high),
        "daily_low": positive(price.daily_low),
        "daily_close": positive(price.daily_close),
        "timestamp": iso(price.as_of_ms),
    }


def parse(text: str | None) -> dict[str, Any]:
    """Return the stored JSON text as a dict; an empty one for NULL and for whatever is no object."""
    if text is None:
        return {}
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read(text: str | None) -> Stored:
    """Return what a stored JSON text says; what is no price or no text is absent."""
    if text is None:
        return _NOTHING
    try:
        return _STORED.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = parse(text)
    timestamp = found.get("timestamp")
    return Stored(
        bid=positive(found.get("bid")),
        ask=positive(found.get("ask")),
        last_price=positive(found.get("last_price")),
        daily_open=positive(found.get("daily_open")),
        timestamp=timestamp if isinstance(timestamp, str) else None,
    )


def as_of_ms(text: object) -> int | None:
    """Return the moment of a timestamp; None for whatever is none in ISO 8601. Without a zone it is UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def supersedes(price: Price, stored: dict[str, Any], now_ms: int, *, learned_later: bool = False) -> bool:
    """Return whether `price` is to be written over `stored`.

    A later moment is, an earlier one is not. At the same moment it is if a value differs and none would be
    lost to a null, unless what is stored was `learned_later`: after this price had been asked for. A stored
    moment that cannot be read, or lies more than a day after both now and the price's own, is no moment:
    otherwise one mistake would keep the price for ever.
    """
    then_ms = as_of_ms(stored.get("timestamp"))
    if then_ms is None or then_ms > max(now_ms, price.as_of_ms) + DAY_MS or price.as_of_ms > then_ms:
        return True
    if price.as_of_ms < then_ms or learned_later:
        return False
    new = document(price)
    spelt_alike = {**stored, "timestamp": new["timestamp"]}  # an earlier version has written Z for +00:00
    return new != spelt_alike and not any(new[key] is None and positive(stored.get(key)) for key in new)
