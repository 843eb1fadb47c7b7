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
        if readers := _readers(path):
            shown = masked(str(path))
            what = f"{shown} ({holds})" if holds else shown
            yield warning("config", f"{what} can be read by {readers}", f"chmod 600 {shown}")


def _readers(path: Path) -> str | None:
    """Return who else may read a file.

    A group that is the only reason why this user may read it is meant to: Kubernetes mounts secrets so.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    if status.st_mode & stat.S_IROTH:
        return "every user of this host"
    if status.st_mode & stat.S_IRGRP and status.st_uid == os.geteuid():
        return f"the group {_group(status.st_gid)}"
    return None


def _group(number: int) -> str:
    import grp  # asks the system's directory, which only this needs

    try:
        return masked(grp.getgrgid(number).gr_name)
    except KeyError:
        return str(number)
