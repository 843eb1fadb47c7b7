"""Which files with secrets others may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from assetbatch.config import Config
from assetbatch.config.wording import named
from assetbatch.doctor.findings import Finding, warning
from assetbatch.domain.formatting import listed
from assetbatch.secret import masked

_BROAD = {"users", "nogroup", "nobody", "staff"}
"""Groups that many users or services are in."""


def readable_secrets(config: Config) -> Iterator[Finding]:
    """Yield a warning for each file with a secret that its group or every user may read."""
    files: dict[Path, str] = {}
    for origin, path in config.secret_files.items():
        files.setdefault(path, named(origin))
    if config.file:
        files.setdefault(config.file.parent / ".env", "")
        if config.secrets_in_file:
            files.setdefault(config.file, listed(config.secrets_in_file))
    for path, holds in files.items():
        if found := _readers(path):
            readers, mode = found
            shown = masked(str(path))
            what = f"{shown} ({holds})" if holds else shown
            yield warning("config", f"{what} can be read by {readers}", f"chmod {mode:o} {shown}")


def _readers(path: Path) -> tuple[str, int] | None:
    """Return who else may read a file, and the mode that ends it.

    A group that is the only reason why this user may read it is meant to: Kubernetes mounts secrets so. Root
    gives a secret to the group of a service; only a group of everybody, or root's own, is no such group.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    if not status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    is_mine, group = status.st_uid == os.geteuid(), _group(status.st_gid)
    is_shared = is_mine and status.st_uid == 0 and status.st_gid != 0 and group not in _BROAD
    if status.st_mode & stat.S_IROTH:
        return "every user of this host", 0o640 if is_shared and status.st_mode & stat.S_IRGRP else 0o600
    if status.st_mode & stat.S_IRGRP and is_mine and not is_shared:
        return f"the group {masked(group)}", 0o600
    return None


def _group(number: int) -> str:
    import grp  # asks the system's directory, which only this needs

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
