"""`examples/existing_client.py`: a client that was there before, and asks for a slot before each request."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assetbatch.sandbox import windows_over_limit
from tests.conftest import REPOSITORY
from tests.world import KEY, World

from .test_serve import Served, served

__all__ = ["served"]

TICKERS = ["X:BTCUSD", "C:EURUSD", "C:XAUUSD"]


@pytest.mark.parametrize("way", ["http", "command"])
def test_two_of_them_keep_the_budget_together(
    make_world: Callable[..., World], served: Callable[..., Served], way: str
) -> None:
    world = make_world(limit=2, window_seconds=2)
    world.config()
    env = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin",
        "HOME": str(world.folder),
        "POLYGON_API_KEY": KEY,
        "POLYGON_BASE_URL": world.provider.base_url,
    }
    if way == "http":
        env["ASSETBATCH_SLOTS_URL"] = served("--slots", world=world).url
    command = [sys.executable, str(REPOSITORY / "examples/existing_client.py"), *TICKERS]
    clients = [
        subprocess.Popen(command, cwd=world.folder, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for client in clients:
        out, _ = client.communicate(timeout=60)
        assert client.returncode == 0
        assert [line.split()[0] for line in out.splitlines()] == TICKERS
    assert len(world.provider.arrivals) == 2 * len(TICKERS)
    assert windows_over_limit(world.provider.arrivals, 2, 2) == []
