"""`init`."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Annotated

import typer

from assetbatch.cli.context import load_config, print_json, print_text, reported
from assetbatch.words import plural

INIT_SECONDS = 120.0

log = logging.getLogger("assetbatch")


class Partitions(StrEnum):
    """How the table of bars is divided."""

    MONTH = "month"


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "init",
        epilog="Examples: assetbatch init  |  assetbatch init --partition month  |  "
        "assetbatch --config /etc/assetbatch/config.yml init\n\n"
        "Exit codes: 0 the schema is there and all assets are registered; 2 usage or configuration; "
        "3 PostgreSQL cannot be reached, or its tables cannot be adopted.",
    )(init)


def init(
    context: typer.Context,
    partition: Annotated[
        Partitions | None,
        typer.Option(
            help="Make the table of bars in partitions of a month (where TimescaleDB is installed: as its "
            "hypertable); later starts of init add the months that have come nearer."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as one JSON object.")] = False,
) -> None:
    """Create or upgrade the schema and register the configured assets; safe to repeat.

    Tables that a platform already has are adopted: what is missing is added, nothing is dropped or rewritten.
    """
    from assetbatch.bounds import Bound
    from assetbatch.services import Services
    from assetbatch.setup import initialise

    with reported(context) as options:
        config = load_config(options)
        with Bound(INIT_SECONDS) as bound, Services(config, bound=bound) as services:
            report = initialise(services, by_month=partition is Partitions.MONTH)
        for concern in report.concerns:
            log.warning("%s", concern)
        if json:
            print_json(report)
            return
        done = plural(len(report.migrations), "migration") + " applied"
        if report.partitions:
            done += f", {plural(len(report.partitions), 'partition')} added"
        if report.hypertable:
            done += ", bars in a hypertable"
        print_text(
            f"schema ready ({done}); {plural(len(report.added), 'asset')} added, "
            f"{len(report.present)} there before"
        )
