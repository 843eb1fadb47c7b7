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
from assetbatch.domain.models import (
    BAR_MS,
    Changes,
    CoveredInterval,
    IntervalState,
    Price,
    Rejection,
    RejectionCause,
    Saved,
    StoredAsset,
)
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work
from assetbatch.errors import DatabaseError, RedisError
from assetbatch.refresh import writer
from assetbatch.refresh.batch import Batch, WorkChunk, WorkOwner
from assetbatch.refresh.interpretation import Findings, Result
from assetbatch.refresh.policy import QUEUE
from assetbatch.refresh.writer import Background, Writer

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
        self.inside = self.most_at_once = 0

    def save(self, changes: Changes, _now_ms: int) -> Saved:
        self.inside += 1
        self.most_at_once = max(self.most_at_once, self.inside)
        assert self.go.wait(10)
        self.inside -= 1
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
        written.writer.close()
        assert written.others.done == [("BTCUSD", Status.SUCCESS)]
        assert written.others.threads != [threading.current_thread()]

    def test_stores_the_rest_at_the_end(self, written: Written) -> None:
        written.bring(BTC)
        written.writer.flush_in_background()
        written.bring(ETH)
        written.writer.close()
        assert written.others.done == [("BTCUSD", Status.SUCCESS), ("ETHUSD", Status.SUCCESS)]
        assert written.others.published == ["BTCUSD", "ETHUSD"]

    def test_raises_at_the_end_what_the_thread_met(self, written: Written) -> None:
        written.others.error = DatabaseError("the disk is full")
        written.bring(BTC)
        written.writer.flush_in_background()
        with pytest.raises(DatabaseError):
            written.writer.close()
        assert written.others.failed == ["BTCUSD: the disk is full"]

    def test_leaves_a_store_behind_that_hangs(
        self, written: Written, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "LEFT_BEHIND_SECONDS", 0.01)
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        written.bring(ETH)
        written.writer.close()
        assert written.others.done == []
        written.others.go.set()

    def test_stores_two_batches_beside_each_other(self, written: Written) -> None:
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        written.bring(ETH)
        written.writer.flush_in_background()
        assert written.batch.unsaved_symbols == set()
        written.others.go.set()
        written.writer.close()
        assert sorted(written.others.done) == [("BTCUSD", Status.SUCCESS), ("ETHUSD", Status.SUCCESS)]
        assert written.others.most_at_once == 2

    def test_stores_a_symbol_once_it_is_no_longer_being_written(self, written: Written) -> None:
        """It would wait for the lock of its own row, and be refused as one that somebody else holds."""
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        more = CoveredInterval(0, BAR_MS, IntervalState.ASKED, 5)
        written.batch.apply(BOTH, Findings(coverage={"BTCUSD": [more]}))
        written.bring(ETH)
        threading.Timer(0.05, written.others.go.set).start()
        written.writer.flush_in_background()
        written.writer.close()
        assert [list(changes.coverage) for changes in written.others.saved] == [[], ["BTCUSD"]]
        assert written.others.most_at_once == 1

    def test_takes_over_what_one_thread_has_stored_where_another_has_failed(self, written: Written) -> None:
        written.others.go.clear()
        written.bring(BTC)
        written.writer.flush_in_background()
        written.others.go.set()
        while not written.others.saved:
            threading.Event().wait(0.01)
        written.others.error = DatabaseError("the disk is full")
        written.bring(ETH)
        with pytest.raises(DatabaseError):
            written.writer.close()
        assert written.others.done == [("BTCUSD", Status.SUCCESS)]
        assert written.others.failed == ["ETHUSD: the disk is full"]


class TestBackground:
    """What threads do beside the caller."""

    def test_brings_what_each_function_returned_with_its_name(self) -> None:
        background: Background[str] = Background()
        background.start("one", lambda: threading.current_thread() is threading.main_thread())
        assert background.running == ["one"]
        name, outcome = background.collect()
        assert (name, outcome(), background.running) == ("one", False, [])

    def test_raises_what_a_function_raised_where_its_outcome_is_asked_for(self) -> None:
        def fail() -> None:
            raise DatabaseError("no", hint="none")

        background: Background[str] = Background()
        background.start("one", fail)
        _, outcome = background.collect()
        assert background.running == []
        with pytest.raises(DatabaseError, match="no"):
            outcome()

    def test_brings_first_what_ends_first(self) -> None:
        background, go = Background[str](), threading.Event()
        background.start("slow", go.wait)
        background.start("fast", lambda: 1)
        assert background.collect()[0] == "fast"
        assert background.running == ["slow"]
        go.set()
        assert background.collect()[0] == "slow"

    def test_is_not_waited_for_any_longer_than_asked(self) -> None:
        background, go = Background[str](), threading.Event()
        background.start("one", go.wait)
        assert not background.is_one_done
        with pytest.raises(TimeoutError):
            background.collect(0.01)
        assert background.running == ["one"]
        go.set()
        assert background.collect()[1]() is True
