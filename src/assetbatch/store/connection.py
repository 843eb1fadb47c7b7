"""One connection to PostgreSQL, and transactions on it that are bounded in time and repeated when asked to.

Nothing here needs session state, so that PgBouncer in transaction mode may stand in between: no startup
options, no server-side prepared statements, every setting local to its transaction.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from assetbatch.errors import ConfigError, DatabaseError
from assetbatch.secret import Secret, masked
from assetbatch.store.failures import READ_ONLY, as_database_error, is_repeatable
from assetbatch.store.statements import statement

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")

_log = logging.getLogger("assetbatch")

_ATTEMPTS = 5

_DEFAULTS = {
    "application_name": "assetbatch",
    # Explicit, since a database in LATIN1 would otherwise refuse names that it can well be asked about.
    "client_encoding": "UTF8",
    # A peer that vanished is noticed within about 15 seconds, by the kernel (TCP only).
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

_NO_PASSWORD_FILE = "/nowhere/pgpass"

_URL_HINT = "write postgresql://user:password@host:5432/name, with @ : / ? # % percent-encoded"


class Target:
    """Where to connect: a libpq URL or conninfo string, and a name for it that is fit to print."""

    def __init__(self, url: str, *, connect_seconds: float) -> None:
        """Read `url`; raises ConfigError, which does not quote it, if it is no such thing."""
        try:
            given = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        except (psycopg.ProgrammingError, UnicodeError):
            given = None
        # A password with a bare @ or / spills over into the parts that are printed: refuse it here.
        if (
            given is None
            or "@" in given.get("host", "") + given.get("dbname", "")
            or not re.fullmatch(r"[\d,]*", given.get("port", ""))
        ):
            raise ConfigError("the database URL cannot be read", hint=_URL_HINT)
        defaults = {**_DEFAULTS, "connect_timeout": str(max(2, round(connect_seconds)))}
        if not (given.get("password") or os.environ.get("PGPASSWORD")) and _is_open_to_others(
            given.get("passfile")
        ):
            _log.warning("the password file of PostgreSQL is not used: others may read it (chmod 600)")
            given["passfile"] = _NO_PASSWORD_FILE
        self._conninfo = Secret(make_conninfo(**{**defaults, **given}))
        self._password = Secret(given.get("password", ""))
        self.place = _place(given)

    def connect(self) -> Connection:
        """A new connection without a transaction; raises psycopg.Error."""
        try:
            return psycopg.connect(self._conninfo.reveal(), autocommit=True, prepare_threshold=None)
        except UnicodeError:  # a name that DNS cannot even be asked for, as "a..b"
            pass
        raise psycopg.OperationalError("failed to resolve host")

    def explain(self, error: psycopg.Error, doing: str) -> DatabaseError:
        """`error` as an error of assetbatch, to be raised outside of the handler that caught it."""
        return as_database_error(error, doing, self.place, self._password.reveal())


def _is_open_to_others(named: str | None) -> bool:
    """Whether libpq would pass over its password file, with a line of its own on stderr."""
    file = named or os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) or bool(mode & 0o077)


def _place(given: dict[str, str]) -> str:
    given = {key: masked(value) for key, value in given.items()}
    host = given.get("host") or given.get("hostaddr") or "the local socket"
    port = f":{given['port']}" if given.get("port") else ""
    user = f" as {given['user']}" if given.get("user") else ""
    name = given.get("dbname") or given.get("user") or "the default database"
    return f"{name} on {host}{port}{user}"


class Session:
    """A connection, opened when needed and again after it was lost; threads that share it take turns."""

    def __init__(self, target: Target, *, within_seconds: float, lock_seconds: float) -> None:
        self._target = target
        self._within_seconds = within_seconds
        self._lock_seconds = lock_seconds
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a thread has its turn now."""
        return self._turn.locked()

    def connect(self) -> None:
        """Open the connection, without a second try; raises DatabaseError."""
        try:
            self._connected()
            return
        except psycopg.Error as error:
            failure = self._target.explain(error, "connecting")
        raise failure

    def close(self) -> None:
        """Close the connection; a transaction that is open on it is rolled back by the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read_only(self) -> DatabaseError:
        """That this database takes no writes, to be raised."""
        message, hint = READ_ONLY
        return DatabaseError(f"connecting at {self._target.place}: {message}", hint=hint)

    def run(self, doing: str, work: Callable[[Connection, bool], T]) -> T:
        """Run `work` in one transaction and commit it; returns what it returned.

        `work` gets the connection and whether an earlier attempt ended in the commit, so that it may or
        may not have been done already. It is run again, at most `_ATTEMPTS` times and within the bound,
        after a deadlock, a conflict or a lost connection: it must be harmless to repeat. Raises
        DatabaseError, with `doing` in its message.
        """
        deadline = time.monotonic() + self._within_seconds
        in_doubt = False

        def attempt() -> T:
            nonlocal in_doubt
            committing = False
            try:
                connection = self._connected()
                self._begin(connection, deadline)
                result = work(connection, in_doubt)
                committing = True
                connection.execute("COMMIT")
            except BaseException as error:
                # The state of the connection is unknown (a signal may have come in the middle): let it go.
                self.close()
                in_doubt = in_doubt or (committing and isinstance(error, psycopg.OperationalError))
                raise
            return result

        try:
            with self._turn:
                try:
                    return attempt()
                except psycopg.Error as error:
                    if not is_repeatable(error):
                        raise
                return _repeated(attempt, deadline)
        except psycopg.Error as error:
            failure = self._target.explain(error, doing)
        except DatabaseError as error:
            failure = type(error)(f"{doing} at {self._target.place}: {error.message}", hint=error.hint)
        raise failure

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._target.connect()
        return self._connection

    def _begin(self, connection: Connection, deadline: float) -> None:
        left_ms = max(1, round((deadline - time.monotonic()) * 1000))
        lock_ms = min(left_ms, round(self._lock_seconds * 1000))
        # A transaction whose client is gone holds its locks for no longer than others wait for them.
        settings = {"statement_ms": left_ms, "lock_ms": lock_ms, "idle_ms": lock_ms}
        psycopg.ClientCursor(connection).execute(
            statement("begin"), {name: str(value) for name, value in settings.items()}
        )


def _repeated(attempt: Callable[[], T], deadline: float) -> T:
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    def is_worth_it(error: BaseException) -> bool:
        return isinstance(error, psycopg.Error) and is_repeatable(error) and time.monotonic() < deadline

    again = Retrying(
        stop=stop_after_attempt(_ATTEMPTS - 1),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        retry=retry_if_exception(is_worth_it),
        reraise=True,
    )
    return again(attempt)
