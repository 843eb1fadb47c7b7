"""Cycle locks: a maximum number of runs of a command at a time, over all hosts.

The place of a dead holder ends by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from assetbatch.errors import RedisError
from assetbatch.state.clock import Clock, ServerClock, server_clock
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id
from assetbatch.state.scripts import Script


class Place:
    """A place among those that run a command."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask

    def keep(self) -> bool:
        """Return whether this process still has its place; raise RedisError.

        A server that has lost its memory gives the place again, unless others have it by now.
        """
        return self._ask()


class Locks:
    """The locks below a key prefix. `clock_ms` is given by tests only; otherwise Redis TIME counts.

    `free_dead` frees what dead processes hold, and returns whether there was anything.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        clock_ms: Clock = server_clock,
        free_dead: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._free_dead = free_dead
        self._keys = keys
        self._clock = clock_ms
        self._acquire = Script(client, "acquire_lock")

    def held(self, command: str) -> list[int]:
        """Return when the places that are held of a command end, in ms; raise RedisError."""
        now = self._clock()
        if now is None:
            now = ServerClock(self._client).now_ms()
        with redis_errors():
            found = self._client.zrangebyscore(self._keys.lock(command), f"({now}", "+inf", withscores=True)
        return [round(end_ms) for _, end_ms in found]

    @contextmanager
    def hold(self, command: str, life_seconds: float, holders: int = 1) -> Iterator[Place | None]:
        """Yield a place of this process among at most `holders` for `life_seconds`; None where all are taken.

        Raise RedisError when Redis cannot be asked. A place that cannot be given back ends by itself.
        """
        key = self._keys.lock(command)
        token, life_ms = new_id(), round(life_seconds * 1000)

        def acquire() -> bool:
            options = {"now_ms": self._clock(), "life_ms": life_ms}
            return bool(self._acquire([key], token, holders, options=options))

        held = acquire() or (self._free_dead() and acquire())
        try:
            yield Place(acquire) if held else None
        finally:
            if held:
                with suppress(RedisError), redis_errors():
                    self._client.zrem(key, f"{token}:{life_ms}")
