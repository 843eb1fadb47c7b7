"""Reads the parameters of a request. Raises `Refusal` with the provider's 400 for a wrong one."""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from urllib.parse import parse_qsl

from assetbatch.domain.market_hours import start_of_day
from assetbatch.sandbox.responses import EMPTY_PAGE, Request, bad_request, cursor_url

Query = Mapping[str, str]


def with_cursor(request: Request) -> dict[str, str]:
    """Return the query, extended by the parameters in its cursor."""
    query = dict(request.query)
    cursor = query.pop("cursor", None)
    if cursor is None:
        return query
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        return {**query, **dict(parse_qsl(decoded, strict_parsing=True, keep_blank_values=True))}
    except (binascii.Error, ValueError):
        raise bad_request(request, "The parameter 'cursor' is invalid.") from None


def choice(request: Request, query: Query, name: str, allowed: Sequence[str], default: str) -> str:
    """Return one of the allowed values."""
    value = query.get(name) or default
    if value != default and value not in allowed:
        raise bad_request(request, f"The parameter '{name}' does not allow '{value}'.")
    return value


def is_descending(request: Request, query: Query, name: str) -> bool:
    """Return whether the newest or last results come first."""
    return choice(request, query, name, ("asc", "desc"), "asc") == "desc"


def integer(request: Request, query: Query, name: str, default: int, lowest: int, highest: int) -> int:
    """Return a whole number between two bounds."""
    text = query.get(name) or str(default)
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise bad_request(request, f"The parameter '{name}' is not a whole number.")
    if not lowest <= int(text) <= highest:
        raise bad_request(request, f"The parameter '{name}' must be between {lowest} and {highest}.")
    return int(text)


def day(request: Request, name: str, text: str) -> date:
    """Return the date in `YYYY-MM-DD`."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            found = date.fromisoformat(text)
            if 1900 <= found.year <= 9000:
                return found
    except ValueError:
        pass
    raise bad_request(
        request, f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps"
    )


def moment(request: Request, name: str, text: str, *, end_of_day: bool = False) -> int:
    """Return the Unix milliseconds of a date (its first or last millisecond), or of a number of them."""
    if re.fullmatch(r"-?[0-9]{1,15}", text):
        return max(0, int(text))
    found = day(request, name, text)
    return start_of_day(found + timedelta(days=1)) - 1 if end_of_day else max(0, start_of_day(found))


def listed(text: str) -> list[str]:
    """Return what a parameter lists, each once, ascending."""
    return sorted(set(filter(None, text.split(","))))


def any_of(request: Request, query: Query) -> list[str] | None:
    """Return the tickers of `ticker.any_of`, 250 at most; None without them."""
    text = query.get("ticker.any_of")
    tickers = listed(text or "")
    if len(tickers) > 250:
        raise bad_request(request, "ticker.any_of holds more than 250 tickers.")
    return tickers if text else None


def within(tickers: Sequence[str], query: Query) -> Sequence[str]:
    """Return the tickers that the filters `ticker`, `ticker.gte`, `.gt`, `.lte` and `.lt` let through."""
    low, high = 0, len(tickers)
    for name, bisect in (("ticker", bisect_left), ("ticker.gte", bisect_left), ("ticker.gt", bisect_right)):
        if bound := query.get(name):
            low = max(low, bisect(tickers, bound))
    for name, bisect in (("ticker", bisect_right), ("ticker.lte", bisect_right), ("ticker.lt", bisect_left)):
        if bound := query.get(name):
            high = min(high, bisect(tickers, bound))
    return tickers[low:high]


def page_of_tickers(
    request: Request, query: Query, tickers: Sequence[str], limit: int
) -> tuple[Sequence[str], dict[str, str]]:
    """Return one page of tickers, and the field `next_url` if there is another page."""
    if query.get("page") == EMPTY_PAGE:
        return [], {}
    ordered = tickers[::-1] if is_descending(request, query, "order") else tickers
    skip = integer(request, query, "skip", 0, 0, 10**9)
    if skip + limit >= len(ordered):
        return ordered[skip:], {}
    next_url = cursor_url(request.base_url, request.path, {**query, "skip": skip + limit})
    return ordered[skip : skip + limit], {"next_url": next_url}
