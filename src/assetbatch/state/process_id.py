"""Ids that name the process that made them, and whether that process is dead for certain.

An id is `HOST.MACHINE.PID.START.ROUTE.RANDOM`. Everything up to ROUTE is the process: a process of the same
machine can look it up, and give back what it holds when it is dead.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from functools import lru_cache
from pathlib import Path

from assetbatch.deadline import monotonic

DIRECT, PROXIED, FOREIGN = "d", "p", "f"
"""How a process reaches the provider. A proxy may pass a request on after its sender has died. So may another
program for which the process has asked (`FOREIGN`): its slot is never freed because the process is dead."""

_FOREIGN_ID = rf"[0-9a-f]{{8}}\.[0-9a-f]{{0,8}}\.[0-9]{{1,10}}\.[0-9]{{0,20}}\.{FOREIGN}\.[0-9a-f]{{16}}"

_PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy")
_PROC = Path("/proc")
_STATE, _THREADS, _START = 0, 17, 19
"""Fields of /proc/PID/stat that follow the name (proc_pid_stat(5): fields 3, 20 and 22)."""


def new_id(host: str = "", *, foreign: bool = False) -> str:
    """Return an id that no other call has returned, made by this process.

    The caller makes it, so that asking Redis again with it is harmless. `foreign`: another program makes the
    call. `host` is given by tests only.
    """
    route = FOREIGN if foreign else _route()
    return f"{host or this_host()}.{_own_process(os.getpid())}.{route}.{os.urandom(8).hex()}"


def is_foreign(an_id: str) -> bool:
    """Return whether this is the id of a call that another program makes."""
    return re.fullmatch(_FOREIGN_ID, an_id) is not None


@lru_cache(1)
def this_host() -> str:
    """Return eight hex digits that stand for this host."""
    return _digest(socket.gethostname())


def is_dead(process: str) -> bool:
    """Return whether a process is dead for certain: it ran on this machine, and its pid is free or another's.

    False for a process of another host or pid namespace, and wherever the system does not say.
    """
    host, machine, pid_text, start = process.split(".")
    # The host too: copies of one virtual machine share boot id and namespaces.
    if host != this_host() or not machine or machine != _own_machine() or not start:
        return False
    pid = int(pid_text)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it lives, or another user's process has its pid
        pass
    fields = _stat(pid)
    if fields is None:
        return False
    if fields[_START] != start:
        return True
    # A zombie has closed its sockets, once its last thread has ended.
    return fields[_STATE] in ("Z", "X") and int(fields[_THREADS]) <= 1


def age_seconds() -> float:
    """Return for how many seconds this process has run; 0 where the system does not say.

    Field 22 of /proc/PID/stat counts clock ticks since boot, and goes on while the machine sleeps.
    """
    fields = _stat(os.getpid())
    if fields is None:
        return 0.0
    return max(0.0, monotonic() - int(fields[_START]) / os.sysconf("SC_CLK_TCK"))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


@lru_cache(1)
def _own_process(pid: int) -> str:
    """Return the part of an id that names this process; `pid` is an argument because a fork changes it."""
    fields = _stat(pid)
    return f"{_own_machine()}.{pid}.{fields[_START] if fields else ''}"


@lru_cache(1)
def _own_machine() -> str:
    """Return what makes pids and start times comparable: one boot, one pid namespace, one time namespace."""
    try:
        if os.readlink(_PROC / "self") != str(os.getpid()):
            return ""  # this /proc shows another pid namespace
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        pids = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""
    try:
        times = os.readlink(_PROC / "self/ns/time")
    except OSError:  # kernels before 5.6 have none
        times = ""
    return _digest(f"{boot} {pids} {times}")


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets


def _route() -> str:
    names = (*_PROXY_VARIABLES, *map(str.upper, _PROXY_VARIABLES))
    return PROXIED if any(os.environ.get(name) for name in names) else DIRECT
