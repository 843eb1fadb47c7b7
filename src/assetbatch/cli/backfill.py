"""`holes` and `backfill`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from assetbatch.cli.completion import complete_symbol
from assetbatch.cli.context import (
    Options,
    load_config,
    print_json,
    print_rich,
    print_text,
    reported,
    services_for,
)
from assetbatch.cli.days import DAY, check_days, parse_day
from assetbatch.domain.assets import AssetPriority
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.services import Services

SECONDS = 60.0

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

ASKED_ABOVE = 100
"""Number of new calls above which a person on a terminal is asked."""

Symbols = Annotated[
    list[str] | None,
    typer.Argument(help="Configured symbols; else --all or --class.", autocompletion=complete_symbol),
]
Since = Annotated[
    datetime | None,
    typer.Option("--from", parser=parse_day, metavar=DAY, help="The first New York day."),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        "--to",
        parser=parse_day,
        metavar=DAY,
        help="The last New York day. Without it: the newest day that can be seen.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every asset that keeps bars.")]
Classes = Annotated[
    list[AssetPriority] | None,
    typer.Option("--class", case_sensitive=False, help="Every asset of this priority. Repeatable."),
]
Cancel = Annotated[
    bool, typer.Option("--cancel", help="Take it back: ask for nothing of the past that is still missing.")
]
Again = Annotated[
    bool,
    typer.Option(
        "--again", help="Ask for all of these days, also for what is stored: corrections come along."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the pages and the forecast; change nothing.")]
Yes = Annotated[
    bool, typer.Option("--yes", help=f"Do not ask on a terminal, also above {ASKED_ABOVE} new calls.")
]


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
        "assetbatch backfill EURUSD BTCUSD --from 2025-01-01 --to 2025-06-30 --dry-run  |  "
        "assetbatch backfill --class HIGH --from 2025-01-01  |  "
        "assetbatch backfill BTCUSD --from 2026-03-01 --again  |  assetbatch backfill --all --cancel\n\n"
        "Exit codes: 0 queued, taken back, or nothing is missing; 1 the question was answered with no; "
        "2 usage or configuration; 3 Redis or PostgreSQL cannot be reached.",
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
            parser=parse_day,
            metavar=DAY,
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
    symbols: Symbols = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    classes: Classes = None,
    again: Again = False,
    cancel: Cancel = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Queue the fewest calls that bring the missing 5-minute bars of the past.

    It may be repeated and interrupted at any time: no bar is fetched twice. run-queue works the pages with
    the calls that prices leave free. The same command again shows the progress, and --cancel takes it back.
    --again insists: it asks for everything once more, and what the provider has corrected replaces what is
    stored.
    """
    with reported(context) as options:
        if sum([bool(symbols), everything, bool(classes)]) != 1:
            when = "" if since or cancel else ", and --from with the first day, such as 2024-11-01"
            raise ConfigError(
                "say which assets", hint=f"name symbols, or --class, or --all (one of them){when}"
            )
        if cancel and (since or until or again):
            raise ConfigError(
                "--cancel takes back all that is missing of the past",
                hint="leave out --from, --to and --again",
            )
        days = None if cancel else _days(since, until)
        chosen = _Chosen(options, load_config(options), list(dict.fromkeys(symbols or ())), classes or ())
        if days is None:
            _take_back(chosen, dry_run=dry_run, json=json)
        else:
            _request(chosen, *days, again=again, dry_run=dry_run, json=json, yes=yes)


class _Chosen(NamedTuple):
    """The assets of a backfill; no symbols are all of the classes, and no classes are all."""

    options: Options
    config: Config
    symbols: list[str]
    classes: Sequence[AssetPriority]

    @contextmanager
    def services(self) -> Iterator[Services]:
        from assetbatch.deadline import Deadline

        with Deadline(SECONDS) as deadline, services_for(self.options, self.config, deadline) as services:
            yield services


def _take_back(chosen: _Chosen, *, dry_run: bool, json: bool) -> None:
    from assetbatch.commands.backfill import take_back

    with chosen.services() as services:
        done = take_back(services, chosen.symbols, dry_run=dry_run, classes=chosen.classes)
    from assetbatch.views.terminal import backfill as view

    if json:
        print_json(view.taken_back_document(done))
    else:
        print_text("\n".join(view.taken_back_lines(done, dry_run=dry_run)))


def _request(
    chosen: _Chosen, first: date, last: date | None, *, again: bool, dry_run: bool, json: bool, yes: bool
) -> None:
    """Queue the pages, and say so. A person who can answer is asked above `ASKED_ABOVE` new calls."""
    from assetbatch.commands.backfill import BackfillReport
    from assetbatch.commands.backfill import backfill as queue_pages
    from assetbatch.views.terminal import backfill as view

    def run(*, dry_run: bool) -> BackfillReport:
        with chosen.services() as services:
            return queue_pages(
                services, chosen.symbols, first, last, dry_run=dry_run, classes=chosen.classes, again=again
            )

    may_ask = not (dry_run or yes or json) and _is_answered()
    report = run(dry_run=dry_run or may_ask)
    if json:
        print_json(view.backfill_document(report))
        return
    print_text("\n".join(view.plan_lines(report)))
    if may_ask:
        question = f"Queue {report.new_calls:,} calls (all that is ahead takes about {view.takes(report)})?"
        if report.new_calls > ASKED_ABOVE and not typer.confirm(question, err=True):
            print_text("nothing was queued")
            raise typer.Exit(1)
        report = run(dry_run=False)
    print_text("\n".join(view.queued_lines(report, dry_run=dry_run)))


def _is_answered() -> bool:
    """Return whether somebody can answer a question."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def _days(since: datetime | None, until: datetime | None) -> tuple[date, date | None]:
    """Return the first and the last day that are wanted. Raise ConfigError."""
    if since is None:
        raise ConfigError("--from is missing", hint="write the first day, such as 2024-11-01")
    first, last = since.date(), until.date() if until else None
    check_days(first, last)
    today = date.today()  # noqa: DTZ011 - a deadline, not a moment
    return first, last if last and last < today else None
