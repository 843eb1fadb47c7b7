"""A folder with a configuration, and what is read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetbatch.config import Config, load


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def read_config(cwd: Path, text: str = "", dotenv: str | None = None, **env: str) -> Config:
    (cwd / "config.yml").write_text(text, encoding="utf-8")
    if dotenv is not None:
        (cwd / ".env").write_text(dotenv, encoding="utf-8")
    return load(None, {"HOME": str(cwd), **env}, cwd=cwd)
