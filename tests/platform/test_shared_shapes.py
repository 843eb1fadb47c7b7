"""The shapes of `../shared/platform/ddl`, as they are and with the configuration that makes them fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import World

from .proof import assert_adopted, assert_refused, platform
from .shapes import SHARED, Shape


def _named(refused: bool) -> dict[str, Shape]:
    return {name: shape for name, shape in SHARED.items() if bool(shape.refused) is refused}


@pytest.mark.parametrize("name", _named(refused=True))
def test_a_shape_that_would_be_harmed_is_refused_and_left_as_it_was(
    world: World, ddl_dir: Path, name: str
) -> None:
    platform(world, SHARED[name], (ddl_dir / f"{SHARED[name].file}.sql").read_text(encoding="utf-8"))
    assert_refused(world, SHARED[name])


@pytest.mark.parametrize("name", _named(refused=False))
def test_a_shape_that_fits_is_adopted_and_nobody_notices(world: World, ddl_dir: Path, name: str) -> None:
    platform(world, SHARED[name], (ddl_dir / f"{SHARED[name].file}.sql").read_text(encoding="utf-8"))
    assert_adopted(world, SHARED[name])
