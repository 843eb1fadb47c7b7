"""The straightest program with our own stack that refreshes prices through our own queue.

It does what any two programs with a queue between them must do: one reads what is stored and queues what is
due; the other takes leases, reads what is stored of their items, counts an attempt of each before its call
goes out, and finishes each once its price is stored. The queue is ours, with its scripts: lanes, leases that
run out, attempts, dead letters. Around it stands the straightest program (`straight.py`): what that leaves
out, this leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import NamedTuple

import psycopg
import redis
from benchmarks.straight import AT_ONCE, CHUNK, READ, Calls, Entries, Job, Row, due, write

from assetbatch.domain.queueing import Lane
from assetbatch.state.keys import Keys
from assetbatch.state.queue import LEASED_AT_ONCE, Lease, Queue

MAX_SIZE = 50_000
LEASE_SECONDS = 150.0


class _Answer(NamedTuple):
    token: str
    symbols: Sequence[str]
    entries: Entries


def queue_of(client: redis.Redis) -> Queue:
    """The queue of this program."""
    return Queue(
        client, Keys("{straight}"), max_size=MAX_SIZE, retry_max_attempts=3, retry_delay_seconds=300.0
    )


def enqueue(job: Job) -> int:
    """Queues what is due; returns how many."""
    with (
        psycopg.connect(job.database_url) as database,
        redis.Redis.from_url(job.redis_url, decode_responses=True) as client,
    ):
        symbols = list(job.symbols.values())
        rows = {row[0]: row[1:] for row in database.execute(READ, [symbols])}
        items = [(symbol, Lane.MEDIUM) for symbol in due(rows, symbols)]
        return len(queue_of(client).enqueue(items).added)


def work(job: Job) -> tuple[int, int]:
    """Works the queue until it is empty; returns the numbers of calls and of events."""
    calls = events = 0
    tickers = {symbol: ticker for ticker, symbol in job.symbols.items()}
    with (
        psycopg.connect(job.database_url) as database,
        redis.Redis.from_url(job.redis_url, decode_responses=True) as client,
        Calls(job, client) as provider,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        queue = queue_of(client)
        arrived: SimpleQueue[_Answer | BaseException] = SimpleQueue()
        rows: dict[str, Row] = {}

        def call(number: int, token: str, symbols: Sequence[str]) -> None:
            try:
                provider.wait_for_slot(number)
                if lost := queue.start(token, symbols, LEASE_SECONDS):
                    raise RuntimeError(f"lost: {lost}")
                entries = provider.get([tickers[symbol] for symbol in symbols])
                arrived.put(_Answer(token, symbols, entries))
            except BaseException as error:  # noqa: BLE001 - raised again where it is taken
                arrived.put(error)

        left, is_empty = 0, False
        while left or not is_empty:
            while left < AT_ONCE and not is_empty:  # prepared while the calls before are out
                lease = queue.take(LEASED_AT_ONCE, LEASE_SECONDS)
                if not isinstance(lease, Lease):
                    is_empty = True
                    break
                rows |= {row[0]: row[1:] for row in database.execute(READ, [list(lease.ids)])}
                database.commit()
                wanted = due(rows, lease.ids)
                if len(wanted) < len(lease.ids):
                    queue.finish(lease.token, list(set(lease.ids).difference(wanted)))
                for first in range(0, len(wanted), CHUNK):
                    pool.submit(call, calls, lease.token, wanted[first : first + CHUNK])
                    calls, left = calls + 1, left + 1
            answers = [arrived.get()] if left else []
            while True:
                try:
                    answers.append(arrived.get_nowait())
                except Empty:
                    break
            left -= len(answers)
            done: dict[str, list[str]] = {}
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                done.setdefault(answer.token, []).extend(answer.symbols)
            if done:
                entries = [answer.entries for answer in answers if isinstance(answer, _Answer)]
                events += write(job, database, client, rows, entries)
            for token, symbols in done.items():
                queue.finish(token, symbols)
    return calls, events
