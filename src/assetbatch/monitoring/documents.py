"""The documents of `serve`: health, metrics and page. Each has a form for when Redis cannot be asked."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import msgspec

from assetbatch.errors import AssetbatchError, UnreachableError
from assetbatch.health import Health, HealthStatus, Problem, encode, unreachable
from assetbatch.monitoring import snapshot
from assetbatch.monitoring.server import Cached, Document, packed
from assetbatch.services import Services
from assetbatch.views import prometheus
from assetbatch.views.web.page import security_policy

log = logging.getLogger("assetbatch")

OpenServices = Callable[[], AbstractContextManager[Services]]

PAGE_REFRESH_SECONDS = 60
"""Seconds after which a browser asks for the page again."""

TURN_SECONDS = 2.0
"""Maximum time for which a document waits until another is made. What is read of 10,000 assets takes much
memory, so documents are made in turn. A database that hangs must not delay one document after the other."""

_JSON, _HTML = "application/json", "text/html; charset=utf-8"
_HANGS = UnreachableError("this takes too long", hint="does redis or postgresql hang?")
_BUG = Document(500, "text/plain; charset=utf-8", b"500 a bug; see the log\n")


def documents(
    open_services: OpenServices, seconds: float, own_problems: Callable[[], Sequence[Problem]] = list
) -> dict[str, Cached]:
    """Return the documents by path. Each is made at most once in `seconds`.

    `own_problems` are those of the server itself: they are in each document as well.
    """
    making = threading.Lock()
    longest = max(PAGE_REFRESH_SECONDS, math.ceil(seconds))  # until a browser has a new page
    return {
        path: Cached(
            _maker(making, open_services, own_problems, render, render_down),
            seconds,
            partial(render_down, _HANGS),
        )
        for path, render, render_down in (
            ("/health/batch", _health, _health_down),
            ("/metrics", _metrics, _metrics_down),
            ("/", partial(_page, longest), partial(_page_down, longest)),
        )
    }


def _maker(
    making: threading.Lock,
    open_services: OpenServices,
    own_problems: Callable[[], Sequence[Problem]],
    render: Callable[[Services, Health], Document],
    render_down: Callable[[AssetbatchError], Document],
) -> Callable[[], Document]:
    def make() -> Document:
        in_turn = making.acquire(timeout=TURN_SECONDS)
        try:
            with open_services() as services:
                return render(services, snapshot.health_document(services, own_problems()))
        except AssetbatchError as error:
            log.info("%s", error)
            return render_down(error)
        except Exception:
            log.exception("a document could not be made")
            return _BUG
        finally:
            if in_turn:
                making.release()

    return make


def _health(_services: Services, health: Health) -> Document:
    status = 503 if health.status is HealthStatus.UNHEALTHY else 200
    return Document(status, _JSON, packed((encode(health), b"\n")))


def _health_down(error: AssetbatchError) -> Document:
    return Document(503, _JSON, msgspec.json.encode(unreachable(error)) + b"\n")


def _metrics(services: Services, health: Health) -> Document:
    text = snapshot.metrics_text(services, health)
    return Document(200, prometheus.CONTENT_TYPE, packed([text.encode()]))


def _metrics_down(_error: AssetbatchError) -> Document:
    return Document(200, prometheus.CONTENT_TYPE, snapshot.metrics_text_down().encode())


def _page(interval_seconds: int, services: Services, health: Health) -> Document:
    text = snapshot.page(
        services, health, interval_seconds=interval_seconds, refresh_seconds=PAGE_REFRESH_SECONDS
    )
    return _document(200, text)


def _page_down(interval_seconds: int, error: AssetbatchError) -> Document:
    text = snapshot.page_down(error, interval_seconds=interval_seconds, refresh_seconds=PAGE_REFRESH_SECONDS)
    return _document(503, text)


def _document(status: int, page: Iterable[str]) -> Document:
    """Return a page with the policy that lets its own script run, and nothing else."""
    body = packed(piece.encode() for piece in page)
    return Document(status, _HTML, body, {"Content-Security-Policy": security_policy()})
