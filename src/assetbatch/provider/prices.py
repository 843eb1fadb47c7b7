"""Prices of many tickers in one answer, or of the last day, checked before they may be stored.

A useless element is counted by reason and never loses the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec

from assetbatch.domain import market_hours
from assetbatch.domain.asset_classes import AssetClass, class_of
from assetbatch.domain.models import DayBar, Price
from assetbatch.domain.numbers import finite
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.provider import decoding
from assetbatch.provider.answers import PreviousDay, PricesAnswer
from assetbatch.provider.bars import RawBar, day_bar, fault, raw_bars
from assetbatch.provider.decoding import (
    LIST,
    Body,
    Envelope,
    attempt,
    check,
    check_ticker,
    decode,
    is_untrue,
    moment_ms,
    text,
)
from assetbatch.provider.refusals import UNDECODABLE, Refusal, classify, classify_ticker
from assetbatch.secret import Secret

_NOTHING = msgspec.Raw(b"{}")


def midpoint(bid: float, ask: float) -> float:
    """Return the middle of two prices, to the 15 significant digits that any double keeps.

    So 1.1 and 1.2 give 1.15, and not 1.1500000000000001. Of prices that are closer than that it returns
    one.
    """
    middle = float(f"{(bid + ask) / 2:.15g}")
    return middle if bid <= middle <= ask or ask <= middle <= bid else bid


CROSSED_AT_MOST = 1.00015
"""A bid may be above its ask by about a pip, which is rounding. Beyond that the two are no quote."""

WIDE_FROM, ABSURD_FROM = 1.05, 1.25
"""An ask of so many times the bid is no quote. The second factor always counts. The first counts if the quote
is also far wider than the day's prices, its neighbours, lie apart."""

WIDE_TIMES = 5
"""Maximum width of a wide quote, in ranges of the day."""


def is_quote(bid: float, ask: float, low: float | None, high: float | None) -> bool:
    """Return whether these two can be a quote on a day with prices between `low` and `high`, if known."""
    width = ask / bid
    if bid > ask * CROSSED_AT_MOST or width > ABSURD_FROM:
        return False
    if width <= WIDE_FROM or not low or not high or high < low:
        return True
    return width - 1 <= WIDE_TIMES * (high / low - 1)


class _UntrueError(Exception):
    """An entry says what cannot be true. `reason` is the word by which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# --- answers of many tickers ---


class _Entry(msgspec.Struct, kw_only=True, gc=False):
    ticker: Any = None
    error: Any = None
    message: Any = None

    @property
    def timeframe(self) -> object:
        """The provider's word for how late its price is."""
        return None


_DELAYED = {"DELAYED": True, "REAL-TIME": False}
"""Whether a price is delayed by the plan, by the provider's word for it."""


_E = TypeVar("_E", bound=_Entry)


class _Tickers:
    """What an answer says of each asked ticker. Of several prices for one ticker the newest counts."""

    def __init__(self, assets: Mapping[str, str]) -> None:
        self._assets = assets
        self._prices: dict[str, Price] = {}
        self._errors: dict[str, Refusal] = {}
        self._empty: set[str] = set()
        self._delayed: dict[str, bool] = {}
        self.refused: Counter[str] = Counter()

    def read(
        self,
        entries: Iterable[_E | None],
        price_of: Callable[[_E, str, AssetClass, Counter[str]], Price | None],
        key: Secret | None,
    ) -> None:
        """Take what each entry says; None stands for one that could not be decoded."""
        for entry in entries:
            if entry is None:
                self.refused["undecodable"] += 1
                continue
            ticker = entry.ticker
            if not isinstance(ticker, str) or ticker not in self._assets:
                self.refused["unasked"] += 1
                continue
            if entry.error:
                self.fail(ticker, classify_ticker(text(entry.error), text(entry.message), key))
                continue
            of = class_of(ticker)
            try:
                price = price_of(entry, self._assets[ticker], of, self.refused)
            except _UntrueError as untrue:
                self.refused[untrue.reason] += 1
                self.fail(ticker, Refusal(RefusalKind.NONSENSE, f"{ticker}: {untrue}", http_status=200))
                continue
            if price is None:
                self.refused["empty"] += 1
                self._empty.add(ticker)
                continue
            self.take(ticker, price)
            if of.has_delayed_plans and (delayed := _DELAYED.get(text(entry.timeframe))) is not None:
                self._delayed[ticker] = delayed

    def take(self, ticker: str, price: Price) -> None:
        if ticker in self._prices:
            self.refused["duplicate"] += 1
        if ticker not in self._prices or self._prices[ticker].as_of_ms <= price.as_of_ms:
            self._prices[ticker] = price

    def fail(self, ticker: str, refusal: Refusal) -> None:
        self._errors[ticker] = refusal

    def answer(self, envelope: Envelope, *, lists_all: bool) -> PricesAnswer:
        """Return the answer with every asked ticker in it.

        `lists_all` says that this endpoint lists each asked ticker, known or not: an answer without any of
        them is no answer. A single ticker that is left out is `empty`, because for an unknown one the
        provider says NOT_FOUND.
        """
        answered = self._prices.keys() | self._errors.keys() | self._empty
        # An answer that lacks everything, or a part of which could not be read or belongs to another ticker,
        # says nothing about a ticker that is left out.
        odd = self.refused["undecodable"] or self.refused["unasked"]
        incomplete = (lists_all and not answered) or odd or envelope.next_url
        for ticker in self._assets:
            if ticker in answered:
                continue
            if incomplete:
                said = "left out of an incomplete answer"
                self._errors[ticker] = Refusal(RefusalKind.NONSENSE, said, http_status=200)
            else:
                self._empty.add(ticker)
        return PricesAnswer(
            prices=self._prices,
            errors={ticker: error for ticker, error in self._errors.items() if ticker not in self._prices},
            empty=frozenset(self._empty - self._prices.keys() - self._errors.keys()),
            refused=+self.refused,
            delayed=self._delayed,
        )


_Dated = tuple[object, int | None]
"""A possible price, and its moment."""


class _Quoted(NamedTuple):
    bid: object
    ask: object
    at_ms: int | None


def _first_price(
    symbol: str,
    refused: Counter[str],
    *,
    by_quote: bool,
    trade: _Dated,
    quote: _Quoted,
    others: Sequence[_Dated],
    day: tuple[object, object, object, object],
) -> Price | None:
    """Return the first price that has a moment, with the quote and the day's open, high, low and close.

    The order is: the trade, the middle of the quote if the price goes `by_quote`, the others. A quote that
    cannot be one is left out; it is counted, unless it is that of a stock, whose sides cross or lie far
    apart out of hours. Raise _UntrueError if the price itself would follow from what cannot be true: a
    lesser price in its place would pass for the latest.
    """
    daily_open, high, low, close = map(decoding.price, day)
    if high and low and high < low:
        daily_open = high = low = close = None
    said_bid, said_ask, quote_ms = quote
    bid, ask = decoding.price(said_bid), decoding.price(said_ask)
    untrue = not is_quote(bid, ask, low, high) if bid and ask else is_untrue(said_bid) or is_untrue(said_ask)
    if untrue:
        bid = ask = None
    found = _sound(trade)
    if untrue and by_quote:
        if not found:
            raise _UntrueError("quote", f"bid {_said(said_bid)} and ask {_said(said_ask)} are no quote")
        refused["quote"] += 1
    if not found:
        if by_quote and bid and ask and quote_ms:
            found = midpoint(bid, ask), quote_ms
        else:
            found = next(filter(None, map(_sound, others)), None)
    if not found:
        return None
    last_price, as_of_ms = found
    return Price(
        symbol=symbol,
        last_price=last_price,
        as_of_ms=as_of_ms,
        bid=bid,
        ask=ask,
        daily_open=daily_open,
        daily_high=high,
        daily_low=low,
        daily_close=close,
    )


def _said(value: object) -> str:
    as_float = finite(value)
    return "no number" if as_float is None else f"{as_float:.10g}"


def _sound(said: _Dated) -> tuple[float, int] | None:
    """Return the price and its moment, if both are there; raise _UntrueError for what is no price."""
    value, at_ms = said
    price = decoding.price(value)
    if price is None:
        if is_untrue(value):
            raise _UntrueError("price", f"{_said(value)} is no price")
        return None
    return (price, at_ms) if at_ms else None


# --- /v3/snapshot ---


class _Quote(msgspec.Struct, frozen=True, gc=False):
    bid: Any = None
    ask: Any = None
    last_updated: Any = None
    timeframe: Any = None


class _Trade(msgspec.Struct, frozen=True, gc=False):
    price: Any = None
    sip_timestamp: Any = None
    participant_timestamp: Any = None
    last_updated: Any = None
    timeframe: Any = None


class _Minute(msgspec.Struct, frozen=True, gc=False):
    close: Any = None
    last_updated: Any = None


class _Session(msgspec.Struct, frozen=True, gc=False):
    price: Any = None
    open: Any = None
    high: Any = None
    low: Any = None
    close: Any = None
    last_updated: Any = None


class _SnapshotEntry(_Entry, kw_only=True):
    own_timeframe: Any = msgspec.field(default=None, name="timeframe")
    last_updated: Any = None
    value: Any = None
    last_quote: _Quote | None = None
    last_trade: _Trade | None = None
    last_minute: _Minute | None = None
    session: _Session | None = None

    @property
    def timeframe(self) -> object:
        """The word that stands at the entry, or else at its trade or its quote."""
        if self.own_timeframe is not None:
            return self.own_timeframe
        trade = self.last_trade.timeframe if self.last_trade else None
        if trade is not None:
            return trade
        return self.last_quote.timeframe if self.last_quote else None


class _Snapshot(Envelope, kw_only=True):
    results: list[_SnapshotEntry] | None = None


class _OddEntry(_Entry, kw_only=True):
    """An entry whose parts may each have another shape."""

    own_timeframe: Any = msgspec.field(default=None, name="timeframe")
    last_updated: Any = None
    value: Any = None
    last_quote: msgspec.Raw = _NOTHING
    last_trade: msgspec.Raw = _NOTHING
    last_minute: msgspec.Raw = _NOTHING
    session: msgspec.Raw = _NOTHING


_NO_QUOTE, _NO_TRADE, _NO_MINUTE, _NO_SESSION = _Quote(), _Trade(), _Minute(), _Session()
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)
_ODD_ENTRY = msgspec.json.Decoder(_OddEntry)
_QUOTE = msgspec.json.Decoder(_Quote)
_TRADE = msgspec.json.Decoder(_Trade)
_MINUTE = msgspec.json.Decoder(_Minute)
_SESSION = msgspec.json.Decoder(_Session)


def decode_snapshot(body: Body, assets: Mapping[str, str], key: Secret | None = None) -> PricesAnswer:
    """Decode the prices of `/v3/snapshot` for `assets`, which maps the asked tickers to symbols.

    `last_price` is that of the last trade. Without a trade (forex) it is the middle of bid and ask, and
    without both the session's price or close. That of a stock never goes by its quote: without a trade it is
    the last minute's close, and without that the session's. That of an index is its value. `as_of_ms` is
    that value's own moment, or else the entry's.
    Without a moment there is no price. A ticker whose price follows from an impossible quote (see
    `is_quote`) has a NONSENSE error. Beside a trade such a quote is left out. Daily values of 0 are
    absent, and all four are absent if the high is below the low. Raise Refusal if the answer as a whole is
    useless.
    """
    tickers = _Tickers(assets)
    envelope: Envelope
    entries: Iterable[_SnapshotEntry | None]
    try:  # what nearly all answers are: nothing in it is odd
        snapshot = _SNAPSHOT.decode(body)
        envelope, entries = snapshot, snapshot.results or ()
        check(envelope, snapshot.results, body, key)
    except UNDECODABLE:
        parts = decode(LIST, body, key)
        envelope, entries = parts, map(_snapshot_entry, parts.results or ())
        check(envelope, parts.results, body, key)
    tickers.read(entries, _snapshot_price, key)
    return tickers.answer(envelope, lists_all=True)


def _snapshot_entry(element: msgspec.Raw) -> _SnapshotEntry | None:
    """Return an entry without those of its parts that have another shape."""
    entry = attempt(_ODD_ENTRY, element)
    if entry is None:
        return None
    return _SnapshotEntry(
        ticker=entry.ticker,
        error=entry.error,
        message=entry.message,
        own_timeframe=entry.own_timeframe,
        last_updated=entry.last_updated,
        value=entry.value,
        last_quote=attempt(_QUOTE, entry.last_quote),
        last_trade=attempt(_TRADE, entry.last_trade),
        last_minute=attempt(_MINUTE, entry.last_minute),
        session=attempt(_SESSION, entry.session),
    )


def _snapshot_price(
    entry: _SnapshotEntry, symbol: str, of: AssetClass, refused: Counter[str]
) -> Price | None:
    quote = entry.last_quote or _NO_QUOTE
    trade = entry.last_trade or _NO_TRADE
    session = entry.session or _NO_SESSION
    entry_ms = moment_ms(entry.last_updated)
    trade_ms = (
        moment_ms(trade.sip_timestamp)
        or moment_ms(trade.participant_timestamp)
        or moment_ms(trade.last_updated)
        or entry_ms
    )
    quote_ms = moment_ms(quote.last_updated) or entry_ms
    others: tuple[_Dated, ...] = ()
    if not (trade.price and trade_ms):
        minute = entry.last_minute or _NO_MINUTE
        session_ms = moment_ms(session.last_updated) or entry_ms or trade_ms or quote_ms
        others = (
            (entry.value, entry_ms),
            (minute.close, moment_ms(minute.last_updated) or entry_ms),
            (session.price, session_ms),
            (session.close, session_ms),
        )
    return _first_price(
        symbol,
        refused,
        by_quote=of.goes_by_quote,
        trade=(trade.price, trade_ms),
        quote=_Quoted(quote.bid, quote.ask, quote_ms),
        others=others,
        day=(session.open, session.high, session.low, session.close),
    )


# --- /v2/snapshot of a market ---


class _MarketQuote(msgspec.Struct):
    """The quote of a currency has its sides in `a` and `b`, that of a stock in `P` and `p`."""

    a: Any = None
    b: Any = None
    stock_ask: Any = msgspec.field(default=None, name="P")
    stock_bid: Any = msgspec.field(default=None, name="p")
    t: Any = None


class _MarketTrade(msgspec.Struct):
    p: Any = None
    t: Any = None


class _MarketBar(msgspec.Struct):
    t: Any = None
    o: Any = None
    h: Any = None
    l: Any = None  # noqa: E741 - the provider's name
    c: Any = None


class _MarketEntry(_Entry, kw_only=True):
    updated: Any = None
    quote: msgspec.Raw = msgspec.field(default=_NOTHING, name="lastQuote")
    trade: msgspec.Raw = msgspec.field(default=_NOTHING, name="lastTrade")
    minute: msgspec.Raw = msgspec.field(default=_NOTHING, name="min")
    day: msgspec.Raw = _NOTHING


class _MarketEnvelope(Envelope, kw_only=True):
    results_count: Any = msgspec.field(default=None, name="count")
    tickers: list[msgspec.Raw] | None = None


_MARKET = msgspec.json.Decoder(_MarketEnvelope)
_MARKET_ENTRY = msgspec.json.Decoder(_MarketEntry)
_MARKET_QUOTE = msgspec.json.Decoder(_MarketQuote)
_MARKET_TRADE = msgspec.json.Decoder(_MarketTrade)
_MARKET_BAR = msgspec.json.Decoder(_MarketBar)


def decode_market_snapshot(body: Body, assets: Mapping[str, str], key: Secret | None = None) -> PricesAnswer:
    """Decode the prices of `/v2/snapshot/locale/…/markets/{market}/tickers`, as in `decode_snapshot`.

    Without a trade and a quote the price is the last minute's close, as of the minute's start, or else of
    the entry's `updated`. That of a stock is as of the minute's end, or of an `updated` within the minute,
    and without a minute it is the day's close as of `updated`. A ticker that is left out is `empty`: unknown
    ones are left out, and perhaps known ones that have been cleared. Raise Refusal if the answer as a whole
    is useless. It is useless without its list, unless it says that it has no results.
    """
    envelope = decode(_MARKET, body, key)
    check(envelope, envelope.tickers, body, key)
    # Elsewhere a missing list leaves every ticker an error; here it would leave none.
    if envelope.tickers is None and envelope.results_count != 0:
        raise classify(200, body, {}, key)
    tickers = _Tickers(assets)
    entries = (attempt(_MARKET_ENTRY, element) for element in envelope.tickers or ())
    tickers.read(entries, _market_price, key)
    return tickers.answer(envelope, lists_all=False)


def _market_price(entry: _MarketEntry, symbol: str, of: AssetClass, refused: Counter[str]) -> Price | None:
    quote = attempt(_MARKET_QUOTE, entry.quote) or _MarketQuote()
    trade = attempt(_MARKET_TRADE, entry.trade) or _MarketTrade()
    minute = attempt(_MARKET_BAR, entry.minute) or _MarketBar()
    day = attempt(_MARKET_BAR, entry.day) or _MarketBar()
    entry_ms = moment_ms(entry.updated)
    minute_ms = moment_ms(minute.t)
    others: tuple[_Dated, ...] = ((minute.c, minute_ms or entry_ms),)
    if not of.goes_by_quote:
        others = ((minute.c, _minute_end(minute_ms, entry_ms)), (day.c, entry_ms))
    bid = quote.stock_bid if quote.b is None else quote.b
    ask = quote.stock_ask if quote.a is None else quote.a
    return _first_price(
        symbol,
        refused,
        by_quote=of.goes_by_quote,
        trade=(trade.p, moment_ms(trade.t) or entry_ms),
        quote=_Quoted(bid, ask, moment_ms(quote.t) or entry_ms),
        others=others,
        day=(day.o, day.h, day.l, day.c),
    )


def _minute_end(start_ms: int | None, updated_ms: int | None) -> int | None:
    """Return the moment of a minute's close: a minute that is still forming ends when it was updated."""
    if start_ms is None:
        return updated_ms
    end_ms = start_ms + MINUTE_MS
    return min(end_ms, updated_ms) if updated_ms and updated_ms >= start_ms else end_ms


# --- days ---


def decode_grouped_day(
    body: Body, day: date, assets: Mapping[str, str], key: Secret | None = None
) -> PricesAnswer:
    """Decode the asked tickers' bars of a New York day from `/v2/aggs/grouped/…/{day}`.

    It has a whole market, and `days` has the sound bar of every ticker of it.

    Each is a price as in `decode_previous_day`, as of the end of `day` or of a stock's session on it,
    whatever moment the bar carries. A ticker without a bar is `empty`. A ticker with a bar that cannot be
    true has a NONSENSE error. Raise Refusal if the answer as a whole is useless.
    """
    tickers = _Tickers(assets)
    days: dict[str, DayBar] = {}
    envelope, raws = raw_bars(body, tickers.refused, key)
    useless = tickers.refused.total()
    for raw in raws:
        ticker = raw.ticker
        if not isinstance(ticker, str):
            useless += 1
            continue
        reason = fault(raw.o, raw.h, raw.l, raw.c)
        if reason:
            useless += 1
        else:
            days[ticker] = day_bar(raw, day)
        if ticker not in assets:
            continue
        if reason:
            tickers.refused[reason] += 1
            tickers.fail(ticker, _useless(ticker))
        else:
            tickers.take(ticker, _day_price(raw, assets[ticker], day, class_of(ticker)))
    return msgspec.structs.replace(tickers.answer(envelope, lists_all=False), days=days, useless_days=useless)


def decode_previous_day(
    body: Body, *, ticker: str, symbol: str, key: Secret | None = None
) -> PreviousDay | None:
    """Decode the last complete day of `/v2/aggs/ticker/{ticker}/prev`; its close is the price, as of its end.

    That of a stock or an index belongs to the New York day of its moment, and ends with the session. Return
    None if the provider has nothing. That is also its answer for an unknown ticker. Raise Refusal
    if the answer is useless.
    """
    refused: Counter[str] = Counter()
    envelope, raws = raw_bars(body, refused, key)
    check_ticker(envelope, ticker)
    if not raws and not refused:
        return None
    own = [raw for raw in raws if raw.ticker in (None, ticker)]
    raw = own[-1] if own else RawBar()
    at_ms = moment_ms(raw.t)
    if at_ms is None or fault(raw.o, raw.h, raw.l, raw.c):
        raise _useless(ticker)
    of = class_of(ticker)
    day = market_hours.day_of(at_ms) if of.has_trading_days else _bar_day(at_ms)
    return PreviousDay(price=_day_price(raw, symbol, day, of), bar=day_bar(raw, day))


def _useless(ticker: str) -> Refusal:
    return Refusal(RefusalKind.NONSENSE, f"the day bar of {ticker} is of no use", http_status=200)


def _day_price(raw: RawBar, symbol: str, day: date, of: AssetClass) -> Price:
    """Return the price of a sound day bar: as of the close of its market, where that has one each day."""
    assert raw.c is not None, "a sound bar has a close"
    end_ms = market_hours.start_of_day(day + timedelta(days=1))
    return Price(
        symbol=symbol,
        last_price=raw.c,
        as_of_ms=market_hours.last_open(of.market, end_ms) if of.has_trading_days else end_ms,
        daily_open=raw.o,
        daily_high=raw.h,
        daily_low=raw.l,
        daily_close=raw.c,
    )


def _bar_day(at_ms: int) -> date:
    """Return the New York day of a day bar. Its `t` is the start or the end of the day.

    A UTC midnight is the start of that UTC date. Every other moment that was seen (end of the UTC day,
    start or end of the New York day, a moment within it) lies in the New York day.
    """
    if at_ms % DAY_MS == 0:
        return market_hours.from_ms(at_ms).date()
    return market_hours.day_of(at_ms)
