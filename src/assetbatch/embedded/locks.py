"""Locks on files (flock), waited for with a deadline.

A lock belongs to the open file. Whoever inherits the descriptor shares it, and it ends with the last copy,
however its holders end. So closing a descriptor never takes the lock from a parent or a child. Unlocking
would.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.01


def pauses() -> Iterator[float]:
    """Yield the pauses between two looks in seconds: short at first, then about 10 ms."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def open_lock_file(path: Path) -> int:
    """Open the lock file, made if missing. Other programs do not inherit the descriptor unless asked for."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_exclusive(descriptor: int) -> bool:
    """Take the lock alone if nobody else has it; return whether we have it now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_exclusive(descriptor: int, deadline: float) -> bool:
    """Take the lock alone, trying until `deadline` (of `time.monotonic`); return whether we have it."""
    for pause in pauses():
        if try_exclusive(descriptor):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    raise AssertionError("unreachable")


def take_shared(descriptor: int) -> None:
    """Share the lock. Use it only for locks that nobody holds alone for longer than a moment."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


@contextmanager
def gate(path: Path, deadline: float) -> Iterator[None]:
    """Hold the lock file alone for the block; raise TimeoutError if others have it until `deadline`."""
    descriptor = open_lock_file(path)
    owner = os.getpid()
    try:
        if not wait_exclusive(descriptor, deadline):
            raise TimeoutError(f"another process has been starting or stopping it for long ({path})")
        yield
    finally:
        # A child forked by another thread meanwhile has a copy of the descriptor, which would keep the gate
        # shut after us: unlock, but never from within such a child.
        if os.getpid() == owner:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
