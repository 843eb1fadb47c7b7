"""`dead list`, `dead retry`, `dead drop`."""

from __future__ import annotations

import sys
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
from assetbatch.domain.formatting import plural
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.domain.queueing import DeadLetter
    from assetbatch.services import Services

SECONDS = 30.0

Symbols = Annotated[
    list[str] | None,
    typer.Argument(help="Symbols, or ids as `dead list --json` shows them.", autocompletion=complete_symbol),
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

CODES = (
    "Exit codes: 0 done, or nothing there; 1 no dead letter of a name that was given, or no room in the "
    "queue; 2 usage or configuration; 3 Redis cannot be reached."
)


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    add_group(
        app,
        "dead",
        help="Show, retry or drop work that has failed for good.",
        end=epilog("assetbatch dead list  |  assetbatch dead retry --all", CODES),
        commands=[
            (
                "list",
                list_letters,
                epilog("assetbatch dead list  |  assetbatch dead list ETHUSD --json", CODES),
            ),
            ("retry", retry, epilog("assetbatch dead retry ETHUSD  |  assetbatch dead retry --all", CODES)),
            ("drop", drop, epilog("assetbatch dead drop ETHUSDT  |  assetbatch dead drop --all", CODES)),
        ],
    )


def list_letters(context: typer.Context, symbols: Symbols = None, json: Json = False) -> None:
    """Show the dead letters, the latest first, with their last error."""
    from assetbatch.deadline import Deadline

    with reported(context) as options:
        config = load_config(options)
        if holds_nothing(config):
            print_json([]) if json else print_text(_none(symbols))
            return
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            letters = _letters(services, symbols or [])
            now_ms = services.now_ms()
        from assetbatch.views.terminal import dead as view

        if json:
            print_json([view.document(letter) for letter in letters])
        elif not letters:
            print_text(_none(symbols))
        elif sys.stdout is not None and sys.stdout.isatty():
            print_rich(view.render(letters, now_ms))
        else:
            print_text("\n".join(view.line(letter) for letter in letters))


def retry(
    context: typer.Context, symbols: Symbols = None, everything: All = False, json: Json = False
) -> None:
    """Put dead letters back into the queue, with all their attempts anew."""
    from assetbatch.deadline import Deadline

    with reported(context) as options:
        _check_choice(symbols, everything)
        config = load_config(options)
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            ids = [letter.id for letter in _letters(services, symbols or [])]
            done = services.queue.retry_dead(ids)
        if json:
            print_json(done)
        elif not ids:
            print_text(_none(symbols))
        else:
            words = [f"{plural(len(done.retried), 'dead letter')} back in the queue"]
            words += [f"{len(done.queued)} queued already"] if done.queued else []
            words += [f"{len(done.without_room)} without room in the queue"] if done.without_room else []
            print_text(", ".join(words))
        if done.without_room or (symbols and not ids):
            raise typer.Exit(1)


def drop(
    context: typer.Context, symbols: Symbols = None, everything: All = False, json: Json = False
) -> None:
    """Remove dead letters. enqueue-secondary queues an asset again when it is due."""
    from assetbatch.deadline import Deadline

    with reported(context) as options:
        _check_choice(symbols, everything)
        config = load_config(options)
        with Deadline(SECONDS) as deadline, services_for(options, config, deadline) as services:
            ids = [letter.id for letter in _letters(services, symbols or [])]
            dropped = services.queue.drop_dead(ids)
        if json:
            print_json({"dropped": dropped})
        elif not ids:
            print_text(_none(symbols))
        else:
            print_text(f"{plural(len(dropped), 'dead letter')} dropped")
        if symbols and not ids:
            raise typer.Exit(1)


def _letters(services: Services, names: list[str]) -> list[DeadLetter]:
    """Return all dead letters, or those of these symbols and ids; the latest first."""
    from assetbatch.domain.work import parse_work_id
    from assetbatch.state.queue import DEAD_LETTERS_KEPT

    letters = services.queue.dead_letters(DEAD_LETTERS_KEPT)
    if not names:
        return letters
    return [letter for letter in letters if letter.id in names or parse_work_id(letter.id).symbol in names]


def _none(symbols: list[str] | None) -> str:
    return f"no dead letters of {', '.join(symbols)}" if symbols else "no dead letters"


def _check_choice(symbols: list[str] | None, everything: bool) -> None:
    if bool(symbols) == everything:
        raise ConfigError("say which dead letters", hint="name symbols, or --all (not both)")
