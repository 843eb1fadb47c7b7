"""`status --watch` on a real terminal: keys, signals, and the terminal afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from tests.program import BARE
from tests.world import KEY, World

from .test_commands import run

ALTERNATE, BACK = "\x1b[?1049h", "\x1b[?1049l"
SHOW_CURSOR = "\x1b[?25h"


class Terminal:
    """A terminal with `status --watch` in it."""

    def __init__(
        self,
        world: World,
        *,
        height: int = 40,
        width: int = 100,
        stdin: bool = True,
        launcher: tuple[str, ...] = (),
        **env: str,
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(height, width)
        self.mode = termios.tcgetattr(slave)
        self.slave = slave
        self.said = ""
        self.process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "assetbatch", "status", "--watch"],
            cwd=world.folder,
            env={**BARE, "HOME": str(world.folder), "POLYGON_API_KEY": KEY, "TERM": "xterm", **env},
            stdin=slave if stdin else subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self, seconds: float = 0.2) -> str:
        """What comes within a while."""
        came = ""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            came += data.decode(errors="replace")
        self.said += came
        return came

    def until(self, pattern: str, seconds: float = 30) -> str:
        """What comes until the pattern is there."""
        came, end = "", time.monotonic() + seconds
        while not re.search(pattern, came):
            assert time.monotonic() < end, came
            came += self.read(0.1)
        return came

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self) -> int:
        code = self.process.wait(15)
        self.read()
        return code

    @property
    def is_restored(self) -> bool:
        return (
            termios.tcgetattr(self.slave) == self.mode
            and self.said.rfind(BACK) > self.said.rfind(ALTERNATE)
            and self.said.rfind(SHOW_CURSOR) > self.said.rfind("\x1b[?25l")
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal(free: World) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []
    free.config()

    def start(**how: object) -> Terminal:
        opened.append(Terminal(free, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_shows_it_is_moved_by_keys_and_ends_with_q(free: World, terminal: Callable[..., Terminal]) -> None:
    run(free, "run-priority")
    shown = terminal()
    shown.until("XAUUSD")
    shown.press("/gbp\r")
    assert "XAUUSD" not in shown.until("find: gbp  ").rpartition("asset")[2]
    shown.press("q")
    assert shown.ended() == 0
    assert shown.is_restored


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(
    terminal: Callable[..., Terminal], number: signal.Signals, code: int
) -> None:
    shown = terminal()
    shown.until("XAUUSD")
    assert termios.tcgetattr(shown.slave) != shown.mode
    shown.process.send_signal(number)
    assert shown.ended() == code
    assert shown.is_restored


def test_ctrl_c_ends_it_and_the_terminal_is_as_it_was(terminal: Callable[..., Terminal]) -> None:
    shown = terminal()
    shown.until("XAUUSD")
    shown.press("\x03")
    assert shown.ended() == 130
    assert shown.is_restored


SHELL = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(sys.argv[1:], process_group=0)
os.tcsetpgrp(0, job.pid)
sys.exit(job.wait())
"""
"""What a shell does that starts a job in the foreground."""


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(launcher=(sys.executable, "-c", SHELL))
    shown.until("XAUUSD")
    job = os.tcgetpgrp(shown.master)
    shown.press("\x1a")
    until = time.monotonic() + 10
    while not subprocess.run(
        ["ps", "-o", "stat=", "-p", str(job)], capture_output=True, text=True, check=True
    ).stdout.startswith("T"):
        assert time.monotonic() < until
        time.sleep(0.05)
    shown.read()
    assert shown.is_restored
    os.kill(job, signal.SIGCONT)
    assert ALTERNATE in shown.until("XAUUSD")
    shown.press("q")
    assert shown.ended() == 0


def test_without_keys_from_a_terminal_it_is_shown_all_the_same(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(stdin=False)
    shown.until("XAUUSD")
    assert termios.tcgetattr(shown.slave) == shown.mode
    shown.process.send_signal(signal.SIGTERM)
    assert shown.ended() == 143


def test_follows_the_size_of_the_terminal(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(height=40)
    shown.until("USDJPY")
    shown.resize(9, 60)
    came = shown.until("more  ")
    assert "USDJPY" not in came.rpartition("asset")[2]


def test_keys_work_while_a_server_does_not_answer_and_the_error_is_shown(
    free: World, terminal: Callable[..., Terminal]
) -> None:
    shown = terminal(REDIS_URL="redis://127.0.0.1:1/0")
    shown.until("redis cannot be reached")
    shown.press("q")
    assert shown.ended() == 0
    assert shown.is_restored


def test_a_changed_configuration_is_shown(free: World, terminal: Callable[..., Terminal]) -> None:
    shown = terminal()
    shown.until("USDJPY")
    free.document["secondary_assets"] = free.document["secondary_assets"][:1]
    free.config()
    shown.press("r")
    while "USDJPY" in shown.until("ETHUSD").rpartition("asset")[2]:
        """The rest of a frame from before."""


def test_needs_a_terminal(free: World) -> None:
    done = run(free, "status", "--watch")
    assert done.returncode == 2
    assert "--watch needs a terminal" in done.stderr
