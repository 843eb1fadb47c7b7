"""Private folders, and the places where a unix socket may lie."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

# sizeof(sun_path) less the closing zero: 108 bytes on Linux, 104 on macOS and the BSDs.
SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103


def problem_of(status: os.stat_result, user_id: int) -> str | None:
    """Return why a file with this status is no private folder of the user, or None if it is one."""
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder"
    if status.st_uid != user_id:
        return f"it belongs to user {status.st_uid}, and this is user {user_id}"
    if status.st_mode & 0o077:
        return f"others may enter it (mode {stat.S_IMODE(status.st_mode):o}, 700 is needed)"
    return None


def make_private(folder: Path) -> None:
    """Make the folder and its parents if they are missing, and make it ours alone (0700).

    Raise PermissionError if it exists and belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        folder.chmod(0o700)
        status = folder.stat()
    _require_private(folder, status)


def make_private_below_shared(folder: Path) -> None:
    """Make a folder in one that others can write to, such as /tmp. A folder that was there is not mended.

    Raise PermissionError if somebody else made it, if it is a link, or if others could put things into it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    _require_private(folder, folder.lstat())


def _require_private(folder: Path, status: os.stat_result) -> None:
    if problem := problem_of(status, os.geteuid()):
        raise PermissionError(f"cannot use {folder}: {problem}")


def fits_socket(path: Path) -> bool:
    """Return whether servers and clients can use a unix socket at this path.

    It must be short enough for the kernel, and fit into a URL and into libpq's list of hosts, which is
    split at commas and knows no escape.
    """
    encoded = os.fsencode(path)
    try:
        encoded.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return len(encoded) <= SOCKET_PATH_BYTES and b"," not in encoded


def fallback_socket_folder(folder: Path, temporary_folder: Path, user_id: int) -> Path:
    """Return where sockets lie whose own folder does not fit: the same for a folder and user."""
    import hashlib  # 4 ms, and few need it

    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return temporary_folder / f"assetbatch-{user_id}-{digest}"


def socket_folder(folder: Path, socket_name: str) -> Path:
    """Return the folder for a server's socket, which exists: its own, or a private one for temporary files.

    Raise PermissionError if that one is not ours, OSError if no path fits.
    """
    if fits_socket(folder / socket_name):
        return folder
    import tempfile  # as above

    for temporary_folder in (tempfile.gettempdir(), "/tmp"):
        candidate = fallback_socket_folder(folder, Path(temporary_folder), os.geteuid())
        if fits_socket(candidate / socket_name):
            make_private_below_shared(candidate)
            return candidate
    raise OSError(f"no unix socket fits into {folder}, nor into the temporary folder")
