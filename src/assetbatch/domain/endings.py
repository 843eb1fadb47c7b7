"""Why a call waits for its slot and why a run of the queue ended, in words for people."""

from __future__ import annotations

from assetbatch.domain.formatting import format_duration
from assetbatch.domain.queueing import DenialReason, Denied
from assetbatch.domain.records import EndReason
from assetbatch.domain.units import SECOND_MS

WAITS_FOR = {
    DenialReason.WINDOW: "all calls of this window are used",
    DenialReason.BLOCKED: "the provider said too many calls",
    DenialReason.LOST: (
        "redis has no log of the last calls with this key "
        "(the key is new there, or redis was restarted, emptied or is another server)"
    ),
    DenialReason.SPACED: "the calls are spread over the runs of the queue",
    DenialReason.RESERVED: "the free calls are kept for the next priority cycle",
}
"""Why a call waits for its slot, for people."""


def wait_in_words(denied: Denied) -> str:
    """Return how long a call waits for its slot; a wait is never told as none."""
    return format_duration(max(SECOND_MS, denied.wait_ms))


def pause_in_words(reason: DenialReason, wait_ms: int, *, begun: bool) -> str:
    """Return that no call is made for a while and why; a pause that has not `begun` begins with the next
    start."""
    since = "" if begun else " from the next start on"
    return f"no calls for {format_duration(wait_ms)}{since}: {WAITS_FOR[reason]}"


TOO_MANY_CALLS = "the provider said too many calls"


ENDINGS = {
    EndReason.EMPTY: "empty",
    EndReason.OUT_OF_TIME: "out of time",
    EndReason.STOPPED: "stopped",
    EndReason.TOO_MANY_CALLS: TOO_MANY_CALLS,
    EndReason.PROVIDER_DOWN: "the provider is down",
}
"""Why a run of the queue ended, for people; OUT_OF_CALLS says how long as well."""


def ending_in_words(reason: EndReason, denied: Denied | None = None) -> str:
    """Return why a run of the queue ended; `denied` is what it would have to wait for."""
    if denied is None:
        return ENDINGS[reason]
    return f"out of calls for {wait_in_words(denied)}: {WAITS_FOR[denied.reason]}"
