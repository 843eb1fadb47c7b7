"""Status of everything: the health document, the metrics' text, the page. Each is made from open services."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from assetbatch.commands.queue_items import QueueEntry, list_queue
from assetbatch.domain.assets import Asset
from assetbatch.domain.metrics import CALLS, PRIORITY_LATENCY, QUEUE_LATENCY, QUEUE_SIZE, Series, age_of
from assetbatch.domain.status import AssetState
from assetbatch.errors import AssetbatchError, DatabaseError
from assetbatch.health import Health, Problem, collect, verdict
from assetbatch.health.hours import LONGEST_BACK_MS, days_of
from assetbatch.health.problems import gravest_first
from assetbatch.services import Services

ENTRIES_SHOWN = 10
"""Maximum number of items of the queue on the page."""

LISTED = 2_500
"""Maximum size of a queue that is read for them: it is read as a whole, 10,000 items in 0.2 s."""

LETTERS_SHOWN = 20
"""Maximum number of dead letters on the page."""


def health_document(services: Services, own_problems: Sequence[Problem] = ()) -> Health:
    """Return the health document; raise RedisError if Redis cannot be asked.

    `own_problems` are those of the program that shows it.
    """
    health = collect(services)
    if not own_problems:
        return health
    problems = gravest_first([*health.problems, *own_problems])
    return msgspec.structs.replace(health, problems=problems, status=verdict(problems, health.alerts))


def metrics_text(services: Services, health: Health) -> str:
    """Return all metrics in Prometheus' text format."""
    from assetbatch.views import prometheus

    return prometheus.render(health, services.metrics.counters())


def metrics_text_down() -> str:
    """Return the metrics for when Redis cannot be asked."""
    from assetbatch.views import prometheus

    return prometheus.render_down()


def last_day(services: Services) -> dict[str, Series]:
    """Return the series of the last 24 hours: the totals, and the age of each priority asset."""
    ages = [age_of(asset.symbol) for asset in services.config.enabled_priority_assets]
    return services.metrics.series(
        [CALLS, QUEUE_SIZE, PRIORITY_LATENCY, QUEUE_LATENCY, *ages], services.now_ms()
    )


def page(
    services: Services, health: Health, *, interval_seconds: int, refresh_seconds: int | None = None
) -> Iterator[str]:
    """Return a self-contained HTML page, piece by piece: grey where none follows for two intervals.

    `refresh_seconds` makes a browser ask for it again.
    """
    from assetbatch.views.web.page import Beside, carded, render

    config = services.config
    beside = Beside(
        series=last_day(services),
        entries=_first_of_queue(services, health.queue["total_items"]),
        max_attempts=config.queue.retry_max_attempts,
        letters=services.queue.dead_letters(LETTERS_SHOWN),
        host=socket.gethostname(),
        interval_seconds=interval_seconds,
    )
    if not health.database_error:
        with suppress(DatabaseError):
            now_ms = services.now_ms()
            symbols = [asset.symbol for asset in health.assets]
            coverage = services.store.recent_coverage(symbols, now_ms - LONGEST_BACK_MS)
            beside = beside._replace(
                days=days_of(_listed(config.assets, health), coverage, services.entitlements(), now_ms),
                closes=services.store.closes(asset.symbol for asset in carded(health.assets)),
                hourly_closes=services.store.hourly_closes(symbols),
            )
    return render(health, beside, refresh_seconds=refresh_seconds)


def _listed(assets: Iterable[Asset], health: Health) -> list[Asset]:
    """Return the assets of which something can still come."""
    ended = {asset.symbol for asset in health.assets if asset.state is AssetState.DELISTED}
    return [asset for asset in assets if asset.symbol not in ended]


def _first_of_queue(services: Services, size: int) -> Sequence[QueueEntry]:
    return list_queue(services)[:ENTRIES_SHOWN] if 0 < size <= LISTED else []


def page_down(
    error: AssetbatchError, *, interval_seconds: int, refresh_seconds: int | None = None
) -> Iterator[str]:
    """Return the page for when Redis cannot be asked: what is wrong, and what to do."""
    from assetbatch.views.web.page import render_error

    return render_error(
        error,
        host=socket.gethostname(),
        made_ms=round(time.time() * 1000),
        interval_seconds=interval_seconds,
        refresh_seconds=refresh_seconds,
    )
