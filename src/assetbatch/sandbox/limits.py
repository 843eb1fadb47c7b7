"""The provider's rate limit: a rolling log of calls per key, and the judge of a log of arrivals."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it reached the server, also a refused one.

    `at` is `time.monotonic()` when the request line was in. `key` is the fingerprint of the API key (None
    without a key). `query` is without the key. `status` is 0 while the response is not out, and for a
    connection that was dropped without one. `fault` is the name of the fault that it met.
    """

    at: float
    path: str
    query: Mapping[str, str]
    key: str | None
    status: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Overrun:
    """More arrivals of a key than allowed. The `first` and the `last` are less than a window apart."""

    key: str | None
    first: float
    last: float
    count: int


def fingerprint(key: str) -> str:
    """Return what stands for a key in logs and files: 12 hexadecimal digits of its SHA-256."""
    return sha256(key.encode()).hexdigest()[:12]


def windows_over_limit(arrivals: Iterable[Arrival], limit: int, window_seconds: float) -> list[Overrun]:
    """Return every rolling window with more than `limit` arrivals of a key, one for each call too many.

    All arrivals count, whatever the response was. A window is half open: a call exactly `window_seconds`
    after another one is not in the same window. An empty list is the promise kept.
    """
    by_key: dict[str | None, list[float]] = defaultdict(list)
    for arrival in arrivals:
        by_key[arrival.key].append(arrival.at)
    overruns = []
    for key, times in by_key.items():
        times.sort()
        first = 0
        for last, at in enumerate(times):
            while at - times[first] >= window_seconds:
                first += 1
            if last - first >= limit:
                overruns.append(Overrun(key, times[first], at, last - first + 1))
    return overruns


class CallLog:
    """Allows at most `limit` calls of a key in any `window_seconds`. Refused calls are not counted.

    With `state_file` the log is kept in that file, under a lock and in wall-clock time, so that servers of
    successive processes share one limit. A file that cannot be read counts as empty.
    """

    def __init__(
        self,
        limit: int | None,
        window_seconds: float,
        state_file: Path | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._state_file = state_file
        self._monotonic = monotonic
        self._wall = wall
        self._lock = Lock()
        self._calls: dict[str, deque[float]] = defaultdict(deque)

    def admit(self, key: str) -> float | None:
        """Count a call of the key with this fingerprint. If it is too many, return the seconds to wait."""
        if self._limit is None:
            return None
        with self._lock:
            if self._state_file is None:
                return self._decide(self._calls[key], self._monotonic())
            return self._admit_in_file(self._state_file, key)

    def _decide(self, calls: deque[float], now: float) -> float | None:
        assert self._limit is not None
        while calls and now - calls[0] >= self._window_seconds:
            calls.popleft()
        if len(calls) < self._limit:
            calls.append(now)
            return None
        return calls[len(calls) - self._limit] + self._window_seconds - now

    def _admit_in_file(self, path: Path, key: str) -> float | None:
        import fcntl  # POSIX only, and needed only here

        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            raw = file.read()
            now = self._wall()
            log = _parse_log(raw, now - self._window_seconds, now)
            calls = deque(log.get(key, ()))
            wait = self._decide(calls, now)
            log[key] = list(calls)
            file.seek(0)
            file.write(json.dumps(log).encode())
            file.truncate()
        return wait


def _parse_log(raw: bytes, since: float, now: float) -> dict[str, list[float]]:
    """Return the calls by key within `(since, now]`. What is not a log is left out."""
    try:
        log = json.loads(raw)
        return {key: sorted(float(at) for at in calls if since < at <= now) for key, calls in log.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
