"""The simulated provider over HTTP on loopback: keys, rate limit, latency, faults and the log of arrivals."""

from __future__ import annotations

import gzip
import signal
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from assetbatch.sandbox import endpoints
from assetbatch.sandbox.bars import Source
from assetbatch.sandbox.faults import FaultBook
from assetbatch.sandbox.limits import Arrival, CallLog, fingerprint
from assetbatch.sandbox.listings import USUAL_EXCHANGE, Exchange, calendar_of, instruments_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.plans import PLANS, Plan
from assetbatch.sandbox.prices import HISTORY_START_MS, GeneratedPrices
from assetbatch.sandbox.replay import RecordedPrices
from assetbatch.sandbox.responses import TEXT, Request, SandboxResponse, error, too_many_calls
from assetbatch.sandbox.spans import Counting
from assetbatch.sandbox.universe import Instrument, instruments
from assetbatch.secret import Secret

ARRIVALS_KEPT = 500_000
"""Maximum number of arrivals in the log, so that a server in the foreground can run for months."""

_CHUNK = b" " * 1_000_000
_GZIP_FROM_BYTES = 1_000


def all_instruments(universe: int | None, exchange: Exchange) -> dict[str, Instrument]:
    """Return the pairs, stocks and indices by ticker, in the order of tickers."""
    stocks = {one.ticker: one for one in instruments_of(exchange)}
    return dict(sorted({**instruments(universe), **stocks}.items()))


def system_clock() -> int:
    """Return the machine's time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


class SandboxServer:
    """The simulated provider on a loopback port; a context manager that serves from a background thread.

    - `plan`: what the key may ask; other limits are `dataclasses.replace(PLANS["basic"], limit=50)`.
    - `key`: the one accepted key; None accepts any that is not empty.
    - `clock`: the provider's time in Unix milliseconds, which decides what exists and what is today's.
    - `universe`: how many pairs there are at least; made-up ones fill up the common ones.
    - `exchange`: the stocks and indices, and the days on which they are traded.
    - `since_ms`: a full hour before which nothing was traded.
    - `replay`: a folder of recorded bars to serve instead of made-up prices, without stocks. `replay_weeks`
      moves them by so many weeks (None: as near to the present as a plan with yesterday's data can see them).
    - `latency`: the least and the most seconds that a response takes.
    - `faults`: faults for all requests, in the form of `parse_fault`; `order` orders single ones.
    - `state_file`: keeps the rate limit's log of calls, so that successive processes share one limit.
    - `retry_after`: whether a 429 names the seconds to wait.
    - `counting`: what the limit of a page of bars counts.

    `arrivals` is the log of what reached the server. Raises OSError when the port is taken, ConfigError
    for a fault or a folder that is wrong.
    """

    def __init__(
        self,
        plan: Plan = PLANS["starter"],
        *,
        key: Secret | None = None,
        clock: Callable[[], int] = system_clock,
        universe: int | None = None,
        exchange: Exchange = USUAL_EXCHANGE,
        since_ms: int = HISTORY_START_MS,
        replay: Path | None = None,
        replay_weeks: int | None = None,
        latency: tuple[float, float] = (0.0, 0.0),
        faults: Sequence[str] = (),
        state_file: Path | None = None,
        retry_after: bool = False,
        counting: Counting = Counting.STORED,
        port: int = 0,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.source: Source = (
            GeneratedPrices(all_instruments(universe, exchange), since_ms)
            if replay is None
            else RecordedPrices(replay, now_ms=clock(), weeks=replay_weeks)
        )
        self.faults = FaultBook()
        for text in faults:
            self.faults.order(text, times=None)
        self._data = MarketData(self.source, plan, calendar_of(exchange.closures), counting)
        self._calls = CallLog(plan.limit, plan.window_seconds, state_file)
        self._key = key
        self._latency = latency
        self._retry_after = retry_after
        self._port = port
        self._arrivals: dict[int, Arrival] = {}
        self._arrived = 0
        self._lock = Lock()
        self._http: _HttpServer | None = None
        self._thread: Thread | None = None
        self.stopping = Event()

    # Life

    def start(self) -> Self:
        """Listen and serve; return itself."""
        self.stopping.clear()
        self._http = _HttpServer(("127.0.0.1", self._port), self)
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, break off what is under way and close every connection."""
        if self._http is None or self._thread is None:
            return
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.close_connections()
        self._http = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Where it listens: `http://127.0.0.1:PORT`, without a slash at the end."""
        if self._http is None:
            raise RuntimeError("the sandbox server is not running")
        return f"http://127.0.0.1:{self._http.server_port}"

    # For tests

    @property
    def arrivals(self) -> list[Arrival]:
        """The log of arrivals, a copy, in the order in which they came."""
        with self._lock:
            return sorted(self._arrivals.values(), key=lambda arrival: arrival.at)

    def order(self, fault: str, *, times: int | None = 1, path_contains: str = "") -> None:
        """See `FaultBook.order`."""
        self.faults.order(fault, times=times, path_contains=path_contains)

    # One request

    def arrive(self, arrival: Arrival) -> int:
        """Note an arrival and return its number in the log."""
        with self._lock:
            number = self._arrived
            self._arrived += 1
            self._arrivals[number] = arrival
            self._arrivals.pop(number - ARRIVALS_KEPT, None)
            return number

    def complete(self, number: int, status: int, fault: str | None) -> None:
        """Complete an entry of the log."""
        with self._lock:
            if number in self._arrivals:
                self._arrivals[number] = replace(self._arrivals[number], status=status, fault=fault)

    def respond(self, request: Request, key: str | None) -> tuple[SandboxResponse, str | None]:
        """Return the response to a GET and the name of its fault. Refuse before anything is looked up."""
        if not key:
            return error(401, "API Key was not provided", request.request_id), None
        if self._key is not None and key != self._key.reveal():
            return error(401, "Unknown API Key", request.request_id), None
        wait_seconds = self._calls.admit(fingerprint(key))
        if wait_seconds is not None:
            headers = {"Retry-After": str(int(wait_seconds) + 1)} if self._retry_after else {}
            return replace(too_many_calls(request.request_id), headers=headers), None
        response, fault = self.faults.meet(request, endpoints.respond(self._data, request))
        return response, fault.name if fault else None

    def delay_seconds(self, number: int) -> float:
        """Return the seconds that a response takes: spread evenly, and the same in every run."""
        least, most = self._latency
        draw = int.from_bytes(blake2b(f"latency {number}".encode(), digest_size=4).digest(), "big") / 2**32
        return least + (most - least) * draw


class _HttpServer(ThreadingHTTPServer):
    """Knows its open connections, so that a stop leaves none behind.

    Arguments are Any as the base class has them in a type of typeshed's own; here they are sockets.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self._connections: set[socket.socket] = set()
        self._changed = Condition()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a connection before its thread starts."""
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def close_connections(self) -> None:
        """End all connections, and wait until their threads have let go of them."""
        with self._changed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the other side was faster
            self._changed.wait_for(lambda: not self._connections, timeout=5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a bug; ignore a client that goes away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, asks the sandbox, and sends what it says in the way it says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer
    _arrived_at = 0.0

    def parse_request(self) -> bool:
        self._arrived_at = time.monotonic()
        return super().parse_request()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log of arrivals is the record."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002  the base class's signature
    ) -> None:
        """Send what the base class says to an unreadable request, as plain text."""
        self.close_connection = True
        self._send(SandboxResponse(code, f"{code} {message or HTTPStatus(code).phrase}\n".encode(), TEXT))

    def _refuse_method(self) -> None:
        self.close_connection = True  # a body that was not read would be taken for the next request
        body = b"" if self.command == "HEAD" else b"405 method not allowed\n"
        self._handle(SandboxResponse(405, body, TEXT, {"Allow": "GET"}))

    def do_GET(self) -> None:
        self._handle(None)

    def _handle(self, refusal: SandboxResponse | None) -> None:
        sandbox = self.server.sandbox
        url = urlsplit(self.path)
        query: dict[str, str] = {}
        for name, value in parse_qsl(url.query, keep_blank_values=True):
            # A list may be sent as one parameter with commas or as a parameter repeated.
            query[name] = f"{query[name]},{value}" if name in query else value
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        key = query.pop("apiKey", None) or (credentials.strip() if scheme.lower() == "bearer" else None)
        number = sandbox.arrive(Arrival(self._arrived_at, url.path, query, fingerprint(key) if key else None))
        response, fault = refusal, None
        if response is None:
            request = Request(
                path=url.path,
                query=query,
                base_url=f"http://{self.headers.get('Host') or sandbox.base_url.removeprefix('http://')}",
                request_id=f"{number + 1:032x}",
                now_ms=sandbox.clock(),
            )
            started = time.monotonic()
            response, fault = sandbox.respond(request, key)
            took_seconds = time.monotonic() - started  # making the response is part of its latency
            sandbox.stopping.wait(max(0.0, sandbox.delay_seconds(number) - took_seconds))
        sandbox.complete(number, 0 if response.delivery == "drop" else response.status, fault)
        self._send(response)

    # Sending

    def _send(self, response: SandboxResponse) -> None:
        if response.delivery == "drop":
            self.close_connection = True
            return
        if response.delivery in ("huge", "gzip-bomb"):
            self._stream(response)
            return
        body = response.encoded()
        headers = {"Content-Type": response.content_type, **response.headers}
        accepted = self.headers.get("Accept-Encoding", "") if hasattr(self, "headers") else ""
        if len(body) > _GZIP_FROM_BYTES and "gzip" in accepted:
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        head = self._head(response.status, {**headers, "Content-Length": str(len(body))})
        if response.delivery == "drop-half":
            self.close_connection = True
            self.wfile.write(head + body[: len(body) // 2])
        elif response.delivery == "drip-headers":
            self._drip(head, response.delivery_value)
            self.wfile.write(body)
        elif response.delivery == "drip-body":
            self.wfile.write(head)
            self._drip(body, response.delivery_value)
        else:
            self.wfile.write(head + body)

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _drip(self, data: bytes, seconds: float) -> None:
        for index in range(len(data)):
            self.wfile.write(data[index : index + 1])
            if self.server.sandbox.stopping.wait(seconds):
                self.close_connection = True
                return

    def _stream(self, response: SandboxResponse) -> None:
        self.close_connection = True
        headers = {"Content-Type": response.content_type}
        pieces = _huge(int(response.delivery_value))
        if response.delivery == "gzip-bomb":
            headers["Content-Encoding"] = "gzip"
            pieces = _gzipped(pieces)
        self.wfile.write(self._head(response.status, headers))
        for piece in pieces:
            if self.server.sandbox.stopping.is_set():
                return
            self.wfile.write(piece)


def _huge(megabytes: int) -> Iterator[bytes]:
    """Yield a JSON object of that size; nearly all of it is white space."""
    yield b'{"status":"OK","results":['
    for _ in range(megabytes):
        yield _CHUNK
    yield b"]}"


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def serve_forever(server: SandboxServer) -> int:
    """Serve in the foreground until SIGTERM or SIGINT, from the main thread; return the exit code 0.

    The first line on stdout is the base URL, written when it can be called.
    """
    ended = Event()
    before = {one: signal.signal(one, lambda *_: ended.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        with server:
            sys.stdout.write(f"{server.base_url}\n")
            sys.stdout.flush()
            ended.wait()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return 0
