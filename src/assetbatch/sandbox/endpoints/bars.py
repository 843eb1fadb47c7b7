"""Bars of any length in a range of time, in pages."""

from __future__ import annotations

from urllib.parse import quote

from assetbatch.sandbox.market_data import MarketData, aggregates, bar, kind_of
from assetbatch.sandbox.parameters import integer, is_descending, moment, with_cursor
from assetbatch.sandbox.responses import EMPTY_PAGE, Request, SandboxResponse, bad_request, cursor_url
from assetbatch.sandbox.spans import CALENDAR_UNITS, FIXED_UNITS, Span, read_page

PATH = r"/v2/aggs/ticker/([^/]+)/range/([^/]+)/([^/]+)/([^/]+)/([^/]+)"

_MAX_MULTIPLIER = {"second": 86_400, "minute": 44_640}
_OTHER_MAX_MULTIPLIER = 1_000


def respond(
    data: MarketData, request: Request, ticker: str, multiplier: str, timespan: str, start: str, end: str
) -> SandboxResponse:
    """Return one page; `limit` counts the minutes or days of which the bars consist."""
    span = _span(request, multiplier, timespan)
    from_ms = moment(request, "from", start)
    to_ms = moment(request, "to", end, end_of_day=True)
    if to_ms < from_ms:
        raise bad_request(request, "The parameter 'to' cannot be a time that occurs before 'from'.")
    query = with_cursor(request)
    descending = is_descending(request, query, "sort")
    limit = integer(request, query, "limit", 5_000, 1, 50_000)
    data.check_range(request, from_ms, to_ms, intraday=timespan in FIXED_UNITS)
    data.check_kind(request, kind_of(ticker))
    instrument = data.instruments.get(ticker)
    if instrument is None or query.get("page") == EMPTY_PAGE:
        return aggregates(request, [], 0, {"ticker": ticker})
    page = read_page(
        data.source,
        instrument,
        span,
        (from_ms, to_ms),
        request.now_ms,
        limit,
        descending=descending,
        counting=data.counting,
    )
    more = {"ticker": ticker}
    if page.rest_ms is not None:
        bounds = (start, str(page.rest_ms)) if descending else (str(page.rest_ms), end)
        path = "/".join(("/v2/aggs/ticker", quote(ticker), "range", multiplier, timespan, *bounds))
        order = "desc" if descending else "asc"
        more["next_url"] = cursor_url(request.base_url, path, {"limit": limit, "sort": order})
    return aggregates(request, [bar(instrument, row) for row in page.rows], page.base, more)


def _span(request: Request, multiplier: str, timespan: str) -> Span:
    if timespan not in (*FIXED_UNITS, *CALENDAR_UNITS):
        raise bad_request(request, f"Could not parse the timespan parameter: '{timespan}'.")
    most = _MAX_MULTIPLIER.get(timespan, _OTHER_MAX_MULTIPLIER)
    return Span(integer(request, {"multiplier": multiplier}, "multiplier", 0, 1, most), timespan)
