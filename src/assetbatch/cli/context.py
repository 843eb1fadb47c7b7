"""What every command shares: the global options, the configuration, and errors that become exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from assetbatch.cli.logs import LogFormat, configure
from assetbatch.errors import AssetbatchError

if TYPE_CHECKING:
    from rich.console import Console

    from assetbatch.cli.notices import NoticeLog
    from assetbatch.config import Config
    from assetbatch.deadline import Deadline
    from assetbatch.services import Services

log = logging.getLogger("assetbatch")


class Options(NamedTuple):
    """The options before the command's name; `cycle_id` marks all that one start says and does."""

    config: Path | None = None
    sandbox: bool = False
    verbosity: int = 0
    log_format: LogFormat = LogFormat.AUTO
    cycle_id: str = ""


@contextmanager
def reported(context: typer.Context, notices: NoticeLog | None = None) -> Iterator[Options]:
    """Sets up the log; turns an AssetbatchError into its lines on stderr and its exit code.

    `notices` holds back what earlier starts have said.
    """
    options: Options = context.obj
    handler = configure(command_name(context), options.cycle_id, options.log_format, options.verbosity)
    if notices:
        handler.addFilter(notices)
    try:
        yield options
    except AssetbatchError as error:
        if notices:
            notices.failed(error)
        for line in str(error).splitlines():
            log.error("%s", line)
        raise typer.Exit(error.exit_code) from None


def command_name(context: typer.Context) -> str:
    """`run-queue`, `config show`: the command without the program."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent  # type: ignore[assignment]  # typer's own class in practice
    return " ".join(names)


def load_config(options: Options) -> Config:
    """The effective configuration; raises ConfigError."""
    from assetbatch.config import load

    return load(options.config, os.environ, cwd=current_folder(), sandbox=options.sandbox)


def current_folder() -> Path:
    """Where we are; the root, where that folder has been removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


@contextmanager
def services_for(options: Options, config: Config, deadline: Deadline | None = None) -> Iterator[Services]:
    """The services of a command with this deadline; a sandbox makes its own schema first."""
    from assetbatch.services import Services

    with Services(config, options.cycle_id, deadline) as services:
        if options.sandbox:
            from assetbatch.commands.init import initialise

            initialise(services)
        yield services


def print_rich(renderable: Any) -> None:
    """Prints to stdout: coloured on a terminal, plain elsewhere and with NO_COLOR."""
    with _output():
        stdout_console().print(renderable)


def stdout_console() -> Console:
    """Knows stdout's width, whether it is a terminal, and its encoding."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


def print_json(document: Any) -> None:
    """Prints a document as one line of JSON to stdout."""
    import msgspec

    print_text(msgspec.json.encode(document).decode())


def print_text(text: str) -> None:
    """Prints text to stdout as it is."""
    with _output():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


@contextmanager
def _output() -> Iterator[None]:
    """What is written within goes to stdout: nowhere if that is closed; a full disk is an error in words."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read has seen enough; the command line ends quietly
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - or the end would fail again
        raise AssetbatchError(f"the output cannot be written: {error.strerror}") from None


def make_output_robust() -> None:
    """A stream that cannot show a character shows a substitute: cron's environment may be plain ASCII. What
    goes to a stderr that is closed goes nowhere."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
