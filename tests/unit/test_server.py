"""The small HTTP server: what it answers, and that nobody can hold it up or ask too much of it."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import MappingProxyType

import pytest

from assetbatch.monitoring import server as serving
from assetbatch.monitoring.server import (
    REQUEST_BYTES,
    STOP_SECONDS,
    Application,
    Cached,
    Document,
    Server,
    packed,
)

PAGE = Document(200, "text/html; charset=utf-8", b"<p>fine</p>")
OWN_TOO_SLOW = Document(503, "text/html; charset=utf-8", b"<p>too slow</p>")


@contextmanager
def serve(documents: Mapping[str, Cached], host: str = "127.0.0.1") -> Iterator[Server]:
    found = Server(host, 0, Application(documents))
    thread = threading.Thread(target=found.run, daemon=True)
    thread.start()
    yield found
    found.stop()
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve({"/": Cached(lambda: PAGE, 5)}) as found:
        yield found


def ask(
    server: Server, method: str, path: str, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


class TestAnswers:
    def test_a_document_with_headers_that_allow_nothing_else(self, server: Server) -> None:
        status, headers, body = ask(server, "GET", "/?x=1")
        assert (status, headers["Content-Type"], body) == (200, PAGE.content_type, PAGE.body)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"] == "assetbatch"

    def test_its_headers_alone(self, server: Server) -> None:
        status, headers, body = ask(server, "HEAD", "/")
        assert (status, headers["Content-Length"], body) == (200, str(len(PAGE.body)), b"")

    @pytest.mark.parametrize("path", ["/x", "/index.html", "/../etc/passwd", "/health"])
    def test_no_other_path(self, server: Server, path: str) -> None:
        assert ask(server, "GET", path)[0] == 404

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "MADEUP"])
    def test_no_other_method(self, server: Server, method: str) -> None:
        status, headers, _ = ask(server, method, "/")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


class TestPacking:
    WORDS = b"".join(b"<p>fine: %d</p>" % number for number in range(20_000))
    PIECES = re.findall(b".{1,70}", WORDS)
    LARGE = Document(200, "text/html; charset=utf-8", packed(PIECES))

    def ask(self, document: Document, method: str, accepted: str) -> tuple[dict[str, str], bytes]:
        with serve({"/": Cached(lambda: document, 5)}) as server:
            _, headers, body = ask(server, method, "/", {"Accept-Encoding": accepted})
        return headers, body

    @pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.8", "*"])
    def test_sends_a_large_document_as_gzip_to_who_takes_it(self, accepted: str) -> None:
        headers, body = self.ask(self.LARGE, "GET", accepted)
        assert headers["Content-Encoding"] == "gzip"
        assert headers["Content-Length"] == str(len(body))
        assert len(body) < len(self.WORDS) / 4
        assert gzip.decompress(body) == self.WORDS

    @pytest.mark.parametrize("accepted", ["identity", "", "br", "gzip;q=0", "gzip;q=0.000, *", "xgzip"])
    def test_sends_it_as_it_is_to_others(self, accepted: str) -> None:
        headers, body = self.ask(self.LARGE, "GET", accepted)
        assert "Content-Encoding" not in headers
        assert headers["Content-Length"] == str(len(self.WORDS))
        assert body == self.WORDS

    def test_tells_caches_that_it_depends_on_the_client(self) -> None:
        assert self.ask(self.LARGE, "GET", "identity")[0]["Vary"] == "Accept-Encoding"

    def test_head_says_what_get_would(self) -> None:
        length = self.ask(self.LARGE, "GET", "gzip")[0]["Content-Length"]
        headers, body = self.ask(self.LARGE, "HEAD", "gzip")
        assert (headers["Content-Length"], headers["Content-Encoding"], body) == (length, "gzip", b"")

    def test_leaves_a_small_document_as_it_is(self) -> None:
        small = Document(200, PAGE.content_type, packed([b"<p>", b"fine</p>"]))
        headers, body = self.ask(small, "GET", "gzip")
        assert "Content-Encoding" not in headers
        assert body == PAGE.body


class TestBinding:
    def test_ipv6(self) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6 here")
        with (
            serve({"/": Cached(lambda: PAGE, 5)}, "::1") as found,
            closing(http.client.HTTPConnection("::1", found.port, timeout=5)) as connection,
        ):
            connection.request("GET", "/")
            assert connection.getresponse().status == 200

    def test_all_addresses_of_ipv6_and_ipv4(self) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6 here")
        with serve({"/": Cached(lambda: PAGE, 5)}, "::") as found:
            assert ask(found, "GET", "/")[0] == 200

    def test_asks_no_name_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("this may hang"))
        with serve({}):
            pass


class TestBounds:
    def test_headers_that_are_too_large(self, server: Server) -> None:
        line = b"GET / HTTP/1.1\r\nX: "
        assert raw(server, line.ljust(REQUEST_BYTES, b"a")).startswith(b"HTTP/1.0 431 ")

    def test_an_address_that_is_too_long(self, server: Server) -> None:
        assert raw(server, b"GET /".ljust(REQUEST_BYTES, b"a")).startswith(b"HTTP/1.0 431 ")

    @pytest.mark.parametrize("length", [b"Content-Length: 16384", b"Content-Length: 99999999999"])
    def test_a_body_that_is_too_large(self, server: Server, length: bytes) -> None:
        assert raw(server, b"POST / HTTP/1.0\r\n" + length + b"\r\n\r\n").startswith(b"HTTP/1.0 413 ")

    def test_a_body_in_chunks_that_grows_too_large(self, server: Server) -> None:
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"5000\r\n".ljust(REQUEST_BYTES, b"a")
        assert raw(server, head + body).startswith(b"HTTP/1.1 413 ")

    def test_whoever_leaves_in_the_middle_is_no_error_of_ours(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        reset_at_once = struct.pack("ii", 1, 0)
        with caplog.at_level("INFO", "assetbatch"):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_once)
                    connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * REQUEST_BYTES * 2)
            assert ask(server, "GET", "/")[0] == 200
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    @pytest.mark.parametrize(
        "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX : y\r\n\r\n", b"\x00\xff\r\n\r\n"]
    )
    def test_nonsense_is_refused(self, server: Server, request_: bytes) -> None:
        assert b"200" not in raw(server, request_)
        assert ask(server, "GET", "/")[0] == 200

    def test_whoever_drips_is_cut_off(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.3)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            began = time.monotonic()
            with pytest.raises(OSError):  # noqa: PT012 - which of the writes finds out depends on the kernel
                while time.monotonic() - began < 5:
                    connection.sendall(b"x")
                    time.sleep(0.02)
            assert time.monotonic() - began < 3

    def test_slow_clients_block_nobody(self, server: Server) -> None:
        dripping = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(150)]
        try:
            for byte in b"GET / HTTP":
                for connection in dripping:
                    connection.sendall(bytes([byte]))
                began = time.monotonic()
                assert ask(server, "GET", "/")[0] == 200
                assert time.monotonic() - began < 1
        finally:
            for connection in dripping:
                connection.close()

    def test_a_limited_number_of_connections_and_further_ones_wait(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(serving, "CONNECTIONS", 10)
        monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.3)
        with serve({"/": Cached(lambda: PAGE, 5)}) as server:
            idle = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(20)]
            wait_until(lambda: len(server.connections()) > 5)
            assert len(server.connections()) <= 10
            assert ask(server, "GET", "/")[0] == 200
            for connection in idle:
                connection.close()

    def test_a_bug_in_an_answer_ends_that_answer_only(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(Cached):
            def get(self) -> Document:
                raise RuntimeError("made up")

        with serve({"/": Cached(lambda: PAGE, 5), "/broken": Broken(lambda: PAGE, 1)}) as server:
            assert ask(server, "GET", "/broken")[0] == 500
            assert ask(server, "GET", "/")[0] == 200
        assert "a request failed" in caplog.text


def test_a_name_stands_for_its_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's /etc/hosts has `::1 localhost`, and clients ask 127.0.0.1."""
    find = socket.getaddrinfo

    def ipv6_first(host: str | None, port: int, family: int = 0, *rest: int) -> list[object]:
        six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))]
        named = host == "localhost"
        return [*(six if named and family != socket.AF_INET else []), *find(host, port, family, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", ipv6_first)
    with serve({"/": Cached(lambda: PAGE, 5)}, "localhost") as server:
        assert ask(server, "GET", "/")[0] == 200


class TestCaching:
    def test_however_many_ask_it_is_made_once(self) -> None:
        made = []

        def make() -> Document:
            made.append(1)
            time.sleep(0.1)
            return PAGE

        cached = Cached(make, 5)
        asking = [threading.Thread(target=cached.get) for _ in range(20)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert len(made) == 1

    def test_it_is_made_again_when_it_is_old(self) -> None:
        made = []

        def make() -> Document:
            made.append(1)
            return PAGE

        cached = Cached(make, 0.0)
        cached.get()
        cached.get()
        assert len(made) == 2

    def test_one_that_hangs_is_not_waited_for_and_not_begun_twice(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(serving, "MAKING_SECONDS", 0.1)
        release, made = threading.Event(), []

        def make() -> Document:
            made.append(1)
            release.wait(10)
            return PAGE

        cached = Cached(make, 5, lambda: OWN_TOO_SLOW)
        assert [cached.get(), cached.get()] == [OWN_TOO_SLOW, OWN_TOO_SLOW]
        assert len(made) == 1
        release.set()
        wait_until(lambda: cached.get() == PAGE)

    def test_is_made_later_where_no_thread_can_be_had_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        cached = Cached(lambda: PAGE, 5)
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", refused)
            with pytest.raises(RuntimeError):
                cached.get()
        assert cached.get() == PAGE


class TestStopping:
    def test_waits_for_nobody_who_has_asked_for_nothing(self, server: Server) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as idle:
            wait_until(lambda: len(server.connections()) == 1)
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < STOP_SECONDS / 2
            assert idle.recv(10) == b""

    def test_finishes_an_answer_under_way(self) -> None:
        asked, release = threading.Event(), threading.Event()

        def make() -> Document:
            asked.set()
            release.wait(10)
            return PAGE

        answers: list[bytes] = []
        with serve({"/": Cached(make, 5)}) as server:
            asking = threading.Thread(target=lambda: answers.append(raw(server, b"GET / HTTP/1.0\r\n\r\n")))
            asking.start()
            assert asked.wait(5)
            threading.Timer(0.3, release.set).start()
            server.stop()
            asking.join(5)
        assert answers[0].endswith(b"<p>fine</p>")

    def test_sends_what_a_slow_reader_has_not_taken_yet(self) -> None:
        large = Document(200, "text/plain", b"x" * 8_000_000)
        with (
            serve({"/": Cached(lambda: large, 5)}) as server,
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = len(connection.recv(100))
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            while some := connection.recv(65536):
                received += len(some)
            stopping.join(5)
        assert received > len(large.body)

    def test_is_bounded_where_an_answer_hangs(self) -> None:
        asked, release = threading.Event(), threading.Event()

        def make() -> Document:
            asked.set()
            release.wait(10)
            return PAGE

        with (
            serve({"/": Cached(make, 5)}) as server,
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert asked.wait(5)
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < STOP_SECONDS + 0.5
            release.set()


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
