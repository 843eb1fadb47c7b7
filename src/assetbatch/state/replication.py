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
        """Returns when all that was written before, by anybody, is on one replica at least; at once where no
        replica follows, since then none that is up to date can take over.

        `probe` is a command that finds what was written. False where it finds nothing: the server that it was
        written to is gone, and another has answered, which never had it.

        A write of its own is waited for: commands reach replicas in their order, and WAIT knows only those
        of its own connection. Raises RedisError where replicas follow and none confirms within that time.
        """
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.set(self._keys.fence, "", px=60_000)
            pipeline.execute_command("WAIT", 1, CONFIRM_MS)
            pipeline.execute_command(*probe)
            _, confirmed, found = pipeline.execute()
            if confirmed or not found:
                return bool(found)
            info = self._client.info("replication")
        followers = [info.get(f"slave{n}", {}) for n in range(int(info.get("connected_slaves", 0)))]
        if any(replica.get("state") == "online" for replica in followers):
            raise RedisError(
                f"no replica of redis has confirmed a write within {CONFIRM_MS / 1000:g} s",
                hint="are its replicas overloaded or cut off? what they lack would be lost in a failover",
            )
        return True
