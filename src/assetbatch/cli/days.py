"""Days on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime

import typer

from assetbatch.errors import ConfigError

DAY = "YYYY-MM-DD"


def parse_day(text: str) -> datetime:
    """Return the midnight of a day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - a day, not a moment
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day, expected {DAY} such as 2024-11-01") from None


def check_days(first: date, last: date | None) -> None:
    """Raise ConfigError unless these days are in the past and in their order."""
    if first.year < 1970:
        raise ConfigError("--from is before 1970", hint="write a day such as 2024-11-01")
    if first > datetime.now(UTC).date():
        raise ConfigError(f"--from {first} is in the future", hint="write a day such as 2024-11-01")
    check_order(first, last)


def check_order(first: date, last: date | None) -> None:
    """Raise ConfigError if the last day is before the first."""
    if last and last < first:
        raise ConfigError(f"--to {last} is before --from {first}", hint="the first day comes first")
