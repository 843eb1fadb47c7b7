"""`status`."""

from __future__ import annotations

from typing import Annotated

import typer

from assetbatch.cli.context import load_config, print_rich, print_text, reported, services_for

STATUS_SECONDS = 30.0


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "status",
        epilog="Examples: assetbatch status  |  assetbatch status --json  |  assetbatch --sandbox status\n\n"
        "Exit codes: 0 shown, whatever it says; 2 usage or configuration; "
        "3 Redis or PostgreSQL cannot be reached.",
    )(status)


def status(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the health document as JSON.")] = False,
) -> None:
    """Show what is fresh, what waits, what is left of the window and what went wrong."""
    from assetbatch.bounds import Bound
    from assetbatch.health import collect, encode

    with reported(context) as options:
        config = load_config(options)
        with Bound(STATUS_SECONDS), services_for(options, config) as services:
            health = collect(services)
        if json:
            print_text(encode(health).decode())
        else:
            from assetbatch.views.status import render

            print_rich(render(health))
        if health.database_error:
            raise typer.Exit(3)
