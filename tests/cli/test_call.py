"""`call` and `slot` as other programs use them: processes, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from assetbatch.domain.queueing import CallKind
from assetbatch.state.window import Grant
from tests.program import BARE, CLOCK
from tests.world import KEY, World

from .test_commands import run

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of orphaned processes")


def used(world: World) -> int:
    with world.services() as services:
        return services.window.state().used


def ahead_seconds(world: World) -> float:
    """How far the latest entry of the window is dated ahead."""
    with world.services() as services:
        ((_, score),) = services.redis.zrange(services.window.keys[0], -1, -1, withscores=True)
        return (int(score) - services.now_ms()) / 1000


def fill(world: World, leave: int = 0) -> None:
    with world.services() as services:
        for _ in range(services.config.call_limit.limit - leave):
            answer = services.window.ask(CallKind.PRIORITY)
            assert isinstance(answer, Grant)
            services.window.complete(answer)


def wait_for(condition: Callable[[], object], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def calling(world: World, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`call` in a process of its own."""
    world.config()
    process = subprocess.Popen(
        [sys.executable, "-m", "assetbatch", "call", *arguments],
        cwd=world.folder,
        env={**BARE, "HOME": str(world.folder), "POLYGON_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class TestACommand:
    def test_has_its_output_and_its_exit_code(self, free: World) -> None:
        done = run(free, "call", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
        assert used(free) == 1
        assert ahead_seconds(free) > 5, "nobody knows whether its request has arrived"

    def test_that_succeeds_has_had_its_answer(self, free: World) -> None:
        assert run(free, "call", "--", "true").returncode == 0
        assert used(free) == 1
        assert ahead_seconds(free) < 1.1

    def test_reads_what_is_given_to_it(self, free: World) -> None:
        free.config()
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", "call", "cat", "--", "-"],
            cwd=free.folder,
            env={**BARE, "HOME": str(free.folder), "POLYGON_API_KEY": KEY},
            input=b"what it is given",
            capture_output=True,
            check=False,
        )
        assert done.stdout == b"what it is given"

    def test_knows_its_slot_and_until_when_and_is_told_no_key(self, free: World) -> None:
        free.config()
        key_file = free.folder / "key"
        key_file.write_text(KEY)
        before = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", "call", "--timeout", "5", "--", "env"],
            cwd=free.folder,
            env={**BARE, "HOME": "/", "POLYGON_API_KEY_FILE": str(key_file), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )
        found = dict(line.split("=", 1) for line in done.stdout.splitlines())
        assert before < float(found.pop("ASSETBATCH_SLOT_DEADLINE")) - 5 < time.time()
        assert len(found.pop("ASSETBATCH_SLOT")) > 30
        assert set(found) <= {"PATH", "HOME", "POLYGON_API_KEY_FILE", "LC_ALL", "LC_CTYPE"} | CLOCK

    def test_that_a_signal_has_ended_is_told_as_a_shell_does(self, free: World) -> None:
        assert run(free, "call", "--", "sh", "-c", "kill -USR1 $$").returncode == 128 + signal.SIGUSR1

    @pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
    def test_that_cannot_be_run_costs_no_slot(self, free: World, command: str, code: int) -> None:
        done = run(free, "call", "--", command)
        assert done.returncode == code
        assert command in done.stderr
        assert used(free) == 0

    def test_is_ended_when_its_time_is_over(self, free: World) -> None:
        started = time.monotonic()
        done = run(free, "call", "--timeout", "1", "--", "sh", "-c", "sleep 30; echo late")
        assert (done.returncode, done.stdout) == (124, "")
        assert time.monotonic() - started < 6
        assert used(free) == 1

    def test_that_will_not_end_is_killed(self, free: World) -> None:
        script = "trap '' TERM; while true; do sleep 0.1; done"
        done = run(free, "call", "--timeout", "1", "--", "sh", "-c", script)
        assert done.returncode == 124
        assert ahead_seconds(free) > 5

    def test_is_ended_also_where_it_is_stopped(self, free: World) -> None:
        done = run(free, "call", "--timeout", "1", "--", "sh", "-c", "kill -STOP $$; echo late")
        assert (done.returncode, done.stdout) == (124, "")

    @pytest.mark.slow
    def test_may_run_for_longer_than_a_call_of_ours(self, free: World) -> None:
        with calling(free, "--timeout", "20", "--", "sh", "-c", "sleep 11.5; echo long") as process:
            wait_for(lambda: used(free) == 1)
            time.sleep(6)
            assert ahead_seconds(free) > 8  # renewed
            out, _ = process.communicate(timeout=15)
        assert (process.returncode, out) == (0, "long\n")

    @pytest.mark.slow
    def test_that_may_run_for_long_ends_where_redis_forgets_its_slot(self, free: World) -> None:
        with calling(free, "--timeout", "100", "--", "sleep", "90") as process:
            wait_for(lambda: used(free) == 1)
            started = time.monotonic()
            with free.services() as services:
                services.redis.flushall()
            process.communicate(timeout=20)
        assert process.returncode == 124
        assert time.monotonic() - started < 13

    def test_gets_the_signals(self, free: World, tmp_path: Path) -> None:
        script = f"trap 'echo caught; exit 5' TERM; touch {tmp_path}/on; while true; do sleep 0.05; done"
        with calling(free, "--", "sh", "-c", script) as process:
            wait_for((tmp_path / "on").exists)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=10)
        assert (process.returncode, out) == (5, "caught\n")


class TestWhatACommandLeavesRunning:
    def test_is_ended_with_it(self, free: World, tmp_path: Path) -> None:
        late = tmp_path / "late"
        assert run(free, "call", "--", "sh", "-c", f"(sleep 1; touch {late}) &").returncode == 0
        time.sleep(1.3)
        assert not late.exists()

    @LINUX
    def test_is_ended_in_a_session_of_its_own_too(self, free: World, tmp_path: Path) -> None:
        late = tmp_path / "late"
        script = f"setsid sh -c 'sleep 1; touch {late}' & sleep 0.2"
        assert run(free, "call", "--", "sh", "-c", script).returncode == 0
        time.sleep(1.3)
        assert not late.exists()


class TestKillMinus9:
    @pytest.mark.parametrize("detach", ["", pytest.param("setsid ", marks=LINUX)])
    def test_of_call_ends_the_command_and_leaves_the_slot_taken(
        self, free: World, tmp_path: Path, detach: str
    ) -> None:
        late, on = tmp_path / "late", tmp_path / "on"
        script = f"{detach}sh -c 'touch {on}; sleep 1.5; touch {late}' & sleep 1.5; touch {late}"
        with calling(free, "--", "sh", "-c", script) as process:
            wait_for(on.exists)
            process.kill()
            process.wait()
            time.sleep(2)
            assert not late.exists()
        fill(free, leave=1)
        run(free, "slot", "take")  # is refused, and frees what dead processes hold
        assert ahead_seconds(free) > 5

    def test_of_the_keeper_ends_the_command_and_leaves_the_slot_taken(
        self, free: World, tmp_path: Path
    ) -> None:
        late, keeper = tmp_path / "late", tmp_path / "keeper"
        script = (
            f"sh -c 'sleep 1.5; touch {late}' & echo $PPID > {keeper}.new; mv {keeper}.new {keeper}; wait"
        )
        with calling(free, "--", "sh", "-c", script) as process:
            wait_for(keeper.exists)
            os.kill(int(keeper.read_text()), signal.SIGKILL)
            process.communicate(timeout=10)
            assert process.returncode == 128 + signal.SIGKILL
        time.sleep(1.7)
        assert not late.exists()
        assert ahead_seconds(free) > 5


class TestASlot:
    def test_that_is_not_free_is_told_and_nothing_is_run(self, free: World) -> None:
        fill(free)
        done = run(free, "call", "--wait", "1", "--", "echo", "on")
        assert (done.returncode, done.stdout) == (75, "")
        assert "all calls of this window are used; a call is free in " in done.stderr

    def test_is_waited_for(self, make_world: Callable[..., World]) -> None:
        world = make_world(limit=1, window_seconds=2)
        fill(world)
        assert run(world, "call", "--wait", "10", "--", "true").returncode == 0

    def test_of_priority_is_one_that_is_kept_for_it(self, free: World) -> None:
        with free.services() as services:
            services.window.reserve(services.window.state().now_ms, 100, 300_000)
        assert run(free, "call", "--wait", "0", "--", "true").returncode == 75
        assert run(free, "call", "--priority", "--wait", "0", "--", "true").returncode == 0

    def test_that_is_waited_for_is_left_at_a_signal(self, free: World) -> None:
        fill(free)
        with (
            calling(free, "--wait", "100", "--", "echo", "on") as process,
            free.services() as services,
        ):
            wait_for(lambda: services.redis.exists(services.window.keys[3]))
            process.terminate()
            out, _ = process.communicate(timeout=10)
            assert (process.returncode, out) == (143, "")
            assert not services.redis.exists(services.window.keys[3])

    def test_is_taken_and_settled_in_two_steps(self, free: World) -> None:
        taken = run(free, "slot", "take", "--hold", "5")
        told = json.loads(taken.stdout)
        assert (taken.returncode, told["granted"], taken.stderr) == (0, True, "")
        assert 3 < told["expires_in_seconds"] <= 5
        assert -2 < datetime.fromisoformat(told["expires_at"]).timestamp() - time.time() < 5
        assert 2 < ahead_seconds(free) < 8
        done = run(free, "slot", "done", told["slot"])
        assert (done.returncode, json.loads(done.stdout)) == (0, {"slot": told["slot"], "calls_made": 1})
        assert ahead_seconds(free) < 0
        assert used(free) == 1

    def test_that_was_not_used_is_given_back(self, free: World) -> None:
        told = json.loads(run(free, "slot", "take").stdout)
        assert run(free, "slot", "done", told["slot"], "--calls-made", "0").returncode == 0
        assert used(free) == 0

    def test_that_is_not_free_is_told_as_json(self, free: World) -> None:
        fill(free)
        done = run(free, "slot", "take")
        told = json.loads(done.stdout)
        assert (done.returncode, told["granted"], told["reason"]) == (75, False, "window")
        assert 40 < told["retry_after_seconds"] <= 61

    def test_with_a_made_up_id_is_refused(self, free: World) -> None:
        done = run(free, "slot", "done", "made-up")
        assert (done.returncode, done.stdout) == (2, "")
        assert "this is no slot (hint: " in done.stderr

    def test_needs_redis(self, free: World) -> None:
        for command in (["call", "--", "echo", "on"], ["slot", "take"]):
            done = run(free, *command, REDIS_URL="redis://127.0.0.1:1/0")
            assert (done.returncode, done.stdout) == (3, "")


class TestWithoutADatabase:
    def test_a_log_that_is_known_is_enough(self, free: World) -> None:
        fill(free, leave=1)
        assert run(free, "call", "--", "true", DATABASE_URL="postgresql://127.0.0.1:1/x").returncode == 0

    @pytest.mark.parametrize("database", [None, {"url": "postgresql://127.0.0.1:1/x"}])
    def test_a_log_that_may_be_incomplete_is_waited_out(
        self, free: World, database: dict[str, str] | None
    ) -> None:
        free.document["database"] = database or {}
        done = run(free, "slot", "take")
        assert (done.returncode, json.loads(done.stdout)["reason"]) == (75, "lost")


def test_the_first_slot_is_recorded_as_a_first_call_is(free: World) -> None:
    assert json.loads(run(free, "slot", "take").stdout)[
        "granted"
    ]  # nobody has ever called: nothing to wait for
    with psycopg.connect(free.database_url) as connection:
        rows = connection.execute("SELECT count(*) FROM data_sources.assetbatch_calls").fetchone()
    assert rows == (1,)
    with free.services() as services:
        services.redis.flushall()
    assert json.loads(run(free, "slot", "take").stdout)["reason"] == "lost"


@pytest.mark.parametrize(
    "arguments",
    [
        ("slot", "take", "--wait", "nan"),
        ("slot", "take", "--hold", "nan"),
        ("call", "--timeout", "nan", "true"),
    ],
)
def test_nan_is_no_number_of_seconds(free: World, arguments: tuple[str, ...]) -> None:
    ran = run(free, *arguments)
    assert (ran.returncode, "nan is no number of seconds" in ran.stderr) == (2, True)
