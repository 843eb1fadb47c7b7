"""The pending queue's speed and size: ours beside rq, arq, huey, dramatiq, saq and bare pipelined ZADD.

Run from the repository's root (each contender runs in a process of its own):

    python -m benchmarks.queues [--repeat 5] [--arq-python PYTHON] [--redis-url URL]
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import asyncio
import itertools
import json
import logging
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

import redis
from benchmarks.limiter import benchmark_server, surroundings

if TYPE_CHECKING:  # the environment of arq has no assetbatch
    from assetbatch.domain.queueing import Lane

ITEMS = 10_000
ITEMS_FOR_SIZE = 100_000
BATCH = 250
ENQUEUE_AT_ONCE = 1000
MAX_BYTES = 25_000_000
SLOW_MS = 10


class Contender(Protocol):
    """A queue in its fastest documented use. Where it lets the caller name a job, the item's id is the name,
    as in ours: that makes it smaller and lets it refuse duplicates."""

    def enqueue(self, ids: Sequence[str]) -> None:
        """Puts the items in line."""

    def take_and_finish(self, count: int) -> None:
        """Fetches and acknowledges so many items; no job's code is run."""


class Ours:
    """One script per 1,000 items to enqueue; one to take 250 under a lease, one to finish them."""

    def __init__(self, url: str) -> None:
        from assetbatch.domain.queueing import Lane

        self._class = Lane.MEDIUM
        self._queue = our_queue(url)

    def enqueue(self, ids: Sequence[str]) -> None:
        """Each id is looked up, so that it enters once."""
        for at in range(0, len(ids), ENQUEUE_AT_ONCE):
            self._queue.enqueue([(item_id, self._class) for item_id in ids[at : at + ENQUEUE_AT_ONCE]])

    def take_and_finish(self, count: int) -> None:
        """As run-queue does with a plan that has snapshots, but without the window."""
        for _ in range(0, count, BATCH):
            lease = self._queue.take(BATCH, 60)
            self._queue.finish(lease.token, [item.id for item in lease.items])


class BareZadd:
    """The limit of what Redis can do: a sorted set, no leases, no classes, no attempts."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def enqueue(self, ids: Sequence[str]) -> None:
        """ZADD with 1,000 members each, all in one pipeline."""
        pipeline = self._client.pipeline(transaction=False)
        for at in range(0, len(ids), ENQUEUE_AT_ONCE):
            chunk = ids[at : at + ENQUEUE_AT_ONCE]
            pipeline.zadd("queue", {item_id: at + i for i, item_id in enumerate(chunk)})
        pipeline.execute()

    def take_and_finish(self, count: int) -> None:
        """ZPOPMIN of 250: what is popped and not worked is lost."""
        for _ in range(0, count, BATCH):
            self._client.zpopmin("queue", BATCH)


class Rq:
    """rq, whose bulk call is `enqueue_many`. It takes one job at a time: the steps of its worker are called
    without its heartbeats, its state, its fork and the job's code, which is in its favour. Results lie for
    its default 500 s: deleting the job at once (`result_ttl=0`) takes it longer."""

    def __init__(self, url: str) -> None:
        from rq import Queue, SimpleWorker

        self._client = redis.Redis.from_url(url)
        self._queue = Queue(connection=self._client)
        self._worker = SimpleWorker([self._queue], connection=self._client)

    def enqueue(self, ids: Sequence[str]) -> None:
        """1,000 jobs per pipeline."""
        for at in range(0, len(ids), ENQUEUE_AT_ONCE):
            self._queue.enqueue_many(
                self._queue.prepare_data("builtins.len", args=(item_id,), job_id=item_id)
                for item_id in ids[at : at + ENQUEUE_AT_ONCE]
            )

    def take_and_finish(self, count: int) -> None:
        """Dequeue, register the execution, mark as started, handle the success."""
        for _ in range(count):
            job, queue = self._queue.dequeue_any([self._queue], None, self._client)
            execution = self._worker.prepare_execution(job)
            self._worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
            job.started_at = job.ended_at = datetime.now(UTC)
            self._worker.handle_job_success(job, queue, queue.started_job_registry, execution)


class Huey:
    """huey. It has no bulk call. Its `dequeue` pops the task for good: there is no lease and nothing to
    acknowledge, so this is all; what its consumer does besides (asking whether the task was revoked) is left
    out, which is in its favour."""

    def __init__(self, url: str) -> None:
        from huey import RedisHuey

        self._huey = RedisHuey(url=url)
        self._task = self._huey.task()(lambda _item_id: None)

    def enqueue(self, ids: Sequence[str]) -> None:
        """One LPUSH per task."""
        for item_id in ids:
            self._task(item_id)

    def take_and_finish(self, count: int) -> None:
        """One BRPOP per task, and its unpickling."""
        for _ in range(count):
            assert self._huey.dequeue() is not None


class Dramatiq:
    """dramatiq. It has no bulk call to enqueue. Its consumer prefetches 250 messages in one script and
    acknowledges each, as its worker threads do; no actor is run and no middleware is loaded."""

    def __init__(self, url: str) -> None:
        from dramatiq import Message
        from dramatiq.brokers.redis import RedisBroker

        self._broker = RedisBroker(url=url, middleware=[])
        self._broker.declare_queue("default")
        self._message = Message

    def enqueue(self, ids: Sequence[str]) -> None:
        """One script per message."""
        for item_id in ids:
            self._broker.enqueue(
                self._message(
                    queue_name="default", actor_name="refresh", args=(item_id,), kwargs={}, options={}
                )
            )

    def take_and_finish(self, count: int) -> None:
        """One fetch per 250, one ack per message."""
        consumer = self._broker.consume("default", prefetch=BATCH)
        for _ in range(count):
            message = next(consumer)
            consumer.ack(message)


class Saq:
    """saq. Its docs enqueue many jobs by `asyncio.gather`; 20 at once is its own limit. Ten loops, its
    worker's default concurrency, do what the worker does to a job but run it: dequeue, update, finish. No
    results are kept (`ttl=-1`)."""

    def __init__(self, url: str) -> None:
        from redis import asyncio as redis_asyncio
        from saq import Job, Status
        from saq.queue.redis import RedisQueue

        self._job, self._status = Job, Status
        self._queue = RedisQueue(redis_asyncio.Redis.from_url(url))
        self._runner = asyncio.Runner()

    def enqueue(self, ids: Sequence[str]) -> None:
        """One script per job."""
        in_turns(
            self._runner,
            (
                self._queue.enqueue(self._job("refresh", kwargs={"symbol": item_id}, key=item_id, ttl=-1))
                for item_id in ids
            ),
        )

    def take_and_finish(self, count: int) -> None:
        """BLMOVE, GET, SET and PUBLISH, then a transaction and another PUBLISH per job."""

        async def loop(jobs: int) -> None:
            for _ in range(jobs):
                job = await self._queue.dequeue(timeout=1)
                await job.update(status=self._status.ACTIVE)
                await job.finish(self._status.COMPLETE)

        async def loops() -> None:
            await asyncio.gather(*(loop(count // 10) for _ in range(10)))

        self._runner.run(loops())


class Arq:
    """arq. It has no bulk call; 20 at once. What it does to a job cannot be had without its worker, so that
    runs in burst mode, with a function that does nothing, 250 jobs at once, no results and no pause between
    its polls."""

    def __init__(self, url: str) -> None:
        from arq.connections import RedisSettings, create_pool

        logging.getLogger("arq").setLevel(logging.WARNING)
        self._runner = asyncio.Runner()
        self._pool = self._runner.run(create_pool(RedisSettings.from_dsn(url)))

    def enqueue(self, ids: Sequence[str]) -> None:
        """One optimistic transaction per job."""
        in_turns(
            self._runner, (self._pool.enqueue_job("refresh", item_id, _job_id=item_id) for item_id in ids)
        )

    def take_and_finish(self, count: int) -> None:
        """Reads ids in bulk, then an optimistic transaction, a pipeline and a transaction per job."""
        from arq.worker import Worker, func

        async def refresh(_context: Any, _item_id: str) -> None:
            return None

        async def burst() -> None:
            worker = Worker(
                functions=[func(refresh, name="refresh")],
                redis_pool=self._pool,
                burst=True,
                max_jobs=BATCH,
                poll_delay=0.001,
                keep_result=0,
                handle_signals=False,
            )
            await worker.async_run()
            assert worker.jobs_complete == count, worker.jobs_complete

        self._runner.run(burst())


def in_turns(runner: asyncio.Runner, calls: Iterable[Awaitable[Any]]) -> None:
    """Awaits all, 20 at once."""
    todo = iter(calls)

    async def turn() -> None:
        for call in todo:
            assert await call is not None

    async def turns() -> None:
        await asyncio.gather(*(turn() for _ in range(20)))

    runner.run(turns())


OURS = "assetbatch"
ARQ = "arq"
BARE = "bare ZADD"
CONTENDERS: dict[str, Callable[[str], Contender]] = {
    OURS: Ours,
    "rq": Rq,
    ARQ: Arq,
    "huey": Huey,
    "dramatiq": Dramatiq,
    "saq": Saq,
    BARE: BareZadd,
}


def our_queue(url: str) -> Any:
    """assetbatch's queue; failed items may be tried again at once."""
    from assetbatch.secret import Secret
    from assetbatch.state.connection import connect
    from assetbatch.state.keys import Keys
    from assetbatch.state.queue import Queue

    return Queue(
        connect(Secret(url)),
        Keys("{benchmark}"),
        max_size=2 * ITEMS_FOR_SIZE,
        retry_max_attempts=3,
        retry_delay_seconds=0,
    )


def ids_of(count: int, first: int = 0) -> list[str]:
    """Ids as long as a usual symbol and its prefix."""
    return [f"SYMBOL{n:06d}" for n in range(first, first + count)]


def empty(url: str) -> None:
    """Empties the database and frees its memory before it returns, which FLUSHDB alone need not do."""
    server: Any = redis.Redis.from_url(url)
    server.execute_command("FLUSHDB", "SYNC")


def one_run(name: str, url: str, count: int, leave: bool) -> dict[str, Any]:
    """In a process of its own: seconds to enqueue, and to take and finish unless the items are to be left."""
    contender = CONTENDERS[name](url)
    if not leave:  # connections, scripts and imports are not what is measured
        contender.enqueue(ids_of(BATCH, first=ITEMS))
        contender.take_and_finish(BATCH)
    server: Any = redis.Redis.from_url(url)
    server.config_resetstat()
    started = time.perf_counter()
    contender.enqueue(ids_of(count))
    enqueued = time.perf_counter()
    if not leave:
        contender.take_and_finish(count)
    finished = time.perf_counter()
    scripts = server.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    version = "" if name == BARE else f"{name} {metadata.version(name)}"
    if name == ARQ:
        version += f" with redis {metadata.version('redis')}"
    return {
        "enqueue": enqueued - started,
        "take": finished - enqueued,
        "scripts": scripts,
        "version": version,
    }


def run_apart(name: str, url: str, python: str, count: int, *, leave: bool) -> dict[str, Any]:
    """`one_run` in the named interpreter, on an emptied database."""
    empty(url)
    command = [python, "-m", "benchmarks.queues", "--one", name, "--redis-url", url, "--count", str(count)]
    folder = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [*command, *(["--leave"] if leave else [])], cwd=folder, check=True, stdout=subprocess.PIPE
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def compare(url: str, repeat: int, arq_python: str) -> None:
    """Prints the table of the contenders: medians, and ratios to ours."""
    pythons = {name: arq_python if name == ARQ else sys.executable for name in CONTENDERS}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(repeat):  # interleaved: what else the machine does meets all alike
        for name in CONTENDERS:
            runs[name].append(run_apart(name, url, pythons[name], ITEMS, leave=False))
    server: Any = redis.Redis.from_url(url)
    size = {}
    for name in CONTENDERS:
        empty(url)
        before = server.info("memory")["used_memory"]
        run_apart(name, url, pythons[name], ITEMS_FOR_SIZE, leave=True)
        size[name] = server.info("memory")["used_memory"] - before
    empty(url)

    def per_second(name: str, step: str) -> float:
        return ITEMS / statistics.median(float(run[step]) for run in runs[name])

    print(
        f"{surroundings(url, ['redis'])}, {', '.join(filter(None, (r[0]['version'] for r in runs.values())))}"
    )
    print(f"\n{ITEMS:,} items, medians of {repeat}; size at {ITEMS_FOR_SIZE:,} queued items\n")
    print(f"| queue | enqueue, items/s | ratio | take and finish {BATCH}, items/s | ratio | bytes per item |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in CONTENDERS:
        cells = [name]
        for step in ("enqueue", "take"):
            rate = per_second(name, step)
            cells += [f"{rate:,.0f}", f"{rate / per_second(OURS, step):.3f}"]
        print(f"| {' | '.join(cells)} | {size[name] / ITEMS_FOR_SIZE:.0f} |")
    decisions = ITEMS // ENQUEUE_AT_ONCE + 2 * ITEMS // BATCH
    print(f"\n{OURS}: {decisions} decisions, {runs[OURS][0]['scripts']} EVALSHA", end="; ")
    held = "at most" if size[OURS] <= MAX_BYTES else "MORE than"
    print(f"{ITEMS_FOR_SIZE:,} items in {size[OURS] / 1e6:.1f} MB, {held} {MAX_BYTES / 1e6:.0f} MB")


class Stopwatch:
    """Times scripts: ms in the server, by its own SLOWLOG, and ms as the client waits."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.times: dict[str, list[tuple[float, float]]] = {}

    def time(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        """Calls, notes the times under the name, returns the answer."""
        self._server.slowlog_reset()
        started = time.perf_counter()
        answer = call(*args)
        waited = time.perf_counter() - started
        log = self._server.slowlog_get(20)
        busy = max(entry["duration"] for entry in log if entry["command"].startswith(b"EVALSHA"))
        self.times.setdefault(name, []).append((busy / 1000, waited * 1000))
        return answer


def time_round(watch: Stopwatch, queue: Any, new: Sequence[tuple[str, Any]]) -> None:
    """Each script once or more; as many items leave as come."""
    from assetbatch.domain.queueing import Failure

    def take(name: str = "take 250") -> tuple[str, list[str]]:
        lease = watch.time(name, queue.take, BATCH, 60)
        return lease.token, [item.id for item in lease.items]

    watch.time("enqueue 1,000", queue.enqueue, new)
    watch.time("finish 250", queue.finish, *take())
    token, ids = take()
    failures = [Failure(item_id, "the provider did not answer") for item_id in ids]
    watch.time("fail 250, to be tried again", queue.fail, token, failures)
    time.sleep(0.002)  # the delay is 0, but the server's clock must show another millisecond
    token, ids = take("take 250, 250 retries due")
    failures = [Failure(item_id, "no such ticker", final=True) for item_id in ids]
    watch.time("fail 250, dead letters", queue.fail, token, failures)
    watch.time("state", queue.state)
    for _ in range(2):
        watch.time("finish 250", queue.finish, *take())


def time_scripts(url: str, rounds: int) -> None:
    """Prints how long each script of ours takes with little and much in the queue."""
    from assetbatch.domain.queueing import Lane

    def items(first: int) -> list[tuple[str, Lane]]:
        return list(zip(ids_of(ENQUEUE_AT_ONCE, first), itertools.cycle(list(Lane)[:4]), strict=False))

    server: Any = redis.Redis.from_url(url)
    threshold = server.config_get("slowlog-log-slower-than")
    server.config_set("slowlog-log-slower-than", 0)
    queue = our_queue(url)
    print(f"\n{rounds} rounds; ms in the server, and as the client waits\n")
    print("| script | items queued | server p50 | server max | client p50 | client max | over 10 ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    try:
        for size in (0, ITEMS, ITEMS_FOR_SIZE):
            empty(url)
            for first in range(0, size, ENQUEUE_AT_ONCE):
                queue.enqueue(items(first))
            time_round(Stopwatch(server), queue, items(ITEMS_FOR_SIZE))  # loads the scripts
            watch = Stopwatch(server)
            for n in range(1, rounds + 1):
                time_round(watch, queue, items(ITEMS_FOR_SIZE + n * ENQUEUE_AT_ONCE))
            for name, pairs in watch.times.items():
                busy, waited = zip(*pairs, strict=True)
                print(
                    f"| {name} | {size:,} | {statistics.median(busy):.2f} | {max(busy):.2f} "
                    f"| {statistics.median(waited):.2f} | {max(waited):.2f} "
                    f"| {sum(ms > SLOW_MS for ms in busy)} of {len(busy)} |",
                    flush=True,
                )
    finally:
        server.config_set("slowlog-log-slower-than", threshold["slowlog-log-slower-than"])
        empty(url)


def main() -> None:
    """Prints both tables; with --one it is the process of one contender."""
    parser = argparse.ArgumentParser(description="speed and size of the pending queue beside others")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, of which the median counts")
    parser.add_argument("--rounds", type=int, default=50, help="how often each script of ours is timed")
    parser.add_argument("--only", choices=("queues", "scripts"), help="one of the tables; default: both")
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    parser.add_argument(
        "--arq-python", default=sys.executable, help="Python of an environment with arq (it needs redis < 6)"
    )
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--leave", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_run(options.one, options.redis_url, options.count, options.leave)))
        return
    with benchmark_server(options.redis_url) as url:
        if options.only != "scripts":
            compare(url, options.repeat, options.arq_python)
        if options.only != "queues":
            time_scripts(url, options.rounds)


if __name__ == "__main__":
    main()
