"""The splits of all stocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from assetbatch.domain.market_hours import day_of
from assetbatch.sandbox.listings import Split
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import choice, day, integer, with_cursor
from assetbatch.sandbox.responses import EMPTY_PAGE, Request, SandboxResponse, bad_request, cursor_url, ok

PATH = r"/(stocks/v1|v3/reference)/splits"

_KINDS = ("forward_split", "reverse_split", "stock_dividend")
_COLUMNS = ("execution_date", "ticker", "adjustment_type", "split_from", "split_to", "id")
_OLD_FIELDS = ("id", "ticker", "execution_date", "split_from", "split_to")
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "": lambda value, bound: value == bound,
    ".gte": lambda value, bound: value >= bound,
    ".gt": lambda value, bound: value > bound,
    ".lte": lambda value, bound: value <= bound,
    ".lt": lambda value, bound: value < bound,
    ".any_of": lambda value, bound: value in bound.split(","),
}


def respond(data: MarketData, request: Request, version: str) -> SandboxResponse:
    """Return one page of splits, the newest first: 100 (of the old version 10), or `limit`."""
    query = with_cursor(request)
    is_old = version == "v3/reference"
    limit = integer(request, query, "limit", *((10, 1, 1_000) if is_old else (100, 1, 5_001)))
    skip = integer(request, query, "skip", 0, 0, 10**9)
    _check(request, query)
    if query.get("page") == EMPTY_PAGE:
        return ok(request, {"results": []})
    found = [row for row in _rows(data, request, query) if _matches(row, query)]
    if is_old:
        found = [{name: row[name] for name in _OLD_FIELDS} for row in found if _has_direction(row, query)]
    for column, is_descending in reversed(_old_order(request, query) if is_old else _order(request, query)):
        found.sort(key=lambda row: row[column], reverse=is_descending)
    more = {}
    if skip + limit < len(found):
        more["next_url"] = cursor_url(request.base_url, request.path, {**query, "skip": skip + limit})
    return ok(request, {"results": found[skip : skip + limit], **more})


def _check(request: Request, query: Mapping[str, str]) -> None:
    """Refuse dates and kinds that are none."""
    for suffix in ("", ".gte", ".gt", ".lte", ".lt"):
        if text := query.get(f"execution_date{suffix}"):
            day(request, f"execution_date{suffix}", text)
    for name in ("adjustment_type", "adjustment_type.any_of"):
        for kind in filter(None, query.get(name, "").split(",")):
            choice(request, {name: kind}, name, _KINDS, "")


def _rows(data: MarketData, request: Request, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the splits that the provider lists today, of the tickers that are asked for by name."""
    today = day_of(request.now_ms)
    named = {name for key in ("ticker", "ticker.any_of") for name in query.get(key, "").split(",") if name}
    found = []
    for ticker in named or data.instruments:
        instrument = data.instruments.get(ticker)
        if instrument is None or instrument.listing is None:
            continue
        factor = 1.0
        for split in sorted(instrument.listing.splits, key=lambda one: one.execution_date, reverse=True):
            if split.is_listed(today):
                factor *= split.factor
                found.append(_row(ticker, split, factor))
    return found


def _row(ticker: str, split: Split, factor: float) -> dict[str, Any]:
    text = f"{ticker} {split.execution_date} {split.split_from} {split.split_to}"
    return {
        "id": f"E{blake2b(text.encode(), digest_size=32).hexdigest()}",
        "ticker": ticker,
        "execution_date": split.execution_date.isoformat(),
        "split_from": split.split_from,
        "split_to": split.split_to,
        "adjustment_type": split.adjustment_type,
        "historical_adjustment_factor": round(factor, 6),
    }


def _matches(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    return all(
        compare(row[column], query[f"{column}{suffix}"])
        for column in ("ticker", "execution_date", "adjustment_type")
        for suffix, compare in _COMPARISONS.items()
        if query.get(f"{column}{suffix}")
    )


def _has_direction(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    wanted = query.get("reverse_split", "").lower()
    return wanted not in ("true", "false") or (row["split_from"] > row["split_to"]) == (wanted == "true")


def _old_order(request: Request, query: Mapping[str, str]) -> list[tuple[str, bool]]:
    column = choice(request, query, "sort", ("execution_date", "ticker"), "execution_date")
    return [(column, choice(request, query, "order", ("asc", "desc"), "desc") == "desc"), ("ticker", False)]


def _order(request: Request, query: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Return the columns by which the results are sorted, each with whether it descends."""
    order = []
    for part in (query.get("sort") or "execution_date.desc").split(","):
        column, _, direction = part.strip().partition(".")
        if column not in _COLUMNS or direction not in ("", "asc", "desc"):
            raise bad_request(request, f"The parameter 'sort' does not allow '{part}'.")
        order.append((column, direction != "asc"))
    return [*order, ("ticker", False)]
