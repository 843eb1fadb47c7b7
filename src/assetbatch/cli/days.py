"""Days on the command line."""

from __future__ import annotations

from datetime import datetime

import typer

DAY = "YYYY-MM-DD"


def parse_day(text: str) -> datetime:
    """Return the midnight of a day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - a day, not a moment
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day, expected {DAY} such as 2024-11-01") from None
