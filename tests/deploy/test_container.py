"""The recipe of the container. No base image is to be had here: this Python tries what it does instead."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assetbatch import __version__
from tests.conftest import REPOSITORY
from tests.deploy.command_lines import check_command

RECIPE = REPOSITORY / "deploy" / "container" / "Containerfile"
TEXT = RECIPE.read_text(encoding="utf-8")
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


def copied() -> list[str]:
    """What comes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_it_copies_what_is_there() -> None:
    assert "src" in copied()
    for name in copied():
        assert (REPOSITORY / name).exists(), name
    assert re.search(r"pip .*install .*--compile", TEXT)


def test_nothing_else_can_get_into_its_build() -> None:
    lines = (REPOSITORY / ".containerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    assert set(allowed) == {*copied(), "docs"}
    assert patterns[patterns.index("!docs") + 1] == "docs/*"
    assert patterns[-1] == "**/__pycache__"  # the last that fits counts
    assert (REPOSITORY / ".dockerignore").readlink() == Path(".containerignore")


def test_its_labels_say_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="(.*?)"', TEXT))
    assert labels["title"] == "assetbatch"
    assert labels["licenses"] == "MIT"
    assert labels["version"] == "${VERSION}"
    assert f'ARG VERSION="{__version__}"' in TEXT


def test_it_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    last = TEXT.rsplit("FROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    for word in ("KEY", "PASSWORD", "SECRET", "TOKEN", "_URL"):
        assert word not in TEXT, word


@pytest.mark.parametrize(("code", "healthy"), [(0, True), (1, True), (2, False), (3, False)])
def test_its_health_is_that_of_the_check_with_warnings_allowed(
    tmp_path: Path, code: int, healthy: bool
) -> None:
    (line,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", TEXT, re.MULTILINE)
    shell, option, command = json.loads(line)
    check_command(command.split(";")[0].removeprefix("assetbatch "))
    program = tmp_path / "assetbatch"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    done = subprocess.run([shell, option, command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert done.returncode == (0 if healthy else 1)


def test_its_script_gives_it_each_secret_as_a_file_and_the_whole_command(tmp_path: Path) -> None:
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    podman.chmod(0o755)
    done = subprocess.run(
        [RECIPE.with_name("assetbatch"), "-v", "backfill", "A B", "--from", "2026-01-01"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[:2] == ["run", "--rm"]
    assert words[-6:] == ["assetbatch", "-v", "backfill", "A B", "--from", "2026-01-01"]
    secrets = {
        word.split(",")[0] for word, before in zip(words[1:], words, strict=False) if before == "--secret"
    }
    files = dict(word.split("=", 1) for word, before in zip(words[1:], words, strict=False) if before == "-e")
    assert set(files) == {"POLYGON_API_KEY_FILE", "DATABASE_URL_FILE", "REDIS_URL_FILE"}
    assert {f"/run/secrets/{name}" for name in secrets} == set(files.values())


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_complain_of() -> None:
    done = subprocess.run([str(HADOLINT), RECIPE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_steps_work(tmp_path: Path) -> None:
    """Its copy and its installation, by this Python: what is missing in the copy would fail here."""
    for name in copied():
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, target)
    installed = tmp_path / "installed"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--compile",
            "--target",
            installed,
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((installed / "assetbatch" / "__pycache__").glob("*.pyc"))
    assert (installed / "assetbatch" / "default_config.yml").exists()
    assert (installed / "share" / "man" / "man1" / "assetbatch.1").exists()
