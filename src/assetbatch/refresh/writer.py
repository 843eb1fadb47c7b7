"""Store what a batch has brought, then publish it; now, or in the background while calls are in flight.

A background thread only stores and publishes. All decisions stay in the caller's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from assetbatch.deadline import Deadline, monotonic
from assetbatch.domain.models import Changes, Saved
from assetbatch.domain.status import Status
from assetbatch.errors import DatabaseError, RedisError
from assetbatch.refresh.batch import Batch, WorkOwner, symbols_held
from assetbatch.refresh.interpretation import Result
from assetbatch.state.events import Events

if TYPE_CHECKING:  # an idle start does not load psycopg
    from assetbatch.database import Store

K = TypeVar("K")

MAX_WAIT_SECONDS = 3600.0
"""Maximum wait for a background task; the deadline of the command ends each wait before."""

MAX_WRITES = 2
"""Maximum number of writes beside the calls, each on a connection of its own: the server copies the rows of a
connection on one core."""

LEFT_BEHIND_SECONDS = 1.0
"""Maximum time after the deadline of a command for which the writer waits for a store that hangs."""


class Background(Generic[K]):
    """Functions that threads run beside the caller: start them, and collect their outcomes later.

    The threads are daemons, so a function that outlives the cycle ends with the process.
    """

    def __init__(self) -> None:
        self._outcomes: SimpleQueue[tuple[K, Any]] = SimpleQueue()
        self.running: list[K] = []
        """The names of the functions that were started and whose outcome is not collected yet."""

    @property
    def is_one_done(self) -> bool:
        """Whether an outcome lies ready."""
        return not self._outcomes.empty()

    def start(self, name: K, function: Callable[[], Any]) -> None:
        """Run `function` in a thread."""

        def run() -> None:
            try:
                self._outcomes.put((name, function()))
            except BaseException as error:  # noqa: BLE001 - raised again where it is collected
                self._outcomes.put((name, error))

        self.running.append(name)
        threading.Thread(target=run, daemon=True).start()

    def collect(self, seconds: float = MAX_WAIT_SECONDS) -> tuple[K, Callable[[], Any]]:
        """Wait for the next function that ends. Return its name, and what returns its value or raises what it
        raised. Raise TimeoutError after `seconds`."""
        try:
            name, outcome = self._outcomes.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        self.running.remove(name)
        return name, partial(_value, outcome)


def _value(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


class _Written(NamedTuple):
    """What was stored, and the error that kept it from being published."""

    saved: Saved
    error: RedisError | None = None


class _Write(NamedTuple):
    """What a thread is writing: the results that it stores, the symbols whose rows it locks, and how many
    bars."""

    results: list[Result]
    symbols: frozenset[str]
    bars: int


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
        self._background: Background[_Write] = Background()

    @property
    def rows(self) -> int:
        """How many bars came and are not stored."""
        return self._batch.unsaved_bars + sum(write.bars for write in self._background.running)

    def flush(self) -> None:
        """Store and publish now what is unsaved, after what is on its way. Raise DatabaseError or
        RedisError."""
        self._collect_all()
        self._flush_rest()

    def _flush_rest(self) -> None:
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
        """Let a thread store and publish if much is unsaved. Wait for the threads before only where memory
        would grow. Raise what those raised."""
        while self._background.running and (self._background.is_one_done or self._must_wait()):
            if not self._collect():
                return
        if not self._batch.should_flush(monotonic()) or not self._may_begin():
            return
        results, changes = self._batch.take_unsaved(monotonic())
        store, now_ms = self._store(), self._learned_ms()
        bars = sum(map(len, changes.bars.values()))
        write = _Write(results, frozenset(changes.symbols) | changes.days.keys(), bars)
        self._background.start(write, lambda: self._write(store, changes, now_ms))

    def _must_wait(self) -> bool:
        return self._batch.has_much_unsaved and not self._may_begin()

    def _may_begin(self) -> bool:
        """Return whether a further write may begin. One of a symbol that is being written would wait for the
        lock of its row, and a long wait for a lock counts as a row that somebody else holds."""
        running = self._background.running
        if not running:
            return True
        unsaved = self._batch.unsaved_symbols
        return len(running) < MAX_WRITES and all(write.symbols.isdisjoint(unsaved) for write in running)

    def close(self) -> None:
        """Wait for the threads, then store and publish the rest. A store that hangs beyond the deadline of
        the command is left behind. Raise DatabaseError or RedisError."""
        try:
            self._collect_all()
        finally:
            if not self._background.running:
                self._flush_rest()

    def _collect_all(self) -> None:
        """Wait for all threads, also where one of them has failed."""
        try:
            while self._background.running and self._collect():
                pass
        except (DatabaseError, RedisError):
            self._collect_all()
            raise

    def _collect(self) -> bool:
        """Take over what the next thread has stored; return False where none ends in time."""
        seconds = max(0.0, self._deadline.remaining()) + LEFT_BEHIND_SECONDS
        try:
            write, outcome = self._background.collect(seconds)
        except TimeoutError:
            return False
        self._owner.on_stored(self._account(write.results, outcome))
        return True

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
