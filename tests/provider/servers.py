"""Servers on loopback that misbehave as told, and what the tests of the provider's client share."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from assetbatch.provider.client import ProviderClient
from assetbatch.provider.refusals import Refusal
from assetbatch.secret import Secret

KEY = Secret("made-up-key-123")
STATUS_BODY = (
    b'{"serverTime":"2022-05-17T10:26:06-04:00","currencies":{"fx":"open","crypto":"open"},"market":"open"}'
)


def http_answer(body: bytes = STATUS_BODY, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Wire:
    """One accepted connection, in the hands of a handler."""

    def __init__(self, conn: socket.socket, stop: threading.Event) -> None:
        self.conn = conn
        self.stop = stop

    def read_request(self) -> bytes:
        """The request up to its blank line; empty if the client has gone."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            byte = self.conn.recv(4096)
            if not byte:
                return b""
            request += byte
        return request

    def send(self, data: bytes) -> None:
        self.conn.sendall(data)

    def drip(self, data: bytes, pause: float = 0.03) -> None:
        """One byte now and then, for as long as the test runs."""
        for at in range(len(data)):
            if self.stop.is_set():
                return
            self.conn.sendall(data[at : at + 1])
            self.stop.wait(pause)
        self.silence()

    def silence(self) -> None:
        self.stop.wait(30)


Handler = Callable[[Wire], None]


class RawServer:
    """Accepts on 127.0.0.1 and gives each connection to `handler` in a thread of its own."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.requests: list[bytes] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            if self._stop.is_set():
                conn.close()
                return
            self.connections += 1
            self._start(lambda conn=conn: self._serve(conn))  # type: ignore[misc]  # a default binds the loop's value

    def _serve(self, conn: socket.socket) -> None:
        try:
            if self._tls is not None:
                conn = self._tls.wrap_socket(conn, server_side=True)
            self._handler(Wire(conn, self._stop))
        except OSError:
            pass  # the client went away, which many of these tests are about
        finally:
            conn.close()

    def close(self) -> None:
        self._stop.set()
        with socket.socket() as waker:
            waker.connect_ex(("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(5)
        self._listener.close()


@contextmanager
def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(handler, tls)
    try:
        yield server
    finally:
        server.close()


def answering(*answers: bytes) -> Handler:
    """Answers each request on a connection with the next of `answers`, then drops the connection."""

    def handler(wire: Wire) -> None:
        for answer in answers:
            if not wire.read_request():
                return
            wire.send(answer)

    return handler


@contextmanager
def client_of(url: str, seconds: float = 5.0, max_body_bytes: int = 64 * 2**20) -> Iterator[ProviderClient]:
    with ProviderClient(url, KEY, call_seconds=seconds, max_body_bytes=max_body_bytes) as client:
        yield client


def refusal_of(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value


def timed_refusal(call: Callable[[], object]) -> tuple[Refusal, float]:
    started = monotonic()
    refusal = refusal_of(call)
    return refusal, monotonic() - started


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate with its key for 127.0.0.1 and provider.test; skips without openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH to make a certificate with")
    pem = folder / "server.pem"
    key = folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(pem), "-days", "2", "-subj", "/CN=provider.test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:provider.test"]
    subprocess.run(command, check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    return pem


def server_tls(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
