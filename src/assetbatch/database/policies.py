"""Row level security: which rows a role may read but not update. An UPDATE of these does nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

from assetbatch.database.session import Connection

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.2


def locked_out(connection: Connection, symbols: Sequence[str]) -> list[str]:
    """Return the symbols whose rows are seen and cannot be locked for an update, in the open transaction.

    A row that another transaction holds looks the same for as long as that lasts: it is asked for again.
    Raise psycopg.Error.
    """
    ((is_active,),) = connection.execute(connection.statements("doctor.has_policies")).fetchall()
    if not is_active:
        return []
    left = list(symbols)
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        connection.execute("SAVEPOINT locks")
        seen = connection.execute(connection.statements("assets.find"), {"symbols": left}).fetchall()
        taken = connection.execute(
            connection.statements("doctor.find_updatable"), {"symbols": left}
        ).fetchall()
        connection.execute("ROLLBACK TO SAVEPOINT locks")
        there, free = {symbol for (symbol,) in seen}, {symbol for (symbol,) in taken}
        left = [symbol for symbol in left if symbol in there - free]
        if not left:
            break
    return left
