"""The dead letters on a terminal, and by names that only some of them or none answers to."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from assetbatch.domain.queueing import Lane
from tests.cli.test_commands import run
from tests.cli.test_holes_and_letters import bury
from tests.program import BARE
from tests.world import World

PAGE = "history:BTCUSD:2026-01-01:2026-02-03"


def on_a_terminal(world: World, *arguments: str) -> str:
    """What a terminal of 160 columns shows, without its colours."""
    world.config()
    ours, theirs = pty.openpty()
    env = {**BARE, "COLUMNS": "160", "TERM": "xterm", "POLYGON_API_KEY": "made-up"}
    command = [sys.executable, "-m", "assetbatch", *arguments]
    with subprocess.Popen(
        command, cwd=world.folder, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                some = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not some:
                break
            shown += some
        os.close(ours)
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


class TestOnATerminal:
    def test_they_are_a_table_with_the_work_in_words(self, free: World) -> None:
        bury(free, ("ETHUSD", Lane.HIGH), ("bars:ETHUSD", Lane.BARS), (PAGE, Lane.HISTORY))
        head, *rows = on_a_terminal(free, "dead", "list").splitlines()
        assert re.split(r"\s{2,}", head.strip()) == ["work", "line", "attempts", "died", "last error"]
        cells = sorted(re.split(r"\s{2,}", row.strip()) for row in rows)
        assert [(row[0], row[1], row[2], row[4]) for row in cells] == [
            ("bars of ETHUSD", "BARS", "1", "HTTP 503 for bars:ETHUSD"),
            ("history of BTCUSD, 2026-01-01 to 2026-02-03", "HISTORY", "1", f"HTTP 503 for {PAGE}"),
            ("price of ETHUSD", "HIGH", "1", "HTTP 503 for ETHUSD"),
        ]
        assert all(re.fullmatch(r"\d+ s ago", row[3]) for row in cells)


class TestNames:
    def test_a_symbol_is_all_its_letters_and_an_id_is_itself(self, free: World) -> None:
        bury(free, ("BTCUSD", Lane.HIGH), ("bars:BTCUSD", Lane.BARS), (PAGE, Lane.HISTORY))
        assert run(free, "dead", "drop", PAGE).stdout == "1 dead letter dropped\n"
        assert run(free, "dead", "drop", "BTCUSD").stdout == "2 dead letters dropped\n"

    @pytest.mark.parametrize(("command", "code"), [("list", 0), ("retry", 1), ("drop", 1)])
    def test_without_a_letter_are_named(self, free: World, command: str, code: int) -> None:
        bury(free, ("ETHUSD", Lane.HIGH))
        done = run(free, "dead", command, "XAUUSD", "BTC")
        assert (done.returncode, done.stdout) == (code, "no dead letters of XAUUSD, BTC\n")
        with free.services() as services:
            assert services.queue.state().dead == 1

    @pytest.mark.parametrize("command", ["retry", "drop"])
    def test_all_of_none_is_none(self, free: World, command: str) -> None:
        done = run(free, "dead", command, "--all")
        assert (done.returncode, done.stdout) == (0, "no dead letters\n")
