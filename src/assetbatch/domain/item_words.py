"""The items of the queue in words: for tables, dry runs and logs."""

from __future__ import annotations

from assetbatch.domain.groups import parse_group
from assetbatch.domain.references import parse_reference
from assetbatch.domain.work import WorkKind, parse_work_id


def work_in_words(work_id: str) -> str:
    """Return what an item of the queue asks for, such as `history of XAUUSD, 2024-11-01 to 2024-12-04`."""
    symbol, kind, first, last = parse_work_id(work_id)
    if group := parse_group(work_id):
        return f"prices of {group.asset_type}, the {group.priority} members of rules"
    if kind is WorkKind.REFERENCE:
        reference = parse_reference(work_id)
        return reference.words if reference else work_id
    days = f", {first} to {last}" if kind is WorkKind.HISTORY else ""
    return f"{kind} of {symbol}{days}"
