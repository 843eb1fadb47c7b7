from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from assetbatch.deadline import STOP_SECONDS, Deadline
from assetbatch.errors import DeadlineExceededError


def test_at_the_bound_whatever_runs_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"did not end within 0\.2 s"), Deadline(0.2):
        time.sleep(30)
    assert time.monotonic() - started < 5


def test_what_has_passed_before_the_block_counts() -> None:
    with pytest.raises(DeadlineExceededError, match="did not end within 60 s"), Deadline(60, elapsed=59.9):
        time.sleep(30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_a_wait_and_is_remembered(number: signal.Signals) -> None:
    with Deadline(30) as deadline:
        assert deadline.wait(0.0)
        os.kill(os.getpid(), number)
        assert not deadline.wait(20)
        assert deadline.stopped is number


def test_a_stop_leaves_a_quarter_of_a_minute() -> None:
    with Deadline(60) as deadline:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not deadline.wait(20)
        assert 10 < deadline.remaining() <= STOP_SECONDS
        assert 10 < signal.getitimer(signal.ITIMER_REAL)[0] <= STOP_SECONDS


def test_a_stop_prolongs_no_short_bound() -> None:
    with Deadline(5) as deadline:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not deadline.wait(20)
        assert deadline.remaining() <= 5


def test_where_no_alarm_can_interrupt_a_thread_says_so_and_ends_the_process() -> None:
    """As in a name that is looked up for ever: the main thread waits in C and takes no signal."""
    code = (
        "import logging, signal, time, assetbatch.deadline as b\n"
        "logging.basicConfig(format='%(message)s')\n"
        "b.CLEANUP_SECONDS = 0.2\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
        "with b.Deadline(0.3):\n"
        "    time.sleep(60)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "did not end within 0.3 s" in done.stderr
    assert time.monotonic() - started < 10


def test_handlers_and_timers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Deadline(30):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_process_stuck_where_no_handler_runs_is_ended_all_the_same() -> None:
    code = (
        "import ctypes, assetbatch.deadline as b\n"
        "b.LAST_RESORT_SECONDS = 0.5\n"
        "with b.Deadline(0.3):\n"
        "    ctypes.PyDLL(None).sleep(60)\n"  # holds the GIL: no signal handler runs
        "    ctypes.PyDLL(None).sleep(60)\n"  # the alarm interrupts the first sleep only
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert time.monotonic() - started < 10


def test_a_signal_just_before_a_wait_blocks_is_not_missed() -> None:
    """Delivered by a thread at random moments around the wait; an event or a lock misses some of them."""
    for delay_us in range(0, 120, 2):
        with Deadline(30) as deadline:
            sender = threading.Thread(target=_send_after, args=(delay_us,))
            sender.start()
            started = time.monotonic()
            deadline.wait(20)
            assert deadline.stopped is signal.SIGTERM
            assert time.monotonic() - started < 5
            sender.join()


def _send_after(microseconds: int) -> None:
    until = time.perf_counter() + microseconds / 1e6
    while time.perf_counter() < until:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
