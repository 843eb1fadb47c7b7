"""Redis servers of a test's own, to be killed, filled and misconfigured."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from assetbatch.embedded.binaries import find_valkey
from assetbatch.secret import Secret
from assetbatch.state.connection import RedisClient, connect


class OwnServer:
    """A server of the test's own that can be killed and started again on the same data."""

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self.options = options
        self.socket = folder / "s"
        self.clients: list[RedisClient] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_valkey()
        if program is None:
            pytest.skip("no valkey-server or redis-server here")
        base = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), *base, *self.options], stdout=log, stderr=log, env=self._environment
            )
        deadline = time.monotonic() + 10
        probe = redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))
        while time.monotonic() < deadline:
            try:
                probe.ping()
                break
            except redis.exceptions.AuthenticationError:
                break  # an answer
            except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
                time.sleep(0.01)
        else:
            pytest.fail((self.folder / "log").read_text())
        probe.close()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def client(self, login: str = "") -> RedisClient:
        """Connected as the program does it; `login` is `user:password` or `:password`."""
        self.clients.append(connect(Secret(f"unix://{login}{'@' if login else ''}{self.socket}")))
        return self.clients[-1]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., OwnServer]]:
    servers: list[OwnServer] = []

    def start(*options: str) -> OwnServer:
        servers.append(OwnServer(tmp_path, *options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        for client in server.clients:
            client.close()
        server.kill()
