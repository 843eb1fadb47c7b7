"""How good a status, a state or an outcome is: the terminal and the page colour it alike."""

from __future__ import annotations

from enum import StrEnum

from assetbatch.domain.queueing import ItemState
from assetbatch.domain.records import CycleOutcome
from assetbatch.domain.status import AssetState, Status
from assetbatch.health import HealthStatus, Severity


class Tone(StrEnum):
    """A tone. Its name is the class of the page's style."""

    PLAIN = "plain"
    GOOD = "good"
    INFO = "info"
    """Under way: nothing is wrong."""
    WARN = "warn"
    BAD = "bad"


_TONES: dict[str, Tone] = {
    **dict.fromkeys((HealthStatus.HEALTHY, AssetState.FRESH, Status.SUCCESS), Tone.GOOD),
    **dict.fromkeys((CycleOutcome.OK, CycleOutcome.NOTHING), Tone.GOOD),
    **dict.fromkeys((AssetState.DUE, CycleOutcome.PLANNED, ItemState.LEASED, Severity.ADVICE), Tone.INFO),
    **dict.fromkeys((ItemState.WAITING, AssetState.DELISTED), Tone.PLAIN),
    **dict.fromkeys((HealthStatus.DEGRADED, Severity.WARNING, AssetState.NEVER), Tone.WARN),
    **dict.fromkeys(
        (Status.DEFERRED, Status.POSTPONED, CycleOutcome.PARTIAL, CycleOutcome.STOPPED), Tone.WARN
    ),
}


def tone_of(word: str) -> Tone:
    """Return the tone of a status, a severity, a state or an outcome; what is not known here is bad."""
    return _TONES.get(word, Tone.BAD)
