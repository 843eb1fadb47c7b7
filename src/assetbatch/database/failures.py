"""What PostgreSQL and libpq report, as errors that say what to do and never contain a password.

A failed statement has an SQLSTATE (PostgreSQL's appendix A). A failed connection has none, only libpq's
text: it is matched in English and otherwise shown as it is. The original exception is never chained to
the new one, because its text may quote parts of the URL.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import psycopg

from assetbatch.config.urls import UrlNames
from assetbatch.errors import DatabaseError, SchemaMissingError
from assetbatch.secret import HIDDEN, masked_prose

INIT_HINT = "run assetbatch init"

# Besides deadlocks and conflicts: the server ended the session, also one that slept in a transaction.
_REPEATABLE = {"25P03", "40001", "40P01", "57P01", "57P02", "57P03"}
_NO_TABLE = {"42P01", "3F000"}

_NOT_OF_DATA = frozenset(
    f"{one}{other}"
    for one, others in (("0", "8ALPZ"), ("2", "04568BDF"), ("3", "4BDF"), ("4", "02"), ("5", "3578"))
    for other in others
) | {"72", "F0", "HV", "XX"}
"""Classes of SQLSTATE that speak of the statement, the role, the connection or the server. All others refuse
values: 22 and 23, P0 of PL/pgSQL, 54 of an index, and whatever class a trigger has made up."""

NOT_ABOUT_THE_TABLE = ("08", "40", "53", "55", "57", "58", "XX")
"""Classes of errors that come from the state of the server: lost, deadlock, full, locked, cancelled."""

ROW_REFUSED = "42501"
"""A row-level policy refuses a row with the SQLSTATE of a missing right."""


class _Words(NamedTuple):
    """A message, and a hint with the names of the settings (`UrlNames`) in braces."""

    message: str
    hint: str


READ_ONLY = _Words("the database is read-only", "use the primary, or turn default_transaction_read_only off")

_BUSY = _Words("other writers kept getting in between", "try again; the next cycle does")
_LOGIN = _Words("the server refuses the login", "check {login} and the server's pg_hba.conf")
_PASSWORD = _Words(
    "the server refuses the login",
    "it wants a password: set DB_PASSWORD_FILE, or another form of DB_PASSWORD",
)
_CERTIFICATE = _Words(
    "a certificate is refused, the server's or ours",
    "sslrootcert=FILE in the URL names the server's authority, sslcert=FILE and sslkey=FILE our own; "
    "sslmode=verify-full also wants the host's name in it",
)
_NO_DATABASE = _Words("there is no such database", "check {database}")
_LOST = _Words("the connection was lost", "see the server's log; try again")
_NO_SLOT = _Words("the server has no connection left", "raise max_connections or close idle sessions")
_NOBODY = _Words("nothing listens there", "start PostgreSQL, or check {address}")
_STARTING = _Words("the server is starting up or shutting down", "try again in a moment")

_PERMISSION = _Words(
    "permission denied",
    "GRANT it to the role, or run assetbatch init once as the owner; or see its row policies",
)

_BY_STATE = {
    "22001": _Words("a column is too short", "widen the column"),
    "22003": _Words("a column's type is too small", "widen the column"),
    "22P02": _Words("a column's type cannot hold the value", "change the type, or extend the enum"),
    "25006": READ_ONLY,
    "25P03": _Words("the transaction was open for too long", "was the machine asleep? try again"),
    "40001": _BUSY,
    "40P01": _BUSY,
    "42P07": _Words(
        "a table is there already", "rename or drop it: a partition that was detached keeps its name"
    ),
    "42703": _Words("a column is missing", "restore it; `assetbatch init` had made or found it"),
    "53100": _Words("the server's disk is full", "free space on the database server"),
    "53200": _Words("the server is out of memory", "look at the database server's memory"),
    "53300": _NO_SLOT,
    "55P03": _Words("a lock was not free in time", "find its holder in pg_locks and pg_stat_activity"),
    "57014": _Words("a statement was cancelled before its end", "it took too long: see pg_stat_activity"),
    "57P01": _STARTING,
    "57P02": _STARTING,
    "57P03": _STARTING,
}

_BY_TEXT = (
    (r"no password supplied", _PASSWORD),
    (r"authentication failed|pg_hba", _LOGIN),
    (r'role ".*" (does not exist|is not permitted)', _LOGIN),
    (r"database .* does not exist|no such database", _NO_DATABASE),
    (r"permission denied", _Words("permission denied", "GRANT CONNECT ON DATABASE to the user")),
    (r"too many|connection slots", _NO_SLOT),
    (r"starting up|shutting down|recovery", _STARTING),
    (r"certificate", _CERTIFICATE),
    (
        r"does not support SSL",
        _Words("the server speaks no TLS", "turn its ssl on, or choose sslmode=prefer"),
    ),
    (r"timeout expired", _Words("the server did not answer in time", "check {address} and the firewall")),
    (r"refused|No such file or directory", _NOBODY),
    (r"resolve host|translate host name", _Words("the host name is unknown", "check {address}")),
    (r"closed the connection|connection.*(lost|reset|closed)|Connection timed out", _LOST),
)


UNTRANSLATABLE = "22P05"
"""The server's encoding has no such character, though Python's codec of that name has."""


class DataError(DatabaseError):
    """PostgreSQL refuses a value, not the statement: without it, the rest can be stored."""

    def __init__(self, message: str, *, hint: str | None = None, said: str, state: str) -> None:
        super().__init__(message, hint=hint)
        self.said = said
        """What PostgreSQL said, with the column or the constraint where it named one."""
        self.state = state
        self.table: str | None = None
        self.column: str | None = None
        self.constraint: str | None = None


class LockedError(DatabaseError):
    """Another transaction holds what is needed, for longer than is waited."""


class NotAdmittedError(DatabaseError):
    """The server is there. It refuses the login, or has no such database."""


LOCK_NOT_AVAILABLE = "55P03"


def said_by(error: psycopg.Error) -> str:
    """Return the server's message, or libpq's, in one line."""
    return " ".join((error.diag.message_primary or str(error)).split())


def is_of_data(error: psycopg.Error) -> bool:
    """Return whether PostgreSQL has refused a value, by the class of the SQLSTATE."""
    return error.sqlstate is not None and error.sqlstate[:2] not in _NOT_OF_DATA


def is_repeatable(error: psycopg.Error) -> bool:
    """Return whether the transaction may succeed later: after a deadlock, a conflict, a lost connection."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate in _REPEATABLE or error.sqlstate.startswith("08")


def as_database_error(
    error: psycopg.Error, doing: str, place: str, password: str, names: UrlNames
) -> DatabaseError:
    """Return what to raise outside of the handler that caught `error`.

    `doing` is what was tried, `place` names database, host and user, `password` is replaced wherever the
    server's own words should repeat it, `names` says where the URL is configured.
    """
    raw = said_by(error)
    said = masked_prose(raw.replace(password, HIDDEN) if password else raw)
    state = error.sqlstate
    if state and (is_of_data(error) or state == ROW_REFUSED):
        return _as_data_error(error, f"{doing} at {place}", said, state)
    if state in _NO_TABLE:
        return SchemaMissingError(f"{doing} at {place}: {said}", hint=INIT_HINT)
    words = _BY_STATE.get(state) if state else _by_text(raw)
    if words in (_LOGIN, _PASSWORD, _NO_DATABASE):
        kind: type[DatabaseError] = NotAdmittedError
    else:
        kind = LockedError if state == LOCK_NOT_AVAILABLE else DatabaseError
    if words is None:
        hint = "see the server's log" if state else f"check {names.address}"
        return DatabaseError(f"{doing} at {place}: {said}", hint=hint)
    # The server's words name the table or the column; libpq's add nothing to ours.
    detail = f" ({said})" if state else ""
    hint = words.hint.format(**names._asdict())
    raised = kind(f"{doing} at {place}: {words.message}{detail}", hint=hint)
    raised.is_login_refused = words in (_LOGIN, _PASSWORD)
    return raised


def _as_data_error(error: psycopg.Error, where: str, said: str, state: str) -> DataError:
    words = _PERMISSION if state == ROW_REFUSED else _BY_STATE.get(state)
    shown = f"{words.message} ({said})" if words else said
    hint = words.hint if words else "see the constraints and triggers of the table"
    found = DataError(f"{where}: {shown}", hint=hint, said=said, state=state)
    found.column, found.constraint = error.diag.column_name, error.diag.constraint_name
    if error.diag.table_name:
        found.table = f"{error.diag.schema_name}.{error.diag.table_name}"
    return found


def _by_text(said: str) -> _Words | None:
    return next((words for pattern, words in _BY_TEXT if re.search(pattern, said)), None)
