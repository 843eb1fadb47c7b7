"""What a person is told by mail: each failure once, its end once, and what has died once.

Each start is one of cron's: what it prints on stderr is the mail.
"""

from __future__ import annotations

import io
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from assetbatch.cli import run
from assetbatch.cli.notices import NoticeLog
from assetbatch.domain.queueing import Lane
from assetbatch.errors import DeadlineExceededError
from tests.commands.conftest import MakeWorld
from tests.commands.test_ends import attempts
from tests.documented import shows
from tests.own_redis import OwnServer
from tests.world import PRIORITY, SECONDARY, World

from .start import NOWHERE, start
from .test_stopping import Running, wait_for_call


def often(assets: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The same assets, due at every start."""
    return [{**asset, "update_frequency_seconds": 1, "bars": False} for asset in assets]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A paid plan; every start has something to do."""
    document = {
        "priority_assets": often(PRIORITY),
        "secondary_assets": often(SECONDARY),
        "queue": {"retry_delay_seconds": 0},
    }
    world = make_world(plan="starter", document=document)
    assert start(world, "run-priority").returncode == 0
    return world


@pytest.fixture
def own(world: World, own_server: Callable[..., OwnServer]) -> OwnServer:
    """A Redis of this test's own."""
    server = own_server("--appendonly", "yes")
    world.document["redis"] = {"url": f"unix://{server.socket}", "prefix": "{own}"}
    world.document["rate_limiting"] = {**world.document["rate_limiting"], "window_seconds": 1}
    return server


def make_due(world: World) -> None:
    with psycopg.connect(world.database_url) as connection:
        connection.execute(
            "UPDATE data_sources.assetbatch_sync SET last_success_at = last_success_at - interval '1 hour'"
        )


def told(world: World, command: str, **env: str) -> list[str]:
    """What one start prints that has something to do, without times and the name of the command."""
    make_due(world)
    if command.startswith("run-queue"):
        with world.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH), ("GBPUSD", Lane.MEDIUM)])
    lines = start(world, *command.split(), **env).stderr.splitlines()
    return [line.split(f"{command.split()[0]}: ", 1)[1] for line in lines]


def over(said: list[str], *words: str) -> None:
    """These failures are over, and nothing else is said."""
    assert len(said) == len(words), said
    for line, word in zip(said, words, strict=True):
        assert line.startswith("over: "), said
        assert word in line


@pytest.mark.parametrize("command", ["run-priority", "run-queue"])
class TestWhatIsOver:
    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("status=500", "the provider answers 500"),
            ("status=503", "the provider answers 503"),
            ("drop", "the API cannot be reached"),
            ("status=401", "the provider refuses the API key"),
            ("html", "the answer is not JSON"),
        ],
    )
    def test_is_told_once_and_over_at_the_first_start_that_proves_it(
        self, world: World, command: str, fault: str, words: str
    ) -> None:
        world.provider.order(fault, times=None)
        (said,) = told(world, command)
        assert words in said
        assert [told(world, command) for _ in range(2)] == [[], []]
        world.provider.faults.clear()
        over(told(world, command), words)
        assert told(world, command) == []

    def test_is_so_although_single_assets_fail(self, world: World, command: str) -> None:
        wrong = {"symbol": "WRONG", "polygon_ticker": "C:WRONG", "asset_type": "forex"}
        world.document["priority_assets"] = often([*PRIORITY, wrong])
        assert start(world, "init").returncode == 0
        told(world, command)
        world.provider.order("status=500", times=None)
        (said,) = [line for line in told(world, command) if "WRONG" not in line]
        assert "the provider answers 500" in said
        world.provider.faults.clear()
        assert any(line.startswith("over: the provider answers 500") for line in told(world, command))

    def test_is_a_hang_of_the_provider(self, world: World, command: str) -> None:
        world.provider.order("drip-headers=1", times=None)
        (said,) = told(world, f"{command} --max-seconds 5")
        assert "no complete answer within" in said
        assert told(world, f"{command} --max-seconds 5") == []
        world.provider.faults.clear()
        over(told(world, command), "no complete answer within")

    def test_is_a_429_once_a_call_is_answered_and_not_before(self, world: World, command: str) -> None:
        world.provider.order("429=3", times=1)
        said = told(world, f"{command} --max-seconds 5")
        assert len(said) == 1
        assert "the provider says too many calls" in said[0]
        assert not any("over" in line for line in told(world, f"{command} --max-seconds 5"))
        time.sleep(3)
        assert any("over: the provider says too many calls" in line for line in told(world, command))

    def test_is_each_of_several_that_came_one_after_another(
        self, world: World, own: OwnServer, command: str
    ) -> None:
        told(world, command)
        own.kill()
        (said,) = start(world, command).stderr.splitlines()
        assert "redis cannot be reached" in said
        own.start()
        down = {"DATABASE_URL": f"postgresql://me@{NOWHERE}/x"}
        failed, ended = told(world, command, **down)
        assert "nothing listens there" in failed
        assert ended.startswith("over: redis cannot be reached")
        time.sleep(2)
        with world.services() as services:  # the window of a server that was restarted is waited out
            services.redis.delete(services.window.keys[1])
        world.provider.order("status=500", times=None)
        failed, ended = told(world, command)
        assert "the provider answers 500" in failed
        assert (ended[:6], "nothing listens there" in ended) == ("over: ", True)
        world.provider.faults.clear()
        over(told(world, command), "the provider answers 500")

    def test_is_a_table_that_somebody_has_locked(self, world: World, command: str) -> None:
        with psycopg.connect(world.database_url) as somebody:
            somebody.execute("LOCK TABLE trading.symbols IN EXCLUSIVE MODE")
            (said,) = told(world, f"{command} --max-seconds 12")
        assert "lock" in said
        assert any(line.startswith("over: ") and "lock" in line for line in told(world, command))


class TestWhatDies:
    def test_is_named_once_by_whichever_start_comes_next(self, world: World) -> None:
        with world.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
            for _ in range(3):  # workers that were killed in the middle of their calls
                lease = services.queue.take(1, 60)
                services.queue.start(lease.token, ["ETHUSD"], 60)  # type: ignore[union-attr]
                services.redis.zadd(services.keys.queue_leased, {"ETHUSD": 1})
                time.sleep(0.01)
            services.queue.take(1, 60)
            assert services.queue.state().dead == 1
        (said,) = start(world, "run-queue").stderr.splitlines()
        assert "ETHUSD: the worker died: its lease ran out (a dead letter now; hint: assetbatch dead" in said
        assert start(world, "run-queue").stderr == ""
        assert start(world, "dead", "retry", "--all").returncode == 0
        (said,) = start(world, "run-queue").stderr.splitlines()
        assert "over: ETHUSD: the worker died" in said

    def test_is_named_in_an_outage_too(self, world: World) -> None:
        world.document["queue"] = {"retry_max_attempts": 1, "retry_delay_seconds": 0}
        world.provider.order("status=500", times=None)
        with world.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
        start(world, "run-queue")
        with world.services() as services:
            services.redis.set(services.keys.answered, services.window.state().now_ms)
        said = start(world, "run-queue").stderr
        assert said.count("\n") == 1
        assert "ETHUSD: the provider answers 500" in said
        assert "a dead letter now" in said

    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_may_be_a_start(self, world: World, command: str) -> None:
        with world.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
        world.provider.order("drip-headers=0.1", times=None)
        calls = len(world.paths)
        make_due(world)
        running = Running(world, command)
        wait_for_call(world, calls + 1)
        running.process.send_signal(signal.SIGKILL)
        running.process.communicate()
        world.provider.faults.clear()
        said = told(world, command)
        assert len(said) == 1
        shows(said[0], "the start of … died before its end")
        over(told(world, command), "the start of ")
        assert told(world, command) == []

    def test_is_told_once_where_each_start_dies(self, world: World) -> None:
        said = []
        for _ in range(3):
            world.provider.order("drip-headers=0.1", times=None)
            calls = len(world.paths)
            make_due(world)
            running = Running(world, "run-priority")
            wait_for_call(world, calls + 1)
            running.process.send_signal(signal.SIGKILL)
            said.append(running.process.communicate()[1].count("died before its end"))
            world.provider.faults.clear()
        assert said == [0, 1, 0]
        assert told(world, "run-priority") == []
        (end,) = told(world, "run-priority")
        assert (end.startswith("over: the start of "), "(3 times since" in end) == (True, True)

    def test_is_no_start_that_redis_has_left_alone(self, world: World, own: OwnServer) -> None:
        told(world, "run-queue")
        world.provider.order("drip-headers=0.02", times=None)
        calls = len(world.paths)
        make_due(world)
        with world.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
        running = Running(world, "run-queue")
        wait_for_call(world, calls + 1)
        own.kill()
        _, said = running.process.communicate()
        assert "redis cannot be reached" in said
        own.start()
        world.provider.faults.clear()
        with world.services() as services:
            services.dead_processes.free()
        assert attempts(world)["ETHUSD"] == 0, "an outage of redis costs no attempt"
        over(told(world, "run-queue --max-seconds 5"), "redis cannot be reached")


class TestAFullQueue:
    def test_is_told_once_with_other_names_too_and_its_end(self, world: World) -> None:
        world.document["queue"] = {"max_size": 1}
        (said,) = told(world, "enqueue-secondary")
        assert "2 assets found no room: GBPUSD, USDJPY (hint: raise queue.max_size" in said
        world.document["secondary_assets"] = often(SECONDARY[:2])
        assert told(world, "enqueue-secondary") == []
        said_by_status = start(world, "status").stdout
        assert "1 asset found no room" in " ".join(said_by_status.split())
        world.document["queue"] = {"max_size": 100}
        over(told(world, "enqueue-secondary"), "2 assets found no room")
        assert "found no room" not in start(world, "status").stdout


def test_a_start_that_hangs_where_no_exception_reaches_it_is_remembered(tmp_path: Path) -> None:
    """The thread that ends it saves what it has said: or each start would say it anew, and none its end."""
    place = tmp_path / "said.json"
    log, said = logging.getLogger("assetbatch"), io.StringIO()
    for _ in range(2):
        notices = NoticeLog([place], 1_800_000_000_000)
        handler = logging.StreamHandler(said)
        handler.addFilter(notices)
        log.addHandler(handler)
        try:
            assert run._last_words(DeadlineExceededError("the command did not end within 60 s"), notices) == 3
        finally:
            log.removeHandler(handler)
    assert said.getvalue() == "the command did not end within 60 s\n"
    assert NoticeLog([place], 1_800_000_060_000).resolved({"start"})


def test_a_plan_that_lacks_something_is_not_over_at_the_next_start(make_world: MakeWorld) -> None:
    world = make_world(plan="basic", tier="starter")
    assert "your plan has no" in start(world, "run-priority").stderr
    assert all("over" not in start(world, "run-priority").stderr for _ in range(2))


def test_a_dry_run_neither_reads_nor_changes_what_was_told(world: World) -> None:
    down = {"REDIS_URL": NOWHERE}

    def lines(*arguments: str, **env: str) -> int:
        return len(start(world, "run-priority", *arguments, **env).stderr.splitlines())

    assert [lines("--dry-run", **down), lines("--dry-run", **down)] == [1, 1]
    assert [lines(**down), lines("--dry-run", **down), lines("--dry-run"), lines(**down)] == [1, 1, 0, 0]
