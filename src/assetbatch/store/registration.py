"""The vendor's row and the configured assets, entered where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from assetbatch.assets import Asset
from assetbatch.errors import DatabaseError
from assetbatch.store.connection import Connection
from assetbatch.store.text import PLAIN, storable


class Registered(NamedTuple):
    """Symbols of the configuration: those that were added, and those that were there already."""

    added: list[str]
    present: list[str]


def register(connection: Connection, assets: Iterable[Asset], plain: bool = False) -> Registered:
    """Insert what is missing in the open transaction; rows that exist are not touched. What the server's
    encoding cannot hold of a name becomes a question mark; if `plain`, whatever is not ASCII does.

    Raises DatabaseError if a symbol is not there afterwards, psycopg.Error for everything else.
    """
    encoding = connection.info.parameter_status("server_encoding")
    wanted = list(assets)
    if strange := [asset.symbol for asset in wanted if storable(asset.symbol, encoding) != asset.symbol]:
        raise DatabaseError(
            f"the server's encoding {encoding} cannot hold the symbol {', '.join(strange)}",
            hint="name it otherwise, or make the database with ENCODING 'UTF8'",
        )
    rows = {
        asset.symbol: {
            "symbol": asset.symbol,
            "name": storable(asset.name or asset.symbol, PLAIN if plain else encoding),
            "asset_type": str(asset.asset_type),
            "metadata": {},
        }
        for asset in wanted
    }
    statements = connection.statements
    connection.execute(statements("register_provider"))
    document = msgspec.json.encode(list(rows.values())).decode()
    added = {symbol for (symbol,) in connection.execute(statements("register_symbols"), {"rows": document})}
    there = {symbol for (symbol,) in connection.execute(statements("symbols_there"), {"symbols": list(rows)})}
    if lost := [symbol for symbol in rows if symbol not in there]:
        raise DatabaseError(
            f"trading.symbols did not take {', '.join(lost)}",
            hint="look for a trigger, a row-level policy, or a row that differs only in upper and lower case",
        )
    return Registered(
        [symbol for symbol in rows if symbol in added], [symbol for symbol in rows if symbol not in added]
    )
