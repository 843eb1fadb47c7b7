"""Which files a configuration comes from, and whether they have changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from assetbatch.config.settings import Config

Stamp = dict[Path, tuple[int, int, int] | None]
"""Of each file its inode, its size and its last change in ns; None where it is not there."""


def sources(config: Config, env: Mapping[str, str], cwd: Path) -> list[Path]:
    """Return the files that make a configuration: config.yml, the `.env` beside it, the files of secrets."""
    files = [cwd / path for path in _secret_files(env)]
    if config.file:
        folder = config.file.parent
        files += [config.file, folder / ".env"]
        files += [folder / path for path in _secret_files(_dotenv(folder / ".env"))]
    return list(dict.fromkeys(files))


def stamp(files: Iterable[Path]) -> Stamp:
    """Return what tells these files from later ones, at the cost of a look at each. A link is followed."""
    return {file: _stamp_of(file) for file in files}


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _secret_files(variables: Mapping[str, str]) -> list[str]:
    return [value for name, value in variables.items() if name.endswith("_FILE") and _is_ours(name) and value]


def _is_ours(name: str) -> bool:
    return name.startswith(("POLYGON_", "MASSIVE_", "DB_", "DATABASE_", "REDIS_"))


def _dotenv(file: Path) -> Mapping[str, str]:
    with suppress(OSError, ValueError):
        from assetbatch.config.dotenv import parse_dotenv  # most installations have none

        return parse_dotenv(file.read_bytes().decode("utf-8-sig"))
    return {}
