"""What the provider answers: a pure function of the request, the plan, the prices and the time.

True to the provider's OpenAPI spec; where its live service is known to differ, it follows the service.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import (
    day_of,
    from_ms,
    is_open,
    last_midnight,
    new_york_zone,
    start_of_day,
)
from assetbatch.sandbox import plans
from assetbatch.sandbox.bars import HOUR_MS, MINUTE_MS, SECOND_MS, VOLUME_UNITS, Bar, Row, Source, merge
from assetbatch.sandbox.plans import Plan
from assetbatch.sandbox.universe import CURRENCY_NAMES, Instrument

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
EMPTY_PAGE = "empty"
"""A cursor with this parameter leads to a page without results."""

_PREVIOUS_DAYS_KEPT = 20_000
_MS_TO_NS = 1_000_000
_DAY_MS = 24 * HOUR_MS
_FIXED_SPANS = {"second": SECOND_MS, "minute": MINUTE_MS, "hour": HOUR_MS}
_CALENDAR_SPANS = ("day", "week", "month", "quarter", "year")
_MAX_MULTIPLIER = {"second": 86_400, "minute": 44_640}
_OTHER_MAX_MULTIPLIER = 1_000


@dataclass(frozen=True)
class Answer:
    """A response before it is sent: `body` is bytes, or what becomes JSON.

    `delivery` is how it goes over the wire (the name of a fault such as `drop`; empty: as usual).
    """

    status: int
    body: Any
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: str = ""
    delivery_value: float = 0.0

    def encoded(self) -> bytes:
        """The body as it goes over the wire."""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


@dataclass(frozen=True)
class Request:
    """What is asked, and the circumstances of the answer.

    `path` is the raw path and `query` its decoded parameters; `base_url` is how the client calls
    this server (for `next_url`), `request_id` the id of the answer, `now_ms` the provider's clock.
    """

    path: str
    query: Mapping[str, str]
    base_url: str
    request_id: str
    now_ms: int


class _Refusal(Exception):  # noqa: N818  it is an answer, not an error
    """Ends a request with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, text: str, request_id: str) -> Answer:
    """An error in the provider's shape for 400, 401, 429 and 500."""
    return Answer(status, {"status": "ERROR", "request_id": request_id, "error": text})


def too_many_calls(request_id: str) -> Answer:
    """The 429 of the rate limit."""
    return error(
        429,
        "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to "
        "continue. https://massive.com/pricing",
        request_id,
    )


def not_authorized(message: str, request_id: str) -> Answer:
    """A 403 of the plan."""
    return Answer(403, {"status": "NOT_AUTHORIZED", "request_id": request_id, "message": message})


def unknown_path() -> Answer:
    """The plain text of a path that does not exist."""
    return Answer(404, b"404 page not found\n", TEXT)


class Provider:
    """Answers requests out of a source of prices, as far as the plan allows."""

    def __init__(self, source: Source, plan: Plan) -> None:
        self._source = source
        self._plan = plan
        self._instruments = source.instruments
        self._tickers = list(source.instruments)
        self._previous_days: dict[tuple[str, int], Row | None] = {}
        self._routes: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
            (re.compile(pattern), handler)
            for pattern, handler in (
                (r"/v3/snapshot", self._snapshot),
                (r"/v3/reference/tickers", self._reference),
                (r"/v2/snapshot/locale/global/markets/(forex|crypto)/tickers", self._v2_snapshots),
                (r"/v2/snapshot/locale/global/markets/(forex|crypto)/tickers/([^/]+)", self._v2_snapshot),
                (r"/v2/aggs/ticker/([^/]+)/range/([^/]+)/([^/]+)/([^/]+)/([^/]+)", self._range),
                (r"/v2/aggs/ticker/([^/]+)/prev", self._previous),
                (r"/v2/aggs/grouped/locale/global/market/(fx|crypto)/([^/]+)", self._grouped),
                (r"/v1/marketstatus/now", self._market_status),
                (r"/v1/marketstatus/upcoming", self._upcoming),
                (r"/v1/last_quote/currencies/([^/]+)/([^/]+)", self._last_quote),
                (r"/v1/last/crypto/([^/]+)/([^/]+)", self._last_trade),
                (r"/v1/conversion/([^/]+)/([^/]+)", self._conversion),
            )
        ]

    def answer(self, request: Request) -> Answer:
        """The answer to an authenticated GET."""
        for pattern, handler in self._routes:
            matched = pattern.fullmatch(request.path)
            if matched:
                try:
                    return handler(request, *map(unquote, matched.groups()))
                except _Refusal as refusal:
                    return refusal.answer
        return unknown_path()

    # Aggregates

    def _range(
        self, request: Request, ticker: str, multiplier: str, timespan: str, start: str, end: str
    ) -> Answer:
        span = _span(request, multiplier, timespan)
        from_ms = _moment(request, "from", start)
        to_ms = _moment(request, "to", end, end_of_day=True)
        if to_ms < from_ms:
            raise _bad(request, "The parameter 'to' cannot be a time that occurs before 'from'.")
        query = _with_cursor(request)
        descending = _choice(request, query, "sort", ("asc", "desc"), "asc") == "desc"
        limit = _integer(request, query, "limit", 5_000, 1, 50_000)
        refused = plans.refuse_range(
            self._plan, request.now_ms, from_ms, to_ms, intraday=timespan in _FIXED_SPANS
        )
        if refused:
            return not_authorized(refused, request.request_id)
        self._check_kind(request, _kind_of_ticker(ticker))
        instrument = self._instruments.get(ticker)
        if instrument is None or query.get("page") == EMPTY_PAGE:
            return _aggregates(request, [], 0, {"ticker": ticker})
        pick = _page_descending if descending else _page_ascending
        page = pick(self._source, instrument, span, from_ms, to_ms, request.now_ms, limit)
        more = {"ticker": ticker}
        if page.rest_ms is not None:
            bounds = (start, str(page.rest_ms)) if descending else (str(page.rest_ms), end)
            path = "/".join(("/v2/aggs/ticker", quote(ticker), "range", multiplier, timespan, *bounds))
            order = "desc" if descending else "asc"
            more["next_url"] = cursor_url(request.base_url, path, {"limit": limit, "sort": order})
        return _aggregates(request, [_bar(instrument, row) for row in page.rows], page.base, more)

    def _previous(self, request: Request, ticker: str) -> Answer:
        self._check_kind(request, _kind_of_ticker(ticker))
        instrument = self._instruments.get(ticker)
        row = self._previous_day(instrument, request.now_ms) if instrument else None
        if instrument is None or row is None:
            return _aggregates(request, [], 0, {"ticker": ticker})
        bar = {"T": ticker, **_bar(instrument, row), "t": _end_of_utc_day(row[0])}
        return _aggregates(request, [bar], 1, {"ticker": ticker})

    def _grouped(self, request: Request, kind: str, day_text: str) -> Answer:
        day = _day(request, "date", day_text)
        start_ms, end_ms = start_of_day(day), start_of_day(day + timedelta(days=1))
        refused = plans.refuse_range(self._plan, request.now_ms, start_ms, end_ms - 1, intraday=False)
        if refused:
            return not_authorized(refused, request.request_id)
        self._check_kind(request, kind)
        bars = []
        for instrument in self._instruments.values():
            if instrument.kind != kind:
                continue
            row = self._day(instrument, start_ms, end_ms, request.now_ms)
            if row is not None:
                # Recorded answers stamp forex with the end of the UTC day and crypto within the day.
                stamp = _end_of_utc_day(start_ms) if kind == "fx" else start_ms
                bars.append({"T": instrument.ticker, **_bar(instrument, row), "t": stamp})
        return _aggregates(request, bars, len(bars), {})

    def _day(self, instrument: Instrument, start_ms: int, end_ms: int, now_ms: int) -> Row | None:
        rows = self._source.rows(instrument, self._source.grain_ms(HOUR_MS), start_ms, end_ms, now_ms)
        return merge(rows, start_ms) if rows else None

    def _previous_day(self, instrument: Instrument, now_ms: int) -> Row | None:
        """The last complete New York day with data; kept, since it is asked again with every snapshot."""
        midnight_ms = last_midnight(now_ms)
        key = (instrument.ticker, midnight_ms)
        try:
            return self._previous_days[key]
        except KeyError:
            row = self._find_previous_day(instrument, midnight_ms)
        if len(self._previous_days) >= _PREVIOUS_DAYS_KEPT:
            self._previous_days.clear()
        self._previous_days[key] = row
        return row

    def _find_previous_day(self, instrument: Instrument, end_ms: int) -> Row | None:
        now_ms = end_ms
        while (data_ms := self._source.last_data(instrument, end_ms)) is not None:
            start_ms = last_midnight(data_ms - 1)
            row = self._day(instrument, start_ms, _next_midnight(start_ms), now_ms)
            if row is not None:
                return row
            end_ms = start_ms
        return None

    # Snapshots

    def _snapshot(self, request: Request) -> Answer:
        self._check_realtime(request)
        query = _with_cursor(request)
        limit = _integer(request, query, "limit", 10, 1, 250)
        descending = _choice(request, query, "order", ("asc", "desc"), "asc") == "desc"
        _choice(request, query, "sort", ("ticker",), "ticker")
        kind = _choice(request, query, "type", ("stocks", "options", "crypto", "fx", "indices"), "")
        asked = query.get("ticker.any_of")
        if asked:
            tickers = sorted(set(filter(None, asked.split(","))))
            if len(tickers) > 250:
                raise _bad(request, "ticker.any_of holds more than 250 tickers.")
        else:
            tickers = self._tickers
        tickers = _within(tickers, query)
        if kind:
            tickers = [
                one for one in tickers if one in self._instruments and self._instruments[one].kind == kind
            ]
        chosen, more = self._page(request, query, tickers, limit, descending, "/v3/snapshot")
        results = [self._snapshot_entry(ticker, request.now_ms) for ticker in chosen]
        return Answer(200, {"results": results, "status": "OK", "request_id": request.request_id, **more})

    def _snapshot_entry(self, ticker: str, now_ms: int) -> dict[str, Any]:
        instrument = self._instruments.get(ticker)
        if instrument is None:
            return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
        if instrument.kind not in self._plan.kinds:
            return {"ticker": ticker, "error": "NOT_ENTITLED", "message": "Not entitled to this ticker."}
        entry: dict[str, Any] = {
            "ticker": ticker,
            "name": instrument.name,
            "type": instrument.kind,
            "market_status": "open" if is_open(instrument.market, now_ms) else "closed",
        }
        price = _price(instrument)
        day = self._today(instrument, now_ms)
        before = self._previous_day(instrument, now_ms)
        previous_close = before[4] if before else 0
        change = day[4] - previous_close if day and before else 0
        session = {
            "change": price(change),
            "change_percent": round(100 * change / previous_close, 4) if previous_close else 0,
            "open": price(day[1]) if day else 0,
            "high": price(day[2]) if day else 0,
            "low": price(day[3]) if day else 0,
            "close": price(day[4]) if day else 0,
            "volume": _volume(instrument, day[5]) if day else 0,
            "previous_close": price(previous_close),
        }
        entry["session"] = session
        last = self._source.last(instrument, now_ms)
        if last is None:
            return entry
        row, at_ms = last
        if instrument.market is Market.CRYPTO:
            session["price"] = price(row[4])
            # The live service leaves `size` out of crypto trades, though the spec requires it.
            entry["last_trade"] = {
                "participant_timestamp": at_ms * _MS_TO_NS,
                "timeframe": "REAL-TIME",
                "id": str(at_ms),
                "price": price(row[4]),
                "exchange": 1,
                "conditions": [1],
            }
        else:
            bid, ask = self._source.quote(instrument, row)
            entry["last_quote"] = {
                "last_updated": at_ms * _MS_TO_NS,
                "timeframe": "REAL-TIME",
                "ask": price(ask),
                "bid": price(bid),
                "exchange": 48,
            }
        return entry

    def _today(self, instrument: Instrument, now_ms: int) -> Row | None:
        start_ms = last_midnight(now_ms)
        return self._day(instrument, start_ms, _next_midnight(start_ms), now_ms)

    def _v2_snapshots(self, request: Request, market: str) -> Answer:
        kind = self._v2_kind(request, market)
        asked = [one for one in request.query.get("tickers", "").split(",") if one]
        tickers = sorted(set(asked)) if asked else self._tickers
        known = (self._instruments.get(ticker) for ticker in tickers)
        entries = [self._v2_entry(one, request.now_ms) for one in known if one and one.kind == kind]
        return Answer(
            200, {"status": "OK", "request_id": request.request_id, "count": len(entries), "tickers": entries}
        )

    def _v2_snapshot(self, request: Request, market: str, ticker: str) -> Answer:
        kind = self._v2_kind(request, market)
        instrument = self._instruments.get(ticker)
        if instrument is None or instrument.kind != kind:
            raise _not_found(request)
        entry = self._v2_entry(instrument, request.now_ms)
        return Answer(200, {"status": "OK", "request_id": request.request_id, "ticker": entry})

    def _v2_kind(self, request: Request, market: str) -> str:
        self._check_realtime(request)
        kind = "fx" if market == "forex" else "crypto"
        self._check_kind(request, kind)
        return kind

    def _v2_entry(self, instrument: Instrument, now_ms: int) -> dict[str, Any]:
        crypto = instrument.market is Market.CRYPTO
        price = _price(instrument)
        day = self._today(instrument, now_ms)
        before = self._previous_day(instrument, now_ms)
        change = day[4] - before[4] if day and before else 0
        last = self._source.last(instrument, now_ms)
        # Snapshots are cleared at New York midnight: zeros until the first quote of the day.
        minute = last[0] if last and last[0][0] >= last_midnight(now_ms) else None
        entry = {
            "ticker": instrument.ticker,
            "todaysChange": price(change),
            "todaysChangePerc": round(100 * change / before[4], 6) if before else 0,
            "updated": (last[1] if last else 0) * (1 if crypto else _MS_TO_NS),
            "day": _v2_bar(instrument, day, average=crypto),
            "min": {
                **_v2_bar(instrument, minute, average=crypto),
                "t": minute[0] if minute else 0,
                "n": minute[6] if minute else 0,
            },
            "prevDay": _v2_bar(instrument, before, average=True),
        }
        if last and crypto:
            entry["lastTrade"] = {
                "p": price(last[0][4]),
                "s": _trade_size(last[0]),
                "t": last[1],
                "x": 1,
                "c": [1],
                "i": str(last[1]),
            }
        elif last:
            bid, ask = self._source.quote(instrument, last[0])
            entry["lastQuote"] = {"a": price(ask), "b": price(bid), "t": last[1], "x": 48}
        return entry

    # Last quote and trade, conversion

    def _last_quote(self, request: Request, base: str, quoted: str) -> Answer:
        self._check_realtime(request)
        self._check_kind(request, "fx")
        quote_now = self._quote(f"C:{base}{quoted}", request.now_ms)
        if quote_now is None:
            raise _not_found(request)
        return Answer(
            200,
            {
                "last": quote_now,
                "request_id": request.request_id,
                "status": "success",
                "symbol": f"{base}/{quoted}",
            },
        )

    def _last_trade(self, request: Request, base: str, quoted: str) -> Answer:
        self._check_realtime(request)
        self._check_kind(request, "crypto")
        instrument = self._instruments.get(f"X:{base}{quoted}")
        last = self._source.last(instrument, request.now_ms) if instrument else None
        if instrument is None or last is None:
            raise _not_found(request)
        return Answer(
            200,
            {
                "last": {
                    "conditions": [1],
                    "exchange": 1,
                    "price": _price(instrument)(last[0][4]),
                    "size": _trade_size(last[0]),
                    "timestamp": last[1],
                },
                "request_id": request.request_id,
                "status": "success",
                "symbol": f"{base}-{quoted}",
            },
        )

    def _conversion(self, request: Request, base: str, quoted: str) -> Answer:
        self._check_realtime(request)
        self._check_kind(request, "fx")
        precision = _integer(request, request.query, "precision", 2, 0, 4)
        try:
            amount = float(request.query.get("amount") or 1)
        except ValueError:
            raise _bad(request, "Could not parse the parameter 'amount'.") from None
        if not abs(amount) < 1e300:
            raise _bad(request, "The parameter 'amount' is out of range.")
        # The live service answers with the quote of the inverse pair where there is one.
        inverse = self._quote(f"C:{quoted}{base}", request.now_ms)
        direct = None if inverse else self._quote(f"C:{base}{quoted}", request.now_ms)
        if inverse:
            symbol, used, converted = f"{quoted}/{base}", inverse, amount / inverse["bid"]
        elif direct:
            symbol, used, converted = f"{base}/{quoted}", direct, amount * direct["bid"]
        else:
            raise _not_found(request)
        body = {
            "converted": round(converted, precision),
            "from": base,
            "initialAmount": amount,
            "last": used,
            "request_id": request.request_id,
            "status": "success",
            "symbol": symbol,
            "to": quoted,
        }
        return Answer(200, body)

    def _quote(self, ticker: str, now_ms: int) -> dict[str, Any] | None:
        instrument = self._instruments.get(ticker)
        last = self._source.last(instrument, now_ms) if instrument else None
        if instrument is None or last is None:
            return None
        bid, ask = self._source.quote(instrument, last[0])
        price = _price(instrument)
        return {"ask": price(ask), "bid": price(bid), "exchange": 48, "timestamp": last[1]}

    # Reference

    def _reference(self, request: Request) -> Answer:
        query = _with_cursor(request)
        limit = _integer(request, query, "limit", 100, 1, 1_000)
        descending = _choice(request, query, "order", ("asc", "desc"), "asc") == "desc"
        market = _choice(request, query, "market", ("stocks", "crypto", "fx", "otc", "indices"), "")
        active = _choice(request, query, "active", ("true", "false"), "true") == "true"
        sort = query.get("sort") or "ticker"
        if query.get("date"):
            _day(request, "date", query["date"])
        tickers = _within(self._tickers, query) if active else []
        if any(query.get(name) for name in ("type", "exchange", "cusip", "cik")):
            tickers = []  # no currency pair has any of these
        if market:
            tickers = [ticker for ticker in tickers if self._instruments[ticker].kind == market]
        if term := query.get("search", "").lower():
            tickers = [
                ticker
                for ticker in tickers
                if term in ticker.lower() or term in self._instruments[ticker].name.lower()
            ]
        if sort != "ticker":
            if sort not in _REFERENCE_SORTS:
                raise _bad(request, f"The parameter 'sort' does not allow '{sort}'.")
            tickers = sorted(
                tickers,
                key=lambda one: (_reference_entry(self._instruments[one], request.now_ms).get(sort, ""), one),
            )
        chosen, more = self._page(request, query, tickers, limit, descending, "/v3/reference/tickers")
        results = [_reference_entry(self._instruments[ticker], request.now_ms) for ticker in chosen]
        return Answer(
            200,
            {
                "results": results,
                "status": "OK",
                "request_id": request.request_id,
                "count": len(results),
                **more,
            },
        )

    def _page(
        self,
        request: Request,
        query: Mapping[str, str],
        tickers: Sequence[str],
        limit: int,
        descending: bool,
        path: str,
    ) -> tuple[Sequence[str], dict[str, str]]:
        """One page of tickers, and the `next_url` field if there is another one."""
        if query.get("page") == EMPTY_PAGE:
            return [], {}
        ordered = list(reversed(tickers)) if descending else tickers
        skip = _integer(request, query, "skip", 0, 0, 10**9)
        more = {}
        if skip + limit < len(ordered):
            more["next_url"] = cursor_url(request.base_url, path, {**query, "skip": skip + limit})
        return ordered[skip : skip + limit], more

    # Market status

    def _market_status(self, request: Request) -> Answer:
        local = from_ms(request.now_ms).astimezone(new_york_zone())
        minute = local.hour * 60 + local.minute
        weekday = local.weekday() < 5
        early = weekday and 4 * 60 <= minute < 9 * 60 + 30
        late = weekday and 16 * 60 <= minute < 20 * 60
        stocks = "open" if weekday and 9 * 60 + 30 <= minute < 16 * 60 else "closed"
        stocks = "extended-hours" if early or late else stocks
        return Answer(
            200,
            {
                "afterHours": late,
                "currencies": {
                    "crypto": "open",
                    "fx": "open" if is_open(Market.FOREX, request.now_ms) else "closed",
                },
                "earlyHours": early,
                "exchanges": {"nasdaq": stocks, "nyse": stocks, "otc": stocks},
                "market": stocks,
                "serverTime": local.isoformat(timespec="seconds"),
            },
        )

    def _upcoming(self, request: Request) -> Answer:
        today = day_of(request.now_ms)
        holidays = sorted(
            (day, name)
            for year in (today.year, today.year + 1)
            for day, name in _holidays(year)
            if today <= day <= today + timedelta(days=365)
        )
        return Answer(
            200,
            [
                {"date": day.isoformat(), "exchange": exchange, "name": name, "status": "closed"}
                for day, name in holidays
                for exchange in ("NYSE", "NASDAQ", "OTC")
            ],
        )

    # What the plan allows

    def _check_realtime(self, request: Request) -> None:
        if not self._plan.realtime:
            raise _Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))

    def _check_kind(self, request: Request, kind: str | None) -> None:
        if kind is not None and kind not in self._plan.kinds:
            raise _Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))


# Bars as JSON


def _price(instrument: Instrument) -> Callable[[int], float]:
    unit = 10**instrument.digits
    return lambda ticks: ticks / unit


def _volume(instrument: Instrument, volume: int) -> float:
    return volume / VOLUME_UNITS if instrument.market is Market.CRYPTO else volume


def _average(instrument: Instrument, row: Row) -> float:
    average: float = round(row[7] / (4 * row[5]) / 10**instrument.digits, instrument.digits)
    return average


def _trade_size(row: Row) -> float:
    size: float = row[5] // max(1, row[6]) / VOLUME_UNITS
    return size


def _bar(instrument: Instrument, row: Row) -> dict[str, Any]:
    """A bar of an aggregate answer; a recorded bar may have no volume, count or average."""
    unit = 10**instrument.digits
    start_ms, opened, high, low, closed, volume, count, turnover = row
    bar: dict[str, Any] = {}
    if volume:
        bar["v"] = volume / VOLUME_UNITS if instrument.market is Market.CRYPTO else volume
    if turnover:
        bar["vw"] = _average(instrument, row)
    bar["o"] = opened / unit
    bar["c"] = closed / unit
    bar["h"] = high / unit
    bar["l"] = low / unit
    bar["t"] = start_ms
    if count:
        bar["n"] = count
    return bar


def _v2_bar(instrument: Instrument, row: Row | None, *, average: bool) -> dict[str, Any]:
    price = _price(instrument)
    bar = {
        "o": price(row[1]) if row else 0,
        "h": price(row[2]) if row else 0,
        "l": price(row[3]) if row else 0,
        "c": price(row[4]) if row else 0,
        "v": _volume(instrument, row[5]) if row else 0,
    }
    if average:
        bar["vw"] = _average(instrument, row) if row and row[7] else 0
    return bar


def _aggregates(request: Request, bars: list[dict[str, Any]], base: int, more: Mapping[str, str]) -> Answer:
    body: dict[str, Any] = {
        **more,
        "queryCount": base,
        "resultsCount": len(bars),
        "adjusted": request.query.get("adjusted", "true").lower() != "false",
        "status": "OK",
        "request_id": request.request_id,
        "count": len(bars),
    }
    if bars:
        body["results"] = bars
    return Answer(200, body)


def _next_midnight(midnight_ms: int) -> int:
    return start_of_day(day_of(midnight_ms) + timedelta(days=1))


def _end_of_utc_day(start_ms: int) -> int:
    """The last millisecond of the UTC day, as the provider stamps daily forex bars."""
    return start_ms // _DAY_MS * _DAY_MS + _DAY_MS - 1


# Spans: how time is cut into bars


@dataclass(frozen=True)
class _Span:
    """`multiplier` times a unit of time: how long bars are and where they start."""

    multiplier: int
    unit: str

    def floor(self, at_ms: int) -> int:
        """Start of the bar that holds `at_ms`: multiples from 1970, days by New York's calendar."""
        if self.unit in _FIXED_SPANS:
            length = _FIXED_SPANS[self.unit] * self.multiplier
            return at_ms // length * length
        day = day_of(at_ms)
        return start_of_day(self._calendar(day, 0))

    def next(self, start_ms: int) -> int:
        """Start of the bar after the one that starts at `start_ms`."""
        if self.unit in _FIXED_SPANS:
            return start_ms + _FIXED_SPANS[self.unit] * self.multiplier
        return start_of_day(self._calendar(day_of(start_ms), 1))

    def _calendar(self, day: date, ahead: int) -> date:
        count = self.multiplier
        if self.unit == "day":
            return date.fromordinal(max(1, (day.toordinal() // count + ahead) * count))
        if self.unit == "week":
            sunday = day.toordinal() // 7  # ordinal 7 was a Sunday, the provider's first day of the week
            return date.fromordinal(max(1, (sunday // count + ahead) * count * 7))
        months = {"month": 1, "quarter": 3, "year": 12}[self.unit] * count
        month = (day.year * 12 + day.month - 1) // months * months + ahead * months
        return date(max(1, month // 12), month % 12 + 1, 1)

    @property
    def grain_ms(self) -> int:
        """The length of which every bar is a multiple."""
        return _FIXED_SPANS.get(self.unit, HOUR_MS) * (self.multiplier if self.unit in _FIXED_SPANS else 1)

    def base_count(self, bar: Bar, grain_ms: int) -> int:
        """How many base aggregates the rows of a bar stand for: seconds, minutes or days."""
        if self.unit in _FIXED_SPANS:
            return bar.rows * (grain_ms // (SECOND_MS if self.unit == "second" else MINUTE_MS))
        return max(1, round((bar.last_ms - bar.first_ms) / _DAY_MS))


@dataclass(frozen=True)
class _Page:
    """Bars of one page, how many base aggregates they took, and where the rest begins (None: complete)."""

    rows: list[Row]
    base: int
    rest_ms: int | None


def _page_ascending(
    source: Source, instrument: Instrument, span: _Span, from_ms: int, to_ms: int, now_ms: int, limit: int
) -> _Page:
    """The first bars that start in `[from_ms, to_ms]`, up to `limit` base aggregates."""
    grain_ms = source.grain_ms(span.grain_ms)
    bars: list[Row] = []
    base = 0
    last_ms = min(to_ms, now_ms - 1)
    if from_ms > last_ms:
        return _Page(bars, base, None)
    start_ms = span.floor(from_ms)
    if start_ms < from_ms:
        start_ms = span.next(start_ms)
    while start_ms <= last_ms:
        if base >= limit:
            return _Page(bars, base, start_ms)
        end_ms = span.next(start_ms)
        bar = source.bar(instrument, grain_ms, start_ms, end_ms, now_ms)
        start_ms = end_ms
        if bar:
            bars.append(bar.row)
            base += span.base_count(bar, grain_ms)
            continue
        data_ms = source.next_data(instrument, end_ms)
        if data_ms is None:
            break
        start_ms = span.floor(data_ms)
    return _Page(bars, base, None)


def _page_descending(
    source: Source, instrument: Instrument, span: _Span, from_ms: int, to_ms: int, now_ms: int, limit: int
) -> _Page:
    """The last bars that start in `[from_ms, to_ms]`, newest first, up to `limit` base aggregates."""
    grain_ms = source.grain_ms(span.grain_ms)
    bars: list[Row] = []
    base = 0
    last_ms = min(to_ms, now_ms - 1)
    if from_ms > last_ms:
        return _Page(bars, base, None)
    start_ms = span.floor(last_ms)
    while start_ms >= from_ms:
        if base >= limit:
            return _Page(bars, base, start_ms)
        bar = source.bar(instrument, grain_ms, start_ms, span.next(start_ms), now_ms)
        if bar:
            bars.append(bar.row)
            base += span.base_count(bar, grain_ms)
            start_ms = span.floor(start_ms - 1)
            continue
        data_ms = source.last_data(instrument, start_ms)
        if data_ms is None:
            break
        start_ms = span.floor(data_ms - 1)
    return _Page(bars, base, None)


# Reading a request


def _bad(request: Request, text: str) -> _Refusal:
    return _Refusal(error(400, text, request.request_id))


def _not_found(request: Request) -> _Refusal:
    body = {"status": "NOT_FOUND", "request_id": request.request_id, "message": "Ticker not found."}
    return _Refusal(Answer(404, body))


def _kind_of_ticker(ticker: str) -> str | None:
    return {"C:": "fx", "X:": "crypto"}.get(ticker[:2])


def _choice(
    request: Request, query: Mapping[str, str], name: str, allowed: Sequence[str], default: str
) -> str:
    value = query.get(name) or default
    if value != default and value not in allowed:
        raise _bad(request, f"The parameter '{name}' does not allow '{value}'.")
    return value


def _integer(
    request: Request, query: Mapping[str, str], name: str, default: int, lowest: int, highest: int
) -> int:
    text = query.get(name) or str(default)
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise _bad(request, f"The parameter '{name}' is not a whole number.")
    if not lowest <= int(text) <= highest:
        raise _bad(request, f"The parameter '{name}' must be between {lowest} and {highest}.")
    return int(text)


def _day(request: Request, name: str, text: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            day = date.fromisoformat(text)
            if 1900 <= day.year <= 9000:
                return day
    except ValueError:
        pass
    raise _bad(request, f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps")


def _moment(request: Request, name: str, text: str, *, end_of_day: bool = False) -> int:
    """Unix milliseconds of a date (its first or its last millisecond) or of a number of milliseconds."""
    if re.fullmatch(r"-?[0-9]{1,15}", text):
        return max(0, int(text))
    day = _day(request, name, text)
    return start_of_day(day + timedelta(days=1)) - 1 if end_of_day else max(0, start_of_day(day))


def _span(request: Request, multiplier: str, timespan: str) -> _Span:
    if timespan not in (*_FIXED_SPANS, *_CALENDAR_SPANS):
        raise _bad(request, f"Could not parse the timespan parameter: '{timespan}'.")
    most = _MAX_MULTIPLIER.get(timespan, _OTHER_MAX_MULTIPLIER)
    return _Span(_integer(request, {"multiplier": multiplier}, "multiplier", 0, 1, most), timespan)


def _with_cursor(request: Request) -> dict[str, str]:
    """The query with what its cursor stands for."""
    query = dict(request.query)
    cursor = query.pop("cursor", None)
    if cursor is None:
        return query
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        return {**query, **dict(parse_qsl(decoded, strict_parsing=True, keep_blank_values=True))}
    except (binascii.Error, ValueError):
        raise _bad(request, "The parameter 'cursor' is invalid.") from None


def cursor_url(base_url: str, path: str, query: Mapping[str, Any]) -> str:
    """An absolute `next_url`, with what the next page needs in its cursor, and without a key."""
    cursor = base64.urlsafe_b64encode(urlencode(query).encode()).decode().rstrip("=")
    return f"{base_url}{path}?cursor={cursor}"


def _within(tickers: Sequence[str], query: Mapping[str, str]) -> list[str]:
    """The tickers that the filters `ticker`, `ticker.gte`, `.gt`, `.lte` and `.lt` let through, sorted."""
    low, high = 0, len(tickers)
    if exact := query.get("ticker"):
        low, high = bisect_left(tickers, exact), bisect_right(tickers, exact)
    if bound := query.get("ticker.gte"):
        low = max(low, bisect_left(tickers, bound))
    if bound := query.get("ticker.gt"):
        low = max(low, bisect_right(tickers, bound))
    if bound := query.get("ticker.lte"):
        high = min(high, bisect_right(tickers, bound))
    if bound := query.get("ticker.lt"):
        high = min(high, bisect_left(tickers, bound))
    return list(tickers[low:high])


# Reference data

_REFERENCE_SORTS = (
    "ticker", "name", "market", "locale", "primary_exchange", "type", "currency_symbol", "currency_name",
    "base_currency_symbol", "base_currency_name", "cik", "composite_figi", "share_class_figi",
    "last_updated_utc", "delisted_utc",
)  # fmt: skip


def _reference_entry(instrument: Instrument, now_ms: int) -> dict[str, Any]:
    return {
        "ticker": instrument.ticker,
        "name": instrument.name,
        "market": instrument.kind,
        "locale": "global",
        "active": True,
        "currency_symbol": instrument.quote,
        "currency_name": CURRENCY_NAMES.get(instrument.quote, instrument.quote),
        "base_currency_symbol": instrument.base,
        "base_currency_name": CURRENCY_NAMES.get(instrument.base, instrument.base),
        "last_updated_utc": f"{from_ms(now_ms):%Y-%m-%d}T00:00:00Z",
    }


def _holidays(year: int) -> list[tuple[date, str]]:
    """The days of a year on which American stock exchanges are closed and most others too."""

    def observed(day: date) -> date:
        return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))

    first = date(year, 11, 1)
    thanksgiving = first + timedelta(days=(3 - first.weekday()) % 7 + 21)
    return [
        (observed(date(year, 1, 1)), "New Years Day"),
        (observed(date(year, 7, 4)), "Independence Day"),
        (thanksgiving, "Thanksgiving"),
        (observed(date(year, 12, 25)), "Christmas"),
    ]
