"""The straight program for the bars of many symbols: what the work costs without any promise.

It has our own stack: requests, msgspec, redis and psycopg, each used in the fastest way that we know. Each
thread takes one symbol after the other: a slot of the window, one request, the page decoded into structs, one
buffer of binary COPY, a commit. It checks nothing, has no queue, no lease, no coverage and no status, and it
fails on the first bar that is stored already.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, NamedTuple

import msgspec
import psycopg
import redis
import requests

AT_ONCE = 8
WRITERS = 2
"""Connections that copy: one for each core was the fastest of 1, 2, 4 and 8 on two cores."""

WINDOW_MS = 60_000
CALLS = 100_000
"""Calls in a window: a plan without a limit, asked for all the same."""

_SLOT = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - tonumber(ARGV[2]))
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
return redis.call('ZADD', KEYS[1], ms, ARGV[3])
"""

_COPY = b"""
    COPY market_data.ohlcv_5m (symbol_id, ts, open, high, low, close, volume, vwap, trades)
    FROM STDIN (FORMAT binary)
"""
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_ZERO_MS = 946_684_800_000
"""2000-01-01: PostgreSQL counts microseconds from there."""

_BEGIN = struct.Struct(">hiqi")
_ROW = struct.Struct(">18s q id id id id id id iq")


class Row(msgspec.Struct, gc=False):
    """A bar as the provider sends it; one that lacks a field ends the program."""

    t: int
    o: float
    h: float
    l: float  # noqa: E741 - the provider's name
    c: float
    v: float
    vw: float
    n: int


class Page(msgspec.Struct):
    """One answer."""

    results: list[Row]


class Job(NamedTuple):
    """Bars to fetch: of all registered symbols, within `[start_ms, end_ms]`."""

    base_url: str
    key: str
    database_url: str
    redis_url: str
    start_ms: int
    end_ms: int


def refresh(job: Job) -> tuple[int, int]:
    """Fetches the bars of all registered symbols into the empty table; returns how many calls and bars."""
    decode = msgspec.json.Decoder(Page).decode
    take_slot: Callable[..., Any] = redis.Redis.from_url(job.redis_url).register_script(_SLOT)
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {job.key}"
    http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
    connections: SimpleQueue[psycopg.Connection[Any]] = SimpleQueue()
    for _ in range(WRITERS):
        connections.put(psycopg.connect(job.database_url))
    with psycopg.connect(job.database_url) as connection:
        symbols = connection.execute("SELECT id, symbol FROM trading.symbols").fetchall()

    def work(row: tuple[int, str]) -> int:
        symbol_id, symbol = row
        while not take_slot(keys=["straight:calls"], args=[CALLS, WINDOW_MS, symbol]):
            time.sleep(0.01)
        place = f"{job.base_url}/v2/aggs/ticker/X:{symbol}/range/5/minute/{job.start_ms}/{job.end_ms}"
        answer = http.get(f"{place}?adjusted=true&sort=asc&limit=50000", timeout=30)
        answer.raise_for_status()
        rows = decode(answer.content).results
        packed = binary(symbol_id, rows)
        connection = connections.get()
        with connection.cursor().copy(_COPY) as copy:
            copy.write(packed)
        connection.commit()
        connections.put(connection)
        return len(rows)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(work, symbols))
    return len(counts), sum(counts)


def binary(symbol_id: int, rows: list[Row]) -> bytes:
    """Returns the rows as COPY takes them: each value after its length."""
    begin = _BEGIN.pack(9, 8, symbol_id, 8)
    pack = _ROW.pack
    packed = [
        pack(begin, (b.t - _ZERO_MS) * 1000, 8, b.o, 8, b.h, 8, b.l, 8, b.c, 8, b.v, 8, b.vw, 8, b.n)
        for b in rows
    ]
    return b"".join([_HEADER, *packed, _TRAILER])
