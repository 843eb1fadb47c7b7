"""HTTP itself: methods, connections, compression, latency, names of hosts, and the end of it all."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from assetbatch.sandbox import SandboxServer

from .helpers import KEY, Clock, ask, ask_json, range_path, raw_exchange, raw_get

STATUS = "/v1/marketstatus/now"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(clock=Clock()) as running:
        yield running


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_only_get_is_allowed(server: SandboxServer, method: str) -> None:
    response = requests.request(method, server.base_url + STATUS, headers=HEADERS, timeout=10, data=b"body")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"


def test_the_body_of_a_refused_request_is_not_taken_for_the_next_one(server: SandboxServer) -> None:
    body = raw_get(STATUS)
    head = f"POST {STATUS} HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert raw_exchange(server, head + body).count(b"HTTP/1.1") == 1


def test_a_connection_is_kept_for_many_requests(server: SandboxServer) -> None:
    answer = raw_exchange(
        server, raw_get(STATUS, close=False) + raw_get("/nothing", close=False) + raw_get(STATUS)
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"HTTP/1.1 404 Not Found") == 1


@pytest.mark.parametrize(
    "request_bytes", [b"\x16\x03\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http_ends_the_connection_and_not_the_server(
    server: SandboxServer, request_bytes: bytes
) -> None:
    raw_exchange(server, request_bytes, timeout=1)
    assert ask(server, STATUS).status_code == 200


def test_a_long_answer_is_compressed_when_asked(server: SandboxServer) -> None:
    path = range_path("X:BTCUSD", "5/minute", "2025-06-16", "2025-06-17")
    plain = requests.get(
        server.base_url + path, headers={**HEADERS, "Accept-Encoding": "identity"}, timeout=10
    )
    packed = requests.get(server.base_url + path, headers=HEADERS, timeout=10, stream=True)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    unpacked = json.loads(gzip.decompress(packed.raw.read(decode_content=False)))
    assert unpacked["results"] == plain.json()["results"]


def test_the_same_question_at_the_same_moment_has_the_same_answer(server: SandboxServer) -> None:
    def answer() -> object:
        body = ask_json(server, "/v3/snapshot", limit=250)
        assert body.pop("request_id")
        return body

    assert answer() == answer()


def test_many_ask_at_once(server: SandboxServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask(server, STATUS).status_code, range(64)))
    assert statuses == [200] * 64


def test_latency_lies_between_its_bounds_and_differs() -> None:
    server = SandboxServer(latency=(0.05, 0.2))
    delays = [server.delay_seconds(number) for number in range(50)]
    assert all(0.05 <= delay <= 0.2 for delay in delays)
    assert max(delays) - min(delays) > 0.1
    with SandboxServer(latency=(0.1, 0.1)) as slow:
        start = time.monotonic()
        ask(slow, STATUS)
        assert 0.1 <= time.monotonic() - start < 2


def test_the_time_of_arrival_is_before_the_latency() -> None:
    with SandboxServer(latency=(0.2, 0.2)) as server:
        start = time.monotonic()
        ask(server, STATUS)
        end = time.monotonic()
        (arrival,) = server.arrivals
    assert start <= arrival.at <= end - 0.2


def test_it_listens_on_loopback_only(server: SandboxServer) -> None:
    assert server.base_url.startswith("http://127.0.0.1:")


def test_after_a_stop_the_port_is_free_and_open_connections_are_closed() -> None:
    server = SandboxServer().start()
    host, port = server.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(raw_get(STATUS, close=False))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        server.stop()
        assert connection.recv(65_536) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    with SandboxServer(port=int(port)) as again:
        assert ask(again, STATUS).status_code == 200


def test_a_stopped_server_says_so() -> None:
    server = SandboxServer()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.base_url
    server.stop()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_prints_its_address_and_ends_on_a_signal(end: signal.Signals) -> None:
    code = "import sys; from assetbatch.sandbox import *; sys.exit(serve_forever(SandboxServer()))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        assert requests.get(base_url + STATUS, headers=HEADERS, timeout=10).status_code == 200
        os.kill(process.pid, end)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")
