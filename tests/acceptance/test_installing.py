"""The lines of docs/installing.md with pipx and uv, as written, in a fresh copy and a home of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.test_readme import copy
from tests.documented import REPOSITORY, blocks
from tests.program import BARE

__all__ = ["copy"]

PAGE = (REPOSITORY / "docs" / "installing.md").read_text(encoding="utf-8")
PIPX, UV, MAN = (
    next(block.strip() for block in blocks(PAGE, "sh") if block.startswith(beginning))
    for beginning in ("pipx ", "uv ", "man ")
)


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipx and a uv."""
    folder = tmp_path_factory.mktemp("installers")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = subprocess.run(
        [folder / "bin" / "pip", "install", "-q", "pipx", "uv"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"pipx and uv cannot be installed: {done.stderr.splitlines()[-1]}")
    return folder / "bin"


@pytest.fixture
def env(tmp_path: Path, installers: Path) -> dict[str, str]:
    foreign = ("XDG_", "PIPX_", "VIRTUAL_ENV", "PYTHON", "MANPATH")  # what would lead out of the new home
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    for config, variable in (
        (".config/pip/pip.conf", "PIP_CONFIG_FILE"),
        (".config/uv/uv.toml", "UV_CONFIG_FILE"),
    ):
        if (Path.home() / config).is_file():
            kept.setdefault(variable, str(Path.home() / config))
    (tmp_path / "home").mkdir()
    return {**kept, "HOME": str(tmp_path / "home"), "PATH": f"{installers}:{os.environ['PATH']}"}


def shell(line: str, folder: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euc", line], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("install", "uninstall"), [(PIPX, "pipx uninstall assetbatch"), (UV, "uv tool uninstall assetbatch")]
)
def test_the_program_is_there_for_cron_and_gone_afterwards(
    copy: Path, tmp_path: Path, env: dict[str, str], install: str, uninstall: str
) -> None:
    shell(install, copy, env)
    program = Path(env["HOME"]) / ".local" / "bin" / "assetbatch"
    shell(f"{program} --version", tmp_path, {**BARE, "HOME": env["HOME"]})
    if shutil.which("man"):
        path = {**env, "PATH": f"{program.parent}:{env['PATH']}", "MANPAGER": "cat"}
        page = shell("man assetbatch-status" if install == PIPX else MAN, tmp_path, path)
        assert "market data on a budget" in page or "Show what is fresh" in page
    assert uninstall in PAGE
    shell(uninstall, copy, env)
    assert not program.exists()
