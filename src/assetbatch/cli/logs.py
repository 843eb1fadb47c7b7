"""The log on stderr: short text on a terminal, one dated line per event elsewhere, or JSON.

A log file has all of it, with what is done, whatever stderr shows.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from enum import StrEnum
from pathlib import Path
from types import TracebackType

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
    command: str,
    cycle_id: str,
    log_format: LogFormat,
    verbosity: int,
    *,
    log_file: Path | None = None,
    notices: logging.Filter | None = None,
) -> None:
    """Send the program's log to stderr, and to a file if there is one.

    `verbosity` is for stderr: -1 errors, 0 warnings, 1 what is done, 2 why. The file has what is done, or
    more. `notices` holds lines back from stderr only.
    """
    logging.addLevelName(NOTICE, "NOTICE")

    def formatter(*, dated: bool) -> logging.Formatter:
        if log_format is LogFormat.JSON:
            return _Json(command, cycle_id)
        return _Text(command, dated=dated)

    level = {-1: logging.ERROR, 0: NOTICE, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setLevel(level)
    stderr.setFormatter(formatter(dated=log_format is not LogFormat.AUTO or not sys.stderr.isatty()))
    if notices:
        stderr.addFilter(notices)
    logger = logging.getLogger("assetbatch")
    logger.handlers[:] = [stderr]
    logger.propagate = False
    logger.setLevel(level)
    if log_file:
        from assetbatch.cli.log_file import LogFile  # most starts by hand have none

        file = LogFile(log_file)
        file.setLevel(min(level, logging.INFO))
        file.setFormatter(formatter(dated=True))
        logger.addHandler(file)
        logger.setLevel(file.level)
        file.open()


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
    logger = logging.getLogger("assetbatch")
    for handler in logger.handlers[1:]:  # the file has what stderr has
        for line in text.splitlines():
            handler.handle(logger.makeRecord(logger.name, logging.CRITICAL, "", 0, line, (), None))


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
