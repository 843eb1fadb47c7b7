"""What becomes of a piece of work."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of one piece of work; what is not in OPEN is recorded as the sync status (of prices)."""

    SUCCESS = "success"
    FRESH = "fresh"
    """Nothing newer can be had, as another answer of this cycle has shown: nothing is recorded of it."""
    FAILED = "failed"
    NOT_ENTITLED = "not_entitled"
    NOT_FOUND = "not_found"
    NO_DATA = "no_data"
    DEFERRED = "deferred"
    """Not asked for want of a slot or of time: stays due."""
    POSTPONED = "postponed"
    """The cycle's calls went into learning what the plan lacks: asked otherwise next time."""


OPEN = frozenset({Status.DEFERRED, Status.POSTPONED})
"""Work that is still to be done; nothing is recorded of it."""
