"""A small HTTP server for three documents. Knows HTTP; what the documents are, it is told.

Bounded in every direction: connections, the size and the time of a request, and how often and how long a
document is made.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from socket import SHUT_RDWR, socket
from typing import Any, NamedTuple

log = logging.getLogger("assetbatch")

CONNECTIONS = 32
"""So many at once; further ones are closed."""

CONNECTION_SECONDS = 10.0
"""So long a connection may last, from the first byte of its request to the last of its answer."""

REQUEST_BYTES = 16_384
"""The request line and the headers together."""

MAKING_SECONDS = 8.0
"""So long a document is waited for; the making itself goes on."""

STOP_SECONDS = 2.0
"""So long answers under way are waited for at the end."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Document(NamedTuple):
    """What is answered on a path."""

    status: int
    content_type: str
    body: bytes


TOO_SLOW = Document(
    503, "text/plain; charset=utf-8", b"503 this takes too long; do redis or postgresql hang?\n"
)


class Cached:
    """A document that is made when it is asked for, at most once in `seconds` however many ask.

    `make` runs in a thread of its own, one at a time, and may not raise.
    """

    def __init__(self, make: Callable[[], Document], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._changed = threading.Condition()
        self._document: Document | None = None
        self._made_at = 0.0
        self._making = False

    def get(self) -> Document:
        """The document, not older than `seconds`; `TOO_SLOW` where that cannot be had in time."""
        until = time.monotonic() + MAKING_SECONDS
        asked_at = time.monotonic()
        with self._changed:
            while self._document is None or self._made_at + self._seconds < asked_at:
                if not self._making:
                    self._making = True
                    threading.Thread(target=self._work, daemon=True).start()
                left = until - time.monotonic()
                if left <= 0:
                    return TOO_SLOW
                self._changed.wait(left)
            return self._document

    def _work(self) -> None:
        document = self._make()
        with self._changed:
            self._document, self._made_at, self._making = document, time.monotonic(), False
            self._changed.notify_all()


class _TooLargeError(Exception):
    """A request is larger than `REQUEST_BYTES`."""


class _Limited:
    """Reads lines, so many bytes in all."""

    def __init__(self, inner: BufferedIOBase) -> None:
        self._inner = inner
        self._left = REQUEST_BYTES

    def readline(self, limit: int = -1) -> bytes:
        line = self._inner.readline(self._left + 1 if limit < 0 else min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise _TooLargeError
        return line

    def close(self) -> None:
        self._inner.close()

    @property
    def closed(self) -> bool:
        return self._inner.closed


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of a connection."""

    server: Server
    timeout = CONNECTION_SECONDS

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Limited(self.rfile)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except _TooLargeError:
            self.close_connection = True
            self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
            self._answer(_plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        except OSError as error:  # the other side has gone, or its time was over
            log.debug("a connection broke: %s", error)
            self.close_connection = True

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # any method there is, so that none is "not implemented"
            return self._dispatch
        raise AttributeError(name)

    def _dispatch(self) -> None:
        path = self.path.split("?", 1)[0]
        found = self.server.documents.get(path)
        if found is None:
            self._answer(_plain(HTTPStatus.NOT_FOUND))
        elif self.command not in ("GET", "HEAD"):
            self._answer(_plain(HTTPStatus.METHOD_NOT_ALLOWED), {"Allow": "GET, HEAD"})
        else:
            self._answer(found.get())

    def _answer(self, document: Document, more: Mapping[str, str] | None = None) -> None:
        self.send_response(document.status)
        self.send_header("Content-Type", document.content_type)
        self.send_header("Content-Length", str(len(document.body)))
        self.send_header("Connection", "close")
        for name, value in {**_HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(document.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What the base class refuses by itself: a request that cannot be read."""
        self.command = self.command or ""
        self.close_connection = True
        self._answer(_plain(HTTPStatus(code)))

    def version_string(self) -> str:
        """The Server header says no version."""
        return "assetbatch"

    def log_message(self, format: str, *args: object) -> None:
        """One line a request, with -v."""
        said = "".join(c if c.isprintable() else "?" for c in format % args)  # others chose these words
        log.info("%s %s", self.client_address[0], said)


def _plain(status: HTTPStatus) -> Document:
    return Document(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode())


class Server(ThreadingHTTPServer):
    """Serves `documents` by path, until `stop`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, documents: Mapping[str, Cached]) -> None:
        """Binds; raises OSError where that is impossible."""
        self.documents = documents
        self._deadlines: dict[socket, float] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Whether there is room for another connection."""
        with self._lock:
            if len(self._deadlines) >= CONNECTIONS:
                return False
            self._deadlines[request] = time.monotonic() + CONNECTION_SECONDS
            return True

    def shutdown_request(self, request: Any) -> None:
        """A connection has ended."""
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second: ends the connections whose time is over."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, deadline in self._deadlines.items() if deadline < now]
        for request in late:
            try:
                request.shutdown(SHUT_RDWR)
            except OSError:  # it has just ended by itself
                log.debug("a late connection had ended already")

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A bug in an answer ends that connection, not the server."""
        log.error("a request failed", exc_info=True)  # noqa: LOG014 - called by a handler of the base class

    def stop(self) -> None:
        """Takes no more connections, and waits a little for the answers under way."""
        self.shutdown()
        self.server_close()
        until = time.monotonic() + STOP_SECONDS
        while self._deadlines and time.monotonic() < until:
            time.sleep(0.02)
