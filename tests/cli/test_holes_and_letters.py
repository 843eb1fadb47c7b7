"""`holes`, `backfill` and `dead` as people start them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from assetbatch.domain.queueing import Failure, Lane
from assetbatch.state.queue import Lease
from tests.cli.test_commands import run
from tests.commands.conftest import MakeWorld
from tests.program import BARE
from tests.world import KEY, World


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

    def test_an_asset_that_keeps_no_bars_is_not_called_unknown(self, free: World) -> None:
        first, *others = free.document["priority_assets"]
        free.document["priority_assets"] = [{**first, "bars": "none"}, *others]
        symbol = first["symbol"]
        for command in (("verify",), ("holes",), ("backfill", "--from", "2026-01-01")):
            done = run(free, *command, symbol)
            assert done.returncode == 2
            assert f"{symbol} keeps no bars (hint: bars: 5m in its entry" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("NOSUCH", "--from", "2026-01-01"), "NOSUCH is no enabled asset that keeps bars"),
            (("NOSUCH", "OTHER", "--from", "2026-01-01"), "OTHER is no enabled asset that keeps bars"),
            ((), "(one of them), and --from with the first day, such as 2024-11-01"),
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


class TestBackfillOfMany:
    def test_takes_all_assets_or_those_of_a_class(self, free: World) -> None:
        for arguments, count in ((("--all",), 6), (("--class", "critical"), 3), (("--class", "LOW"), 1)):
            done = run(free, "backfill", *arguments, "--from", days_ago(60), "--dry-run", "--json")
            assert len(json.loads(done.stdout)["symbols"]) == count, done.stderr

    def test_wants_one_way_to_say_which(self, free: World) -> None:
        for arguments in ((), ("EURUSD", "--all"), ("--all", "--class", "LOW")):
            done = run(free, "backfill", *arguments, "--from", days_ago(60))
            assert done.returncode == 2
            assert "say which assets" in done.stderr
        assert "--from is missing" in run(free, "backfill", "--all").stderr

    def test_says_what_the_plan_does_not_show_before_it_counts(self, free: World) -> None:
        first, second, *_ = run(
            free, "backfill", "BTCUSD", "--from", "2020-01-01", "--dry-run"
        ).stdout.splitlines()
        assert re.fullmatch(
            r"before .* UTC is older than your plan is expected to show: one call for each asset class finds "
            r"out, and nothing of it is counted here",
            first,
        )
        assert re.match(r"BTCUSD: 0\.0 % is there; 2[23] calls for what is missing", second)


class TestTakingABackfillBack:
    def test_says_what_is_not_asked_for_any_more(self, free: World) -> None:
        run(free, "backfill", "BTCUSD", "--from", days_ago(200))
        *would, last = run(free, "backfill", "BTCUSD", "--cancel", "--dry-run").stdout.splitlines()
        assert re.fullmatch(r"BTCUSD: 5 calls would be taken back \(.* to .*\)", would[0])
        assert last == "nothing was taken back (--dry-run)"
        of_symbol, of_queue = run(free, "backfill", "BTCUSD", "--cancel").stdout.splitlines()
        assert re.fullmatch(r"BTCUSD: 5 calls taken back \(.* to .*\)", of_symbol)
        assert of_queue == "6 pages taken out of the queue; backfill --from asks for them again"
        assert "its backfill was taken back" in run(free, "holes", "BTCUSD").stdout

    def test_of_none_says_so(self, free: World) -> None:
        done = run(free, "backfill", "--all", "--cancel")
        assert (done.returncode, done.stdout) == (0, "nothing is missing that could be taken back\n")
        assert json.loads(run(free, "backfill", "--all", "--cancel", "--json").stdout)["cancelled"] == []

    def test_takes_no_days(self, free: World) -> None:
        done = run(free, "backfill", "--all", "--cancel", "--from", days_ago(9))
        assert done.returncode == 2
        assert "--cancel takes back all that is missing" in done.stderr


class TestTheQuestion:
    """A person on a terminal is asked above a hundred calls."""

    def answered(self, world: World, answer: str, *arguments: str) -> tuple[int, str]:
        """Exit code of a backfill, and what a terminal shows of it, where somebody types an answer."""
        world.config()
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "assetbatch", "backfill", *arguments],
            cwd=world.folder,
            env={**BARE, "POLYGON_API_KEY": KEY, "COLUMNS": "160"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(ours, answer.encode())
        shown, _ = process.communicate(timeout=60)
        os.close(ours)
        return process.returncode, shown.decode()

    def queued(self, world: World) -> int:
        with world.services() as services:
            return services.queue.state().size

    def test_answered_with_no_queues_nothing(self, free: World) -> None:
        code, shown = self.answered(free, "n\n", "--all", "--from", days_ago(700))
        assert code == 1
        assert shown.endswith("nothing was queued\n")
        assert self.queued(free) == 0

    def test_answered_with_yes_queues(self, free: World) -> None:
        code, shown = self.answered(free, "y\n", "--all", "--from", days_ago(700))
        assert code == 0
        assert shown.count("XAUUSD: 0.0 % is there") == 1
        assert self.queued(free) > 100

    @pytest.mark.parametrize(
        "arguments", [("--all", "--from", "2026-01-01"), ("--all", "--from", "2025-01-01", "--yes")]
    )
    def test_is_not_asked_below_that_or_with_yes(self, free: World, arguments: tuple[str, ...]) -> None:
        assert self.answered(free, "n\n", *arguments)[0] == 0
        assert self.queued(free) > 0

    def test_is_not_asked_again_for_what_was_queued(self, free: World) -> None:
        self.answered(free, "", "--all", "--from", days_ago(700), "--yes")
        code, shown = self.answered(free, "n\n", "--all", "--from", days_ago(700))
        assert code == 0
        assert "no new page to queue, " in shown


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


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_day_that_cannot_be_read_is_told_how_to_be_written(free: World, option: str) -> None:
    done = run(free, "backfill", "BTCUSD", "--from", "2026-06-01", option, "1.6.2026")
    assert done.returncode == 2
    assert "'1.6.2026' is no day, expected YYYY-MM-DD" in " ".join(done.stderr.split())
