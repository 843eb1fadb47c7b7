"""Store what a batch has brought, then publish it; now, or in the background while calls are in flight.

A background thread only stores and publishes. All decisions stay in the caller's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.models import Changes, Saved
from assetbatch.domain.status import Status
from assetbatch.errors import DatabaseError, RedisError
from assetbatch.refresh.batch import BACKPRESSURE_FACTOR, Batch, WorkOwner, symbols_held
from assetbatch.refresh.interpretation import Result
from assetbatch.state.events import Events

if TYPE_CHECKING:  # an idle start does not load psycopg
    from assetbatch.database import Store

MAX_WAIT_SECONDS = 3600.0
"""Maximum wait for a background task; the deadline of the command ends each wait before."""

LEFT_BEHIND_SECONDS = 1.0
"""Maximum time after the deadline of a command for which the writer waits for a store that hangs."""


class BackgroundTask:
    """One function at a time that a thread runs beside the caller: start it, and collect its outcome later.

    The thread is a daemon, so a function that outlives the cycle ends with the process.
    """

    def __init__(self) -> None:
        self._outcome: SimpleQueue[Any] = SimpleQueue()
        self.is_busy = False
        """Whether a function was started whose outcome is not collected yet."""

    @property
    def is_done(self) -> bool:
        """Whether an outcome lies ready."""
        return not self._outcome.empty()

    def start(self, function: Callable[[], Any]) -> None:
        """Run `function` in a thread; the outcome of the one before must have been collected."""
        assert not self.is_busy, "one function at a time"

        def run() -> None:
            try:
                self._outcome.put(function())
            except BaseException as error:  # noqa: BLE001 - raised again where it is collected
                self._outcome.put(error)

        self.is_busy = True
        threading.Thread(target=run, daemon=True).start()

    def collect(self, seconds: float = MAX_WAIT_SECONDS) -> Any:
        """Wait for the function and return its value. Raise what it raised, or TimeoutError after
        `seconds`."""
        try:
            outcome = self._outcome.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        self.is_busy = False
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class _Written(NamedTuple):
    """What was stored, and the error that kept it from being published."""

    saved: Saved
    error: RedisError | None = None


class Writer:
    """Writes what one batch brings, and tells the owner of its work."""

    def __init__(
        self,
        batch: Batch,
        owner: WorkOwner,
        held_symbols: set[str],
        *,
        store: Callable[[], Store],
        events: Events,
        now_ms: Callable[[], int],
        deadline: Deadline,
    ) -> None:
        """Prepare; `held_symbols` receives the symbols of which another transaction holds a row."""
        self._batch = batch
        self._owner = owner
        self._held_symbols = held_symbols
        self._store = store
        self._events = events
        self._now_ms = now_ms
        self._deadline = deadline
        self._task = BackgroundTask()
        self._results_in_task: list[Result] = []

    def flush(self) -> None:
        """Store and publish now what is unsaved. Raise DatabaseError or RedisError."""
        results, changes = self._batch.take_unsaved(monotonic())
        if not changes.is_empty:
            store, now_ms = self._store(), self._learned_ms()
            results = self._account(results, lambda: self._write(store, changes, now_ms))
        if results:
            self._owner.on_stored(results)

    def flush_if_much(self) -> None:
        """Store and publish now if much is unsaved. Raise DatabaseError or RedisError."""
        if self._batch.should_flush(monotonic()):
            self.flush()

    def flush_in_background(self) -> None:
        """Let a thread store and publish if much is unsaved. Wait for the task before only if so much more
        has come meanwhile that memory would grow. Raise what that task raised."""
        is_too_much = self._batch.should_flush(monotonic(), BACKPRESSURE_FACTOR)
        if self._task.is_busy and (self._task.is_done or is_too_much):
            self._collect()
        if self._task.is_busy or not self._batch.should_flush(monotonic()):
            return
        self._results_in_task, changes = self._batch.take_unsaved(monotonic())
        store, now_ms = self._store(), self._learned_ms()
        self._task.start(lambda: self._write(store, changes, now_ms))

    def close(self) -> None:
        """Wait for the background task, then store and publish the rest. A store that hangs beyond the
        deadline of the command is left behind. Raise DatabaseError or RedisError."""
        try:
            self._collect()
        finally:
            if not self._task.is_busy:
                self.flush()

    def _collect(self) -> None:
        if not self._task.is_busy:
            return
        results, seconds = self._results_in_task, max(0.0, self._deadline.remaining()) + LEFT_BEHIND_SECONDS
        try:
            results = self._account(results, lambda: self._task.collect(seconds))
        except TimeoutError:
            return
        self._owner.on_stored(results)

    def _learned_ms(self) -> int:
        """Return when the changes were learned: the evidence of a call where the log of calls is lost."""
        return self._batch.completed_ms or self._now_ms()

    def _write(self, store: Store, changes: Changes, now_ms: int) -> _Written:
        """Store, then publish; in any thread. Raise DatabaseError. Return a RedisError, since the rows are
        stored by then."""
        saved = store.save(changes, now_ms)
        try:
            self._events.publish(saved.updated)
        except RedisError as error:
            return _Written(saved, error)
        return _Written(saved)

    def _account(self, results: Sequence[Result], write: Callable[[], _Written]) -> list[Result]:
        """Return the results after the write: what the database refused has failed."""
        try:
            written = write()
        except DatabaseError as error:
            fresh = [result for result in results if result.status is Status.FRESH]
            self._owner.on_stored(fresh)  # nothing of them was to be written
            self._owner.on_store_failed([result for result in results if result not in fresh], error.message)
            raise
        self._held_symbols |= symbols_held(written.saved)
        after = self._batch.saved(results, written.saved)
        if written.error:
            raise written.error
        return after
