"""`docs/tables.md` has each column of the tables and views that `init` makes in an empty database."""

from __future__ import annotations

import re

from assetbatch.config.tables import TableMappings
from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import DerivedSize
from tests.documented import REPOSITORY

from .conftest import Sql

PAGE = REPOSITORY / "docs" / "tables.md"
SCHEMAS = ["trading", "market_data", "data_sources"]


def documented() -> dict[str, dict[str, str]]:
    """The columns of each table and view with their types, in the order of the page."""
    tables = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        names, _, text = part.partition("\n")
        rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| (\S.*) \|$", text, re.MULTILINE)
        for name in names.split(", "):
            tables[name] = {column: type_name for column, type_name, _ in rows}
        assert len(rows) == text.count("\n| ") - 1, f"a row of {names} cannot be read"
    return tables


def test_every_column_is_documented_with_its_type_in_its_order(empty: Store, sql: Sql) -> None:
    stock = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
    empty.initialise(TableMappings(), [stock], derived=tuple(DerivedSize))
    found: dict[str, dict[str, str]] = {}
    for table, column, type_name in sql(
        "SELECT table_schema || '.' || table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = ANY (%s) ORDER BY table_schema, table_name, ordinal_position",
        SCHEMAS,
    ):
        found.setdefault(table, {})[column] = type_name
    pages = documented()
    assert pages == found
    assert {name: list(columns) for name, columns in pages.items()} == {
        name: list(columns) for name, columns in found.items()
    }
