"""`sandbox --cron`: plays cron in the foreground, so that one sees the queue drain and the page live."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from assetbatch.cli.context import Options, load_config, print_text, services_for
from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.records import Command
from assetbatch.domain.results import CycleResult
from assetbatch.views.terminal.summary import summary

MINUTE_SECONDS = 60.0

FIRST_SECONDS = 30.0
"""Maximum time in seconds for which the other commands wait for the first run-priority."""

SPARE_SECONDS = 90.0
"""Time in seconds that starting and stopping the servers may take besides the minutes that are played."""

END_SECONDS = 20.0
"""Maximum time in seconds that is left to what runs when the play ends."""

ENQUEUE_MINUTES = 30


def starts_of(minute: int, interval_minutes: int) -> list[Command]:
    """Return what the crontab starts in a minute, counted from 0, where it starts everything."""
    every = {
        Command.RUN_PRIORITY: interval_minutes,
        Command.ENQUEUE_SECONDARY: ENQUEUE_MINUTES,
        Command.RUN_QUEUE: 1,
    }
    return [command for command, minutes in every.items() if minute % minutes == 0]


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
        print_text(f"playing cron for {minutes} min in the sandbox; ctrl-c ends it")
        starts = _Starts(options.config)
        starts.serve(port)
        if config.enabled_priority_assets:  # before it reserves calls, a run-queue would take those it needs
            starts.start(Command.RUN_PRIORITY).join(FIRST_SECONDS)
        began = monotonic()
        for minute in range(minutes):
            for command in starts_of(minute, config.batch.interval_minutes):
                if minute or command is not Command.RUN_PRIORITY:
                    starts.start(command)
            if not deadline.wait(began + (minute + 1) * MINUTE_SECONDS - monotonic()):
                break
        starts.end()
        print_text("cron has stopped; assetbatch --sandbox status shows what is there")
        return 128 + deadline.stopped if deadline.stopped else 0


class _Starts:
    """The processes that are started, each of which prints one line when it has ended."""

    def __init__(self, config: Path | None) -> None:
        chosen = ["--config", str(config)] if config else []
        self._program = [sys.executable, "-m", "assetbatch", "--sandbox", *chosen]
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def serve(self, port: int) -> None:
        """Serve the page until the end."""
        self._processes.append(
            subprocess.Popen(
                [*self._program, "serve", "--port", str(port)], stdin=subprocess.DEVNULL, text=True
            )
        )

    def start(self, command: Command) -> threading.Thread:
        """Start a command beside those that run; return the thread that lives until its end."""
        process = subprocess.Popen(
            [*self._program, command, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
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
