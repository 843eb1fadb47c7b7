"""What PostgreSQL does for a statement of the store: the nodes of its plan, as it was carried out."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements

Node = dict[str, Any]


class Cost(NamedTuple):
    """What a statement read: rows of bars, how often a table of them or its index was begun to be read, and
    pages of everything."""

    rows: int
    scans: int
    pages: int


def nodes(connection: Connection, name: str, **parameters: object) -> list[Node]:
    """Run a statement of `sql/` and return the nodes of its plan, the topmost first."""
    query = b"EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) " + Statements()(name)
    connection.execute("SET jit = off")
    row = psycopg.ClientCursor(connection).execute(query, parameters).fetchone()
    assert row is not None, "a plan is one row"
    return _flat(row[0][0]["Plan"])


def _flat(plan: Node) -> list[Node]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _flat(child))]


def scans_of_bars(found: list[Node]) -> list[Node]:
    """The nodes that have read the table of bars or one of its partitions."""
    return [
        node
        for node in found
        if node.get("Relation Name", "").startswith("ohlcv_5m")
        and "Scan" in node["Node Type"]
        and node["Actual Loops"]
    ]


def cost(found: list[Node]) -> Cost:
    """What these nodes, the topmost first, have read."""
    scans = scans_of_bars(found)
    return Cost(
        rows=round(sum(node["Actual Rows"] * node["Actual Loops"] for node in scans)),
        scans=sum(node["Actual Loops"] for node in scans),
        pages=found[0]["Shared Hit Blocks"] + found[0]["Shared Read Blocks"],
    )
