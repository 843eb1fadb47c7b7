"""Calls for reference data, one file for each kind: when it is due, the request, what an answer brings.

A start that wants none loads none of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.references import Reference, ReferenceKind, parse_reference
from assetbatch.refresh.references.days import DaysHandler
from assetbatch.refresh.references.handler import ReferenceHandler
from assetbatch.refresh.references.holidays import HolidaysHandler
from assetbatch.refresh.references.listing import FormerHandler, ListingHandler, RenamesHandler
from assetbatch.refresh.references.splits import SplitsHandler
from assetbatch.refresh.references.tickers import TickersHandler
from assetbatch.state.reference_store import KEPT_MS

if TYPE_CHECKING:
    from assetbatch.services import Services

HANDLERS: Mapping[ReferenceKind, ReferenceHandler[Any]] = {
    ReferenceKind.HOLIDAYS: HolidaysHandler(),
    ReferenceKind.SPLITS: SplitsHandler(),
    ReferenceKind.LISTING: ListingHandler(),
    ReferenceKind.FORMER: FormerHandler(),
    ReferenceKind.RENAMES: RenamesHandler(),
    ReferenceKind.TICKERS: TickersHandler(),
    ReferenceKind.DAYS: DaysHandler(),
}
"""The handler of each kind. Where several kinds are due, the first one here is asked for first."""


def due_references(services: Services, stored: Mapping[str, StoredAsset], now_ms: int) -> list[Reference]:
    """Return the reference data that are to be asked for. Raise RedisError or DatabaseError."""
    asked = services.reference_store.load()
    services.reference_store.forget([name for name, one in asked.items() if one.is_past(KEPT_MS, now_ms)])
    return [found for handler in HANDLERS.values() for found in handler.due(services, stored, asked, now_ms)]


class QueuedReferences(NamedTuple):
    """What ids of the queue stand for: the reference data that are wanted, the ids of what is not wanted just
    now, and the ids of what the configuration does not have (any more)."""

    wanted: list[Reference]
    needless: list[str]
    gone: list[str]


def queued_references(services: Services, ids: Iterable[str]) -> QueuedReferences:
    """Return what ids of the queue stand for."""
    found = QueuedReferences([], [], [])
    for item_id in ids:
        reference = parse_reference(item_id)
        handler = HANDLERS.get(reference.kind) if reference else None
        if reference and handler and handler.is_wanted(services, reference):
            found.wanted.append(reference)
        elif reference and handler and handler.is_configured(services, reference):
            found.needless.append(item_id)
        else:
            found.gone.append(item_id)
    return found


def lane_of(reference: Reference) -> Lane:
    """Return where a call waits."""
    return HANDLERS[reference.kind].lane
