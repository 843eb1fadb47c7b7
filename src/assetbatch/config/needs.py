"""What a configuration lacks, and which commands need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from assetbatch.config.settings import Config
from assetbatch.errors import ConfigError

_CYCLES = ("run-priority", "run-queue", "enqueue-secondary", "status", "holes", "backfill", "serve")

NEEDED_BY: dict[str, tuple[str, ...]] = {
    "api_key": (*_CYCLES, "call", "slot"),
    "redis": (*_CYCLES, "call", "slot", "dead"),
    "database": (*_CYCLES, "init"),
}
"""The commands that cannot work without it."""


def missing(config: Config) -> Iterator[ConfigError]:
    """Yield an error for each thing that is not configured, with the commands that need it."""
    require: dict[str, Callable[[], object]] = {
        "api_key": config.require_api_key,
        "redis": config.require_redis,
        "database": config.require_database,
    }
    for name, commands in NEEDED_BY.items():
        try:
            require[name]()
        except ConfigError as error:
            needed_by = f"{', '.join(commands[:-1])} and {commands[-1]}"
            yield ConfigError(f"{error.message}, and {needed_by} need it", hint=error.hint)
