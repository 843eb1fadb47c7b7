"""A server that hangs in the middle of a command: that ends within its deadline, with code 3 and one line;
what came in is stored, and nothing is waited for twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.commands.conftest import MakeWorld
from tests.database.proxy import Proxy
from tests.own_redis import OwnServer
from tests.world import RealClock, SetClock, World

from .start import start
from .test_stopping import Running, wait_for_call

CHECK_SECONDS = 8.0
SLOW = "drip-headers=0.01"  # about two seconds a call


@pytest.fixture
def clock() -> SetClock:
    return RealClock()


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


@pytest.mark.parametrize("what", ["redis", "postgresql", "both", "postgresql in the middle"])
def test_a_check_ends_in_time_whatever_hangs(
    world: World, redis_of_its_own: OwnServer, proxy: Proxy, what: str
) -> None:
    world.config()
    if what in ("redis", "both"):
        freeze(redis_of_its_own)
    if what in ("postgresql", "both"):
        proxy.freeze()
    elif what == "postgresql in the middle":
        proxy.freeze_at = b"metadata"
    began = time.monotonic()
    done = start(world, "status", "--check")
    seconds = time.monotonic() - began
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (2, 1, "")
    assert "did not answer" in done.stdout or "timeout" in done.stdout, done.stdout
    assert seconds < CHECK_SECONDS


def test_doctor_names_what_hangs(world: World, redis_of_its_own: OwnServer, proxy: Proxy) -> None:
    freeze(redis_of_its_own)
    proxy.freeze()
    began = time.monotonic()
    done = start(world, "doctor")
    assert done.returncode == 3
    assert "redis did not answer within 3 s" in " ".join(done.stdout.split())
    assert time.monotonic() - began < 20
