"""When each command last started and ended, and how; the last cycles; the waits of the last hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from assetbatch.domain.records import CycleRecord, JobState, Started
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys

CYCLES_KEPT = 288
CYCLES_FOR_FORECAST = 50
STARTS_KEPT = 6
WAITS_KEPT = 10_000

CALLS_KEPT = 100
"""Maximum number of calls whose durations are kept."""


class History:
    """Reads and writes the history; all methods raise RedisError when Redis cannot be asked."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def start(self, command: str, now_ms: int) -> Started:
        """Record a start; return what the command has to know of earlier starts and calls."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hmget(self._keys.job(command), "starts", "last_started", "last_finished")
            pipeline.sort(self._keys.call_ms, start=0, num=1, desc=True)
            pipeline.get(self._keys.answered)
            (text, before, ended), slowest, answered = pipeline.execute()
            starts = (*msgspec.json.decode(text or "[]", type=tuple[int, ...]), now_ms)[-STARTS_KEPT:]
            self._client.hset(
                self._keys.job(command),
                mapping={"last_started": now_ms, "starts": msgspec.json.encode(starts).decode()},
            )
        unended_ms = int(before) if before and int(ended or 0) < int(before) else None
        return Started(starts, int(slowest[0]) if slowest else None, int(answered or 0), unended_ms)

    def slowest_call_ms(self) -> int | None:
        """Return how long the slowest of the last calls took; None where nobody knows."""
        with redis_errors():
            slowest = self._client.sort(self._keys.call_ms, start=0, num=1, desc=True)
        return int(slowest[0]) if slowest else None

    def skip(self, command: str) -> None:
        """Record a start that found an earlier one still running."""
        with redis_errors():
            self._client.hincrby(self._keys.job(command), "skipped", 1)

    def finish(
        self, command: str, cycle: CycleRecord, call_ms: Sequence[int] = (), answered_ms: int = 0
    ) -> None:
        """Record the end of a cycle, in one round trip.

        `call_ms` are the durations of its calls; `answered_ms` is when the last of them was answered, 0 for
        none.
        """
        key = self._keys.cycles(command)
        with redis_errors():
            pipeline = self._client.pipeline(transaction=True)
            finished_ms = cycle.started_ms + cycle.duration_ms
            fields: dict[str, int | str] = {
                "last_finished": finished_ms,
                "last_result": cycle.result,
                "last_error": cycle.error or "",
            }
            if cycle.refreshed:
                fields["last_refreshed"] = finished_ms
            pipeline.hset(self._keys.job(command), mapping=fields)
            pipeline.lpush(key, msgspec.json.encode(cycle).decode())
            pipeline.ltrim(key, 0, CYCLES_KEPT - 1)
            if call_ms:
                pipeline.lpush(self._keys.call_ms, *call_ms[-CALLS_KEPT:])
                pipeline.ltrim(self._keys.call_ms, 0, CALLS_KEPT - 1)
            if answered_ms:
                pipeline.set(self._keys.answered, answered_ms)
            pipeline.execute()

    def waited(self, now_ms: int, call_id: str) -> None:
        """Count one call that had to wait for the window."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.zadd(self._keys.waits, {call_id: now_ms})
            pipeline.zremrangebyscore(self._keys.waits, "-inf", now_ms - HOUR_MS)
            pipeline.zremrangebyrank(self._keys.waits, 0, -WAITS_KEPT - 1)
            pipeline.execute()

    def waits_of_last_hour(self, now_ms: int) -> int:
        """Return how many calls had to wait for the window within the last hour."""
        with redis_errors():
            return int(self._client.zcount(self._keys.waits, now_ms - HOUR_MS, "+inf"))

    def wanted_finer(self, symbols: Iterable[str], now_ms: int) -> None:
        """Record that the past of these symbols is wanted once more in smaller bars."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.zadd(self._keys.finer, {f"{now_ms}:{symbol}": now_ms for symbol in symbols})
            pipeline.zremrangebyscore(self._keys.finer, "-inf", now_ms - DAY_MS)
            pipeline.pexpire(self._keys.finer, DAY_MS)
            pipeline.execute()

    def finer_of_last_day(self, now_ms: int) -> Counter[str]:
        """Return how many times that has been so within the last day, by symbol."""
        with redis_errors():
            found = self._client.zrangebyscore(self._keys.finer, now_ms - DAY_MS, "+inf")
        return Counter(member.partition(":")[2] for member in found)

    def job(self, command: str) -> JobState:
        """Return what is known of a command."""
        with redis_errors():
            fields: dict[str, Any] = self._client.hgetall(self._keys.job(command))
        return JobState(
            last_started_ms=_number(fields.get("last_started")),
            last_finished_ms=_number(fields.get("last_finished")),
            last_result=fields.get("last_result"),
            last_error=fields.get("last_error") or None,
            last_refreshed_ms=_number(fields.get("last_refreshed")),
            skipped=int(fields.get("skipped", 0)),
            starts_ms=msgspec.json.decode(fields.get("starts", "[]"), type=tuple[int, ...]),
        )

    def cycles(self, command: str, count: int = CYCLES_KEPT) -> list[CycleRecord]:
        """Return the last cycles, newest first."""
        with redis_errors():
            texts = self._client.lrange(self._keys.cycles(command), 0, count - 1)
        return [msgspec.json.decode(text, type=CycleRecord) for text in texts]


def _number(text: str | None) -> int | None:
    return int(text) if text else None
