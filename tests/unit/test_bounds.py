from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from assetbatch.bounds import Bound
from assetbatch.errors import BoundExceededError


def test_at_the_bound_whatever_runs_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(BoundExceededError, match=r"did not end within 0\.2 s"), Bound(0.2):
        time.sleep(30)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_a_wait_and_is_remembered(number: signal.Signals) -> None:
    with Bound(30) as bound:
        assert bound.wait(0.0)
        os.kill(os.getpid(), number)
        assert not bound.wait(20)
        assert bound.stopped is number


def test_handlers_and_timers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Bound(30):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_process_stuck_where_no_handler_runs_is_ended_all_the_same() -> None:
    code = (
        "import ctypes, assetbatch.bounds as b\n"
        "b.LAST_RESORT_SECONDS = 0.5\n"
        "with b.Bound(0.3):\n"
        "    ctypes.PyDLL(None).sleep(60)\n"  # holds the GIL: no signal handler runs
        "    ctypes.PyDLL(None).sleep(60)\n"  # the alarm interrupts the first sleep only
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert time.monotonic() - started < 10
