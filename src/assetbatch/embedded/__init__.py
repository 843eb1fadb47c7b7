"""Valkey and PostgreSQL on demand: the meaning of `embedded` as `redis.url` or `database.url`.

They are real servers from wheels. The first process that asks starts them, all processes of one user that
name the same data folder share them, and the last that leaves stops them. They listen on unix sockets in
private folders only, never on TCP. The data stay in the data folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from assetbatch.embedded.postgresql import PostgresqlServer
from assetbatch.embedded.valkey import ValkeyServer

__all__ = ["EmbeddedServers"]


class EmbeddedServers:
    """This process's share in the servers of one data folder; a context manager.

    Each server starts only when its URL is asked for, so a command that needs Valkey alone never waits for
    PostgreSQL. Children made by fork share their parent's share: the servers stay until they have ended
    too. Several threads must not use it at once.
    """

    def __init__(self, data_folder: Path, *, start_seconds: float = 20.0) -> None:
        folder = Path(os.path.abspath(data_folder))
        self._valkey = ValkeyServer(folder / "valkey", start_seconds)
        self._postgresql = PostgresqlServer(folder / "postgresql", start_seconds)

    def redis_url(self) -> str:
        """Return the URL of a Valkey that answers now.

        Start it if necessary. Ask again after a lost connection.

        Raise RedisError if it cannot be started within `start_seconds`.
        """
        self._valkey.attach()
        return self._valkey.url()

    def database_url(self) -> str:
        """Return the URL of the database `assetbatch` in a PostgreSQL that answers now.

        Start it if necessary.

        Raise DatabaseError if it cannot be started within `start_seconds`.
        """
        self._postgresql.attach()
        return self._postgresql.url()

    def close(self) -> None:
        """Leave the servers; the last user stops them. Never raise; take at most about 25 seconds."""
        try:
            self._valkey.detach()
        finally:  # Ctrl-C must not keep us from leaving the other
            self._postgresql.detach()

    def __enter__(self) -> EmbeddedServers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
