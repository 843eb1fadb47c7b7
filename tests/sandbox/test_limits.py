"""The rate limit, the log of arrivals and the judge of it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.sandbox import PLANS, Arrival, Overrun, SandboxServer, fingerprint, windows_over_limit
from assetbatch.sandbox.limits import CallLog

from .helpers import KEY, ask

STATUS = "/v1/marketstatus/now"


def arrivals_at(*times: float, key: str | None = "a") -> list[Arrival]:
    return [Arrival(at, STATUS, {}, key, 200) for at in times]


class Ticks:
    """A clock in seconds, to be set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


# The judge


def test_a_sixth_call_within_a_minute_is_an_overrun() -> None:
    found = windows_over_limit(arrivals_at(0, 10, 20, 30, 40, 59.9), 5, 60)
    assert found == [Overrun("a", 0, 59.9, 6)]


def test_a_call_exactly_a_window_later_is_in_the_next_one() -> None:
    assert windows_over_limit(arrivals_at(0, 10, 20, 30, 40, 60), 5, 60) == []


def test_calls_around_the_edge_of_a_fixed_window_are_seen() -> None:
    times = [58, 58.1, 58.2, 58.3, 58.4, 61, 61.1, 61.2, 61.3, 61.4]
    assert len(windows_over_limit(arrivals_at(*times), 5, 60)) == 5


def test_refused_calls_count_for_the_judge() -> None:
    arrivals = [replace(one, status=429) for one in arrivals_at(0, 1, 2)]
    assert len(windows_over_limit(arrivals, 2, 60)) == 1


def test_each_key_has_its_own_window() -> None:
    mixed = arrivals_at(0, 2, key="a") + arrivals_at(1, 3, key="b")
    assert windows_over_limit(mixed, 2, 60) == []
    assert {one.key for one in windows_over_limit(mixed, 1, 60)} == {"a", "b"}


@given(
    times=st.lists(st.integers(0, 40), max_size=20),
    limit=st.integers(1, 5),
    window=st.integers(1, 10),
)
def test_the_judge_finds_what_looking_at_every_window_finds(
    times: list[int], limit: int, window: int
) -> None:
    windows = [[at for at in times if start <= at < start + window] for start in range(-10, 41)]
    too_full = any(len(within) > limit for within in windows)
    assert bool(windows_over_limit(arrivals_at(*times), limit, window)) == too_full


# The limit


def test_five_calls_pass_and_the_sixth_waits_until_the_first_is_a_window_old() -> None:
    ticks = Ticks()
    log = CallLog(5, 60, monotonic=ticks)
    for _ in range(5):
        assert log.admit("a") is None
        ticks.now += 2
    assert log.admit("a") == pytest.approx(50)
    ticks.now += 49.9
    assert log.admit("a") == pytest.approx(0.1)
    ticks.now += 0.1
    assert log.admit("a") is None
    assert log.admit("a") == pytest.approx(2)


def test_refused_calls_do_not_prolong_the_wait() -> None:
    ticks = Ticks()
    log = CallLog(1, 60, monotonic=ticks)
    assert log.admit("a") is None
    for _ in range(10):
        ticks.now += 5
        assert log.admit("a") is not None
    ticks.now += 10
    assert log.admit("a") is None


@given(steps=st.lists(st.floats(0, 5), max_size=60), limit=st.integers(1, 5))
def test_what_is_admitted_never_overruns_a_window(steps: list[float], limit: int) -> None:
    ticks = Ticks()
    log = CallLog(limit, 10, monotonic=ticks)
    admitted = []
    for step in steps:
        ticks.now += step
        if log.admit("a") is None:
            admitted.append(ticks.now)
    assert windows_over_limit(arrivals_at(*admitted), limit, 10) == []


def test_the_server_answers_429_with_the_providers_words_and_logs_it() -> None:
    with SandboxServer(PLANS["basic"]) as server:
        responses = [ask(server, STATUS) for _ in range(7)]
        logged = server.arrivals
    assert [response.status_code for response in responses] == [200] * 5 + [429] * 2
    body = responses[-1].json()
    assert body["status"] == "ERROR"
    assert body["error"].startswith("You've exceeded the maximum requests per minute, ")
    assert "Retry-After" not in responses[-1].headers
    assert [arrival.status for arrival in logged] == [200] * 5 + [429] * 2
    assert [one.count for one in windows_over_limit(logged, 5, 60)] == [6, 7]


def test_a_429_can_name_the_seconds_to_wait() -> None:
    with SandboxServer(replace(PLANS["basic"], limit=1, window_seconds=30.0), retry_after=True) as server:
        ask(server, STATUS)
        response = ask(server, STATUS)
    assert 29 <= int(response.headers["Retry-After"]) <= 31


def test_the_limit_belongs_to_the_key_and_refused_keys_are_not_counted() -> None:
    with SandboxServer(replace(PLANS["basic"], limit=1)) as server:
        statuses = [ask(server, STATUS, key=key).status_code for key in (None, "one", "two", "one", None)]
    assert statuses == [401, 200, 200, 429, 401]


def test_the_paid_plan_has_no_limit() -> None:
    with SandboxServer(PLANS["starter"]) as server:
        assert {ask(server, STATUS).status_code for _ in range(20)} == {200}


def test_an_arrival_has_time_path_query_and_the_fingerprint_of_the_key() -> None:
    with SandboxServer() as server:
        ask(server, "/v3/snapshot", limit=3)
        ask(server, "/v3/nothing")
        first, second = server.arrivals
    assert (first.path, first.query, first.status) == ("/v3/snapshot", {"limit": "3"}, 200)
    assert (second.path, second.status) == ("/v3/nothing", 404)
    assert first.at < second.at
    assert first.key == fingerprint(KEY)
    assert KEY not in repr(server.arrivals)


def test_the_log_of_arrivals_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assetbatch.sandbox.server.ARRIVALS_KEPT", 3)
    with SandboxServer() as server:
        for number in range(5):
            ask(server, f"/{number}")
        assert [arrival.path for arrival in server.arrivals] == ["/2", "/3", "/4"]


# The log in a file


def test_servers_of_successive_processes_share_one_limit(tmp_path: Path) -> None:
    state = tmp_path / "new" / "calls.json"
    statuses = []
    for _ in range(4):
        with SandboxServer(PLANS["basic"], state_file=state) as server:
            statuses += [ask(server, STATUS).status_code for _ in range(2)]
    assert statuses == [200] * 5 + [429] * 3
    assert KEY not in state.read_text()
    assert state.stat().st_mode & 0o777 == 0o600


def test_calls_in_the_file_are_forgotten_after_a_window(tmp_path: Path) -> None:
    ticks = Ticks()
    state = tmp_path / "calls.json"
    assert CallLog(1, 60, state, wall=ticks).admit("a") is None
    assert CallLog(1, 60, state, wall=ticks).admit("b") is None
    ticks.now += 59.9
    assert CallLog(1, 60, state, wall=ticks).admit("a") is not None
    ticks.now += 0.1
    assert CallLog(1, 60, state, wall=ticks).admit("a") is None
    assert json.loads(state.read_text()) == {"a": [1_060.0], "b": []}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\x00",
        b'{"a": [1',
        b"[1, 2]",
        b'{"a": 5}',
        b'{"a": ["x"]}',
        b'{"a": [99999999999]}',
        b"null",
    ],
)
def test_a_file_that_is_no_log_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "calls.json"
    state.write_bytes(content)
    ticks = Ticks()
    assert CallLog(1, 60, state, wall=ticks).admit("a") is None
    assert CallLog(1, 60, state, wall=ticks).admit("a") is not None


def test_many_at_once_are_admitted_exactly_to_the_limit(tmp_path: Path) -> None:
    state = tmp_path / "calls.json"

    def slow_clock() -> float:
        time.sleep(0.002)  # between reading the file and writing it, so that callers meet there
        return time.time()

    def caller(_: int) -> list[float | None]:
        log = CallLog(25, 60, state, wall=slow_clock)
        return [log.admit("a") for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        waits = [wait for found in pool.map(caller, range(8)) for wait in found]
    assert sum(wait is None for wait in waits) == 25
