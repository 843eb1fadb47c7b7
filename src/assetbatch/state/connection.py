"""The connection to Redis: short timeouts, few retries, errors that say what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from assetbatch.deadline import monotonic
from assetbatch.errors import DeadlineExceededError, RedisError
from assetbatch.secret import Secret, masked_prose

if TYPE_CHECKING:
    from assetbatch.deadline import Deadline

RedisClient: TypeAlias = Any
"""A synchronous client with decoded replies. Untyped: redis-py annotates replies as bytes or str, sync or
async alike, so that every use would need a cast."""

SOCKET_SECONDS = 3.0
"""So long an answer is waited for."""

SOCKET_SHARE = 0.25
"""The same as a share of the command's deadline, if that is less: what came in can still be stored."""

KEPT_SECONDS, KEPT_SHARE = 4.0, 0.3
"""So much of a command's deadline, the share if that is less, is not spent on waiting for a group."""

REPEATS = 2
PAUSE_SECONDS = 0.1

VIEW_SECONDS = 1.0
"""How old an answer of the Sentinels may be on which a command is sent to the server that they named."""


class NoSuchMasterError(redis.exceptions.ConnectionError):
    """The Sentinels answer, and none knows a master of this name: waiting would not help."""


class SentinelLoginError(redis.exceptions.AuthenticationError):
    """The Sentinels want a login, or another one: waiting would not help."""


class ServersChangingError(redis.exceptions.ConnectionError):
    """No server holds our keys now: a failover or a move of their slot is under way."""


class Waiting(NamedTuple):
    """How long an answer or a group that is changing is waited for, unless the command is to stop.

    A failover takes what the group waits before it calls its master dead (`down-after-milliseconds`,
    `cluster-node-timeout`) and a second or two.
    """

    seconds: float = 15.0
    stopped: Callable[[], bool] = lambda: False
    seconds_left: Callable[[], float] = lambda: float("inf")
    """How long the command may still wait for anything."""
    answer_seconds: float = SOCKET_SECONDS

    @classmethod
    def within(cls, deadline: Deadline | None) -> Waiting:
        """What a command with this deadline may wait: what came in can still be stored afterwards."""
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
    """The server has not answered within `seconds`: nothing more is asked of it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.seconds = seconds


class Repeating(Retry):
    """Repeats what a lost connection has left open, at most `REPEATS` times and not beyond `seconds`.

    Once a server has kept somebody waiting for so long, all that is asked of it fails at once: a command that
    ends would otherwise wait at each of its last words.
    """

    def __init__(self, seconds: float, gone: list[Exception] | None = None) -> None:
        super().__init__(NoBackoff(), 0, (redis.exceptions.ConnectionError,))
        self._seconds = seconds
        self._gone: list[Exception] = [] if gone is None else gone
        self._is_inside = False

    def __deepcopy__(self, _memo: object) -> Repeating:
        """For another connection to the same server."""
        return Repeating(self._seconds, self._gone)

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """As the library calls it; raises HungError, or what the last try raised. What it repeats may use it
        too, and is tried once."""
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


def connect(url: Secret, prefix: str = "", waiting: Waiting = Waiting()) -> RedisClient:  # noqa: B008 - immutable
    """A client for one server (`redis://`, `rediss://`, `unix://`) or for a group of them, of which one at a
    time holds the keys with this prefix (`redis+sentinel://`, `redis+cluster://`); connects on first use.

    A lost reply is asked for again: at most twice, in a group as `waiting` says. Every script here may be
    repeated. A server that has kept somebody waiting for too long once is not waited for again.
    """
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


_ACL_HINT = "allow this user +@all on the keys of redis.prefix and on {assetbatch}* (docs: ACL SETUSER)"


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns the library's exceptions into RedisError, without the URL (it may hold a password)."""
    try:
        yield
    except SentinelLoginError as error:
        raise RedisError(
            f"the sentinels refuse the login: {_text(error)}",
            hint="give sentinel_username and sentinel_password in redis.url or REDIS_URL: "
            "redis+sentinel://…/mymaster?sentinel_password=…",
        ) from None
    except ServersChangingError as error:
        raise RedisError(
            f"redis is changing its server: {_text(error)}",
            hint="a failover or a reshard takes some seconds; if it lasts, look at the servers' logs",
        ) from None
    except redis.exceptions.AuthenticationError as error:
        raise RedisError(
            f"redis refuses the login: {_text(error)}",
            hint="check user and password in redis.url or REDIS_URL",
        ) from None
    except redis.exceptions.NoPermissionError as error:
        raise RedisError(
            f"redis denies a command: {_text(error)}",
            hint=_ACL_HINT,
        ) from None
    except redis.exceptions.OutOfMemoryError:
        raise RedisError(
            "redis is full (maxmemory is reached)",
            hint="raise maxmemory or free memory; nothing was half done",
        ) from None
    except redis.exceptions.ReadOnlyError:
        raise RedisError(
            "redis is a read-only replica", hint="point redis.url or REDIS_URL at the master"
        ) from None
    except redis.exceptions.BusyLoadingError:
        raise RedisError(
            "redis is still loading its data", hint="wait; the next start will find it ready"
        ) from None
    except redis.exceptions.MasterDownError:
        raise RedisError(
            "redis is a replica that has lost its master",
            hint="point redis.url or REDIS_URL at the master, or bring the master back",
        ) from None
    except redis.exceptions.TimeoutError as error:
        seconds = error.seconds if isinstance(error, HungError) else SOCKET_SECONDS
        raise RedisError(
            f"redis did not answer within {seconds:g} s", hint="is the server overloaded or stopped?"
        ) from None
    except redis.exceptions.ConnectionError as error:
        raise _tls_error(error) or RedisError(
            f"redis cannot be reached: {_text(error)}",
            hint="is it running, and is redis.url or REDIS_URL right?",
        ) from None
    except redis.exceptions.RedisError as error:
        text, code = _text(error), _code(error)
        if code == "BUSY":
            raise RedisError(
                "redis is busy with a script that has run for too long",
                hint="whose is it? if it has written nothing yet, SCRIPT KILL ends it",
            ) from None
        if "OOM" in text:
            raise RedisError(
                "redis is full (maxmemory is reached)",
                hint="raise maxmemory or free memory; nothing was half done",
            ) from None
        if "ACL failure" in text or "can't run" in text:  # from inside a script
            raise RedisError(f"redis denies a command: {text}", hint=_ACL_HINT) from None
        if "READONLY" in text or code in ("MISCONF", "NOREPLICAS"):
            raise RedisError(
                f"redis takes no writes: {text}", hint="look at the server's log and its disk"
            ) from None
        if place := _script_place(error):
            raise RedisError(
                f"a script fails in redis, {place}: {_script_problem(error)}",
                hint="this is a bug of assetbatch, or its keys were changed by hand: please report this line",
            ) from None
        raise RedisError(f"redis refuses: {text}", hint="redis 7 or valkey 8 or later is needed") from None


def _tls_error(error: Exception) -> RedisError | None:
    """What a failed TLS handshake was about."""
    from assetbatch.certificates import certificate_problem, tls_failure

    failure = tls_failure(error)
    if failure is None:
        return None
    if problem := certificate_problem(failure):
        return RedisError(
            f"redis: the certificate is refused: {masked_prose(problem)}",
            hint="ssl_ca_certs=FILE in redis.url or SSL_CERT_FILE names its authority, ssl_certfile=FILE and "
            "ssl_keyfile=FILE our own; is this host's clock right?",
        )
    bare = re.sub(r" ?\(_ssl\.c:\d+\)", "", failure.strerror or "")
    said = (failure.reason or bare).lower().replace("_", " ")
    return RedisError(
        f"redis: no TLS connection: {masked_prose(said)}",
        hint="does the server speak TLS on this port? rediss:// is with TLS, redis:// without",
    )


def _code(error: Exception) -> str:
    """The error code of a reply, its first word; the library removes those that it knows."""
    return str(getattr(error, "status_code", None) or _plain(error).partition(" ")[0])


_SCRIPT_LINE = re.compile(r"user_script:(\d+)")


def _script_place(error: Exception) -> str | None:
    """File and line of our Lua code in which a script failed; None for other errors."""
    name, line = getattr(error, "script_name", None), _SCRIPT_LINE.search(str(error))
    if name is None or line is None:
        return None
    lines, number = _lines(name), int(line[1])
    return f"{lines[number - 1].file}:{lines[number - 1].number}" if number <= len(lines) else f"{name}.lua"


def _script_problem(error: Exception) -> str:
    """What Lua or the server says of it, without the server's own names of script and line."""
    text = re.sub(r"^user_script:\d+: ", "", _plain(error))
    text = re.sub(r" script: .*@user_script:\d+\.?$", "", text)
    return masked_prose(text[:200]).rstrip(".")


def _text(error: Exception) -> str:
    return masked_prose(_plain(error)[:200]).rstrip(".")


def _plain(error: Exception) -> str:
    text = " ".join(str(error).split())
    return re.sub(r"^Command # \d+ \(.*?\) of pipeline caused error: ", "", text)


class Script:
    """A script with its includes, called with `keys` and `args`; asked by its hash, loaded again after SCRIPT
    FLUSH. Its text is read when it is first called: a start uses few of them."""

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name

    @cached_property
    def _registered(self) -> Any:
        return self._client.register_script(_source(self._name))

    @property
    def sha(self) -> str:
        """The hash that the server knows it by."""
        return str(self._registered.sha)

    def __call__(self, *, keys: Sequence[str], args: Sequence[object]) -> Any:
        """Runs it; raises what the library raises, with the name of the script."""
        try:
            return self._registered(keys=keys, args=args)
        except redis.exceptions.ResponseError as error:
            error.script_name = self._name  # type: ignore[attr-defined]  # the server does not say it
            raise


def script(client: RedisClient, name: str) -> Script:
    """The script `lua/<name>.lua`."""
    return Script(client, name)


class _Line(NamedTuple):
    """A line of a script, and the file and the line that it stands in."""

    text: str
    file: str
    number: int


def _source(name: str) -> str:
    return "\n".join(line.text for line in _lines(name))


def _lines(name: str) -> list[_Line]:
    """The script with its includes."""
    folder = resources.files(__package__) / "lua"

    def read(file: str) -> list[_Line]:
        texts = (folder / file).read_text(encoding="utf-8").splitlines()
        return [_Line(text, file, number) for number, text in enumerate(texts, 1)]

    lines: list[_Line] = []
    for line in read(f"{name}.lua"):
        if line.text.startswith("--@include "):
            lines += read(line.text.removeprefix("--@include ").strip())
        else:
            lines.append(line)
    return lines
