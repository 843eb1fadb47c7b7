"""What all commands share: the global options, the configuration, and errors that become exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import typer

from assetbatch.cli.logs import LogFormat, configure
from assetbatch.domain.formatting import plural
from assetbatch.errors import NOTICE, AssetbatchError

if TYPE_CHECKING:
    from rich.console import Console

    from assetbatch.cli.notices import NoticeLog
    from assetbatch.config import Config
    from assetbatch.deadline import Deadline
    from assetbatch.services import Services

log = logging.getLogger("assetbatch")


class Options(NamedTuple):
    """The options before the command's name. `cycle_id` marks all that one start logs and stores."""

    config: Path | None = None
    sandbox: bool = False
    verbosity: int = 0
    log_format: LogFormat = LogFormat.AUTO
    cycle_id: str = ""
    log_file: Path | None = None


@contextmanager
def reported(
    context: typer.Context, notices: NoticeLog | None = None, *, opens_log: bool = True
) -> Iterator[Options]:
    """Set up the log. Turn an AssetbatchError into its lines on stderr and its exit code.

    With `--json` a program reads one document on stdout, also of a command that an error has ended.

    `notices` holds back what earlier starts have reported. `opens_log` is False where `--log-file` names the
    log of later starts, whose folder need not be there yet.
    """
    options: Options = context.obj
    configure(
        command_name(context),
        options.cycle_id,
        options.log_format,
        options.verbosity,
        log_file=options.log_file if opens_log else None,
        notices=notices,
    )
    try:
        yield options
    except AssetbatchError as error:
        if notices:
            notices.failed(error)
        for line in str(error).splitlines():
            log.error("%s", line)
        for line in notices.proved(error) if notices else ():
            log.log(NOTICE, "%s", line)
        if context.params.get("json"):
            print_json(error.document or {"error": error.message, "hint": error.hint})
        raise typer.Exit(error.exit_code) from None


def command_name(context: typer.Context) -> str:
    """Return the command without the program, such as `run-queue` or `config show`."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent  # type: ignore[assignment]  # typer's own class in practice
    return " ".join(names)


def load_config(options: Options) -> Config:
    """Return the effective configuration; raise ConfigError."""
    from assetbatch.config import load

    return load(options.config, os.environ, cwd=current_folder(), sandbox=options.sandbox)


def current_folder() -> Path:
    """Return the current folder, or the root if the folder was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


@contextmanager
def services_for(options: Options, config: Config, deadline: Deadline | None = None) -> Iterator[Services]:
    """Open the services of a command with this deadline. A sandbox makes its own schema first."""
    from assetbatch.services import Services

    with Services(config, options.cycle_id, deadline) as services:
        if options.sandbox:
            from assetbatch.commands.init import initialise

            done = initialise(services, anew=False)  # each start does it
            if done.added:
                log.info("the tables are there, with %s", plural(len(done.added), "new asset"))
        yield services


def holds_nothing(config: Config) -> bool:
    """Return whether no command has used the embedded Redis yet: then a look at it starts no server."""
    url = config.redis.url
    is_embedded = url is not None and url.embedded and not config.sandbox
    return is_embedded and not (config.data_folder / "valkey").exists()


def print_rich(renderable: Any) -> None:
    """Print to stdout: coloured on a terminal, plain elsewhere and with NO_COLOR."""
    with stdout():
        stdout_console().print(renderable)


def stdout_console() -> Console:
    """Return a console that knows stdout's width and encoding, and whether it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


def print_json(document: Any) -> None:
    """Print a document as one line of JSON to stdout."""
    import msgspec

    print_text(msgspec.json.encode(document).decode())


def print_text(text: str) -> None:
    """Print text to stdout as it is."""
    with stdout():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def devnull() -> TextIO:
    """Return a stream for the rest of the process that swallows what is written."""
    return open(os.devnull, "w", encoding="utf-8")


@contextmanager
def stdout() -> Iterator[None]:
    """Write to stdout. A closed stdout swallows it; a full disk raises AssetbatchError."""
    if sys.stdout is None:
        sys.stdout = devnull()
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read has seen enough; the command line ends quietly
    except OSError as error:
        sys.stdout = devnull()  # or the end would fail again
        raise AssetbatchError(f"the output cannot be written: {error.strerror}") from None


def make_output_robust() -> None:
    """Let a stream show a substitute for a character that it cannot show.

    Cron's environment may be plain ASCII. A closed stderr swallows what is written.
    """
    if sys.stderr is None:
        sys.stderr = devnull()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
