"""What the tests of the simulated provider share: a clock to set, one GET, and the reading of all pages."""

from __future__ import annotations

import socket
from datetime import datetime
from typing import Any

import pytest
import requests

from assetbatch.domain.market_hours import day_of, to_ms
from assetbatch.sandbox import SandboxServer

KEY = "made-up-key-123"
MINUTE_MS = 60_000
BAR_MS = 300_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def ms(text: str) -> int:
    """Unix milliseconds of an ISO moment with its offset."""
    return to_ms(datetime.fromisoformat(text))


_SESSION = requests.Session()
_SESSION.trust_env = False

WEDNESDAY = "2025-06-18T15:02:37Z"
"""An ordinary moment: every market is open, New York has summer time, a minute is forming."""


class Clock:
    """The provider's clock, to be set."""

    def __init__(self, text: str = WEDNESDAY) -> None:
        self.now_ms = ms(text)

    def __call__(self) -> int:
        return self.now_ms


def listed(server: SandboxServer, at: str = WEDNESDAY) -> list[str]:
    """The tickers that exist on the New York day of a moment, in order."""
    day = day_of(ms(at))
    instruments = server.source.instruments
    return [one for one, found in instruments.items() if not found.listing or found.listing.is_traded(day)]


def ask(server: SandboxServer, path: str, *, key: str | None = KEY, **params: object) -> requests.Response:
    """One GET without retries or redirects; `path` may be a whole `next_url`.

    Connections are kept: with a new one for each request, most of the time of a property went into them.
    """
    url = path if path.startswith("http") else server.base_url + path
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    query = {name: str(value) for name, value in params.items()}
    return _SESSION.get(url, params=query, headers=headers, timeout=10, allow_redirects=False)


def ask_json(server: SandboxServer, path: str, **params: object) -> Any:
    """The body of a GET with the key that must be answered with 200."""
    response = ask(server, path, key=KEY, **params)
    assert response.status_code == 200, response.text
    return response.json()


def pages(server: SandboxServer, path: str, **params: object) -> list[dict[str, Any]]:
    """The bodies of all pages from the first one on."""
    found = [ask_json(server, path, **params)]
    while "next_url" in found[-1]:
        found.append(ask_json(server, found[-1]["next_url"]))
    return found


def range_path(ticker: str, span: str, start: object, end: object) -> str:
    """Path of an aggregate range; `span` such as `5/minute`."""
    return f"/v2/aggs/ticker/{ticker}/range/{span}/{start}/{end}"


def bars(
    server: SandboxServer, ticker: str, span: str, start: object, end: object, **params: object
) -> list[dict[str, Any]]:
    """All bars of a range, over all pages."""
    params.setdefault("limit", 50_000)
    return [
        bar
        for page in pages(server, range_path(ticker, span, start, end), **params)
        for bar in page.get("results", [])
    ]


def aggregate(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Open, high, low, close, volume and count of bars taken together."""
    return {
        "o": found[0]["o"],
        "h": max(bar["h"] for bar in found),
        "l": min(bar["l"] for bar in found),
        "c": found[-1]["c"],
        "v": pytest.approx(sum(bar["v"] for bar in found), rel=1e-9),
        "n": sum(bar["n"] for bar in found),
    }


def raw_exchange(server: SandboxServer, request: bytes, timeout: float = 5.0) -> bytes:
    """What comes back over a plain socket until the server closes it or is silent for `timeout`."""
    host, port = server.base_url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        connection.sendall(request)
        try:
            while piece := connection.recv(65_536):
                received += piece
        except TimeoutError:
            pass
    return received


def raw_get(path: str, *, close: bool = True) -> bytes:
    """A GET as bytes, with the key."""
    ending = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {KEY}\r\n{ending}\r\n".encode()
