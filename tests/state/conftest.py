from __future__ import annotations

from functools import partial
from typing import Protocol

import pytest

from assetbatch.domain.queueing import CallKind, CallLimit, Denied
from assetbatch.state.clock import Clock, server_clock
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.window import Grant, Window, WindowSettings

CALL_SECONDS = 10.0


class FakeClock:
    """A server clock that a test sets; milliseconds."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000_000)


class MakeWindow(Protocol):
    def __call__(self, limit: int = 5, window_ms: int = 60_000) -> Window: ...


def window_of(
    client: RedisClient, keys: Keys, clock: Clock = server_clock, limit: int = 5, window_ms: int = 60_000
) -> Window:
    settings = WindowSettings(keys, "abc", CallLimit(limit, window_ms), CALL_SECONDS)
    return Window(client, settings, clock_ms=clock)


@pytest.fixture
def make_window(redis_client: RedisClient, keys: Keys, clock: FakeClock) -> MakeWindow:
    return partial(window_of, redis_client, keys, clock)


@pytest.fixture
def window(make_window: MakeWindow) -> Window:
    return make_window()


def granted(answer: Grant | Denied) -> Grant:
    assert isinstance(answer, Grant)
    return answer


def use(window: Window, kind: CallKind = CallKind.PRIORITY, times: int = 1) -> None:
    for _ in range(times):
        window.complete(granted(window.ask(kind)))


def process_of(an_id: str) -> str:
    """The part of an id that names the process which made it."""
    return an_id.rsplit(".", 2)[0]
