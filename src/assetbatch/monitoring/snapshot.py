"""Status of everything: the health document, the metrics' text, the page. Each is made from open services."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from assetbatch.domain.metrics import CALLS, PRIORITY_LATENCY, QUEUE_LATENCY, QUEUE_SIZE, Series, age_of
from assetbatch.errors import DatabaseError
from assetbatch.health import Health, collect
from assetbatch.services import Services


def health_document(services: Services) -> Health:
    """Return the health document; raise RedisError if Redis cannot be asked."""
    return collect(services)


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


def page(services: Services, health: Health, refresh_seconds: int | None = None) -> str:
    """Return a self-contained HTML page. `refresh_seconds` makes a browser ask for it again."""
    from assetbatch.views.web.page import render

    closes: Mapping[str, list[tuple[int, float]]] = {}
    if not health.database_error:
        with suppress(DatabaseError):
            closes = services.store.closes([asset.symbol for asset in health.assets])
    return render(health, last_day(services), closes, refresh_seconds=refresh_seconds)
