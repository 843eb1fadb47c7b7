"""One connection to PostgreSQL, and transactions on it that are bounded in time and repeated when asked to.

Nothing here needs session state, so that PgBouncer in transaction mode may stand in between: no startup
options, no server-side prepared statements, every setting local to its transaction.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from assetbatch.config.urls import UrlNames
from assetbatch.database.failures import (
    LOCK_NOT_AVAILABLE,
    READ_ONLY,
    DataError,
    as_database_error,
    is_of_data,
    is_repeatable,
)
from assetbatch.database.names import Names
from assetbatch.database.statements import Statements
from assetbatch.errors import ConfigError, DatabaseError, DeadlineExceededError
from assetbatch.secret import Secret, masked

T = TypeVar("T")

_log = logging.getLogger("assetbatch")

_ATTEMPTS = 5

LEFT_SECONDS = 1.5
"""Time of a command that is left to end it when the database has not answered."""

GRACE_SECONDS = 0.5
"""Time for which an answer is waited for beyond the time that the server has for the statement."""

SHORTEST_SECONDS = 0.1

CONNECT_SECONDS = 2
"""Minimum time for a server to take a connection: libpq knows no less."""

_DEFAULTS = {
    "application_name": "assetbatch",
    # A peer that vanished is noticed within about 15 seconds, by the kernel (TCP only).
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

_NO_PASSWORD_FILE = "/nowhere/pgpass"

_URL_HINT = "write postgresql://user:password@host:5432/name, with @ : / ? # % percent-encoded"


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that knows what the owner's tables are called."""

    statements = Statements()
    """The statements for tables of these names; those of our own until `init` or a check has said more."""


PARTS = UrlNames("DB_HOST and DB_PORT", "DB_USER, DB_PASSWORD", "DB_NAME")
"""Where a URL is configured, if nothing else is known."""


class Target:
    """Where to connect: a libpq URL or conninfo string, and a name for it that is fit to print."""

    def __init__(
        self,
        url: str,
        *,
        connect_seconds: float,
        url_names: UrlNames = PARTS,
    ) -> None:
        """Read `url`; raise ConfigError, which does not quote it, if it is no such thing.

        `url_names` says where it is configured.
        """
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
            raise ConfigError(f"the database URL cannot be read: {url_names.address}", hint=_URL_HINT)
        if not (given.get("password") or os.environ.get("PGPASSWORD")) and _is_open_to_others(
            given.get("passfile")
        ):
            _log.warning("the password file of PostgreSQL is not used: others may read it (chmod 600)")
            given["passfile"] = _NO_PASSWORD_FILE
        # Ours, whatever the URL says: what a server in LATIN1 cannot hold is replaced before it is sent.
        self._conninfo = Secret(make_conninfo(**{**_DEFAULTS, **given, "client_encoding": "UTF8"}))
        self._connect_seconds = (
            int(given["connect_timeout"])
            if given.get("connect_timeout", "").isdecimal()
            else round(connect_seconds)
        )
        self._password = Secret(given.get("password", ""))
        self._url_names = url_names
        self.place = _place(given)

    def connect(self, within_seconds: float) -> Connection:
        """Return a new connection without a transaction; raise psycopg.Error."""
        seconds = max(CONNECT_SECONDS, min(self._connect_seconds, round(within_seconds)))
        try:
            connection = _connect(self._conninfo.reveal(), seconds)
        except UnicodeError:  # a name that DNS cannot even be asked for, as "a..b"
            connection = None
        if connection is None:
            raise psycopg.OperationalError("failed to resolve host")
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            # Such a server takes any bytes, but refuses to send those that are no UTF-8 to a client of UTF-8.
            connection.execute("SET client_encoding TO 'SQL_ASCII'")
            for name in ("text", "varchar", "bpchar", "name"):
                connection.adapters.register_loader(name, _AnyText)
        return connection

    def explain(self, error: psycopg.Error, doing: str) -> DatabaseError:
        """Return `error` as an error of assetbatch, to be raised outside of the handler that caught it."""
        return as_database_error(error, doing, self.place, self._password.reveal(), self._url_names)


class _AnyText(Loader):
    """Text of a server that checks no encoding: what other programs have stored need not be UTF-8."""

    def load(self, data: bytes | bytearray | memoryview) -> str:
        """Decode, with U+FFFD for what is no UTF-8."""
        return bytes(data).decode("utf-8", "replace")


def _connect(conninfo: str, seconds: int) -> Connection:
    try:
        return Connection.connect(conninfo, autocommit=True, prepare_threshold=None, connect_timeout=seconds)
    except psycopg.Error as error:
        if "MULE_INTERNAL" not in str(error):  # the one encoding that PostgreSQL cannot convert to UTF-8
            raise
    conninfo = make_conninfo(conninfo, client_encoding="LATIN1")
    return Connection.connect(conninfo, autocommit=True, prepare_threshold=None, connect_timeout=seconds)


def _is_open_to_others(named: str | None) -> bool:
    """Return whether libpq would pass over its password file, with a line of its own on stderr."""
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
    """A connection, opened when needed and again after it was lost; threads that share it take turns.
    `tickers` gives the ticker of each symbol, for bars that are kept under it.

    The server ends what takes too long; where it does not even do that, the connection is cut from here, and
    whatever follows fails at once.
    """

    def __init__(
        self,
        target: Target,
        *,
        within_seconds: float,
        lock_seconds: float,
        seconds_left: Callable[[], float],
        tickers: Callable[[], Mapping[str, str]],
    ) -> None:
        self._target = target
        self._within_seconds = within_seconds
        self._lock_seconds = lock_seconds
        self._seconds_left = seconds_left
        self._connection: Connection | None = None
        self._turn = threading.Lock()
        self._hung: DatabaseError | None = None
        self._tickers = tickers
        self._statements = Statements()

    def use(self, names: Names) -> None:
        """Use tables of these names from now on."""
        self._statements = Statements(names)
        if self._connection is not None:
            self._connection.statements = self._statements

    @property
    def busy(self) -> bool:
        """Whether a thread has its turn now."""
        return self._turn.locked()

    def connect(self) -> None:
        """Open the connection, without a second try; raise DatabaseError."""
        try:
            self._connected(self._seconds())
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
        """Return the error, to be raised, that this database takes no writes."""
        message, hint = READ_ONLY
        return DatabaseError(f"connecting at {self._target.place}: {message}", hint=hint)

    def deadline(self) -> float:
        """Return the moment (of the monotonic clock, in seconds) by which what begins now must have ended."""
        return time.monotonic() + self._seconds()

    def lock_deadline(self) -> float:
        """Return the moment (of the monotonic clock, in seconds) until which a lock is waited for."""
        return min(self.deadline(), time.monotonic() + self._lock_seconds)

    @property
    def names(self) -> Names:
        """What the owner's tables are called."""
        return self._statements.names

    def run(
        self,
        doing: str,
        work: Callable[[Connection, bool], T],
        *,
        deadline: float | None = None,
        lock_seconds: float | None = None,
    ) -> T:
        """Run `work` in one transaction and commit it; return what it returned.

        `work` gets the connection and whether an earlier attempt ended in the commit, so that it may or may
        not have been done already. It is run again, at most `_ATTEMPTS` times and within the deadline, after
        a deadlock, a conflict or a lost connection: it must be harmless to repeat. `deadline` is that of
        several transactions that share one deadline, `lock_seconds` how long a lock is waited for. Raise
        DatabaseError, with `doing` in its message.
        """
        if self._hung is not None:
            raise self._hung
        seconds = self._seconds()
        if deadline is not None:
            seconds = max(SHORTEST_SECONDS, min(seconds, deadline - time.monotonic()))
        ends = time.monotonic() + seconds
        attempt = self._attempts(work, ends, self._lock_seconds if lock_seconds is None else lock_seconds)
        try:
            with self._turn, self._watched(seconds + GRACE_SECONDS, doing):
                try:
                    return attempt()
                except psycopg.Error as error:
                    if self._is_hung() or not is_repeatable(error):
                        raise
                return _repeated(attempt, ends)
        except psycopg.Error as error:
            failure = self._failure(error, doing)
        except DataError:
            raise
        except DatabaseError as error:
            failure = type(error)(f"{doing} at {self._target.place}: {error.message}", hint=error.hint)
        raise failure

    def _attempts(
        self, work: Callable[[Connection, bool], T], ends: float, lock_seconds: float
    ) -> Callable[[], T]:
        """Return what tries the transaction, and remembers whether an earlier try ended in the commit."""
        in_doubt = False

        def attempt() -> T:
            nonlocal in_doubt
            committing = False
            try:
                connection = self._connected(ends - time.monotonic())
                self._begin(connection, ends, lock_seconds)
                result = work(connection, in_doubt)
                committing = True
                connection.execute("COMMIT")
            except BaseException as error:
                # Otherwise the state of the connection is unknown (a signal may have come in the middle).
                if not (_leaves_connection_usable(error) and self._rolled_back()):
                    self.close()
                in_doubt = in_doubt or (committing and isinstance(error, psycopg.OperationalError))
                raise
            return result

        return attempt

    def _rolled_back(self) -> bool:
        """Return whether the transaction has ended cleanly, so that the connection can be used again."""
        try:
            assert self._connection is not None, "only an open transaction is rolled back"
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            return False
        return True

    def _seconds(self) -> float:
        """Return how many seconds a transaction may take now."""
        return max(SHORTEST_SECONDS, min(self._within_seconds, self._seconds_left() - LEFT_SECONDS))

    @contextmanager
    def _watched(self, seconds: float, doing: str) -> Iterator[None]:
        """Cut the connection where the body takes longer."""
        timer = threading.Timer(seconds, self._cut, (seconds, doing))
        timer.daemon = True
        timer.start()
        try:
            yield
        except DeadlineExceededError:  # the command is over, in the middle of a wait
            self._cut(seconds, doing)
            raise
        finally:
            timer.cancel()

    def _frozen(self, seconds: float, doing: str) -> DatabaseError:
        return DatabaseError(
            f"{doing} at {self._target.place}: the database did not answer within {seconds:.3g} s",
            hint="is the server frozen, overloaded, or its disk hanging?",
        )

    def _cut(self, seconds: float, doing: str) -> None:
        self._hung = self._frozen(seconds, doing)
        connection = self._connection
        if connection is None:
            return
        with suppress(psycopg.Error, OSError):  # it may be gone by now
            shared = socket.socket(fileno=os.dup(connection.fileno()))
            shared.shutdown(socket.SHUT_RDWR)  # ends every wait for it, in any thread
            shared.close()

    def _is_hung(self) -> bool:
        return self._hung is not None

    def _failure(self, error: psycopg.Error, doing: str) -> DatabaseError:
        return self._hung or self._target.explain(error, doing)

    def _connected(self, within_seconds: float) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._target.connect(within_seconds)
            self._connection.statements = self._statements
        return self._connection

    def _begin(self, connection: Connection, deadline: float, lock_seconds: float) -> None:
        left_ms = max(1, round((deadline - time.monotonic()) * 1000))
        # before the statement's own end, which would not say that it was a lock
        lock_ms = max(1, min(left_ms * 9 // 10, round(lock_seconds * 1000)))
        # A transaction whose client is gone holds its locks for no longer than others wait for them.
        idle_ms = max(1, min(left_ms, round(self._lock_seconds * 1000)))
        settings = {"statement_ms": left_ms, "lock_ms": lock_ms, "idle_ms": idle_ms}
        psycopg.ClientCursor(connection).execute(
            self._statements("transactions.begin"), {name: str(value) for name, value in settings.items()}
        )
        if any(table.instrument == "polygon_ticker" for table in self._statements.names.of_instruments):
            tickers = msgspec.json.encode(self._tickers()).decode()
            connection.execute(self._statements("transactions.set_tickers"), {"tickers": tickers})


def _leaves_connection_usable(error: BaseException) -> bool:
    if isinstance(error, psycopg.Error):
        return is_of_data(error) or error.sqlstate == LOCK_NOT_AVAILABLE
    return isinstance(error, DataError)


def _repeated(attempt: Callable[[], T], deadline: float) -> T:
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    def is_worth_it(error: BaseException) -> bool:
        if not isinstance(error, psycopg.Error) or not is_repeatable(error):
            return False
        needed = CONNECT_SECONDS if error.sqlstate is None else 0  # the connection was lost
        return time.monotonic() < deadline - needed

    again = Retrying(
        stop=stop_after_attempt(_ATTEMPTS - 1),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        retry=retry_if_exception(is_worth_it),
        reraise=True,
    )
    return again(attempt)
