"""Servers that stand in for one another: a master that Sentinel names, the owner of our slot in a cluster.

All our keys lie in one slot, so that one server at a time holds everything; who it is may change at any
moment. A connection asks for it whenever it is opened, and is opened anew when it turns out to be wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from assetbatch.bounds import Bound, boot_seconds
from assetbatch.secret import Secret

PATIENCE_SECONDS = 15.0
"""So long one operation waits for a server: a failover takes what the group waits before it calls its master
dead (`down-after-milliseconds`, `cluster-node-timeout`) and a second or two."""

PROBE_SECONDS = 1.0
"""So long a Sentinel or a node is waited for that is asked who holds our keys."""

AGREEMENT_SECONDS = 3.0
"""So long Sentinels may differ on who is the master: they tell each other every two seconds."""

PAUSE_SECONDS = 0.1

LEFT_SECONDS = 1.0
"""So much of a command's bound is left to end it when its patience is over."""

# redis-py annotates some of what is called here and some not.
_parse_url: Any = redis.connection.parse_url
_Sentinel: Any = redis.sentinel.Sentinel
_Connection: Any = redis.connection.Connection

Address = tuple[str, int]

_NOT_HERE = (MovedError, AskError, TryAgainError, ClusterDownError, ReadOnlyError)
"""This server does not hold our keys, or not all of them yet: ask again who does."""


class NoSuchMasterError(ConnectionError):
    """The Sentinels answer, and none knows a master of this name: waiting would not help."""


class Patience(Retry):
    """Repeats for so many seconds, not so many times; what it repeats may use it too, and is tried once."""

    def __init__(self, seconds: float, bound: Bound | None = None) -> None:
        super().__init__(NoBackoff(), 0)
        self._seconds = seconds
        self._bound = bound
        self._until: float | None = None

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """As the library calls it; raises what the last try raised."""
        if self._until is not None:
            return super().call_with_retry(do, fail, *args, **options)
        self._until = boot_seconds() + self._seconds
        if self._bound is not None:
            self._until = min(self._until, boot_seconds() + self._bound.remaining() - LEFT_SECONDS)
        try:
            while True:
                try:
                    return super().call_with_retry(do, fail, *args, **options)
                except (AuthenticationError, NoSuchMasterError):
                    raise
                except self._supported_errors:
                    if boot_seconds() >= self._until or (self._bound and self._bound.stopped):
                        raise
                time.sleep(PAUSE_SECONDS)
        finally:
            self._until = None


class _Finder:
    """Who holds our keys."""

    def __init__(self) -> None:
        self.last: Address | None = None
        """Who was found last: all connections lead there."""

    def find(self) -> Address:
        """Asks, and notes it. Raises ConnectionError."""
        self.last = self.ask()
        return self.last

    def ask(self) -> Address:
        """Who it is now. Raises ConnectionError."""
        raise AssertionError("each kind has its own")

    def moved(self) -> bool:
        """Whether it is another by now. Raises ConnectionError where nobody can say."""
        return False


class _Found(_Connection):  # type: ignore[misc]  # untyped on purpose
    """A connection to the server that `find` names at the moment it is opened; never to one before that."""

    def __init__(self, *, find: _Finder, **options: Any) -> None:
        self._find = find
        super().__init__(**options)

    def _connect(self) -> Any:  # the one place that all ways of opening it lead to
        self.host, self.port = self._find.find()
        return super()._connect()

    def send_packed_command(self, *args: Any, **options: Any) -> Any:
        """As the library calls it, for all that is sent; a server that was left may live on."""
        if (self.host, self.port) != self._find.last:
            self.disconnect()
        return super().send_packed_command(*args, **options)

    def read_response(self, *args: Any, **options: Any) -> Any:
        """The next answer; one that says that the keys are elsewhere counts as a lost connection."""
        try:
            return super().read_response(*args, **options)
        except _NOT_HERE as error:
            self.disconnect()
            raise ConnectionError(f"{self.host}:{self.port} does not hold the keys: {error}") from None


class _FoundOverTls(_Found, SSLConnection):
    """The same with TLS."""


def connect_group(url: Secret, prefix: str, options: dict[str, Any], bound: Bound | None) -> Any:
    """A client for `redis+sentinel://` or `redis+cluster://` (`rediss+…` with TLS); connects on first use.

    `options` are those of any of our connections. While a failover or a move of our slot is under way,
    an operation waits for up to `PATIENCE_SECONDS`.
    """
    parts = urlsplit(url.reveal())
    transport, _, kind = parts.scheme.partition("+")
    login, at, hosts = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query))
    sentinel_login = {name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    service, _, database = parts.path.strip("/").partition("/") if kind == "sentinel" else ("", "", "")
    places = [_address(place, 26379 if kind == "sentinel" else 6379) for place in hosts.split(",")]
    given = _parse_url(f"{transport}://{login}{at}localhost/{database}?{urlencode(query)}")
    for name in ("host", "port", "connection_class"):
        given.pop(name, None)
    tls = {name: value for name, value in given.items() if name.startswith("ssl")} | {
        "ssl": transport == "rediss"
    }
    asking = {
        "socket_timeout": PROBE_SECONDS,
        "socket_connect_timeout": PROBE_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        **tls,
    }
    find = (
        _Master(places, unquote(service), {**asking, **sentinel_login})
        if kind == "sentinel"
        else _Owner(places, f"{prefix}:owner", {**given, **asking})
    )
    return redis.Redis.from_pool(
        ConnectionPool(
            connection_class=_FoundOverTls if transport == "rediss" else _Found,
            find=find,
            **{**options, **given, "retry": Patience(PATIENCE_SECONDS, bound)},
        )
    )


def has_moved(client: Any) -> bool:
    """Whether another server holds our keys by now, as most Sentinels see it: then the client goes there. In
    a cluster the owner itself knows. Raises ConnectionError where too few answer, or they do not agree."""
    finder = client.connection_pool.connection_kwargs["find"]
    if not finder.moved():
        return False
    client.connection_pool.disconnect()
    time.sleep(PAUSE_SECONDS)
    return True


def _address(place: str, port: int) -> Address:
    parts = urlsplit(f"//{place}")
    return parts.hostname or "localhost", parts.port or port


def _named(places: list[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in places)


class _Master(_Finder):
    """The master that Sentinels name."""

    def __init__(self, places: list[Address], service: str, asking: dict[str, Any]) -> None:
        super().__init__()
        self._places = places
        self._service = service
        self._sentinels = _Sentinel(places, sentinel_kwargs=asking)

    def ask(self) -> Address:
        try:
            host, port = self._sentinels.discover_master(self._service)
        except MasterNotFoundError:
            pass
        else:
            return host, int(port)
        service, places = self._service, _named(self._places)
        if any(service not in named for named in self._named_by_each()):
            raise NoSuchMasterError(f"no sentinel knows a master {service!r}")
        raise ConnectionError(f"no master {service!r} that works is known to a sentinel at {places}")

    def moved(self) -> bool:
        """A Sentinel that was cut off, or is the first to know, may name another than the rest."""
        until = boot_seconds() + AGREEMENT_SECONDS
        while True:
            named: list[Address] = []
            for master in (masters.get(self._service) for masters in self._named_by_each()):
                if master:
                    named.append((master["ip"], int(master["port"])))
                    if 2 * named.count(named[-1]) > len(self._places):  # whatever the others say
                        return named[-1] != self.last
            for address in set(named):
                if 2 * named.count(address) > len(named) and 2 * named.count(address) >= len(self._places):
                    return address != self.last
            if boot_seconds() > until:
                places = _named(self._places)
                raise ConnectionError(f"the sentinels at {places} do not answer, or do not agree on a master")
            time.sleep(PAUSE_SECONDS)

    def _named_by_each(self) -> Iterator[dict[str, Any]]:
        """The masters that each Sentinel knows, of those that answer; one that does not, which takes a
        second, is asked last from then on."""
        sentinels: list[Any] = self._sentinels.sentinels
        for sentinel in [*sentinels]:
            try:
                masters = sentinel.sentinel_masters()
            except (ConnectionError, TimeoutError):
                sentinels.remove(sentinel)
                sentinels.append(sentinel)
            else:
                yield masters


class _Owner(_Finder):
    """The node of a cluster that owns the slot of our keys."""

    def __init__(self, places: list[Address], key: str, asking: dict[str, Any]) -> None:
        super().__init__()
        self._key = key
        self._nodes = {place: redis.Redis(host=place[0], port=place[1], **asking) for place in places}

    def ask(self) -> Address:
        for (host, port), node in self._nodes.items():
            try:
                node.exists(self._key)
            except MovedError as moved:
                return moved.host or host, moved.port
            except AskError:
                pass  # the slot is on its way from here: until it is gone, this node answers for it
            except AuthenticationError:
                raise
            except (ConnectionError, TimeoutError, ClusterDownError):
                continue
            return host, port
        raise ConnectionError(f"no node of the cluster answers for our keys at {_named(list(self._nodes))}")
