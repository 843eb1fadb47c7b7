"""What becomes of a piece of work, and the state of an asset."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of a piece of work; what is not in OPEN is recorded as the sync status (of prices)."""

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

    @property
    def label(self) -> str:
        """The status for people: `not found`."""
        return self.value.replace("_", " ")


OPEN = frozenset({Status.DEFERRED, Status.POSTPONED})
"""Work that is still to be done; nothing is recorded of it."""


class AssetState(StrEnum):
    """The state of an asset in the health document."""

    FRESH = "fresh"
    """As new as it can be."""
    DUE = "due"
    """To be refreshed by the next start."""
    STALE = "stale"
    """Late, or its price stands still without a reason."""
    NEVER = "never"
    """No price is stored."""
    DELISTED = "delisted"
    """Nothing comes under the ticker any more, and nothing is asked for."""
    FAILED = "failed"
    NOT_ENTITLED = "not_entitled"
    NOT_FOUND = "not_found"
    NO_DATA = "no_data"

    @property
    def is_fresh(self) -> bool:
        """Whether the price is as new as it can be, or will be by its next turn."""
        return self in (AssetState.FRESH, AssetState.DUE)

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong: it is fresh, or nothing can come any more."""
        return self.is_fresh or self is AssetState.DELISTED

    @property
    def label(self) -> str:
        """The state for people: `not found`."""
        return self.value.replace("_", " ")
