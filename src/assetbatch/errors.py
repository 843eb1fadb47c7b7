"""The errors. Each knows its exit code and what the user can do.

Messages are lower-case sentences that say what and where. `hint` says what to do. They never contain a key
or a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from assetbatch.config.notify_urls import NotifyUrls

NOTICE = 29
"""The level of news that is shown like a warning and asks for nothing, such as a failure that is over: one
below `logging.WARNING`. This module imports no other of ours, because the domain uses it."""


EXTRAS_HINT = (
    "pipx install --force '.[embedded,notify]' in the repository's folder; docs/installing.md has other ways"
)
"""What to do where a package of an extra is missing. pip by itself does not reach an environment of pipx."""


class AssetbatchError(Exception):
    """Base of every error that a command reports. It becomes one line on stderr and `exit_code`."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.document: object = None
        """What `--json` prints of what this error ended, if anything of it is to be told."""

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class ConfigError(AssetbatchError):
    """The configuration or the command line is wrong. Nothing was started."""

    exit_code = 2

    notify: NotifyUrls | None = None
    """Whom to notify of it, as far as that part of the configuration is right."""

    file: Path | None = None
    """The file of the configuration, if there is one."""


class SchemaRefusedError(ConfigError):
    """The platform's tables cannot be used as they are. Nothing was changed. Each reason has a line."""


class UnreachableError(AssetbatchError):
    """Redis, PostgreSQL or the provider's API cannot be used at all."""

    exit_code = 3

    is_login_refused = False
    """Whether a server does not take the user or the password."""


class RedisError(UnreachableError):
    """Redis cannot be reached, refuses us or is full. Nobody calls without it."""


class DatabaseError(UnreachableError):
    """PostgreSQL cannot be reached, refuses us or did not answer in time."""


class SchemaMissingError(DatabaseError):
    """The tables are missing, or are older than this program."""


class KeyRefusedError(AssetbatchError):
    """The provider refuses the API key. Nothing works until it is mended."""

    exit_code = 4


class DeadlineExceededError(UnreachableError):
    """The command did not end within its deadline, and was stopped from inside."""
