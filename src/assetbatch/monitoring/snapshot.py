"""What is shown of the whole: the health document, the metrics' text, the page; each from open services."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from assetbatch.domain.metrics import CALLS, PRIORITY_LATENCY, QUEUE_LATENCY, QUEUE_SIZE, Series, age_of
from assetbatch.errors import AssetbatchError, DatabaseError
from assetbatch.health import Health, collect
from assetbatch.secret import masked
from assetbatch.services import Services

_DEVICES = (("/", "dev"), ("/", "proc"))


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


def write_atomically(path: Path, text: str) -> None:
    """Writes a file that readers see whole or not at all; raises AssetbatchError where that cannot be.

    A link stays one, its target is replaced; what is no file (a pipe, `/dev/stdout`) is written to.
    """
    try:
        if path.parts[:2] in _DEVICES or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8")
            return
        target = path.resolve()
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, 0o644)  # the collector runs as another user
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        hint = "free space there" if full else "its folder must exist and let this user create files"
        raise AssetbatchError(
            f"{masked(str(path))} cannot be written: {error.strerror or error}", hint=hint
        ) from None
