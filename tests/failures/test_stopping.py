"""SIGTERM and SIGINT at any point: no new call, leased work handed back, the answer that is in is stored."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.conftest import MakeWorld
from tests.world import World

from .start import PROGRAM, environment, start, unharmed

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


class Running:
    """A command that is under way; the clock of a stop begins with its signal."""

    def __init__(self, world: World, *arguments: str) -> None:
        world.config()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=world.folder,
            env=environment(world),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, words: str) -> None:
        """Reads the log up to a line with these words."""
        assert self.process.stderr
        assert any(words in line for line in iter(self.process.stderr.readline, "")), words

    def until_it_handles_signals(self) -> None:
        """Waits for the interpreter, which may take its time on a busy machine, to have come to our code."""
        while self.process.poll() is None:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
            assert caught
            if int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.005)

    def stop(self, number: signal.Signals) -> tuple[int, float, str]:
        """Exit code, seconds until the end, and the rest of the log."""
        began = time.monotonic()
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=30)
        return self.process.returncode, time.monotonic() - began, rest


def wait_for_call(world: World, calls: int = 1) -> None:
    until = time.monotonic() + 20
    while len(world.paths) < calls:
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def queued(make_world: MakeWorld) -> World:
    """Three items wait; a provider that takes its time."""
    world = make_world()
    world.know_that_today_is_refused()
    assert start(world, "enqueue-secondary").returncode == 0
    return world


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("command", ["run-queue", "run-priority"])
def test_in_the_middle_of_a_call_its_answer_is_stored_and_no_other_call_made(
    queued: World, command: str, number: signal.Signals, code: int
) -> None:
    queued.provider.order("drip-headers=0.01", times=None)  # about two seconds a call
    running = Running(queued, command)
    wait_for_call(queued)
    ended, seconds, _ = running.stop(number)
    assert (ended, len(queued.paths)) == (code, 1)
    assert seconds < 10
    first = "ETHUSD" if command == "run-queue" else "XAUUSD"
    assert queued.last_update(first) is not None
    unharmed(queued, waiting=2 if command == "run-queue" else 3)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_while_waiting_for_a_slot_it_ends_at_once(
    make_world: MakeWorld, number: signal.Signals, code: int
) -> None:
    world = make_world(limit=1, window_seconds=30)
    world.know_that_today_is_refused()
    start(world, "enqueue-secondary")
    running = Running(world, "-v", "run-queue")
    running.until("waiting")
    ended, seconds, _ = running.stop(number)
    assert ended == code
    assert seconds < 10  # its slot is free after 30
    unharmed(world, waiting=2)


def test_against_a_provider_that_hangs_it_ends_with_the_calls_deadline(queued: World) -> None:
    queued.provider.order("drip-headers=1", times=None)
    running = Running(queued, "run-queue")
    wait_for_call(queued)
    ended, seconds, _ = running.stop(signal.SIGTERM)
    assert ended == 143
    assert seconds < 12
    unharmed(queued, waiting=3)


def test_at_any_moment_it_leaves_nothing_half_done(queued: World) -> None:
    """Start-up, locks, calls, storing and the end are all hit by one or the other of these."""
    dice = random.Random(20261124)
    for _ in range(12):
        number, code = dice.choice(SIGNALS)
        running = Running(queued, dice.choice(["run-priority", "run-queue"]))
        running.until_it_handles_signals()
        time.sleep(dice.uniform(0.0, 0.9))
        ended, seconds, rest = running.stop(number)
        # too late for our handlers the signal itself ends it, or it had ended already
        assert ended in (code, -number, 0), rest
        assert seconds < 10  # the deadline of a call that is out
        assert "Traceback" not in rest
    with queued.services() as services:
        state = services.queue.state()
        assert (state.leased, state.dead) == (0, 0)
        assert services.window.state().used <= services.window.state().limit
    for command in ("run-priority", "run-queue"):
        done = start(queued, command)
        assert done.returncode == 0, done.stderr
    assert {queued.sync(symbol) is not None for symbol in ("XAUUSD", "ETHUSD", "USDJPY")} == {True}
