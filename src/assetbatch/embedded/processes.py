"""Finds the processes behind a socket or a lock file, so that no pid needs to be written down."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from pathlib import Path

# <sys/un.h> of macOS; the socket module does not name them.
_SOL_LOCAL = 0
_LOCAL_PEERPID = 2

_PROBE_SECONDS = 1.0


def connect(path: Path, timeout_seconds: float) -> socket.socket:
    """Connect to the unix socket; raise OSError if nobody listens or the time is over."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(os.fspath(path))
    except BaseException:
        connection.close()
        raise
    return connection


def listener(path: Path) -> int | None:
    """Return the pid of the process that listens at the unix socket, as the kernel knows it, or None."""
    try:
        with connect(path, _PROBE_SECONDS) as connection:
            if sys.platform == "linux":
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                pid = int(struct.unpack("iII", credentials)[0])
            else:
                pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    except OSError:
        return None
    # 0: a process of another container, which we cannot see; as a target of kill it would mean ourselves.
    return pid if pid > 1 else None


def holders(path: Path) -> list[int]:
    """Return the pids of other programs' processes that have the file open. Only /proc of Linux shows them.

    A process that runs our own program is left out: it is another user's launcher, or its forked child.
    """
    wanted = path.stat()
    own_program = os.path.realpath(sys.executable)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "exe") == own_program:
                continue
            descriptors = os.listdir(entry / "fd")
        except OSError:  # it has ended, or is not ours
            continue
        for descriptor in descriptors:
            try:
                status = os.stat(entry / "fd" / descriptor)
            except OSError:
                continue
            if os.path.samestat(status, wanted):
                found.append(int(entry.name))
                break
    return found


def signal_listener(path: Path, number: signal.Signals) -> bool:
    """Send the signal to the process that listens at the unix socket; return whether one got it."""
    pid = listener(path)
    return pid is not None and send(pid, number)


def send(pid: int, number: signal.Signals) -> bool:
    """Send the signal; return whether the process was still there and is ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
