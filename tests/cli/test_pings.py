"""Reports to a dead man's switch, over real HTTP: what is sent when, and that nothing of it harms a cycle."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from assetbatch.monitoring import pings
from assetbatch.monitoring.pings import END_SECONDS, Moment, Ping, report_of
from assetbatch.secret import Secret
from tests.world import World

from .test_commands import run

RUN_ID = "6f1c3a52-0000-4000-8000-000000000001"


class Report(NamedTuple):
    """What arrived; `run_id` is the status where Uptime Kuma is told."""

    path: str
    run_id: str
    body: str


class Switch(ThreadingHTTPServer):
    """Keeps what is reported; answers with `status` after `delay` seconds."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reports: list[Report] = []
        self.status = 200
        self.delay = 0.0
        self.endless = False
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/ping/s3cr3t"


class _Handler(BaseHTTPRequestHandler):
    server: Switch

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.server.reports.append(Report(parts.path, query["status"][0], query["msg"][0]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts = urlsplit(self.path)
        self.server.reports.append(Report(parts.path, parse_qs(parts.query)["rid"][0], body))
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        if self.server.endless:
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.server.sent += self.wfile.write(b"x" * 65_536)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def switch() -> Iterator[Switch]:
    server = Switch()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


class TestAPing:
    def test_tells_the_beginning_and_a_good_end_of_the_same_run(self, switch: Switch) -> None:
        ping = Ping(Secret(switch.url), RUN_ID)
        ping.began()
        ping.ended(0, "3 calls")
        assert switch.reports == [
            Report("/ping/s3cr3t/start", RUN_ID, ""),
            Report("/ping/s3cr3t", RUN_ID, "3 calls"),
        ]

    def test_tells_a_failure_with_its_exit_code(self, switch: Switch) -> None:
        Ping(Secret(switch.url), RUN_ID).ended(3, "redis cannot be reached")
        assert switch.reports == [Report("/ping/s3cr3t/fail", RUN_ID, "exit code 3: redis cannot be reached")]

    def test_sends_a_short_text_only(self, switch: Switch) -> None:
        Ping(Secret(switch.url), RUN_ID).ended(1, "x" * 50_000)
        assert len(switch.reports[0].body) == 10_000

    def test_is_tried_twice_at_most(self, switch: Switch, caplog: pytest.LogCaptureFixture) -> None:
        switch.status = 500
        with caplog.at_level("INFO", "assetbatch"):
            Ping(Secret(switch.url), RUN_ID).ended(0, "")
        assert len(switch.reports) == 2
        assert [record.getMessage() for record in caplog.records] == ["ping: 127.0.0.1: status 500"]

    @pytest.mark.parametrize("status", [301, 308])
    def test_that_is_sent_elsewhere_has_not_arrived(
        self, switch: Switch, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        switch.status = status
        with caplog.at_level("INFO", "assetbatch"):
            Ping(Secret(switch.url), RUN_ID).ended(0, "")
        assert [record.getMessage() for record in caplog.records] == [f"ping: 127.0.0.1: status {status}"]

    def test_does_not_read_what_it_is_answered(self, switch: Switch) -> None:
        switch.endless = True
        began = time.monotonic()
        Ping(Secret(switch.url), RUN_ID).ended(0, "")
        assert time.monotonic() - began < END_SECONDS / 2
        assert switch.sent < 32_000_000  # what buffers between the two may hold

    def test_sends_what_it_can_of_a_text_that_is_no_unicode(self, switch: Switch) -> None:
        Ping(Secret(switch.url), RUN_ID).ended(1, "no \udcff")
        assert switch.reports[0].body == "exit code 1: no ?"

    def test_is_left_out_where_no_thread_can_be_had(
        self, switch: Switch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refused)
        ping = Ping(Secret(switch.url), RUN_ID)
        with caplog.at_level("INFO", "assetbatch"):
            ping.began()
            ping.ended(0, "")
        assert [record.getMessage() for record in caplog.records] == ["ping: 127.0.0.1: RuntimeError"] * 2

    def test_without_an_address_does_nothing(self) -> None:
        ping = Ping(None, RUN_ID)
        ping.began()
        ping.ended(1, "x")

    @pytest.mark.parametrize("trouble", ["hangs", "refuses", "is unknown", "is no name"])
    def test_holds_up_nobody_for_long(
        self, switch: Switch, caplog: pytest.LogCaptureFixture, trouble: str
    ) -> None:
        switch.delay = 30
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            urls = {
                "hangs": switch.url,
                "refuses": f"http://127.0.0.1:{unused.getsockname()[1]}/s3cr3t",
                "is unknown": "http://nowhere.invalid/s3cr3t",
                "is no name": "http://a..b/s3cr3t",
            }
            ping = Ping(Secret(urls[trouble]), RUN_ID)
            with caplog.at_level("INFO", "assetbatch"):
                began = time.monotonic()
                ping.began()
                ping.ended(0, "")
                assert time.monotonic() - began < END_SECONDS + 0.5
        assert "ping: " in caplog.text
        assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("url", "moment", "address"),
    [
        ("https://hc.example/a", Moment.BEGAN, f"https://hc.example/a/start?rid={RUN_ID}"),
        ("https://hc.example/a/", Moment.ENDED_WELL, f"https://hc.example/a?rid={RUN_ID}"),
        ("https://hc.example/a?x=1", Moment.FAILED, f"https://hc.example/a/fail?x=1&rid={RUN_ID}"),
        ("https://hc.example/api/push", Moment.BEGAN, f"https://hc.example/api/push/start?rid={RUN_ID}"),
    ],
)
def test_an_address_keeps_what_it_has(url: str, moment: Moment, address: str) -> None:
    assert report_of(url, moment, "text", RUN_ID, 7) == pings.Report("POST", address, b"text")


class TestUptimeKuma:
    URL = "https://kuma.example/api/push/t0ken"

    @pytest.mark.parametrize(
        "url", [URL, f"{URL}/", f"{URL}?status=up&msg=OK&ping=", f"{URL}?ping=&msg=&status=down"]
    )
    def test_is_told_of_a_good_end_and_its_duration(self, url: str) -> None:
        report = report_of(url, Moment.ENDED_WELL, "3 calls & 2 prices", RUN_ID, 412)
        assert report is not None
        parts = urlsplit(report.address)
        assert (report.method, report.body, parts.path.rstrip("/")) == ("GET", None, "/api/push/t0ken")
        assert parse_qs(parts.query) == {"status": ["up"], "msg": ["3 calls & 2 prices"], "ping": ["412"]}

    def test_is_told_of_a_failure_and_its_reason(self) -> None:
        report = report_of(f"{self.URL}?status=up", Moment.FAILED, "exit code 3: é \udcff", RUN_ID, 9)
        assert report is not None
        query = parse_qs(urlsplit(report.address).query)
        assert query == {"status": ["down"], "msg": ["exit code 3: é ?"], "ping": ["9"]}

    def test_is_not_told_of_a_beginning_which_it_would_take_for_a_heartbeat(self) -> None:
        assert report_of(self.URL, Moment.BEGAN, "", RUN_ID, 0) is None

    def test_keeps_what_else_is_in_the_address_below_any_path(self) -> None:
        report = report_of("http://h:3001/kuma/api/push/t?x=&status=up", Moment.ENDED_WELL, "", RUN_ID, 1)
        assert report is not None
        assert report.address == "http://h:3001/kuma/api/push/t?x=&status=up&msg=OK&ping=1"

    def test_gets_a_short_text_only(self) -> None:
        report = report_of(self.URL, Moment.FAILED, "x" * 5000, RUN_ID, 1)
        assert report is not None
        assert len(report.address) < 400


class TestACommand:
    @pytest.fixture
    def pinged(self, free: World, switch: Switch) -> Callable[..., Any]:
        free.document["ping_url"] = switch.url

        def start(*arguments: str, **env: str) -> Any:
            done = run(free, *arguments, **env)
            assert "s3cr3t" not in done.stdout + done.stderr
            return done

        return start

    @pytest.mark.parametrize("command", ["run-priority", "run-queue", "enqueue-secondary"])
    def test_reports_beginning_and_end(
        self, pinged: Callable[..., Any], switch: Switch, command: str
    ) -> None:
        assert pinged(command).returncode == 0
        assert [report.path for report in switch.reports] == ["/ping/s3cr3t/start", "/ping/s3cr3t"]
        assert len({report.run_id for report in switch.reports}) == 1
        assert switch.reports[1].body

    def test_reports_that_it_could_not_even_begin(self, pinged: Callable[..., Any], switch: Switch) -> None:
        assert pinged("run-queue", REDIS_URL="redis://127.0.0.1:1/0").returncode == 3
        (report,) = switch.reports
        assert report.path == "/ping/s3cr3t/fail"
        assert report.body.startswith("exit code 3: redis cannot be reached")

    def test_that_is_skipped_leaves_the_report_to_the_one_that_runs(
        self, free: World, pinged: Callable[..., Any], switch: Switch
    ) -> None:
        with free.services() as services, services.locks.hold("run_queue", 60):
            assert pinged("run-queue").returncode == 0
        assert switch.reports == []

    def test_reports_nothing_of_a_dry_run(self, pinged: Callable[..., Any], switch: Switch) -> None:
        pinged("run-priority", "--dry-run")
        assert switch.reports == []

    def test_is_not_harmed_by_a_switch_that_is_off(
        self, free: World, pinged: Callable[..., Any], switch: Switch
    ) -> None:
        free.document["ping_url"] = "http://127.0.0.1:1/s3cr3t"
        done = pinged("run-priority")
        assert (done.returncode, done.stderr) == (0, "")

    def test_reports_to_uptime_kuma(self, free: World, pinged: Callable[..., Any], switch: Switch) -> None:
        free.document["ping_url"] = switch.url.replace("/ping/", "/api/push/") + "?status=up&msg=OK&ping="
        assert pinged("run-priority").returncode == 0
        assert pinged("run-priority", REDIS_URL="redis://127.0.0.1:1/0").returncode == 3
        well, badly = switch.reports
        assert (well.path, well.run_id) == ("/api/push/s3cr3t", "up")
        assert "call" in well.body
        assert badly.run_id == "down"
        assert badly.body.startswith("exit code 3: redis cannot be reached")

    def test_of_a_check_reports_its_line(self, pinged: Callable[..., Any], switch: Switch) -> None:
        pinged("status", "--check", REDIS_URL="redis://127.0.0.1:1/0")
        (report,) = switch.reports
        assert report.path == "/ping/s3cr3t/fail"
        assert "ASSETBATCH CRITICAL" in report.body
