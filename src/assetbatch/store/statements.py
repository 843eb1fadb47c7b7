"""The SQL of the package: `.sql` files beside this module, read once per process."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> bytes:
    """The text of `sql/<name>.sql`, ready for `psycopg.Cursor.execute`."""
    return files("assetbatch.store").joinpath("sql", f"{name}.sql").read_bytes()
