"""Numbers of foreign documents, which may hold anything."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """Return the value as a finite float; None for anything that is no number."""
    if type(value) is float:  # what nearly all are
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def positive(value: object) -> float | None:
    """Return the value as a finite float above 0; None for anything else."""
    if type(value) is float:  # what nearly all are; NaN is not above 0
        return value if 0.0 < value < math.inf else None
    number = finite(value)
    return number if number is not None and number > 0 else None
