"""One start of the program as cron makes it, and what doctor says of the same trouble."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

from tests import program
from tests.program import BARE, PROGRAM
from tests.world import KEY, World

__all__ = ["PROGRAM"]

NOWHERE = "127.0.0.1:1"


def environment(world: World, **more: str) -> dict[str, str]:
    """As bare as cron's; what earlier starts have said is kept in the world's own folder."""
    return {**BARE, "HOME": str(world.folder), "POLYGON_API_KEY": KEY, **more}


def start(world: World, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    world.config()
    return program.start(*arguments, cwd=world.folder, env=environment(world, **env))


def fails(world: World, command: str, *, code: int, said: str = "", **env: str) -> str:
    """Run a command that must end with `code` and one line on stderr: what, where and what to do."""
    done = start(world, *command.split(), **env)
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines), done.stdout) == (code, 1, ""), done.stderr
    assert re.search(said, lines[0]), lines[0]
    assert "(hint: " in lines[0], lines[0]
    return lines[0]


def doctor(world: World, *, code: int, check: str, said: str, **env: str) -> None:
    """What doctor says of it: the finding, what to do about it, and the exit code."""
    done = start(world, "doctor", "--json", **env)
    assert done.stderr == ""
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    found = [f for f in findings if f["check"] == check and f["level"] != "ok"]
    matching = [f for f in found if re.search(said, f["message"])]
    assert matching, findings
    assert all(f["hint"] for f in matching)
    assert done.returncode == code, findings


def unharmed(world: World, *, waiting: int) -> None:
    """So many items wait, none is leased, and no more calls count than are allowed."""
    with world.services() as services:
        state = services.queue.state()
        window = services.window.state()
    assert (state.size, state.leased, state.dead) == (waiting, 0, 0)
    assert window.used <= window.limit


def works_again(world: World, **env: str) -> None:
    """After the repair the next starts do everything, and say that the trouble is over at most."""
    for command in ("run-priority", "enqueue-secondary", "run-queue"):
        done = start(world, command, **env)
        assert done.returncode == 0, done.stderr
        assert all(" NOTICE " in line for line in done.stderr.splitlines()), done.stderr
    assert world.sync("XAUUSD") is not None
    assert world.sync("ETHUSD") is not None


def is_root() -> bool:
    return os.geteuid() == 0
