"""A slot whose call never goes out is given back, whatever happens between its grant and the call."""

from __future__ import annotations

from typing import Any

import pytest

from assetbatch.database import Store
from assetbatch.deadline import Deadline
from assetbatch.errors import DatabaseError
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.queue import Queue
from tests.world import World


class ListenerError(Exception):
    """What a listener raises."""


class Listener(Progress):
    """Raises when it hears that a call goes out."""

    def say(self, text: str) -> None:
        raise ListenerError(text)


def used(world: World) -> int:
    """The slots of the window that are held or used."""
    with world.services() as services:
        return services.window.state().used


def run_queue(world: World, progress: Progress | None = None) -> None:
    from assetbatch.commands.run_queue import run_queue as run

    with world.services() as services, Deadline(30) as deadline:
        run(services, deadline, progress or Progress())


def run_priority(world: World, progress: Progress | None = None) -> None:
    from assetbatch.commands.run_priority import run_priority as run

    with world.services() as services, Deadline(30) as deadline:
        run(services, deadline, progress or Progress())


@pytest.mark.parametrize("run", [run_queue, run_priority])
def test_after_an_error_of_a_listener(free: World, run: Any) -> None:
    free.enqueue_secondary()
    with pytest.raises(ListenerError):
        run(free, Listener())
    assert (used(free), free.paths) == (0, [])


@pytest.mark.parametrize("method", ["load", "record_call", "require_writes"])
def test_after_an_error_of_the_database(free: World, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("the server is gone")

    free.enqueue_secondary()
    monkeypatch.setattr(Store, method, fail)
    with pytest.raises(DatabaseError):
        run_queue(free)
    assert (used(free), free.paths) == (0, [])


def test_after_an_error_of_the_owner_of_the_work(free: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ListenerError("the lease")

    free.enqueue_secondary()
    monkeypatch.setattr(Queue, "start", fail)
    with pytest.raises(ListenerError):
        run_queue(free)
    assert (used(free), free.paths) == (0, [])


def test_after_the_client_could_not_be_made(free: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Services) -> None:
        raise ListenerError("no certificates")

    free.enqueue_secondary()
    monkeypatch.setattr(Services, "provider", property(fail))
    with pytest.raises(ListenerError):
        run_queue(free)
    assert (used(free), free.paths) == (0, [])


def test_where_nothing_of_a_lease_is_due(free: World) -> None:
    free.enqueue_secondary()
    assert free.run_queue().calls > 0
    before = used(free)
    with free.services() as services:
        from assetbatch.domain.queueing import Lane

        services.queue.enqueue([("GBPUSD", Lane.MEDIUM)])
    result = free.run_queue()
    assert [asset.status for asset in result.assets] == ["fresh"]
    assert (result.calls, result.queue_size, used(free)) == (0, 0, before)
