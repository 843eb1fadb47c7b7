"""`queue list`, `queue cancel`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.completion import complete_symbol
from assetbatch.cli.context import (
    holds_nothing,
    load_config,
    print_json,
    print_rich,
    print_text,
    reported,
    services_for,
)
from assetbatch.cli.groups import add_group, epilog
from assetbatch.domain.queueing import Cancelled, Lane
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.config import Config

SECONDS = 30.0

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

CODES = (
    "Exit codes: 0 done, or nothing there; 1 nothing of a name that was given is in the queue, or it is "
    "being worked; 2 usage or configuration; 3 Redis cannot be reached."
)


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    of_list = "assetbatch queue list  |  assetbatch queue list --class HISTORY --json"
    of_cancel = "assetbatch queue cancel ETHUSD  |  assetbatch queue cancel --all"
    add_group(
        app,
        "queue",
        help="Show what waits in the queue, or take it out.",
        end=epilog("assetbatch queue list  |  assetbatch queue cancel ETHUSD", CODES),
        commands=[("list", list_items, epilog(of_list, CODES)), ("cancel", cancel, epilog(of_cancel, CODES))],
    )


def list_items(
    context: typer.Context,
    classes: Annotated[
        list[Lane] | None,
        typer.Option(
            "--class", case_sensitive=False, help="Only work of this priority, BARS or HISTORY. Repeatable."
        ),
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol",
            help="Only work of this symbol, or this id. Repeatable.",
            autocompletion=complete_symbol,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show each item, however many.")] = False,
    json: Json = False,
) -> None:
    """Show what is being worked, what waits in its order, and what is tried again later.

    It takes nothing out of the queue.
    """
    from assetbatch.commands.queue_items import list_queue
    from assetbatch.deadline import Deadline

    with reported(context) as options:
        config = load_config(options)
        if holds_nothing(config):
            print_json([]) if json else print_text(_none(config, [*(symbols or ()), *(classes or ())]))
            return
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            entries = list_queue(services, symbols or (), classes or ())
            now_ms = services.now_ms()
        from assetbatch.views.terminal import queue as view

        max_attempts, most = config.queue.retry_max_attempts, None if everything else view.SHOWN
        if json:
            print_json([view.document(entry, now_ms) for entry in entries])
        elif not entries:
            print_text(_none(config, [*(symbols or ()), *(classes or ())]))
        elif sys.stdout is not None and sys.stdout.isatty():
            print_rich(view.render(entries, now_ms, max_attempts, most))
        else:
            print_text("\n".join(view.lines(entries, now_ms, max_attempts, most)))


def cancel(
    context: typer.Context,
    symbols: Annotated[
        list[str] | None,
        typer.Argument(
            help="Symbols, or ids as `queue list --json` shows them.", autocompletion=complete_symbol
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that waits.")] = False,
    json: Json = False,
) -> None:
    """Take work out of the queue. What is being worked stays, and ends by itself.

    enqueue-secondary queues an asset again when it is due, and a page of the past as long as it is missing;
    backfill --cancel takes a backfill back.
    """
    from assetbatch.commands import queue_items
    from assetbatch.deadline import Deadline

    with reported(context) as options:
        if bool(symbols) == everything:
            raise ConfigError("say which work", hint="name symbols, or --all (not both)")
        config = load_config(options)
        if holds_nothing(config):
            done = Cancelled((), (), ())
        else:
            with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
                done = queue_items.cancel(services, symbols or ())
        if json:
            print_json(done)
        elif not (done.cancelled or done.leased or done.unknown):
            print_text(_none(config, symbols or ()))
        else:
            from assetbatch.views.terminal.queue import cancelled_line

            print_text("\n".join([cancelled_line(done), *_not_configured(config, symbols or ())]))
        if (symbols and not done.cancelled) or done.leased:
            raise typer.Exit(1)


def _none(config: Config, names: Sequence[str]) -> str:
    if not names:
        return f"nothing in the queue (configured by {config.shown_file})"
    return "\n".join([f"nothing of {', '.join(names)} in the queue", *_not_configured(config, names)])


def _not_configured(config: Config, names: Iterable[str]) -> Iterator[str]:
    """Yield a line for each name whose symbol is not configured, with the one that may be meant. Reference
    data of a market have no symbol."""
    from assetbatch.config.symbols import did_you_mean
    from assetbatch.domain.work import parse_work_id

    for name in names:
        symbol = parse_work_id(name).symbol
        if symbol and symbol not in config.configured_symbols and name not in set(Lane):
            meant = did_you_mean(symbol, config.configured_symbols)
            yield f"{symbol} is not configured: {meant}" if meant else f"{symbol} is not configured"
