"""The commands and the options they share."""

from __future__ import annotations

import errno
import sys
import uuid
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from assetbatch import __version__
from assetbatch.cli.context import Options, devnull, make_output_robust
from assetbatch.cli.logs import LogFormat, quiet_libraries

COMMANDS = {
    "run-priority": "run",
    "run-queue": "run",
    "enqueue-secondary": "run",
    "status": "status",
    "holes": "backfill",
    "backfill": "backfill",
    "verify": "verify",
    "export": "export",
    "queue": "queue",
    "dead": "dead",
    "setup": "setup",
    "cron": "cron",
    "init": "init",
    "doctor": "doctor",
    "config": "config",
    "notify": "notify",
    "call": "call",
    "slot": "slot",
    "serve": "serve",
    "sandbox": "sandbox",
}
"""The commands in the order of the help, each with the module here that adds it."""

ALIASES = {"gaps": "holes"}
"""Other names of commands. The help does not list them."""


def _flowing(text: str | None) -> str | None:
    """Return a help text with one line a paragraph, which the terminal breaks where it ends."""
    return text and "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


class CommandTable(Mapping[str, TyperCommand | TyperGroup]):
    """The commands by name. A look-up imports and builds the command, so that a start pays for one only."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        name = ALIASES.get(name, name)
        module = import_module(f"assetbatch.cli.{COMMANDS[name]}")
        commands = typer.Typer()
        module.add_to(commands)
        found: TyperCommand | TyperGroup = get_group(commands).commands[name]  # type: ignore[assignment]
        for command in (found, *getattr(found, "commands", {}).values()):
            command.help = _flowing(command.help)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """The group of all commands, which it builds when they are asked for."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = CommandTable()  # type: ignore[assignment]  # nothing is added to it


app = typer.Typer(
    name="assetbatch",
    cls=LazyGroup,
    add_completion=True,
    help="Keeps prices of forex, gold, crypto, stocks and indices fresh in PostgreSQL on a budget of API "
    "calls. Cron starts it; each start is one bounded cycle.",
    epilog="Examples: assetbatch --sandbox run-priority  |  assetbatch doctor  |  assetbatch status\n\n"
    "Exit codes: 0 all done, nothing to do, or an earlier start still runs; 1 some assets failed; 2 usage or "
    "configuration; 3 Redis, PostgreSQL or the API cannot be reached; 4 the API refuses the key; 143, 130 "
    "stopped. Each command's help names its own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would print local variables, secrets among them
    context_settings={"help_option_names": ["-h", "--help"]},
)


_FULL = (errno.ENOSPC, errno.EDQUOT)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"assetbatch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The configuration file. Without it: $ASSETBATCH_CONFIG, ./config.yml, the usual places."
        ),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox",
            help="Use a simulated provider and embedded servers with data of their own; no key is needed.",
        ),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Log what is done; twice: also why. A sandbox does the first on a terminal by itself.",
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="Format of the log.", case_sensitive=False)
    ] = LogFormat.AUTO,
    log_file: Annotated[
        Path | None,
        typer.Option(
            envvar="ASSETBATCH_LOG_FILE",
            help="Append all that is done to this file, whatever stderr shows. It may be rotated.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback has done all there is to do
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep the options that hold for every command; they stand before its name."""
    if sandbox and sys.stderr is not None and sys.stderr.isatty():
        verbose = max(verbose, 1)  # who tries it sees what is done
    context.obj = Options(config, sandbox, -1 if quiet else verbose, log_format, str(uuid.uuid4()), log_file)


def run() -> None:
    """Run the command line."""
    make_output_robust()
    quiet_libraries()
    try:
        get_command(app)()  # `app()` would put its own report of a bug in the place of ours
    except OSError as error:  # help and version are printed by the library, before any command
        if error.errno not in _FULL:
            raise
        sys.stdout = devnull()  # or the end would fail again
        sys.exit(f"error: the output cannot be written: {error.strerror}")
