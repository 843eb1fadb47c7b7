"""What is decided about calls and slots without asking Redis."""

from __future__ import annotations

import pytest

from assetbatch.domain.endings import ending_in_words, wait_in_words
from assetbatch.domain.queueing import CallLimit, DenialReason, Denied
from assetbatch.domain.records import EndReason
from assetbatch.state.window import Grant, WindowState, spacing_ms


def test_a_grant_may_be_used_for_two_seconds() -> None:
    grant = Grant("id", taken_at=100.0)
    assert not grant.too_old(102.0)
    assert grant.too_old(102.001)


def test_who_is_refused_waits_from_the_servers_now_and_never_a_negative_time() -> None:
    assert Denied.from_reply("1500", "window", "1000") == Denied(1500, DenialReason.WINDOW, 500)
    assert Denied.from_reply("1500", "window", "1700") == Denied(1500, DenialReason.WINDOW, 0)


@pytest.mark.parametrize(("used", "remaining"), [(0, 5), (4, 1), (5, 0), (9, 0)])
def test_what_remains_is_never_less_than_nothing(used: int, remaining: int) -> None:
    state = WindowState(
        now_ms=1, limit=5, window_ms=60_000, used=used, next_slot_ms=1, reserved=0, reserved_from_ms=0
    )
    assert state.remaining == remaining


@pytest.mark.parametrize(
    ("limit", "window_ms", "queue_runs", "apart_ms"),
    [(5, 60_000, 2, 9_000), (60, 60_000, 4, 750), (61, 60_000, 4, 0), (5, 60_000, 1, 0)],
)
def test_calls_of_several_queue_runs_are_kept_apart_where_they_are_few(
    limit: int, window_ms: int, queue_runs: int, apart_ms: int
) -> None:
    assert spacing_ms(CallLimit(limit, window_ms), queue_runs) == apart_ms


def test_a_wait_is_never_told_as_none() -> None:
    denied = Denied(1000, DenialReason.WINDOW, 120)
    assert wait_in_words(denied) == "1 s"
    assert ending_in_words(EndReason.OUT_OF_CALLS, denied).startswith("out of calls for 1 s: ")
