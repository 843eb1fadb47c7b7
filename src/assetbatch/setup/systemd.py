"""Timers of systemd, of a user or of the system: a template service and a timer for each command.

The texts are pure. A unit that somebody else has written under one of these names is never replaced.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from assetbatch.domain.records import Command
from assetbatch.errors import ConfigError, UnreachableError
from assetbatch.secret import masked_prose
from assetbatch.setup.crontab import begin, end
from assetbatch.setup.starts import Starter, calendar, config_after, rhythm

SECONDS = 30
"""Maximum time in seconds that `systemctl` may take."""

SPARE_SECONDS = 60
"""Time in seconds beyond a command's own bound after which systemd ends it."""

MAIN = "main"

_START = "ExecStart="

_SERVICE = """\
[Unit]
Description=assetbatch %i
{order}
[Service]
Type=oneshot
{user}ExecStart={start} %i
{environment}# Every command ends by itself; this is for the day it does not.
TimeoutStartSec={timeout}
TimeoutStopSec=15
# Stopped by SIGTERM, with its work handed back: no failure.
SuccessExitStatus=143
# Embedded servers serve all commands and outlive the one that has started them.
KillMode=process
NoNewPrivileges=yes
UMask=0077
"""

_ORDER = """\
Wants=network-online.target
After=network-online.target
"""

_TIMER = """\
[Unit]
Description=assetbatch {command}

[Timer]
OnCalendar={calendar}
AccuracySec=1s
{persistent}
[Install]
WantedBy=timers.target
"""


class Units:
    """Where the units of one installation lie, and what they are called."""

    def __init__(self, name: str, *, system: bool, home: Path) -> None:
        self.system = system
        self.name = name
        self.folder = Path("/etc/systemd/system") if system else home / "systemd/user"
        self.prefix = "assetbatch" if name == MAIN else f"assetbatch-{name}"

    def service(self) -> str:
        """Return the name of the template service."""
        return f"{self.prefix}@.service"

    def timer(self, command: Command) -> str:
        """Return the name of a command's timer."""
        return f"{self.prefix}@{command}.timer"

    def names(self) -> list[str]:
        """Return the names of all units, the service first."""
        return [self.service(), *map(self.timer, Command)]

    def installed(self) -> dict[str, str]:
        """Return the texts of the units that are there and were written by assetbatch."""
        found = {name: self._read(name) for name in self.names()}
        return {name: text for name, text in found.items() if text and self._is_ours(text)}

    def config(self) -> Path | None:
        """Return the configuration that the installed service names."""
        return config_of(self.installed().get(self.service(), ""))

    def foreign(self) -> list[str]:
        """Return the names of units that are there and were written by somebody else."""
        found = {name: self._read(name) for name in self.names()}
        return [name for name, text in found.items() if text and not self._is_ours(text)]

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _is_ours(self, text: str) -> bool:
        return text.startswith(begin(self.name) + "\n")

    def install(
        self, texts: Mapping[str, str], timers: list[str], write: Callable[[Path, bytes], None]
    ) -> None:
        """Write the units and start these timers; raise AssetbatchError. Without systemd write nothing."""
        if foreign := self.foreign():
            raise ConfigError(
                f"{self.folder / foreign[0]} was not written by assetbatch cron install",
                hint="remove it, or choose another --name",
            )
        self.reload()  # does systemd answer at all
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                write(self.folder / name, text.encode())
        except OSError as error:
            raise UnreachableError(f"{self.folder} cannot be written: {error.strerror}") from None
        self.reload()
        gone = [name for name in self.installed() if name not in texts]
        self._stop(gone)
        self._systemctl("enable", "--now", *timers)

    def remove(self) -> list[str]:
        """Stop the timers and remove the units that assetbatch has written; return their names."""
        there = list(self.installed())
        self._stop(there)
        if there:
            self.reload()
        return there

    def _stop(self, names: list[str]) -> None:
        if timers := [name for name in names if name.endswith(".timer")]:
            self._systemctl("disable", "--now", *timers)
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def reload(self) -> None:
        """Let systemd read its units again; raise UnreachableError."""
        self._systemctl("daemon-reload")

    def _systemctl(self, *arguments: str) -> None:
        command = ["systemctl", *([] if self.system else ["--user"]), *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired):
            raise UnreachableError(
                "systemctl cannot be started: this host has no systemd", hint="use the crontab"
            ) from None
        if done.returncode != 0:
            said = masked_prose(" ".join(done.stderr.decode(errors="replace").split()))
            raise UnreachableError(
                f"{' '.join(command[:3])} fails: {said}",
                hint="is systemd running here, and is this a login session? else use the crontab",
            )


def lingers(user: str) -> bool:
    """Return whether the timers of a user go on when the user has logged out."""
    return Path("/var/lib/systemd/linger", user).exists()


def unit_texts(
    units: Units, starter: Starter, minutes: Mapping[Command, int], *, user: str, max_cycle_seconds: int
) -> dict[str, str]:
    """Return the text of each unit by its name; the service of the system runs as `user`."""
    words = starter.words("")[:-1]
    environment = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in starter.environment.items()
    )
    service = _SERVICE.format(
        order=_ORDER if units.system else "",
        user=f"User={user}\n" if units.system else "",
        start=" ".join(_quoted(word, is_command=True) for word in words),
        environment=environment,
        timeout=max(60, max_cycle_seconds) + SPARE_SECONDS,
    )
    texts = {units.service(): service}
    for command, every in minutes.items():
        texts[units.timer(command)] = _TIMER.format(
            command=f"{command}, {rhythm(every)}",
            calendar=calendar(every),
            persistent="# After a reboot at once, if a start was missed.\nPersistent=true\n" * (every > 1),
        )
    return {name: f"{begin(units.name)}\n{text}{end(units.name)}\n" for name, text in texts.items()}


def config_of(service: str) -> Path | None:
    """Return the configuration that the text of a service names, or None if it names none."""
    start = next((line for line in service.splitlines() if line.startswith(_START)), "")
    try:
        words = shlex.split(start.removeprefix(_START))
    except ValueError:
        return None
    return config_after([word.replace("%%", "%").replace("$$", "$") for word in words])


def _quoted(word: str, *, is_command: bool = False) -> str:
    """Return a word as systemd reads it; raise ConfigError for what a unit cannot hold."""
    if not word.isprintable():
        raise ConfigError("a path holds a control character, which no unit can hold", hint="rename it")
    text = word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    if is_command:
        text = text.replace("$", "$$")
    return f'"{text}"' if text != word or any(char in word for char in " '\";#") else word
