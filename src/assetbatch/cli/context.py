"""What every command shares: the global options, the configuration, and errors that become exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from assetbatch.cli.logs import LogFormat, configure
from assetbatch.errors import AssetbatchError

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.services import Services

log = logging.getLogger("assetbatch")


class Options(NamedTuple):
    """The options before the command's name."""

    config: Path | None = None
    sandbox: bool = False
    verbosity: int = 0
    log_format: LogFormat = LogFormat.AUTO


@contextmanager
def reported(context: typer.Context) -> Iterator[Options]:
    """Sets up the log; turns an AssetbatchError into its lines on stderr and its exit code."""
    options: Options = context.obj
    configure(context.info_name or "assetbatch", options.log_format, options.verbosity)
    try:
        yield options
    except AssetbatchError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        raise typer.Exit(error.exit_code) from None


def load_config(options: Options, overrides: Mapping[str, tuple[object, str]] | None = None) -> Config:
    """The effective configuration; raises ConfigError."""
    from assetbatch.config import load

    return load(options.config, os.environ, cwd=Path.cwd(), sandbox=options.sandbox, overrides=overrides)


@contextmanager
def services_for(options: Options, config: Config) -> Iterator[Services]:
    """The services of a command; a sandbox makes its own schema first."""
    from assetbatch.services import Services

    with Services(config) as services:
        if options.sandbox:
            from assetbatch.setup import initialise

            initialise(services)
        yield services


def print_rich(renderable: Any) -> None:
    """Prints to stdout: coloured on a terminal, plain elsewhere and with NO_COLOR."""
    from rich.console import Console

    Console(highlight=False, emoji=False, markup=False, soft_wrap=False).print(renderable)


def print_bytes(text: bytes) -> None:
    """Prints JSON to stdout as it is."""
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.flush()
