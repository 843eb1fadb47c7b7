"""The bodies of good answers, decoded leniently and checked before anybody may store them.

A field may be missing, null or of a wrong type, and unknown fields are passed over. What a value must
be to count: a price is finite and above 0 (the vendor sends 0 where it has none), a bar's high and low
enclose its open and close, a moment is one of this century. An element that is of no use is counted by
reason and never loses the others. No value comes from anywhere but the answer.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from assetbatch import hours
from assetbatch.market import BAR_MS, Bar, Price
from assetbatch.secret import Secret
from assetbatch.vendor.refusals import (
    GOOD_WORDS,
    UNDECODABLE,
    Refusal,
    RefusalKind,
    classify,
    classify_ticker,
)

Body = bytes | bytearray

_DAY_MS = 86_400_000
_OLDEST_MS = 946_684_800_000  # 2000-01-01: an earlier moment is a zero or a mistaken unit
_NEWEST_MS = 4_102_444_800_000  # 2100-01-01
_INT64 = 2**63  # what the store can hold


class BarsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The bars of one page, ascending, each start once, all within `[start_ms, end_ms]`.

    `refused` counts the elements that were of no use by reason: `undecodable`, `time`, `outside`
    (of the asked range), `price`, `range` (high or low does not enclose the others), `duplicate`.
    `next_url` leads to the next page, without the key; None after the last.
    """

    ticker: str
    start_ms: int
    end_ms: int
    bars: list[Bar]
    refused: Counter[str]
    next_url: str | None = None


class SnapshotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One call's prices; each asked ticker is in exactly one of `prices`, `errors` and `empty`.

    `empty` are tickers that the vendor knows but has no price, or no moment of it, for: snapshots
    are cleared at New York midnight. `refused` counts the elements that were of no use by reason:
    `undecodable`, `unasked`, `empty`, `duplicate`.
    """

    prices: dict[str, Price]
    errors: dict[str, Refusal]
    empty: frozenset[str]
    refused: Counter[str]


class MarketStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor says of itself: its clock and the words for its two currency markets."""

    server_time_ms: int | None = None
    fx: str | None = None
    crypto: str | None = None


# --- numbers, prices and moments ---


def _number(value: object) -> float | None:
    """`value` as a finite float; None for anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _price(value: object) -> float | None:
    """A finite number above 0, or None: the vendor's 0 means that there is no price."""
    number = _number(value)
    return number if number is not None and number > 0 else None


def moment_ms(value: object) -> int | None:
    """A moment in Unix ms from s, ms, µs or ns, told by magnitude; None outside of 2000 to 2099."""
    number = _number(value)
    if number is None:
        return None
    exact = int(value) if isinstance(value, int | float) else 0  # ns do not fit a float
    if number < 1e11:
        at_ms = exact * 1000
    elif number < 1e14:
        at_ms = exact
    elif number < 1e17:
        at_ms = exact // 1000
    else:
        at_ms = exact // 1_000_000
    return at_ms if _OLDEST_MS <= at_ms < _NEWEST_MS else None


def midpoint(bid: float, ask: float) -> float:
    """Halfway between two prices in decimal: 1.1 and 1.2 give 1.15, not 1.1500000000000001."""
    return float((Decimal(repr(bid)) + Decimal(repr(ask))) / 2)


# --- envelopes ---


class _RawBar(msgspec.Struct, gc=False):
    t: int | float | None = None
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    c: float | None = None
    v: float | None = None
    vw: float | None = None
    n: int | float | None = None


class _LooseBar(msgspec.Struct):
    t: Any = None
    o: Any = None
    h: Any = None
    l: Any = None  # noqa: E741 - the vendor's name
    c: Any = None
    v: Any = None
    vw: Any = None
    n: Any = None


class _Envelope(msgspec.Struct, kw_only=True):
    status: Any = None
    results_count: Any = msgspec.field(default=None, name="resultsCount")
    next_url: Any = None


class _BarsEnvelope(_Envelope, kw_only=True):
    results: list[_RawBar] | None = None


class _ListEnvelope(_Envelope, kw_only=True):
    results: list[msgspec.Raw] | None = None


class _Quote(msgspec.Struct):
    bid: Any = None
    ask: Any = None
    last_updated: Any = None


class _Trade(msgspec.Struct):
    price: Any = None
    sip_timestamp: Any = None
    participant_timestamp: Any = None
    last_updated: Any = None


class _Session(msgspec.Struct):
    price: Any = None
    open: Any = None
    high: Any = None
    low: Any = None
    close: Any = None


class _Entry(msgspec.Struct):
    ticker: Any = None
    error: Any = None
    message: Any = None
    last_updated: Any = None
    last_quote: msgspec.Raw = msgspec.Raw(b"{}")
    last_trade: msgspec.Raw = msgspec.Raw(b"{}")
    session: msgspec.Raw = msgspec.Raw(b"{}")


class _Currencies(msgspec.Struct):
    fx: Any = None
    crypto: Any = None


class _NowEnvelope(msgspec.Struct, kw_only=True):
    status: Any = None
    server_time: Any = msgspec.field(default=None, name="serverTime")
    currencies: _Currencies | None = None


_BARS = msgspec.json.Decoder(_BarsEnvelope)
_LIST = msgspec.json.Decoder(_ListEnvelope)
_LOOSE_BAR = msgspec.json.Decoder(_LooseBar)
_ENTRY = msgspec.json.Decoder(_Entry)
_QUOTE = msgspec.json.Decoder(_Quote)
_TRADE = msgspec.json.Decoder(_Trade)
_SESSION = msgspec.json.Decoder(_Session)
_NOW = msgspec.json.Decoder(_NowEnvelope)

_T = TypeVar("_T")


def _decode(decoder: msgspec.json.Decoder[_T], body: Body, key: Secret | None) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:  # JSON of another shape; it may say why
        raise classify(200, body, {}, key) from None
    except UNDECODABLE:
        raise Refusal(RefusalKind.NONSENSE, "the answer is not JSON", http_status=200) from None


def _try(decoder: msgspec.json.Decoder[_T], raw: msgspec.Raw) -> _T | None:
    try:
        return decoder.decode(raw)
    except UNDECODABLE:
        return None


def _check(envelope: _BarsEnvelope | _ListEnvelope, body: Body, key: Secret | None) -> None:
    """Raises the refusal that a 200 can be.

    Without a status word the results must be there, or the word that there are none; with a good one
    they may be missing, but not if they are said to be there.
    """
    word, count = envelope.status, envelope.results_count
    if word is None:
        good = envelope.results is not None or count == 0
    else:
        good = isinstance(word, str) and word.strip().upper() in GOOD_WORDS
        good = good and (envelope.results is not None or not count)
    if not good:
        raise classify(200, body, {}, key)


# --- bars ---


def decode_bars(
    body: Body, *, ticker: str, start_ms: int, end_ms: int, key: Secret | None = None
) -> BarsAnswer:
    """The 5-minute bars of `/v2/aggs/ticker/{ticker}/range/5/minute/{start_ms}/{end_ms}`.

    Both ends of the range are inclusive, as the vendor's are. Raises Refusal if the answer as a whole
    is of no use; so it is if all its bars are, or a broken answer would pass for a market without trades.
    """
    refused: Counter[str] = Counter()
    envelope, raws = _raw_bars(body, refused, key)
    bars = _checked_bars(raws, start_ms, end_ms, refused)
    if not bars and refused.total() > refused["outside"]:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(refused.items()))
        raise Refusal(RefusalKind.NONSENSE, f"no bar of the answer is of use ({reasons})", http_status=200)
    return BarsAnswer(
        ticker=ticker,
        start_ms=start_ms,
        end_ms=end_ms,
        bars=bars,
        refused=refused,
        next_url=_next_url(envelope.next_url),
    )


def decode_previous_day(body: Body, *, ticker: str, symbol: str, key: Secret | None = None) -> Price | None:
    """The close of the last complete day of `/v2/aggs/ticker/{ticker}/prev`, as of the day's end.

    None if the vendor has nothing, which is also what it answers for a ticker that it does not know.
    Raises Refusal if the answer is of no use.
    """
    refused: Counter[str] = Counter()
    _, raws = _raw_bars(body, refused, key)
    if not raws and not refused:
        return None
    raw = raws[-1] if raws else _RawBar()
    at_ms = moment_ms(raw.t)
    fault = _fault(raw.o, raw.h, raw.l, raw.c)
    if at_ms is None or fault or raw.c is None:
        raise Refusal(RefusalKind.NONSENSE, f"the day bar of {ticker} is of no use", http_status=200)
    return Price(
        symbol=symbol,
        last_price=raw.c,
        as_of_ms=hours.start_of_day(_bar_day(at_ms) + timedelta(days=1)),
        daily_open=raw.o,
        daily_high=raw.h,
        daily_low=raw.l,
        daily_close=raw.c,
    )


def _raw_bars(
    body: Body, refused: Counter[str], key: Secret | None
) -> tuple[_BarsEnvelope | _ListEnvelope, list[_RawBar]]:
    """All elements at once; only if one has a wrong type, each by itself (10 times slower)."""
    try:
        envelope = _BARS.decode(body)
    except UNDECODABLE:
        loose = _decode(_LIST, body, key)
        _check(loose, body, key)
        return loose, list(_loosened(loose.results or (), refused))
    _check(envelope, body, key)
    return envelope, envelope.results or []


def _loosened(elements: Iterable[msgspec.Raw], refused: Counter[str]) -> Iterator[_RawBar]:
    for element in elements:
        bar = _try(_LOOSE_BAR, element)
        if bar is None:
            refused["undecodable"] += 1
            continue
        yield _RawBar(
            t=bar.t if _number(bar.t) is not None else None,
            o=_number(bar.o),
            h=_number(bar.h),
            l=_number(bar.l),
            c=_number(bar.c),
            v=_number(bar.v),
            vw=_number(bar.vw),
            n=bar.n if _number(bar.n) is not None else None,
        )


def _checked_bars(raws: list[_RawBar], start_ms: int, end_ms: int, refused: Counter[str]) -> list[Bar]:
    bars: list[Bar] = []
    latest_ms = -1
    ascending = True
    for raw in raws:
        t = raw.t
        if t is None or t % BAR_MS:
            refused["time"] += 1
            continue
        if not start_ms <= t <= end_ms:
            refused["outside"] += 1
            continue
        o, h, l, c = raw.o, raw.h, raw.l, raw.c  # noqa: E741 - the vendor's names
        fault = _fault(o, h, l, c)
        if fault or o is None or h is None or l is None or c is None:
            refused[fault] += 1
            continue
        v, vw, n = raw.v, raw.vw, raw.n
        t_ms = int(t)
        bars.append(
            Bar(
                t_ms,
                o,
                h,
                l,
                c,
                v if v is not None and v >= 0 else None,
                vw if vw is not None and vw > 0 else None,
                int(n) if n is not None and 0 <= n < _INT64 and n == int(n) else None,
            )
        )
        if t_ms <= latest_ms:
            ascending = False
        latest_ms = t_ms
    if ascending:
        return bars
    by_start = {bar.t_ms: bar for bar in bars}  # of two with one start the last counts
    if len(by_start) < len(bars):
        refused["duplicate"] += len(bars) - len(by_start)
    return [by_start[t_ms] for t_ms in sorted(by_start)]


def _fault(o: float | None, h: float | None, l: float | None, c: float | None) -> str:  # noqa: E741
    """Why these four are no bar: `price` (one is missing, 0 or negative), `range`; empty if they are one."""
    if not (o and h and l and c) or o < 0 or h < 0 or l < 0 or c < 0:
        return "price"
    return "" if l <= o <= h and l <= c <= h else "range"


def _bar_day(at_ms: int) -> date:
    """The New York day of a day bar, whose `t` is the start or the end of the day, varying.

    A UTC midnight is the start of that UTC date; every other moment that was seen (end of the UTC
    day, start or end of the New York day, a moment within it) lies in the New York day.
    """
    if at_ms % _DAY_MS == 0:
        return hours.from_ms(at_ms).date()
    return hours.day_of(at_ms)


def _next_url(value: object) -> str | None:
    """The next page's address without a key; one that is no text stays an unusable one, or pages would
    end unseen."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        return "unusable"
    return re.sub(r"(?i)([?&])api_?key=[^&#]*&?", r"\1", value).rstrip("?&")


# --- snapshots ---


def decode_snapshot(body: Body, assets: Mapping[str, str], key: Secret | None = None) -> SnapshotAnswer:
    """The prices of `/v3/snapshot` for `assets`, which maps the asked tickers to symbols.

    `last_price` is the last trade's; where there is no trade (forex) the midpoint of bid and ask; where
    there is neither the session's price or close. `as_of_ms` is that value's own moment, or else the
    entry's; without any there is no price. A bid above the ask, which does occur, is kept as it is.
    Daily values of 0 are absent, and all four are where the high is below the low. Raises Refusal if
    the answer as a whole is of no use.
    """
    envelope = _decode(_LIST, body, key)
    _check(envelope, body, key)
    prices: dict[str, Price] = {}
    errors: dict[str, Refusal] = {}
    empty: set[str] = set()
    refused: Counter[str] = Counter()
    for element in envelope.results or ():
        entry = _try(_ENTRY, element)
        if entry is None:
            refused["undecodable"] += 1
            continue
        ticker = entry.ticker
        if not isinstance(ticker, str) or ticker not in assets:
            refused["unasked"] += 1
            continue
        if entry.error:
            errors[ticker] = classify_ticker(_text(entry.error), _text(entry.message), key)
            continue
        price = _snapshot_price(entry, assets[ticker])
        if price is None:
            refused["empty"] += 1
            empty.add(ticker)
            continue
        if ticker in prices:
            refused["duplicate"] += 1
        if ticker not in prices or prices[ticker].as_of_ms <= price.as_of_ms:
            prices[ticker] = price
    answered = prices.keys() | errors.keys() | empty
    # An answer that lacks everything, or a part of which could not be read, says nothing about a ticker.
    incomplete = not answered or refused["undecodable"] or envelope.next_url
    for ticker in assets:
        if ticker not in answered:
            errors[ticker] = (
                Refusal(RefusalKind.NONSENSE, "left out of an incomplete answer", http_status=200)
                if incomplete
                else Refusal(RefusalKind.UNKNOWN_TICKER, "left out of the answer", http_status=200)
            )
    return SnapshotAnswer(
        prices=prices,
        errors={ticker: error for ticker, error in errors.items() if ticker not in prices},
        empty=frozenset(empty - prices.keys() - errors.keys()),
        refused=+refused,
    )


def _snapshot_price(entry: _Entry, symbol: str) -> Price | None:
    quote = _try(_QUOTE, entry.last_quote) or _Quote()
    trade = _try(_TRADE, entry.last_trade) or _Trade()
    session = _try(_SESSION, entry.session) or _Session()
    bid, ask = _price(quote.bid), _price(quote.ask)
    entry_ms = moment_ms(entry.last_updated)
    quote_ms = moment_ms(quote.last_updated) or entry_ms
    trade_ms = (
        moment_ms(trade.sip_timestamp)
        or moment_ms(trade.participant_timestamp)
        or moment_ms(trade.last_updated)
        or entry_ms
    )
    candidates = (
        (_price(trade.price), trade_ms),
        (midpoint(bid, ask) if bid and ask else None, quote_ms),
        (_price(session.price) or _price(session.close), entry_ms or trade_ms or quote_ms),
    )
    for last_price, as_of_ms in candidates:
        if last_price and as_of_ms:
            break
    else:
        return None
    day = [_price(value) for value in (session.open, session.high, session.low, session.close)]
    if day[1] and day[2] and day[1] < day[2]:
        day = [None] * 4
    return Price(
        symbol=symbol,
        last_price=last_price,
        as_of_ms=as_of_ms,
        bid=bid,
        ask=ask,
        daily_open=day[0],
        daily_high=day[1],
        daily_low=day[2],
        daily_close=day[3],
    )


# --- market status ---


def decode_market_status(body: Body, key: Secret | None = None) -> MarketStatus:
    """The answer of `/v1/marketstatus/now`; raises Refusal for one without its currencies."""
    now = _decode(_NOW, body, key)
    if now.currencies is None:
        raise classify(200, body, {}, key)
    try:
        at = datetime.fromisoformat(_text(now.server_time))
    except ValueError:
        at = None
    return MarketStatus(
        server_time_ms=hours.to_ms(at) if at is not None and at.tzinfo is not None else None,
        fx=_text(now.currencies.fx) or None,
        crypto=_text(now.currencies.crypto) or None,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
