"""Groups of Redis servers of a test's own, on loopback: Sentinel with replicas, and a cluster.

ASSETBATCH_TEST_REDIS_SERVER names the server program; otherwise it is Valkey's, as embedded.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from assetbatch.embedded.binaries import find_valkey
from assetbatch.state.failover import Address

MASTER = "mymaster"
DOWN_MS = 1000
"""From when on a server that does not answer is called down. Production takes 5 to 30 s."""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, below 55536 so that a cluster's bus (port + 10,000) exists."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            one.bind(("127.0.0.1", 0))
            if one.getsockname()[1] < 55_000:
                sockets.append(one)
            else:
                one.close()
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits for a condition of real servers."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(redis.exceptions.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, "the servers did not get there"
        time.sleep(0.05)


class Node:
    """One server process with its data; `client` asks it, whoever it is at the moment."""

    def __init__(self, folder: Path, port: int, *options: str, config: str | None = None) -> None:
        self.port = port
        self._folder = folder
        self._folder.mkdir(parents=True)
        self._options = options
        self._config = config
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(
            port=port,
            decode_responses=True,
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )

    @property
    def address(self) -> Address:
        return "127.0.0.1", self.port

    def start(self) -> None:
        program = os.environ.get("ASSETBATCH_TEST_REDIS_SERVER") or find_valkey()
        if program is None:
            pytest.skip("no valkey-server or redis-server here")
        given = []
        if self._config is not None:
            (self._folder / "conf").write_text(self._config)
            given = [str(self._folder / "conf"), "--sentinel"]
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self._folder),
            *self._options,
        ]
        command = [str(program), *given, *options]
        self.process = self._begun(command)
        until(lambda: self._answers(command))

    def _begun(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _answers(self, command: list[str]) -> bool:
        """Whether it answers. One that has ended is begun again: somebody's connection had its port."""
        if self.process is None or self.process.poll() is not None:
            self.process = self._begun(command)
        return bool(self.client.ping())

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def names(self) -> int:
        """The port of the master that this Sentinel names."""
        (state,) = self.client.sentinel_masters().values()
        return int(state["port"])

    def replicas(self) -> int:
        """How many replicas follow it and are up to date."""
        info = self.client.info("replication")
        return sum(info[f"slave{n}"]["state"] == "online" for n in range(info["connected_slaves"]))


_NO_DISK = ("--save", "", "--repl-diskless-sync-delay", "0")


class Group:
    """What both kinds have in common: nodes, a URL, and one of them that holds the keys."""

    url: str
    nodes: Sequence[Node]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def servers(self) -> Sequence[Node]:
        """Those that may hold keys."""
        return self.nodes

    def start(self) -> None:
        """Starts all and waits until they work together."""
        raise AssertionError("each kind has its own")

    def holder(self, key: str) -> Node:
        """The server that holds a key now."""
        raise AssertionError("each kind has its own")

    def stop(self) -> None:
        for node in self.nodes:
            node.client.close()
            node.kill()


class SentinelGroup(Group):
    """A master, replicas, and three Sentinels of which two must agree."""

    def __init__(self, folder: Path, replicas: int = 2) -> None:
        first, *others = free_ports(4 + replicas)
        self._servers = [
            Node(folder / "server0", first, *_NO_DISK),
            *(
                Node(folder / f"server{n}", port, *_NO_DISK, "--replicaof", f"127.0.0.1 {first}")
                for n, port in enumerate(others[:replicas], 1)
            ),
        ]
        config = (
            f"sentinel monitor {MASTER} 127.0.0.1 {first} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_MS}\n"
            f"sentinel failover-timeout {MASTER} 3000\n"
        )
        self.sentinels = [
            Node(folder / f"sentinel{n}", port, config=config) for n, port in enumerate(others[replicas:])
        ]
        self.nodes = [*self._servers, *self.sentinels]
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        self.url = f"redis+sentinel://{places}/{MASTER}"

    @property
    def servers(self) -> Sequence[Node]:
        return self._servers

    def start(self) -> None:
        for node in self.servers:
            node.start()
        until(lambda: self.servers[0].replicas() == len(self.servers) - 1)
        for node in self.sentinels:
            node.start()
        until(lambda: all(self._sees_all(node) for node in self.sentinels))

    def _sees_all(self, sentinel: Node) -> bool:
        (state,) = sentinel.client.sentinel_masters().values()
        return bool(state["num-slaves"] == len(self.servers) - 1 and state["num-other-sentinels"] == 2)

    def holder(self, key: str) -> Node:
        """The server that the Sentinels call the master; it holds all keys."""
        port = self.sentinels[0].names()
        return next(node for node in self.servers if node.port == port)


class Cluster(Group):
    """Three masters that share the slots, and a replica of each."""

    def __init__(self, folder: Path) -> None:
        options = (*_NO_DISK, "--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_MS))
        ports = free_ports(6)
        self.nodes = [Node(folder / f"node{n}", port, *options) for n, port in enumerate(ports)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        first = self.nodes[0].client
        for node in self.nodes[1:]:
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        for n, node in enumerate(self.nodes[:3]):
            slots = (16384 * n // 3, 16384 * (n + 1) // 3 - 1)
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        until(lambda: all(self._known(node) == len(self.nodes) for node in self.nodes))
        for master, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            replicate = partial(replica.client.execute_command, "CLUSTER", "REPLICATE")
            until(partial(replicate, self.id_of(master)))
        until(lambda: all(self._ok(node) for node in self.nodes))
        until(lambda: all(node.replicas() == 1 for node in self.nodes[:3]))

    @staticmethod
    def _known(node: Node) -> int:
        return int(node.client.cluster("info")["cluster_known_nodes"])

    @staticmethod
    def _ok(node: Node) -> bool:
        return bool(node.client.cluster("info")["cluster_state"] == "ok")

    @staticmethod
    def id_of(node: Node) -> str:
        return str(node.client.execute_command("CLUSTER", "MYID"))

    def holder(self, key: str) -> Node:
        """The node that owns a key's slot, as another says it."""
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                continue
            try:
                node.client.exists(key)
            except redis.exceptions.MovedError as moved:
                found = next(one for one in self.nodes if one.port == moved.port)
                if found.process is not None and found.process.poll() is None:
                    return found
                continue
            except redis.exceptions.RedisError:
                continue
            return node
        raise redis.exceptions.ClusterDownError("nobody owns the slot now")

    def masters(self) -> list[Node]:
        """The nodes that live and own slots."""
        living = [node for node in self.nodes if node.process and node.process.poll() is None]
        return [node for node in living if node.client.role()[0] == "master"]

    def move_slot(self, key: str, pause_seconds: float = 0.0) -> tuple[Node, Node]:
        """Moves the slot of a key to another master, as a reshard does it; returns from where and where to.

        With a pause the slot stays on its way for so long, half of its keys here and half there.
        """
        source = self.holder(key)
        target = next(node for node in self.masters() if node is not source)
        slot = source.client.execute_command("CLUSTER", "KEYSLOT", key)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        keys = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100_000)
        half = len(keys) // 2
        for some in (keys[:half], keys[half:]):
            if some:
                source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *some)
            time.sleep(pause_seconds / 2)
        while left := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100_000):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *left)
        for node in (target, source):
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))
        return source, target
