"""A day of cron starts on a virtual clock: the real scripts on a real server, everything else simulated.

A priority cycle every 5 minutes, a queue run every minute, a full backlog, random start-up times and
latencies, processes that die after a grant. The provider's log of arrivals is the judge.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator

import pytest

from assetbatch.domain.due import expected_next_start
from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Empty, Lane
from assetbatch.secret import Secret
from assetbatch.state.connection import RedisClient, connect
from assetbatch.state.keys import Keys
from assetbatch.state.locks import Locks
from assetbatch.state.process_id import new_id
from assetbatch.state.queue import Queue
from assetbatch.state.window import Window, WindowSettings

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START_MS = 1_800_000_000_000  # a multiple of five minutes
LIMIT = 5
WINDOW_MS = MINUTE
PRIORITY_CALLS = 3
INTERVAL_MS = 5 * MINUTE
QUEUE_RUN_MS = 55 * SECOND
SYMBOLS_PER_CLASS = 60
CLASSES = (Lane.HIGH, Lane.MEDIUM, Lane.LOW)

Process = Generator[int, None, None]
"""A process yields how long it sleeps, in ms."""


class Day:
    """The events of a day in their order, and what they showed."""

    def __init__(self, client: RedisClient, keys: Keys, seed: int, *, kills: float, hosts: int = 1) -> None:
        self.now_ms = START_MS
        self.hosts = hosts
        self.random = random.Random(seed)
        self.kills = kills
        clock: Callable[[], int] = lambda: self.now_ms  # noqa: E731 - the clock of three objects
        limit = CallLimit(LIMIT, WINDOW_MS)

        def new_window(host: str = "") -> Window:
            settings = WindowSettings(keys, "k", limit, 10.0, queue_runs=hosts, host=host)
            return Window(client, settings, clock_ms=clock)

        self.new_window = new_window
        self.window = new_window()
        self.queue = Queue(
            client, keys, max_size=10_000, retry_max_attempts=50, retry_delay_seconds=60, clock_ms=clock
        )
        self.locks = Locks(client, keys, clock)
        self.arrivals: list[int] = []
        self.latencies: list[int] = []
        self.priority_waits: list[int] = []
        self.waits: dict[Lane, list[int]] = {priority: [] for priority in CLASSES}
        self.starts: list[int] = []
        self.queue_calls: Counter[int] = Counter()
        """Calls of queue runs by host."""
        self._order = itertools.count()
        self._events: list[tuple[int, int, Process]] = []

    def at(self, moment_ms: int, process: Process) -> None:
        heapq.heappush(self._events, (moment_ms, next(self._order), process))

    def run(self, until_ms: int) -> None:
        while self._events and self._events[0][0] < until_ms:
            self.now_ms, _, process = heapq.heappop(self._events)
            for sleep_ms in process:
                self.at(self.now_ms + sleep_ms, process)
                break

    def killed(self) -> bool:
        return self.random.random() < self.kills

    def call(self) -> Process:
        """A granted call until its answer; it arrives somewhere in between."""
        latency = round(self.random.lognormvariate(4.8, 0.5))  # about 120 ms, now and then 500
        before = self.random.randrange(latency + 1)
        yield before
        self.arrivals.append(self.now_ms)
        self.latencies.append(latency)
        yield latency - before

    def run_priority(self) -> Process:
        yield round(self.random.uniform(300, 900))  # cron and start-up
        self.starts.append(self.now_ms)
        for _ in range(PRIORITY_CALLS):
            call_id, asked_ms = new_id(), self.now_ms
            while isinstance(answer := self.window.ask(CallKind.PRIORITY, call_id), Denied):
                yield answer.wait_ms
            self.priority_waits.append(self.now_ms - asked_ms)
            dies = self.killed()
            yield from self.call()
            if dies:
                return
            self.window.complete(answer)
        at_ms = expected_next_start(self.starts[-6:], INTERVAL_MS)
        self.window.reserve(at_ms, PRIORITY_CALLS, INTERVAL_MS)

    def run_queue(self, host: int = 0) -> Process:
        yield round(self.random.uniform(300, 900))
        end_ms = self.now_ms + QUEUE_RUN_MS
        lock = self.locks.hold("run_queue", QUEUE_RUN_MS / 1000 + 5, self.hosts)
        if not lock.__enter__():
            return
        name = f"host{host}-"
        token, window = new_id(name), self.new_window(host=name)
        while end_ms - self.now_ms > 5 * SECOND:
            taken = self.queue.take(1, (end_ms - self.now_ms) / 1000 + 5, window, token)
            if isinstance(taken, Empty):
                break
            if isinstance(taken, Denied):
                if taken.wait_ms > end_ms - self.now_ms - 5 * SECOND:
                    window.abandon_wait(token)
                    break
                yield taken.wait_ms + 1
                continue
            (item,) = taken.items
            assert taken.grant is not None
            if item.attempts == 0:
                self.waits[item.lane].append(self.now_ms - item.enqueued_us // 1000)
            if self.killed():
                if self.random.random() < 0.5:
                    self.queue.start(taken.token, [item.id], (end_ms - self.now_ms) / 1000 + 5)
                    yield from self.call()
                return  # neither settled nor finished, and the lock is left to its deadline
            self.queue_calls[host] += 1
            self.queue.start(taken.token, [item.id], (end_ms - self.now_ms) / 1000 + 5)
            yield from self.call()
            window.complete(taken.grant)
            self.queue.finish(taken.token, [item.id])
            token = new_id(name)
        lock.__exit__(None, None, None)

    def enqueue(self, per_class: int) -> Process:
        self.queue.enqueue([(f"{p}-{n}", p) for p in CLASSES for n in range(per_class)])
        yield from ()

    def windows_over_limit(self) -> int:
        arrivals = sorted(self.arrivals)
        return sum(
            later - first < WINDOW_MS for first, later in zip(arrivals, arrivals[LIMIT:], strict=False)
        )


def live(
    client: RedisClient,
    keys: Keys,
    hours: int,
    *,
    kills: float,
    priority: bool = True,
    seed: int = 1,
    hosts: int = 1,
    apart_ms: int = 7 * SECOND,
) -> Day:
    """So many hours, with as many symbols in each class as are worked off in about a quarter of an hour.

    The clocks of the hosts are `apart_ms` apart from one to the next.
    """
    day = Day(client, keys, seed, kills=kills, hosts=hosts)
    for minute in range(hours * 60):
        moment = START_MS + minute * MINUTE
        if minute % 30 == 0:
            day.at(moment, day.enqueue(SYMBOLS_PER_CLASS))
        if priority and minute % 5 == 0:
            day.at(moment, day.run_priority())
        for host in range(hosts):
            day.at(moment + host * apart_ms, day.run_queue(host))
    day.run(START_MS + hours * HOUR)
    return day


@pytest.fixture(scope="module")
def day(redis_url: str) -> Iterator[Day]:
    client = connect(Secret(redis_url))
    yield live(client, Keys(f"{{{new_id()}}}"), 24, kills=0.0)
    client.close()


class TestADay:
    """24 hours at 5 calls a minute, with 180 symbols that are always due."""

    def test_no_window_is_over_the_limit_at_the_provider(self, day: Day) -> None:
        assert day.windows_over_limit() == 0

    def test_priority_never_waits(self, day: Day) -> None:
        assert len(day.priority_waits) == 3 * 12 * 24
        assert max(day.priority_waits) == 0

    def test_the_queue_makes_all_calls_that_the_limit_allows_beside_priority(self, day: Day) -> None:
        """22 in five minutes: if the 3 calls of a cycle are not to wait, at most 2 others may have been
        answered in the minute before it, so the five minutes bring at most 4 times 5 and 2."""
        most = 24 * 12 * (4 * LIMIT + LIMIT - PRIORITY_CALLS)
        assert len(day.arrivals) >= 0.99 * most

    def test_every_class_is_served_in_bounded_time(self, day: Day) -> None:
        """LOW is served after at most its four hours' handicap and one round of the backlog."""
        round_ms = 180 / 4 * MINUTE
        for number, priority in enumerate(CLASSES):
            assert len(day.waits[priority]) > 100
            assert max(day.waits[priority]) < number * 2 * HOUR + 2 * round_ms


def test_a_queue_that_priority_leaves_alone_uses_the_whole_limit(
    redis_client: RedisClient, keys: Keys
) -> None:
    """As on the free plan for most of the day: all priority assets are complete, nothing is reserved."""
    day = live(redis_client, keys, 6, kills=0.0, priority=False)
    mean_latency_ms = sum(day.latencies) / len(day.latencies)
    allowed = 6 * 60 * LIMIT * WINDOW_MS / (WINDOW_MS + mean_latency_ms)
    assert day.windows_over_limit() == 0
    assert len(day.arrivals) >= 0.99 * allowed


def test_processes_that_die_after_a_grant_break_no_window_and_make_priority_wait_for_nobody_else(
    redis_client: RedisClient, keys: Keys
) -> None:
    day = live(redis_client, keys, 12, kills=0.02, seed=7)
    assert day.windows_over_limit() == 0
    assert len(day.arrivals) > 0.8 * 12 * 12 * 22
    state = day.queue.state()
    assert state.dead == 0
    assert state.size <= 180


@pytest.mark.parametrize("apart_ms", [0, 200, 1000, 3000, 7000, 20_000])
def test_four_hosts_use_one_budget_up_and_share_it(
    redis_client: RedisClient, keys: Keys, apart_ms: int
) -> None:
    """However far their clocks, which cron goes by, are apart from one to the next."""
    day = live(redis_client, keys, 1, kills=0.0, hosts=4, apart_ms=apart_ms)
    assert day.windows_over_limit() == 0
    assert len(day.arrivals) >= 0.97 * 12 * (4 * LIMIT + LIMIT - PRIORITY_CALLS)  # as for one host
    shares = [day.queue_calls[host] / sum(day.queue_calls.values()) for host in range(4)]
    assert min(shares) >= 0.15
    assert max(day.priority_waits[PRIORITY_CALLS:]) == 0  # nothing was kept yet for the very first cycle


def test_hosts_that_die_now_and_then_share_one_budget(redis_client: RedisClient, keys: Keys) -> None:
    day = live(redis_client, keys, 1, kills=0.02, hosts=4)
    assert day.windows_over_limit() == 0
    assert min(day.queue_calls[host] for host in range(4)) >= 0.15 * sum(day.queue_calls.values())


@pytest.mark.parametrize("reserving", [True, False])
def test_without_the_reservation_priority_would_wait(
    redis_client: RedisClient, keys: Keys, monkeypatch: pytest.MonkeyPatch, reserving: bool
) -> None:
    """That the simulation would show it."""
    if not reserving:
        monkeypatch.setattr(Window, "reserve", lambda *_: None)
    day = live(redis_client, keys, 2, kills=0.0)
    assert (max(day.priority_waits) == 0) is reserving
