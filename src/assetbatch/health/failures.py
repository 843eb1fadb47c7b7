"""The last failures: when each reason came up first and last, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assetbatch.domain.formatting import iso, listed
from assetbatch.domain.records import Command, CycleRecord
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.health.document import FailureShown

FAILURES_SHOWN = 10
"""Maximum number of failures in the document."""

APART_MS = 60 * MINUTE_MS
"""Failures of one reason that lie further apart are two."""


class _Failure:
    def __init__(self, command: Command, error: str, at_ms: int) -> None:
        self.command = command
        self.error = error
        self.names: dict[str, None] = {}
        self.cycles = 0
        self.first_ms = self.last_ms = at_ms


def failures_of(cycles: Mapping[Command, Sequence[CycleRecord]], now_ms: int) -> list[FailureShown]:
    """Return the failures of the last day, those that came up last first.

    `cycles` are the records of each command, the newest first. The reason of a cycle that broke off counts
    beside those of its assets, unless it says the same.
    """
    found: list[_Failure] = []
    for command, records in cycles.items():
        open_ones: dict[str, _Failure] = {}
        for record in records:
            at_ms = record.started_ms
            if now_ms - at_ms > DAY_MS:
                break
            for error, names in _reasons(record):
                failure = open_ones.get(error)
                if failure is None or failure.first_ms - at_ms > APART_MS:
                    failure = open_ones[error] = _Failure(command, error, at_ms)
                    found.append(failure)
                failure.first_ms = at_ms
                failure.cycles += 1
                failure.names.update(dict.fromkeys(names))
    found.sort(key=lambda failure: failure.last_ms, reverse=True)
    return [
        FailureShown(
            command=failure.command,
            error=failure.error,
            names=listed(list(failure.names)) or None,
            first=iso(failure.first_ms),
            last=iso(failure.last_ms),
            cycles=failure.cycles,
        )
        for failure in found[:FAILURES_SHOWN]
    ]


def _reasons(record: CycleRecord) -> list[tuple[str, tuple[str, ...]]]:
    reasons = [(cause.error, cause.names) for cause in record.causes]
    if record.error and not any(error in record.error for error, _ in reasons):
        reasons.append((record.error, ()))
    return reasons
