"""Frees what dead processes of this machine hold, instead of waiting until it ends by itself.

A process that was killed holds a slot of the window for as long as its call might have taken, its turn among
those that wait, its place among those that run a command, and its leases. Whoever is refused for want of
one of these looks for such holders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import is_dead
from assetbatch.state.window import ARRIVAL_SECONDS


class DeadProcesses:
    """What is held below a key prefix and in a window. `clock_ms` is given by tests only.

    `retry` is what becomes of a lease whose call went out: attempts, delay in ms, dead letters to keep.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        window_keys: Sequence[str],
        commands: Sequence[str],
        retry: tuple[int, int, int],
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        calls, _, _, waiters, waiters_until, *_ = window_keys
        self._keys = [*keys.queue, calls, waiters, waiters_until, *map(keys.lock, commands)]
        self._retry = retry
        self._clock = clock_ms
        self._holders = script(client, "holders")
        self._free_dead = script(client, "free_dead")

    def free(self) -> bool:
        """Free what processes hold that are dead for certain; return whether anything was freed.

        Raises RedisError.
        """
        now = str(self._clock()) if self._clock else ""
        with redis_errors():
            dead = [process for process in self._holders(keys=self._keys, args=[now]) if is_dead(process)]
            if not dead:
                return False
            freed = self._free_dead(
                keys=self._keys,
                args=[now, round(ARRIVAL_SECONDS * 1000), *self._retry, msgspec.json.encode(dead)],
            )
        return bool(freed)
