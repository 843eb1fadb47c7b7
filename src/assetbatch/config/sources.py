"""Which files a configuration comes from, and whether they have changed since."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from assetbatch.config.settings import Config

Stamp = dict[Path, tuple[int, int, int] | None]
"""Of each file its inode, its size and its last change in ns; None where it is not there."""


def sources(config: Config) -> list[Path]:
    """Return the files that make a configuration: config.yml, the `.env` beside it, the files of secrets."""
    files = [config.file, config.file.parent / ".env"] if config.file else []
    return list(dict.fromkeys([*files, *config.secret_files.values()]))


def stamp(files: Iterable[Path]) -> Stamp:
    """Return what tells these files from later ones, at the cost of a look at each. A link is followed."""
    return {file: _stamp_of(file) for file in files}


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
