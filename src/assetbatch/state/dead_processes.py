"""Free what dead processes of this machine hold, instead of waiting until it ends by itself.

A process that was killed still holds its slot of the window, its ticket, its place in the lock of a command,
and its leases. It holds the slot for as long as its call might have taken. A process that is denied one of
these looks for dead holders.
"""

from __future__ import annotations

from collections.abc import Sequence

from assetbatch.state.clock import Clock, server_clock
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import is_dead
from assetbatch.state.queue import RetryPolicy
from assetbatch.state.scripts import Script
from assetbatch.state.window import ARRIVAL_SECONDS


class DeadProcesses:
    """What is held below a key prefix and in a window. `clock_ms` is given by tests only.

    `retry` says what becomes of a lease whose call went out, `server_name` is that of a server which keeps
    its memory over a restart.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        window_keys: Sequence[str],
        commands: Sequence[str],
        retry: RetryPolicy,
        clock_ms: Clock = server_clock,
        server_name: str = "",
    ) -> None:
        calls, _, _, waiters, waiters_until, *_ = window_keys
        self._keys = [*keys.queue, calls, waiters, waiters_until, *map(keys.lock, commands)]
        self._owner = keys.queue_owner
        self._retry = retry
        self._server_name = server_name
        self._clock = clock_ms
        self._holders = Script(client, "holders")
        self._free_dead = Script(client, "free_dead")

    def free(self) -> bool:
        """Free what processes hold that are dead for certain; return whether anything was freed.

        Raise RedisError.
        """
        now_ms = self._clock()
        holders = self._holders(self._keys, options={"now_ms": now_ms})
        dead = [process for process in holders if is_dead(process)]
        if not dead:
            return False
        options = {
            "now_ms": now_ms,
            "arrival_ms": round(ARRIVAL_SECONDS * 1000),
            "retry": self._retry,
            "server": self._server_name,
        }
        return bool(self._free_dead([*self._keys, self._owner], *dead, options=options))
