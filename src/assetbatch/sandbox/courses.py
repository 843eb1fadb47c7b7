"""The slow course of a made-up price: a sum of waves, a pure function of ticker and day."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import log, sin, tau

from assetbatch.sandbox.universe import Instrument

# Period in days and height in usual daily moves of the waves that make the slow course of a price.
_WAVES = ((5.3, 1.2), (17.0, 2.2), (61.0, 4.0), (190.0, 7.0), (530.0, 10.0))


def slow_course(instrument: Instrument, day: int) -> float:
    """Return the logarithm of the price in ticks at the start of a UTC day, counted from 1970."""
    level, waves = _course(instrument)
    return level + sum([height * sin(phase + speed * day) for height, speed, phase in waves])


@lru_cache(maxsize=32_768)
def _course(instrument: Instrument) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    phases = blake2b(instrument.ticker.encode(), digest_size=len(_WAVES)).digest()
    waves = tuple(
        (instrument.daily_move * moves, tau / period, tau * byte / 256)
        for (period, moves), byte in zip(_WAVES, phases, strict=True)
    )
    return log(instrument.level * 10**instrument.digits), waves
