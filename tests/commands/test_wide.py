"""A plan without a limit: calls go out side by side, and what they bring is the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from assetbatch.commands import queue_worker
from assetbatch.database import Store
from assetbatch.domain.models import Changes, Saved
from assetbatch.domain.queueing import Lane
from assetbatch.errors import DatabaseError, KeyRefusedError, RedisError, UnreachableError
from assetbatch.provider.client import ProviderClient
from assetbatch.sandbox.universe import instruments
from assetbatch.state.window import Window
from tests.world import World, reserved

from .conftest import MakeWorld

WITH_BARS = 40
SNAPSHOTS = "/v3/snapshot"


def assets(count: int, *, bars: bool) -> list[dict[str, Any]]:
    return [
        {
            "symbol": ticker.replace(":", ""),
            "polygon_ticker": ticker,
            "asset_type": "crypto" if ticker.startswith("X:") else "forex",
            "bars": bars,
        }
        for ticker in list(instruments(2500))[:count]
    ]


@pytest.fixture
def wide(make_world: MakeWorld) -> World:
    """600 prices: three calls."""
    document = {"priority_assets": [], "secondary_assets": assets(600, bars=False)}
    return make_world(plan="starter", limit=None, universe=2500, document=document)


@pytest.fixture
def with_bars(make_world: MakeWorld) -> World:
    """Prices by one call, and then the bars of each."""
    document = {"priority_assets": [], "secondary_assets": assets(WITH_BARS, bars=True)}
    return make_world(plan="starter", limit=None, universe=2500, document=document)


@pytest.fixture
def most_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The largest number of calls that were out together, by path, as the client makes them."""
    lock, out, most = threading.Lock(), [0], [0]
    get = ProviderClient._get

    def counted(*arguments: Any) -> Any:
        with lock:
            out[0] += 1
            most[0] = max(most[0], out[0])
        try:
            threading.Event().wait(0.02)  # what a network takes
            return get(*arguments)
        finally:
            with lock:
                out[0] -= 1

    monkeypatch.setattr(ProviderClient, "_get", counted)
    return most


def test_all_prices_of_several_calls_are_stored_and_told_once(wide: World) -> None:
    wide.enqueue_secondary()
    result = wide.run_queue()
    assert (result.result, result.calls, result.published, len(result.assets)) == ("ok", 3, 600, 600)
    stored = wide.rows("SELECT count(*) FROM trading.symbols WHERE metadata ? 'last_update'")
    assert stored == [(600,)]
    with wide.services() as services:
        state = services.queue.state()
        assert (state.size, state.leased, services.window.state().limit) == (0, 0, 100)


def test_the_first_call_of_a_kind_goes_alone_and_the_others_side_by_side(
    with_bars: World, most_out: list[int]
) -> None:
    with_bars.enqueue_secondary()
    result = with_bars.run_queue(seconds=90)  # as long as a busy machine takes for 390,000 bars
    assert result.calls == 1 + WITH_BARS
    assert 2 <= most_out[0] <= 8
    assert with_bars.rows("SELECT count(DISTINCT symbol_id) FROM market_data.ohlcv_5m") == [(WITH_BARS,)]


def test_a_plan_with_few_calls_has_one_out_at_a_time(make_world: MakeWorld, most_out: list[int]) -> None:
    document = {"priority_assets": [], "secondary_assets": assets(10, bars=True)}
    world = make_world(plan="starter", limit=60, universe=2500, document=document)
    world.enqueue_secondary()
    assert world.run_queue(seconds=60).calls == 11
    assert most_out == [1]


def test_what_the_plan_lacks_costs_one_call_and_not_one_for_each_thread(make_world: MakeWorld) -> None:
    document = {"priority_assets": [], "secondary_assets": assets(600, bars=False)}
    world = make_world(plan="basic", tier="starter", limit=None, universe=2500, document=document)
    world.enqueue_secondary()
    world.run_queue()
    assert world.paths.count(SNAPSHOTS) == 1


def test_a_refused_key_ends_the_run_and_hands_everything_back(wide: World) -> None:
    wide.enqueue_secondary()
    wide.provider.order("status=401", times=None)
    with pytest.raises(KeyRefusedError):
        wide.run_queue()
    assert len(wide.provider.arrivals) == 1
    with wide.services() as services:
        state = services.queue.state()
        assert (state.size, state.leased) == (600, 0)


@pytest.mark.parametrize("limit", [5, 60, None])
def test_a_run_ends_after_the_first_batch_of_a_provider_that_is_down(
    make_world: MakeWorld, limit: int | None
) -> None:
    """However many calls may be out at once."""
    document = {"priority_assets": [], "secondary_assets": assets(600, bars=False)}
    world = make_world(plan="starter", limit=limit, universe=2500, document=document)
    world.enqueue_secondary()
    world.provider.order("status=500", times=None)
    with pytest.raises(UnreachableError, match="the provider answers 500") as raised:
        world.run_queue()
    assert "network" not in str(raised.value)
    assert len(world.paths) == 1
    with world.services() as services:
        state = services.queue.state()
    assert (state.delayed, state.leased, state.dead, state.size) == (250, 0, 0, 600)


def test_a_call_that_fails_takes_only_its_own_assets_with_it(wide: World) -> None:
    wide.enqueue_secondary()
    wide.provider.order("html", times=1, path_contains=SNAPSHOTS)
    result = wide.run_queue()
    failed = [asset for asset in result.assets if asset.status == "failed"]
    assert (result.result, result.calls, len(failed)) == ("partial", 3, 250)
    with wide.services() as services:
        assert services.queue.state().delayed == 250


def test_what_the_database_refuses_is_tried_again_later(wide: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_store: Store, _batch: Changes, _now_ms: int) -> Saved:
        raise DatabaseError("no", hint="none")

    wide.enqueue_secondary()
    monkeypatch.setattr(Store, "save", refuse)
    with pytest.raises(DatabaseError):
        wide.run_queue()
    with wide.services() as services:
        state = services.queue.state()
        assert (state.size, state.leased) == (600, 0)


def test_a_priority_cycle_of_many_assets_is_wide_too(make_world: MakeWorld) -> None:
    document = {"priority_assets": assets(600, bars=False), "secondary_assets": []}
    world = make_world(plan="starter", limit=None, universe=2500, document=document)
    result = world.run_priority()
    assert (result.result, result.calls, result.published) == ("ok", 3, 600)
    with world.services() as services:
        assert reserved(services)[1] == 3


@pytest.mark.usefixtures("years_of_bars")
def test_pages_of_one_symbol_follow_each_other_while_others_are_out(
    make_world: MakeWorld, most_out: list[int]
) -> None:
    document = {"priority_assets": [], "secondary_assets": assets(4, bars=True)}
    world = make_world(plan="starter", limit=None, universe=2500, document=document)
    world.enqueue_secondary()
    world.run_queue()
    ids = [
        (f"history:{asset['symbol']}:2026-0{month}-01:2026-0{month}-28", Lane.HISTORY)
        for asset in document["secondary_assets"]
        for month in (8, 9)
    ]
    with world.services() as services:
        services.queue.enqueue(ids)
    result = world.run_queue(seconds=60)
    assert (result.result, result.queue_size) == ("ok", 0)
    assert most_out[0] > 1
    assert min(world.bars(asset["symbol"]) for asset in document["secondary_assets"]) > 8000


class TestTaking:
    """A few items at a time, so that little work shows it."""

    @pytest.fixture(autouse=True)
    def few_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queue_worker, "SNAPSHOT_TICKERS", 5)

    def test_what_the_calls_cannot_bring_yet_is_left_for_other_hosts(
        self, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        document = {"priority_assets": [], "secondary_assets": assets(WITH_BARS, bars=True)}
        world = make_world(plan="starter", limit=1200, universe=2500, document=document)  # two at once
        leased: list[int] = []
        bars = ProviderClient.bars

        def counted(*arguments: Any, **options: Any) -> Any:
            with world.services() as services:
                leased.append(services.queue.state().leased)
            return bars(*arguments, **options)

        monkeypatch.setattr(ProviderClient, "bars", counted)
        monkeypatch.setattr("assetbatch.refresh.batch.MAX_UNSAVED_BARS", 2500)
        world.enqueue_secondary()
        result = world.run_queue(seconds=90)
        assert len(leased) == WITH_BARS
        assert min(leased[:5]) == 5  # the first calls go out before more is taken
        assert (
            max(leased) < WITH_BARS
        )  # answers that are not stored yet are leased too, so no closer deadline holds
        assert world.rows("SELECT count(DISTINCT symbol_id) FROM market_data.ohlcv_5m") == [(WITH_BARS,)]
        assert (result.result, result.ended_because) == ("ok", "empty")

    def test_a_provider_that_is_down_delays_the_first_batch(self, wide: World) -> None:
        wide.enqueue_secondary()
        wide.provider.order("status=503", times=None)
        with pytest.raises(UnreachableError):
            wide.run_queue()
        with wide.services() as services:
            state = services.queue.state()
        assert (state.leased, state.delayed) == (0, 5)


def test_what_calls_bring_that_are_out_when_redis_fails_is_stored(
    with_bars: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_bars.enqueue_secondary()
    bars, ask = ProviderClient.bars, Window.ask
    out: list[bool] = []
    failed = threading.Event()

    def after_the_failure(*arguments: Any, **options: Any) -> Any:
        out.append(True)
        assert failed.wait(30)
        return bars(*arguments, **options)

    def once_four_are_out(*arguments: Any) -> Any:
        if len(out) >= 4:
            failed.set()
            raise RedisError("redis did not answer within 3 s")
        return ask(*arguments)

    monkeypatch.setattr("assetbatch.refresh.engine.may_start", lambda *_: True)
    monkeypatch.setattr(ProviderClient, "bars", after_the_failure)
    monkeypatch.setattr(Window, "ask", once_four_are_out)
    with pytest.raises(RedisError):
        with_bars.run_queue(seconds=30)
    assert with_bars.rows("SELECT count(DISTINCT symbol_id) FROM market_data.ohlcv_5m") == [(len(out),)]


class TestStoring:
    """Pages are stored as they come, beside the calls; here two calls at once, and each page is much."""

    @pytest.fixture
    def few(self, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
        monkeypatch.setattr("assetbatch.refresh.inflight.MAX_IN_FLIGHT", 2)
        monkeypatch.setattr("assetbatch.refresh.batch.MAX_UNSAVED_BARS", 200)
        document = {"priority_assets": [], "secondary_assets": assets(12, bars=True)}
        world = make_world(plan="starter", limit=None, universe=2500, document=document)
        world.enqueue_secondary()
        return world

    def test_holds_up_calls_only_where_much_more_has_come_meanwhile(
        self, few: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save = Store.save
        asked_meanwhile: list[int] = []

        def slowly(store: Store, batch: Changes, now_ms: int) -> Saved:
            if batch.bars and not asked_meanwhile:
                before = len(few.provider.arrivals)
                threading.Event().wait(3)
                asked_meanwhile.append(len(few.provider.arrivals) - before)
            return save(store, batch, now_ms)

        monkeypatch.setattr(Store, "save", slowly)
        assert few.run_queue(seconds=90).result == "ok"
        assert 1 <= asked_meanwhile[0] <= 6, "of 11: two out, and two pages that wait to be stored"

    def test_of_all_that_came_is_over_when_the_run_ends(self, few: World) -> None:
        result = few.run_queue(seconds=90)
        assert (result.result, result.calls, result.queue_size) == ("ok", 13, 0)
        assert few.rows("SELECT count(DISTINCT symbol_id) FROM market_data.ohlcv_5m") == [(12,)]
