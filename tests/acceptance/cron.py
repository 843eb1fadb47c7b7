"""The lines of crontab.example, started by a clock of ours, and the mail that they make."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests import program
from tests.conftest import REPOSITORY
from tests.failures.start import environment
from tests.world import World

TICK_SECONDS = 1.2
"""Minimum time between two ticks: an asset of a frequency of a second is due again."""


class Line(NamedTuple):
    """What one line of a crontab starts: the arguments after the program."""

    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        return next(word for word in self.arguments if re.fullmatch(r"run-\w+|enqueue-\w+", word))


def lines_of(log: str) -> list[Line]:
    """The lines of crontab.example, with this log."""
    text = (REPOSITORY / "crontab.example").read_text(encoding="utf-8")
    found = re.findall(r'^[*/\d,]+(?:\s+\S+){4}\s+"\$AB" (.+)$', text, re.MULTILINE)
    return [Line(tuple(log if word == '"$LOG"' else word for word in line.split())) for line in found]


class Mail(NamedTuple):
    """What one start has printed, without times: cron would mail it."""

    command: str
    lines: tuple[str, ...]
    code: int


class Clock:
    """Starts all lines of the crontab at each tick, as cron does in a minute in which all are due."""

    def __init__(self, world: World, lines: list[Line]) -> None:
        self._world = world
        self._lines = lines
        self._next = 0.0
        self.stopped: set[str] = set()
        """Commands whose line is out of the crontab for a while."""
        self.mails: list[Mail] = []

    def tick(self) -> list[Mail]:
        """Start what is due, wait until it has ended, and return the mail."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + TICK_SECONDS
        lines = [line for line in self._lines if line.command not in self.stopped]
        with ThreadPoolExecutor(len(lines)) as pool:
            mails = [mail for mail in pool.map(self._start, lines) if mail.lines]
        self.mails += mails
        return mails

    def _start(self, line: Line) -> Mail:
        folder, env = self._world.folder, environment(self._world)
        done = program.start(*line.arguments, cwd=folder, env=env)
        printed = [text for text in (done.stdout + done.stderr).splitlines() if text]
        return Mail(line.command, tuple(map(without_time, printed)), done.returncode)


def without_time(line: str) -> str:
    """A line of the log without its moment and its command."""
    return re.sub(r"^\S+ ([A-Z]+) [\w-]+: ", r"\1 ", line)
