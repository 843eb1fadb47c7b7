"""Files that readers see whole or not at all: written beside their place, then renamed.

What the next start writes again is not synced to the disk; what nobody would write again is (`durable`).
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from assetbatch.errors import AssetbatchError
from assetbatch.secret import masked

READABLE = 0o644
"""The mode of a file that every user may read."""

UNFINISHED = ".assetbatch-part"
"""How the name of a file ends that is not whole yet. A process that is killed leaves it."""

_DEVICES = (("/", "dev"), ("/", "proc"))


def replace_file(path: Path, content: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Write or replace a file in one step; raise OSError."""
    with replacing(path, mode, durable=durable) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, mode: int, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of another when the body has ended; raise OSError.

    An error leaves everything as it was.
    """
    handle, temporary = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
    try:
        with open(handle, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def publish(path: Path, text: str) -> None:
    """Write a file that every user may read; raise AssetbatchError.

    A link stays and its target is replaced. A pipe or a device such as `/dev/stdout` is written to.
    """
    try:
        if is_written_to(path):
            path.write_text(text, encoding="utf-8")
        else:
            replace_file(path.resolve(), text.encode(), mode=READABLE)
    except OSError as error:
        raise unwritable(path, error) from None


def is_written_to(path: Path) -> bool:
    """Return whether a path is a pipe or a device, which is written to and not replaced."""
    return path.parts[:2] in _DEVICES or (path.exists() and not path.is_file())


def unwritable(path: Path, error: OSError) -> AssetbatchError:
    """Return the error, to be raised, that a file cannot be written."""
    is_full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    hint = "free space there" if is_full else "its folder must exist and let this user create files"
    return AssetbatchError(f"{masked(str(path))} cannot be written: {error.strerror or error}", hint=hint)
