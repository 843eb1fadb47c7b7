"""The straightest program with our own stack that does the work of a cycle.

It reads what is stored, takes a slot of a window in Redis for each call, has eight calls out at once,
decodes, and beside them writes what came, in portions: an UPDATE that leaves newer rows alone, an upsert of
the status, and after the commit a PUBLISH for each row that was written. What it leaves out: leases, retries,
a lock against a second start, the plan's limits, odd answers, the end of calls and statements on time, a
history, and tables that other programs have made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import psycopg
import redis

CHUNK = 250
"""Tickers that one call for snapshots may name."""

AT_ONCE = 8
WINDOW_MS = 1000
LIMIT = 100
FREQUENCY_MS = 60_000


class Job(NamedTuple):
    """Prices to refresh: where they come from and go to, and the symbol of each ticker."""

    base_url: str
    key: str
    database_url: str
    redis_url: str
    symbols: Mapping[str, str]


class _Quote(msgspec.Struct):
    bid: float
    ask: float
    last_updated: int


class _Trade(msgspec.Struct):
    price: float
    participant_timestamp: int


class _Session(msgspec.Struct, frozen=True):
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None


class _Entry(msgspec.Struct):
    ticker: str
    last_quote: _Quote | None = None
    last_trade: _Trade | None = None
    session: _Session = _Session()


class _Answer(msgspec.Struct):
    results: list[_Entry]


Entries = list[_Entry]
"""What one answer says."""

Row = tuple[int, str | None, int | None]
"""The id of a symbol, the timestamp of its price, and its last success (ms)."""


class Update(msgspec.Struct):
    """`metadata.last_update` as it is stored."""

    bid: float | None
    ask: float | None
    last_price: float
    daily_open: float | None
    daily_high: float | None
    daily_low: float | None
    daily_close: float | None
    timestamp: str


class _Event(msgspec.Struct):
    symbol: str
    bid: float | None
    ask: float | None
    last_price: float
    timestamp: str


READ = """
    SELECT s.symbol, s.id, s.metadata -> 'last_update' ->> 'timestamp',
           (extract(epoch FROM d.last_sync_timestamp) * 1000)::int8
    FROM trading.symbols s LEFT JOIN data_sources.data_sync_status d ON d.ticker_id = s.id
    WHERE s.symbol = ANY (%s)
"""
_UPDATE = """
    UPDATE trading.symbols s
    SET metadata = jsonb_set(s.metadata, '{last_update}', n.last_update), updated_at = now()
    FROM unnest(%s::int8[], %s::jsonb[]) AS n(id, last_update)
    WHERE s.id = n.id
      AND coalesce(s.metadata -> 'last_update' ->> 'timestamp' < n.last_update ->> 'timestamp', true)
    RETURNING s.id
"""
_UPSERT = """
    INSERT INTO data_sources.data_sync_status
        (ticker_id, provider_id, last_sync_timestamp, sync_status, updated_at)
    SELECT n.id, (SELECT id FROM data_sources.api_providers WHERE code = 'polygon'),
           to_timestamp(%s / 1000.0), 'success', to_timestamp(%s / 1000.0)
    FROM unnest(%s::int8[]) AS n(id)
    ON CONFLICT (ticker_id, provider_id) DO UPDATE
    SET last_sync_timestamp = excluded.last_sync_timestamp, sync_status = excluded.sync_status,
        error_message = NULL, updated_at = excluded.updated_at
"""
_SLOT = """
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
    if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
    return 1
"""

_ANSWER = msgspec.json.Decoder(_Answer)
_ENCODER = msgspec.json.Encoder()


class Calls:
    """The provider, asked once for each slot of a window in Redis."""

    def __init__(self, job: Job, client: redis.Redis) -> None:
        import requests

        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {job.key}"
        self._url = f"{job.base_url}/v3/snapshot"
        self._slot = client.register_script(_SLOT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._http.close()

    def wait_for_slot(self, number: int) -> None:
        """Takes a slot as soon as one is free."""
        name = f"{threading.get_ident()}:{time.monotonic_ns()}:{number}"
        while not self._slot(["straight"], [now_ms(), WINDOW_MS, LIMIT, name]):
            time.sleep(0.01)

    def get(self, tickers: Sequence[str]) -> Entries:
        """Makes one call, for at most `CHUNK` tickers."""
        query = {"ticker.any_of": ",".join(tickers), "limit": str(CHUNK)}
        response = self._http.get(self._url, params=query, timeout=10)
        response.raise_for_status()
        return _ANSWER.decode(response.content).results


def due(rows: Mapping[str, Row], symbols: Iterable[str]) -> list[str]:
    """The symbols whose frequency has passed."""
    before_ms = now_ms() - FREQUENCY_MS
    return [
        symbol
        for symbol in symbols
        if symbol in rows and ((at_ms := rows[symbol][2]) is None or at_ms <= before_ms)
    ]


def refresh(job: Job) -> tuple[int, int]:
    """Refreshes what is due; returns the numbers of calls and of events."""
    events = 0
    with (
        psycopg.connect(job.database_url) as database,
        redis.Redis.from_url(job.redis_url) as client,
        Calls(job, client) as provider,
    ):
        rows = {row[0]: row[1:] for row in database.execute(READ, [list(job.symbols.values())])}
        database.commit()
        tickers_of = {symbol: ticker for ticker, symbol in job.symbols.items()}
        tickers = [tickers_of[symbol] for symbol in due(rows, job.symbols.values())]
        arrived: SimpleQueue[Entries | BaseException] = SimpleQueue()

        def call(number: int, tickers: Sequence[str]) -> None:
            try:
                provider.wait_for_slot(number)
                arrived.put(provider.get(tickers))
            except BaseException as error:  # noqa: BLE001 - raised again where it is taken
                arrived.put(error)

        chunks = [tickers[first : first + CHUNK] for first in range(0, len(tickers), CHUNK)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, chunk in enumerate(chunks):
                pool.submit(call, number, chunk)
            left = len(chunks)
            while left:
                answers = [arrived.get()]
                while True:
                    try:
                        answers.append(arrived.get_nowait())
                    except Empty:
                        break
                left -= len(answers)
                events += write(job, database, client, rows, answers)
    return len(chunks), events


def write(
    job: Job,
    database: psycopg.Connection,
    client: redis.Redis,
    rows: Mapping[str, Row],
    answers: Sequence[Entries | BaseException],
) -> int:
    """Writes and publishes a portion; returns the number of events."""
    messages: dict[int, tuple[str, bytes]] = {}
    updates: list[str] = []
    ids: list[int] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        for entry in answer:
            symbol = job.symbols[entry.ticker]
            update = update_of(entry)
            row_id, stored, _ = rows[symbol]
            ids.append(row_id)
            if stored is not None and stored >= update.timestamp:
                continue
            event = _Event(symbol, update.bid, update.ask, update.last_price, update.timestamp)
            messages[row_id] = f"asset:update:{symbol}", _ENCODER.encode(event)
            updates.append(_ENCODER.encode(update).decode())
    at_ms = now_ms()
    with database.pipeline():
        written = database.execute(_UPDATE, [list(messages), updates])
        database.execute(_UPSERT, [at_ms, at_ms, ids])
        database.commit()
    publisher = client.pipeline(transaction=False)
    for (row_id,) in written.fetchall():
        publisher.publish(*messages[row_id])
    return len(publisher.execute())


def now_ms() -> int:
    """This machine's time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def update_of(entry: _Entry) -> Update:
    """The price of an entry as it is stored."""
    quote, trade, day = entry.last_quote, entry.last_trade, entry.session
    if trade:
        last_price, at_ns = trade.price, trade.participant_timestamp
    else:
        assert quote, "no price"
        last_price, at_ns = (quote.bid + quote.ask) / 2, quote.last_updated
    return Update(
        quote.bid if quote else None,
        quote.ask if quote else None,
        last_price,
        day.open,
        day.high,
        day.low,
        day.close,
        iso(at_ns),
    )


def iso(at_ns: int) -> str:
    """ISO 8601 in UTC of Unix nanoseconds, to the millisecond."""
    return datetime.fromtimestamp(at_ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")
