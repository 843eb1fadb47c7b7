"""Runs the command of another program for as long as its slot of the window holds, and not longer."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NamedTuple

from assetbatch.deadline import monotonic
from assetbatch.slots import keeper
from assetbatch.slots.keeper import KILL_AFTER_SECONDS

RENEW_SECONDS = 3.0
"""Time between two renewals of the slot of a command that may run for long."""

_LATE_SECONDS = 0.5
"""Time after the last moment of a command at which it is killed from here: its keeper may stand still."""

_PATIENCE_SECONDS = 3.0
"""Maximum time after the last moment of a command for which its keeper is waited for."""

TIMED_OUT, CANNOT_RUN, NOT_FOUND, SIGNALLED = 124, 126, 127, 128
"""Exit codes, as `timeout` and a shell use them; a command that a signal has ended: 128 and its number."""

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Ended(NamedTuple):
    """How a command ended. `began`: it ran, so that its request may have gone out."""

    exit_code: int
    began: bool = True
    timed_out: bool = False


def run_guarded(
    command: Sequence[str],
    until: float,
    environment: Mapping[str, str],
    renew: Callable[[], float | None],
) -> Ended:
    """Run a command that is asked to end at `until` (`monotonic()`) and killed `KILL_AFTER_SECONDS` later.

    `renew` returns a later moment, or None where it cannot. What the command leaves behind is killed when it
    ends. Signals go to the command.
    """
    spared = keeper.children()  # servers of our own
    keeper.adopt_orphans()
    ours, theirs = socket.socketpair()
    with ours, _forwarding(ours):
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno()), repr(until), *command],
                env=environment,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        guard = _Guard(ours, process, spared, until, renew)
        try:
            return guard.wait()
        finally:
            guard.end()


class _Guard:
    def __init__(
        self,
        control: socket.socket,
        process: subprocess.Popen[bytes],
        spared: Collection[int],
        until: float,
        renew: Callable[[], float | None],
    ) -> None:
        self._control = control
        self._process = process
        self._spared = {process.pid, *spared}
        self._until = until
        self._renew = renew
        self._renew_at = monotonic() + RENEW_SECONDS
        self._group: int | None = None
        self._received = b""

    def wait(self) -> Ended:
        while (late := monotonic() - self._until - KILL_AFTER_SECONDS) < _PATIENCE_SECONDS:
            if late >= _LATE_SECONDS:
                self._kill()
            until_renewal = max(0.0, self._renew_at - monotonic())
            ready, _, _ = select.select([self._control], [], [], min(until_renewal, 0.5))
            if ready:
                data = self._receive()
                if not data:
                    break  # the keeper was killed
                if ended := self._read(data):
                    return ended
            elif monotonic() >= self._renew_at:
                self._renew_at = monotonic() + RENEW_SECONDS
                if (later := self._renew()) is not None:
                    self._until = later
                    _send(self._control, f"until {later!r}")
        return Ended(SIGNALLED + signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._kill()
        self._control.close()  # for the keeper, this process is gone
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        keeper.end_children(self._spared)  # of a keeper that was killed

    def _kill(self) -> None:
        if self._group is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)

    def _receive(self) -> bytes:
        try:
            return self._control.recv(4096)
        except ConnectionError:
            return b""

    def _read(self, data: bytes) -> Ended | None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            word, *values = line.decode().split()
            if word == "started":
                self._group = int(values[0])
            elif word == "failed":
                code = NOT_FOUND if int(values[0]) == errno.ENOENT else CANNOT_RUN
                return Ended(code, began=False)
            elif word == "ended":
                self._group = None
                return _ended(int(values[0]), values[1])
        return None


def _ended(code: int, how: str) -> Ended:
    if how == keeper.TIMED_OUT:
        return Ended(TIMED_OUT, timed_out=True)
    return Ended(SIGNALLED - code if code < 0 else code)


def _send(control: socket.socket, text: str) -> None:
    with suppress(OSError):  # the keeper is gone, which the next look shows
        control.sendall(text.encode() + b"\n")


@contextmanager
def _forwarding(control: socket.socket) -> Iterator[None]:
    def forward(number: int, _frame: FrameType | None) -> None:
        _send(control, f"signal {number}")

    before = {
        number: signal.signal(number, forward)
        for number in _FORWARDED
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
