"""Faults to order: each does what its name says, when it is due, and only then."""

from __future__ import annotations

import json
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.errors import ConfigError
from assetbatch.sandbox import FAULTS, PLANS, SandboxServer, parse_fault, windows_over_limit
from assetbatch.sandbox.faults import Fault

from .helpers import BAR_MS, KEY, Clock, ask, ask_json, ms, pages, range_path, raw_exchange, raw_get

STATUS = "/v1/marketstatus/now"
START_MS = ms("2025-06-17T10:00:00Z")
RANGE = range_path("X:BTCUSD", "5/minute", START_MS, START_MS + 9 * BAR_MS)
SNAPSHOT = "/v3/snapshot?ticker.any_of=C:EURUSD,X:BTCUSD"


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(clock=Clock()) as running:
        yield running


def results(server: SandboxServer, path: str = RANGE) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask_json(server, path)["results"]
    return found


# Names


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_ordered_by_its_name_and_value(name: str) -> None:
    default = FAULTS[name][0]
    assert parse_fault(name) == (Fault(name, default), 1.0)
    text = str(Fault(name, default))
    assert parse_fault(f"{text}:0.25") == (Fault(name, default), 0.25)


@pytest.mark.parametrize(
    ("text", "fault", "probability"),
    [
        ("status=503:0.1", Fault("status", "503"), 0.1),
        ("status=500", Fault("status", "500"), 1.0),
        ("429=30", Fault("429", "30"), 1.0),
        ("drop:1", Fault("drop", ""), 1.0),
        ("drop:0", Fault("drop", ""), 0.0),
        ("redirect=http://127.0.0.1:8080", Fault("redirect", "http://127.0.0.1:8080"), 1.0),
        ("redirect=http://127.0.0.1:8080:.5", Fault("redirect", "http://127.0.0.1:8080"), 0.5),
    ],
)
def test_a_fault_is_read_from_text(text: str, fault: Fault, probability: float) -> None:
    assert parse_fault(text) == (fault, probability)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "status=abc", "status=204", "drip-body=fast", "drop:1.5", "nan=7", "redirect=x"],
)
def test_an_unknown_fault_or_value_is_an_error_of_configuration(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fault(text)
    with pytest.raises(ConfigError):
        SandboxServer(faults=[text])


@given(st.text())
def test_any_text_is_a_fault_or_an_error_of_configuration(text: str) -> None:
    try:
        fault, probability = parse_fault(text)
    except ConfigError:
        return
    assert fault.name in FAULTS
    assert 0 <= probability <= 1


# When a fault is due


def test_faults_come_in_the_order_and_number_they_were_ordered(server: SandboxServer) -> None:
    server.order("status=500", times=2)
    server.order("status=502")
    assert [ask(server, STATUS).status_code for _ in range(5)] == [500, 500, 502, 200, 200]
    assert [arrival.fault for arrival in server.arrivals] == ["status", "status", "status", None, None]


def test_a_fault_can_wait_for_a_path(server: SandboxServer) -> None:
    server.order("status=500", path_contains="/v2/aggs")
    assert [ask(server, path).status_code for path in (STATUS, RANGE, RANGE)] == [200, 500, 200]


def test_a_fault_of_bars_waits_for_bars(server: SandboxServer) -> None:
    server.order("outside-range")
    assert ask_json(server, STATUS)["market"]
    assert len(results(server)) == 12
    assert len(results(server)) == 10


def test_a_fault_of_every_second_bar_waits_for_a_second_bar(server: SandboxServer) -> None:
    server.order("nanoseconds")
    (single,) = results(server, range_path("X:BTCUSD", "5/minute", START_MS, START_MS))
    assert single["t"] == START_MS
    assert [bar["t"] > START_MS * 1000 for bar in results(server)] == [False, True] * 5


def test_a_standing_fault_stays_until_it_is_cleared(server: SandboxServer) -> None:
    server.order("status=503", times=None)
    assert {ask(server, STATUS).status_code for _ in range(4)} == {503}
    server.faults.clear()
    assert ask(server, STATUS).status_code == 200


def test_a_probability_is_met_about_so_often_and_the_same_in_every_run() -> None:
    def run() -> list[int]:
        with SandboxServer(clock=Clock(), faults=["status=503:0.25"]) as server:
            return [ask(server, STATUS).status_code for _ in range(120)]

    statuses = run()
    assert 15 <= statuses.count(503) <= 45
    assert run() == statuses


def test_a_call_with_a_fault_counts_at_the_limit_and_a_refused_call_meets_none() -> None:
    with SandboxServer(PLANS["basic"], clock=Clock()) as server:
        server.order("drop", times=5)
        for _ in range(5):
            with pytest.raises(requests.ConnectionError):
                ask(server, STATUS)
        server.order("status=500")
        assert [ask(server, STATUS).status_code, ask(server, STATUS, key=None).status_code] == [429, 401]
        assert [arrival.status for arrival in server.arrivals] == [0] * 5 + [429, 401]
        assert len(windows_over_limit(server.arrivals, 5, 60)) == 1


# In place of an answer


@pytest.mark.parametrize(
    ("status", "content"), [(500, "application/json"), (503, "text/html; charset=utf-8")]
)
def test_status(server: SandboxServer, status: int, content: str) -> None:
    server.order(f"status={status}")
    response = ask(server, STATUS)
    assert (response.status_code, response.headers["Content-Type"]) == (status, content)


@pytest.mark.parametrize(("fault", "retry_after", "empty"), [
    ("429", None, False), ("429=30", "30", False), ("empty-429", None, True), ("empty-429=7", "7", True),
])  # fmt: skip
def test_429(server: SandboxServer, fault: str, retry_after: str | None, empty: bool) -> None:
    server.order(fault)
    response = ask(server, STATUS)
    assert response.status_code == 429
    assert response.headers.get("Retry-After") == retry_after
    assert (response.content == b"") == empty


def test_html(server: SandboxServer) -> None:
    server.order("html")
    response = ask(server, STATUS)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("fault", "word", "field"),
    [("error-200", "ERROR", "error"), ("not-authorized-200", "NOT_AUTHORIZED", "message")],
)
def test_an_error_word_in_a_200(server: SandboxServer, fault: str, word: str, field: str) -> None:
    server.order(fault)
    body = ask_json(server, RANGE)
    assert body["status"] == word
    assert set(body) == {"status", "request_id", field}


def test_redirect(server: SandboxServer) -> None:
    server.order("redirect=http://127.0.0.1:9999")
    response = ask(server, STATUS)
    assert response.status_code == 302
    assert response.headers["Location"] == f"http://127.0.0.1:9999{STATUS}"


def test_wrong_shape(server: SandboxServer) -> None:
    server.order("wrong-shape")
    assert isinstance(ask_json(server, RANGE), list)


# On the wire


def test_drop_ends_the_connection_without_a_byte(server: SandboxServer) -> None:
    server.order("drop")
    assert raw_exchange(server, raw_get(STATUS, close=False)) == b""


def test_drop_half_promises_more_than_it_sends(server: SandboxServer) -> None:
    server.order("drop-half")
    head, _, body = raw_exchange(server, raw_get(RANGE, close=False)).partition(b"\r\n\r\n")
    promised = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    assert len(body) == promised // 2
    server.order("drop-half")
    with pytest.raises(requests.RequestException):
        ask(server, RANGE)


def arrival_of_bytes(server: SandboxServer, path: str) -> list[tuple[float, bytes]]:
    """Each piece that comes in and when, from the moment the request is out."""
    host, port = server.base_url.removeprefix("http://").split(":")
    pieces = []
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw_get(path))
        start = time.monotonic()
        while piece := connection.recv(65_536):
            pieces.append((time.monotonic() - start, piece))
    return pieces


@pytest.mark.parametrize("part", ["headers", "body"])
def test_drip(server: SandboxServer, part: str) -> None:
    server.order(f"drip-{part}=0.003")
    pieces = arrival_of_bytes(server, STATUS)
    head, _, body = b"".join(piece for _, piece in pieces).partition(b"\r\n\r\n")
    assert json.loads(body)["market"] == "open"
    slow = len(head) + 4 if part == "headers" else len(body)
    assert pieces[-1][0] >= 0.003 * (slow - 1)
    assert len(pieces) > 10
    # The other part comes at once: with the first or the last piece.
    assert len(pieces[-1][1]) >= len(body) if part == "headers" else len(pieces[0][1]) >= len(head)


def test_a_drip_ends_with_the_server() -> None:
    server = SandboxServer(clock=Clock(), faults=["drip-body=5"]).start()
    host, port = server.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw_get(STATUS))
        assert connection.recv(65_536)
        start = time.monotonic()
        server.stop()
        while connection.recv(65_536):
            pass
    assert time.monotonic() - start < 2


def test_huge(server: SandboxServer) -> None:
    server.order("huge=3")
    response = ask(server, RANGE)
    assert len(response.content) > 3_000_000
    assert response.json() == {"status": "OK", "results": []}


def test_gzip_bomb(server: SandboxServer) -> None:
    server.order("gzip-bomb=20")
    head, _, body = raw_exchange(server, raw_get(RANGE)).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert len(body) < 100_000
    assert len(zlib.decompress(body, wbits=31)) > 20_000_000


# Within a good answer


def test_cut_json(server: SandboxServer) -> None:
    server.order("cut-json")
    response = ask(server, RANGE)
    assert response.status_code == 200
    assert response.content.startswith(b'{"')
    with pytest.raises(requests.JSONDecodeError):
        response.json()


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize("path", [RANGE, SNAPSHOT])
def test_nan(server: SandboxServer, path: str, token: str) -> None:
    server.order(f"nan={token}")
    assert f'"{"o" if path == RANGE else "open"}":{token}' in ask(server, path).text


def test_wrong_types(server: SandboxServer) -> None:
    server.order("wrong-types")
    assert {bar["c"] for bar in results(server)} == {"n/a"}


def test_wrong_types_are_in_the_values_of_indices_and_the_quotes_of_stocks() -> None:
    with SandboxServer(PLANS["advanced"], clock=Clock()) as server:
        server.order("wrong-types", times=2)
        (index,) = results(server, "/v3/snapshot?ticker.any_of=I:NDX")
        stock = ask_json(server, "/v2/snapshot/locale/us/markets/stocks/tickers/AAPL")["ticker"]
    assert index["value"] == index["session"]["close"] == "n/a"
    assert stock["lastQuote"]["P"] == stock["lastQuote"]["p"] == stock["lastTrade"]["p"] == "n/a"


def test_zeros(server: SandboxServer) -> None:
    server.order("zeros", times=3)
    assert {bar["c"] for bar in results(server)} == {0}
    forex, crypto = results(server, SNAPSHOT)
    assert forex["session"]["open"] == crypto["session"]["close"] == 0
    assert forex["last_quote"]["bid"] > 0
    ticker = ask_json(server, "/v2/snapshot/locale/global/markets/crypto/tickers/X:BTCUSD")["ticker"]
    assert ticker["day"]["c"] == ticker["min"]["c"] == 0
    assert ticker["lastTrade"]["p"] > 0


def test_delayed(server: SandboxServer) -> None:
    usual = results(server)
    server.order("delayed")
    body = ask_json(server, RANGE)
    assert body["status"] == "DELAYED"
    assert body["results"] == usual


def test_null_results(server: SandboxServer) -> None:
    server.order("null-results")
    assert ask_json(server, RANGE)["results"] is None


def test_ticker_errors(server: SandboxServer) -> None:
    server.order("ticker-errors=NOT_ENTITLED")
    assert [one["error"] for one in results(server, SNAPSHOT)] == ["NOT_ENTITLED"] * 2


def test_outside_range(server: SandboxServer) -> None:
    usual = [bar["t"] for bar in results(server)]
    server.order("outside-range")
    assert [bar["t"] for bar in results(server)][1:-1] == usual
    server.order("outside-range")
    spoilt = [bar["t"] for bar in results(server)]
    assert spoilt[0] < START_MS
    assert spoilt[-1] > START_MS + 9 * BAR_MS


def test_duplicates(server: SandboxServer) -> None:
    usual = results(server)
    server.order("duplicates")
    assert results(server)[::2] == results(server)
    server.order("duplicates")
    assert results(server)[1::2] == usual


def test_unordered(server: SandboxServer) -> None:
    usual = results(server)
    server.order("unordered")
    assert results(server) == usual[::-1]


def test_next_url_to_another_host(server: SandboxServer) -> None:
    server.order("next-url=http://127.0.0.1:9999")
    assert ask_json(server, RANGE)["next_url"].startswith("http://127.0.0.1:9999/v2/aggs/ticker/")


@pytest.mark.parametrize("path", [RANGE, SNAPSHOT, "/v3/reference/tickers"])
def test_next_url_to_an_empty_page(server: SandboxServer, path: str) -> None:
    server.order("next-url-empty")
    first, second = pages(server, path)
    assert first["results"]
    assert not second.get("results")
    assert KEY not in first["next_url"]
