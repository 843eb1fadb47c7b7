"""Logs go to stderr: text on a terminal, one line per event elsewhere, or JSON."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import TextIO

import msgspec

from assetbatch.words import iso

EXTRA_KEYS = ("symbol", "duration_ms", "result", "calls", "exit_code")
"""What a record may carry besides, by `extra`; keys of the JSON log."""


NOTICE = logging.WARNING - 1
"""The level of good news that is shown like a warning: a failure is over."""


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
    """Sends the program's log to stderr. `verbosity`: -1 errors, 0 warnings, 1 what is done, 2 why."""
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
