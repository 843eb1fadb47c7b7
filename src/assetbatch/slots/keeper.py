"""Runs one command, and ends it with all that it has started when its time is over or its starter is gone.

A process of its own, so that the command does not outlive its slot of the window, whatever becomes of the
starter. `python -I -S keeper.py SOCKET UNTIL COMMAND…` loads nothing of assetbatch. UNTIL is a moment of
`monotonic()`. A line a message on the socket: the starter writes `until MOMENT` and `signal NUMBER`, the
keeper `started PID`, then `ended EXITCODE HOW`, or `failed ERRNO`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

KILL_AFTER_SECONDS = 2.0
"""Maximum time that a command may still run after it was asked to end."""

BY_ITSELF, TIMED_OUT = "itself", "timed-out"
"""How a command ended: by itself, or because its time was over."""

_LEFT_SECONDS = 1.0
"""Maximum time for ending what a command has left behind."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PROC = Path("/proc")


def _boot_seconds() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Keeper:
    """Runs one command and ends it in time."""

    def __init__(self, control: socket.socket, until: float) -> None:
        self._control = control
        self._until = until
        self._received = b""
        self._asked = False
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        self._prctl = _prctl()  # loaded before the fork

    def run(self, command: list[str]) -> None:
        """Run the command, and report how it ended."""
        signal.signal(signal.SIGCHLD, _noticed)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # what is ignored stays so in the command
                signal.signal(number, _noticed)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        adopt_orphans()
        try:
            child = subprocess.Popen(command, process_group=0, preexec_fn=self._end_with_keeper)
        except (OSError, subprocess.SubprocessError) as error:
            self._say(f"failed {getattr(error, 'errno', 0) or 0}")
            return
        self._say(f"started {child.pid}")
        how = self._wait(child)
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()
        end_children()
        self._say(f"ended {child.returncode} {how}")

    def _wait(self, child: subprocess.Popen[bytes]) -> str:
        """Return how the command has ended, or why it is to be killed now."""
        while child.poll() is None:
            now = _boot_seconds()
            if now >= self._until + KILL_AFTER_SECONDS:
                return TIMED_OUT
            if now >= self._until and not self._asked:
                self._asked = True
                _signal_group(child.pid, signal.SIGTERM)
                _signal_group(child.pid, signal.SIGCONT)
            left = self._until + (KILL_AFTER_SECONDS if self._asked else 0) - now
            # Not longer than a second: the clock of the wait stands still while the machine sleeps.
            ready, _, _ = select.select([self._control, self._woken], [], [], min(left, 1.0))
            if self._woken in ready:
                self._woken.recv(4096)
            if self._control in ready and not self._obey(child):
                break
        return TIMED_OUT if self._asked else BY_ITSELF

    def _obey(self, child: subprocess.Popen[bytes]) -> bool:
        """Read what the starter says; return False where it is gone."""
        try:
            data = self._control.recv(4096)
        except ConnectionError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for word, value in (line.split() for line in lines):
            if word == b"signal":
                _signal_group(child.pid, int(value))
            elif not self._asked:
                self._until = float(value)
        return bool(data)

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the starter is gone
            self._control.sendall(text.encode() + b"\n")

    def _end_with_keeper(self) -> None:
        """Have the system kill the command when this process is killed; runs before the command begins."""
        if self._prctl is not None:
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Make what a descendant leaves behind a child of this process, where the system can."""
    if prctl := _prctl():
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """Return the children of this process; none where the system does not tell."""
    found = []
    for name in os.listdir(_PROC) if _PROC.is_dir() else ():
        if name.isdigit():
            with suppress(OSError):
                text = (_PROC / name / "stat").read_text(encoding="utf-8", errors="replace")
                if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def end_children(spared: Collection[int] = ()) -> None:
    """Kill the children of this process, and theirs as they become its own."""
    until = _boot_seconds() + _LEFT_SECONDS
    while _boot_seconds() < until:
        left = [pid for pid in children() if pid not in spared]
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError, PermissionError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


def _noticed(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal has ended the wait."""


def _prctl() -> Any:
    """Return the function of the C library; None where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes

    return ctypes.CDLL(None).prctl


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    Keeper(socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2])).run(sys.argv[3:])
