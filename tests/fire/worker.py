"""One cron start of a run command in a process of its own, watched and perhaps killed or held up.

The services are the real ones. Their methods are wrapped from outside: the wrappers write a journal (one
line per event, each one write, so that it is there after kill -9) and end the process with SIGKILL at a
named step. Nothing in assetbatch knows of it.

How to read this: begin at the end. `carry_out` is the process; `watch` lists which method gets which wrapper,
and so what a step is (`STEPS`): "grant" has passed when `Queue.take` or `Window.ask` has returned, "commit"
when `Store.save` has, "finish" before `Queue.finish` begins. `start` then runs the command as cron would.
Each method of `Watch` that `watch` hands to `wrap` gets the original and returns what stands in its place:
it calls the original, notes a `Line`, and calls `passed`, which kills or holds up. A method that is renamed
in assetbatch must be renamed in `watch`, or its wrapper fails at the start.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import redis

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.config import load
from assetbatch.database import Store
from assetbatch.deadline import Deadline
from assetbatch.domain import queueing
from assetbatch.domain.queueing import Denied
from assetbatch.domain.results import CycleResult
from assetbatch.errors import AssetbatchError, DeadlineExceededError
from assetbatch.provider.client import ProviderClient
from assetbatch.refresh.call_time import SAVE_SECONDS, UNKNOWN_CALL_SECONDS
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.events import Events
from assetbatch.state.queue import Lease, Queue
from assetbatch.state.window import Grant, Window

KEY = "made-up-key-123"

STEPS = ("grant", "answer", "complete", "commit", "publish", "finish")
"""After the grant; after the answer, before it is settled; after that; after the commit, before its
events; after these; before the lease is given back."""

PRIORITY_STEPS = STEPS[:-1]
"""A priority cycle holds no lease."""

ENQUEUE_STEPS = ("load", "enqueue", "own")
"""Of `enqueue-secondary`: after what is stored was read, after the first items, after the queue is whole."""

HALT_SECONDS = 60.0


class Orders(msgspec.Struct, kw_only=True):
    """What one process is to do.

    `kill` maps steps to the chance that passing one is the end. `halt` is a step, and which passing of it is
    held up until `go_file` of the journal is there. With `until` (`time.monotonic()`) it is a
    loop of cron starts, each with services of its own, until then. `lag_seconds` is the most that passes
    between a call's being asked for and its being sent: a slow network. `call_seconds` is how long a call
    may take, scaled with the window. `scripts` are replacements in the Lua sources: sabotage.
    """

    command: str
    config: str
    journal: str
    seconds: float
    seed: int = 0
    kill: dict[str, float] = {}
    halt: tuple[str, int] = ("", 0)
    until: float | None = None
    lag_seconds: float = 0.0
    call_seconds: float
    scripts: list[tuple[str, str]] = []


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the journal; `at` is `time.monotonic()`, which all processes of a machine share."""

    at: float
    event: str
    token: str = ""
    items: list[tuple[str, str, int]] = []
    """(id, class, stamp in microseconds) of what was taken."""
    ids: list[str] = []
    ends: float = 0.0
    """When a lease runs out at the earliest."""
    called: float = 0.0
    """When what is noted here was begun."""
    step: str = ""
    wait_seconds: float = 0.0
    result: CycleResult | None = None
    error: str = ""


Method = Callable[..., Any]


def go_file(journal: str) -> Path:
    """What lets a process go on that was held up."""
    return Path(f"{journal}.go")


class Watch:
    """Writes the journal and wields the axe."""

    def __init__(self, orders: Orders) -> None:
        self._file = os.open(orders.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._kill = orders.kill
        self._halt, self._passings = orders.halt
        self._go = go_file(orders.journal)
        self._lag_seconds = orders.lag_seconds
        self._random = random.Random(orders.seed)

    def note(self, event: str, **fields: Any) -> None:
        """Appends a line."""
        line = Line(at=time.monotonic(), event=event, **fields)
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def passed(self, step: str) -> None:
        """Perhaps the end of this process, or where it is held up."""
        if step == self._halt:
            self._passings -= 1
            if self._passings == 0:
                self.note("halted", step=step)
                until = time.monotonic() + HALT_SECONDS
                while not self._go.exists() and time.monotonic() < until:
                    time.sleep(0.01)
        if self._random.random() < self._kill.get(step, 0.0):
            self.note("killed", step=step)
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)  # the signal is on its way

    def wrap(self, owner: type, name: str, around: Callable[[Method], Method]) -> None:
        """Puts `around(original)` in the place of a method."""
        setattr(owner, name, around(getattr(owner, name)))

    def take(self, original: Method) -> Method:
        """Notes what was taken and for how long, or that there was none."""

        def take(
            queue: Queue,
            count: int,
            lease_seconds: float,
            window: Window | None = None,
            token: str = "",
            *,
            alone: int | None = None,
        ) -> Any:
            called = time.monotonic()
            answer = original(queue, count, lease_seconds, window, token, alone=alone)
            if isinstance(answer, Lease):
                items = [(item.id, item.lane.value, item.enqueued_us) for item in answer.items]
                self.note("taken", token=token, items=items, called=called, ends=called + lease_seconds)
                self.passed("grant")
            elif isinstance(answer, Denied):
                self.note("refused", token=token, wait_seconds=answer.wait_ms / 1000)
            return answer

        return take

    def ask(self, original: Method) -> Method:
        """Notes grants and refusals that do not come with a take."""

        def ask(window: Window, kind: Any, call_id: str | None = None, **options: Any) -> Any:
            answer = original(window, kind, call_id, **options)
            if isinstance(answer, Grant):
                self.note("granted", token=answer.call_id)
                self.passed("grant")
            else:
                self.note("refused", token=call_id or "", wait_seconds=answer.wait_ms / 1000)
            return answer

        return ask

    def call(self, original: Method) -> Method:
        """A slow network before the call; the axe after its answer."""

        def call(*arguments: Any, **options: Any) -> Any:
            time.sleep(self._random.uniform(0, self._lag_seconds))
            answer = original(*arguments, **options)
            self.passed("answer")
            return answer

        return call

    def complete(self, original: Method) -> Method:
        """Note that a call was completed; the axe after it."""

        def complete(window: Window, grant: Grant, **options: Any) -> None:
            original(window, grant, **options)
            self.note("settled", token=grant.call_id)
            self.passed("complete")

        return complete

    def then(self, step: str) -> Callable[[Method], Method]:
        """The axe after a method."""

        def around(original: Method) -> Method:
            def method(*arguments: Any, **options: Any) -> Any:
                answer = original(*arguments, **options)
                self.passed(step)
                return answer

            return method

        return around

    def begin(self, original: Method) -> Method:
        """Notes the leases that a call has renewed."""

        def begin(queue: Queue, token: str, ids: Sequence[str], lease_seconds: float) -> Any:
            called = time.monotonic()
            gone = original(queue, token, ids, lease_seconds)
            if not gone:  # else none is renewed
                self.note("extended", token=token, ids=list(ids), ends=called + lease_seconds)
            return gone

        return begin

    def derived(self, original: Method) -> Method:
        """The axe after the queue is known to be whole."""

        @contextmanager
        def derived(queue: Queue) -> Iterator[None]:
            with original(queue):
                yield
            self.passed("own")

        return derived

    def give_up(self, step: str, ids_of: Callable[[Sequence[Any]], list[str]]) -> Callable[[Method], Method]:
        """Notes, before it happens, that leased work is given up."""

        def around(original: Method) -> Method:
            def give_up(queue: Queue, token: str, items: Sequence[Any], *more: Any) -> Any:
                if items:
                    self.passed(step)
                    self.note("given_up", token=token, ids=ids_of(items), step=step)
                return original(queue, token, items, *more)

            return give_up

        return around


def watch(orders: Orders) -> Watch:
    """Wraps the methods of the services, and replaces what `orders.scripts` says in the Lua sources."""
    axe = Watch(orders)
    axe.wrap(Queue, "take", axe.take)
    axe.wrap(Queue, "start", axe.begin)
    axe.wrap(Queue, "finish", axe.give_up("finish", list))
    axe.wrap(Queue, "fail", axe.give_up("fail", lambda failures: [failure.id for failure in failures]))
    axe.wrap(Queue, "release", axe.give_up("release", list))
    axe.wrap(Queue, "enqueue", axe.then("enqueue"))
    axe.wrap(Queue, "derived", axe.derived)
    axe.wrap(Window, "ask", axe.ask)
    for name in ("previous_day", "bars", "snapshot"):
        axe.wrap(ProviderClient, name, axe.call)
    axe.wrap(Window, "complete", axe.complete)
    axe.wrap(Store, "load", axe.then("load"))
    axe.wrap(Store, "save", axe.then("commit"))
    axe.wrap(Events, "publish", axe.then("publish"))
    queueing.LONGEST_CALL_SECONDS = orders.call_seconds

    def replaced(original: Method) -> Method:
        def register_script(client: Any, source: str) -> Any:
            for old, new in orders.scripts:
                source = source.replace(old, new)
            return original(client, source)

        return register_script

    axe.wrap(redis.Redis, "register_script", replaced)
    return axe


def start(orders: Orders, axe: Watch, seconds: float) -> int:
    """One cron start; returns its exit code."""
    config = load(Path(orders.config), {"POLYGON_API_KEY": KEY}, cwd=Path(orders.config).parent)
    commands: dict[str, Callable[[Services, Deadline, Progress], CycleResult]] = {
        "run-queue": run_queue,
        "run-priority": run_priority,
        "enqueue-secondary": enqueue_secondary,
    }
    command = commands[orders.command]
    try:
        with Deadline(seconds) as deadline, Services(config) as parts:
            result = command(parts, deadline, Progress())
    except DeadlineExceededError:  # a machine that stands still for seconds; the deadline is there for that
        axe.note("out of deadline")
        return 0
    except AssetbatchError as error:
        axe.note("error", error=str(error))
        return 3
    axe.note("ended", result=result)
    return result.exit_code


def carry_out(orders: Orders, log: str) -> None:
    """Do what the orders say, in a process of its own, and end it. `log` gets what it prints."""
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    axe = watch(orders)
    axe.note("started", step=orders.command)
    axe.passed("begin")
    if orders.until is None:
        sys.exit(start(orders, axe, orders.seconds))
    while (left := orders.until - time.monotonic()) > 1:
        start(orders, axe, min(orders.seconds, left + SAVE_SECONDS + UNKNOWN_CALL_SECONDS))
