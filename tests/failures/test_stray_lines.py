"""Nothing but the program's own lines stands on stderr, whatever a library would like to say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.program import BARE
from tests.world import World

from .start import start

CHATTER = {
    "a warning": "import warnings; warnings.warn('marked')",
    "a log record nobody handles": "import logging; logging.getLogger('urllib3').warning('marked')",
    "an error while an object ends": "class A:\n def __del__(self): raise ValueError('marked')\nA()",
    "a log that cannot be written": "import logging; logging.getLogger('x').warning('%d', 'marked')",
}


def in_process(code: str) -> subprocess.CompletedProcess[str]:
    head = "from assetbatch.cli.logs import quiet_libraries\nquiet_libraries()\n"
    return subprocess.run(
        [sys.executable, "-c", head + code],
        env={**BARE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("code", CHATTER.values(), ids=CHATTER)
def test_a_library_says_nothing(code: str) -> None:
    done = in_process(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('invalid value: me@h;KEY=marked')",
        "try:\n 1 / 0\nexcept ZeroDivisionError as e:\n raise ValueError('redis://u:marked@h') from e",
        "try:\n raise KeyError('KEY=marked')\nexcept KeyError:\n raise OSError(2, 'no', '/a;b=marked')",
        "import threading; t = threading.Thread(target=lambda: int('KEY=' + 'marked')); t.start(); t.join()",
    ],
)
def test_the_traceback_of_a_bug_quotes_nothing(code: str) -> None:
    # From a file that does not exist, so that the traceback shows no line of this test's source.
    done = in_process(f"exec(compile({code!r}, 'nowhere.py', 'exec'))")
    assert "Traceback" in done.stderr
    assert "***" in done.stderr
    assert "marked" not in done.stderr


def test_the_traceback_of_a_bug_in_a_command_quotes_nothing(free: World) -> None:
    free.config()
    code = (
        "import assetbatch.config as c\n"
        "def load(*_, **__): raise ValueError('KEY=' + 'marked')\n"
        "c.load = load\n"
        "from assetbatch.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"exec(compile({code!r}, 'nowhere.py', 'exec'))", "run-queue"],
        cwd=free.folder,
        env={**BARE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValueError: ***" in done.stderr
    assert "KEY=marked" not in done.stderr


def test_a_password_file_that_others_may_read_is_one_line_of_ours(free: World) -> None:
    file = free.folder / ".pgpass"
    file.write_text("*:*:*:*:marked\n")
    file.chmod(0o644)
    done = start(free, "status", DATABASE_URL="postgresql://me@127.0.0.1:1/n")
    assert [line for line in done.stderr.splitlines() if " WARNING status: " not in line][:-1] == []
    assert "the password file of PostgreSQL is not used" in done.stderr
    assert str(free.folder) not in done.stderr
