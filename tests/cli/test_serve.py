"""`serve` as a probe, a scraper and a browser meet it."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.own_redis import OwnServer, own_server
from tests.world import KEY, RealClock, SetClock, World

from .test_commands import MARK, run

__all__ = ["own_server"]


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated vendor does too."""
    return RealClock()


class Served:
    def __init__(self, world: World, *arguments: str, **env: str) -> None:
        world.config()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "assetbatch", "serve", "--port", "0", "--refresh", "1", *arguments],
            cwd=world.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(world.folder), "POLYGON_API_KEY": KEY, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        found = re.search(r"http://[\d.]+:\d+", self.process.stdout.readline())
        assert found
        self.url = found[0]

    def get(self, path: str) -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=15) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@pytest.fixture
def served(free: World) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def start(*arguments: str, **env: str) -> Served:
        running.append(Served(free, *arguments, **env))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


def test_answers_the_three_documents(free: World, served: Callable[..., Served]) -> None:
    run(free, "run-priority")
    server = served()
    status, kind, body = server.get("/health/batch")
    assert (status, kind, json.loads(body)["status"]) == (200, "application/json", "healthy")
    status, kind, body = server.get("/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "assetbatch_up" in {family.name for family in text_string_to_metric_families(body)}
    status, kind, body = server.get("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "XAUUSD" in body
    assert '<meta http-equiv="refresh" content="60">' in body
    assert server.get("/else")[0] == 404


def test_is_503_when_unhealthy(free: World, served: Callable[..., Served]) -> None:
    free.vendor.order("status=401", times=None)
    run(free, "run-priority")
    status, _, body = served().get("/health/batch")
    assert (status, json.loads(body)["status"]) == (503, "unhealthy")


def test_goes_on_without_redis_and_says_so_everywhere(free: World, served: Callable[..., Served]) -> None:
    server = served(REDIS_URL=f"redis://me:{MARK}@127.0.0.1:1/0")
    status, _, body = server.get("/health/batch")
    document = json.loads(body)
    assert (status, document["status"]) == (503, "unhealthy")
    assert document["problems"][0]["message"].startswith("redis cannot be reached")
    assert server.get("/metrics")[2].endswith("assetbatch_up 0\n")
    status, _, body = server.get("/")
    assert status == 503
    assert "redis cannot be reached" in body
    assert MARK not in body


def test_answers_in_each_document_s_own_way_while_redis_hangs_and_recovers(
    served: Callable[..., Served], own_server: Callable[..., OwnServer]
) -> None:
    redis = own_server()
    assert redis.process
    server = served(REDIS_URL=f"unix://{redis.socket}")
    assert server.get("/health/batch")[0] in (200, 503)
    assert "assetbatch_up 1" in server.get("/metrics")[2]
    redis.process.send_signal(signal.SIGSTOP)
    time.sleep(1.1)  # older than --refresh
    status, kind, body = server.get("/health/batch")
    assert (status, kind, json.loads(body)["status"]) == (503, "application/json", "unhealthy")
    assert server.get("/metrics")[2].endswith("assetbatch_up 0\n")
    assert server.get("/")[:2] == (503, "text/html; charset=utf-8")
    redis.process.send_signal(signal.SIGCONT)
    until = time.monotonic() + 20
    while "assetbatch_up 1" not in server.get("/metrics")[2]:
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stops_cleanly(served: Callable[..., Served], number: signal.Signals, code: int) -> None:
    server = served()
    server.get("/health/batch")
    assert server.stop(number) == (code, "", "")


def test_holds_no_key_anywhere(free: World, served: Callable[..., Served]) -> None:
    run(free, "run-priority")
    server = served()
    assert not any(
        KEY in part for path in ("/", "/metrics", "/health/batch") for part in server.get(path)[2:]
    )


def test_a_port_that_is_taken_is_told(free: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(free, "serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot be listened on: Address already in use (hint: choose another with --port)" in done.stderr


def test_warns_where_everybody_could_read_it(served: Callable[..., Served]) -> None:
    server = served("--host", "0.0.0.0")
    assert "0.0.0.0 is not loopback" in server.stop()[2]


def test_embedded_servers_stay_up_between_two_documents(free: World, served: Callable[..., Served]) -> None:
    free.document["database"] = {"url": "embedded"}
    free.document["redis"] = {"url": "embedded"}
    assert run(free, "init").returncode == 0
    server = served()
    server.get("/health/batch")
    held = free.folder / ".local/share/assetbatch/postgresql/server.lock"  # for as long as the server lives
    with held.open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
