from __future__ import annotations

import pytest

from tests.commands.conftest import free, make_world, paid, template, years_of_bars
from tests.world import RealClock, SetClock

__all__ = ["free", "make_world", "paid", "template", "years_of_bars"]


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()
