"""One server shared by processes that do not know each other: start, attach, leave, stop.

Three lock files in the server's folder replace pid files and counters, because the kernel frees a lock
however its holder ends:

- `gate.lock` is held alone by whoever starts, attaches or leaves;
- `users.lock` is shared by every user for as long as it uses the server;
- `server.lock` is inherited by the server and its children, so it is held exactly as long as one of them
  lives. Its content is the folder of the socket.

A user that leaves gives up its share and tries to take `users.lock` alone: if that succeeds it was the
last. A user that is killed leaves a running server behind. The next user uses it and, if it is the last,
stops it.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, ClassVar

from assetbatch.embedded import folders, locks, processes
from assetbatch.secret import masked, masked_prose

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from assetbatch.errors import UnreachableError

_log = logging.getLogger(__name__)

# What the servers get of our environment; the rest may hold keys, or change what they do (PGPORT).
_PASSED_VARIABLES = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

_LOG_TAIL_BYTES = 4096
# A new log is begun at each start, but a server that always has some user is never started again.
_LONGEST_LOG_BYTES = 8 << 20
_COMPLAINTS = (
    "fatal",
    "panic",
    "error",
    "can't",
    "cannot",
    "could not",
    "failed",
    "denied",
    "no space",
    "terminated",
)
# What a server logs because it was asked before it was ready.
_HARMLESS = "the database system is starting up"


class Readiness(enum.Enum):
    """The state of a server that is asked whether it works."""

    READY = enum.auto()
    NOT_YET = enum.auto()
    NOBODY_LISTENS = enum.auto()


class Server(ABC):
    """A server program that works in a private folder and listens at a unix socket."""

    name: ClassVar[str]
    error: ClassVar[type[UnreachableError]]
    socket_name: ClassVar[str]

    # How long a leaving user waits for the gate, and a stopping one for a killed server to be gone.
    leave_seconds = 5.0
    kill_seconds = 1.0
    # A server that lives but listens nowhere has lost its socket, unless its starter was killed just now.
    unheard_seconds = 2.0

    def __init__(self, folder: Path, start_seconds: float) -> None:
        self.folder = folder
        self._start_seconds = start_seconds
        self._users: int | None = None  # the open users.lock while we are a user
        self._process: subprocess.Popen[bytes] | None = None  # the server, if we started it
        self._socket_folder: Path | None = None

    @abstractmethod
    def url(self) -> str:
        """Return the URL for clients; it is valid only after `attach`."""

    @abstractmethod
    def answers(self, connection: socket.socket) -> bool:
        """Ask the server whether it works. It may raise OSError, which says that it does not work yet."""

    @abstractmethod
    def stop_requests(self, socket_path: Path) -> Iterator[float]:
        """Ask the server to end, mildest way first. After each way yield the seconds to wait before the next.

        SIGKILL follows the last one, at once if nobody can be asked.
        """

    @abstractmethod
    def prepare(self, lock: int, deadline: float) -> list[str]:
        """Make the data ready and return the command line. Helper programs inherit `lock` (see `run`).

        Nothing of the server runs meanwhile.
        """

    @property
    def socket_folder(self) -> Path:
        """The folder of the socket, as the server's starter wrote it down."""
        assert self._socket_folder is not None, "attach first"
        return self._socket_folder

    def attach(self) -> None:
        """Become a user of the server (or stay one) and return when it answers; start it if it does not run.

        Raise `error` if that does not succeed within the time for starting.
        """
        deadline = time.monotonic() + self._start_seconds
        try:
            folders.make_private(self.folder)
            with locks.gate(self.folder / "gate.lock", deadline):
                try:
                    self._join()
                    self._ensure_running(deadline)
                except BaseException:
                    self._leave()
                    raise
        except OSError as cause:
            what = f"{cause.strerror}: {masked(str(cause.filename))}" if cause.filename else str(cause)
            raise self.problem(what) from cause

    def detach(self) -> None:
        """Stop being a user; the last one stops the server. It does not raise: the work is done by now."""
        if self._users is None:
            return
        try:
            with locks.gate(self.folder / "gate.lock", time.monotonic() + self.leave_seconds):
                self._leave()
        except OSError as problem:
            # Somebody else holds the gate and will check; or the folder is gone.
            _log.warning("embedded %s: left without looking for other users: %s", self.name, problem)
            self._give_up_share()
            if self._process is not None and not self.folder.exists():
                self._process.kill()  # nobody can find it any more
                self._process.wait()
        finally:
            self._forget_process()

    def problem(self, what: str, *, hint: str | None = None) -> UnreachableError:
        """Return this server's error, to be raised.

        The hint is the server's log unless there is a better one.
        """
        if hint is None:
            hint = f"{masked(str(self.folder))} must be yours, writable and on a disk with free space"
            with contextlib.suppress(OSError):  # somebody else's folder cannot even be looked into
                if self._log_file.exists():
                    hint = f"see {self._log_file}"
        return self.error(f"the embedded {self.name} cannot be used: {masked_prose(what)}", hint=hint)

    def run(self, command: list[str], lock: int, deadline: float, text: str = "") -> None:
        """Run a helper program with `text` as its input to its end. Its output goes to the log.

        Raise `error` if it fails or does not end in time.
        """
        process = self._popen(command, lock, subprocess.PIPE)
        with process:
            try:
                process.communicate(text.encode(), timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired as cause:
                process.kill()
                what = f"{Path(command[0]).name} did not end within {self._start_seconds:g} s"
                raise self.problem(what) from cause
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise self.problem(self._last_complaint())

    @property
    def _log_file(self) -> Path:
        return self.folder / "server.log"

    def _popen(self, command: list[str], lock: int, stdin: int) -> subprocess.Popen[bytes]:
        """Start a program that shares `lock` and nothing else of ours: cron waits for open pipes."""
        environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment | {"LC_ALL": "C", "TZ": "UTC"},
                pass_fds=(lock,),
                umask=0o077,
                start_new_session=True,  # Ctrl-C is for us: we still need the server to finish
            )

    def _join(self) -> None:
        if self._users is None:
            self._users = locks.open_lock_file(self.folder / "users.lock")
            locks.take_shared(self._users)

    def _give_up_share(self) -> None:
        if self._users is not None:
            os.close(self._users)  # not unlocked: a forked child keeps its share
            self._users = None

    def _leave(self) -> None:
        """Give up our share, and stop the server if nobody else has one. We hold the gate."""
        self._give_up_share()
        users = locks.open_lock_file(self.folder / "users.lock")
        try:
            if locks.try_exclusive(users):
                self._stop()
        finally:
            os.close(users)

    def _is_only_user(self) -> bool:
        """Return whether nobody else has a share. We keep ours, and hold the gate."""
        self._give_up_share()
        self._users = locks.open_lock_file(self.folder / "users.lock")
        alone = locks.try_exclusive(self._users)
        locks.take_shared(self._users)
        return alone

    def _ensure_running(self, deadline: float) -> None:
        while True:
            lock = locks.open_lock_file(self.folder / "server.lock")
            try:
                starting = locks.try_exclusive(lock)
                if starting:
                    self._start(lock, deadline)
                else:
                    self._socket_folder = self._recorded_socket_folder(lock)
                    self._shorten_log()
            finally:
                os.close(lock)
            if self._wait_until_ready(starting, deadline):
                return
            if starting:
                raise self.problem(self._why_it_ended())

    def _start(self, lock: int, deadline: float) -> None:
        """Start the server, which holds `lock` from now on; it is not ready yet."""
        self._forget_process()
        self._socket_folder = folders.socket_folder(self.folder, self.socket_name)
        os.ftruncate(lock, 0)
        os.pwrite(lock, os.fsencode(self._socket_folder), 0)
        if self._log_file.exists():  # each start begins a new log and keeps the one before
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        _log.info("starting %s in %s", self.name, masked(str(self.folder)))
        command = self.prepare(lock, deadline)
        self._process = self._popen(command, lock, subprocess.DEVNULL)

    def _recorded_socket_folder(self, lock: int) -> Path:
        """Return the living server's socket. Its starter may have had another temporary folder than we."""
        where = Path(os.fsdecode(os.pread(lock, 4096, 0)))
        if where != self.folder and where.exists():
            folders.make_private_below_shared(where)
        return where

    def _probe(self, timeout_seconds: float) -> Readiness:
        """Ask at the socket whether the server works."""
        try:
            with processes.connect(self.socket_folder / self.socket_name, timeout_seconds) as connection:
                return Readiness.READY if self.answers(connection) else Readiness.NOT_YET
        except (FileNotFoundError, ConnectionRefusedError):
            return Readiness.NOBODY_LISTENS
        except OSError:
            return Readiness.NOT_YET

    def _wait_until_ready(self, starting: bool, deadline: float) -> bool:
        """Return True when the server answers, False when it has ended; raise `error` at the deadline."""
        heard = time.monotonic()
        for pause in locks.pauses():
            now = time.monotonic()
            readiness = self._probe(max(0.1, deadline - now))
            if readiness is Readiness.READY:
                return True
            if not self._is_alive():
                return False
            lost = not starting and readiness is Readiness.NOBODY_LISTENS
            if not lost:
                heard = now
            elif now - heard > self.unheard_seconds and self._is_only_user():
                self._stop()
                return False
            if now > deadline and lost:
                raise self.problem("it works for others, but its socket is gone", hint="end the other users")
            if now > deadline:
                raise self.problem(f"it does not answer within {self._start_seconds:g} s")
            time.sleep(pause)
        raise AssertionError("pauses never end")

    def _is_alive(self) -> bool:
        lock = locks.open_lock_file(self.folder / "server.lock")
        try:
            return not locks.try_exclusive(lock)
        finally:
            os.close(lock)

    def _stop(self) -> None:
        """Stop whatever lives of the server, by force if necessary, within bounds. We hold the gate."""
        lock = locks.open_lock_file(self.folder / "server.lock")
        try:
            if locks.try_exclusive(lock):
                return
            _log.info("stopping %s", self.name)
            where = self._recorded_socket_folder(lock)
            if not self._ends_when_asked(lock, where / self.socket_name):
                for pid in processes.holders(self.folder / "server.lock"):
                    processes.send(pid, SIGKILL)
                if not locks.wait_exclusive(lock, time.monotonic() + self.kill_seconds):
                    _log.warning("embedded %s: it does not end (%s)", self.name, masked(str(self.folder)))
                    return
            if where != self.folder:
                with contextlib.suppress(OSError):
                    where.rmdir()
        finally:
            os.close(lock)
            if self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.1)

    def _ends_when_asked(self, lock: int, socket_path: Path) -> bool:
        return any(
            locks.wait_exclusive(lock, time.monotonic() + seconds)
            for seconds in self.stop_requests(socket_path)
        )

    def _shorten_log(self) -> None:
        """Empty a log that grew long. The server appends to it and goes on at its beginning."""
        if self._log_file.exists() and self._log_file.stat().st_size > _LONGEST_LOG_BYTES:
            os.truncate(self._log_file, 0)

    def _forget_process(self) -> None:
        if self._process is not None and self._process.poll() is None:
            # It outlives us on purpose; without this, Popen warns of a process that was not waited for.
            self._process.returncode = 0
        self._process = None

    def _why_it_ended(self) -> str:
        if self._process is not None and (code := self._process.wait(1.0)) < 0:
            return f"it was killed by {Signals(-code).name} while it started"
        return self._last_complaint()

    def _last_complaint(self) -> str:
        with self._log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            return last_complaint(log.read().decode(errors="replace"))


def last_complaint(log: str) -> str:
    """Return the last line of a server's log that tells of a failure, else its last line.

    A full disk goes before all: what follows from it looks like anything.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    full = [line for line in lines if "No space left on device" in line]
    if full:
        return full[-1]
    complaints = [
        line for line in lines if _HARMLESS not in line and any(word in line.lower() for word in _COMPLAINTS)
    ]
    return (complaints or lines or ["it ended without a word"])[-1]
