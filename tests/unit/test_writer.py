"""What is stored and published, now and in the background, and what the owner of the work hears."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from assetbatch.deadline import Deadline
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import SnapshotCall
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.models import Changes, Price, Rejection, RejectionCause, Saved, StoredAsset
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work
from assetbatch.errors import DatabaseError, RedisError
from assetbatch.refresh import writer
from assetbatch.refresh.batch import Batch, WorkChunk, WorkOwner
from assetbatch.refresh.interpretation import Findings, Result
from assetbatch.refresh.policy import QUEUE
from assetbatch.refresh.writer import BackgroundTask, Writer

BTC = Work(Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO))
ETH = Work(Asset(symbol="ETHUSD", polygon_ticker="X:ETHUSD", asset_type=AssetType.CRYPTO))
BOTH = SnapshotCall((BTC, ETH))


def _price(item: Work) -> Price:
    return Price(symbol=item.asset.symbol, last_price=1.0, as_of_ms=5)


class Others(WorkOwner):
    """The store, the events, the deadline and the owner of the work in one: keeps what it hears."""

    def __init__(self) -> None:
        self.saved: list[Changes] = []
        self.published: list[str] = []
        self.done: list[tuple[str, Status]] = []
        self.failed: list[str] = []
        self.rejected: dict[str, Rejection] = {}
        self.error: DatabaseError | None = None
        self.redis_error: RedisError | None = None
        self.go = threading.Event()
        self.go.set()
        self.threads: list[threading.Thread] = []
        self.stored = threading.Semaphore(0)

    def save(self, changes: Changes, _now_ms: int) -> Saved:
        assert self.go.wait(10)
        self.threads.append(threading.current_thread())
        if self.error:
            raise self.error
        self.saved.append(changes)
        return Saved(updated=list(changes.prices), unknown=[], rejected=self.rejected)

    def publish(self, prices: Sequence[Price]) -> None:
        if self.redis_error:
            raise self.redis_error
        self.published += [price.symbol for price in prices]

    def remaining(self) -> float:
        return 0.0

    def on_stored(self, results: Sequence[Result]) -> None:
        self.done += [(result.work.id, result.status) for result in results]

    def on_store_failed(self, results: Sequence[Result], error: str) -> None:
        self.failed += [f"{result.work.id}: {error}" for result in results]


class Written:
    """A batch of two prices with its writer."""

    def __init__(self) -> None:
        self.others = Others()
        self.held: set[str] = set()
        self.batch = Batch(QUEUE, Entitlements(end_of_day=False), 0.0)
        stored = {item.asset.symbol: StoredAsset(symbol=item.asset.symbol) for item in (BTC, ETH)}
        self.batch.add(WorkChunk([BTC, ETH], stored))
        others: Any = self.others
        self.writer = Writer(
            self.batch,
            self.others,
            self.held,
            store=lambda: others,
            events=others,
            now_ms=lambda: 5,
            deadline=cast("Deadline", others),
            on_done=self.others.stored.release,
        )

    def bring(self, *work: Work) -> None:
        """The price of this work comes."""
        results = [Result(work=item, status=Status.SUCCESS, price=_price(item)) for item in work]
        self.batch.apply(BOTH, Findings(results=results))


@pytest.fixture
def written() -> Written:
    return Written()


class TestFlushing:
    def test_stores_then_publishes_then_tells_the_owner(self, written: Written) -> None:
        written.bring(BTC)
        written.writer.flush()
        assert [price.symbol for price in written.others.saved[0].prices] == ["BTCUSD"]
        assert written.others.published == ["BTCUSD"]
        assert written.others.done == [("BTCUSD", Status.SUCCESS)]

    def test_of_nothing_asks_nobody(self, written: Written) -> None:
        written.writer.flush()
        assert (written.others.saved, written.others.done) == ([], [])

    def test_tells_the_owner_what_the_database_could_not_store(self, written: Written) -> None:
        written.others.error = DatabaseError("the disk is full")
        written.bring(BTC)
        with pytest.raises(DatabaseError):
            written.writer.flush()
        assert (written.others.failed, written.others.done) == (["BTCUSD: the disk is full"], [])

    def test_finishes_what_was_fresh_also_where_the_database_fails(self, written: Written) -> None:
        written.others.error = DatabaseError("the disk is full")
        written.bring(BTC)
        written.batch.apply(BOTH, Findings(results=[Result(work=ETH, status=Status.FRESH)]))
        with pytest.raises(DatabaseError):
            written.writer.flush()
        assert written.others.failed == ["BTCUSD: the disk is full"]
        assert written.others.done == [("ETHUSD", Status.FRESH)]

    def test_stores_what_cannot_be_published(self, written: Written) -> None:
        written.others.redis_error = RedisError("gone")
        written.bring(BTC)
        with pytest.raises(RedisError, match="gone"):
            written.writer.flush()
        assert len(written.others.saved) == 1
        assert written.others.done == []

    def test_remembers_the_symbols_whose_row_is_held(self, written: Written) -> None:
        written.others.rejected = {"BTCUSD": Rejection(error="held", price=True, cause=RejectionCause.LOCKED)}
        written.bring(BTC)
        written.writer.flush()
        assert (written.held, written.others.done) == ({"BTCUSD"}, [("BTCUSD", Status.FAILED)])


class TestFlushingInTheBackground:
    @pytest.fixture(autouse=True)
    def each_result_is_much(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("assetbatch.refresh.batch.MAX_UNSAVED_RESULTS", 1)

    def test_leaves_the_caller_free(self, written: Written) -> None:
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        assert written.others.done == []
        written.others.go.set()
        written.writer.flush()
        assert written.others.done == [("BTCUSD", Status.SUCCESS)]
        assert written.others.threads != [threading.current_thread()]

    def test_stores_the_rest_at_the_end(self, written: Written) -> None:
        written.bring(BTC)
        written.writer.flush_in_background()
        written.bring(ETH)
        written.writer.flush()
        assert written.others.done == [("BTCUSD", Status.SUCCESS), ("ETHUSD", Status.SUCCESS)]
        assert written.others.published == ["BTCUSD", "ETHUSD"]

    def test_publishes_what_is_stored_while_the_next_is_being_stored(self, written: Written) -> None:
        written.bring(BTC)
        written.writer.flush_in_background()
        assert written.others.stored.acquire(timeout=10)
        written.others.go.clear()
        written.bring(ETH)
        written.writer.flush_in_background()
        assert written.others.published == ["BTCUSD"]
        assert written.others.done == [("BTCUSD", Status.SUCCESS)]
        written.others.go.set()
        written.writer.flush()
        assert written.others.published == ["BTCUSD", "ETHUSD"]

    def test_publishes_nothing_that_is_not_stored_yet(self, written: Written) -> None:
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        written.writer.flush_in_background()
        assert written.others.published == []
        written.others.go.set()
        written.writer.flush()
        assert written.others.published == ["BTCUSD"]

    def test_publishes_what_is_stored_though_no_thread_begins_for_the_next(
        self, written: Written, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written.bring(BTC)
        written.writer.flush_in_background()
        assert written.others.stored.acquire(timeout=10)

        def fail(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        written.bring(ETH)
        with pytest.raises(RuntimeError):
            written.writer.flush_in_background()
        assert written.others.published == ["BTCUSD"]

    def test_stores_the_rest_where_what_is_stored_cannot_be_published(self, written: Written) -> None:
        written.bring(BTC)
        written.writer.flush_in_background()
        written.bring(ETH)
        written.others.redis_error = RedisError("gone")
        with pytest.raises(RedisError, match="gone"):
            written.writer.flush()
        assert [[price.symbol for price in one.prices] for one in written.others.saved] == [
            ["BTCUSD"],
            ["ETHUSD"],
        ]
        assert written.others.done == [], "their leases run out, and the next start publishes them"

    def test_raises_at_the_end_what_the_thread_met(self, written: Written) -> None:
        written.others.error = DatabaseError("the disk is full")
        written.bring(BTC)
        written.writer.flush_in_background()
        with pytest.raises(DatabaseError):
            written.writer.flush()
        assert written.others.failed == ["BTCUSD: the disk is full"]

    def test_leaves_a_store_behind_that_hangs(
        self, written: Written, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "LEFT_BEHIND_SECONDS", 0.01)
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        written.bring(ETH)
        written.writer.flush()
        assert written.others.done == []
        written.others.go.set()


class TestBackgroundTask:
    """What a thread does beside the caller."""

    def test_brings_what_the_work_returned(self) -> None:
        task = BackgroundTask()
        task.start(lambda: threading.current_thread() is threading.main_thread())
        assert task.is_busy
        assert task.collect() is False
        assert not task.is_busy

    def test_raises_what_the_work_raised(self) -> None:
        def fail() -> None:
            raise DatabaseError("no", hint="none")

        task = BackgroundTask()
        task.start(fail)
        with pytest.raises(DatabaseError, match="no"):
            task.collect()
        assert not task.is_busy

    def test_says_when_its_outcome_lies_ready(self) -> None:
        done = threading.Event()
        task = BackgroundTask(done.set)
        task.start(lambda: 1)
        assert done.wait(10)
        assert task.is_done

    def test_is_done_when_the_outcome_is_there_and_not_waited_for_any_longer_than_asked(self) -> None:
        task, go = BackgroundTask(), threading.Event()
        task.start(go.wait)
        assert not task.is_done
        with pytest.raises(TimeoutError):
            task.collect(0.01)
        assert task.is_busy
        go.set()
        assert task.collect() is True
