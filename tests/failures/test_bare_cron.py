"""Starts as cron makes them: by the lines of crontab.example, through /bin/sh, in an environment as bare as
cron's, from another folder, with a home that cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import REPOSITORY
from tests.world import KEY, World

from .start import is_root, start

STARTS = 6
"""Rounds of the crontab; a day has 288 of run-priority."""


def crontab() -> tuple[dict[str, str], list[str]]:
    """The variables and the commands of crontab.example."""
    lines = (REPOSITORY / "crontab.example").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    commands = [line.split(maxsplit=5)[5] for line in lines if re.match(r"[*\d]", line)]
    return variables, commands


def test_a_day_of_cron_is_silent_and_leaves_nothing_behind(free: World, tmp_path: Path) -> None:
    variables, commands = crontab()
    assert [command.split()[-1] for command in commands] == ["run-priority", "run-queue", "enqueue-secondary"]
    free.know_that_today_is_refused()
    free.config()
    key = tmp_path / "api_key"
    key.write_text(f"{KEY}\n")
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o555)
    program = tmp_path / "assetbatch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m assetbatch "$@"\n')
    program.chmod(0o755)
    log = tmp_path / "cron.log"
    env = {
        **variables,
        "ASSETBATCH_CONFIG": str(free.folder / "config.yml"),
        "POLYGON_API_KEY_FILE": str(key),
        "AB": str(program),
        "LOG": str(log),
        "HOME": str(home),
        "LOGNAME": "nobody",
    }
    before = snapshot(tmp_path)
    for _ in range(STARTS):
        for command in (commands[2], commands[0], commands[1]):
            done = subprocess.run(
                [variables["SHELL"], "-c", command],
                cwd="/",
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                umask=0o077,
                timeout=60,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert snapshot(tmp_path) - before == {"cron.log"}
    assert log.stat().st_mode & 0o777 == 0o640
    told = re.findall(r"^\S+ INFO (\S+): ", log.read_text(), re.MULTILINE)
    assert [
        told.count(command) >= STARTS for command in ("run-priority", "run-queue", "enqueue-secondary")
    ] == [True] * 3
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD", "ETHUSD", "GBPUSD", "USDJPY"):
        assert free.last_update(symbol) is not None
    assert len(free.paths) == 6  # each asset once: on the free plan there is nothing newer today
    with free.services() as services:
        assert services.history.job("run_queue").skipped == 0


@pytest.mark.skipif(shutil.which("crontab") is None, reason="cron is not installed")
def test_the_program_of_cron_accepts_the_crontab() -> None:
    """Debian's `crontab -n` or cronie's `crontab -T`: each checks a file and installs nothing."""
    said = []
    for option in ("-n", "-T"):
        done = subprocess.run(
            ["crontab", option, str(REPOSITORY / "crontab.example")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        said.append(done.stderr)
    if all("option" in one for one in said):
        pytest.skip("this crontab cannot check a file")
    pytest.fail("".join(said))


def test_a_line_of_the_crontab_ends_with_the_exit_code_of_its_command(free: World, tmp_path: Path) -> None:
    variables, commands = crontab()
    free.config()
    program = tmp_path / "with a space"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m assetbatch "$@"\n')
    program.chmod(0o755)
    for log in (tmp_path / "a log", tmp_path / "gone" / "log"):
        env = {
            **variables,
            "ASSETBATCH_CONFIG": str(free.folder / "config.yml"),
            "POLYGON_API_KEY_FILE": "",
            "POLYGON_API_KEY": KEY,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "AB": str(program),
            "LOG": str(log),
            "HOME": str(tmp_path),
        }
        for command in commands:
            ended = subprocess.run(
                [variables["SHELL"], "-c", command], cwd="/", env=env, capture_output=True, check=False
            )
            assert ended.returncode == 3
    assert (tmp_path / "a log").read_text().count("redis cannot be reached") == 3


def test_a_failure_is_mailed_once_and_kept_off_a_home_that_cannot_be_written(
    free: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free.config()
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o555)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/proc/nowhere" if is_root() else str(home),  # root may write anywhere else
        "TMPDIR": str(temporary),
        "POLYGON_API_KEY": KEY,
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    said = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", "--config", str(free.folder / "config.yml"), "run-queue"],
            cwd="/",
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        said.append(done.stderr.count("\n"))
    assert said == [1, 0, 0, 0, 0]
    (folder,) = temporary.iterdir()
    assert folder.name == f"assetbatch-{os.geteuid()}"
    assert folder.stat().st_mode & 0o077 == 0


def snapshot(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_mail_about_an_asset_is_not_taken_back_while_the_asset_is_left_alone(free: World) -> None:
    free.provider.order("null-results", path_contains="XAUUSD", times=None)
    free.know_that_today_is_refused()
    assert "XAUUSD: " in start(free, "run-priority").stderr
    with psycopg.connect(free.database_url) as connection:
        connection.execute(
            "UPDATE data_sources.data_sync_status SET sync_status = 'no_data' WHERE sync_status = 'failed'"
        )
    assert start(free, "run-priority").stderr == ""
