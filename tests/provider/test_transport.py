"""The transport against real sockets: deadlines, sizes, one arrival per call, where the key goes."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import ssl
import subprocess
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch import __version__
from assetbatch.deadline import monotonic as deadline_clock
from assetbatch.domain.refusals import RefusalKind
from assetbatch.errors import ConfigError
from assetbatch.provider import transport
from assetbatch.provider.client import ProviderClient
from assetbatch.provider.refusals import Refusal
from assetbatch.secret import Secret
from tests.conftest import examples
from tests.provider.servers import (
    KEY,
    STATUS_BODY,
    RawServer,
    Wire,
    answering,
    client_of,
    http_answer,
    make_certificate,
    refusal_of,
    server_tls,
    serving,
    timed_refusal,
)

DEADLINE = 0.5
LATE = 0.3


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    return pem


def assert_on_time(elapsed: float) -> None:
    assert DEADLINE - 0.02 <= elapsed <= DEADLINE + LATE


# --- the key ---


def test_the_key_travels_in_the_authorization_header_and_nowhere_else() -> None:
    seen: list[bytes] = []

    def handler(wire: Wire) -> None:
        seen.append(wire.read_request())
        wire.send(http_answer())

    with serving(handler) as server, client_of(server.url) as client:
        client.market_status()
    line, _, headers = seen[0].decode().partition("\r\n")
    assert line == "GET /v1/marketstatus/now HTTP/1.1"
    assert headers.count("made-up-key-123") == 1
    assert "Authorization: Bearer made-up-key-123\r\n" in headers
    assert f"User-Agent: assetbatch/{__version__}\r\n" in headers


def test_a_netrc_never_replaces_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[bytes] = []

    def handler(wire: Wire) -> None:
        seen.append(wire.read_request())
        wire.send(http_answer())

    with serving(handler) as server, client_of(server.url) as client:
        client.market_status()
    assert b"Authorization: Bearer made-up-key-123\r\n" in seen[0]


def test_the_key_is_not_logged_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(answering(http_answer(), b"garbage\r\n\r\n")) as server, client_of(server.url) as client:
        client.market_status()
        refusal = refusal_of(client.market_status)
    assert "GET /v1/marketstatus/now" in caplog.text
    assert "made-up-key" not in caplog.text + repr(refusal) + str(refusal) + repr(vars(client))


@pytest.mark.parametrize("key", ["", "made-up key", "made-up-key\n", "made-up-ключ"])
def test_a_key_that_would_break_the_header_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ProviderClient("https://api.massive.com", Secret(key))
    assert "made-up" not in str(caught.value)


# --- the base URL ---


@pytest.mark.parametrize(
    "url",
    [
        "http://api.massive.com",
        "http://10.0.0.1:8000",
        "ftp://api.massive.com",
        "api.massive.com",
        "",
        "https://",
        "https://[::1",
        "https://host:port",
        "https://api.massive.com/?apiKey=made-up-key-123",
        "https://somebody:made-up-password@api.massive.com",
        "https://api.massive.com/v3",
    ],
)
def test_a_base_url_that_is_not_an_encrypted_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ProviderClient(url, KEY)
    assert caught.value.hint
    assert "made-up" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://api.massive.com", "https://API.massive.com:8443/", "http://localhost:1", "http://[::1]:8000"],
)
def test_https_anywhere_and_http_on_this_machine_are_accepted(url: str) -> None:
    ProviderClient(url, KEY).close()


# --- deadlines ---


def after_request(then: Callable[[Wire], None]) -> Callable[[Wire], None]:
    def handler(wire: Wire) -> None:
        wire.read_request()
        then(wire)

    return handler


def flood_of_continues(wire: Wire) -> None:
    while not wire.stop.is_set():
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.stop.wait(0.01)


def dripping(data: bytes, after: bytes = b"") -> Callable[[Wire], None]:
    def then(wire: Wire) -> None:
        wire.send(after)
        wire.drip(data)

    return then


OK = b"HTTP/1.1 200 OK\r\n"
LONG = b"x" * 4000
DRIPS: dict[str, Callable[[Wire], None]] = {
    "silence": Wire.silence,
    "status line": dripping(b"HTTP/1.1 200 " + LONG),
    "headers": dripping(b"X-Slow: 1\r\n" * 400, after=OK),
    "body": dripping(LONG, after=OK + b"Content-Length: 4000\r\n\r\n"),
    "body without length": dripping(LONG, after=OK + b"\r\n"),
    "chunks": dripping(b"1\r\nx\r\n" * 400, after=OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    "size of a chunk": dripping(b"0" * 4000, after=OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    "gzip": dripping(
        gzip.compress(bytes(range(256)) * 20),
        after=OK + b"Content-Encoding: gzip\r\nContent-Length: 9999\r\n\r\n",
    ),
    "100 Continue without end": flood_of_continues,
}


@pytest.mark.parametrize("name", DRIPS)
def test_a_call_ends_at_its_deadline_however_slowly_the_server_drips(name: str) -> None:
    with serving(after_request(DRIPS[name])) as server, client_of(server.url, DEADLINE) as client:
        refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, True)
    assert "no complete answer within 0.5 s" in refusal.message


def test_a_deadline_of_the_caller_lowers_the_clients_own() -> None:
    with serving(after_request(Wire.silence)) as server, client_of(server.url, 20) as client:
        _, elapsed = timed_refusal(lambda: client.market_status(deadline_seconds=DEADLINE))
        assert_on_time(elapsed)


def test_a_deadline_of_the_caller_does_not_raise_the_clients_own() -> None:
    with serving(after_request(Wire.silence)) as server, client_of(server.url, DEADLINE) as client:
        _, elapsed = timed_refusal(lambda: client.market_status(deadline_seconds=20))
        assert_on_time(elapsed)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_without_time_left_nothing_is_sent(seconds: float) -> None:
    with serving(answering(http_answer())) as server, client_of(server.url) as client:
        refusal = refusal_of(lambda: client.market_status(deadline_seconds=seconds))
        assert (refusal.kind, refusal.sent, server.connections) == (RefusalKind.PROVIDER_DOWN, False, 0)


def test_a_kept_connection_keeps_the_deadline_of_the_call_that_uses_it() -> None:
    def handler(wire: Wire) -> None:
        wire.read_request()
        wire.send(http_answer())
        wire.read_request()
        wire.drip(LONG)

    with serving(handler) as server, client_of(server.url, 20) as client:
        client.market_status()
        _, elapsed = timed_refusal(lambda: client.market_status(deadline_seconds=DEADLINE))
        assert server.connections == 1
    assert_on_time(elapsed)


def test_threads_that_share_a_client_keep_each_its_own_deadline() -> None:
    deadlines = [0.3, 0.6, 0.9, 1.2]
    took: dict[float, float] = {}

    with serving(after_request(lambda wire: wire.drip(LONG))) as server, client_of(server.url, 20) as client:

        def call(seconds: float) -> None:
            _, took[seconds] = timed_refusal(lambda: client.market_status(deadline_seconds=seconds))

        threads = [threading.Thread(target=call, args=(seconds,)) for seconds in deadlines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seconds in deadlines:
        assert seconds - 0.02 <= took[seconds] <= seconds + LATE


def test_a_name_lookup_that_hangs_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        released.wait(20)
        return []

    with client_of("http://localhost:9", DEADLINE) as client:
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        refusal, elapsed = timed_refusal(client.market_status)
    released.set()
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)
    assert "no connection within" in refusal.message


def black_hole(stack: ExitStack) -> int:
    """A port whose accept queue is full: the kernel leaves further connects unanswered."""
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port: int = listener.getsockname()[1]
    for _ in range(4):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    return port


def addresses(*ports: int) -> Callable[..., list[Any]]:
    return lambda *_, **__: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports
    ]


def test_several_dead_addresses_together_take_no_longer_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as stack, client_of("http://localhost:9", DEADLINE) as client:
        monkeypatch.setattr(socket, "getaddrinfo", addresses(*[black_hole(stack)] * 3))
        refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)


def test_a_dead_address_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack, serving(answering(http_answer())) as server:
        monkeypatch.setattr(socket, "getaddrinfo", addresses(black_hole(stack), server.port))
        with client_of("http://localhost:9", 1.0) as client:
            assert client.market_status().markets["forex"] == "open"


# --- TLS ---


class DrippingTLS:
    """A TLS server whose bytes on the wire can be held back one by one."""

    def __init__(self, wire: Wire, pem: Path) -> None:
        self.wire = wire
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server_tls(pem).wrap_bio(self.incoming, self.outgoing, server_side=True)

    def step(self, action: Callable[[], Any], drip: bool = False) -> Any:
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self.flush(drip)
                data = self.wire.conn.recv(65536)
                if not data:
                    raise OSError("the client has gone") from None
                self.incoming.write(data)
            else:
                self.flush(drip)
                return result

    def flush(self, drip: bool) -> None:
        data = self.outgoing.read()
        if data:
            (self.wire.drip if drip else self.wire.send)(data)


def assert_refused_on_time(handler: Callable[[Wire], None], *, sent: bool) -> None:
    """A call over TLS ends at the deadline, and knows whether its request was sent."""
    with (
        serving(handler) as server,
        client_of(server.url.replace("http:", "https:"), DEADLINE) as client,
    ):
        refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, sent)


def test_a_tls_handshake_that_never_starts_ends_at_the_deadline(trusted: Path) -> None:
    assert_refused_on_time(Wire.silence, sent=False)


def test_a_dripping_tls_handshake_ends_at_the_deadline(trusted: Path) -> None:
    def handler(wire: Wire) -> None:
        tls = DrippingTLS(wire, trusted)
        tls.step(tls.tls.do_handshake, drip=True)

    assert_refused_on_time(handler, sent=False)


def test_a_tls_record_that_drips_ends_at_the_deadline(trusted: Path) -> None:
    def handler(wire: Wire) -> None:
        tls = DrippingTLS(wire, trusted)
        tls.step(tls.tls.do_handshake)
        tls.step(lambda: tls.tls.read(4096))
        tls.step(lambda: tls.tls.write(http_answer(LONG)), drip=True)

    assert_refused_on_time(handler, sent=True)


def test_a_body_that_drips_in_many_tls_records_ends_at_the_deadline(trusted: Path) -> None:
    def handler(wire: Wire) -> None:
        wire.read_request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
        wire.drip(LONG)

    with serving(handler, server_tls(trusted)) as server, client_of(server.url, DEADLINE) as client:
        refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert refusal.sent


def test_a_machine_that_slept_while_it_connected_sends_nothing_late(
    trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = 0.0
    monkeypatch.setattr(transport, "monotonic", lambda: deadline_clock() + slept)
    received = b""

    def handler(wire: Wire) -> None:
        nonlocal slept, received
        tls = DrippingTLS(wire, trusted)
        tls.incoming.write(wire.conn.recv(65536))
        slept = 100.0  # the client now waits in its handshake
        tls.step(tls.tls.do_handshake)
        received = tls.step(lambda: tls.tls.read(4096))

    with serving(handler) as server, client_of(server.url.replace("http:", "https:")) as client:
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent, received) == (RefusalKind.PROVIDER_DOWN, False, b"")


def test_a_call_out_of_time_is_broken_off_so_that_nothing_is_delivered_late() -> None:
    """Reset, not closed: what the kernel still has of the request is discarded (here it had arrived)."""
    over = threading.Event()
    seen: list[object] = []

    def handler(wire: Wire) -> None:
        seen.append(wire.read_request() != b"")
        over.wait(10)
        try:
            seen.append(wire.conn.recv(4096))
        except ConnectionResetError as error:
            seen.append(error)

    with serving(handler) as server:
        with client_of(server.url) as client:
            refusal = refusal_of(lambda: client.market_status(deadline_seconds=0.3))
        over.set()
    assert refusal.kind is RefusalKind.PROVIDER_DOWN
    assert seen[0] is True
    assert isinstance(seen[1], ConnectionResetError)


def test_a_certificate_of_the_environments_bundle_is_trusted_and_the_connection_kept(trusted: Path) -> None:
    with (
        serving(answering(http_answer(), http_answer()), server_tls(trusted)) as server,
        client_of(server.url) as client,
    ):
        assert client.market_status().markets["forex"] == "open"
        assert client.market_status().markets["forex"] == "open"
        assert server.connections == 1


def test_an_unknown_certificate_is_refused_before_the_key_is_sent(pem: Path) -> None:
    with serving(answering(http_answer()), server_tls(pem)) as server, client_of(server.url) as client:
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)
    assert "the certificate is refused: self-signed certificate" in refusal.message
    assert "SSL_CERT_FILE" in (refusal.hint or "")


def market_status_is_open(pem: Path) -> bool:
    with serving(answering(http_answer()), server_tls(pem)) as server, client_of(server.url) as client:
        return client.market_status().markets["forex"] == "open"


def test_a_certificate_of_ssl_cert_file_is_trusted(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert market_status_is_open(pem)


def test_a_certificate_in_a_folder_of_ssl_cert_dir_is_trusted(
    pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(pem)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / f"{name}.0").symlink_to(pem)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'empty'}:{tmp_path}")
    assert market_status_is_open(pem)


def test_the_bundle_of_requests_goes_before_ssl_cert_file(
    pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path / "other")))
    refusal = refusal_of(lambda: market_status_is_open(pem))
    assert "certificate" in refusal.message
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    assert market_status_is_open(pem)


def test_a_certificate_for_another_name_is_refused(trusted: Path) -> None:
    with (
        serving(answering(http_answer()), server_tls(trusted)) as server,
        client_of(f"https://localhost:{server.port}") as client,
    ):
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)


def test_a_bundle_that_is_not_there_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_DIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "/nowhere/bundle.pem")
        with pytest.raises(ConfigError, match=r"/nowhere/bundle\.pem") as caught:
            ProviderClient("https://api.massive.com", KEY)
        assert (caught.value.hint or "").startswith(name)


# --- proxies ---


def tunnel_to(server: RawServer, seen: list[bytes] | None) -> Callable[[Wire], None]:
    """An HTTP proxy that opens its tunnel to `server`, whatever host is asked."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if seen is not None:
                    seen.append(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def handler(wire: Wire) -> None:
        request = wire.read_request()
        if seen is not None:
            seen.append(request)
        wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port)) as onward:
            back = threading.Thread(target=pump, args=(onward, wire.conn))
            back.start()
            pump(wire.conn, onward)
            back.join()

    return handler


def test_the_environments_proxy_is_used_and_never_sees_the_key(
    trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    with (
        serving(answering(http_answer()), server_tls(trusted)) as server,
        serving(tunnel_to(server, seen)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with client_of("https://provider.test") as client:
            assert client.market_status().markets["crypto"] == "open"
    assert seen[0].startswith(b"CONNECT provider.test:443 HTTP/1.")
    assert b"made-up-key" not in b"".join(seen)


def test_a_dripping_proxy_ends_at_the_deadline(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(after_request(lambda wire: wire.drip(b"HTTP/1.1 200 " + LONG))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with client_of("https://provider.test", DEADLINE) as client:
            refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)


@pytest.mark.parametrize("name", ["silence", "body"])
def test_a_slow_server_behind_a_tls_proxy_ends_at_the_deadline(
    name: str, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        serving(after_request(DRIPS[name]), server_tls(trusted)) as server,
        serving(tunnel_to(server, []), server_tls(trusted)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with client_of("https://provider.test", DEADLINE) as client:
            refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, True)


def test_a_flood_from_behind_a_tls_proxy_is_stopped_at_the_cap(
    trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless_chunk = OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"
    with (
        serving(flood(endless_chunk, bytes(0x10000)), server_tls(trusted)) as server,
        serving(tunnel_to(server, None), server_tls(trusted)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with client_of("https://provider.test", max_body_bytes=2**20) as client:
            refusal = refusal_of(client.market_status)
    assert "larger than 1048576 bytes" in refusal.message


def test_a_proxy_that_refuses_the_tunnel_is_named_as_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//somebody:made-up-password@"))
        with client_of("https://provider.test") as client:
            refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)
    assert "through the proxy: Tunnel connection failed: 407" in refusal.message
    assert "made-up-password" not in str(refusal)


def test_this_machine_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with serving(answering(http_answer())) as server, client_of(server.url) as client:
        assert client.market_status().markets["forex"] == "open"


def test_a_proxy_of_an_unsupported_kind_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://somebody:made-up-password@127.0.0.1:9")
    with pytest.raises(ConfigError, match="socks5") as caught:
        ProviderClient("https://api.massive.com", KEY)
    assert "made-up-password" not in str(caught.value)


# --- one arrival per call ---


def test_calls_share_one_connection() -> None:
    with serving(answering(*[http_answer()] * 3)) as server, client_of(server.url) as client:
        for _ in range(3):
            client.market_status()
        assert server.connections == 1


def test_a_connection_the_server_has_closed_meanwhile_is_replaced_before_anything_is_sent() -> None:
    closed = threading.Event()
    arrivals: list[bytes] = []

    def handler(wire: Wire) -> None:
        arrivals.append(wire.read_request())
        wire.send(http_answer())
        wire.conn.shutdown(socket.SHUT_RDWR)
        wire.conn.close()
        closed.set()

    with serving(handler) as server, client_of(server.url) as client:
        client.market_status()
        assert closed.wait(5)
        client.market_status()
        assert (server.connections, len(arrivals)) == (2, 2)


@pytest.mark.parametrize("reset", [False, True])
def test_a_kept_connection_dropped_at_the_request_is_reported_and_not_tried_again(reset: bool) -> None:
    arrivals: list[bytes] = []

    def handler(wire: Wire) -> None:
        for answers in (True, False):
            arrivals.append(wire.read_request())
            if answers:
                wire.send(http_answer())
        if reset:
            wire.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with serving(handler) as server, client_of(server.url) as client:
        client.market_status()
        refusal = refusal_of(client.market_status)
        assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, True)
        assert (server.connections, len(arrivals)) == (1, 2)


def test_a_connection_refused_certainly_sent_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with client_of(f"http://127.0.0.1:{port}") as client:
            refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)
    assert refusal.message == f"127.0.0.1:{port}: Connection refused"


def test_a_name_that_is_not_known_certainly_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client_of("https://provider.test") as client:
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)
    assert refusal.message == "provider.test: Name or service not known"


def test_a_host_that_no_name_can_be_certainly_sent_nothing() -> None:
    with client_of(f"https://{'a' * 64}.test") as client:
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, False)


def test_a_redirect_is_not_followed_and_its_body_not_read() -> None:
    sent = 0

    def handler(wire: Wire) -> None:
        nonlocal sent
        wire.read_request()
        wire.send(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent < 200 * 2**20:
            wire.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000

    with serving(handler) as server, client_of(server.url, max_body_bytes=2**20) as client:
        refusal = refusal_of(client.market_status)
        assert (refusal.kind, refusal.http_status) == (RefusalKind.NONSENSE, 302)
        assert server.connections == 1
    assert sent < 20 * 2**20


# --- sizes ---


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**20)
    return b"".join([*(packer.compress(zeros) for _ in range(megabytes)), packer.flush()])


def peak_bytes(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_stopped_at_the_cap() -> None:
    packed = bomb(200)
    with (
        serving(answering(http_answer(packed, "200 OK", "Content-Encoding: gzip"))) as server,
        client_of(server.url, 20, max_body_bytes=4 * 2**20) as client,
    ):
        refusals: list[Refusal] = []
        peak = peak_bytes(lambda: refusals.append(refusal_of(client.market_status)))
    assert refusals[0].kind is RefusalKind.NONSENSE
    assert "larger than 4194304 bytes" in refusals[0].message
    assert peak < 30 * 2**20


def test_a_body_declared_too_large_is_not_read() -> None:
    def handler(wire: Wire) -> None:
        wire.read_request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
        wire.silence()

    with serving(handler) as server, client_of(server.url) as client:
        refusal, elapsed = timed_refusal(client.market_status)
    assert refusal.kind is RefusalKind.NONSENSE
    assert elapsed < 2


def flood(start: bytes, again: bytes) -> Callable[[Wire], None]:
    def handler(wire: Wire) -> None:
        wire.read_request()
        wire.send(start)
        while not wire.stop.is_set():
            wire.send(again)

    return handler


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", bytes(0x10000)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(0x10000) + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", bytes(0x10000)),
        (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ],
    ids=["body", "chunks", "chunk of size -1", "headers"],
)
def test_a_flood_without_end_is_stopped_at_the_cap(start: bytes, again: bytes) -> None:
    with serving(flood(start, again)) as server, client_of(server.url, 20, max_body_bytes=2**20) as client:
        refusals: list[Refusal] = []
        peak = peak_bytes(lambda: refusals.append(refusal_of(client.market_status)))
    assert refusals[0].kind in (RefusalKind.NONSENSE, RefusalKind.PROVIDER_DOWN)
    assert peak < 15 * 2**20


def test_a_body_of_exactly_the_cap_is_accepted() -> None:
    with (
        serving(answering(http_answer())) as server,
        client_of(server.url, max_body_bytes=len(STATUS_BODY)) as client,
    ):
        assert client.market_status().markets["forex"] == "open"


def test_a_compressed_body_is_decoded() -> None:
    packed = gzip.compress(STATUS_BODY)
    with (
        serving(answering(http_answer(packed, "200 OK", "Content-Encoding: gzip"))) as server,
        client_of(server.url) as client,
    ):
        assert client.market_status().markets["forex"] == "open"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (STATUS_BODY, "br"),
        (gzip.compress(gzip.compress(STATUS_BODY)), "gzip, gzip"),
        (b"not gzip at all", "gzip"),
    ],
)
def test_an_encoding_that_was_not_asked_for_or_is_broken_is_nonsense(body: bytes, encoding: str) -> None:
    with (
        serving(answering(http_answer(body, "200 OK", f"Content-Encoding: {encoding}"))) as server,
        client_of(server.url) as client,
    ):
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.NONSENSE, True)


def test_a_body_cut_short_is_no_answer() -> None:
    with serving(answering(http_answer()[:-20])) as server, client_of(server.url) as client:
        assert refusal_of(client.market_status).kind is RefusalKind.PROVIDER_DOWN


@pytest.mark.parametrize("size", [b"-5", b"-1", b"x", b"", b"f" * 100])
def test_a_chunk_of_an_impossible_size_is_no_answer(size: bytes) -> None:
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc"
    with serving(answering(answer)) as server, client_of(server.url) as client:
        refusal = refusal_of(client.market_status)
    assert (refusal.kind, refusal.sent) == (RefusalKind.PROVIDER_DOWN, True)


def test_a_status_that_refuses_counts_even_if_its_body_never_comes() -> None:
    def handler(wire: Wire) -> None:
        wire.read_request()
        wire.send(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\n{")
        wire.silence()

    with serving(handler) as server, client_of(server.url, DEADLINE) as client:
        refusal, elapsed = timed_refusal(client.market_status)
    assert_on_time(elapsed)
    assert (refusal.kind, refusal.retry_after_seconds) == (RefusalKind.TOO_MANY_CALLS, 7.0)


HTTP_PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 429 \r\n",
        b"HTTP/1.1 302 Found\r\nLocation: //[\r\n",
        b"HTTP/1.1 99999 OK\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 6\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Retry-After: soon\r\n",
        b"Set-Cookie: a=b; domain=\xff\r\n",
        b"\r\n",
        b"5\r\n{}{}{\r\n",
        b"-5\r\nabc\r\n",
        b"0\r\n\r\n",
        gzip.compress(b"{}"),
        STATUS_BODY,
    ]
)


def test_whatever_bytes_a_server_sends_only_a_refusal_or_an_answer_comes_out() -> None:
    payload = b""

    def handler(wire: Wire) -> None:
        wire.read_request()
        wire.send(payload)

    with serving(handler) as server, client_of(server.url) as client:

        @examples(1.5)  # most of them break already in the status line
        @given(st.lists(HTTP_PIECES | st.binary(max_size=30), max_size=8))
        def holds(pieces: list[bytes]) -> None:
            nonlocal payload
            payload = b"".join(pieces)
            with contextlib.suppress(Refusal):
                client.market_status()

        holds()


def test_a_call_costs_few_milliseconds() -> None:
    with serving(answering(*[http_answer()] * 51)) as server, client_of(server.url) as client:
        client.market_status()
        started = monotonic()
        for _ in range(50):
            client.market_status()
        assert (monotonic() - started) / 50 < 0.05
