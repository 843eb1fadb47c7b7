"""Sends a message to services (ntfy, Slack, Discord, e-mail and what else apprise knows), within a bound.

A process of its own does it, and is killed when the time is over: a service may hang in ways that no timeout
of a library ends. So a command that has nothing to tell loads nothing, and one that has loads little.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import msgspec

from assetbatch.config.notify_urls import NotifyUrl

DELIVERY_SECONDS = 10.0
"""Maximum time in seconds for all services together."""

Mood = Literal["failure", "warning", "success", "info"]
"""Which colour or sign a service gives to a message, in the words of apprise."""


class Letter(NamedTuple):
    """What one service gets."""

    url: NotifyUrl
    body: str


class Order(msgspec.Struct, frozen=True):
    """What the process reads from stdin."""

    title: str
    mood: Mood
    letters: list[tuple[str, str]]
    """URL and body of each letter."""
    seconds: float


class Outcome(msgspec.Struct, frozen=True):
    """A line that the process writes to stdout. `why` says why the letter at this place did not arrive."""

    place: int
    why: str | None


def deliver(
    title: str, mood: Mood, letters: Sequence[Letter], *, within_seconds: float = DELIVERY_SECONDS
) -> list[str | None]:
    """Send all letters at once. Return why each has not arrived, without secrets; None if it has."""
    order = Order(title, mood, [(url.reveal(), body) for url, body in letters], within_seconds)
    try:
        written = _run(msgspec.json.encode(order), within_seconds)
    except OSError as error:  # no more processes for this user
        return [f"no process could be started: {error.strerror}"] * len(letters)
    why: dict[int, str | None] = {}
    for line in written.splitlines():
        with suppress(msgspec.DecodeError):
            outcome = msgspec.json.decode(line, type=Outcome)
            why[outcome.place] = outcome.why
    return [why.get(place, f"no answer within {within_seconds:g} s") for place in range(len(letters))]


def _run(order: bytes, within_seconds: float) -> bytes:
    # -P: what lies in the current folder is no module
    command = [sys.executable, "-P", "-m", "assetbatch.monitoring.courier"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(order, within_seconds)[0]
        except subprocess.TimeoutExpired as late:
            return late.stdout or b""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
