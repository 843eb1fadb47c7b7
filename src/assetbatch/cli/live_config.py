"""The configuration of a command that runs for long: read again when its files change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING

from assetbatch.cli.context import Options, load_config, log, services_for
from assetbatch.config.secret_commands import AGAIN_SECONDS
from assetbatch.config.sources import Stamp, sources, stamp
from assetbatch.errors import NOTICE, ConfigError, UnreachableError
from assetbatch.secret import masked

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.health import Problem
    from assetbatch.services import Services


class LiveConfig:
    """The configuration as its files say it now. While they are wrong, the last one that was right counts.

    Where a server refuses the login, the commands that print secrets are run again: their secret may have
    been changed.

    It keeps the embedded servers of the configuration up: between two questions nobody else would.
    Several threads may use it. Close it at the end.
    """

    def __init__(self, options: Options) -> None:
        """Read the configuration; raise ConfigError."""
        self._options = options
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._config = load_config(options)
        self._loaded_at = monotonic()
        self._is_refused = False
        self._stamp = self._look()
        self._error: ConfigError | None = None
        self._hold()

    def __enter__(self) -> LiveConfig:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def current(self) -> Config:
        """Return the configuration, read again if a file of it has changed."""
        with self._lock:
            if any(self._stamp.get(file) != seen for file, seen in self._look().items()):
                self._read_again()
            elif self._is_refused and monotonic() - self._loaded_at > AGAIN_SECONDS:
                self._forget_secrets()
            return self._config

    @contextmanager
    def services(self) -> Iterator[Services]:
        """Open services with the configuration. A sandbox has its schema already."""
        with services_for(self._options._replace(sandbox=False), self.current()) as services:
            try:
                yield services
            except UnreachableError as error:
                self._is_refused |= error.is_login_refused
                raise
            finally:
                self._is_refused |= services.is_database_login_refused

    def problems(self) -> list[Problem]:
        """Return what is wrong with the files, or nothing."""
        from assetbatch.health import Problem

        with self._lock:
            if self._error is None:
                return []
            words = "; ".join(self._error.message.splitlines())
            return [
                Problem(
                    f"the configuration has changed and cannot be used, the one before still counts: {words}",
                    self._error.hint or "assetbatch config check shows every mistake",
                )
            ]

    def _look(self) -> Stamp:
        return stamp(sources(self._config))

    def _read_again(self) -> None:
        before, self._stamp = self._stamp, self._look()
        try:
            config = load_config(self._options)
            config.require_redis()
        except ConfigError as error:
            if self._error is None or str(self._error) != str(error):
                log.warning("the configuration has changed and cannot be used, the one before still counts")
                for line in str(error).splitlines():
                    log.warning("%s", line)
            self._error = error
            return
        self._loaded_at, self._is_refused = monotonic(), False
        level = NOTICE if self._error else logging.INFO
        self._config, self._error = config, None
        # What was looked at before the reading stays: a file that has changed meanwhile is read once more.
        self._stamp = {**self._look(), **self._stamp}
        changed = sorted(masked(str(file)) for file, seen in self._stamp.items() if before.get(file) != seen)
        log.log(level, "the configuration was read again: %s changed", ", ".join(changed))
        self._hold()

    def _forget_secrets(self) -> None:
        """Take the same configuration without what its commands have printed so far."""
        self._loaded_at, self._is_refused = monotonic(), False
        with suppress(ConfigError):  # a variable's file has gone: its change is seen by `current`
            self._config = load_config(self._options)

    def _hold(self) -> None:
        """Keep the embedded servers of the new configuration, then leave those of the one before."""
        config = self._config
        with ExitStack() as held:
            services = held.enter_context(services_for(self._options, config))
            if config.redis.url is not None and config.redis.url.embedded:
                services.embedded.redis_url()
            if config.database.url is not None and config.database.url.embedded:
                services.embedded.database_url()
            self._held.close()
            self._held = held.pop_all()
