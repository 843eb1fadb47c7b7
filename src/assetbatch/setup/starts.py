"""PURE: which commands are started, how often, and by which words, wherever they are started from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from assetbatch.domain.formatting import listed
from assetbatch.domain.records import Command
from assetbatch.errors import ConfigError

MINUTES_OF_HOUR = 60
HOURS_OF_DAY = 24
_CARRIED = ("_FILE",)
_FOLDERS = ("XDG_DATA_HOME", "XDG_STATE_HOME")


class Starter(NamedTuple):
    """How this installation is started: absolute paths only, since cron has neither PATH nor folder."""

    program: tuple[str, ...]
    config: Path
    environment: Mapping[str, str] = {}
    log_file: Path | None = None

    def words(self, command: str) -> list[str]:
        """Return the words of one start, the program first."""
        log = ["--log-file", str(self.log_file)] if self.log_file else []
        return [*self.program, "--config", str(self.config), *log, command]


def program_of(argv0: str, python: str, folder: Path, is_program: bool) -> tuple[str, ...]:
    """Return how to start the program that runs now.

    `argv0` is what it was started as, `folder` the current folder, `is_program` whether that can be started
    again. A link is kept, not followed: pipx and uv let it point at the next version.
    """
    if is_program and not argv0.endswith("__main__.py"):
        return (str(folder / argv0),)
    return (python, "-m", "assetbatch")


def environment_for(origins: Mapping[str, str], env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the variables that a start needs to find what this shell finds; raise ConfigError.

    Names of files are carried over with absolute paths. Values are not: a crontab can be read by others.
    """
    needed = sorted(
        {
            part.removeprefix("env ")
            for origin in origins.values()
            for part in origin.split(", ")
            if part.startswith("env ")
        }
    )
    values = [name for name in needed if not name.endswith(_CARRIED)]
    if values:
        raise ConfigError(
            f"{listed(values, 5)}: set in this shell only, which cron does not see",
            hint="unset it, or write it into a .env beside config.yml (chmod 600); "
            "assetbatch setup keeps in a file what is not configured yet",
        )
    carried = {name: str(folder / env[name]) for name in needed}
    return carried | {name: env[name] for name in _FOLDERS if env.get(name, "").startswith("/")}


def crontab_lines(starter: Starter, minutes: Mapping[Command, int]) -> list[str]:
    """Return one line for each command; raise ConfigError if a path cannot stand in a crontab."""
    width = max(len(cron_schedule(every)) for every in minutes.values())
    return [
        f"{cron_schedule(every):{width}} {_crontab_words(starter, command)}"
        for command, every in minutes.items()
    ]


def _crontab_words(starter: Starter, command: Command) -> str:
    words = starter.words(command)
    if starter.environment:
        words = ["/usr/bin/env", *(f"{name}={value}" for name, value in starter.environment.items()), *words]
    if any(not word.isprintable() for word in words):
        raise ConfigError("a path holds a control character, which no crontab can hold", hint="rename it")
    return shlex.join(words).replace("%", r"\%")  # a bare % is the end of the command for cron


def config_of(lines: Sequence[str]) -> Path | None:
    """Return the configuration that lines of `crontab_lines` name, or None if they are not so."""
    for line in lines:
        try:
            words = shlex.split(line.replace(r"\%", "%"))
        except ValueError:
            continue
        if found := config_after(words):
            return found
    return None


def config_after(words: Sequence[str]) -> Path | None:
    """Return the configuration that the words of a start name."""
    return next((Path(word) for option, word in pairwise(words) if option == "--config"), None)


def cron_schedule(minutes: int) -> str:
    """Return the five fields that start something at least every so many minutes (1 to 1440)."""
    if minutes == 1:
        return "* * * * *"
    if minutes < MINUTES_OF_HOUR:
        return f"*/{minutes} * * * *"
    hours = minutes // MINUTES_OF_HOUR
    return "0 0 * * *" if hours >= HOURS_OF_DAY else "0 * * * *" if hours == 1 else f"0 */{hours} * * *"


def rhythm(minutes: int) -> str:
    """Return how often that starts something, in words: beyond an hour, neither form has odd minutes."""
    if minutes >= MINUTES_OF_HOUR:
        minutes = min(minutes // MINUTES_OF_HOUR, HOURS_OF_DAY) * MINUTES_OF_HOUR
    return "every minute" if minutes == 1 else f"every {minutes} minutes"


def calendar(minutes: int) -> str:
    """Return the same for systemd, as OnCalendar has it."""
    if minutes == 1:
        return "*:*"
    if minutes < MINUTES_OF_HOUR:
        return f"*:0/{minutes}"
    hours = minutes // MINUTES_OF_HOUR
    return "00:00" if hours >= HOURS_OF_DAY else "*:00" if hours == 1 else f"0/{hours}:00"


def out_of_step(crontab: bytes, config: Path, minutes: Mapping[Command, int]) -> dict[Command, str]:
    """Return the commands that lines for this configuration start at other times, each with these times."""
    found = {}
    for line in crontab.decode(errors="replace").splitlines():
        try:
            words = shlex.split(line.replace(r"\%", "%"), comments=True)
        except ValueError:  # a quote of somebody else's line
            continue
        if ("--config", str(config)) not in pairwise(words):
            continue
        for command, every in minutes.items():
            if command in words and words[:5] != cron_schedule(every).split():
                found[command] = " ".join(words[:5])
    return found


def starts_of(lines: Sequence[str], command: Command) -> bool:
    """Return whether one of these lines of a crontab starts the command.

    The program may be called by a variable, so the command's own word decides.
    """
    word = re.compile(rf"(?<![\w./-]){command}(?![\w./-])")
    return any(word.search(line) for line in lines if not re.match(r"\s*(#|\w+\s*=)", line))
