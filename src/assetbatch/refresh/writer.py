"""Store what a batch has brought, then publish it; now, or in the background while calls are in flight.

A background thread only stores. The caller's thread publishes what is stored, while that thread stores what
came next. All decisions stay in the caller's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.models import Saved
from assetbatch.domain.status import Status
from assetbatch.errors import DatabaseError
from assetbatch.refresh.batch import Batch, WorkOwner, symbols_held
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

    def __init__(self, on_done: Callable[[], None] = lambda: None) -> None:
        """Prepare; the thread calls `on_done` once an outcome lies ready."""
        self._outcome: SimpleQueue[Any] = SimpleQueue()
        self._on_done = on_done
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
            self._on_done()

        threading.Thread(target=run, daemon=True).start()
        self.is_busy = True

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
    """What was stored of these results; None if nothing of them was to be stored."""

    results: Sequence[Result]
    saved: Saved | None


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
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; `held_symbols` receives the symbols of which another transaction holds a row. A thread
        calls `on_done` once it has stored: `flush_in_background` then publishes that."""
        self._batch = batch
        self._owner = owner
        self._held_symbols = held_symbols
        self._store = store
        self._events = events
        self._now_ms = now_ms
        self._deadline = deadline
        self._task = BackgroundTask(on_done)
        self._results_in_task: list[Result] = []

    def flush(self) -> None:
        """Store and publish what is unsaved, after what the background task has stored. A store that hangs
        beyond the deadline of the command is left behind. Raise DatabaseError or RedisError."""
        try:
            self._tell(self._collect())
        finally:
            if not self._task.is_busy:
                self._save_here()

    def flush_if_much(self) -> None:
        """Store and publish now if much is unsaved. Raise DatabaseError or RedisError."""
        if self._batch.should_flush(monotonic()):
            self.flush()

    def flush_in_background(self) -> None:
        """Let a thread store what is unsaved if that is much, and publish meanwhile what it has stored
        before. Wait for it only if so much has come that memory would grow. Raise what it raised, or
        RedisError."""
        written = self._collect() if self._task.is_done or self._batch.must_flush(monotonic()) else None
        try:
            if not self._task.is_busy and self._batch.should_flush(monotonic()):
                store, now_ms = self._store(), self._learned_ms()
                self._results_in_task, changes = self._batch.take_unsaved(monotonic())
                self._task.start(lambda: store.save(changes, now_ms))
        finally:
            self._tell(written)

    def _save_here(self) -> None:
        results, changes = self._batch.take_unsaved(monotonic())
        saved = None
        if not changes.is_empty:
            store, now_ms = self._store(), self._learned_ms()
            saved = self._saved(results, lambda: store.save(changes, now_ms))
        self._tell(_Written(results, saved))

    def _collect(self) -> _Written | None:
        """Wait for the background task; return None if there is none, or if it hangs."""
        if not self._task.is_busy:
            return None
        results, seconds = self._results_in_task, max(0.0, self._deadline.remaining()) + LEFT_BEHIND_SECONDS
        try:
            return _Written(results, self._saved(results, lambda: self._task.collect(seconds)))
        except TimeoutError:
            return None

    def _learned_ms(self) -> int:
        """Return when the changes were learned: the evidence of a call where the log of calls is lost."""
        return self._batch.completed_ms or self._now_ms()

    def _saved(self, results: Sequence[Result], save: Callable[[], Saved]) -> Saved:
        """Return what was stored. Tell the owner of results that the database could not store."""
        try:
            return save()
        except DatabaseError as error:
            fresh = [result for result in results if result.status is Status.FRESH]
            self._owner.on_stored(fresh)  # nothing of them was to be written
            self._owner.on_store_failed([result for result in results if result not in fresh], error.message)
            raise

    def _tell(self, written: _Written | None) -> None:
        """Publish what is stored, then tell the owner of its work: what the database refused has failed.
        Raise RedisError."""
        results, saved = written or ((), None)
        if saved:
            self._held_symbols |= symbols_held(saved)
            results = self._batch.saved(results, saved)
            self._events.publish(saved.updated)
        if results:
            self._owner.on_stored(results)
