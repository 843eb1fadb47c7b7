from __future__ import annotations

from tests.commands.conftest import free, make_world, paid, template

__all__ = ["free", "make_world", "paid", "template"]
