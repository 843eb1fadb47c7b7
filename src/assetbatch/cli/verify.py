"""`verify`."""

from __future__ import annotations

import sys
from datetime import date, datetime
from typing import Annotated

import typer

from assetbatch.cli.completion import complete_symbol
from assetbatch.cli.context import load_config, print_json, print_text, reported, services_for
from assetbatch.cli.days import DAY, check_days, parse_day
from assetbatch.errors import AssetbatchError

SECONDS = 55.0

Symbols = Annotated[
    list[str] | None,
    typer.Argument(
        help="Configured symbols; without any, all that keep bars.", autocompletion=complete_symbol
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option("--from", parser=parse_day, metavar=DAY, help="The first New York day."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--to", parser=parse_day, metavar=DAY, help="The last New York day."),
]
MaxCalls = Annotated[int | None, typer.Option(min=1, help="Maximum number of calls.")]
MaxSeconds = Annotated[float, typer.Option(min=1, help="Seconds after which it ends.", show_default=True)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the pages that would be asked for; call nobody.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "verify",
        epilog="Examples: assetbatch verify --max-calls 3  |  assetbatch verify XAUUSD --from 2026-03-01  |  "
        "assetbatch verify --dry-run\n\n"
        "Exit codes: 0 compared, whatever differs; 1 a page brought no usable answer; "
        "2 usage or configuration; 3 Redis, PostgreSQL or the API cannot be reached; "
        "4 the API refuses the key.",
    )(verify)


def verify(
    context: typer.Context,
    symbols: Symbols = None,
    since: Since = None,
    until: Until = None,
    max_calls: MaxCalls = None,
    max_seconds: MaxSeconds = SECONDS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Ask the provider for stored bars again, compare, and store what it has corrected.

    The page that was asked for least recently comes first, of bars that are a week old. --from and --to name
    days instead. It takes calls as run-queue does, never those that priority needs. run-queue does the same
    by itself with calls that nobody needs.
    """
    from assetbatch.commands.result import new_result
    from assetbatch.commands.verify import VerifyReport
    from assetbatch.commands.verify import verify as command
    from assetbatch.deadline import Deadline
    from assetbatch.domain.records import Command
    from assetbatch.refresh.progress import Progress
    from assetbatch.views.terminal import verification as view

    with reported(context) as options:
        config = load_config(options)
        first, last = _days(since, until)
        try:
            with Deadline(max_seconds) as deadline, services_for(options, config, deadline) as services:
                report = command(
                    services,
                    deadline,
                    Progress(),
                    new_result(services, Command.RUN_QUEUE),
                    list(dict.fromkeys(symbols or ())),
                    first,
                    last,
                    max_calls=max_calls,
                    dry_run=dry_run,
                )
        except AssetbatchError as error:
            if isinstance(error.document, VerifyReport):
                error.document = view.document(error.document)
            raise
        if json:
            print_json(view.document(report))
        else:
            print_text("\n".join(view.lines(report, dry_run=dry_run)))
        if deadline.stopped:
            raise typer.Exit(128 + deadline.stopped)
        if any(symbol.errors for symbol in report.symbols):
            sys.stdout.flush()
            raise typer.Exit(1)


def _days(since: datetime | None, until: datetime | None) -> tuple[date | None, date | None]:
    first, last = since.date() if since else None, until.date() if until else None
    if first or last:
        check_days(first or date(1970, 1, 1), last)
    return first, last
