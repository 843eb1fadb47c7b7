"""A check by a monitoring system while the servers are changing: patient, and over within its deadline."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from assetbatch.state.keys import Keys
from tests.groups.servers import Cluster, Group

BOUND_SECONDS = 8.0
KEY = "made-up-key-123"


@pytest.fixture
def run(group: Group, tmp_path: Path, database_url: str, prefix: str) -> Callable[..., Any]:
    """Runs a command of an installation on the group; returns exit code, stdout and seconds."""
    document = {
        "priority_assets": [{"symbol": "BTCUSD", "polygon_ticker": "X:BTCUSD", "asset_type": "crypto"}],
        "database": {"url": database_url},
        "redis": {"url": group.url, "prefix": prefix},
        "provider": {"base_url": "http://127.0.0.1:9"},
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(document))

    def run(*arguments: str) -> tuple[int, str, float]:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "POLYGON_API_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr, time.monotonic() - began

    assert run("init")[0] == 0
    return run


def test_a_failover_is_waited_for_and_is_not_critical_by_itself(
    group: Group, run: Callable[..., Any], prefix: str
) -> None:
    _, before, _ = run("status", "--check")
    group.holder(Keys(prefix).queue_items).kill()
    _, after, seconds = run("status", "--check")
    assert seconds < BOUND_SECONDS
    assert "redis" not in after
    assert after.split(" - ")[0] == before.split(" - ")[0]


def test_servers_that_do_not_come_back_are_named_within_the_bound(
    group: Group, run: Callable[..., Any]
) -> None:
    for node in group.servers:
        node.freeze()
    code, said, seconds = run("status", "--check")
    for node in group.servers:
        node.thaw()
    assert seconds < BOUND_SECONDS
    assert code == 2
    assert "redis" in said
    assert said.count("\n") == 1


def test_a_slot_that_stays_half_moved_is_named_within_the_bound(
    request: pytest.FixtureRequest, group: Group, run: Callable[..., Any], prefix: str
) -> None:
    if not isinstance(group, Cluster):
        pytest.skip("only a cluster has slots")
    for command in ("run_priority", "run_queue", "enqueue_secondary"):
        group.holder(Keys(prefix).queue_items).client.hset(Keys(prefix).job(command), "skipped", 1)
    moved = threading.Thread(target=group.move_slot, args=(Keys(prefix).queue_items, 2 * BOUND_SECONDS + 4))
    moved.start()
    time.sleep(0.5)
    code, said, seconds = run("status", "--check")
    _, examined, _ = run("doctor", "--no-call")
    moved.join()
    assert seconds < BOUND_SECONDS
    assert code == 2
    assert "the slot of our keys is moving to another node" in said
    assert "the slot of our keys is moving to another node" in " ".join(examined.split())
    assert "redis" not in run("status", "--check")[1]
