"""The log of all starts in one file, which is appended to line by line and may be rotated at any time."""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from time import sleep

from assetbatch.secret import masked

MODE = 0o640
"""The mode of a file that is created, whatever the umask."""

# A pipe that nobody reads, or reads slowly, must not hold up a cycle.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_LINE_SECONDS = 0.02
"""For how long another process may be at its line, of which a part can be seen."""


class LogFile(logging.Handler):
    """Appends each record as one whole line, also beside other processes that append to the same file.

    A file that was renamed or removed is created anew before the next line. A file that cannot be written
    is a warning, once, and nothing else: the command goes on.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at the first line, or with `open`."""
        super().__init__()
        self._path = path
        self._descriptor: int | None = None
        self._begins_line = True
        self._has_failed = False

    def open(self) -> None:
        """Open or create the file now, so that what is wrong with it is said before anything else."""
        with self.lock:  # type: ignore[union-attr]  # every handler has one
            try:
                self._opened()
            except OSError as error:
                self._failed(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line."""
        try:
            self._append(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._close()

    def _append(self, line: bytes) -> None:
        descriptor = self._opened()
        if not self._begins_line:  # a full disk has cut a line off
            line = b"\n" + line
        written = os.write(descriptor, line)  # at once: the kernel puts no other line in between
        self._begins_line = written == len(line)
        if not self._begins_line:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _opened(self) -> int:
        """Return the descriptor of the file that has the name now; raise OSError."""
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self._close()
        if self._descriptor is None:
            self._descriptor = self._open()
            self._begins_line = self._ends_with_a_line()
            if not self._begins_line:  # cut off, or another process is at it
                sleep(_LINE_SECONDS)
                self._begins_line = self._ends_with_a_line()
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except OSError:
            return False

    def _open(self) -> int:
        with suppress(FileNotFoundError):
            return os.open(self._path, _FLAGS)
        with suppress(FileExistsError):  # another start was faster, or it is a link to nothing
            descriptor = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, MODE)
            os.fchmod(descriptor, MODE)
            return descriptor
        return os.open(self._path, _FLAGS | os.O_CREAT, MODE)

    def _ends_with_a_line(self) -> bool:
        try:
            status = os.stat(self._path)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return True
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) in (b"\n", b"")
        except OSError:  # it may be appended to, but not read
            return True

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _failed(self, error: OSError) -> None:
        if self._has_failed:
            return
        self._has_failed = True  # also for the warning itself, which comes here again
        hint = (
            "free space there"
            if error.errno in _FULL
            else "its folder must be there, and this user must be allowed to write the file"
        )
        logging.getLogger("assetbatch").warning(
            "the log file %s cannot be written: %s (hint: %s; everything else goes on)",
            masked(str(self._path)),
            (error.strerror or type(error).__name__).lower(),
            hint,
            extra={"kind": "config"},  # over at the first start that can write it
        )
