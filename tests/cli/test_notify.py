"""Notifications by apprise, with real processes and a local server that stands for the services."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assetbatch.config.notify_urls import NotifyUrl, NotifyUrls
from assetbatch.monitoring.courier import reason
from assetbatch.monitoring.notify import DELIVERY_SECONDS, Letter, deliver
from tests.world import World

from .test_commands import run
from .test_startup import LOADED

pytest.importorskip("apprise", reason="apprise is not installed")

TOKEN = "tk-s3cr3t9"
DOWN = {"REDIS_URL": "redis://127.0.0.1:1/0"}


class Post(NamedTuple):
    path: str
    body: str
    authorization: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Service(ThreadingHTTPServer):
    """Keeps what is posted; answers with `status` after `delay` seconds."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[Post] = []
        self.status = 200
        self.delay = 0.0

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"json://me:{TOKEN}@{self.place}/hook"

    @property
    def bodies(self) -> list[str]:
        return [post.document["message"] for post in self.posts]


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posts.append(Post(self.path, body, self.headers.get("Authorization", "")))
        time.sleep(self.server.delay)
        answer = b"ok"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def urls(*texts: str) -> NotifyUrls:
    return NotifyUrls.parse(list(texts))


class TestADelivery:
    def test_reaches_services_of_every_form(self, service: Service) -> None:
        forms = [service.url, f"ntfy://{TOKEN}@{service.place}/topic", f"form://{service.place}/{TOKEN}"]
        letters = [Letter(NotifyUrl(url), f"error: <redis> is down ({n})") for n, url in enumerate(forms)]
        assert deliver("assetbatch on here", "failure", letters) == [None, None, None]
        by_path = {post.path.strip("/"): post for post in service.posts}
        assert by_path["hook"].document["message"] == "error: <redis> is down (0)"
        assert by_path["hook"].document["title"] == "assetbatch on here"
        assert by_path["hook"].document["type"] == "failure"
        assert "error: <redis> is down (1)" in json.dumps([post.body for post in service.posts])
        assert len(service.posts) == 3

    def test_says_why_it_failed_without_the_address(self, service: Service) -> None:
        service.status = 503
        (why,) = deliver("t", "info", [Letter(NotifyUrl(service.url), "b")])
        assert why is not None
        assert "503" in why
        assert TOKEN not in why

    def test_that_cannot_be_made_says_so(self) -> None:
        forms = ["nosuch://a/b", "slack://short", "ntfy://127.0.0.1:1/topic"]
        assert all(deliver("t", "info", [Letter(NotifyUrl(url), "b") for url in forms]))

    @pytest.mark.slow
    def test_ends_in_time_and_keeps_what_arrived(self, service: Service) -> None:
        hanging = Service()
        hanging.delay = 60
        threading.Thread(target=hanging.serve_forever, args=(0.02,), daemon=True).start()
        began = time.monotonic()
        letters = [Letter(NotifyUrl(url), "b") for url in (f"{hanging.url}?rto=60", service.url)]
        outcomes = deliver("t", "info", letters, within_seconds=3)
        assert time.monotonic() - began < 4
        assert outcomes == ["no answer within 3 s", None]
        hanging.shutdown()
        hanging.server_close()

    @pytest.mark.slow
    def test_leaves_no_process_behind(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        mark = uuid.uuid4().hex  # others may deliver at the same time
        monkeypatch.setenv("OF_THIS_TEST", mark)
        service.delay = 60
        deliver("t", "info", [Letter(NotifyUrl(f"{service.url}?rto=60"), "b")], within_seconds=2)
        environments = (_read(path) for path in Path("/proc").glob("[0-9]*/environ"))
        assert not any(mark.encode() in environment for environment in environments)

    def test_takes_no_module_from_the_current_folder(
        self, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "apprise.py").write_text("raise SystemExit")
        monkeypatch.chdir(tmp_path)
        assert deliver("t", "info", [Letter(NotifyUrl(service.url), "b")]) == [None]

    @pytest.mark.slow
    def test_shows_no_secret_in_the_arguments_of_a_process(self, service: Service) -> None:
        service.delay = 1
        seen: set[bytes] = set()
        thread = threading.Thread(
            target=deliver, args=("t", "info", [Letter(NotifyUrl(service.url), "b")]), daemon=True
        )
        thread.start()
        while thread.is_alive():
            seen |= {_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
        assert any(b"courier" in arguments for arguments in seen)
        assert not any(TOKEN.encode() in arguments for arguments in seen)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("said", "url", "shown"),
    [
        ("Failed to send: Forbidden, error=403.", "ntfy://h/t", "Failed to send: Forbidden, HTTP 403"),
        ("no host hooks.example", "json://hooks.example/a", "no host ***"),
        ("bad token abcd1234 of me", "slack://abcd1234/efgh", "bad token *** of me"),
        ("a" * 500, "ntfy://h/t", "***"),
        ("bad login user / s3c/r3t", "json://user:s3c%2Fr3t@host", "bad login *** / ***"),
        ("bad login user / s3c%2fr3t", "json://user:s3c/r3t@host", "bad login *** / ***"),
        ("bad login me:a b", "json://me:a+b@host", "bad login ***"),
        ("no me, ab; some cab", "json://me:ab@host", "no ***, ***; some cab"),
        ("bad key x1 of (42)", "ntfy://h/t?token=x1&tags=%34%32", "bad key *** of (***)"),
    ],
)
def test_the_words_of_a_library_are_told_without_the_address(said: str, url: str, shown: str) -> None:
    assert reason(said, url) == shown


class TestAStart:
    @pytest.fixture
    def start(self, free: World, service: Service) -> Callable[..., Any]:
        free.document["notify"] = [service.url]

        def started(*arguments: str, **env: str) -> Any:
            done = run(free, *arguments, **env)
            assert TOKEN not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            return done

        return started

    def test_tells_a_failure_once_and_its_end_as_the_mail_does(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        mails = [start("run-queue", **DOWN).stderr, start("run-queue", **DOWN).stderr]
        mails.append(start("run-queue").stderr)
        assert [len(mail.splitlines()) for mail in mails] == [1, 0, 1]
        begun, over = service.bodies
        assert begun.startswith("error: redis cannot be reached")
        assert over.startswith("over: redis cannot be reached")
        assert "2 times since" in over
        assert [post.document["type"] for post in service.posts] == ["failure", "success"]
        title = f"assetbatch run-queue on {socket.gethostname()} ({free.folder / 'config.yml'})"
        assert [post.document["title"] for post in service.posts] == [title, title]

    def test_that_goes_well_tells_nothing_and_loads_nothing_for_it(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        assert start("run-priority").stderr == ""
        assert service.posts == []
        free.config()
        code = LOADED.format(arguments=["run-queue"])
        env = {"HOME": str(free.folder), "POLYGON_API_KEY": "x", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=free.folder, env=env, capture_output=True, text=True, check=True
        )
        _, modules = json.loads(done.stdout.splitlines()[-1])
        assert "assetbatch.config.notify_urls" in modules
        loaded = {
            "apprise",
            "requests",
            "assetbatch.cli.telling",
            "assetbatch.monitoring.notify",
        }
        assert loaded.isdisjoint(modules)

    def test_takes_the_services_of_the_environment(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        free.document["notify"] = "json://127.0.0.1:1/x"
        start("run-queue", **DOWN, ASSETBATCH_NOTIFY_URLS=f"{service.url}/a, {service.url}/b")
        assert sorted(post.path.strip("/") for post in service.posts) == ["hook/a", "hook/b"]

    def test_takes_the_services_of_a_file(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        (free.folder / "urls").write_text(f"{service.url}/a\n{service.url}/b\n")
        start("run-queue", **DOWN, ASSETBATCH_NOTIFY_URLS_FILE="urls")
        assert sorted(post.path.strip("/") for post in service.posts) == ["hook/a", "hook/b"]

    def test_asks_a_command_for_the_services_only_when_there_is_something_to_tell(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        script = free.folder / "urls.sh"
        script.write_text(f"#!/bin/sh\necho run >> runs\necho '{service.url}/a, {service.url}/b'\n")
        script.chmod(0o755)
        env = {"ASSETBATCH_NOTIFY_URLS_COMMAND": str(script)}
        assert start("run-queue", **env).returncode == 0
        assert not (free.folder / "runs").exists()
        start("run-queue", **DOWN, **env)
        assert (free.folder / "runs").read_text() == "run\n"
        assert sorted(post.path.strip("/") for post in service.posts) == ["hook/a", "hook/b"]

    def test_says_that_the_command_for_the_services_fails(self, start: Callable[..., Any]) -> None:
        failing = {**DOWN, "ASSETBATCH_NOTIFY_URLS_COMMAND": "false"}
        done = start("run-queue", **failing)
        assert done.returncode == 3
        assert "notify: env ASSETBATCH_NOTIFY_URLS_COMMAND: the command ended with exit code 1" in done.stderr
        assert start("run-queue", **failing).stderr == ""
        failing.pop("REDIS_URL")
        (over,) = start("run-queue", **failing).stderr.splitlines()
        assert "over: redis cannot be reached" in over
        assert start("run-queue", **failing).stderr == ""

    def test_tells_a_mistake_in_the_configuration_too(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        free.document["queue"] = {"max_size": "many"}
        (free.folder / "config.yml").write_text(json.dumps(free.document))
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", "run-queue"],
            cwd=free.folder,
            env={"HOME": str(free.folder), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        (told,) = service.bodies
        assert told.startswith("error: config.yml: queue.max_size: found 'many'")
        assert service.posts[0].document["title"].endswith(f" ({free.folder / 'config.yml'})")

    def test_with_details_tells_the_same(self, start: Callable[..., Any], service: Service) -> None:
        for _ in range(2):
            assert "redis cannot be reached" in start("-v", "run-queue", **DOWN).stderr
        assert len(service.posts) == 1

    def test_whose_service_is_down_says_so_once_and_tells_it_all_later(
        self, start: Callable[..., Any], service: Service
    ) -> None:
        service.status = 500
        first = start("run-queue", **DOWN)
        assert (first.returncode, len(first.stderr.splitlines())) == (3, 2)
        assert "WARNING run-queue: notify: json did not receive the lines above" in first.stderr
        assert start("run-queue", **DOWN).stderr == ""  # too soon to try again
        assert len(service.posts) == 1
        service.status = 200
        after = start("run-queue")
        assert (after.returncode, len(after.stderr.splitlines())) == (0, 2)
        assert "over: notify: json did not receive" in after.stderr
        begun, over = service.bodies[-1].splitlines()
        assert begun.startswith("error: redis cannot be reached")
        assert over.startswith("over: redis cannot be reached")
        assert start("run-queue").stderr == ""
        assert len(service.posts) == 2

    @pytest.mark.slow
    def test_tries_again_after_a_while_although_nothing_is_new(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        service.status = 500
        start("run-queue", **DOWN)
        service.status = 200
        (file,) = (free.folder / ".local/state/assetbatch").glob("run-queue-*.json")
        noted = json.loads(file.read_text())
        for notice in noted.values():
            notice["last_ms"] -= 11 * 60_000
        file.write_text(json.dumps(noted))
        assert "over: notify" in start("run-queue", **DOWN).stderr
        assert service.bodies[-1].startswith("error: redis cannot be reached")

    @pytest.mark.slow
    def test_is_held_up_by_nobody_for_long(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        service.delay = 60
        free.document["notify"] = [f"{service.url}?rto=60&cto=60"]
        began = time.monotonic()
        done = start("run-queue", **DOWN)
        assert time.monotonic() - began < DELIVERY_SECONDS + 5
        assert "no answer within 10 s" in done.stderr

    @pytest.mark.slow
    def test_without_apprise_says_what_to_install(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        (free.folder / "hidden").mkdir()
        (free.folder / "hidden" / "apprise.py").write_text("raise ImportError('not here')")
        env = {**DOWN, "PYTHONPATH": str(free.folder / "hidden")}
        assert "pipx install --force '.[embedded,notify]'" in start("run-queue", **env).stderr
        check = start("config", "check", **env)
        assert (check.returncode, "[embedded,notify]" in check.stderr) == (2, True)

    def test_of_a_sandbox_tells_nobody(
        self, free: World, start: Callable[..., Any], service: Service
    ) -> None:
        done = start("--sandbox", "notify", "test")
        assert (done.returncode, service.posts) == (2, [])


class TestNotifyTest:
    def test_sends_a_message_to_each(self, free: World, service: Service) -> None:
        free.document["notify"] = [service.url, f"ntfy://{service.place}/{TOKEN}"]
        done = run(free, "notify", "test")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == ["json (URL 1 of 2): sent", "ntfy (URL 2 of 2): sent"]
        assert len(service.posts) == 2

    def test_says_who_did_not_take_it(self, free: World, service: Service) -> None:
        service.status = 403
        free.document["notify"] = service.url
        done = run(free, "notify", "test", "--json")
        assert done.returncode == 3
        (result,) = json.loads(done.stdout)
        assert result["service"] == "json"
        assert "403" in result["error"]
        assert TOKEN not in done.stdout

    def test_without_a_service_says_how_to_name_one(self, free: World) -> None:
        done = run(free, "notify", "test")
        assert (done.returncode, "ASSETBATCH_NOTIFY_URLS" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["config check", "doctor --no-call"])
def test_a_url_that_apprise_does_not_take_is_a_mistake(free: World, command: str) -> None:
    free.document["notify"] = ["json://127.0.0.1:1/x", f"nosuch://{TOKEN}"]
    done = run(free, *command.split())
    assert done.returncode == 2
    assert "nosuch (URL 2 of 2): apprise takes no such URL" in " ".join((done.stderr + done.stdout).split())
    assert TOKEN not in done.stderr + done.stdout
