"""The program on a terminal: what a person types and sees."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.program import BARE, PROGRAM


class Terminal:
    """One start of the program with a terminal of its own; a context manager that ends it."""

    def __init__(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], program: Sequence[str] = PROGRAM
    ) -> None:
        environment = {**BARE, "HOME": str(cwd), "TERM": "xterm", "COLUMNS": "200", **env}
        self._pid, self._file = pty.fork()
        if not self._pid:
            os.chdir(cwd)
            os.execvpe(program[0], [*program, *arguments], environment)
        self.shown = ""
        self._from = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._file)

    def see(self, text: str, seconds: float = 60) -> None:
        """Wait until the program has shown a text that was not seen before."""
        until = time.monotonic() + seconds
        while text not in self.shown[self._from :]:
            assert self._read(until), f"{text!r} was not shown:\n{self.shown}"
        self._from = self.shown.index(text, self._from) + len(text)

    def _read(self, until: float) -> bool:
        if not select.select([self._file], [], [], max(0, until - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._file, 65_536)
        except OSError:  # how Linux reports that the other side is closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._file, f"{text}\n".encode())

    def answer(self, *pairs: tuple[str, str]) -> None:
        """See each question and type its answer."""
        for question, text in pairs:
            self.see(question)
            self.type(text)

    def interrupt(self) -> int:
        """Press Ctrl-C until the program has ended, and return its exit code.

        A signal that comes between a prompt and its read is noticed with the next one only.
        """
        until = time.monotonic() + 60
        while time.monotonic() < until and not self._has_ended():
            os.write(self._file, b"\x03")
            self._read_for(3)
        return self.end()

    def _read_for(self, seconds: float) -> None:
        """Read what comes until the program ends; a second Ctrl-C on its way out would kill it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._has_ended():
            self._read(time.monotonic() + 0.05)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> int:
        """Read to the end and return the exit code."""
        until = time.monotonic() + 60
        while self._read(until):
            pass
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)
