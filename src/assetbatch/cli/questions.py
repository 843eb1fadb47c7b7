"""Questions on a terminal. Secrets are not echoed; Ctrl-C and the end of input stop the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import typer

from assetbatch.cli.context import print_text

STOPPED = 130
"""Exit code after Ctrl-C or Ctrl-D at a question."""

T = TypeVar("T")


def ask(question: str, default: str, read: Callable[[str], T]) -> T:
    """Ask until `read` takes the answer; Enter takes the default. `read` raises ValueError with a reason."""
    while True:
        shown = f" [{default}]" if default else ""
        answer = _line(f"{question}{shown}: ") or default
        try:
            return read(answer)
        except ValueError as error:
            print_text(f"  {error}")


def ask_secret(question: str, read: Callable[[str], T]) -> T:
    """Ask without echo until `read` takes the answer."""
    from getpass import getpass

    while True:
        try:
            answer = getpass(f"{question}: ").strip()
        except (EOFError, KeyboardInterrupt):
            _stop()
        try:
            return read(answer)
        except ValueError as error:
            print_text(f"  {error}")


def agree(question: str, *, default: bool = True) -> bool:
    """Ask a question of yes and no."""
    return choose(f"{question} (y/n)", ("y", "n"), "y" if default else "n") == "y"


def choose(question: str, letters: Sequence[str], default: str) -> str:
    """Ask for one of these letters, which the question names."""

    def read(answer: str) -> str:
        letter = answer[:1].lower()
        if letter not in letters:
            raise ValueError(f"one of {', '.join(letters)}")
        return letter

    return ask(question, default, read)


def _line(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except (EOFError, KeyboardInterrupt):
        _stop()


def _stop() -> NoReturn:
    print_text("\nstopped")
    raise typer.Exit(STOPPED)
