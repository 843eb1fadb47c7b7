"""`sandbox --cron`: plays cron in the foreground, so that one sees the queue drain and the page live."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from assetbatch.cli.context import Options, load_config, print_text, services_for
from assetbatch.cli.serve import listen
from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.records import Command
from assetbatch.domain.results import CycleResult
from assetbatch.domain.units import MINUTE_MS
from assetbatch.health.jobs import interval_ms
from assetbatch.views.terminal.summary import summary

if TYPE_CHECKING:
    from assetbatch.config import Config

MINUTE_SECONDS = 60.0

PAGE_SECONDS = 5.0
"""Time in seconds for which the page is kept."""

FIRST_SECONDS = 30.0
"""Maximum time in seconds for which the other commands wait for the first run-priority."""

SPARE_SECONDS = 90.0
"""Time in seconds that starting and stopping the servers may take besides the minutes that are played."""

END_SECONDS = 12.0
"""Maximum time in seconds that is left to what runs when the play ends."""


def starts_of(minute: int, config: Config) -> list[Command]:
    """Return what the crontab starts in a minute, counted from 0, where it starts everything."""
    return [command for command in Command if minute * MINUTE_MS % interval_ms(command, config) == 0]


def play(options: Options, minutes: int, port: int) -> int:
    """Start the commands as the crontab does, and serve the page, for so many minutes or until a signal.

    Return the exit code: 0, or that of the signal.
    """
    sandbox = options._replace(sandbox=True)
    config = load_config(sandbox)
    with (
        Deadline(minutes * MINUTE_SECONDS + SPARE_SECONDS) as deadline,
        services_for(sandbox, config) as held,
    ):
        held.embedded.redis_url()  # open all the time, so that the servers stay up
        print_text(f"playing cron for {minutes} min in the sandbox; ctrl-c ends it, and the page with it")
        starts = _Starts(options.config)
        with _page(options, config, port) as address:
            print_text(f"the page is {address}")
            try:
                _play(starts, config, deadline, minutes)
            finally:
                starts.end()
    print_text("cron has stopped; assetbatch --sandbox status shows what is there")
    return 128 + deadline.stopped if deadline.stopped else 0


def _play(starts: _Starts, config: Config, deadline: Deadline, minutes: int) -> None:
    if config.enabled_priority_assets:  # before it reserves calls, a run-queue would take those it needs
        starts.start(Command.RUN_PRIORITY).join(FIRST_SECONDS)
    began = monotonic()
    for minute in range(minutes):
        for command in starts_of(minute, config):
            if minute or command is not Command.RUN_PRIORITY:
                starts.start(command)
        if not deadline.wait(began + (minute + 1) * MINUTE_SECONDS - monotonic()):
            return


@contextmanager
def _page(options: Options, config: Config, port: int) -> Iterator[str]:
    """Serve the page from a thread, and yield its address."""
    from assetbatch.monitoring.documents import documents
    from assetbatch.monitoring.server import Application

    has_schema = options._replace(sandbox=False)  # the outer services have made it
    made = documents(lambda: services_for(has_schema, config), PAGE_SECONDS)
    server = listen("127.0.0.1", port, Application(made, {}))
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.port}/"
    finally:
        server.stop()


class _Starts:
    """The processes that are started, each of which prints one line when it has ended."""

    def __init__(self, config: Path | None) -> None:
        chosen = ["--config", str(config)] if config else []
        self._program = [sys.executable, "-m", "assetbatch", "--sandbox", *chosen]
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def start(self, command: Command) -> threading.Thread:
        """Start a command beside those that run; return the thread that lives until its end."""
        process = subprocess.Popen(
            [*self._program, command, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # ctrl-c ends this process, which ends the others
        )
        self._processes.append(process)
        reader = threading.Thread(target=_say_end, args=(command, process), daemon=True)
        reader.start()
        self._readers.append(reader)
        return reader

    def end(self) -> None:
        """Ask all to end, and wait for them: leased work is handed back."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        until = monotonic() + END_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.0, until - monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        for reader in self._readers:
            reader.join(1.0)


def _say_end(command: Command, process: subprocess.Popen[str]) -> None:
    printed, complaints = process.communicate()
    for line in lines_of(printed, complaints.splitlines()):
        print_text(f"{time.strftime('%H:%M:%S')} {command}: {line}")


def lines_of(printed: str, complaints: Sequence[str]) -> Iterator[str]:
    """Yield what a start has to say: its complaints, then its result in one line."""
    yield from _without_their_dates(complaints)
    try:
        yield summary(msgspec.json.decode(printed, type=CycleResult))
    except msgspec.MsgspecError:  # an error has ended it, and its line says so
        return


def _without_their_dates(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        _, _, text = line.partition(": ")
        yield text or line
