"""`.ci/at`: a command at another time, and all that it starts."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.program import CLOCK

BARE_CHILD = "import subprocess; subprocess.run(['date', '-u', '+%F %R'], env={'PATH': '/usr/bin:/bin'})"


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.skipif(bool(CLOCK), reason=".ci/at runs these tests")
def test_a_process_with_a_bare_environment_has_the_time_too() -> None:
    """An embedded server is started like this."""
    command = [str(REPOSITORY / ".ci/at"), "2026-11-26 15:00", sys.executable, "-c", BARE_CHILD]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("2026-11-26 15:0")
