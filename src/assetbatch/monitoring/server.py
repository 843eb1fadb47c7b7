"""The HTTP server of `serve`: a WSGI application on waitress. The caller says what the documents are.

Everything has a limit: the number of connections, the size and the time of a request, and how often and how
long a document is made.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.wasyncore import close_all, loop

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger("assetbatch")

CONNECTIONS = 200
"""Maximum number of open connections. Further ones wait until one of them ends."""

CONNECTION_SECONDS = 10
"""Maximum age of a connection, unless it waits for an answer. It ends clients that send byte by byte."""

REQUEST_BYTES = 16_384
"""Maximum size of the request line and the headers together, and of the body."""

THREADS = 32
"""Maximum number of requests that are answered at once. No thread waits for a client."""

MAKING_SECONDS = 8.0
"""Maximum time for which a request waits for a document. The document is made to its end."""

STOP_SECONDS = 2
"""Maximum time for which `stop` waits for answers under way."""

PACKED_BYTES = 10_000
"""Size of a body from which it is kept as gzip, and sent so to who takes that."""

_PIECE_BYTES = 65_536
_GZIP = 16 + zlib.MAX_WBITS  # zlib's word for the format of gzip

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Packed(NamedTuple):
    """A large body as gzip, and its size unpacked (bytes).

    Nobody holds it unpacked as a whole: a page of 10,000 assets has 11 MB, and 1.5 MB as gzip.
    """

    data: bytes
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the body unpacked."""
        unpacker, left = zlib.decompressobj(_GZIP), self.data
        while piece := unpacker.decompress(left, _PIECE_BYTES):
            yield piece
            left = unpacker.unconsumed_tail


def packed(pieces: Iterable[bytes]) -> bytes | Packed:
    """Return a body that is made piece by piece, as gzip if it is large: 80 ms for 10 MB."""
    packer, parts, size = zlib.compressobj(1, wbits=_GZIP), [], 0
    small = b""
    for piece in pieces:
        if size < PACKED_BYTES:
            small += piece
        size += len(piece)
        parts.append(packer.compress(piece))
    if size < PACKED_BYTES:
        return small
    return Packed(b"".join([*parts, packer.flush()]), size)


@dataclass(frozen=True)
class Document:
    """The response for a path. A large body is `packed`."""

    status: int
    content_type: str
    body: bytes | Packed
    headers: Mapping[str, str] = field(default_factory=dict)


class Request(NamedTuple):
    """The request for an action. The names of `headers` are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


TOO_SLOW = Document(
    503, "text/plain; charset=utf-8", b"503 this takes too long; do redis or postgresql hang?\n"
)


class Cached:
    """A document that is made on request, at most once in `seconds` however many clients ask.

    `make` runs in a thread of its own, one at a time, and must not raise. A request that has waited for
    `MAKING_SECONDS` gets what `too_slow` returns.
    """

    def __init__(
        self,
        make: Callable[[], Document],
        seconds: float,
        too_slow: Callable[[], Document] = lambda: TOO_SLOW,
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._too_slow = too_slow
        self._changed = threading.Condition()
        self._document: Document | None = None
        self._made_at = 0.0
        self._making = False

    def get(self) -> Document:
        """Return the document, not older than `seconds`, or that of `too_slow` if it takes too long."""
        until = time.monotonic() + MAKING_SECONDS
        asked_at = time.monotonic()
        with self._changed:
            while self._document is None or self._made_at + self._seconds < asked_at:
                if not self._making:
                    threading.Thread(target=self._work, daemon=True).start()
                    self._making = True  # only now: the system may refuse a thread
                left = until - time.monotonic()
                if left <= 0:
                    return self._too_slow()
                self._changed.wait(left)
            return self._document

    def _work(self) -> None:
        document = self._make()
        with self._changed:
            self._document, self._made_at, self._making = document, time.monotonic(), False
            self._changed.notify_all()


class Application:
    """The WSGI application: `documents` by path, and `actions` by the first part of a path."""

    def __init__(
        self,
        documents: Mapping[str, Cached],
        actions: Mapping[str, Callable[[Request], Document]] = MappingProxyType({}),
    ) -> None:
        self.documents = documents
        self.actions = actions

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. A bug costs this answer only."""
        request = _request(environ)
        try:
            document = self._answer(request)
        except Exception:
            log.exception("a request failed")
            document = _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        line = f"{environ['REMOTE_ADDR']} {request.method} {request.path} {document.status}"
        log.info("%s", "".join(c if c.isprintable() else "?" for c in line))  # the client chose these words
        headers = {**_HEADERS, **document.headers, "Content-Type": document.content_type}
        body: Iterable[bytes]
        if not isinstance(document.body, Packed):
            body, size = [document.body], len(document.body)
        elif takes_gzip(request.headers.get("accept-encoding", "")):
            body, size = environ["wsgi.file_wrapper"](BytesIO(document.body.data)), len(document.body.data)
            headers["Content-Encoding"] = "gzip"
        else:
            body, size = document.body.pieces(), document.body.size
        if isinstance(document.body, Packed):
            headers["Vary"] = "Accept-Encoding"
        headers["Content-Length"] = str(size)
        start_response(f"{document.status} {HTTPStatus(document.status).phrase}", list(headers.items()))
        return [] if request.method == "HEAD" else body

    def _answer(self, request: Request) -> Document:
        if action := self.actions.get(request.path.split("/", 2)[1] if "/" in request.path else ""):
            return action(request)
        found = self.documents.get(request.path)
        if found is None:
            return _plain(HTTPStatus.NOT_FOUND)
        if request.method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        return found.get()


def takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding names gzip, or everything, with a weight above 0."""
    weights: dict[str, str] = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        weights[name.strip()] = weight.strip()
    weight = weights.get("gzip", weights.get("*", "q=0"))
    return not re.fullmatch(r"q=0(\.0*)?", weight)


def _request(environ: WSGIEnvironment) -> Request:
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return Request(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        environ["QUERY_STRING"],
        headers,
        environ["wsgi.input"].read(),
    )


def _plain(status: HTTPStatus, headers: Mapping[str, str] = MappingProxyType({})) -> Document:
    body = f"{status.value} {status.phrase}\n".encode()
    return Document(status, "text/plain; charset=utf-8", body, headers)


def _ipv4(host: str, port: int) -> str:
    """Return the first IPv4 address of a host. `localhost` may stand for ::1 first, where no client of
    127.0.0.1 would reach the server. Raise OSError."""
    ((*_, address), *_) = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    return str(address[0])


class Server(TcpWSGIServer):
    """Serves an application until `stop`. waitress reads and writes; only a whole request takes a thread."""

    def __init__(self, host: str, port: int, application: Application) -> None:
        """Bind; raise OSError or ValueError if that is impossible."""
        self._stopping = False
        self._ended = threading.Event()
        self._sockets: dict[int, Any] = {}  # waitress keeps its connections here
        super().__init__(
            application,
            self._sockets,
            host=host if ":" in host else _ipv4(host, port),
            port=port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            max_request_header_size=REQUEST_BYTES,
            max_request_body_size=REQUEST_BYTES,
            cleanup_interval=1,
            outbuf_high_watermark=sys.maxsize,  # else a thread would wait for its client
            outbuf_overflow=_PIECE_BYTES,  # what a client has not taken yet is in a file
            ident="assetbatch",
            log_socket_errors=False,
        )

    def bind_server_socket(self) -> None:
        """Let `::` also stand for the addresses of IPv4, which waitress leaves out."""
        if self.socket and self.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().bind_server_socket()

    @property
    def port(self) -> int:
        """Return the port that the server listens on."""
        return int(self.getsockname()[1])

    def connections(self) -> list[HTTPChannel]:
        """Return the open connections."""
        return [one for one in self._sockets.values() if isinstance(one, HTTPChannel)]

    def maintenance(self, now: float) -> None:
        """End old connections. waitress would let a client stay that sends a byte from time to time."""
        for connection in self.connections():
            if not connection.requests and now - connection.creation_time > CONNECTION_SECONDS:
                connection.will_close = True

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping:
            loop(timeout=1, use_poll=True, map=self._sockets, count=1)
        self._ended.set()

    def stop(self) -> None:
        """Finish the answers under way, for at most `STOP_SECONDS`, end `run` and close all connections."""
        if self._stopping:
            return
        until = time.monotonic() + STOP_SECONDS
        self.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        while any(one.total_outbufs_len for one in self.connections()) and time.monotonic() < until:
            time.sleep(0.02)  # the loop sends what was answered
        self._stopping = True
        self.pull_trigger()
        self._ended.wait(STOP_SECONDS)  # else it would look at sockets that are closed
        for connection in self.connections():
            connection.handle_close()  # it closes the files of what was not sent, too
        close_all(self._sockets)
