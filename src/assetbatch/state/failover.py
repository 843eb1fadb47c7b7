"""Servers that stand in for one another: a master that Sentinel names, the owner of our cluster slot.

All our keys lie in one cluster slot, so that one server at a time holds everything. The server may change at
any moment. A connection asks for it whenever it is opened, and is opened anew when it turns out to be wrong.

A master that was replaced may live on and not know it. So a command is sent only to the server that most
Sentinels named at most `VIEW_SECONDS` ago; in a cluster its own quorum stops a node that is cut off.
`Window.recover` and `Queue.is_whole` deal with what servers forget in a failover.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
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

from assetbatch.deadline import monotonic
from assetbatch.errors import DeadlineExceededError
from assetbatch.secret import Secret
from assetbatch.state.connection import (
    VIEW_SECONDS,
    HungError,
    NoSuchMasterError,
    SentinelLoginError,
    ServersChangingError,
    Waiting,
    shortened,
)

PROBE_SECONDS = 1.0
"""Maximum time for the answer of a Sentinel or a node that is asked for the server that holds our keys."""

PAUSE_SECONDS = 0.1

# redis-py annotates some of what is called here and some not.
_parse_url: Any = redis.connection.parse_url
_Connection: Any = redis.connection.Connection

Address = tuple[str, int]

_NOT_HERE: dict[type[Exception], str] = {
    MovedError: "the slot of our keys has just moved to another node",
    AskError: "the slot of our keys is moving to another node",
    TryAgainError: "the slot of our keys is moving to another node",
    ClusterDownError: "the cluster serves no keys now, as in a failover",
    ReadOnlyError: "it is a replica now: a failover is under way",
}
"""Errors of a server that does not hold our keys, or not all of them yet: ask again for the one that does."""


class Patience(Retry):
    """Repeats an operation for a number of seconds; a call inside of it is tried once.

    When the time is over, each further operation fails at once.
    """

    def __init__(self, waiting: Waiting, gone: list[Exception] | None = None) -> None:
        super().__init__(NoBackoff(), 0)
        self._waiting = waiting
        self._gone: list[Exception] = [] if gone is None else gone
        self._until: float | None = None

    def __deepcopy__(self, _memo: object) -> Patience:
        """Return the same for another connection to the same servers."""
        return Patience(self._waiting, self._gone)

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """Run `do`, as the library asks for it, until it succeeds or the time is over.

        Raise what the last try raised.
        """
        if self._gone:
            raise self._gone[0]
        if self._until is not None:
            return super().call_with_retry(do, fail, *args, **options)
        self._until = monotonic() + min(self._waiting.seconds, self._waiting.seconds_left())
        try:
            while True:
                try:
                    return super().call_with_retry(do, fail, *args, **options)
                except (AuthenticationError, NoSuchMasterError):
                    raise
                except DeadlineExceededError:  # the command is over, in the middle of a wait
                    self._gone.append(HungError(self._waiting.answer_seconds))
                    raise
                except self._supported_errors as error:
                    if monotonic() >= self._until or self._waiting.stopped():
                        self._gone.append(error)
                        raise
                time.sleep(PAUSE_SECONDS)
        finally:
            self._until = None


class _Finder:
    """Finds the server that holds our keys; for several threads."""

    what = ""
    """What is found, in words."""

    view_seconds = float("inf")
    """Maximum age of an answer; a node of a cluster says by itself that it owns the cluster slot no more."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._address: Address | None = None
        self._asked_at = 0.0

    def find(self, *, anew: bool = False) -> Address:
        """Return the address, by an answer that is young enough, or a new one. Raise ConnectionError."""
        with self._turn:
            is_old = monotonic() - self._asked_at > self.view_seconds
            if anew or is_old or self._address is None:
                asked_at = monotonic()  # before the first of them answers
                self._address = self._ask()
                self._asked_at = asked_at
            return self._address

    def _ask(self) -> Address:
        raise AssertionError("each kind has its own")

    def _clients(self) -> Iterable[Any]:
        raise AssertionError("each kind has its own")

    def close(self) -> None:
        """Close the connections to the servers that are asked; the next question opens them again."""
        for client in self._clients():
            client.close()


class _Found(_Connection):  # type: ignore[misc]  # untyped on purpose
    """A connection to the server that the finder names; what was left behind gets no further command."""

    def __init__(self, *, finder: _Finder, **options: Any) -> None:
        self._finder = finder
        super().__init__(**options)

    def _connect(self) -> Any:  # the one place that all ways of opening it lead to
        self.host, self.port = self._finder.find(anew=True)
        try:
            return super()._connect()
        except ssl.SSLError:
            raise
        except (OSError, ConnectionError, TimeoutError) as error:
            place = f"{self._finder.what}, {self.host}:{self.port}"
            raise ServersChangingError(f"{place}, does not answer: {error}") from None

    def send_packed_command(self, *args: Any, **options: Any) -> Any:
        """Send a command. Connect again first if another server holds our keys now."""
        if (self.host, self.port) != self._finder.find():
            self.disconnect()
        return super().send_packed_command(*args, **options)

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the next answer; one that says that the keys are elsewhere counts as a lost connection."""
        try:
            return super().read_response(*args, **options)
        except tuple(_NOT_HERE) as error:
            self.disconnect()
            raise ServersChangingError(f"{self.host}:{self.port}: {_NOT_HERE[type(error)]}") from None


class _Pool(ConnectionPool):
    """Connections to the server that the finder names; they are closed together with the finder's own."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections, and those to the servers that are asked."""
        super().disconnect(inuse_connections)
        self.connection_kwargs["finder"].close()


class _FoundOverTls(_Found, SSLConnection):
    """A connection with TLS to the server that the finder names."""


def connect_group(url: Secret, prefix: str, options: dict[str, Any], waiting: Waiting) -> Any:
    """Return a client for `redis+sentinel://` or `redis+cluster://` (`rediss+…` with TLS).

    It connects on first use. `options` are those of any of our connections. While a failover or a move of our
    slot is under way, an operation is `waiting`.
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
    finder = (
        _Master(places, unquote(service), {**asking, **sentinel_login})
        if kind == "sentinel"
        else _Owner(places, f"{prefix}:owner", {**given, **asking})
    )
    return redis.Redis.from_pool(
        _Pool(
            connection_class=_FoundOverTls if transport == "rediss" else _Found,
            finder=finder,
            **{**options, **given, **shortened(given, waiting.answer_seconds), "retry": Patience(waiting)},
        )
    )


def _address(place: str, port: int) -> Address:
    parts = urlsplit(f"//{place}")
    return parts.hostname or "localhost", parts.port or port


def _named(places: list[Address]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in places)


class _Master(_Finder):
    """Finds the master that most of the given Sentinels name."""

    view_seconds = VIEW_SECONDS

    def __init__(self, places: list[Address], service: str, asking: dict[str, Any]) -> None:
        super().__init__()
        self._places = places
        self._service = service
        self._sentinels = [
            redis.Redis(host=host, port=port, decode_responses=True, **asking) for host, port in places
        ]
        self.what = f"the master {service!r} that the sentinels name"

    def _clients(self) -> Iterable[Any]:
        return self._sentinels

    def _ask(self) -> Address:
        named: list[Address | None] = []
        denied: AuthenticationError | None = None
        for sentinel in [*self._sentinels]:
            try:
                answer: Any = sentinel.sentinel_get_master_addr_by_name(self._service)
            except AuthenticationError as error:
                denied = error
            except (
                ConnectionError,
                TimeoutError,
            ):  # it has cost its seconds: the others go first from now on
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)
            else:
                address = (answer[0], int(answer[1])) if answer else None
                named.append(address)
                if address and 2 * named.count(address) > len(self._places):
                    return address
        places = _named(self._places)
        if denied is not None:
            raise SentinelLoginError(f"the sentinels at {places}: {denied}")
        if named and not any(named):
            raise NoSuchMasterError(f"no sentinel knows a master {self._service!r}")
        if not named:
            raise ConnectionError(f"no sentinel answers at {places}")
        raise ServersChangingError(f"most sentinels at {places} do not answer, or do not agree on a master")


class _Owner(_Finder):
    """The node of a cluster that owns the cluster slot of our keys."""

    def __init__(self, places: list[Address], key: str, asking: dict[str, Any]) -> None:
        super().__init__()
        self._key = key
        self._nodes = {place: redis.Redis(host=place[0], port=place[1], **asking) for place in places}
        self.what = "the node that owns the slot of our keys"

    def _clients(self) -> Iterable[Any]:
        return self._nodes.values()

    def _ask(self) -> Address:
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
