"""Ordered faults: what a provider, a gateway or a network does wrong, by name.

A fault is written `name`, `name=value`, or either with `:share`, such as `status=503:0.1`. The share of the
requests that meet it is 0 to 1; without one it is 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from threading import Lock
from typing import Any

import msgspec

from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.units import DAY_MS
from assetbatch.errors import ConfigError
from assetbatch.sandbox.plans import NOT_ENTITLED
from assetbatch.sandbox.responses import (
    EMPTY_PAGE,
    Request,
    SandboxResponse,
    cursor_url,
    error,
    not_authorized,
    too_many_calls,
)

_HTML = "text/html; charset=utf-8"
_BAR_FIELDS = ("o", "h", "l", "c", "open", "high", "low", "close")
_PRICE_FIELDS = (*_BAR_FIELDS, "vw", "price", "value", "p", "P", "a", "b", "ask", "bid")

FAULTS: dict[str, tuple[str, str]] = {
    "status": ("503", "answer with this status, 400 to 599"),
    "429": ("", "refuse as the rate limit does; the value becomes Retry-After"),
    "empty-429": ("", "429 with an empty body; the value becomes Retry-After"),
    "html": ("", "an HTML page with status 200"),
    "error-200": ("", 'status 200 with {"status": "ERROR"}'),
    "not-authorized-200": ("", 'status 200 with {"status": "NOT_AUTHORIZED"}'),
    "redirect": ("http://elsewhere.invalid", "302 to the same path on this host"),
    "wrong-shape": ("", "a JSON list where an object belongs"),
    "cut-json": ("", "JSON that stops in the middle"),
    "huge": ("200", "a body of so many megabytes"),
    "gzip-bomb": ("200", "a body that unpacks to so many megabytes"),
    "drop": ("", "close the connection without an answer"),
    "drop-half": ("", "close the connection after half the body"),
    "drip-headers": ("0.2", "send the headers a byte at a time, so many seconds apart"),
    "drip-body": ("0.2", "send the body a byte at a time, so many seconds apart"),
    "wrong-types": ("", "text where the prices belong"),
    "nan": ("NaN", "NaN, Infinity or 1e400 where the prices belong"),
    "delayed": ("", "DELAYED as the status of a good answer"),
    "zeros": ("", "zeros where the prices of bars, minute and day belong"),
    "null-results": ("", "null where the results belong"),
    "ticker-errors": ("NOT_FOUND", "each ticker of a /v3/snapshot is an error of this name"),
    "other-ticker": ("X:DOGEUSD", "the answer for a ticker is one for this ticker"),
    "off-grid": ("", "one more bar, which starts off the grid by more than half of its length"),
    "nanoseconds": ("", "every second bar's start in nanoseconds"),
    "hole": ("2026-11-01", "no bars of this UTC day"),
    "crossed": ("", "bid and ask exchanged, and a percent apart"),
    "outside-range": ("", "bars before and after the range that was asked"),
    "duplicates": ("", "each result twice"),
    "unordered": ("", "the results backwards"),
    "next-url": ("http://elsewhere.invalid", "a next_url to this host"),
    "next-url-empty": ("", "a next_url to an empty page"),
}
"""Every fault by name: its value if none is given, and what it does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with its value; `str` gives the form that `parse_fault` reads."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


def parse_fault(text: str) -> tuple[Fault, float]:
    """Return the fault and its share of the requests in `name[=value][:share]`; raise ConfigError."""
    matched = re.fullmatch(r"(?P<name>[a-z0-9-]+)(=(?P<value>.*?))?(:(?P<share>0?\.[0-9]+|0|1|1\.0+))?", text)
    if matched is None or matched["name"] not in FAULTS:
        raise ConfigError(f"unknown fault '{text}'", hint=f"name[=value][:share] with {', '.join(FAULTS)}")
    name = matched["name"]
    fault = Fault(name, matched["value"] if matched["value"] is not None else FAULTS[name][0])
    pattern = _VALUES.get(name)
    if pattern and not re.fullmatch(pattern, fault.value):
        raise ConfigError(f"the fault '{text}' has no such value", hint=f"{name}: {FAULTS[name][1]}")
    return fault, float(matched["share"] or 1)


_VALUES = {
    "status": r"[45][0-9][0-9]",
    "429": r"[0-9]*",
    "empty-429": r"[0-9]*",
    "huge": r"[0-9]+",
    "gzip-bomb": r"[0-9]+",
    "drip-headers": r"[0-9]*\.?[0-9]+",
    "drip-body": r"[0-9]*\.?[0-9]+",
    "hole": r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9])",
    "nan": r"NaN|-?Infinity|1e400",
    "redirect": r"https?://.+",
    "next-url": r"https?://.+",
}


@dataclass(slots=True)
class _Order:
    fault: Fault
    times: int | None
    path_contains: str
    probability: float


class FaultBook:
    """The ordered faults, and a decision which of them the next request meets."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []
        self._draws = 0
        self._lock = Lock()

    def order(self, text: str, *, times: int | None = 1, path_contains: str = "") -> None:
        """Let the next `times` requests (None: all) whose path contains the text meet the fault.

        A fault that cannot be applied to a response (no bars to make zero) waits for one to which it can.
        With a share each request draws. The draws are a fixed sequence, the same in every run.
        """
        fault, probability = parse_fault(text)
        with self._lock:
            self._orders.append(_Order(fault, times, path_contains, probability))

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._orders.clear()

    def meet(self, request: Request, response: SandboxResponse) -> tuple[SandboxResponse, Fault | None]:
        """Return the response after the first ordered fault that concerns it, and that fault."""
        with self._lock:
            for order in self._orders:
                if order.path_contains not in request.path or not self._drawn(order.probability):
                    continue
                spoilt = _spoil(order.fault, response, request)
                if spoilt is None:
                    continue
                if order.times is not None:
                    order.times -= 1
                    if order.times == 0:
                        self._orders.remove(order)
                return spoilt, order.fault
        return response, None

    def _drawn(self, probability: float) -> bool:
        if probability >= 1:
            return True
        self._draws += 1
        draw = blake2b(str(self._draws).encode(), digest_size=4).digest()
        return int.from_bytes(draw, "big") < probability * 2**32


def _spoil(fault: Fault, response: SandboxResponse, request: Request) -> SandboxResponse | None:
    """Return the response with the fault in it, or None if the fault does not concern such a response."""
    name = fault.name
    if name in _REPLACEMENTS:
        return _REPLACEMENTS[name](fault.value, request)
    if name in ("drop", "drop-half", "drip-headers", "drip-body", "huge", "gzip-bomb"):
        return replace(response, delivery=name, delivery_value=float(fault.value or 0))
    if response.status != 200 or not isinstance(response.body, dict):
        return None
    if name == "cut-json":
        whole = response.encoded()
        return replace(response, body=whole[: len(whole) // 2])
    body = _EDITS[name](response.body, fault.value, request)
    return None if body is None else replace(response, body=body)


# Answers in place of the provider's


def _with_status(value: str, request: Request) -> SandboxResponse:
    status = int(value)
    if status in (502, 503, 504):
        return SandboxResponse(status, f"<html><body><h1>{status}</h1></body></html>".encode(), _HTML)
    return error(status, "an error ordered from the simulated provider", request.request_id)


def _retry_after(value: str) -> dict[str, str]:
    return {"Retry-After": value} if value else {}


_REPLACEMENTS: dict[str, Callable[[str, Request], SandboxResponse]] = {
    "status": _with_status,
    "429": lambda value, request: replace(too_many_calls(request.request_id), headers=_retry_after(value)),
    "empty-429": lambda value, _: SandboxResponse(429, b"", headers=_retry_after(value)),
    "html": lambda _value, _request: SandboxResponse(200, b"<!doctype html><title>Sign in</title>", _HTML),
    "error-200": lambda _, request: replace(error(500, "Internal error", request.request_id), status=200),
    "not-authorized-200": lambda _, request: replace(
        not_authorized(NOT_ENTITLED, request.request_id), status=200
    ),
    "redirect": lambda value, request: SandboxResponse(302, b"", headers={"Location": value + request.path}),
    "wrong-shape": lambda _value, _request: SandboxResponse(200, ["not", "an", "object"]),
}


# Edits of a good response


def _has_bars(body: dict[str, Any]) -> bool:
    results = body.get("results")
    return isinstance(results, list) and bool(results) and "t" in results[0]


def _priced(value: Any) -> list[dict[str, Any]]:
    """Yield every object within the body that has prices."""
    if isinstance(value, list):
        return [found for one in value for found in _priced(one)]
    if not isinstance(value, dict):
        return []
    here = [value] if any(name in value for name in _PRICE_FIELDS) else []
    return here + [found for one in value.values() for found in _priced(one)]


def _with_prices(body: dict[str, Any], price: object) -> dict[str, Any] | None:
    found = _priced(body)
    for one in found:
        # The lists of conditions and exchanges share a letter with the close.
        one.update({name: price for name in _PRICE_FIELDS if isinstance(one.get(name), int | float)})
    return body if found else None


def _zeros(body: dict[str, Any], _value: str, _request: Request) -> dict[str, Any] | None:
    found = [one for one in _priced(body) if "o" in one or "open" in one]
    for one in found:
        one.update({name: 0 for name in _BAR_FIELDS if name in one})
    return body if found else None


def _ticker_errors(body: dict[str, Any], value: str, request: Request) -> dict[str, Any] | None:
    if "/v3/snapshot" not in request.path or not body["results"]:
        return None
    body["results"] = [
        {"ticker": one["ticker"], "error": value, "message": f"{value.replace('_', ' ').capitalize()}."}
        for one in body["results"]
    ]
    return body


def _other_ticker(body: dict[str, Any], value: str, _request: Request) -> dict[str, Any] | None:
    return {**body, "ticker": value} if "ticker" in body and _has_bars(body) else None


def _outside_range(bars: _Bars, _value: str, _request: Request) -> _Bars:
    week_ms = 7 * DAY_MS
    first, last = min(bars, key=lambda one: one["t"]), max(bars, key=lambda one: one["t"])
    return [{**first, "t": first["t"] - week_ms}, *bars, {**last, "t": last["t"] + week_ms}]


def _off_grid(bars: _Bars, _value: str, request: Request) -> _Bars:
    middle = len(bars) // 2
    off_ms = 36_000 if "/range/1/minute/" in request.path else 180_000
    odd = {**bars[middle], "t": bars[middle]["t"] + off_ms}
    return [*bars[:middle], odd, *bars[middle:]]


def _nanoseconds(bars: _Bars, _value: str, _request: Request) -> _Bars:
    return [{**bar, "t": bar["t"] * 1_000_000} if n % 2 else bar for n, bar in enumerate(bars)]


def _hole(bars: _Bars, value: str, _request: Request) -> _Bars:
    from_ms = to_ms(datetime.fromisoformat(value).replace(tzinfo=UTC))
    return [bar for bar in bars if not from_ms <= bar["t"] < from_ms + DAY_MS]


def _with_bars(change: Callable[[_Bars, str, Request], _Bars]) -> _Edit:
    """Return an edit of the bars of a response; one that changes nothing does not concern it."""

    def edit(body: dict[str, Any], value: str, request: Request) -> dict[str, Any] | None:
        if not _has_bars(body):
            return None
        changed = {**body, "results": change(body["results"], value, request)}
        return changed if changed != body else None

    return edit


def _crossed(body: dict[str, Any], _value: str, _request: Request) -> dict[str, Any] | None:
    quotes = [one for one in _priced(body) if "bid" in one and "ask" in one]
    for one in quotes:
        one.update(bid=one["ask"] * 1.01, ask=one["bid"])
    return body if quotes else None


def _with_results(change: Callable[[list[Any]], list[Any] | None]) -> _Edit:
    def edit(body: dict[str, Any], _value: str, _request: Request) -> dict[str, Any] | None:
        if not body.get("results"):
            return None
        return {**body, "results": change(body["results"])}

    return edit


def _next_url(body: dict[str, Any], value: str, request: Request) -> dict[str, Any] | None:
    return {**body, "next_url": value + request.path} if "results" in body else None


def _next_url_empty(body: dict[str, Any], _value: str, request: Request) -> dict[str, Any] | None:
    if "results" not in body:
        return None
    return {**body, "next_url": cursor_url(request.base_url, request.path, {"page": EMPTY_PAGE})}


_Bars = list[dict[str, Any]]
_Edit = Callable[[dict[str, Any], str, Request], dict[str, Any] | None]

_EDITS: dict[str, _Edit] = {
    "wrong-types": lambda body, _value, _request: _with_prices(body, "n/a"),
    "nan": lambda body, value, _request: _with_prices(body, msgspec.Raw(value.encode())),
    "delayed": lambda body, _value, _request: {**body, "status": "DELAYED"} if "status" in body else None,
    "zeros": _zeros,
    "null-results": _with_results(lambda _: None),
    "ticker-errors": _ticker_errors,
    "other-ticker": _other_ticker,
    "off-grid": _with_bars(_off_grid),
    "nanoseconds": _with_bars(_nanoseconds),
    "hole": _with_bars(_hole),
    "crossed": _crossed,
    "outside-range": _with_bars(_outside_range),
    "duplicates": _with_results(lambda results: [one for one in results for _ in range(2)]),
    "unordered": _with_results(lambda results: results[::-1]),
    "next-url": _next_url,
    "next-url-empty": _next_url_empty,
}
