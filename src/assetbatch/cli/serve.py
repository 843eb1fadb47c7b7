"""`serve`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import Options, load_config, log, print_text, reported, services_for
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.monitoring.server import Application, Server
    from assetbatch.monitoring.slots import SlotApi
    from assetbatch.slots.slots import Slots

DEFAULT_PORT = 8787


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "serve",
        epilog="Examples: assetbatch serve  |  assetbatch serve --port 9000 --refresh 15 --slots\n\n"
        "Exit codes: 0 never; 2 usage or configuration, or the port is taken; 143/130 stopped by "
        "SIGTERM/SIGINT.",
    )(serve)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = DEFAULT_PORT,
    refresh: Annotated[int, typer.Option(min=1, max=3600, help="Seconds for which a document is kept.")] = 5,
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
    """Serve until a signal; return its number."""
    from assetbatch.monitoring.documents import documents
    from assetbatch.monitoring.server import Application

    with services_for(options, config) as services:  # open all the time: embedded servers stay up
        if config.redis.url is not None and config.redis.url.embedded:
            services.embedded.redis_url()
        if config.database.url is not None and config.database.url.embedded:
            services.embedded.database_url()
        has_schema = options._replace(sandbox=False)  # the outer services have made it
        api = _slot_api(has_schema, config) if with_slots else None
        application = Application(
            documents(lambda: services_for(has_schema, config), refresh), {"slot": api.answer} if api else {}
        )
        server = listen(host, port, application)
        if not _is_loopback(host):
            log.warning("%s is not loopback: everybody who reaches it can read this (no login here)", host)
        signals: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: signals.put(number))
        threading.Thread(target=server.run, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        paths = "/health/batch, /metrics and /slot" if api else "/health/batch and /metrics"
        print_text(f"serving http://{shown}:{server.port}/ , {paths}")
        ended_by = signals.get()
        if api:
            api.stop()
        server.stop()
        return ended_by


def listen(host: str, port: int, application: Application) -> Server:
    """Return a server that listens; raise ConfigError if that is impossible."""
    from assetbatch.monitoring.server import Server

    try:
        return Server(host, port, application)
    except (OSError, ValueError) as error:  # waitress raises ValueError for a name that it cannot resolve
        why = error.strerror if isinstance(error, OSError) else "no such address"
        hint = "choose another with --host or --port"
        raise ConfigError(f"cannot listen on {host}:{port}: {why}", hint=hint) from None


def _slot_api(options: Options, config: Config) -> SlotApi:
    from assetbatch.monitoring.slots import SlotApi

    config.require_api_key()
    config.require_redis()

    @contextmanager
    def slots(is_recorded: bool) -> Iterator[Slots]:
        with services_for(options, config) as services:
            yield services.slots(is_recorded=is_recorded)

    return SlotApi(slots)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
