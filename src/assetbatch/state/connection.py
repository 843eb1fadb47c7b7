"""The connection to Redis: short timeouts, few retries, errors that say what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from assetbatch.deadline import monotonic
from assetbatch.errors import DeadlineExceededError
from assetbatch.secret import Secret

if TYPE_CHECKING:
    from assetbatch.config.urls import UrlNames
    from assetbatch.deadline import Deadline

RedisClient: TypeAlias = Any
"""A synchronous client with decoded replies. Untyped: redis-py annotates replies as bytes or str, sync or
async alike, so that every use would need a cast."""

SOCKET_SECONDS = 3.0
"""Maximum time to wait for an answer."""

SOCKET_SHARE = 0.25
"""Maximum time to wait for an answer, as a share of the command's deadline, if that is less. The rest is for
storing what has come."""

KEPT_SECONDS, KEPT_SHARE = 4.0, 0.3
"""Time of a command's deadline, or share of it if that is less, for which it waits for no group."""

REPEATS = 2
PAUSE_SECONDS = 0.1

VIEW_SECONDS = 1.0
"""Maximum age of an answer of the Sentinels on which a command is sent to the server that they named."""


class NoSuchMasterError(redis.exceptions.ConnectionError):
    """The Sentinels answer, and none knows a master of this name: waiting would not help."""


class SentinelLoginError(redis.exceptions.AuthenticationError):
    """The Sentinels want a login, or another one: waiting would not help."""


class ServersChangingError(redis.exceptions.ConnectionError):
    """No server holds our keys now: a failover or a move of their slot is under way."""


class Waiting(NamedTuple):
    """How long to wait for an answer or a group that is changing, unless the command is to stop.

    A failover takes the time after which the group calls its master dead (`down-after-milliseconds`,
    `cluster-node-timeout`) and a second or two.
    """

    seconds: float = 15.0
    stopped: Callable[[], bool] = lambda: False
    seconds_left: Callable[[], float] = lambda: float("inf")
    """How many seconds the command may still wait."""
    answer_seconds: float = SOCKET_SECONDS

    @classmethod
    def within(cls, deadline: Deadline | None) -> Waiting:
        """Return how long a command with this deadline may wait. It needs the rest to store what has come."""
        if deadline is None:
            return cls()
        kept = min(KEPT_SECONDS, KEPT_SHARE * deadline.seconds)
        return cls(
            stopped=lambda: deadline.stopped is not None,
            seconds_left=lambda: deadline.remaining() - kept,
            answer_seconds=min(SOCKET_SECONDS, SOCKET_SHARE * deadline.seconds),
        )


# The library would look up its own version to tell the server: 4 ms and two commands at every start.
_NO_LIBRARY_INFO: dict[str, None] = (
    {"driver_info": None} if hasattr(redis, "DriverInfo") else {"lib_name": None, "lib_version": None}
)


class HungError(redis.exceptions.TimeoutError):
    """The server has not answered within `seconds`: no further request is sent to it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.seconds = seconds


class Repeating(Retry):
    """Repeat what a lost connection has left open, at most `REPEATS` times and not beyond `seconds`.

    Once a server has kept a caller waiting for `seconds`, each further request fails at once: a command that
    ends would otherwise wait for each of its last requests.
    """

    def __init__(self, seconds: float, gone: list[Exception] | None = None) -> None:
        super().__init__(NoBackoff(), 0, (redis.exceptions.ConnectionError,))
        self._seconds = seconds
        self._gone: list[Exception] = [] if gone is None else gone
        self._is_inside = False

    def __deepcopy__(self, _memo: object) -> Repeating:
        """Return the same for another connection to the same server."""
        return Repeating(self._seconds, self._gone)

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """Run `do`, as the library asks for it; a call inside of `do` is tried once.

        Raise HungError, or what the last try raised.
        """
        if self._gone:
            raise self._gone[0]
        if self._is_inside:
            return super().call_with_retry(do, fail, *args, **options)
        self._is_inside = True
        began = monotonic()
        try:
            for left in reversed(range(REPEATS + 1)):
                try:
                    return super().call_with_retry(do, fail, *args, **options)
                except redis.exceptions.ConnectionError as error:
                    if monotonic() - began >= self._seconds:
                        self._gone.append(error)
                        raise
                    if not left:
                        raise
                time.sleep(PAUSE_SECONDS)
        except redis.exceptions.TimeoutError:
            self._gone.append(HungError(self._seconds))
            raise self._gone[0] from None
        except DeadlineExceededError:  # the command is over, in the middle of a wait
            self._gone.append(HungError(self._seconds))
            raise
        finally:
            self._is_inside = False


def connect(
    url: Secret,
    prefix: str = "",
    waiting: Waiting = Waiting(),  # noqa: B008 - immutable
    names: UrlNames | None = None,
) -> RedisClient:
    """Return a client for one server (`redis://`, `rediss://`, `unix://`) or for a group of servers, of which
    one at a time holds the keys with this prefix (`redis+sentinel://`, `redis+cluster://`).

    The client connects on first use. It asks again for a lost reply: at most twice, in a group as `waiting`
    says; every script may be repeated. It does not wait again for a server that once took too long.

    `names` says where the URL is configured, for the hints of all errors of this process from now on.
    """
    # Loaded before an error: an import fails where no descriptor is free, or an upgrade replaces files.
    from assetbatch.state.failures import name_settings

    name_settings(names)

    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": waiting.answer_seconds,
        "socket_connect_timeout": waiting.answer_seconds,
        "client_name": "assetbatch",
        **_NO_LIBRARY_INFO,
    }
    if "+" in url.reveal().partition("://")[0]:
        from assetbatch.state.failover import connect_group

        return connect_group(url, prefix, options, waiting)
    retry = Repeating(waiting.answer_seconds)
    client = redis.Redis.from_url(url.reveal(), retry=retry, **options)
    client.connection_pool.connection_kwargs.update(
        shortened(client.connection_pool.connection_kwargs, waiting.answer_seconds)
    )
    return client


def shortened(options: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Return the timeouts of these options, none longer than `seconds`: a URL may only shorten them."""
    names = ("socket_timeout", "socket_connect_timeout")
    return {name: min(seconds, float(options.get(name) or seconds)) for name in names}


@contextmanager
def redis_errors(script: str = "") -> Iterator[None]:
    """Turn the library's exceptions into RedisError, without the URL (it may hold a password).

    `script` is the name of the script that runs, if one does: the server does not say it.
    """
    try:
        yield
    except redis.exceptions.RedisError as error:
        from assetbatch.state.failures import translated  # it imports this module; loaded by `connect`

        raise translated(error, script) from None
