from __future__ import annotations

import pytest


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


def process_of(an_id: str) -> str:
    """The part of an id that names the process which made it."""
    return an_id.rsplit(".", 2)[0]
