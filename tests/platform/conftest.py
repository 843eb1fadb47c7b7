"""A world on a database without any table, where each test puts its platform."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assetbatch.domain.market_hours import to_ms
from tests.world import SetClock, World

pytest.register_assert_rewrite("tests.platform.proof")


def last_wednesday(now: datetime) -> datetime:
    """A Wednesday afternoon, when all markets are open, more than a day and at most eight days ago: what the
    platform dates by `now()` is not far, and a cycle of the next day is not in the future."""
    yesterday = now - timedelta(days=1)
    afternoon = yesterday.replace(hour=15, minute=0, second=10, microsecond=0)
    back = (yesterday.weekday() - 2) % 7
    return afternoon - timedelta(days=back or (7 if afternoon > yesterday else 0))


@pytest.fixture(scope="session")
def wednesday_ms() -> int:
    return to_ms(last_wednesday(datetime.now(UTC)))


@pytest.fixture
def clock(wednesday_ms: int) -> SetClock:
    return SetClock(wednesday_ms)


@pytest.fixture
def world(tmp_path: Path, redis_url: str, database_url: str, prefix: str, clock: SetClock) -> Iterator[World]:
    """On the free plan: one call brings bars and price of an asset."""
    made = World(tmp_path, redis_url, database_url, prefix, clock)
    yield made
    made.provider.stop()


@pytest.fixture
def ddl_dir(shared_dir: Path) -> Path:
    """The shapes beside the repository; skips where they are absent."""
    folder = shared_dir / "platform" / "ddl"
    if not folder.is_dir():
        pytest.skip("the shapes of platforms (../shared/platform/ddl) are not beside this checkout")
    return folder
