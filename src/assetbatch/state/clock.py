"""The Redis server's time, the one clock that all hosts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from assetbatch.deadline import monotonic
from assetbatch.state.connection import RedisClient, redis_errors

Clock: TypeAlias = Callable[[], int | None]
"""What scripts get as the time of a decision, in ms; None: the server's own. Only tests give moments."""


def server_clock() -> None:
    """Leave the time to the server."""


class ServerClock:
    """Asks Redis once, and goes on by a monotonic clock: what this host's clock says does not matter."""

    def __init__(self, client: RedisClient) -> None:
        with redis_errors():
            seconds, microseconds = client.time()
        self._origin_ms: int = seconds * 1000 + microseconds // 1000
        self._origin = monotonic()

    def now_ms(self) -> int:
        """Return Unix milliseconds, UTC, as the Redis server counts them."""
        return self._origin_ms + round((monotonic() - self._origin) * 1000)
