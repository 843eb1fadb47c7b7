"""`export`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from assetbatch.cli.completion import complete_symbol
from assetbatch.cli.context import load_config, print_text, reported, services_for, stdout
from assetbatch.cli.days import DAY, check_order, parse_day
from assetbatch.domain.exporting import EARLIEST_MS, LATEST_MS, ExportFormat, ExportSize
from assetbatch.domain.formatting import listed, plural
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.units import DAY_MS
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.commands.export import Exported, Wanted, Watcher
    from assetbatch.deadline import Deadline
    from assetbatch.services import Services

SECONDS = 6 * 3600.0
"""Maximum time in seconds of an export. Each month that it reads has a bound of its own."""

log = logging.getLogger("assetbatch")


Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR/|-",
        help="A file; a folder, which exists or ends in a slash: a file for each symbol and month, "
        "written only if its bars have changed; - is stdout.",
    ),
]
Symbols = Annotated[
    list[str] | None,
    typer.Argument(help="Configured symbols; else --all.", autocompletion=complete_symbol),
]
All = Annotated[bool, typer.Option("--all", help="Every configured symbol.")]
Since = Annotated[
    datetime | None,
    typer.Option("--from", parser=parse_day, metavar=DAY, help="The first day, in UTC. Without it: all."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--to", parser=parse_day, metavar=DAY, help="The last day, in UTC. Without it: all."),
]
Size = Annotated[
    ExportSize, typer.Option(help="Size of the bars; 15m, 1h and 4h are made of bars of 5 minutes.")
]
Format = Annotated[
    ExportFormat | None,
    typer.Option(
        "--format",
        help="Without it: parquet for a file that ends so, else csv. Parquet needs the extra `export`.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "export",
        epilog="Examples: assetbatch export XAUUSD --from 2024-11-01 -o gold.csv  |  "
        "assetbatch export EURUSD --size 1h -o - > hours.csv  |  "
        "assetbatch export --all --size 1m --format parquet -o bars/\n\n"
        "Exit codes: 0 written, or nothing has changed; 1 a file cannot be written; 2 usage, configuration "
        "or no pyarrow; 3 PostgreSQL cannot be reached; 143/130 stopped by SIGTERM/SIGINT.",
    )(export)


def export(
    context: typer.Context,
    output: Output,
    symbols: Symbols = None,
    everything: All = False,
    since: Since = None,
    until: Until = None,
    size: Size = ExportSize.FIVE_MINUTES,
    written_as: Format = None,
) -> None:
    """Write stored bars into files. It asks the provider for nothing.

    In a folder, a month is always whole, and a month that was written is written again only if its bars
    have changed since: corrections of old bars are seen. assetbatch-export.json beside the files says what
    they hold.
    """
    from assetbatch.commands.export import Wanted, chosen, format_of
    from assetbatch.deadline import Deadline

    with reported(context) as options:
        if bool(symbols) == everything:
            raise ConfigError("say which symbols", hint="name some, or give --all, not both")
        start_ms, end_ms = _range(since, until)
        config = load_config(options)
        if not output:
            raise ConfigError("-o names nothing", hint="name a file, or a folder with a slash at its end")
        form = format_of(output, written_as)
        if output == "-" and form is not ExportFormat.CSV:
            raise ConfigError("only csv goes to stdout", hint="name a file, or leave out --format")
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            wanted = Wanted(chosen(services, symbols or (), size), size, form, start_ms, end_ms)
            # On a terminal, the bars themselves are seen with `-o -`.
            shows = options.verbosity >= 0 and not (output == "-" and _is_terminal(sys.stdout))
            done = _export(services, wanted, output, deadline, shows=shows)
        if deadline.stopped:
            if done.stopped:
                log.warning("%s", _what_stays(done, output))
            raise typer.Exit(128 + deadline.stopped)
        if done.without:
            is_expected = everything and len(done.without) < len(wanted.symbols)  # cron would mail it
            log.log(
                logging.INFO if is_expected else logging.WARNING,
                "no bars of %s are stored in the range for %s",
                size,
                listed(done.without),
            )
        _say(done, output)


def _export(services: Services, wanted: Wanted, output: str, deadline: Deadline, *, shows: bool) -> Exported:
    from assetbatch.commands.export import (
        export_in_place,
        export_to_file,
        export_to_folder,
        is_folder,
    )
    from assetbatch.files import is_written_to, unwritable

    path = Path(output)
    with _watching(_UntilStopped(deadline), shows=shows) as watcher:
        if output == "-":
            with stdout():
                done = export_to_file(services, wanted, sys.stdout.buffer, watcher)
                sys.stdout.flush()
                return done
        if is_folder(output):
            return export_to_folder(services, wanted, path, watcher)
        if not is_written_to(path):
            return export_in_place(services, wanted, path, watcher)
        try:
            with open(path, "wb") as file:
                return export_to_file(services, wanted, file, watcher)
        except OSError as error:
            raise unwritable(path, error) from None


class _UntilStopped:
    """Stops after the month that is being written when a signal comes."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def has_months(self, count: int) -> None:
        """Nothing is shown."""

    def goes_on(self, _symbol: str, _month: str) -> bool:
        """Return whether no signal has come."""
        return self._deadline.stopped is None


@contextmanager
def _watching(watcher: Watcher, *, shows: bool) -> Iterator[Watcher]:
    """Show a bar on a terminal."""
    if not (shows and _is_terminal(sys.stderr)):
        yield watcher
        return
    from assetbatch.views.terminal.export_bar import export_bar

    with export_bar(watcher) as seen:
        yield seen


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _range(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return the range of the days `[start_ms, end_ms)`. Raise ConfigError."""
    if since and until:
        check_order(since.date(), until.date())
    start_ms = max(EARLIEST_MS, to_ms(since.replace(tzinfo=UTC))) if since else EARLIEST_MS
    end_ms = min(LATEST_MS, to_ms(until.replace(tzinfo=UTC)) + DAY_MS) if until else LATEST_MS
    return start_ms, end_ms


def _what_stays(done: Exported, output: str) -> str:
    """Return what an export that was stopped has left behind, in words."""
    from assetbatch.commands.export import is_folder
    from assetbatch.files import is_written_to

    if output == "-" or (not is_folder(output) and is_written_to(Path(output))):
        return f"stopped: {done.bars:,} bars were written, and the rest is missing"
    if is_folder(output):
        kept = plural(done.files + done.unchanged, "finished file")
        return f"stopped: kept {kept}, and the next export goes on there"
    return "stopped: nothing was replaced"


def _say(done: Exported, output: str) -> None:
    """Tell a person what was written."""
    text = f"{done.bars:,} bars in {plural(done.files, 'file')}"
    if done.unchanged:
        text += f", {plural(done.unchanged, 'file')} unchanged"
    if output != "-" and _is_terminal(sys.stdout):
        print_text(text)
    else:
        log.info("%s", text)
