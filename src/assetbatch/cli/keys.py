"""The keys of a terminal, read one by one while a screen is shown."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from assetbatch.views.terminal.watch import Key

_SEQUENCES: dict[bytes, Key] = {
    **dict.fromkeys((b"\x1b[A", b"\x1bOA"), Key.UP),
    **dict.fromkeys((b"\x1b[B", b"\x1bOB"), Key.DOWN),
    b"\x1b[5~": Key.PAGE_UP,
    b"\x1b[6~": Key.PAGE_DOWN,
    **dict.fromkeys((b"\x1b[H", b"\x1bOH", b"\x1b[1~", b"\x1b[7~"), Key.HOME),
    **dict.fromkeys((b"\x1b[F", b"\x1bOF", b"\x1b[4~", b"\x1b[8~"), Key.END),
    **dict.fromkeys((b"\r", b"\n"), Key.ENTER),
    **dict.fromkeys((b"\x7f", b"\x08"), Key.BACKSPACE),
    **dict.fromkeys((b"\x03", b"\x04"), Key.QUIT),
}
"""What terminals send. The longest that fits counts."""

_LONGEST = max(map(len, _SEQUENCES))


def keys_of(data: bytes) -> Iterator[Key | str]:
    """Yield the keys of what a terminal has sent at once; unknown sequences are left out."""
    at = 0
    while at < len(data):
        for length in range(_LONGEST, 0, -1):
            if key := _SEQUENCES.get(data[at : at + length]):
                yield key
                at += length
                break
        else:
            if data[at : at + 1] != b"\x1b":
                text, at = _character(data, at)
                if text.isprintable():
                    yield text
            elif data[at + 1 : at + 2] in (b"[", b"O"):
                at = _end_of_sequence(data, at)
            else:
                yield Key.ESCAPE
                at += 1


def _character(data: bytes, at: int) -> tuple[str, int]:
    """Return the UTF-8 character at a place, and the place behind it."""
    for length in range(1, 5):
        with suppress(UnicodeDecodeError):
            return data[at : at + length].decode(), at + length
    return "\0", at + 1


def _end_of_sequence(data: bytes, at: int) -> int:
    at += 2
    while at < len(data) and not 0x40 <= data[at] <= 0x7E:
        at += 1
    return at + 1


class Keyboard:
    """The terminal of stdin in a mode in which each key comes at once and is not echoed.

    Nothing is read where stdin is no terminal, or belongs to another job. The end restores the mode.
    """

    def __init__(self) -> None:
        self.file: int | None = None
        """The file to wait for; None without keys."""
        self._before: list[Any] = []

    def __enter__(self) -> Keyboard:
        with suppress(OSError, ValueError, AttributeError, termios.error):
            file = sys.stdin.fileno()
            if os.isatty(file) and os.tcgetpgrp(file) == os.getpgrp():
                self._before = termios.tcgetattr(file)
                tty.setcbreak(file, termios.TCSANOW)
                self.file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            with suppress(OSError, termios.error):  # the terminal is gone
                termios.tcsetattr(self.file, termios.TCSANOW, self._before)
            self.file = None

    def read(self) -> list[Key | str]:
        """Return the keys that have come. A terminal that is gone quits."""
        if self.file is None:
            return []
        try:
            data = os.read(self.file, 4096)
        except OSError:
            data = b""
        return list(keys_of(data)) if data else [Key.QUIT]
