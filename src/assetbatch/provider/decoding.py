"""Lenient decoding, shared by all answers: numbers, prices, moments, and the envelope around a list.

A field may be missing, null or of a wrong type. Unknown fields are ignored. A price counts if it lies
between `LOWEST_PRICE` and `HIGHEST_PRICE` (the provider sends 0 if it has none), a moment if it is one of
this century. Every value comes from the answer.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from assetbatch.domain.models import HIGHEST_PRICE, LOWEST_PRICE
from assetbatch.domain.numbers import finite
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.refusals import GOOD_WORDS, UNDECODABLE, Refusal, classify, one_line
from assetbatch.provider.repair import repaired
from assetbatch.secret import Secret

Body = bytes | bytearray

_OLDEST_MS = 946_684_800_000  # 2000-01-01: an earlier moment is a zero or a mistaken unit
_NEWEST_MS = 4_102_444_800_000  # 2100-01-01

_T = TypeVar("_T")


def price(value: object) -> float | None:
    """Return `value` as a price, or None: the provider's 0 means that there is none."""
    if type(value) is float:  # what nearly all are; NaN is not above anything
        return value if LOWEST_PRICE <= value <= HIGHEST_PRICE else None
    if value is None:
        return None
    as_float = finite(value)
    return as_float if as_float is not None and LOWEST_PRICE <= as_float <= HIGHEST_PRICE else None


def is_untrue(value: object) -> bool:
    """Return whether `value` is an impossible price: text, a negative number, one beyond any price.

    Null, 0 and an empty text say that there is no price.
    """
    return price(value) is None and value not in (None, 0, "")


def moment_ms(value: object) -> int | None:
    """Return a moment in Unix ms from s, ms, µs or ns, told by magnitude; None outside of 2000 to 2099."""
    if value is None:
        return None
    if type(value) is int:  # what nearly all are; ns do not fit a float
        exact = value
    elif (as_float := finite(value)) is not None:
        exact = int(as_float)
    else:
        return None
    if exact < 100_000_000_000:
        at_ms = exact * 1000
    elif exact < 100_000_000_000_000:
        at_ms = exact
    elif exact < 100_000_000_000_000_000:
        at_ms = exact // 1000
    else:
        at_ms = exact // 1_000_000
    return at_ms if _OLDEST_MS <= at_ms < _NEWEST_MS else None


def text(value: object) -> str:
    """Return `value` if it is text, else an empty text."""
    return value if isinstance(value, str) else ""


class Envelope(msgspec.Struct, kw_only=True):
    """The fields around a list: status word, owner of the results, their number, further page."""

    status: Any = None
    ticker: Any = None
    results_count: Any = msgspec.field(default=None, name="resultsCount")
    next_url: Any = None


class ListEnvelope(Envelope, kw_only=True):
    """A list whose elements are decoded one by one."""

    results: list[msgspec.Raw] | None = None


LIST = msgspec.json.Decoder(ListEnvelope)


def decode(decoder: msgspec.json.Decoder[_T], body: Body, key: Secret | None) -> _T:
    """Decode the whole body, repaired if necessary; raise Refusal if it has another shape or is no JSON."""
    try:
        return _decoded(decoder, body)
    except msgspec.ValidationError:  # JSON of another shape; it may say why
        raise classify(200, body, {}, key) from None
    except UNDECODABLE:
        raise Refusal(RefusalKind.NONSENSE, "the answer is not JSON", http_status=200) from None


def attempt(decoder: msgspec.json.Decoder[_T], raw: msgspec.Raw) -> _T | None:
    """Decode a part of a body, repaired if necessary; return None if it has another shape."""
    try:
        return _decoded(decoder, raw)
    except UNDECODABLE:
        return None


def _decoded(decoder: msgspec.json.Decoder[_T], body: Body | msgspec.Raw) -> _T:
    try:
        return decoder.decode(body)
    except UNDECODABLE:
        mended = repaired(memoryview(body))
        if mended is None or mended == body:
            raise
        return decoder.decode(mended)


def check_ticker(envelope: Envelope, ticker: str) -> None:
    """Raise Refusal for an answer for another ticker. An answer that names none passes."""
    said = envelope.ticker
    if said is not None and said != ticker and one_line(text(said)) != ticker:
        answered = one_line(text(said)) or "something else"
        raise Refusal(RefusalKind.NONSENSE, f"the answer for {ticker} is one for {answered}", http_status=200)


def check(envelope: Envelope, results: object, body: Body, key: Secret | None) -> None:
    """Raise Refusal if a 200 is one.

    Without a status word the answer needs its results, or the word that there are none. With a good status
    word the results may be missing, unless the answer says that it has some.
    """
    word, count = envelope.status, envelope.results_count
    if word is None:
        good = results is not None or count == 0
    else:
        good = isinstance(word, str) and word.strip().upper() in GOOD_WORDS
        good = good and (results is not None or not count)
    if not good:
        raise classify(200, body, {}, key)
