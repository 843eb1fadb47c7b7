"""Exceptions of redis-py as RedisError: what happened, and what to do. No message holds the URL."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

import redis.exceptions

from assetbatch.config.urls import UrlNames
from assetbatch.errors import RedisError
from assetbatch.secret import masked_prose
from assetbatch.state.connection import SOCKET_SECONDS, HungError, SentinelLoginError, ServersChangingError
from assetbatch.state.scripts import script_lines

_UNNAMED = UrlNames("redis.url or REDIS_URL", "redis.url or REDIS_URL")
_names = _UNNAMED

_NOBODY_LISTENS = re.compile(
    rf"Error (?:{errno.ECONNREFUSED}|{errno.ENOENT}) connecting to (.+)\. (?:Connection refused|No such .*)"
)
"""The library's words for a server that does not run. Its exception holds the errno in no other way."""

_ACL_HINT = "allow this user +@all on the keys of redis.prefix and on {assetbatch}* (docs: ACL SETUSER)"


def name_settings(names: UrlNames | None) -> None:
    """Let the hints say where the URL is configured. A process has one Redis."""
    global _names
    _names = names or _UNNAMED


def translated(error: Exception, script: str = "") -> RedisError:
    """Return the RedisError for an exception of the library; `script` is the name of the script that ran."""
    for kinds, translate in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translate(error)
    return _reply_error(error, script)


def _sentinel_login(error: Exception) -> RedisError:
    refused = RedisError(
        f"the sentinels refuse the login: {_text(error)}",
        hint=f"give sentinel_username and sentinel_password in {_names.address}: "
        "redis+sentinel://…/mymaster?sentinel_password=…",
    )
    refused.is_login_refused = True
    return refused


def _servers_changing(error: Exception) -> RedisError:
    return RedisError(
        f"redis is changing its server: {_text(error)}",
        hint="a failover or a reshard takes some seconds; if it lasts, look at the servers' logs",
    )


def _login(error: Exception) -> RedisError:
    refused = RedisError(
        f"redis refuses the login: {_text(error)}", hint=f"check user and password in {_names.login}"
    )
    refused.is_login_refused = True
    return refused


def _permission(error: Exception) -> RedisError:
    return RedisError(f"redis denies a command: {_text(error)}", hint=_ACL_HINT)


def _full(_error: Exception) -> RedisError:
    return RedisError(
        "redis is full (maxmemory is reached)", hint="raise maxmemory or free memory; nothing was half done"
    )


def _read_only(_error: Exception) -> RedisError:
    return RedisError("redis is a read-only replica", hint=f"point {_names.address} at the master")


def _loading(_error: Exception) -> RedisError:
    return RedisError("redis is still loading its data", hint="wait; the next start will find it ready")


def _master_down(_error: Exception) -> RedisError:
    return RedisError(
        "redis is a replica that has lost its master",
        hint=f"point {_names.address} at the master, or bring the master back",
    )


def _timeout(error: Exception) -> RedisError:
    seconds = error.seconds if isinstance(error, HungError) else SOCKET_SECONDS
    return RedisError(
        f"redis did not answer within {seconds:g} s", hint="is the server overloaded or stopped?"
    )


def _unreachable(error: Exception) -> RedisError:
    text = _NOBODY_LISTENS.sub(r"connecting to \1: nothing listens there", _text(error))
    return _tls_error(error) or RedisError(
        f"redis cannot be reached: {text}", hint=f"is it running, and is {_names.address} right?"
    )


_TRANSLATIONS: tuple[tuple[type[Exception], Callable[[Exception], RedisError]], ...] = (
    (SentinelLoginError, _sentinel_login),
    (ServersChangingError, _servers_changing),
    (redis.exceptions.AuthenticationError, _login),
    (redis.exceptions.NoPermissionError, _permission),
    (redis.exceptions.OutOfMemoryError, _full),
    (redis.exceptions.ReadOnlyError, _read_only),
    (redis.exceptions.BusyLoadingError, _loading),
    (redis.exceptions.MasterDownError, _master_down),
    (redis.exceptions.TimeoutError, _timeout),
    (redis.exceptions.ConnectionError, _unreachable),
)
"""The first that fits counts: several of these are kinds of ConnectionError."""


def _reply_error(error: Exception, script: str) -> RedisError:
    """Return what an error reply means that the library has no exception of its own for, as in scripts."""
    text, code = _text(error), _code(error)
    if code == "BUSY":
        return RedisError(
            "redis is busy with a script that has run for too long",
            hint="whose is it? if it has written nothing yet, SCRIPT KILL ends it",
        )
    if "OOM" in text:
        return _full(error)
    if "ACL failure" in text or "can't run" in text:  # from inside a script
        return _permission(error)
    if "READONLY" in text or code in ("MISCONF", "NOREPLICAS"):
        return RedisError(f"redis takes no writes: {text}", hint="look at the server's log and its disk")
    if place := _script_place(error, script):
        return RedisError(
            f"a script fails in redis, {place}: {_script_problem(error)}",
            hint="this is a bug of assetbatch, or its keys were changed by hand: please report this line",
        )
    return RedisError(f"redis refuses: {text}", hint="redis 7 or valkey 8 or later is needed")


def _tls_error(error: Exception) -> RedisError | None:
    """Return what a failed TLS handshake was about; None for other errors."""
    from assetbatch.certificates import certificate_problem, tls_failure

    failure = tls_failure(error)
    if failure is None:
        return None
    if problem := certificate_problem(failure):
        return RedisError(
            f"redis: the certificate is refused: {masked_prose(problem)}",
            hint=f"ssl_ca_certs=FILE in {_names.address} or SSL_CERT_FILE names its authority, "
            "ssl_certfile=FILE and ssl_keyfile=FILE our own; is this host's clock right?",
        )
    bare = re.sub(r" ?\(_ssl\.c:\d+\)", "", failure.strerror or "")
    said = (failure.reason or bare).lower().replace("_", " ")
    return RedisError(
        f"redis: no TLS connection: {masked_prose(said)}",
        hint="does the server speak TLS on this port? rediss:// is with TLS, redis:// without",
    )


def _code(error: Exception) -> str:
    """Return the error code of a reply, its first word; the library removes those that it knows."""
    return str(getattr(error, "status_code", None) or _plain(error).partition(" ")[0])


_SCRIPT_LINE = re.compile(r"user_script:(\d+)")


def _script_place(error: Exception, script: str) -> str | None:
    """Return file and line of our Lua code in which a script failed; None for other errors."""
    line = _SCRIPT_LINE.search(str(error))
    if not script or line is None:
        return None
    lines, number = script_lines(script), int(line[1])
    return f"{lines[number - 1].file}:{lines[number - 1].number}" if number <= len(lines) else f"{script}.lua"


def _script_problem(error: Exception) -> str:
    """Return what Lua or the server says, without the server's own names of script and line."""
    text = re.sub(r"^user_script:\d+: ", "", _plain(error))
    text = re.sub(r" script: .*@user_script:\d+\.?$", "", text)
    return masked_prose(text[:200]).rstrip(".")


def _text(error: Exception) -> str:
    return masked_prose(_plain(error)[:200]).rstrip(".")


def _plain(error: Exception) -> str:
    text = " ".join(str(error).split())
    return re.sub(r"^Command # \d+ \(.*?\) of pipeline caused error: ", "", text)
