"""`status --watch`: the status on the whole terminal, read again every few seconds, moved by keys."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from rich.live import Live

from assetbatch.cli.context import Options, stdout_console
from assetbatch.cli.keys import Keyboard
from assetbatch.cli.live_config import LiveConfig
from assetbatch.deadline import monotonic
from assetbatch.errors import AssetbatchError, ConfigError
from assetbatch.monitoring import snapshot
from assetbatch.views.terminal.watch import Screen, View, pressed, render, render_unread

if TYPE_CHECKING:
    from rich.console import Console

    from assetbatch.domain.metrics import Series
    from assetbatch.health import Health

READ_SECONDS = 5.0
"""Time between the end of a reading and the next."""

LEAVING_SECONDS = 2.0
"""Maximum time for which the end waits for a reading under way."""

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Seen(NamedTuple):
    """The last health document that could be read, its series, and why a later one could not be."""

    health: Health | None = None
    series: Mapping[str, Series] = MappingProxyType({})
    error: str | None = None
    tried_ms: int = 0
    """When the last reading that has failed ended, in Unix ms by this host's clock."""


def watch(options: Options) -> int:
    """Show the status until `q` or a signal ends it; return the exit code. The terminal is left as it was."""
    if sys.stdout is None or not sys.stdout.isatty():
        raise ConfigError("--watch needs a terminal", hint="leave it out, or use --json")
    with LiveConfig(options) as config, _Signals() as signals, _log_off_terminal():
        reader = _Reader(config, signals.wake)
        view: View = View()
        while True:
            code, view = _on_screen(reader, signals, view)
            if code is not None:
                reader.leave()
                return code
            signals.suspend()


def _on_screen(reader: _Reader, signals: _Signals, view: View) -> tuple[int | None, View]:
    """Show the status; return the exit code, or None if the program is to be suspended, and the view."""
    console = stdout_console()
    with Keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            screen = _draw(live, console, reader.seen(), view)
            view = screen.view
            keys = signals.wait(keyboard.file, reader.due_in())
            if signals.stopped:
                return 128 + signals.stopped, view
            if signals.suspended:
                return None, view
            for key in keyboard.read() if keys else []:
                if key == "r" and not view.typing:
                    reader.read_now()
                    continue
                after = pressed(screen._replace(view=view), key)
                if after is None:
                    return 0, view
                view = after
            reader.read_if_due()


def _draw(live: Live, console: Console, seen: Seen, view: View) -> Screen:
    width, height = console.size
    if seen.health is None:
        screen = render_unread(seen.error, seen.tried_ms, view, width=width, height=height)
    else:
        plain = not console.encoding.lower().startswith("utf")
        screen = render(
            seen.health, seen.series, view, width=width, height=height, plain=plain, error=seen.error
        )
    live.update(screen.shown, refresh=True)
    return screen


class _Reader:
    """Reads the status in a thread, one reading at a time: keys work while a server hangs."""

    def __init__(self, config: LiveConfig, wake: socket.socket) -> None:
        self._config = config
        self._wake = wake
        self._seen = Seen()
        self._crash: Exception | None = None
        self._reading: threading.Thread | None = None
        self._due = monotonic()
        self.read_if_due()

    def seen(self) -> Seen:
        """Return what was read last. Raise what a reading has ended with, if that was a bug."""
        if self._crash:
            raise self._crash
        return self._seen

    def due_in(self) -> float | None:
        """Return the seconds until the next reading; None while one is under way, which wakes the caller."""
        return None if self._reading else max(0.0, self._due - monotonic())

    def read_now(self) -> None:
        """Read as soon as no reading is under way."""
        self._due = monotonic()

    def read_if_due(self) -> None:
        """Begin a reading if it is time."""
        if self._reading is None and monotonic() >= self._due:
            self._reading = threading.Thread(target=self._work, daemon=True)
            self._reading.start()

    def leave(self) -> None:
        """Wait for the reading under way, for a while."""
        if thread := self._reading:
            thread.join(LEAVING_SECONDS)

    def _work(self) -> None:
        try:
            with self._config.services() as services:
                health = snapshot.health_document(services, self._config.problems())
                self._seen = Seen(health, snapshot.last_day(services))
        except AssetbatchError as error:
            self._seen = self._seen._replace(error=str(error), tried_ms=round(time.time() * 1000))
        except Exception as error:  # noqa: BLE001 - raised again where the terminal can be left first
            self._crash = error
        self._due = monotonic() + READ_SECONDS
        self._reading = None
        with suppress(OSError):  # the program has ended
            self._wake.send(b"\0")


class _Signals:
    """What the system says: stop, suspend, another size. A socket wakes the one who waits, and `wake` too."""

    def __init__(self) -> None:
        self.stopped = 0
        """The number of the signal that asks for the end; 0 without one."""
        self.suspended = False
        self._woken, self.wake = socket.socketpair()

    def __enter__(self) -> _Signals:
        for end in (self._woken, self.wake):
            end.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self.wake.fileno(), warn_on_full_buffer=False)
        handlers = {
            **dict.fromkeys(_STOPS, self._stop),
            signal.SIGTSTP: self._suspend,
            signal.SIGWINCH: lambda _number, _frame: None,  # it wakes: the size is looked up
        }
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._woken.close()
        self.wake.close()

    def wait(self, file: int | None, seconds: float | None) -> bool:
        """Wait for a signal, a wake or something to read from a file; return whether there is something."""
        files: list[int | socket.socket] = [self._woken, *([file] if file is not None else [])]
        came, _, _ = select.select(files, [], [], seconds)
        if self._woken in came:
            self._woken.recv(4096)
        return file in came

    def suspend(self) -> None:
        """Stop until the shell lets the program go on."""
        self.suspended = False
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)

    def _stop(self, number: int, _frame: object) -> None:
        self.stopped = number

    def _suspend(self, _number: int, _frame: object) -> None:
        self.suspended = True


@contextmanager
def _log_off_terminal() -> Iterator[None]:
    """Keep the log off a terminal that shows the status: its lines would stand in the middle of it."""
    handlers = [
        handler
        for handler in logging.getLogger("assetbatch").handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr and sys.stderr.isatty()
    ]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
