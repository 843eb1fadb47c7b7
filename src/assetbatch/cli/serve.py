"""`serve`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import Options, load_config, log, print_text, reported, services_for
from assetbatch.errors import AssetbatchError, ConfigError, UnreachableError

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.health import Health
    from assetbatch.monitoring.server import Cached, Document
    from assetbatch.monitoring.slots import SlotApi
    from assetbatch.services import Services
    from assetbatch.slots.slots import Slots

DEFAULT_PORT = 8787


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "serve",
        epilog="Examples: assetbatch serve  |  assetbatch serve --port 9000 --refresh 15 --slots\n\n"
        "Exit codes: 0 never; 2 usage or configuration, or the port is taken; 143/130 stopped by "
        "SIGTERM/SIGINT.",
    )(serve)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = DEFAULT_PORT,
    refresh: Annotated[
        int, typer.Option(min=1, max=3600, help="Seconds for which a document is answered again.")
    ] = 5,
    slots: Annotated[
        bool,
        typer.Option(
            "--slots",
            help="Also give slots of the window to other programs of this machine: POST /slot, "
            "DELETE /slot/ID.",
        ),
    ] = False,
) -> None:
    """Serve /health/batch (JSON, 200 or 503), /metrics (Prometheus) and / (the page) until it is stopped.

    It has no login and no TLS: on another address than loopback, put a proxy before it.
    """
    with reported(context) as options:
        if slots and not _is_loopback(host):
            raise ConfigError(
                f"{host} is not loopback: slots are for programs of this machine",
                hint="leave out --slots or --host",
            )
        config = load_config(options)
        raise typer.Exit(128 + _serve(options, config, host, port, refresh, slots))


def _serve(options: Options, config: Config, host: str, port: int, refresh: int, with_slots: bool) -> int:
    from assetbatch.monitoring.server import Application, Server

    with services_for(options, config) as services:  # open all the time: embedded servers stay up
        if config.redis.url is not None and config.redis.url.embedded:
            services.embedded.redis_url()
        if config.database.url is not None and config.database.url.embedded:
            services.embedded.database_url()
        api = _slot_api(options, config) if with_slots else None
        actions = {"slot": api.answer} if api else {}
        try:
            server = Server(host, port, Application(_documents(options, config, refresh), actions))
        except (OSError, ValueError) as error:  # waitress says ValueError of a name that it cannot resolve
            why = error.strerror if isinstance(error, OSError) else "no such address"
            hint = "choose another with --host or --port"
            raise ConfigError(f"{host}:{port} cannot be listened on: {why}", hint=hint) from None
        if not _is_loopback(host):
            log.warning("%s is not loopback: everybody who reaches it can read this (no login here)", host)
        stopped: list[int] = []
        asked = threading.Event()

        def stop(number: int, _frame: object) -> None:
            stopped.append(number)
            asked.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        threading.Thread(target=server.run, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        paths = "/health/batch, /metrics and /slot" if api else "/health/batch and /metrics"
        print_text(f"serving http://{shown}:{server.port}/ , {paths}")
        asked.wait()
        if api:
            api.stop()
        server.stop()
        return stopped[0]


def _slot_api(options: Options, config: Config) -> SlotApi:
    from assetbatch.monitoring.slots import SlotApi

    config.require_api_key()
    config.require_redis()

    @contextmanager
    def slots(is_recorded: bool) -> Iterator[Slots]:
        with services_for(options._replace(sandbox=False), config) as services:
            yield services.slots(is_recorded=is_recorded)

    return SlotApi(slots)


def _documents(options: Options, config: Config, refresh: int) -> dict[str, Cached]:
    from assetbatch.health import encode
    from assetbatch.monitoring import snapshot
    from assetbatch.monitoring.server import Cached, Document
    from assetbatch.views import prometheus

    json, html = "application/json", "text/html; charset=utf-8"
    hanging = UnreachableError("this takes too long", hint="does redis or postgresql hang?")

    def batch(_services: Services, health: Health) -> Document:
        return Document(503 if health.status == "unhealthy" else 200, json, encode(health) + b"\n")

    def metrics(services: Services, health: Health) -> Document:
        return Document(200, prometheus.CONTENT_TYPE, snapshot.metrics_text(services, health).encode())

    def page(services: Services, health: Health) -> Document:
        return Document(200, html, snapshot.page(services, health, refresh_seconds=60).encode())

    def batch_down(error: AssetbatchError) -> Document:
        import msgspec

        problem = {"message": error.message, "hint": error.hint, "severity": "critical"}
        body = msgspec.json.encode({"status": "unhealthy", "problems": [problem]})
        return Document(503, json, body + b"\n")

    def metrics_down(_error: AssetbatchError) -> Document:
        return Document(200, prometheus.CONTENT_TYPE, snapshot.metrics_text_down().encode())

    def page_down(error: AssetbatchError) -> Document:
        from assetbatch.views.web.page import render_error

        return Document(503, html, render_error(error, refresh_seconds=60).encode())

    def made(
        render: Callable[[Services, Health], Document], down: Callable[[AssetbatchError], Document]
    ) -> Cached:
        def make() -> Document:
            try:
                with services_for(options._replace(sandbox=False), config) as services:
                    return render(services, snapshot.health_document(services))
            except AssetbatchError as error:
                log.info("%s", error)
                return down(error)
            except Exception:  # noqa: BLE001 - a bug in one document must not end the server
                log.exception("a document could not be made")
                return Document(500, "text/plain; charset=utf-8", b"500 a bug; see the log\n")

        return Cached(make, refresh, down(hanging))

    return {
        "/health/batch": made(batch, batch_down),
        "/metrics": made(metrics, metrics_down),
        "/": made(page, page_down),
    }


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
