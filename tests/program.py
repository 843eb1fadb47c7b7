"""The program as tests start it: a process with arguments, environment, streams and an exit code.

Python's own start and the imports of a command cost 0.3 s of CPU. So each process of tests has one child, the
nursery, that has imported all modules and forks for each start: what it starts is a process in every respect
but its imports. Tests of starting and stopping, of streams and of encodings start Python itself (`cold`).

How a start goes: the test sends arguments, folder and environment to the nursery, and with them the files
that become stdin, stdout and stderr. The nursery forks a keeper, the keeper forks the program, waits for it
and sends back how it ended.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "assetbatch"]
CLOCK = frozenset({"LD_PRELOAD", "CLOCK_AHEAD"} if "CLOCK_AHEAD" in os.environ else ())
"""The variables that every process has where the tests run at another time (`.ci/at`)."""

BARE = {"PATH": "/usr/bin:/bin"}
"""An environment as bare as cron's."""

_REQUEST_BYTES = 1 << 20


def start(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 90,
    cold: bool = False,
    within: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """One start, its output and its exit code; raises TimeoutExpired after `timeout` seconds.

    `env` is all of its environment but for PATH, which is cron's, and the clock. `cold` starts Python too, as
    does anything in `env` that only the start of a program reads. `within` is a command that starts its
    arguments in another place, such as a namespace of mounts.
    """
    cold = cold or any(name.startswith(("LD_", "PYTHON", "LC_", "LANG")) for name in env.keys() - CLOCK)
    command = [*within, *PROGRAM, *arguments]
    environment = {**BARE, **env}
    with TemporaryFile() as out, TemporaryFile() as err:
        if cold:
            code = subprocess.run(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                timeout=timeout, check=False,
            ).returncode  # fmt: skip
        else:
            code = _nursery(within).run(arguments, cwd, environment, (out.fileno(), err.fileno()), timeout)
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(command, code, *said)


class _Nursery:
    def __init__(self, within: tuple[str, ...]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _REQUEST_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [*within, sys.executable, "-m", "tests.program", str(theirs.fileno())],
                cwd=REPOSITORY,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.end)

    def end(self) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self,
        arguments: tuple[str, ...],
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int, int],
        timeout: float,
    ) -> int:
        """The exit code as `subprocess` has it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            with theirs, open(os.devnull, "rb") as nothing:
                request = json.dumps([arguments, str(cwd), dict(env)]).encode()
                socket.send_fds(self._socket, [request], [theirs.fileno(), nothing.fileno(), *streams])
            ours.settimeout(timeout)
            told = ours.makefile("r")
            pid = int(told.readline())
            try:
                status = told.readline()
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([*PROGRAM, *arguments], timeout) from None
        return os.waitstatus_to_exitcode(int(status))


@cache
def _nursery(within: tuple[str, ...]) -> _Nursery:
    return _Nursery(within)


def _serve(requests: socket.socket) -> None:
    """Returns in each process that is to be the program; never in the nursery itself."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are not waited for
    while True:
        request, files, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 4)
        if not request:
            os._exit(0)
        if not os.fork():
            break
        for file in files:
            os.close(file)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    keeper, *streams = files
    pid = os.fork()
    if pid:
        os.write(keeper, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(keeper, f"{status}\n".encode())
        os._exit(0)
    os.close(keeper)
    arguments, cwd, env = json.loads(request)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the rest of the process
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = ["assetbatch", *arguments]


def modules() -> list[str]:
    """All modules of the program."""
    import assetbatch

    found = (module.name for module in pkgutil.walk_packages(assetbatch.__path__, "assetbatch."))
    return [name for name in found if not name.endswith("__main__")]


def _nurse(requests: socket.socket) -> None:
    for name in modules():
        import_module(name)
    gc.freeze()  # a collection in a fork would copy all of it
    _serve(requests)
    try:
        runpy.run_module("assetbatch", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        threading._shutdown()  # type: ignore[attr-defined]  # what the end of Python does
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code or 0)  # not by Python's own end, which would copy all that is shared


if __name__ == "__main__":
    _nurse(socket.socket(fileno=int(sys.argv[1])))
