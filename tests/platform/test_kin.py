"""Platforms by hand, for what the parts do not make."""

from __future__ import annotations

import pytest

from tests.world import World

from .kin import ADOPTED, REFUSED
from .proof import assert_adopted, assert_refused, platform


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_harmed_is_refused_and_left_as_it_was(world: World, name: str) -> None:
    platform(world, REFUSED[name], REFUSED[name].ddl)
    assert_refused(world, REFUSED[name])


@pytest.mark.parametrize("name", ADOPTED)
def test_what_fits_is_adopted_and_nobody_notices(world: World, name: str) -> None:
    platform(world, ADOPTED[name], ADOPTED[name].ddl)
    assert_adopted(world, ADOPTED[name])
