"""`serve`."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import log, print_text, reported
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.cli.live_config import LiveConfig
    from assetbatch.monitoring.server import Application, Server
    from assetbatch.monitoring.slots import SlotApi
    from assetbatch.slots.slots import Slots

DEFAULT_PORT = 8787

_M_ARENA_MAX = -8  # glibc's word for the number of heaps


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
        from assetbatch.cli.live_config import LiveConfig

        with LiveConfig(options) as live:
            ended_by = _serve(live, host, port, refresh, slots)
        raise typer.Exit(128 + ended_by)


def _serve(live: LiveConfig, host: str, port: int, refresh: int, with_slots: bool) -> int:
    """Serve until a signal; return its number."""
    from assetbatch.monitoring.documents import documents
    from assetbatch.monitoring.server import Application

    _share_one_heap()
    api = _slot_api(live) if with_slots else None
    application = Application(
        documents(live.services, refresh, live.problems), {"slot": api.answer} if api else {}
    )
    server = listen(host, port, application)
    if not _is_loopback(host):
        log.warning("%s is not loopback: everybody who reaches it can read this (no login here)", host)
    # The kernel may give a signal to a thread that answers. Its number is written in C, in whichever thread:
    # a handler in Python would run only when something else wakes the main thread.
    asked, asking = os.pipe()
    os.set_blocking(asking, False)
    signal.set_wakeup_fd(asking)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    threading.Thread(target=server.run, daemon=True).start()
    shown = f"[{host}]" if ":" in host else host
    paths = "/health/batch, /metrics and /slot" if api else "/health/batch and /metrics"
    print_text(f"serving http://{shown}:{server.port}/ , {paths}")
    (ended_by,) = os.read(asked, 1)
    if api:
        api.stop()
    server.stop()
    return ended_by


def _share_one_heap() -> None:
    """Let all threads use one heap. glibc gives each its own, and every heap keeps what was freed in it."""
    with suppress(OSError, AttributeError):  # other libraries have no such call, and no such heaps
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def listen(host: str, port: int, application: Application) -> Server:
    """Return a server that listens; raise ConfigError if that is impossible."""
    from assetbatch.monitoring.server import Server

    try:
        return Server(host, port, application)
    except (OSError, ValueError) as error:  # waitress raises ValueError for a name that it cannot resolve
        why = error.strerror if isinstance(error, OSError) else "no such address"
        hint = "choose another with --host or --port"
        raise ConfigError(f"cannot listen on {host}:{port}: {why}", hint=hint) from None


def _slot_api(live: LiveConfig) -> SlotApi:
    from assetbatch.monitoring.slots import SlotApi

    config = live.current()
    config.require_api_key()
    config.require_redis()

    @contextmanager
    def slots(is_recorded: bool) -> Iterator[Slots]:
        with live.services() as services:
            yield services.slots(is_recorded=is_recorded)

    return SlotApi(slots)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
