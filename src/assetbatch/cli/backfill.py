"""`holes` and `backfill`."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from assetbatch.cli.completion import complete_symbol
from assetbatch.cli.context import load_config, print_json, print_rich, print_text, reported, services_for
from assetbatch.errors import ConfigError

SECONDS = 60.0

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DAY_FORMATS = ["%Y-%m-%d"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "holes",
        epilog="Examples: assetbatch holes  |  assetbatch holes XAUUSD --from 2024-11-01 --json\n\n"
        "Exit codes: 0 shown, whatever it says; 2 usage or configuration; "
        "3 Redis or PostgreSQL cannot be reached.",
    )(holes)
    app.command(
        "backfill",
        epilog="Examples: assetbatch backfill XAUUSD --from 2024-11-01  |  "
        "assetbatch backfill EURUSD BTCUSD --from 2025-01-01 --to 2025-06-30 --dry-run\n\n"
        "Exit codes: 0 queued, or nothing is missing; 2 usage or configuration; "
        "3 Redis or PostgreSQL cannot be reached.",
    )(backfill)


def holes(
    context: typer.Context,
    symbols: Annotated[
        list[str] | None,
        typer.Argument(
            help="Configured symbols; without any, all that keep bars.", autocompletion=complete_symbol
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=DAY_FORMATS,
            help="The first New York day. Without it: the beginning of the symbol's history.",
        ),
    ] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Also list the times in which the market was closed.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is missing in the stored 5-minute bars, and why."""
    from assetbatch.commands.gaps import find_gaps
    from assetbatch.deadline import Deadline
    from assetbatch.domain.market_hours import start_of_day

    with reported(context) as options:
        config = load_config(options)
        from_ms = start_of_day(since.date()) if since else None
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            found = find_gaps(services, symbols or [], from_ms, closed=closed)
        from assetbatch.views.terminal import backfill as view

        if json:
            print_json([view.gaps_document(symbol) for symbol in found])
        elif sys.stdout is not None and sys.stdout.isatty():
            print_rich(view.render_gaps(found))
        else:
            print_text("\n".join(view.gap_lines(found)))


def backfill(
    context: typer.Context,
    symbols: Annotated[list[str], typer.Argument(help="Configured symbols.", autocompletion=complete_symbol)],
    since: Annotated[datetime, typer.Option("--from", formats=DAY_FORMATS, help="The first New York day.")],
    until: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=DAY_FORMATS,
            help="The last New York day. Without it: the newest day that can be seen.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the pages and the forecast; queue nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Queue the fewest calls that bring the missing 5-minute bars of the past.

    It may be repeated and interrupted at any time: no bar is fetched twice. run-queue works the pages with
    the calls that prices leave free. The same command again shows the progress.
    """
    from assetbatch.commands.backfill import backfill as queue_pages
    from assetbatch.deadline import Deadline

    first, last = since.date(), until.date() if until else None
    with reported(context) as options:
        _check_days(first, last)
        config = load_config(options)
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            last = last if last and last < date.today() else None  # noqa: DTZ011 - a deadline, not a moment
            report = queue_pages(services, list(dict.fromkeys(symbols)), first, last, dry_run=dry_run)
        from assetbatch.views.terminal import backfill as view

        if json:
            print_json(view.backfill_document(report))
        else:
            print_text("\n".join(view.backfill_lines(report, dry_run=dry_run)))


def _check_days(first: date, last: date | None) -> None:
    today = datetime.now(UTC).date()
    if first.year < 1970:
        raise ConfigError("--from is before 1970", hint="write a day such as 2024-11-01")
    if first > today:
        raise ConfigError(f"--from {first} is in the future", hint="write a day such as 2024-11-01")
    if last and last < first:
        raise ConfigError(f"--to {last} is before --from {first}", hint="the first day comes first")
