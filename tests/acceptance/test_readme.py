"""The README's own lines, run as written in a fresh copy, with a home folder of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from assetbatch.sandbox import PLANS, SandboxServer, system_clock
from tests.cli.terminal import Terminal
from tests.conftest import REPOSITORY
from tests.documented import blocks
from tests.world import first_day

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def shell_lines(heading: str) -> list[str]:
    """The lines of the shell blocks below a heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [
        line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()
    ]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's files as a fresh clone of the present state has them."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            target = tmp_path / "copy" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
    return tmp_path / "copy"


@pytest.mark.timeout(300)
def test_the_lines_of_try_it_work_as_written(copy: Path, tmp_path: Path) -> None:
    lines = shell_lines("Try it")
    tests, slow_tests = shell_lines("Tests")
    assert lines[0].startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert tests.endswith(".venv/bin/pytest -q -n 4 --dist worksteal -m 'not slow'")  # as CI runs it
    assert slow_tests == ".venv/bin/pytest -q -n 4 --dist worksteal -m slow"
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "PATH"}
    (tmp_path / "home").mkdir()
    outputs = []
    for line in lines:
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=copy,
            env={**kept, "HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        outputs.append(done.stdout)
    status = outputs[lines.index(".venv/bin/assetbatch --sandbox status")]
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD"):
        assert re.search(rf"^{symbol} +[\d,.]+ .* fresh *$", status, re.MULTILINE), status


@pytest.mark.timeout(300)
def test_the_lines_of_go_live_lead_from_a_clone_to_prices_within_five_minutes(
    copy: Path, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    install, setup = shell_lines("Go live")
    assert install.startswith("pipx install ")
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    subprocess.run([tools / "bin/pip", "install", "-q", "pipx"], check=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT"))}
    path = f"{home}/.local/bin:{tools}/bin:{os.environ['PATH']}"
    with SandboxServer(PLANS["basic"], since_ms=first_day(system_clock(), 2)) as provider:
        env = {**kept, "HOME": str(home), "PATH": path, "POLYGON_BASE_URL": provider.base_url}
        env["ASSETBATCH_CONFIG"] = str(home / "config.yml")  # root's usual place is the whole host's
        done = subprocess.run(["bash", "-euc", install], cwd=copy, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        with Terminal(setup, cwd=copy, env=env, program=["bash", "-euc"]) as screen:
            screen.answer(
                ("API key: ", "made-up-key"),
                ("Plan", ""),
                ("PostgreSQL", database_url),
                ("Redis", redis_url),
                ("Priority assets", ""),
                ("More assets", "ETHUSD"),
                ("Try this", ""),
                ("Start it from now on", "n"),
                ("Fetch the first prices now?", ""),
            )
            assert screen.end() == 0
        (query,) = blocks(README, "sql")
        with psycopg.connect(database_url) as connection:
            prices: dict[str, object] = dict(connection.execute(query.encode()).fetchall())
        assert {symbol for symbol, price in prices.items() if price} >= {"XAUUSD", "EURUSD", "BTCUSD"}
        status = subprocess.run(["assetbatch", "status"], cwd=home, env=env, capture_output=True, check=False)
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD"):
        assert re.search(rf"(?m)^{symbol} +[\d,.]+ .* fresh *$", status.stdout.decode()), status


def test_the_crontab_names_commands_that_exist_and_starts_them_as_promised() -> None:
    lines = [
        line.split(None, 5)
        for line in (REPOSITORY / "crontab.example").read_text().splitlines()
        if re.match(r"[*\d]", line)
    ]
    assert {fields[5].split()[-1]: " ".join(fields[:5]) for fields in lines} == {
        "run-priority": "*/5 * * * *",
        "run-queue": "* * * * *",
        "enqueue-secondary": "*/5 * * * *",
    }
