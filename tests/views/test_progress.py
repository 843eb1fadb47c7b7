"""What a person sees who waits for a cycle: on a terminal only."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from tests.commands.conftest import MakeWorld, free, make_world, template
from tests.program import BARE
from tests.world import KEY, RealClock, SetClock, World

__all__ = ["free", "make_world", "template"]


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


def on_terminal(world: World, *arguments: str) -> str:
    """All that a command shows on a terminal of 100 columns, without the codes that move and colour."""
    world.config()
    master, slave = pty.openpty()
    env = {**BARE, "HOME": str(world.folder), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "assetbatch", *arguments],
        cwd=world.folder,
        env={**env, "POLYGON_API_KEY": KEY},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([master], [], [], 0.2)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
    assert process.wait(10) == 0
    os.close(master)
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode()


def test_a_queue_is_worked_with_a_bar_and_the_call_that_is_made(free: World) -> None:
    free.run_priority()
    free.enqueue_secondary()
    free.provider.order("drip-headers=0.003", times=None)
    shown = on_terminal(free, "run-queue")
    assert "0 of 3" in shown
    assert "2 of 3" in shown
    assert "bars of C:GBPUSD" in shown


def test_nothing_of_it_is_left_behind_but_the_table(free: World) -> None:
    shown = on_terminal(free, "run-priority")
    last = shown.rsplit("starting …", 1)[-1]
    assert "XAUUSD" in last
    assert "3 calls, 3 prices published" in shown


def test_lines_of_the_log_stand_above_the_live_line(free: World) -> None:
    shown = on_terminal(free, "-v", "run-priority")
    lines = [line.strip() for line in re.split(r"[\r\n]+", shown)]
    assert sum(line.startswith("5-minute bars of C:XAUUSD") and "ok (" in line for line in lines) >= 1


def test_a_queue_with_work_left_says_when_to_start_again(make_world: MakeWorld) -> None:
    world = make_world(limit=1)
    world.know_that_today_is_refused()
    world.enqueue_secondary()
    shown = on_terminal(world, "run-queue", "--max-seconds", "20")
    assert re.search(r"2 items left: start run-queue again in \d\d s \(cron starts it every minute\)", shown)
