"""`sandbox --cron`: what it starts when, and what it says of each start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import msgspec
import pytest

from assetbatch.cli.played_cron import lines_of, starts_of
from assetbatch.config import Config
from assetbatch.domain.records import Command, CycleOutcome
from assetbatch.domain.results import CycleResult
from tests.cli.test_commands import start

PRIORITY, QUEUE, ENQUEUE = Command.RUN_PRIORITY, Command.RUN_QUEUE, Command.ENQUEUE_SECONDARY


@pytest.mark.parametrize(
    ("minute", "commands"),
    [
        (0, [PRIORITY, ENQUEUE, QUEUE]),
        (1, [QUEUE]),
        (5, [PRIORITY, ENQUEUE, QUEUE]),
        (7, [QUEUE]),
    ],
)
def test_starts_what_the_crontab_starts(minute: int, commands: list[Command]) -> None:
    assert set(starts_of(minute, Config())) == set(commands)


class TestWhatIsSaid:
    def test_is_the_result_in_one_line_below_the_complaints(self) -> None:
        result = CycleResult(
            command=QUEUE, cycle_id="x", result=CycleOutcome.OK, started_ms=1, duration_ms=1200, calls=3
        )
        complaints = ["2026-11-30T01:00:00.000+00:00 WARNING run-queue: GBPUSD: HTTP 503"]
        found = list(lines_of(msgspec.json.encode(result).decode(), complaints))
        assert found == ["GBPUSD: HTTP 503", "3 calls; 1.2 s"]

    def test_is_the_error_of_a_start_without_a_result(self) -> None:
        assert list(lines_of("", ["2026-11-30T01:00:00.000+00:00 ERROR run-queue: no"])) == ["no"]


def test_does_not_go_with_what_a_provider_of_its_own_does(tmp_path: Path) -> None:
    done = start("sandbox", "--cron", "1", "--plan", "starter", cwd=tmp_path)
    assert done.returncode == 2
    assert "--plan does not go with --cron" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_newcomer_sees_the_queue_drain_and_the_page_until_ctrl_c(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "assetbatch", "sandbox", "--cron", "9"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def text_with(pattern: str) -> str:
        until = time.monotonic() + 90
        while time.monotonic() < until and process.poll() is None:
            if re.search(pattern, said.read_text(), re.MULTILINE):
                break
            time.sleep(0.1)
        assert re.search(pattern, said.read_text(), re.MULTILINE), said.read_text()
        return said.read_text()

    try:
        text_with(r"^[\d:]{8} run-priority: 3 calls, 3 prices published")
        text = text_with(r"^[\d:]{8} run-queue: .* \d+ in the queue, ended: out of calls for")
        (address,) = re.findall(r"^the page is (http://127\.0\.0\.1:\d+/)$", text, re.MULTILINE)
        page = urllib.request.urlopen(address, timeout=10).read().decode()
        assert "not fetched yet" in page
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    assert (code, said.read_text().splitlines()[-1]) == (
        130,
        "cron has stopped; assetbatch --sandbox status shows what is there",
    )
