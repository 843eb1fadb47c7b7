"""A small HTTP server for three documents. Knows HTTP; what the documents are, it is told.

Bounded in every direction: connections, the size and the time of a request, and how often and how long a
document is made.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from socket import AF_INET, AF_INET6, SHUT_RD, SHUT_RDWR, socket
from socketserver import TCPServer
from types import MappingProxyType
from typing import Any, NamedTuple

log = logging.getLogger("assetbatch")

CONNECTIONS = 32
"""So many at once; further ones are closed."""

CONNECTION_SECONDS = 10.0
"""So long a connection may last, from the first byte of its request to the last of its answer."""

REQUEST_BYTES = 16_384
"""The request line, the headers and the body together."""

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
    headers: Mapping[str, str] = MappingProxyType({})


class Request(NamedTuple):
    """What is asked of an action; `headers` by their names in any case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


TOO_SLOW = Document(
    503, "text/plain; charset=utf-8", b"503 this takes too long; do redis or postgresql hang?\n"
)


class Cached:
    """A document that is made when it is asked for, at most once in `seconds` however many ask.

    `make` runs in a thread of its own, one at a time, and may not raise. Whoever has waited for it for
    `MAKING_SECONDS` gets `too_slow`.
    """

    def __init__(self, make: Callable[[], Document], seconds: float, too_slow: Document = TOO_SLOW) -> None:
        self._make = make
        self._seconds = seconds
        self._too_slow = too_slow
        self._changed = threading.Condition()
        self._document: Document | None = None
        self._made_at = 0.0
        self._making = False

    def get(self) -> Document:
        """The document, not older than `seconds`; `too_slow` where that cannot be had in time."""
        until = time.monotonic() + MAKING_SECONDS
        asked_at = time.monotonic()
        with self._changed:
            while self._document is None or self._made_at + self._seconds < asked_at:
                if not self._making:
                    threading.Thread(target=self._work, daemon=True).start()
                    self._making = True  # only now: it may be that no thread could be had
                left = until - time.monotonic()
                if left <= 0:
                    return self._too_slow
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

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise _TooLargeError
        self._left -= size
        return self._inner.read(size)

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
        self.raw_requestline = b""

    def handle_one_request(self) -> None:
        try:
            try:
                super().handle_one_request()
            except _TooLargeError:
                self.close_connection = True
                self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
                self._answer(
                    _plain(
                        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                        if self.raw_requestline
                        else HTTPStatus.REQUEST_URI_TOO_LONG
                    )
                )
        except OSError as error:  # the other side has gone, or its time was over
            log.debug("a connection broke: %s", error)
            self.close_connection = True

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # any method there is, so that none is "not implemented"
            return self._dispatch
        raise AttributeError(name)

    def _dispatch(self) -> None:
        path, _, query = self.path.partition("?")
        if action := self.server.actions.get(path.split("/", 2)[1] if path.startswith("/") else ""):
            self._answer(action(self._request(path, query)))
            return
        found = self.server.documents.get(path)
        if found is None:
            self._answer(_plain(HTTPStatus.NOT_FOUND))
        elif self.command not in ("GET", "HEAD"):
            self._answer(_plain(HTTPStatus.METHOD_NOT_ALLOWED), {"Allow": "GET, HEAD"})
        else:
            self._answer(found.get())

    def _request(self, path: str, query: str) -> Request:
        length = self.headers.get("Content-Length", "0")
        size = int(length) if re.fullmatch("[0-9]{1,9}", length) else 0
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, path, query, headers, self.rfile.read(size) if size else b"")

    def _answer(self, document: Document, more: Mapping[str, str] | None = None) -> None:
        self.send_response(document.status)
        self.send_header("Content-Type", document.content_type)
        self.send_header("Content-Length", str(len(document.body)))
        self.send_header("Connection", "close")
        for name, value in {**_HEADERS, **document.headers, **(more or {})}.items():
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
    """Serves `documents` by path, and `actions` by the first part of a path, until `stop`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        documents: Mapping[str, Cached],
        actions: Mapping[str, Callable[[Request], Document]] = MappingProxyType({}),
    ) -> None:
        """Binds; raises OSError where that is impossible. An action may not raise."""
        self.documents = documents
        self.actions = actions
        self._deadlines: dict[socket, float] = {}
        self._lock = threading.Lock()
        self.address_family = AF_INET6 if ":" in host else AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of this host's name, which may hang."""
        TCPServer.server_bind(self)

    @property
    def port(self) -> int:
        """The port that was deadline."""
        return int(self.server_address[1])

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._deadlines)

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
        self._shut(late, SHUT_RDWR)

    @staticmethod
    def _shut(connections: list[socket], directions: int) -> None:
        for connection in connections:
            try:
                connection.shutdown(directions)
            except OSError:  # it has just ended by itself
                log.debug("a connection had ended already")

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A bug in an answer ends that connection, not the server."""
        log.error("a request failed", exc_info=True)  # noqa: LOG014 - called by a handler of the base class

    def stop(self) -> None:
        """Takes no more connections and no more requests; ends when the answers under way are given, after
        `STOP_SECONDS` at the latest."""
        until = time.monotonic() + STOP_SECONDS
        self.shutdown()
        self.server_close()
        self._shut(list(self._deadlines), SHUT_RD)  # whoever has not asked by now is not waited for
        while self._deadlines and time.monotonic() < until:
            time.sleep(0.02)
