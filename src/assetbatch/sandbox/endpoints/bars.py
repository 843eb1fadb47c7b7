"""Bars of any length in a range of time, in pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from assetbatch.domain.units import HOUR_MS
from assetbatch.sandbox.bars import Bar, merge
from assetbatch.sandbox.market_data import (
    MarketData,
    adjusted,
    adjusted_row,
    aggregates,
    bar,
    is_adjusted,
    kind_of,
)
from assetbatch.sandbox.parameters import integer, is_descending, moment, with_cursor
from assetbatch.sandbox.responses import EMPTY_PAGE, Request, SandboxResponse, bad_request, cursor_url
from assetbatch.sandbox.spans import CALENDAR_UNITS, FIXED_UNITS, Span, read_page
from assetbatch.sandbox.universe import Instrument

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
    kind = kind_of(ticker)
    data.check_range(request, kind, from_ms, to_ms, intraday=timespan in FIXED_UNITS)
    product = data.check_ticker(request, ticker)
    instrument = data.instruments.get(ticker)
    if instrument is None or query.get("page") == EMPTY_PAGE:
        return aggregates(request, [], 0, {"ticker": ticker}, query=query, kind=kind)
    page = read_page(
        data.source,
        instrument,
        span,
        (from_ms, to_ms),
        product.seen_ms(request.now_ms),
        limit,
        descending=descending,
        counting=data.counting,
    )
    more = {"ticker": ticker}
    if page.rest_ms is not None:
        bounds = (start, str(page.rest_ms)) if descending else (str(page.rest_ms), end)
        path = "/".join(("/v2/aggs/ticker", quote(ticker), "range", multiplier, timespan, *bounds))
        order = "desc" if descending else "asc"
        raw = {} if is_adjusted(query) else {"adjusted": "false"}
        cursor = {"limit": limit, "sort": order, **(raw if kind == "stocks" else {})}
        more["next_url"] = cursor_url(request.base_url, path, cursor)
    adjusted_ms = request.now_ms if is_adjusted(query) else None
    found = [_bar(data, instrument, span, one, adjusted_ms) for one in page.bars]
    return aggregates(
        request, found, page.base, more, query=query, kind=kind, is_delayed=product.delay_ms > 0
    )


def _bar(
    data: MarketData, instrument: Instrument, span: Span, one: Bar, adjusted_ms: int | None
) -> dict[str, Any]:
    """Return a bar of the response, after the splits up to `adjusted_ms` (None: raw)."""
    listing, row = instrument.listing, one.row
    if listing is None:
        return bar(instrument, row)
    # Days of stocks start at New York's midnight, those of indices an hour later.
    start_ms = row[0] + (HOUR_MS if instrument.kind == "indices" and span.unit in CALENDAR_UNITS else 0)
    if adjusted_ms is None or not listing.splits:
        return bar(instrument, row, start_ms)
    factor = listing.adjusting_factor(one.first_ms, adjusted_ms)
    if factor == listing.adjusting_factor(one.last_ms, adjusted_ms):
        found = bar(instrument, row, start_ms)
        return found if factor == 1 else adjusted(found, factor)
    # A split within the bar: each day by its own factor.
    grain_ms = data.source.grain_ms(instrument, span.fixed_ms)
    rows = data.source.rows(instrument, grain_ms, row[0], span.next(row[0]), adjusted_ms)
    days = [adjusted_row(each, listing.adjusting_factor(each[0], adjusted_ms)) for each in rows]
    return bar(instrument, merge(days, row[0]), start_ms)


def _span(request: Request, multiplier: str, timespan: str) -> Span:
    if timespan not in (*FIXED_UNITS, *CALENDAR_UNITS):
        raise bad_request(request, f"Could not parse the timespan parameter: '{timespan}'.")
    most = _MAX_MULTIPLIER.get(timespan, _OTHER_MAX_MULTIPLIER)
    return Span(integer(request, {"multiplier": multiplier}, "multiplier", 0, 1, most), timespan)
