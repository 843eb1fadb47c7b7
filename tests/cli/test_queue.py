"""`queue list` and `queue cancel` as people start them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import assetbatch
from assetbatch.domain.queueing import Failure, Lane
from assetbatch.state.queue import Lease
from tests.cli.test_commands import run
from tests.cli.test_dead import on_a_terminal
from tests.world import World

SRC = Path(assetbatch.__file__).parent.parent
PAGE = "history:BTCUSD:2026-01-01:2026-02-03"


@pytest.fixture
def busy(free: World) -> World:
    """A queue with something that is worked, that waits, and that is tried again later."""
    with free.services() as services:
        services.queue.enqueue([("ETHUSD", Lane.HIGH), ("GBPUSD", Lane.MEDIUM), (PAGE, Lane.HISTORY)])
        first = services.queue.take(1, 60)
        assert isinstance(first, Lease)
        services.queue.start(first.token, ["ETHUSD"], 60)
        services.queue.fail(first.token, [Failure("ETHUSD", "HTTP 503")])
        services.queue.take(1, 60)
    return free


class TestList:
    def test_has_a_line_for_each_item(self, busy: World) -> None:
        lines = run(busy, "queue", "list").stdout.splitlines()
        patterns = [
            r"price of GBPUSD \(MEDIUM\): leased for \d+ s, 0 of 3 attempts, turn now: "
            r"being worked; its lease ends in \d+ s",
            r"history of BTCUSD, 2026-01-01 to 2026-02-03 \(HISTORY\): waiting for \d+ s, 0 of 3 attempts, "
            r"turn .*: not asked for yet",
            r"price of ETHUSD \(HIGH\): tried again in .*; last failure \d+ s ago: HTTP 503; "
            r"1 of 3 attempts used",
        ]
        assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines, strict=True)), lines

    def test_has_a_document_for_programs(self, busy: World) -> None:
        leased, waiting, delayed = json.loads(run(busy, "queue", "list", "--json").stdout)
        assert (leased["id"], leased["state"], leased["place"]) == ("GBPUSD", "leased", None)
        assert leased["lease_ends"] is not None
        assert (waiting["kind"], waiting["first_day"], waiting["place"]) == ("history", "2026-01-01", 1)
        assert (delayed["attempts"], delayed["error"]) == (1, "HTTP 503")
        assert delayed["turn"] is not None
        assert leased.keys() == waiting.keys() == delayed.keys()

    @pytest.mark.parametrize(
        ("arguments", "ids"),
        [
            (("--class", "history"), [PAGE]),
            (("--class", "HIGH", "--class", "MEDIUM"), ["GBPUSD", "ETHUSD"]),
            (("--symbol", "BTCUSD"), [PAGE]),
            (("--symbol", "BTCUSD", "--class", "HIGH"), []),
        ],
    )
    def test_shows_only_what_is_asked_for(
        self, busy: World, arguments: tuple[str, ...], ids: list[str]
    ) -> None:
        found = json.loads(run(busy, "queue", "list", "--json", *arguments).stdout)
        assert [item["id"] for item in found] == ids

    def test_of_nothing_says_so(self, free: World) -> None:
        assert (
            run(free, "queue", "list").stdout
            == f"nothing in the queue (configured by {free.config().file})\n"
        )
        assert (
            run(free, "queue", "list", "--symbol", "X").stdout
            == "nothing of X in the queue\nX is not configured\n"
        )
        assert run(free, "queue", "list", "--json").stdout == "[]\n"

    @pytest.mark.parametrize(
        "command", [("queue", "list"), ("queue", "cancel", "--all"), ("dead", "list"), ("status",)]
    )
    def test_of_servers_that_were_never_started_starts_none(
        self, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        file = tmp_path / "config.yml"
        file.write_text("redis: {url: embedded}\ndatabase: {url: embedded}\n")
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(SRC)}
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", *command],
            cwd=tmp_path,
            env=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.split(" (")[0].rstrip()) in [
            (0, "nothing in the queue"),
            (0, "no dead letters"),
            (2, ""),  # no API key
        ]
        assert [one.name for one in tmp_path.iterdir()] == ["config.yml"]

    def test_shows_the_first_items_of_many_and_all_if_asked(self, free: World) -> None:
        with free.services() as services:
            services.queue.enqueue([(f"S{number:03}", Lane.LOW) for number in range(60)])
        lines = run(free, "queue", "list").stdout.splitlines()
        assert len(lines) == 51
        assert lines[-1] == "and 10 more items; --all shows them"
        assert len(run(free, "queue", "list", "--all").stdout.splitlines()) == 60

    def test_is_a_table_on_a_terminal(self, busy: World) -> None:
        head, *rows = on_a_terminal(busy, "queue", "list").splitlines()
        heads = ["work", "line", "state", "tries", "age", "turn", "reason"]
        assert re.split(r"\s{2,}", head.strip()) == heads
        assert re.match(r" *1  history of BTCUSD, 2026-01-01 to 2026-02-03 +HISTORY +waiting", rows[1])


class TestCancel:
    def test_takes_out_what_waits_and_says_when_it_comes_back(self, busy: World) -> None:
        done = run(busy, "queue", "cancel", "ETHUSD", "BTCUSD")
        assert done.returncode == 0
        assert done.stdout == (
            "2 items taken out of the queue; enqueue-secondary queues what is due again, also the 1 page of "
            "the past: assetbatch backfill BTCUSD --cancel takes them back for good\n"
        )

    def test_names_what_is_worked_and_stays(self, busy: World) -> None:
        done = run(busy, "queue", "cancel", "--all")
        assert done.returncode == 1
        assert "2 items taken out of the queue, 1 being worked now and left alone" in done.stdout
        document = json.loads(run(busy, "queue", "cancel", "GBPUSD", "--json").stdout)
        assert document == {"cancelled": [], "leased": ["GBPUSD"], "unknown": []}

    def test_of_a_name_that_is_not_there_fails(self, busy: World) -> None:
        done = run(busy, "queue", "cancel", "NOSUCH")
        assert (done.returncode, done.stdout) == (
            1,
            "nothing of NOSUCH in the queue\nNOSUCH is not configured\n",
        )

    def test_says_which_symbol_may_be_meant(self, busy: World) -> None:
        done = run(busy, "queue", "cancel", "ethusd")
        assert done.stdout.splitlines()[1:] == ["ethusd is not configured: did you mean ETHUSD?"]
        done = run(busy, "queue", "cancel", "ETHUSD", "NOSUCH")
        assert done.stdout.splitlines()[1:] == ["NOSUCH is not configured"]

    def test_one_must_say_what(self, busy: World) -> None:
        for arguments in ((), ("ETHUSD", "--all")):
            done = run(busy, "queue", "cancel", *arguments)
            assert done.returncode == 2
            assert "say which work" in done.stderr
