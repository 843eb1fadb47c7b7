"""The SQL of the package: `.sql` files beside this module, read once per process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_PLACE = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)?)\}")


@cache
def statement(name: str) -> bytes:
    """The text of `sql/<name>.sql`, ready for `psycopg.Cursor.execute`."""
    return files("assetbatch.store").joinpath("sql", f"{name}.sql").read_bytes()


def rendered(text: str, values: Mapping[str, str]) -> str:
    """Return a template with its places (`{bars}`, `{bars.ts}`) filled in. A `{}` of jsonb is none."""
    return _PLACE.sub(lambda found: values[found[1]], text)
