"""Whether what was written would survive a failover: it is on a replica that may take over."""

from __future__ import annotations

from assetbatch.errors import RedisError
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys

CONFIRM_MS = 2000


class Replication:
    """Asks the server that holds our keys to wait for a replica."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def confirm(self, *probe: str) -> bool:
        """Returns when all that was written before, by anybody, is on every replica that follows; at once
        where none does, since then none that is up to date can take over.

        `probe` is a command that finds what was written. False where it finds nothing: the server that it was
        written to is gone, and another has answered, which never had it.

        A write of its own is waited for: commands reach replicas in their order, and WAIT knows only those
        of its own connection. Raises RedisError where one that follows does not confirm in time.
        """
        with redis_errors():
            followers = self._online()
            pipeline = self._client.pipeline(transaction=False)
            pipeline.set(self._keys.fence, "", px=60_000)
            if followers:
                pipeline.execute_command("WAIT", followers, CONFIRM_MS)
            pipeline.execute_command(*probe)
            *replies, found = pipeline.execute()
            if not found or not followers or replies[-1] >= followers or replies[-1] >= self._online():
                return bool(found)
        raise RedisError(
            f"no replica of redis has confirmed a write within {CONFIRM_MS / 1000:g} s",
            hint="are its replicas overloaded or cut off? what they lack would be lost in a failover",
        )

    def _online(self) -> int:
        """How many replicas follow and are up to date: any of them may take over."""
        info = self._client.info("replication")
        states = [info.get(f"slave{n}", {}).get("state") for n in range(int(info.get("connected_slaves", 0)))]
        return states.count("online")
