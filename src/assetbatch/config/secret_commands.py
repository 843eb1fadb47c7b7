"""Secrets that a command prints, such as `pass show massive` or `vault kv get …`.

The command is split into words as a shell would, and started without one. So it is a program with its
arguments; what needs a pipe is written `sh -c '…'`.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from assetbatch.errors import ConfigError, DeadlineExceededError

if TYPE_CHECKING:
    from subprocess import Popen

SECONDS = 10.0
"""Maximum time in seconds for a command to print its secret."""

LARGEST_BYTES = 65_536

AGAIN_SECONDS = 60.0
"""Time in seconds after which a failed command is run again. Only `serve` runs for so long."""

_POLL_SECONDS = 0.1


class SecretCommand:
    """Runs a command when it is called, and returns what it prints. It is run once.

    Raise ConfigError, which shows neither the command nor its output: each of them may be the secret.
    """

    def __init__(
        self,
        words: Sequence[str],
        origin: str,
        folder: Path,
        environment: Mapping[str, str],
        check: Callable[[str], str] = str,
    ) -> None:
        """Take the words of the command, and the folder and the environment that it is started with.

        `check` returns the secret as it is used, or raises ValueError with what is wrong with it.
        """
        self._words = words
        self._origin = origin
        self._folder = folder
        self._environment = environment
        self._check = check
        self._turn = threading.Lock()
        self._secret: str | None = None
        self._failure: tuple[float, str] | None = None

    def __call__(self) -> str:
        """Return the secret."""
        with self._turn:
            if self._secret is None:
                if self._failure is None or monotonic() - self._failure[0] > AGAIN_SECONDS:
                    self._run()
                if self._failure:
                    raise ConfigError(
                        f"{self._origin}: {self._failure[1]}",
                        hint="run it by hand, as this user: neither it nor what it prints is shown here",
                    )
            assert self._secret is not None
            return self._secret

    def _run(self) -> None:
        self._failure = None
        try:
            self._secret = self._check(_text(_output(self._words, self._folder, self._environment)))
        except OSError as error:
            self._failure = monotonic(), f"the command cannot be started: {(error.strerror or '').lower()}"
        except ValueError as error:
            self._failure = monotonic(), str(error)
        except DeadlineExceededError:  # it hangs, not a server
            self._failure = monotonic(), "the command did not end before the time of this start was over"


def words_of(line: str) -> list[str]:
    """Return the words of a command; raise ValueError, without the command, if there are none."""
    try:
        words = shlex.split(line)
    except ValueError:
        raise ValueError("found a quote or a backslash without its end, expected a command") from None
    if not words or not words[0]:
        raise ValueError("found no word, expected a command")
    return words


def _text(output: bytes) -> str:
    try:
        text = output.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        text = "\0"
    if not text:
        raise ValueError("the command printed nothing")
    if "\0" in text:
        raise ValueError("the command printed no text")
    if "\n" in text:
        raise ValueError("the command printed several lines, expected the secret alone")
    return text


def _output(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> bytes:
    """Return what a command prints; raise OSError or ValueError.

    A command that does not end well and in time is killed with all that it has started.
    """
    import subprocess  # few have a command

    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ended = False
    try:
        output = _read(process, monotonic() + SECONDS)
        ended = True
    finally:
        if not ended:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
    if process.returncode > 0:
        raise ValueError(f"the command ended with exit code {process.returncode}")
    if process.returncode < 0:
        raise ValueError(f"the command was ended by signal {-process.returncode}")
    return output


def _read(process: Popen[bytes], until: float) -> bytes:
    """Return the output of a process that ends in time. What it leaves running may keep its output open."""
    from subprocess import TimeoutExpired

    too_late = ValueError(f"the command did not end within {SECONDS:g} s")
    assert process.stdout is not None
    output = b""
    while (left := until - monotonic()) > 0:
        has_ended = process.poll() is not None
        came, _, _ = select.select([process.stdout], [], [], min(left, _POLL_SECONDS))
        if came:
            chunk = os.read(process.stdout.fileno(), LARGEST_BYTES)
            output += chunk
            if len(output) > LARGEST_BYTES:
                raise ValueError(f"the command printed more than {LARGEST_BYTES} bytes")
            if not chunk:
                break
        elif has_ended:
            break
    else:
        raise too_late
    try:
        process.wait(max(0.0, until - monotonic()))
    except TimeoutExpired:
        raise too_late from None
    return output
