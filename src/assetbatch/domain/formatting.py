"""Moments, durations and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from assetbatch.domain.market_hours import from_ms


def moment(at_ms: int) -> str:
    """Return a moment as `2026-11-20 22:00 UTC`."""
    return from_ms(at_ms).strftime("%Y-%m-%d %H:%M UTC")


def iso(at_ms: int) -> str:
    """Return a moment in ISO 8601, in UTC with milliseconds, which every Python can read:
    `2026-11-20T22:00:00.000+00:00`."""
    second, ms = divmod(at_ms, 1000)
    return f"{_second(second)}.{ms:03d}+00:00"


def iso_or_none(at_ms: int | None) -> str | None:
    """Return the same of a moment that may be None."""
    return None if at_ms is None else iso(at_ms)


@lru_cache(maxsize=1024)  # the prices of one answer are from the same few seconds
def _second(second: int) -> str:
    return from_ms(second * 1000).replace(tzinfo=None).isoformat()


@lru_cache(maxsize=1024)  # what was stored together has one age
def format_duration(ms: int) -> str:
    """Return a duration in its largest fitting unit: `42 s`, `7 min`, `3 h`, `2 d`."""
    seconds = max(0, ms) / 1000
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86400)} d"


def ago(ms: int) -> str:
    """Return a duration as `7 min ago`."""
    return f"{format_duration(ms)} ago"


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return the names with commas: the first `most`, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def together(names: Sequence[str]) -> str:
    """Return the names as `forex, crypto and stocks`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 call`, `3 calls`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def price(value: float) -> str:
    """Return a price with its own digits and grouped thousands: `4,083.31`, `1.08542`."""
    digits = 2 if abs(value) >= 1000 else 3 if abs(value) >= 10 else 5 if abs(value) >= 0.1 else 8
    return f"{value:,.{digits}f}"
