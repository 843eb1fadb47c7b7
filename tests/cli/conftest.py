from __future__ import annotations

from tests.commands.conftest import free, make_world, paid, template, years_of_bars

__all__ = ["free", "make_world", "paid", "template", "years_of_bars"]
