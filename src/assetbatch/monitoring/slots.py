"""`POST /slot` and `DELETE /slot/ID`: slots of the window over HTTP, for programs of this machine.

It knows requests and responses; the caller says how a slot is taken. It refuses requests of a browser, so
that no web page can use up the calls.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from assetbatch.domain.queueing import LONGEST_CALL_SECONDS, CallKind
from assetbatch.errors import AssetbatchError, ConfigError
from assetbatch.monitoring.server import Document, Request
from assetbatch.slots.slots import Done, NotTaken, Slots, told

LONGEST_WAIT_SECONDS = 6.0
"""Maximum time for which a request waits for a slot: the connection ends after 10 s."""

WAITING = 16
"""Maximum number of requests that take a slot at once: half of the connections stay free for the others."""

_LOCAL = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_BROWSERS = ("origin", "sec-fetch-site", "sec-fetch-mode")


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `POST /slot` asks for, as JSON or as a query."""

    name: CallKind = CallKind.QUEUE
    wait: Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS)] = 0.0
    hold: Annotated[float, Meta(ge=1, le=LONGEST_CALL_SECONDS)] = LONGEST_CALL_SECONDS


class _Completed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    calls_made: Annotated[int, Meta(ge=0, le=1)] = 1


class _Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    error: str
    hint: str | None = None


class SlotApi:
    """Answers requests for `/slot`.

    `slots` opens what takes and completes slots. Its argument says whether the database knows that calls are
    made.
    """

    def __init__(self, slots: Callable[[bool], AbstractContextManager[Slots]]) -> None:
        self._slots = slots
        self._places = threading.BoundedSemaphore(WAITING)
        self._is_recorded = False
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop waiting for slots."""
        self._stopping.set()

    def answer(self, request: Request) -> Document:
        """Answer a request. No request makes it raise."""
        if refusal := _refusal(request):
            return refusal
        try:
            return self._take(request) if request.path == "/slot" else self._complete(request)
        except msgspec.MsgspecError as error:
            return _problem(400, f"the request cannot be read: {error}")
        except AssetbatchError as error:
            return _problem(503, error.message, error.hint)

    def _complete(self, request: Request) -> Document:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        completed = msgspec.convert(query, _Completed, strict=False)
        with self._slots(True) as slots:
            slot_id = request.path.removeprefix("/slot/")
            try:
                slots.done(slot_id, call_made=completed.calls_made == 1)
            except ConfigError as error:
                return _problem(404, error.message)
        return _json(200, Done(slot_id, completed.calls_made))

    def _take(self, request: Request) -> Document:
        wanted = _wanted(request)
        if not self._places.acquire(blocking=False):
            return _not_taken(NotTaken("busy", 1.0))
        try:
            with self._slots(self._is_recorded) as slots:
                answer = told(slots.take(wanted.name, wanted.hold, wanted.wait, self._pause))
                self._is_recorded = slots.is_recorded
        finally:
            self._places.release()
        return _not_taken(answer) if isinstance(answer, NotTaken) else _json(200, answer)

    def _pause(self, seconds: float) -> bool:
        return not self._stopping.wait(seconds)


def _refusal(request: Request) -> Document | None:
    """Return the response to a request that is refused at once."""
    if not _LOCAL.fullmatch(request.headers.get("host", "")):
        return _problem(403, "the Host of a request for slots is localhost or a loopback address")
    if any(name in request.headers for name in _BROWSERS):
        return _problem(403, "slots are not for browsers")
    method = "POST" if request.path == "/slot" else "DELETE"
    if request.method != method:
        return _problem(405, f"{request.path} knows {method} only", headers={"Allow": method})
    return None


def _wanted(request: Request) -> Wanted:
    if request.body.strip():
        return msgspec.json.decode(request.body, type=Wanted)
    wanted = msgspec.convert(dict(parse_qsl(request.query, keep_blank_values=True)), Wanted, strict=False)
    if math.isnan(wanted.wait) or math.isnan(wanted.hold):  # within any bounds
        raise msgspec.ValidationError("nan is no number of seconds")
    return wanted


def _not_taken(answer: NotTaken) -> Document:
    return _json(429, answer, {"Retry-After": str(math.ceil(answer.retry_after_seconds))})


def _json(status: int, document: object, headers: dict[str, str] | None = None) -> Document:
    return Document(status, "application/json", msgspec.json.encode(document) + b"\n", headers or {})


def _problem(
    status: int, error: str, hint: str | None = None, headers: dict[str, str] | None = None
) -> Document:
    return _json(status, _Problem(error, hint), headers)
