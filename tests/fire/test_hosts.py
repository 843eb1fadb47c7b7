"""Several hosts or installations on one budget: clocks that disagree by hours, other prefixes in Redis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assetbatch.sandbox.limits import windows_over_limit
from assetbatch.sandbox.universe import instruments
from tests.commands.conftest import MakeWorld, make_world, template
from tests.world import KEY, RealClock, SetClock

__all__ = ["make_world", "template"]

HOSTS = {"one": None, "two": "+5m", "three": "-3h", "four": "+2d"}
"""Each host with how far its clock is off."""

LIMIT, WINDOW_SECONDS, SECONDS = 5, 3, 20
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def clock() -> SetClock:
    return RealClock()


def start(config: Path, home: Path, command: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A command as cron starts it, with a home of its own."""
    home.mkdir()
    options = ["--max-seconds", str(SECONDS), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "assetbatch", "--config", str(config), command, *options],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "POLYGON_API_KEY": KEY, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
def test_any_number_of_hosts_share_one_budget_whatever_their_clocks_say(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    assets = [
        {"symbol": ticker.split(":")[1], "polygon_ticker": ticker, "asset_type": "forex", "bars": True}
        for ticker in instruments(150)
        if ticker.startswith("C:")
    ]
    world = make_world(
        plan="basic",
        limit=LIMIT,
        window_seconds=WINDOW_SECONDS,
        universe=300,
        document={
            "priority_assets": [],
            "secondary_assets": assets[:90],
            "queue": {"max_concurrency": len(HOSTS)},
        },
    )
    world.know_that_today_is_refused()
    waiting = world.enqueue_secondary().enqueued
    world.config()
    running = []
    for host, offset in HOSTS.items():
        env = {}
        if offset:
            env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        running.append(start(world.folder / "config.yml", tmp_path / host, "run-queue", env))
    results = {}
    for host, process in zip(HOSTS, running, strict=True):
        out, err = process.communicate(timeout=SECONDS + 30)
        # A busy machine may answer a call too late: that item fails and waits, which breaks no promise here.
        too_late = all("no complete answer within" in line for line in err.splitlines())
        assert process.returncode == (1 if err else 0), f"{host}: {err}"
        assert too_late, f"{host}: {err}"
        results[host] = json.loads(out)
    arrivals = world.provider.arrivals
    assert windows_over_limit(arrivals, LIMIT, WINDOW_SECONDS) == []
    calls = {host: result["calls"] for host, result in results.items()}
    assert sum(calls.values()) == len(arrivals)
    assert min(calls.values()) >= 0.15 * len(arrivals), calls
    assets_worked = [asset for result in results.values() for asset in result["assets"]]
    refreshed = [asset["symbol"] for asset in assets_worked if asset["status"] == "success"]
    assert len(refreshed) == len(set(refreshed))  # nothing was worked twice
    assert len(refreshed) >= 0.9 * len(assets_worked)
    for symbol in refreshed:
        assert world.last_update(symbol) is not None
    with world.services() as services:
        state = services.queue.state()
    assert (state.size, state.leased) == (waiting - len(refreshed), 0)


def test_two_installations_with_one_key_and_other_prefixes_share_its_calls(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    assets = [
        {"symbol": ticker[2:], "polygon_ticker": ticker, "asset_type": "crypto"}
        for ticker in ("X:BTCUSD", "X:ETHUSD", "X:SOLUSD", "X:LTCUSD", "X:ADAUSD", "X:DOGEUSD")
    ]
    assert len(assets) > LIMIT  # or whoever starts first may have all its calls
    world = make_world(limit=LIMIT, document={"priority_assets": assets, "secondary_assets": []})
    running = []
    for prefix in ("{one}", "{two}"):
        world.document["redis"] = {**world.document["redis"], "prefix": prefix}
        world.config()
        config = tmp_path / f"{prefix[1:-1]}.yml"
        shutil.copy(world.folder / "config.yml", config)
        running.append(start(config, tmp_path / prefix, "run-priority"))
    results = [json.loads(process.communicate(timeout=SECONDS + 30)[0]) for process in running]
    assert [process.returncode for process in running] == [1, 1]  # not all assets had their calls
    assert sum(result["calls"] for result in results) == len(world.provider.arrivals) == LIMIT
