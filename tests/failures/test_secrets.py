"""No secret leaks: every command, under failures of every kind, with marked secrets; then every place that
something could have been written to is searched for the marks."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis

from assetbatch.state.connection import RedisClient
from tests import program
from tests.own_redis import OwnServer
from tests.world import World

from .start import environment

KEY = "k3y-mark/+&?"
DB = "db-m@rk:/%"
REDIS = "r3dis-mark"
PING = "p1ng-mark"
NOTIFY = "n0tify-mark"
MARKS = (KEY, DB, REDIS, PING, NOTIFY)

COMMANDS = [
    "run-priority",
    "enqueue-secondary",
    "run-queue --max-seconds 5",
    "run-priority --dry-run",
    "status",
    "status --json",
    "status --check",
    "status --html page.html",
    "status --prometheus file.prom",
    "init",
    "doctor",
    "holes",
    "backfill XAUUSD --from 2026-11-01",
    "dead list",
    "queue list",
    "queue cancel XAUUSD",
    "dead retry --all",
    "config show",
    "config show --json",
    "config check",
    "notify test",
]


def disguises(mark: str) -> list[bytes]:
    """The ways in which a text gets about: as it is, in URLs, in JSON, in base64."""
    plain = mark.encode()
    found = {
        plain,
        quote(mark, safe="").encode(),
        quote(mark).encode(),
        json.dumps(mark)[1:-1].encode(),
        base64.b64encode(plain).rstrip(b"=")[:-1],
        base64.b64encode(b":" + plain).rstrip(b"=")[:-1],
        repr(mark)[1:-1].encode(),
    }
    return sorted(found)


class Watcher:
    """Reads the arguments of all processes of this machine, again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            for process in filter(str.isdigit, os.listdir("/proc")):
                with suppress(OSError), open(f"/proc/{process}/cmdline", "rb", buffering=0) as arguments:
                    self.seen.add(arguments.read())


def said(
    folder: Path,
    env: dict[str, str],
    *arguments: str,
    cold: bool = False,
    codes: tuple[int, ...] | None = None,
) -> list[bytes]:
    """What one start prints, on both streams; it ends with one of `codes`, if there are any."""
    done = program.start(*arguments, cwd=folder, env=env, timeout=60, cold=cold)
    assert codes is None or done.returncode in codes, done.stderr
    return [done.stdout.encode(), done.stderr.encode()]


def everything_in_redis(client: RedisClient) -> Iterator[bytes]:
    for key in client.scan_iter(count=1000):
        yield key
        kind = client.type(key)
        if kind == b"string":
            yield client.get(key) or b""
        elif kind == b"hash":
            for pair in client.hgetall(key).items():
                yield from pair
        elif kind == b"zset":
            yield from client.zrange(key, 0, -1)
        elif kind == b"list":
            yield from client.lrange(key, 0, -1)
        elif kind == b"stream":
            yield repr(client.xrange(key)).encode()


def everything_in_postgresql(url: str) -> Iterator[bytes]:
    with psycopg.connect(url) as connection:
        for (table,) in connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname IN ('trading', 'market_data', 'data_sources')"
        ).fetchall():
            with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as rows:
                for row in rows:
                    yield bytes(row)


@pytest.fixture
def marked(free: World, own_server: Callable[..., OwnServer]) -> tuple[World, dict[str, str], str]:
    """A world whose four secrets carry marks, and the environment that holds three of them."""
    server = own_server("--requirepass", REDIS)
    role = f"marked_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(free.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{DB}'".encode())
    tail = free.database_url.split("@", 1)[1]
    url = f"postgresql://{role}:{quote(DB, safe='')}@{tail}"
    free.document["redis"] = {"url": f"unix://:{REDIS}@{server.socket}", "prefix": "{marked}"}
    free.document["database"] = {"url": url}
    free.document["ping_url"] = f"http://127.0.0.1:1/{PING}"
    free.document["notify"] = [
        f"ntfy://{NOTIFY}@127.0.0.1:1/{NOTIFY}",
        f"json://me:{NOTIFY}@127.0.0.1:1/{NOTIFY}",
    ]
    free.document["metrics"] = {"prometheus_file": str(free.folder / "cycle.prom")}
    free.document["events"] = {"stream_maxlen": 100}
    return free, environment(free, POLYGON_API_KEY=KEY), role


@pytest.mark.timeout(300)  # each failure is told to two services
def test_no_secret_is_found_anywhere(marked: tuple[World, dict[str, str], str]) -> None:
    world, env, role = marked
    nowhere = {
        "REDIS_URL": f"redis://me:{REDIS}@127.0.0.1:1/0",
        "DATABASE_URL": f"postgresql://me:{quote(DB, safe='')}@127.0.0.1:1/x",
        "POLYGON_BASE_URL": "http://127.0.0.1:1",
    }
    troubles: list[tuple[dict[str, str], str | None]] = [
        ({}, None),
        ({}, "status=401"),
        ({}, "html"),
        ({"POLYGON_TIER": "golden", "REDIS_URL": f"nonsense://{REDIS}", "DATABASE_URL": f"x://{DB}@y"}, None),
        *(({name: value}, None) for name, value in nowhere.items()),
        ({"DATABASE_URL": world.document["database"]["url"].replace(role, "postgres")}, None),
    ]
    world.config()
    output: list[bytes] = []
    number = 0
    with Watcher() as watcher:
        for trouble, fault in troubles:
            world.provider.faults.clear()
            if fault:
                world.provider.order(fault, times=None)
            # where all is well every command, in each trouble a third of them in turn
            chosen = COMMANDS if not trouble and not fault else COMMANDS[number % 3 :: 3]
            number += 1
            for command in chosen:
                loud = ["-vv", "--log-format", "json"] if number % 2 else ["-vv", "--log-file", "all.txt"]
                # where all is well as a process of its own, whose arguments are seen
                output += said(world.folder, {**env, **trouble}, *loud, *command.split(), cold=number == 1)
    with redis.Redis(unix_socket_path=str(world.folder / "s"), password=REDIS) as client:
        stored = list(everything_in_redis(client))
    rows = list(everything_in_postgresql(world.database_url))
    files = [
        path.read_bytes()
        for path in world.folder.rglob("*")
        if path.is_file() and path.name not in ("config.yml", "log")
    ]
    assert len(stored) > 30
    assert len(rows) > 100
    assert any(b"XAUUSD" in text for text in output)
    assert any(b"<!doctype html>" in file for file in files)
    assert any(b"assetbatch_up" in file for file in files)
    assert b"DEBUG" in (world.folder / "all.txt").read_bytes()
    assert any(b"run-priority" in arguments for arguments in watcher.seen)
    places = {
        "output": output,
        "redis": stored,
        "postgresql": rows,
        "files": files,
        "arguments": watcher.seen,
    }
    found = [
        (place, mark)
        for place, texts in places.items()
        for mark in MARKS
        for disguise in disguises(mark)
        if any(disguise in text for text in texts)
    ]
    assert found == []
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {role}".encode())


def test_no_secret_of_a_file_or_a_command_is_found(marked: tuple[World, dict[str, str], str]) -> None:
    world, env, role = marked
    for name, secret in (("key", KEY), ("db", DB), ("redis", f"{REDIS}\n")):
        (world.folder / name).write_text(secret)
    tail = world.database_url.split("@", 1)[1]
    world.document["database"] = {"url": f"postgresql://{role}@{tail}"}
    world.document["redis"]["url"] = world.document["redis"]["url"].replace(f":{REDIS}@", "")
    del world.document["ping_url"]
    world.config()
    env |= {
        "POLYGON_API_KEY": "",
        "POLYGON_API_KEY_COMMAND": "cat key",
        "DB_PASSWORD_COMMAND": "sh -c 'cat db'",
        "REDIS_PASSWORD_FILE": "redis",
    }
    texts = []
    with Watcher() as watcher:
        for command in ("run-priority", "doctor", "status --json", "config show", "config check"):
            arguments = ["-vv", "--log-file", "all.txt", *command.split()]
            texts += said(world.folder, env, *arguments, cold=True, codes=(0, 1))
    assert world.last_update("XAUUSD") is not None
    texts.append((world.folder / "all.txt").read_bytes())
    assert any(b"run-priority" in arguments for arguments in watcher.seen)
    texts += watcher.seen
    assert [m for m in MARKS for d in disguises(m) if any(d in text for text in texts)] == []
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {role}".encode())


def test_the_search_finds_what_is_there() -> None:
    """A search that cannot find anything would be no proof."""
    for mark in MARKS:
        for text in (mark, quote(mark, safe=""), json.dumps({"a": mark})):
            assert any(disguise in text.encode() for disguise in disguises(mark))
        assert any(d in base64.b64encode(mark.encode()) for d in disguises(mark))


OPEN = "M4rkZk3vP9sQ1xT7bN5mR2wY8cL4dF6g"
"""A key that was pasted into a setting that is no secret."""


SHAPES = [f"free; POLYGON_API_KEY={OPEN}", f"/a/{OPEN}/b"]
VARIABLES = {
    **dict.fromkeys(("POLYGON_TIER", "DB_HOST", "ASSETBATCH_CONFIG", "HOME", "XDG_DATA_HOME"), SHAPES),
    **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PGSSLMODE", "PGSERVICE", "PGPASSFILE"), SHAPES),
    "HTTPS_PROXY": [f"http://me:{OPEN}@127.0.0.1:1", f"{OPEN}://h"],
    "POLYGON_BASE_URL": [f"https://{OPEN}.invalid", f"https://h.invalid/{OPEN}", f"http://{OPEN}"],
    "REDIS_URL": [f"redis://{OPEN}.invalid:1/0", f"redis://h?{OPEN}=1", f"unix:///{OPEN}/s"],
    "DATABASE_URL": [
        f"postgresql://{OPEN}@{OPEN}.invalid/{OPEN}",
        f"postgresql://127.0.0.1:1/{OPEN}",
        f"postgresql:///n?host=/{OPEN}&application_name={OPEN}",
    ],
}


@pytest.mark.parametrize("name", VARIABLES)
def test_no_key_in_a_variable_that_is_no_secret_is_said_by_a_command(free: World, name: str) -> None:
    if name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY"):
        free.document["provider"] = {"base_url": "https://h.invalid"}
    free.config()
    leaked = []
    for value in VARIABLES[name]:
        for command in ("run-priority", "doctor"):
            env = {**environment(free, POLYGON_API_KEY=KEY), name: value}
            output = b"".join(said(free.folder, env, "-vv", command))
            if OPEN.encode() in output or b"Traceback" in output:
                leaked.append((value, command, output.decode(errors="replace")[-600:]))
    assert leaked == []


def with_option(url: str, name: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{name}={OPEN}"


def test_no_key_in_a_setting_that_is_no_secret_is_shown_by_a_command(free: World) -> None:
    """All settings that take any text carry the mark at once, and everything works."""
    folder = free.folder / f"a;{OPEN}=1"
    folder.mkdir()
    free.document["rate_limiting"]["upgrade_url"] = f"https://h.invalid/{OPEN}?key={OPEN}"
    free.document["redis"]["prefix"] = f"{{{OPEN}}}"
    free.document["metrics"] = {"prometheus_file": str(folder / f"{OPEN}.prom")}
    free.document["database"]["url"] = with_option(free.document["database"]["url"], "application_name")
    free.document["redis"]["url"] = with_option(free.document["redis"]["url"], "client_name")
    for lists in ("priority_assets", "secondary_assets"):
        free.document[lists] = [{**asset, "name": f"x={OPEN}; y"} for asset in free.document[lists]]
    free.config()
    output = []
    for command in COMMANDS:
        arguments = ["-vv", "--config", str(free.folder / "config.yml"), *command.split()]
        output.append((command, b"".join(said(folder, environment(free, POLYGON_API_KEY=KEY), *arguments))))
    files = [(str(path), path.read_bytes()) for path in folder.iterdir()]
    assert any(b"XAUUSD" in text for _, text in output)
    assert len(files) == 3
    assert [name for name, text in [*output, *files] if OPEN.encode() in text or b"Traceback" in text] == []
