"""`status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import (
    Options,
    load_config,
    log,
    print_rich,
    print_text,
    reported,
    services_for,
    stdout_console,
)
from assetbatch.errors import AssetbatchError, ConfigError, UnreachableError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from assetbatch.config import Config
    from assetbatch.domain.metrics import Series
    from assetbatch.health import Health

STATUS_SECONDS = 30.0
CHECK_SECONDS = 5.0
"""Maximum duration of `--check` in seconds: monitoring systems give a check about ten."""

LONGEST_START_SECONDS = 2.5
"""Maximum part of it that counts as taken by the interpreter's start, so that a busy machine still asks."""

PING_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "status",
        epilog="Examples: assetbatch status  |  assetbatch status --watch  |  assetbatch status --json  |  "
        "assetbatch status --check  |  assetbatch status --html /var/www/assetbatch.html\n\n"
        "Exit codes: 0 shown, whatever it says; 2 usage or configuration; "
        "3 Redis or PostgreSQL cannot be reached. With --check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
    )(status)


def status(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the health document as JSON.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Print one line for a monitoring system. The exit code is the verdict."),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Keep the status on the screen, made anew every 5 seconds; its last line names the keys.",
        ),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the status as a self-contained page.", show_default=False)
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option(help="Write the metrics in Prometheus' text format.", show_default=False),
    ] = None,
    all_assets: Annotated[bool, typer.Option("--all", help="Show each asset, however many.")] = False,
) -> None:
    """Show what is fresh, what waits, how much of the window is left, and what went wrong."""
    with reported(context) as options:
        ways = [json, check, watch, html is not None or prometheus is not None]
        if sum(ways) > 1:
            raise ConfigError("--json, --check, --watch and the files exclude each other", hint="choose one")
        if check:
            raise typer.Exit(_check(options))
        if watch:
            from assetbatch.cli.watch import watch as watch_status

            raise typer.Exit(watch_status(options))
        _show(options, load_config(options), json, html, prometheus, all_assets)


def _show(
    options: Options, config: Config, json: bool, html: Path | None, prometheus: Path | None, all_assets: bool
) -> None:
    from assetbatch import files
    from assetbatch.deadline import Deadline
    from assetbatch.health import encode, unreachable
    from assetbatch.monitoring import snapshot

    series: dict[str, Series] = {}
    interval_seconds = config.batch.interval_minutes * 60
    with Deadline(STATUS_SECONDS) as deadline, services_for(options, config, deadline) as services:
        try:
            health = snapshot.health_document(services)
        except UnreachableError as error:  # an old file would go on saying that all is well
            if html:
                page = snapshot.page_down(error, interval_seconds=interval_seconds)
                files.publish(html, "".join(page))
            if prometheus:
                files.publish(prometheus, snapshot.metrics_text_down())
            error.document = unreachable(error)
            raise
        if html:
            page = snapshot.page(services, health, interval_seconds=interval_seconds)
            files.publish(html, "".join(page))
            log.info("%s written", html)
        if prometheus:
            files.publish(prometheus, snapshot.metrics_text(services, health))
            log.info("%s written", prometheus)
        if not json and not html and not prometheus:
            series = snapshot.last_day(services)
    if json:
        print_text(encode(health).decode())
    elif not html and not prometheus:
        print_rich(_page(health, series, all_assets))
    if health.database_error:
        raise typer.Exit(3)


def _page(health: Health, series: dict[str, Series], all_assets: bool) -> RenderableType:
    from rich.console import Group

    from assetbatch.views.terminal.status import ROWS, ending, render

    console = stdout_console()
    plain = not console.encoding.lower().startswith("utf")
    rows = len(health.assets) if all_assets else ROWS
    page = render(health, series, width=console.width, plain=plain, rows=rows)
    again = ending(health, page, console)
    return Group(page, again) if again else page


def _check(options: Options) -> int:
    from assetbatch.deadline import Deadline
    from assetbatch.monitoring.pings import Ping
    from assetbatch.monitoring.snapshot import health_document
    from assetbatch.state.process_id import age_seconds
    from assetbatch.views.nagios import render, render_error

    def told(code: int, line: str) -> int:
        print_text(line)
        return code

    ping = Ping(None, options.cycle_id)
    try:
        config = load_config(options)
        ping = Ping(config.ping_url.for_command("status") if config.ping_url else None, options.cycle_id)
        started = min(age_seconds(), LONGEST_START_SECONDS)
        deadline = Deadline(CHECK_SECONDS, lambda error: told(*render_error(error)), elapsed=started)
        with deadline, services_for(options, config, deadline) as services:
            code, line = render(health_document(services), config)
    except AssetbatchError as error:
        code, line = render_error(error)
    told(code, line)
    ping.ended(code, line, within_seconds=PING_SECONDS)
    return code
