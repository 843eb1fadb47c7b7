"""Spare calls: a share of the calls that are left over while nothing is in the queue; `lua/_spare.lua`.

`Queue.begin_run` counts them, in the script that a run of the queue begins with anyway.
"""

from __future__ import annotations

from assetbatch.deadline import monotonic
from assetbatch.domain.queueing import CallKind
from assetbatch.state.clock import Clock, server_clock
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id
from assetbatch.state.scripts import Script
from assetbatch.state.window import Grant, Window


class SpareCalls:
    """The spare calls of an installation. `clock_ms` is given by tests only; else Redis TIME counts."""

    def __init__(
        self, client: RedisClient, keys: Keys, window: Window, *, clock_ms: Clock = server_clock
    ) -> None:
        self._client = client
        self._keys = keys
        self._window = window
        self._clock = clock_ms
        self._take = Script(client, "take_spare_call")

    def take(self) -> Grant | None:
        """Return a slot for one, or None where the queue has work, none is left, or no slot is free. Raise
        RedisError."""
        call_id, taken_at = f"{new_id()}:spare", monotonic()
        keys = [*self._keys.queue_waiting, self._keys.spare, *self._window.keys]
        options = {
            "now_ms": self._clock(),
            "window": self._window.options(CallKind.QUEUE),
        }
        granted = self._take(keys, call_id, options=options)
        return Grant(call_id, taken_at) if granted else None

    def rest(self, until_ms: int) -> None:
        """Count none before a moment: there is nothing to verify. Raise RedisError."""
        with redis_errors():
            self._client.hset(self._keys.spare, "rest_until", until_ms)
