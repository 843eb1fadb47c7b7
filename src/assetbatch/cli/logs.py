"""The log on stderr: short text on a terminal, one dated line per event elsewhere, or JSON."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from enum import StrEnum
from types import TracebackType
from typing import TextIO

import msgspec

from assetbatch.domain.formatting import iso
from assetbatch.errors import NOTICE
from assetbatch.secret import masked_prose

EXTRA_KEYS = ("symbol", "duration_ms", "result", "calls", "exit_code")
"""Keys that a record may carry by `extra`; the JSON log shows them."""


class LogFormat(StrEnum):
    """`auto` is short text on a terminal and dated lines elsewhere; `json` is one object per line."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class _Text(logging.Formatter):
    def __init__(self, command: str, *, dated: bool) -> None:
        super().__init__()
        self._command = command
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        message = " ".join(record.getMessage().split("\n"))
        if self._dated:
            return f"{iso(round(record.created * 1000))} {record.levelname} {self._command}: {message}"
        return message if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {message}"


class _Json(logging.Formatter):
    def __init__(self, command: str, cycle_id: str) -> None:
        super().__init__()
        self._command = command
        self._cycle_id = cycle_id

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": iso(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "command": self._command,
            "cycle_id": self._cycle_id,
            **{key: vars(record)[key] for key in EXTRA_KEYS if key in vars(record)},
        }
        return msgspec.json.encode(event).decode()


def configure(
    command: str, cycle_id: str, log_format: LogFormat, verbosity: int
) -> logging.StreamHandler[TextIO]:
    """Send the program's log to stderr. `verbosity`: -1 errors, 0 warnings, 1 what is done, 2 why."""
    logging.addLevelName(NOTICE, "NOTICE")
    handler = logging.StreamHandler(sys.stderr)
    if log_format is LogFormat.JSON:
        handler.setFormatter(_Json(command, cycle_id))
    else:
        short = log_format is LogFormat.AUTO and sys.stderr.isatty()
        handler.setFormatter(_Text(command, dated=not short))
    logger = logging.getLogger("assetbatch")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel({-1: logging.ERROR, 0: NOTICE, 1: logging.INFO}.get(verbosity, logging.DEBUG))
    return handler


def quiet_libraries() -> None:
    """Keep stderr free of the libraries' lines: they warn, quote their input, or die in a thread.

    `python -W` or PYTHONWARNINGS, which a developer sets, shows their warnings again.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.raiseExceptions = False  # a stderr that cannot be written is no reason for more lines
    logging.getLogger().addHandler(logging.NullHandler())  # or Python prints what has no handler
    sys.excepthook = _report
    threading.excepthook = lambda args: _report(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: logging.getLogger("assetbatch").debug(
        "ignored at the end of an object: %s", args.exc_type.__name__
    )


def _report(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Print the traceback of a bug without the input that its messages quote."""
    import traceback

    text = "".join(traceback.format_exception(kind, error, trace))
    for one in _chain(error):
        said = str(one)
        if said:
            text = text.replace(said, masked_prose(said))
    sys.stderr.write(text)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return the error and those that led to it."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found
