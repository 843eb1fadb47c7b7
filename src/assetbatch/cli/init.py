"""`init`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from assetbatch.cli.context import load_config, print_json, print_text, reported
from assetbatch.domain.formatting import plural
from assetbatch.errors import SchemaRefusedError

if TYPE_CHECKING:
    from assetbatch.commands.init import SetupReport
    from assetbatch.database.adoption import Plan
    from assetbatch.domain.outlook import Outlook

INIT_SECONDS = 120.0

log = logging.getLogger("assetbatch")


class Partitions(StrEnum):
    """How the table of bars is divided."""

    MONTH = "month"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "init",
        epilog="Examples: assetbatch init --dry-run  |  assetbatch init  |  "
        "assetbatch init --partition month  |  assetbatch --config /etc/assetbatch/config.yml init\n\n"
        "Exit codes: 0 the schema is there and all assets are registered; 2 usage or configuration, or a "
        "platform's tables cannot be used as they are: nothing was changed; 3 PostgreSQL cannot be reached.",
    )(init)


def init(
    context: typer.Context,
    partition: Annotated[
        Partitions | None,
        typer.Option(
            help="Make the table of bars in monthly partitions, or as a hypertable if there is TimescaleDB. "
            "Later starts of init add the months that have come nearer."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the adoption plan: what init would add, use as it is and refuse, and why.",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print what was done, or the adoption plan, as one JSON object.")
    ] = False,
) -> None:
    """Create or upgrade the schema and register the configured assets; safe to repeat.

    The members of rules are looked up with the calls that are free and that the next run-priority does not
    need; run-queue goes on with the rest.

    It adopts the tables that a platform already has: it adds what is missing, and drops or rewrites
    nothing. It refuses what it cannot adopt safely, and then changes nothing.
    """
    from assetbatch.commands.init import initialise, planned
    from assetbatch.commands.members import foreseen, look_up
    from assetbatch.deadline import Deadline
    from assetbatch.refresh.progress import Progress
    from assetbatch.services import Services

    with reported(context) as options:
        config = load_config(options)
        by_month = partition is Partitions.MONTH
        with Deadline(INIT_SECONDS) as deadline, Services(config, deadline=deadline) as services:
            if dry_run:
                found = planned(services, by_month=by_month)
                _print_plan(found, foreseen(services), json=json)
            else:
                report = initialise(services, by_month=by_month)
                report = msgspec.structs.replace(report, rules=look_up(services, deadline, Progress()))
                _print_report(report, json=json)


def _print_report(report: SetupReport, *, json: bool) -> None:
    """Print what was done; log what may go wrong later."""
    for concern in report.concerns:
        log.warning("%s", concern)
    if json:
        print_json(report)
        return
    done = plural(len(report.migrations), "migration") + " applied"
    if report.partitions:
        done += f", {plural(len(report.partitions), 'partition')} added"
    if report.views:
        done += f", {plural(len(report.views), 'view')} made"
    if report.dropped_views:
        done += f", {plural(len(report.dropped_views), 'view')} dropped"
    if report.hypertable:
        done += ", bars in a hypertable"
    assets = f"{plural(len(report.added), 'asset')} added, {len(report.present)} there before"
    of_rules = [f"rule {rule.rule}: {rule.words}" for rule in report.rules]
    print_text("\n".join([f"schema ready ({done}); {assets}", *report.taken, *of_rules]))


def _print_plan(found: Plan, outlooks: Sequence[Outlook], *, json: bool) -> None:
    """Print the adoption plan, and what the members of rules will take. End with code 2 if it refuses
    anything."""
    if json:
        rules = [msgspec.structs.asdict(outlook) for outlook in outlooks]
        print_json({**msgspec.to_builtins(found), **({"rules": rules} if rules else {})})
    else:
        from assetbatch.views.terminal.plan import render

        print_text("\n".join([render(found), *(outlook.words for outlook in outlooks)]))
    if found.refusals:
        raise typer.Exit(SchemaRefusedError.exit_code)
