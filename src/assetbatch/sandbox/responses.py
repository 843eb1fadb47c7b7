"""A request to the simulated provider, its response, and the refusals in the provider's words."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
EMPTY_PAGE = "empty"
"""A cursor whose `page` has this value leads to a page without results."""


@dataclass(frozen=True)
class SandboxResponse:
    """A response before it is sent: `body` is bytes, or a value that is encoded as JSON.

    `delivery` names the fault that changes how it is sent (such as `drop`). It is empty for a usual response.
    """

    status: int
    body: Any
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: str = ""
    delivery_value: float = 0.0

    def encoded(self) -> bytes:
        """Return the bytes of the body."""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


@dataclass(frozen=True)
class Request:
    """A request and its circumstances.

    `path` is the raw path and `query` has the decoded parameters. `base_url` is the address under which the
    client calls this server (for `next_url`). `now_ms` is the provider's clock.
    """

    path: str
    query: Mapping[str, str]
    base_url: str
    request_id: str
    now_ms: int


class Refusal(Exception):  # noqa: N818  it is a response, not an error
    """Ends a request with this response."""

    def __init__(self, response: SandboxResponse) -> None:
        super().__init__(response.status)
        self.response = response


def ok(request: Request, fields: Mapping[str, Any], status: str = "OK") -> SandboxResponse:
    """Return a good response with these fields."""
    return SandboxResponse(200, {**fields, "status": status, "request_id": request.request_id})


def error(status: int, text: str, request_id: str) -> SandboxResponse:
    """Return an error in the provider's shape for 400, 401, 429 and 500."""
    return SandboxResponse(status, {"status": "ERROR", "request_id": request_id, "error": text})


def too_many_calls(request_id: str) -> SandboxResponse:
    """Return the 429 of the rate limit."""
    return error(
        429,
        "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to "
        "continue. https://massive.com/pricing",
        request_id,
    )


def not_authorized(message: str, request_id: str) -> SandboxResponse:
    """Return the 403 of a plan."""
    body = {"status": "NOT_AUTHORIZED", "request_id": request_id, "message": message}
    return SandboxResponse(403, body)


def unknown_path() -> SandboxResponse:
    """Return the plain text for a path that does not exist."""
    return SandboxResponse(404, b"404 page not found\n", TEXT)


def bad_request(request: Request, text: str) -> Refusal:
    """Return the 400 of a wrong parameter, to be raised."""
    return Refusal(error(400, text, request.request_id))


def ticker_not_found(request: Request) -> Refusal:
    """Return the 404 of an unknown ticker or pair, to be raised."""
    body = {"status": "NOT_FOUND", "request_id": request.request_id, "message": "Ticker not found."}
    return Refusal(SandboxResponse(404, body))


def cursor_url(base_url: str, path: str, query: Mapping[str, Any]) -> str:
    """Return an absolute `next_url` whose cursor has the parameters of the next page, without a key."""
    cursor = base64.urlsafe_b64encode(urlencode(query).encode()).decode().rstrip("=")
    return f"{base_url}{path}?cursor={cursor}"
