"""A server that hangs in the middle of a command: that ends within its deadline, with code 3 and one line;
what came in is stored, and nothing is waited for twice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.commands.conftest import MakeWorld
from tests.database.proxy import Proxy
from tests.own_redis import OwnServer
from tests.world import World

from .start import environment, start
from .test_stopping import Running, wait_for_call

CHECK_SECONDS = 8.0
SLOW = "drip-headers=0.01"  # about two seconds a call


@pytest.fixture
def redis_of_its_own(own_server: Callable[..., OwnServer]) -> Iterator[OwnServer]:
    server = own_server()
    yield server
    if server.process:
        server.process.send_signal(signal.SIGCONT)


@pytest.fixture
def world(make_world: MakeWorld, redis_of_its_own: OwnServer) -> World:
    """Three items wait; Redis is one that may be frozen."""
    redis = {"url": f"unix://{redis_of_its_own.socket}", "prefix": "{own}"}
    world = make_world(document={"redis": redis, "queue": {"retry_delay_seconds": 0}})
    world.know_that_today_is_refused()
    assert start(world, "enqueue-secondary").returncode == 0
    return world


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    """PostgreSQL may be frozen too."""
    with Proxy(world.database_url) as proxy:
        given = psycopg.conninfo.conninfo_to_dict(proxy.url)
        place = f"{given['user']}@{given['host']}:{given['port']}/{given['dbname']}"
        world.document["database"] = {"url": f"postgresql://{place}?sslmode=disable&gssencmode=disable"}
        yield proxy


def freeze(server: OwnServer) -> None:
    assert server.process
    server.process.send_signal(signal.SIGSTOP)


def thaw(server: OwnServer) -> None:
    assert server.process
    server.process.send_signal(signal.SIGCONT)


def ended(running: Running) -> tuple[int, float, list[str]]:
    began = time.monotonic()
    _, rest = running.process.communicate(timeout=60)
    return running.process.returncode, time.monotonic() - began, rest.splitlines()


@pytest.mark.parametrize(("command", "first"), [("run-priority", "XAUUSD"), ("run-queue", "ETHUSD")])
def test_redis_that_freezes_while_a_call_is_out_costs_one_wait_and_no_answer(
    world: World, redis_of_its_own: OwnServer, command: str, first: str
) -> None:
    world.provider.order(SLOW, times=None)
    running = Running(world, command)
    wait_for_call(world)
    freeze(redis_of_its_own)
    code, seconds, lines = ended(running)
    assert (code, len(lines)) == (3, 1), lines
    assert "redis did not answer within 3 s (hint: " in lines[0]
    assert seconds < 12
    assert len(world.paths) == 1
    assert world.last_update(first) is not None


def test_redis_that_is_away_at_the_end_costs_no_answer(world: World, redis_of_its_own: OwnServer) -> None:
    world.provider.order(SLOW, times=None)
    running = Running(world, "run-queue")
    wait_for_call(world)
    redis_of_its_own.kill()
    code, seconds, lines = ended(running)
    assert (code, len(lines)) == (3, 1), lines
    assert "redis cannot be reached" in lines[0]
    assert seconds < 12
    assert world.last_update("ETHUSD") is not None


def test_a_short_command_whose_redis_freezes_ends_within_its_bound(
    world: World, redis_of_its_own: OwnServer
) -> None:
    world.provider.order("drip-headers=0.005", times=None)
    began = time.monotonic()
    running = Running(world, "run-queue", "--max-seconds", "6")
    wait_for_call(world)
    freeze(redis_of_its_own)
    code, _, lines = ended(running)
    assert (code, len(lines)) == (3, 1), lines
    assert time.monotonic() - began < 14  # the interpreter takes its time on a busy machine
    assert world.last_update("ETHUSD") is not None


def test_a_stop_while_redis_is_frozen_ends_soon(world: World, redis_of_its_own: OwnServer) -> None:
    world.provider.order(SLOW, times=None)
    running = Running(world, "run-queue")
    wait_for_call(world)
    freeze(redis_of_its_own)
    code, seconds, rest = running.stop(signal.SIGTERM)
    assert (code, len(rest.splitlines())) == (143, 1), rest
    assert seconds < 12


def test_postgresql_that_freezes_while_an_answer_is_stored_is_said_and_costs_no_attempt(
    world: World, proxy: Proxy
) -> None:
    proxy.freeze_at = b"ohlcv_5m"
    world.config()
    began = time.monotonic()
    done = start(world, "run-queue", "--max-seconds", "12")
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (3, 1), lines
    assert "the database did not answer within" in lines[0]
    assert time.monotonic() - began < 20
    with world.services() as services:
        state = services.queue.state()
        assert (state.size, state.leased, state.dead) == (3, 0, 0)
        assert services.locks.held("run_queue") == []
        assert services.history.job("run_queue").last_result == "failed"
        taken = services.queue.take(3, 60)
    assert [item.attempts for item in taken.items] == [0, 0, 0]  # type: ignore[union-attr]  # else it fails here


@pytest.mark.parametrize("command", ["run-priority", "run-queue", "enqueue-secondary"])
def test_postgresql_that_is_frozen_from_the_start_ends_every_command(
    world: World, proxy: Proxy, command: str
) -> None:
    proxy.freeze()
    began = time.monotonic()
    done = start(world, command, "--max-seconds", "20")
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (3, 1), lines
    assert time.monotonic() - began < 15
    assert world.paths == []


@contextmanager
def busy(processes: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(processes):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


@contextmanager
def black_hole() -> Iterator[str]:
    """An address at which the kernel leaves connects unanswered: its queue of new connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def checked(world: World, **env: str) -> tuple[int, str]:
    """Return code and line of a check that ended in time and wrote nothing else."""
    world.config()
    began = time.monotonic()
    done = start(world, "status", "--check", **env)
    seconds = time.monotonic() - began
    assert (len(done.stdout.splitlines()), done.stderr) == (1, ""), done
    assert seconds < CHECK_SECONDS, done.stdout
    return done.returncode, done.stdout


@pytest.mark.parametrize("others", [0, 6], ids=["alone", "beside 6 busy processes"])
@pytest.mark.parametrize("what", ["redis", "postgresql", "both", "postgresql in the middle"])
def test_a_check_ends_in_time_whatever_hangs(
    world: World, redis_of_its_own: OwnServer, proxy: Proxy, what: str, others: int
) -> None:
    if what in ("redis", "both"):
        freeze(redis_of_its_own)
    if what in ("postgresql", "both"):
        proxy.freeze()
    elif what == "postgresql in the middle":
        proxy.freeze_at = b"metadata"
    with busy(others):
        code, line = checked(world)
    assert code == 2
    assert "did not answer" in line or "timeout" in line, line


@pytest.mark.parametrize("what", ["redis", "sentinel", "postgresql", "both"])
def test_a_check_ends_in_time_where_packets_are_swallowed(free: World, what: str) -> None:
    with black_hole() as address:
        if what == "sentinel":
            free.document["redis"]["url"] = f"redis+sentinel://{address},{address}/mymaster"
        if what in ("redis", "both"):
            free.document["redis"]["url"] = f"redis://{address}/0"
        if what in ("postgresql", "both"):
            free.document["database"] = {"url": f"postgresql://someone@{address}/name"}
        code, line = checked(free)
    assert code == 2
    assert "did not answer" in line or "cannot be reached" in line, line


def test_a_check_ends_in_time_where_a_secret_command_hangs(free: World) -> None:
    del free.document["database"]
    parts = {"DB_HOST": "localhost", "DB_USER": "someone", "DB_NAME": "name"}
    code, line = checked(free, **parts, DB_PASSWORD_COMMAND="sleep 60")
    assert code == 3
    assert "DB_PASSWORD_COMMAND: the command did not end" in line


@pytest.mark.parametrize("what", ["redis", "postgresql", "both"])
def test_a_check_ends_in_time_where_no_name_server_answers(free: World, tmp_path: Path, what: str) -> None:
    address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"  # another for each process of tests
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {address}\noptions timeout:30 attempts:3\n")
    script = tmp_path / "check"
    script.write_text('mount --bind "$1" /etc/resolv.conf || exit 99; shift; exec "$@"\n')
    if shutil.which("unshare") is None:
        pytest.skip("util-linux' unshare is needed")
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", str(script), str(resolver)]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount of its own is allowed here")
    if what in ("redis", "both"):
        free.document["redis"]["url"] = "redis://nowhere.example.org:6379/0"
    if what in ("postgresql", "both"):
        free.document["database"] = {"url": "postgresql://someone@nowhere.example.org/name"}
    free.config()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind((address, 53))
        except OSError as error:
            pytest.skip(f"the port of a name server cannot be had: {error}")
        began = time.monotonic()
        done = subprocess.run(
            [*own, sys.executable, "-m", "assetbatch", "status", "--check"],
            cwd=free.folder,
            env=environment(free),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (2, 1, ""), done
    assert seconds < CHECK_SECONDS, done.stdout


def test_doctor_names_what_hangs(world: World, redis_of_its_own: OwnServer, proxy: Proxy) -> None:
    freeze(redis_of_its_own)
    proxy.freeze()
    began = time.monotonic()
    done = start(world, "doctor")
    assert done.returncode == 3
    assert "redis did not answer within 3 s" in " ".join(done.stdout.split())
    assert time.monotonic() - began < 20
