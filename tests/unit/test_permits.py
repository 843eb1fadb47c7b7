"""Slots: asked for, waited for, used, given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.queueing import CallKind, CallLimit, Denied
from assetbatch.errors import RedisError
from assetbatch.refresh.call_time import CallTime
from assetbatch.refresh.permits import NoPermit, Permits
from assetbatch.refresh.reporter import Reporter
from assetbatch.state.window import GRANT_AGE_SECONDS, Grant, Window

LIMIT = CallLimit(5, 60_000)
SOON = Denied(retry_at_ms=0, reason="window", wait_ms=1)
LATER = Denied(retry_at_ms=0, reason="window", wait_ms=600_000)


class Recorder:
    """The window, the reporter and the deadline in one: answers as told, and keeps what it hears."""

    seconds = 60.0
    stopped = False

    def __init__(self, *answers: Denied | RedisError | None) -> None:
        self.answers = list(answers)
        self.tickets: list[str] = []
        self.cancelled: list[str] = []
        self.completed: list[str] = []
        self.abandoned: list[str] = []
        self.waits: list[bool] = []
        self.left = 60.0

    def ask(self, _kind: CallKind, ticket: str) -> Grant | Denied:
        self.tickets.append(ticket)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, RedisError):
            raise answer
        return answer or Grant(ticket, monotonic())

    def cancel(self, grant: Grant) -> None:
        self.cancelled.append(grant.call_id)

    def complete(self, grant: Grant) -> None:
        self.completed.append(grant.call_id)

    def abandon_wait(self, ticket: str) -> None:
        self.abandoned.append(ticket)

    def call_ends_at(self, grant: Grant) -> float:
        return grant.taken_at + 30

    def waiting(self, _denied: Denied, *, first: bool) -> None:
        self.waits.append(first)

    def remaining(self) -> float:
        return self.left

    def wait(self, _seconds: float) -> None:
        """Nothing: no test waits."""


def permits(
    others: Recorder, grant: Grant | None = None, before_wait: Callable[[], None] = lambda: None
) -> Permits:
    return Permits(
        cast("Window", others),
        CallKind.QUEUE,
        CallTime(cast("Deadline", others), LIMIT, 1.0),
        cast("Reporter", others),
        before_wait=before_wait,
        grant=grant,
    )


def young(call_id: str = "given") -> Grant:
    return Grant(call_id, monotonic())


def old(call_id: str = "given") -> Grant:
    return Grant(call_id, monotonic() - GRANT_AGE_SECONDS - 1)


class TestAcquiring:
    def test_uses_the_slot_that_is_held(self) -> None:
        others = Recorder()
        held = permits(others, young())
        assert held.acquire(may_wait=True) is None
        grant, ends_at = held.use()
        assert (grant.call_id, ends_at) == ("given", grant.taken_at + 30)
        assert (others.tickets, others.cancelled) == ([], [])

    def test_gives_a_slot_back_that_is_too_old_and_asks_for_another(self) -> None:
        others = Recorder()
        held = permits(others, old())
        assert not held.is_usable
        assert held.acquire(may_wait=True) is None
        assert held.is_usable
        assert (others.cancelled, len(others.tickets)) == (["given"], 1)

    def test_waits_with_one_ticket_and_counts_the_wait_once(self) -> None:
        others, flushed = Recorder(SOON, SOON), []
        assert permits(others, before_wait=lambda: flushed.append(True)).acquire(may_wait=True) is None
        assert len(set(others.tickets)) == 1
        assert (len(others.tickets), others.waits, len(flushed)) == (3, [True, False], 2)
        assert others.abandoned == []

    def test_waits_for_nothing_while_calls_are_in_flight(self) -> None:
        others = Recorder(SOON)
        assert permits(others).acquire(may_wait=False) == NoPermit(
            "all calls of this window are used", SOON.pause_seconds
        )
        assert (others.waits, others.abandoned) == ([], others.tickets)

    def test_does_not_wait_beyond_the_end_of_the_cycle(self) -> None:
        others = Recorder(LATER)
        missing = permits(others).acquire(may_wait=True)
        assert missing is not None
        assert missing.pause_seconds is None
        assert missing.reason.endswith("the next call is free in 10 min, after this cycle's end")
        assert (others.waits, others.abandoned) == ([], others.tickets)

    @pytest.mark.parametrize(
        ("stopped", "reason"),
        [(True, "stopped before its call"), (False, "no time left for its call")],
    )
    def test_ends_with_the_time_and_gives_the_slot_back(self, stopped: bool, reason: str) -> None:
        others = Recorder()
        others.left, others.stopped = 1.0, stopped
        assert permits(others, young()).acquire(may_wait=True) == NoPermit(reason)
        assert (others.cancelled, others.tickets) == (["given"], [])


class TestClosing:
    def test_gives_back_what_no_call_has_used_and_that_once(self) -> None:
        others = Recorder()
        held = permits(others, young())
        held.close()
        held.close()
        assert others.cancelled == ["given"]

    def test_leaves_a_slot_to_its_call(self) -> None:
        others = Recorder()
        held = permits(others, young())
        held.use()
        held.close()
        assert others.cancelled == []

    def test_abandons_a_wait_that_an_error_has_ended(self) -> None:
        def fail() -> None:
            raise ValueError

        others = Recorder(SOON)
        held = permits(others, before_wait=fail)
        with pytest.raises(ValueError):
            held.acquire(may_wait=True)
        held.close()
        assert others.abandoned == others.tickets

    def test_asks_no_server_again_that_has_just_failed(self) -> None:
        others = Recorder(SOON, RedisError("gone"))
        held = permits(others)
        with pytest.raises(RedisError):
            held.acquire(may_wait=True)
        held.close()
        assert (others.cancelled, others.abandoned) == ([], [])


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_slot_is_free_again_only_if_no_request_was_sent(was_sent: bool) -> None:
    others: Any = Recorder()
    permits(others).complete(young("a"), was_sent=was_sent)
    assert (others.completed, others.cancelled) == ((["a"], []) if was_sent else ([], ["a"]))
