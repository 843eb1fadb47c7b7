"""Reads command lines out of papers and files, and holds them against the program."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperGroup

from assetbatch.cli.app import LazyGroup

WITH_VALUE = (
    *("--config", "--log-format", "--html", "--port", "--host", "--from", "--refresh", "--to", "--plan"),
    *("--latency", "--fault", "--max-seconds", "--log-file", "--key-file", "--database", "--database-file"),
    *("--redis", "--redis-file", "--base-url", "--priority-assets", "--assets", "--schedule", "--name"),
    *("--size", "--format", "--output", "-o"),
)


def commands_in(text: str) -> list[str]:
    """Return what is typed or started: `assetbatch …` in code, and in blocks of shell."""
    code = "\n".join(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    found = re.findall(r"\bassetbatch ((?:-|[a-z])[^`\n|#]*)", code)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"\n|&&|\|", re.sub(r" #.*", "", block)):
            found += re.findall(r"^(?:\w+=\S+ )?(?:\.venv/bin/)?assetbatch (.*)", part.strip())
    return [command.strip() for command in found]


def options_of(command: Any) -> set[str]:
    """Return the options of a command, on and off."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def program() -> TyperGroup:
    """Return the program's root: its global options and its commands."""
    from assetbatch.cli.app import options

    return typer.main.get_group(typer.Typer(cls=LazyGroup, callback=options, name="assetbatch"))


def commands_of(group: Any, path: str = "") -> dict[str, Any]:
    """Return every command by what is typed for it: `status`, `dead list`."""
    found: dict[str, Any] = {}
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        found |= commands_of(command, f"{name} ") if hasattr(command, "commands") else {path + name: command}
    return found


def check_command(line: str) -> None:
    """Assert that every command and option of a line exists; values are not looked at."""
    words = [word for word in line.split() if word != "…"]
    root = program()
    command: Any = root
    known = options_of(root) | {"--help", "--install-completion"}
    skip = False
    for word in words:
        if word == "--":
            break  # what follows is the command of another program
        if skip:
            skip = False
        elif word.startswith("-"):
            name = word.split("=")[0]
            assert name in known, f"{line}: {name}"
            skip = "=" not in word and name in WITH_VALUE
        elif isinstance(command, TyperGroup):
            if word == "COMMAND":
                break  # stands for any command
            group = LazyGroup() if command is root else command
            command = group.get_command(None, word)  # type: ignore[arg-type]  # no context is needed
            assert command is not None, f"{line}: {word}"
            known = known | options_of(command)
