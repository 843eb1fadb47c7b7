"""Whether what was written would survive a failover: it is on every replica that may take over."""

from __future__ import annotations

import time
from collections.abc import Callable

from assetbatch.bounds import boot_seconds
from assetbatch.errors import RedisError
from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.state.keys import Keys

CONFIRM_MS = 2000

SETTLE_MS = 5000
"""So long a replica that follows no more may be on its way to take over: Sentinels tell each other of a new
master every two seconds, and learn within one that a replica has become it."""

PAUSE_SECONDS = 0.1


class Replication:
    """Asks the server that holds our keys to wait for its replicas. `moved` says whether another holds them
    by now: a failover may meet a server that still answers."""

    def __init__(self, client: RedisClient, keys: Keys, moved: Callable[[], bool] = lambda: False) -> None:
        self._client = client
        self._keys = keys
        self._moved = moved
        self._followers = script(client, "followers")

    def confirm(self, *probe: str) -> bool:
        """Returns when all that was written before, by anybody, is on every replica that follows; at once
        where none does and none did lately, since then none that is up to date can take over.

        `probe` is a command that finds what was written. False where it finds nothing, or another server
        holds our keys by now: what was written is lost. Raises RedisError where one that follows does not
        confirm in time, or nobody can say who holds our keys.
        """
        until = boot_seconds() + (SETTLE_MS + CONFIRM_MS) / 1000
        with redis_errors():
            while boot_seconds() < until:
                followers, wait_ms = self._follow()
                pipeline = self._client.pipeline(transaction=False)
                # commands reach replicas in their order, and WAIT knows only those of its own connection
                pipeline.hset(self._keys.followers, "confirmed", "")
                pipeline.execute_command("WAIT", followers, CONFIRM_MS)
                pipeline.execute_command(*probe)
                _, confirmed, found = pipeline.execute()
                if not found or self._moved():
                    return False
                if confirmed >= followers and not wait_ms:
                    return True
                if confirmed < followers and self._follow()[0] >= followers:
                    break  # it is there and silent
                time.sleep(PAUSE_SECONDS)
        raise RedisError(
            f"no replica of redis has confirmed a write within {CONFIRM_MS / 1000:g} s",
            hint="are its replicas overloaded or cut off? what they lack would be lost in a failover",
        )

    def _follow(self) -> tuple[int, int]:
        """How many replicas follow and are up to date, and for how many ms that is not to be relied on."""
        followers, wait_ms = self._followers(keys=[self._keys.followers], args=["", SETTLE_MS])
        return followers, wait_ms
