"""Logs go to stderr: text on a terminal, one line per event elsewhere, or JSON."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

import msgspec

from assetbatch.words import iso


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
    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": iso(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "command": self._command,
            "event": record.getMessage(),
        }
        return msgspec.json.encode(event).decode()


def configure(command: str, log_format: LogFormat, verbosity: int) -> None:
    """Sends the program's log to stderr. `verbosity`: -1 errors, 0 warnings, 1 what is done, 2 why."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format is LogFormat.JSON:
        handler.setFormatter(_Json(command))
    else:
        short = log_format is LogFormat.AUTO and sys.stderr.isatty()
        handler.setFormatter(_Text(command, dated=not short))
    logger = logging.getLogger("assetbatch")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel({-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG))
