"""A load on a virtual clock: the real scripts on a real server, everything else simulated.

Workers take from the queue, call and finish; priority cycles come at their announced moments. Calls lag
behind their grants, workers die or stall. What is seen is what the fire sees, so the same judges judge it.

How to read this: a process is a generator. It does something, yields for how many milliseconds it sleeps,
and is gone on with when the virtual clock is there; to die is to return. `Load` keeps the moments at which
processes go on in one heap, so that nothing runs at the same time and a seed gives the same run again.
`worker` and `priority` are the two kinds of process, written as the real commands are: ask, call, settle,
finish. What they see goes into `Evidence`. `Sabotaged` breaks a script on purpose, to show that the judges
notice it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Lane
from assetbatch.sandbox import Arrival
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.process_id import new_id
from assetbatch.state.queue import Lease, Queue
from assetbatch.state.window import Window, WindowSettings
from tests.fire.judges import Hold, Take

START_MS = 1_800_000_000_000
LIMIT = 5
WINDOW_MS = 3_000
CALL_SECONDS = 2.0
LEASE_MS = 4_000
PRIORITY_CALLS = 3
PRIORITY_EVERY_MS = 10_000
IDLE_MS = 250

Process = Generator[int, None, None]
"""A process yields for how long it sleeps, in ms."""


class Sabotaged:
    """A client whose scripts have something replaced, `replaced` times by now."""

    def __init__(self, client: RedisClient, *replacements: tuple[str, str]) -> None:
        self._client = client
        self._replacements = replacements
        self.replaced = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def register_script(self, source: str) -> object:
        for old, new in self._replacements:
            self.replaced += source.count(old)
            source = source.replace(old, new)
        return self._client.register_script(source)


@dataclass
class Evidence:
    """What was seen of a load; moments in ms."""

    arrivals: list[Arrival] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    priority_waits: list[int] = field(default_factory=list)
    deaths: int = 0
    stalled: int = 0


class Load:
    """The events of a run in their order."""

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        *,
        seed: int = 1,
        lag_ms: int = 0,
        dies: float = 0.0,
        stalls: float = 0.0,
    ) -> None:
        self.client = client
        self.keys = keys
        self.lag_ms = lag_ms
        self.dies = dies
        self.stalls = stalls
        self.now_ms = START_MS
        self.random = random.Random(seed)
        self.evidence = Evidence()
        self._events: list[tuple[int, int, Process]] = []
        self._numbers = itertools.count()
        self.queue = Queue(
            client, keys, max_size=10_000, retry_max_attempts=100, retry_delay_seconds=0, clock_ms=self.clock
        )

    def clock(self) -> int:
        """The one clock that all share: the server's."""
        return self.now_ms

    def window(self, *, kind: type[Window] = Window, name: str = "k", skew_ms: int = 0) -> Window:
        """A window; `skew_ms` is by how much its clock is ahead."""
        return kind(
            self.client,
            WindowSettings(self.keys, name, CallLimit(LIMIT, WINDOW_MS), CALL_SECONDS),
            clock_ms=lambda: self.now_ms + skew_ms,
        )

    def add(self, process: Process, after_ms: int = 0) -> None:
        """Starts a process."""
        heapq.heappush(self._events, (self.now_ms + after_ms, next(self._numbers), process))

    def run(self, seconds: float) -> Evidence:
        """Lets time pass."""
        end_ms = self.now_ms + round(seconds * 1000)
        while self._events and self._events[0][0] <= end_ms:
            self.now_ms, _, process = heapq.heappop(self._events)
            pause = next(process, None)
            if pause is not None:
                self.add(process, pause)
        self.now_ms = end_ms
        return self.evidence

    def _latency(self) -> int:
        return self.random.randint(10, 150)

    def _arrive(self, item: str) -> None:
        self.evidence.arrivals.append(Arrival(self.now_ms, item, {}, "k"))

    # Processes

    def worker(self, window: Window) -> Process:
        """One that works the queue: takes, calls, settles, finishes; may die or stall on the way.

        A dead one is replaced after a second, as cron does it. One that stalls wakes after its lease.
        """
        token = new_id()
        while True:
            taken = self.queue.take(1, LEASE_MS / 1000, window, token)
            if isinstance(taken, Denied):
                yield taken.wait_ms + 1
                continue
            if not isinstance(taken, Lease):
                yield IDLE_MS
                continue
            (item,) = taken.items
            taken_ms, lease_ends_ms = self.now_ms, self.now_ms + LEASE_MS
            holds, number = self.evidence.holds, len(self.evidence.holds)
            holds.append(Hold(item.id, token, taken_ms, lease_ends_ms))
            self.evidence.takes.append(Take(item.id, item.lane, item.enqueued_us, self.now_ms, self.now_ms))
            self.queue.start(token, [item.id], LEASE_MS / 1000)
            yield self.random.randint(0, self.lag_ms)
            self._arrive(item.id)
            if self.random.random() < self.dies:
                self.evidence.deaths += 1
                self.add(self.worker(window), 1000)
                return
            yield self._latency()
            assert taken.grant is not None
            window.complete(taken.grant)
            if self.random.random() < self.stalls:
                self.evidence.stalled += 1
                yield LEASE_MS + self.random.randint(0, 200)
            holds[number] = Hold(item.id, token, taken_ms, min(self.now_ms, lease_ends_ms))
            self.evidence.done.add(item.id)  # its row is stored
            self.queue.finish(token, [item.id])
            token = new_id()

    def caller(self, window: Window) -> Process:
        """One that only calls, as often as it may."""
        while True:
            call_id = new_id()
            while isinstance(answer := window.ask(CallKind.PRIORITY, call_id), Denied):
                yield answer.wait_ms + 1
            yield self.random.randint(0, self.lag_ms)
            self._arrive("any")
            yield self._latency()
            window.complete(answer)

    def take_one(self) -> str:
        """Takes and finishes the item that is first in line; returns its id."""
        token = new_id()
        lease = self.queue.take(1, LEASE_MS / 1000, token=token)
        assert isinstance(lease, Lease)
        (item,) = lease.items
        self.evidence.takes.append(Take(item.id, item.lane, item.enqueued_us, self.now_ms, self.now_ms))
        self.queue.finish(token, [item.id])
        return item.id

    def priority(self, window: Window) -> Process:
        """Cycles at the announced moments, three calls each, the first announced right away."""
        while True:
            window.reserve(self.now_ms + PRIORITY_EVERY_MS, PRIORITY_CALLS, PRIORITY_EVERY_MS)
            yield PRIORITY_EVERY_MS
            waits = 0
            began_ms = self.now_ms
            for number in range(PRIORITY_CALLS):
                call_id, waited = new_id(), False
                while isinstance(answer := window.ask(CallKind.PRIORITY, call_id), Denied):
                    waited = True
                    yield answer.wait_ms + 1
                waits += waited
                yield self.random.randint(0, self.lag_ms)
                self._arrive(f"priority {number}")
                yield self._latency()
                window.complete(answer)
            self.evidence.priority_waits.append(waits)
            yield max(0, 500 - (self.now_ms - began_ms))

    def enqueue_all(self, items: Sequence[tuple[str, Lane]], every_ms: int) -> Process:
        """Puts everything in line again and again; what is there already is not doubled."""
        while True:
            self.queue.enqueue(items)
            yield every_ms


def accounts(load: Load) -> list[set[str]]:
    """Where an item may be: done, or in one of the queue's sets (a record must lie in one)."""
    keys = load.keys
    dead = {letter.id for letter in load.queue.dead_letters(10_000)}
    sets: list[set[str]] = [set(load.client.zrange(key, 0, -1)) for key in keys.queue[1:7]]
    return [load.evidence.done, dead, *sets]
