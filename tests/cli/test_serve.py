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
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assetbatch.domain.models import BAR_MS, Changes, CoveredInterval, IntervalState, Outcome, Price
from assetbatch.domain.queueing import CallKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS
from assetbatch.state.window import WindowState
from tests.own_redis import OwnServer, own_server
from tests.program import BARE
from tests.world import KEY, World

from .test_commands import MARK, run

__all__ = ["own_server"]


class Served:
    def __init__(self, world: World, *arguments: str, **env: str) -> None:
        world.config()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "assetbatch", "serve", "--port", "0", "--refresh", "1", *arguments],
            cwd=world.folder,
            env={**BARE, "HOME": str(world.folder), "POLYGON_API_KEY": KEY, **env},
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

    def start(*arguments: str, world: World = free, **env: str) -> Served:
        running.append(Served(world, *arguments, **env))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


@pytest.fixture
def slot_server(served: Callable[..., Served]) -> Served:
    return served("--slots")


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
    free.provider.order("status=401", times=None)
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


@pytest.mark.slow
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


def test_stops_where_two_signals_come_at_once(served: Callable[..., Served]) -> None:
    """As from ctrl-c in a foreground group whose leader also ends its processes."""
    for _ in range(3):
        server = served()
        server.process.send_signal(signal.SIGINT)
        assert server.stop()[0] in (130, 143)


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
    assert ": Address already in use (hint: choose another with --host or --port)" in done.stderr


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


class TestChangedConfiguration:
    """The configuration changes while it is served."""

    def problems(self, server: Served) -> list[str]:
        time.sleep(1.1)  # older than --refresh
        return [problem["message"] for problem in json.loads(server.get("/health/batch")[2])["problems"]]

    def symbols(self, server: Served) -> list[str]:
        time.sleep(1.1)
        return [asset["symbol"] for asset in json.loads(server.get("/health/batch")[2])["assets"]]

    def write(self, world: World, text: str) -> None:
        """As an editor does: beside it, then in its place."""
        new = world.folder / "config.yml.new"
        new.write_text(text)
        new.replace(world.folder / "config.yml")

    def test_is_seen(self, free: World, served: Callable[..., Served]) -> None:
        server = served("--slots")
        assert "GBPUSD" in self.symbols(server)
        free.document["secondary_assets"] = free.document["secondary_assets"][:1]
        free.config()
        assert self.symbols(server) == ["XAUUSD", "EURUSD", "BTCUSD", "ETHUSD"]
        assert "GBPUSD" not in server.get("/")[2]
        code, told, _ = TestSlots().ask(server, "POST", "/slot")
        assert (code, told["granted"]) == (200, True)

    def test_that_is_wrong_leaves_the_one_before_and_is_told_until_it_is_mended(
        self, free: World, served: Callable[..., Served]
    ) -> None:
        server = served()
        before = (free.folder / "config.yml").read_text()
        assert not any("configuration" in problem for problem in self.problems(server))
        self.write(free, before + "queue: {max_size: many}\n")
        told = [problem for problem in self.problems(server) if "configuration" in problem]
        assert len(told) == 1
        assert "the one before still counts" in told[0]
        assert "queue.max_size" in told[0]
        assert "the one before still counts" in server.get("/")[2]
        assert "XAUUSD" in self.symbols(server)
        self.write(free, before)
        assert not any("configuration" in problem for problem in self.problems(server))
        _, _, err = server.stop()
        assert err.count("cannot be used") == 1
        assert err.count("NOTICE serve: the configuration was read again") == 1

    def test_that_is_missing_for_a_moment_is_read_when_it_is_back(
        self, free: World, served: Callable[..., Served]
    ) -> None:
        server = served()
        file = free.folder / "config.yml"
        text = file.read_text()
        file.unlink()
        assert any("no configuration found" in problem for problem in self.problems(server))
        file.write_text(text)
        assert not any("configuration" in problem for problem in self.problems(server))

    def test_of_a_dotenv_beside_it_is_seen(self, free: World, served: Callable[..., Served]) -> None:
        server = served()
        (free.folder / ".env").write_text("POLYGON_TIER=golden\n")
        assert any(".env POLYGON_TIER" in problem for problem in self.problems(server))


class TestSlots:
    """`serve --slots`, as other programs of this machine use it."""

    def ask(
        self, server: Served, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, Any], Message]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{server.url}{path}", body, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.loads(answer.read()), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    def state(self, world: World) -> WindowState:
        with world.services() as services:
            return services.window.state()

    def test_are_off_unless_asked_for(self, served: Callable[..., Served]) -> None:
        server = served()
        request = urllib.request.Request(f"{server.url}/slot", b"", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(request, timeout=15)

    def test_are_taken_and_settled(self, free: World, served: Callable[..., Served]) -> None:
        server = served("--slots")
        code, told, _ = self.ask(server, "POST", "/slot", b'{"name": "priority", "wait": 1, "hold": 5}')
        assert (code, told["granted"]) == (200, True)
        assert 4 < told["expires_in_seconds"] <= 5
        code, done, _ = self.ask(server, "DELETE", f"/slot/{told['slot']}")
        assert (code, done) == (200, {"slot": told["slot"], "calls_made": 1})
        _, told, _ = self.ask(server, "POST", "/slot?name=queue&wait=0.5&hold=2")
        self.ask(server, "DELETE", f"/slot/{told['slot']}?calls_made=0")
        assert self.state(free).used == 1

    def test_that_are_not_free_are_told_with_when_to_ask_again(
        self, free: World, served: Callable[..., Served]
    ) -> None:
        server = served("--slots")
        with free.services() as services:
            for _ in range(100):
                services.window.ask(CallKind.PRIORITY)
        code, told, headers = self.ask(server, "POST", "/slot")
        assert (code, told["granted"], told["reason"]) == (429, False, "window")
        assert 50 < told["retry_after_seconds"] <= int(headers["Retry-After"]) <= 75

    def test_are_waited_for(self, make_world: Callable[..., World], served: Callable[..., Served]) -> None:
        world = make_world(limit=1, window_seconds=2)
        server = served("--slots", world=world)
        for _ in range(3):
            code, told, _ = self.ask(server, "POST", "/slot?wait=6")
            assert code == 200
            self.ask(server, "DELETE", f"/slot/{told['slot']}")

    @pytest.mark.parametrize(
        ("method", "path", "body", "code"),
        [
            ("POST", "/slot", b"{", 400),
            ("POST", "/slot", b'{"wait": -1}', 400),
            ("POST", "/slot", b'{"wait": 7}', 400),
            ("POST", "/slot", b'{"hold": 11}', 400),
            ("POST", "/slot", b'{"name": "me"}', 400),
            ("POST", "/slot", b'{"more": 1}', 400),
            ("POST", "/slot", b"\xff", 400),
            ("POST", "/slot?wait=x", None, 400),
            ("GET", "/slot", None, 405),
            ("POST", "/slot/x", None, 405),
            ("DELETE", "/slot/x", None, 404),
            ("DELETE", "/slot/../slot", None, 404),
            ("DELETE", "/slot/x?calls_made=2", None, 400),
        ],
    )
    def test_that_are_asked_for_wrongly_are_refused(
        self, slot_server: Served, method: str, path: str, body: bytes | None, code: int
    ) -> None:
        found, told, _ = self.ask(slot_server, method, path, body)
        assert (found, set(told)) == (code, {"error"})

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:8787"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Host": "evil.example"},
            {"Host": "127.0.0.1.evil.example"},
            {"Host": "localhost@evil.example"},
        ],
    )
    def test_are_not_for_browsers(self, slot_server: Served, headers: dict[str, str]) -> None:
        code, told, _ = self.ask(slot_server, "POST", "/slot", b"{}", **headers)
        assert (code, set(told)) == (403, {"error"})

    def test_go_on_without_redis_and_say_so(self, served: Callable[..., Served]) -> None:
        server = served("--slots", REDIS_URL="redis://127.0.0.1:1/0")
        code, told, _ = self.ask(server, "POST", "/slot")
        assert (code, "redis cannot be reached" in told["error"]) == (503, True)

    def test_are_not_given_to_other_machines(self, free: World) -> None:
        done = run(free, "serve", "--slots", "--host", "0.0.0.0", "--port", "0")
        assert done.returncode == 2
        assert "0.0.0.0 is not loopback" in done.stderr

    def test_that_many_wait_for_leave_room_for_the_probe(
        self, free: World, make_world: Callable[..., World], served: Callable[..., Served]
    ) -> None:
        world = make_world(limit=1, window_seconds=5)
        server = served("--slots", world=world)
        with ThreadPoolExecutor(30) as pool:
            answers = [pool.submit(self.ask, server, "POST", "/slot?wait=6") for _ in range(30)]
            assert server.get("/health/batch")[0] in (200, 503)
            codes = Counter(answer.result()[0] for answer in answers)
            reasons = {answer.result()[1].get("reason") for answer in answers}
        assert codes[200] >= 1
        assert set(codes) == {200, 429}
        assert "busy" in reasons


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_ten_thousand_assets_take_little_memory_however_many_ask(
    free: World, served: Callable[..., Served]
) -> None:
    register_many(free, 10_000)
    server = served()
    with ThreadPoolExecutor(12) as pool:
        for _ in range(4):
            answers = [
                pool.submit(server.get, path) for path in ("/", "/health/batch", "/metrics") for _ in range(4)
            ]
            assert {one.result()[0] for one in answers} <= {200, 503}
            time.sleep(1.1)  # they are made anew
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert peak
    assert int(peak[1]) / 1024 < 150


def register_many(world: World, count: int) -> None:
    """Store a price of so many assets, and for each hour of the last day a bar."""
    symbols = [f"M{number:05}USD" for number in range(count)]
    world.document["secondary_assets"] = [
        {"symbol": symbol, "polygon_ticker": f"X:{symbol}", "asset_type": "crypto"} for symbol in symbols
    ]
    world.init()
    now_ms = world.clock.now_ms()
    end_ms = now_ms - now_ms % BAR_MS
    with world.services() as services:
        services.store.save(
            Changes(
                prices=[
                    Price(symbol=symbol, last_price=12.25, as_of_ms=end_ms, daily_open=12.5)
                    for symbol in symbols
                ],
                coverage={
                    symbol: [CoveredInterval(end_ms - DAY_MS, end_ms, IntervalState.ASKED, now_ms)]
                    for symbol in symbols
                },
                outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in symbols],
            ),
            now_ms,
        )
    with psycopg.connect(world.database_url) as connection:
        connection.execute(
            "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
            " SELECT id, to_timestamp(%s / 1000) - n * interval '1 hour', 12, 13, 11, 12 + n / 100.0"
            " FROM trading.symbols CROSS JOIN generate_series(1, 24) n",
            [end_ms],
        )
