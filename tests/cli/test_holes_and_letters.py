"""`holes`, `backfill` and `dead` as people start them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from assetbatch.domain.queueing import Failure, Lane
from assetbatch.state.queue import Lease
from tests.cli.test_commands import run
from tests.commands.conftest import MakeWorld
from tests.world import RealClock, SetClock, World


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


def bury(world: World, *letters: tuple[str, Lane]) -> None:
    """These items fail for good."""
    with world.services() as services:
        services.queue.enqueue(letters)
        lease = services.queue.take(len(letters), 60)
        assert isinstance(lease, Lease)
        services.queue.start(lease.token, [item.id for item in lease.items], 60)
        failures = [Failure(item.id, f"HTTP 503 for {item.id}", final=True) for item in lease.items]
        services.queue.fail(lease.token, failures)


class TestBackfill:
    def test_queues_the_pages_and_says_when_they_will_be_there(self, make_world: MakeWorld) -> None:
        world = make_world(limit=5)
        done = run(world, "backfill", "BTCUSD", "--from", days_ago(200))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert re.fullmatch(r"BTCUSD: 0\.0 % is there; 6 calls for what is missing \(.* to .*\)", lines[0])
        assert lines[1] == "6 pages queued; run-queue fetches them"
        assert re.fullmatch(r"6 calls ahead in all, about .* at 4\.4 a minute, done at .* UTC", lines[2])

    def test_a_dry_run_queues_nothing(self, free: World) -> None:
        done = run(free, "backfill", "BTCUSD", "--from", days_ago(200), "--dry-run", "--json")
        document = json.loads(done.stdout)
        assert (document["symbols"][0]["calls"], document["queued"]) == (6, 0)
        with free.services() as services:
            assert services.queue.state().size == 0
        assert json.loads(run(free, "holes", "BTCUSD", "--json").stdout)[0]["from"] is None

    @pytest.mark.usefixtures("years_of_bars")
    def test_again_shows_the_progress(self, free: World) -> None:
        free.know_that_today_is_refused()
        run(free, "backfill", "EURUSD", "--from", days_ago(60))
        assert run(free, "run-queue").returncode == 0
        done = run(free, "backfill", "EURUSD", "--from", days_ago(60))
        assert done.stdout.splitlines() == ["EURUSD: 100 % is there", "nothing is missing"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("NOSUCH", "--from", "2026-01-01"), "NOSUCH is no enabled asset that keeps bars"),
            (("EURUSD", "--from", "2099-01-01"), "--from 2099-01-01 is in the future"),
            (("EURUSD", "--from", "2026-03-01", "--to", "2026-02-01"), "--to 2026-02-01 is before"),
            (("EURUSD", "--from", "1969-12-31"), "--from is before 1970"),
        ],
    )
    def test_a_mistake_is_told_and_queues_nothing(
        self, free: World, arguments: tuple[str, ...], words: str
    ) -> None:
        done = run(free, "backfill", *arguments)
        assert done.returncode == 2
        assert words in done.stderr
        with free.services() as services:
            assert services.queue.state().size == 0


class TestHoles:
    @pytest.mark.usefixtures("years_of_bars")
    def test_are_listed_with_their_reasons(self, free: World) -> None:
        free.know_that_today_is_refused()
        run(free, "backfill", "BTCUSD", "--from", days_ago(60), "--to", days_ago(50))
        before = run(free, "holes", "BTCUSD").stdout
        assert "not asked for yet" in before
        run(free, "run-queue")
        run(free, "run-priority")
        (found,) = json.loads(run(free, "holes", "BTCUSD", "--json").stdout)
        assert {hole["reason"] for hole in found["holes"]} <= {"not_published", "not_asked"}
        assert found["holes"][-1]["reason"] == "not_published"
        assert found["missing_bars"] == sum(hole["bars"] for hole in found["holes"])

    def test_of_a_symbol_never_asked_for_are_unknown(self, free: World) -> None:
        assert run(free, "gaps", "EURUSD").stdout == run(free, "holes", "EURUSD").stdout
        assert run(free, "holes", "EURUSD").stdout == "EURUSD: no bars were asked for yet\n"

    def test_closed_times_are_listed_when_asked_for(self, free: World) -> None:
        run(free, "run-priority")
        (found,) = json.loads(run(free, "holes", "XAUUSD", "--closed", "--json").stdout)
        closed = [hole for hole in found["holes"] if hole["reason"] == "closed"]
        assert closed
        assert {hole["bars"] for hole in closed} == {0}


class TestDeadLetters:
    def test_are_listed_with_their_last_error(self, free: World) -> None:
        bury(free, ("ETHUSD", Lane.HIGH), ("history:BTCUSD:2026-01-01:2026-02-03", Lane.HISTORY))
        lines = sorted(run(free, "dead", "list").stdout.splitlines())
        assert re.fullmatch(
            r"history of BTCUSD, 2026-01-01 to 2026-02-03 \(HISTORY\): dead since .* after 1 attempt: "
            r"HTTP 503 for history:BTCUSD:2026-01-01:2026-02-03",
            lines[0],
        )
        assert lines[1].startswith("price of ETHUSD (HIGH): dead since")
        (letter,) = json.loads(run(free, "dead", "list", "BTCUSD", "--json").stdout)
        assert (letter["kind"], letter["first_day"], letter["line"]) == ("history", "2026-01-01", "HISTORY")

    def test_are_none_at_first(self, free: World) -> None:
        assert run(free, "dead", "list").stdout == "no dead letters\n"
        assert run(free, "dead", "list", "--json").stdout == "[]\n"

    def test_are_tried_again_by_symbol_or_all(self, free: World) -> None:
        bury(free, ("ETHUSD", Lane.HIGH), ("bars:ETHUSD", Lane.BARS), ("GBPUSD", Lane.MEDIUM))
        done = run(free, "dead", "retry", "ETHUSD")
        assert (done.returncode, done.stdout) == (0, "2 dead letters back in the queue\n")
        with free.services() as services:
            assert services.queue.peek(5) == ["ETHUSD", "bars:ETHUSD"]
            assert [letter.id for letter in services.queue.dead_letters()] == ["GBPUSD"]
        assert json.loads(run(free, "dead", "retry", "--all", "--json").stdout)["retried"] == ["GBPUSD"]

    def test_are_dropped(self, free: World) -> None:
        bury(free, ("ETHUSD", Lane.HIGH), ("GBPUSD", Lane.MEDIUM))
        assert run(free, "dead", "drop", "GBPUSD").stdout == "1 dead letter dropped\n"
        assert run(free, "dead", "drop", "--all").stdout == "1 dead letter dropped\n"
        with free.services() as services:
            assert services.queue.state().dead == 0

    def test_without_room_stay_and_are_told(self, make_world: MakeWorld) -> None:
        world = make_world(document={"queue": {"max_size": 1}})
        bury(world, ("ETHUSD", Lane.HIGH))
        with world.services() as services:
            services.queue.enqueue([("GBPUSD", Lane.HIGH)])
        done = run(world, "dead", "retry", "--all")
        assert done.returncode == 1
        assert done.stdout == "0 dead letters back in the queue, 1 without room in the queue\n"
        with world.services() as services:
            assert services.queue.state().dead == 1

    @pytest.mark.parametrize("command", ["retry", "drop"])
    def test_one_must_say_which(self, free: World, command: str) -> None:
        for arguments in ((), ("ETHUSD", "--all")):
            done = run(free, "dead", command, *arguments)
            assert done.returncode == 2
            assert "say which dead letters" in done.stderr
