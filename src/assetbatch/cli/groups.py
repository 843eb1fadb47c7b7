"""Groups of commands, such as `queue list` and `queue cancel`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer


def epilog(examples: str, codes: str) -> str:
    """Return the end of a help text: the examples, then the exit codes."""
    return f"Examples: {examples}\n\n{codes}"


def add_group(
    app: typer.Typer,
    name: str,
    *,
    help: str,
    end: str,
    commands: Iterable[tuple[str, Callable[..., None], str]],
) -> typer.Typer:
    """Add a group, and return it. `end` is its epilog; each command has a name, a function and an epilog."""
    group = typer.Typer(no_args_is_help=True, help=help, epilog=end)
    for command, function, its_end in commands:
        group.command(command, epilog=its_end)(function)
    app.add_typer(group, name=name)
    return group
