"""The crontab of a user: blocks of marked lines, and nothing else of it is touched.

A block stands between `# assetbatch begin NAME` and `# assetbatch end NAME`. The functions on bytes are pure.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from assetbatch.errors import AssetbatchError, ConfigError, UnreachableError
from assetbatch.secret import masked_prose

SECONDS = 10
"""Maximum time in seconds that `crontab` may take."""

_DAEMONS = (b"cron", b"crond", b"fcron", b"cronie", b"busybox-crond")
_FIRST_PROCESS = "1"
_SYSTEMD_CRON = ("etc", "lib", "usr/lib")


class CrontabError(AssetbatchError):
    """The program `crontab` refuses. Nothing was changed."""


def begin(name: str) -> str:
    """Return the line with which a block begins."""
    return f"# assetbatch begin {name}"


def end(name: str) -> str:
    """Return the line with which a block ends."""
    return f"# assetbatch end {name}"


def block_of(crontab: bytes, name: str) -> list[str] | None:
    """Return the lines of a block without its marks, or None; raise ConfigError if a mark is missing."""
    lines = crontab.splitlines()
    marks = [begin(name).encode(), end(name).encode()]
    first, last = ([at for at, line in enumerate(lines) if line.rstrip() == mark] for mark in marks)
    if not first and not last:
        return None
    if len(first) != 1 or len(last) != 1 or first[0] > last[0]:
        raise ConfigError(
            f"the crontab has {len(first)} lines {begin(name)!r} and {len(last)} lines {end(name)!r}, "
            "expected one of each, in this order",
            hint="mend it with crontab -e",
        )
    return [line.decode(errors="surrogateescape") for line in lines[first[0] + 1 : last[0]]]


def with_block(crontab: bytes, name: str, lines: Sequence[str]) -> bytes:
    """Return the crontab with this block: in its old place, or at the end."""
    block = b"".join(os.fsencode(line) + b"\n" for line in (begin(name), *lines, end(name)))
    if block_of(crontab, name) is not None:
        return _pattern(name).sub(lambda _: block, crontab)
    missing_end = b"\n" if crontab and not crontab.endswith(b"\n") else b""
    return crontab + missing_end + block


def without_block(crontab: bytes, name: str) -> bytes:
    """Return the crontab without this block."""
    return crontab if block_of(crontab, name) is None else _pattern(name).sub(b"", crontab)


def other_lines(crontab: bytes) -> list[str]:
    """Return the lines that stand in no block. A block without one of its marks is none."""
    for name in names(crontab):
        with suppress(ConfigError):
            crontab = without_block(crontab, name)
    return crontab.decode(errors="surrogateescape").splitlines()


def names(crontab: bytes) -> list[str]:
    """Return the names of the blocks."""
    return [name.decode() for name in re.findall(rb"(?m)^# assetbatch begin ([A-Za-z0-9._-]+)\s*$", crontab)]


def _pattern(name: str) -> re.Pattern[bytes]:
    first, last = re.escape(begin(name).encode()), re.escape(end(name).encode())
    return re.compile(rb"(?ms)^" + first + rb"[ \t\r]*\n.*?^" + last + rb"[ \t\r]*(?:\n|\Z)")


def read() -> bytes:
    """Return the crontab of this user; empty if there is none. Raise AssetbatchError."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace")
    if re.search(r"no crontab|No such file", said):  # Debian, cronie and macOS; BusyBox
        return b""
    raise _refused(said)


def write(crontab: bytes) -> None:
    """Replace the crontab of this user; remove an empty one. Raise AssetbatchError."""
    done = _crontab("-", content=crontab) if crontab else _crontab("-r")
    if done.returncode != 0:
        raise _refused(done.stderr.decode(errors="replace"))


def daemon_runs(root: Path = Path("/")) -> bool | None:
    """Return whether a cron daemon runs on this host; None if that cannot be seen.

    It cannot be seen where the system hides the processes of others, or where systemd-cron makes timers of
    the crontabs. `root` is the folder of the system's files.
    """
    if any((root / folder / "systemd/system/cron.target").exists() for folder in _SYSTEMD_CRON):
        return None
    found = {process.parent.name: _name_of(process) for process in (root / "proc").glob("[0-9]*/comm")}
    if any(name in _DAEMONS for name in found.values()):
        return True
    return False if found.get(_FIRST_PROCESS) else None


def _name_of(process: Path) -> bytes:
    """Return the name of a process, which the kernel cuts at 15 bytes; nothing if it is gone or hidden."""
    try:
        return process.read_bytes().strip()
    except OSError:
        return b""


def _crontab(argument: str, *, content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["crontab", argument],
            input=content,
            stdin=subprocess.DEVNULL if content is None else None,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise UnreachableError(
            "there is no crontab on this host", hint="install cron, or use --systemd"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"crontab cannot be used: {type(error).__name__}") from None


def _refused(said: str) -> CrontabError:
    return CrontabError(f"crontab refuses: {masked_prose(' '.join(said.split())) or 'it does not say why'}")
