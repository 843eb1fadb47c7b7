"""The owner's configuration and environment, to the letter, with every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assetbatch.config.dotenv import parse_dotenv
from assetbatch.sandbox import PLANS, SandboxServer
from tests.cli.test_commands import start

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(shared_dir: Path, tmp_path: Path) -> Path:
    """The two files as they are; the second as the `.env` beside the first."""
    platform = shared_dir / "platform"
    if not platform.is_dir():
        pytest.skip("the owner's files (../shared/platform) are not beside this checkout")
    for name, own in (("production.yml", "production.yml"), ("owner.env", ".env")):
        (tmp_path / own).write_bytes((platform / name).read_bytes())
    (tmp_path / ".env").chmod(0o600)
    return tmp_path


@pytest.fixture
def assetbatch(folder: Path, redis_url: str, database_url: str) -> Iterator[Start]:
    """Starts a command with the files; only the servers are the test's."""
    with SandboxServer(PLANS["basic"]) as provider:
        servers = {
            "POLYGON_BASE_URL": provider.base_url,
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
        }

        def started(*arguments: str) -> subprocess.CompletedProcess[str]:
            return start("--config", "production.yml", *arguments, cwd=folder, env=servers)

        yield started


def test_are_valid_as_they_are(folder: Path) -> None:
    done = start("--config", "production.yml", "config", "check", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("production.yml: valid, 3 priority and 0 secondary assets\n")


@pytest.mark.parametrize("as_environment", [False, True])
def test_every_name_in_them_counts(folder: Path, as_environment: bool) -> None:
    variables = parse_dotenv((folder / ".env").read_text())
    origin = "env" if as_environment else ".env"
    if as_environment:
        (folder / ".env").unlink()
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **(variables if as_environment else {})}
    done = subprocess.run(
        [sys.executable, "-m", "assetbatch", "--config", "production.yml", "config", "show", "--json"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = {row["key"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}
    told = " ".join(origin for _, origin in rows.values())
    assert [name for name in variables if f"{origin} {name}" not in told] == []
    assert rows["database.url"][0] == "postgresql://trading_user:***@localhost:5432/trading_data"
    assert rows["redis.url"][0] == "redis://localhost:6379/0"
    written = "production.yml batch.priority_assets"
    assert rows["priority_assets[0]"] == ("XAUUSD C:XAUUSD forex CRITICAL every 300 s", written)
    assert rows["priority_assets[1]"] == ("EURUSD C:EURUSD forex CRITICAL every 300 s", written)
    assert rows["priority_assets[2]"] == ("BTCUSD X:BTCUSD crypto CRITICAL every 300 s", written)
    derived = [key for key, (_, origin) in rows.items() if origin == "derived from the symbol"]
    assert len(derived) == 6


def test_every_command_works_with_them(assetbatch: Start) -> None:
    for command in (
        ("init",),
        ("run-priority", "--dry-run"),
        ("run-priority",),
        ("enqueue-secondary",),
        ("run-queue", "--max-seconds", "5"),
        ("status", "--check"),
        ("holes", "XAUUSD"),
        ("backfill", "BTCUSD", "--from", "2026-10-01", "--dry-run"),
        ("dead", "list"),
        ("doctor", "--no-call"),
    ):
        done = assetbatch(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    health = json.loads(assetbatch("status", "--json").stdout)
    assert [asset["symbol"] for asset in health["assets"]] == ["XAUUSD", "EURUSD", "BTCUSD"]
    assert {asset["state"] for asset in health["assets"]} <= {"fresh", "due"}
    assert [(job["id"], job["trigger"]) for job in health["jobs"]] == [
        ("run-priority", "every 5 minutes"),
        ("run-queue", "every minute"),
        ("enqueue-secondary", "every 5 minutes"),
    ]
    assert all(job["name"] and job["next_run"].endswith("+00:00") for job in health["jobs"])
