"""`doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import Options, load_config, print_json, print_rich, reported, services_for
from assetbatch.errors import AssetbatchError, ConfigError, DatabaseError, RedisError

if TYPE_CHECKING:
    from assetbatch.doctor import Finding

DOCTOR_SECONDS = 30.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "doctor",
        epilog="Examples: assetbatch doctor  |  assetbatch doctor --no-call  |  assetbatch doctor --json\n\n"
        "Exit codes: 0 it works, warnings or not; 1 cron does not start it; 2 usage or configuration; "
        "3 Redis, PostgreSQL or the API cannot be used; 4 the API refuses the key. The first error counts.",
    )(doctor)


def doctor(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
    no_call: Annotated[bool, typer.Option("--no-call", help="Do not call the provider.")] = False,
) -> None:
    """Check configuration, Redis, PostgreSQL, key, plan and cron, and say what to do about each finding.

    It makes one call, if one is free, through the same limiter as all other calls.
    """
    with reported(context) as options:
        findings = _findings(options, call=not no_call)
        from assetbatch.doctor import exit_code, worst

        if json:
            shown = [{k: getattr(f, k) for k in ("check", "level", "message", "hint")} for f in findings]
            print_json({"status": worst(findings), "findings": shown})
        else:
            from assetbatch.views.terminal.doctor import render

            print_rich(render(findings))
        raise typer.Exit(exit_code(findings))


def _findings(options: Options, *, call: bool) -> list[Finding]:
    from assetbatch.deadline import Deadline
    from assetbatch.doctor import examine, examine_config
    from assetbatch.doctor.findings import of_error

    try:
        config = load_config(options)
    except AssetbatchError as raised:
        return of_error("config", raised)
    findings = list(examine_config(config))
    try:
        with Deadline(DOCTOR_SECONDS) as deadline, services_for(options, config, deadline) as services:
            for finding in examine(services, deadline, call=call):
                findings.append(finding)
        if deadline.stopped:
            raise typer.Exit(128 + deadline.stopped)
    except AssetbatchError as raised:  # a sandbox's own servers, which it needs before anything is examined
        findings += of_error(_check_of(raised), raised)
    return findings


def _check_of(raised: AssetbatchError) -> str:
    match raised:
        case RedisError():
            return "redis"
        case DatabaseError():
            return "postgresql"
        case ConfigError():
            return "config"
        case _:
            return "doctor"
