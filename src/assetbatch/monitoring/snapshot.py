"""What is shown of the whole: the health document, the metrics' text, the page; each from open services."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from assetbatch.domain.metrics import CALLS, PRIORITY_LATENCY, QUEUE_LATENCY, QUEUE_SIZE, Series, age_of
from assetbatch.errors import DatabaseError
from assetbatch.health import Health, collect
from assetbatch.services import Services


def health_document(services: Services) -> Health:
    """The health document; raises RedisError where Redis cannot be asked."""
    return collect(services)


def metrics_text(services: Services, health: Health) -> str:
    """Everything a monitor may want, in Prometheus' text format."""
    from assetbatch.views import prometheus

    return prometheus.render(health, services.metrics.counters())


def metrics_text_down() -> str:
    """What is left for a monitor where Redis cannot be asked."""
    from assetbatch.views import prometheus

    return prometheus.render_down()


def last_day(services: Services) -> dict[str, Series]:
    """The series of the last 24 hours, of the whole and of each priority asset's age."""
    ages = [age_of(asset.symbol) for asset in services.config.enabled_priority_assets]
    return services.metrics.series(
        [CALLS, QUEUE_SIZE, PRIORITY_LATENCY, QUEUE_LATENCY, *ages], services.now_ms()
    )


def page(services: Services, health: Health, refresh_seconds: int | None = None) -> str:
    """The whole as one self-contained HTML page; `refresh_seconds` makes a browser ask again."""
    from assetbatch.views.web.page import render

    closes: Mapping[str, list[tuple[int, float]]] = {}
    if not health.database_error:
        with suppress(DatabaseError):
            closes = services.store.closes([asset.symbol for asset in health.assets])
    return render(health, last_day(services), closes, refresh_seconds=refresh_seconds)
