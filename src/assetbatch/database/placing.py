"""Find which moments no partition takes, and what a constraint speaks of.

A platform may partition by whatever it likes: PostgreSQL's own rules of the partitions are asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from assetbatch.database.session import Connection


def unplaced(
    connection: Connection, symbols: Sequence[str], moments_ms: Sequence[int], of: str = "bars"
) -> dict[str, list[int]]:
    """Return the moments, ascending, that no partition of a table of bars takes, of each registered symbol.

    Symbols without such moments are absent; a table without partitions takes all. Raise psycopg.Error.
    """
    rules = [rule for (rule,) in connection.execute(connection.statements("partitions.load_rules", of))]
    if not rules:
        return {}
    # A partition without a rule takes everything. The text is PostgreSQL's own, of its catalogue.
    either = " OR ".join(f"({rule})" if rule else "true" for rule in rules).replace("%", "%%")
    query = connection.statements("partitions.find_unplaced", of, rules=f"({either})")
    found: dict[str, list[int]] = {}
    arguments = {"symbols": list(symbols), "moments": list(moments_ms)}
    for symbol, t_ms in connection.execute(query, arguments):
        found.setdefault(symbol, []).append(t_ms)
    return found


def columns_of(connection: Connection, constraint: str, of: str = "bars") -> list[str]:
    """Return the columns that a constraint of a table of bars speaks of. Raise psycopg.Error."""
    rows = connection.execute(connection.statements("bars.load_constraint_columns", of), {"name": constraint})
    return [name for (name,) in rows]
