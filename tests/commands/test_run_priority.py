"""One priority cycle, from the configuration to the rows and the events."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from assetbatch.commands.run_priority import run_priority
from assetbatch.deadline import Deadline
from assetbatch.domain.market_hours import last_midnight
from assetbatch.domain.models import Price
from assetbatch.domain.records import Command
from assetbatch.errors import KeyRefusedError, SchemaMissingError, UnreachableError
from assetbatch.provider.answers import BarsAnswer, PricesAnswer
from assetbatch.provider.client import ProviderClient
from assetbatch.refresh.progress import Progress
from assetbatch.state.connection import RedisClient
from tests.world import Listener, World, reserved

from .conftest import WEDNESDAY_MS, MakeWorld

MINUTE = 60_000


class TestOnTheFreePlan:
    def test_refreshes_the_three_assets_in_their_order_with_one_call_each(self, free: World) -> None:
        result = free.run_priority()
        assert [asset.symbol for asset in result.assets] == ["XAUUSD", "EURUSD", "BTCUSD"]
        assert [asset.status for asset in result.assets] == ["success"] * 3
        assert [path.split("/")[4] for path in free.paths] == ["C:XAUUSD", "C:EURUSD", "X:BTCUSD"]
        assert (result.result, result.exit_code) == ("ok", 0)

    @pytest.mark.usefixtures("years_of_bars")
    def test_stores_price_bars_and_sync_status(self, free: World) -> None:
        free.run_priority()
        midnight = last_midnight(WEDNESDAY_MS)
        update = free.last_update("BTCUSD")
        assert update is not None
        assert datetime.fromisoformat(update["timestamp"]) == datetime.fromtimestamp(midnight / 1000, UTC)
        assert update["bid"] is None
        assert update["ask"] is None
        assert update["daily_low"] <= update["last_price"] == update["daily_close"] <= update["daily_high"]
        assert free.bars("BTCUSD") == 34 * 288
        sync = free.sync("BTCUSD")
        assert sync == ("success", None, datetime.fromtimestamp(WEDNESDAY_MS / 1000, UTC))

    def test_spends_no_call_on_what_is_complete_up_to_what_may_be_seen(self, free: World) -> None:
        free.run_priority()
        free.clock.at_ms += 5 * MINUTE
        result = free.run_priority()
        assert (result.result, result.calls, len(free.paths)) == ("nothing", 0, 3)

    @pytest.mark.usefixtures("years_of_bars")
    def test_asks_again_when_a_new_day_may_be_seen_and_only_from_the_last_stored_day_on(
        self, free: World
    ) -> None:
        free.run_priority()
        before = free.bars("BTCUSD")
        free.clock.at_ms = last_midnight(WEDNESDAY_MS) + 24 * 60 * MINUTE + MINUTE
        result = free.run_priority()
        assert result.calls == 3
        start_ms = int(free.paths[-1].split("/")[8])
        assert start_ms == last_midnight(WEDNESDAY_MS) - 24 * 60 * MINUTE
        assert free.bars("BTCUSD") == before + 288

    def test_an_asset_that_was_never_fetched_is_due_at_a_weekend(self, free: World) -> None:
        free.clock.at_ms = WEDNESDAY_MS + 4 * 24 * 60 * MINUTE
        result = free.run_priority()
        assert [asset.status for asset in result.assets] == ["success"] * 3


class TestOnAPaidPlan:
    def test_one_call_serves_all(self, paid: World) -> None:
        result = paid.run_priority()
        assert result.calls == 1
        assert [asset.status for asset in result.assets] == ["success"] * 3
        assert paid.paths[0].startswith("/v3/snapshot")

    def test_prices_have_bid_and_ask_where_there_are_quotes(self, paid: World) -> None:
        paid.run_priority()
        update = paid.last_update("EURUSD")
        assert update is not None
        assert 0 < update["bid"] <= update["last_price"] <= update["ask"]

    def test_the_bars_that_a_snapshot_leaves_behind_are_put_into_the_queue(self, paid: World) -> None:
        result = paid.run_priority()
        assert result.enqueued == 3
        paid.run_queue()
        assert paid.bars("XAUUSD") > 500
        assert paid.bars("BTCUSD") > 600

    def test_bars_leave_the_quote_and_the_rhythm_of_the_prices_alone(self, paid: World) -> None:
        """A bar is as of its end, hence newer than the quote, but has neither bid nor ask."""
        paid.run_priority()
        quote = paid.last_update("EURUSD")
        paid.clock.at_ms += MINUTE
        assert paid.run_queue().bars_written > 2_000
        assert paid.last_update("EURUSD") == quote
        for _ in range(3):
            paid.clock.at_ms += 5 * MINUTE
            before = len(paid.paths)
            assert [asset.status for asset in paid.run_priority().assets] == ["success"] * 3
            assert [path.split("?")[0] for path in paid.paths[before:]] == ["/v3/snapshot"]
            paid.run_queue()

    def test_bars_that_fail_do_not_keep_prices_from_being_asked(self, paid: World) -> None:
        paid.provider.order("status=500", times=3, path_contains="/v2/aggs")
        paid.run_priority()
        with pytest.raises(UnreachableError):
            paid.run_queue()
        sync = paid.sync("EURUSD")
        assert sync is not None
        assert sync[0] == "success"

    def test_a_forming_bar_gives_no_stored_bar(self, paid: World) -> None:
        paid.run_priority()
        paid.run_queue()
        ((latest,),) = paid.rows("SELECT max(ts) FROM market_data.ohlcv_5m")
        assert latest == datetime.fromtimestamp((WEDNESDAY_MS - 10_000 - 5 * MINUTE) / 1000, UTC)


class TestTheBudget:
    @pytest.mark.parametrize("plan", ["basic", "starter"])
    @pytest.mark.parametrize("tier", ["free", "starter"])
    def test_a_priority_batch_uses_at_most_3_calls(self, make_world: MakeWorld, plan: str, tier: str) -> None:
        """Whatever the plan turns out to be, and whatever was expected of it."""
        world = make_world(plan=plan, tier=tier)
        for _ in range(4):
            before = len(world.paths)
            world.run_priority()
            assert len(world.paths) - before <= 3
            world.clock.at_ms += 5 * MINUTE

    def test_a_tier_that_promises_too_much_is_found_out_within_a_few_cycles(
        self, make_world: MakeWorld
    ) -> None:
        world = make_world(plan="basic", tier="starter")
        for _ in range(4):
            result = world.run_priority()
            world.clock.at_ms += 5 * MINUTE
        assert [asset.status for asset in result.assets] == ["fresh"] * 3
        asked = [path.split("?")[0] for path in world.paths if path.startswith("/v3/snapshot")]
        assert len(asked) == 1  # refused once, not asked again

    def test_every_call_is_counted_also_when_it_fails(self, free: World) -> None:
        free.provider.order("status=500", times=2)
        free.provider.order("drop", times=1)
        with pytest.raises(UnreachableError):
            free.run_priority()
        with free.services() as services:
            assert services.window.state().used == 3

    def test_a_second_start_while_one_runs_skips_at_once(self, free: World) -> None:
        with free.services() as services, services.locks.hold(Command.RUN_PRIORITY, 60):
            result = free.run_priority()
        assert (result.result, result.exit_code, free.paths) == ("skipped", 0, [])
        with free.services() as services:
            assert services.history.job(Command.RUN_PRIORITY).skipped == 1

    def test_no_call_is_made_once_another_start_has_its_place(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Redis lost its memory, and cron was faster than this start."""
        original = ProviderClient.bars
        with ExitStack() as stack:
            services = stack.enter_context(free.services())

            def bars(*arguments: Any, **options: Any) -> BarsAnswer:
                services.redis.delete(services.keys.lock(Command.RUN_PRIORITY))
                assert stack.enter_context(services.locks.hold(Command.RUN_PRIORITY, 60))
                return original(*arguments, **options)

            monkeypatch.setattr(ProviderClient, "bars", bars)
            result = free.run_priority()
        assert [(asset.symbol, asset.status) for asset in result.assets] == [("XAUUSD", "success")]
        assert (len(free.paths), result.calls, result.exit_code) == (1, 1, 0)

    def test_what_the_next_cycle_will_need_is_reserved(self, paid: World) -> None:
        paid.document["batch"] = {"interval_minutes": 5}
        paid.run_priority()
        with paid.services() as services:
            at, slots, *_ = reserved(services)
        assert slots == 1
        assert at == WEDNESDAY_MS - WEDNESDAY_MS % (5 * MINUTE) + 5 * MINUTE

    def test_nothing_is_reserved_for_a_cycle_that_will_need_nothing(self, free: World) -> None:
        free.run_priority()
        with free.services() as services:
            assert reserved(services)[1] == 0


class TestFailures:
    def test_one_assets_failure_never_stops_another(self, free: World) -> None:
        free.provider.order("status=500", path_contains="C:EURUSD")
        result = free.run_priority()
        assert [asset.status for asset in result.assets] == ["success", "failed", "success"]
        assert (result.result, result.exit_code) == ("partial", 1)

    @pytest.mark.parametrize(
        "fault", ["status=503", "html", "cut-json", "wrong-shape", "error-200", "drop", "drop-half", "nan"]
    )
    def test_a_failure_is_recorded_and_moves_no_last_sync(self, free: World, fault: str) -> None:
        free.run_priority()
        before = free.sync("BTCUSD")
        price = free.last_update("BTCUSD")
        free.clock.at_ms += 24 * 60 * MINUTE
        free.provider.order(fault, path_contains="X:BTCUSD")
        result = free.run_priority()
        assert result.assets[2].status == "failed"
        after = free.sync("BTCUSD")
        assert before is not None
        assert after is not None
        assert (after[0], after[2]) == ("failed", before[2])
        assert after[1], "the reason is recorded"
        assert free.last_update("BTCUSD") == price

    def test_an_unknown_ticker_is_recorded_as_what_it_is(self, make_world: MakeWorld) -> None:
        world = make_world(
            plan="starter",
            document={
                "priority_assets": [
                    {"symbol": "ETHUSDT", "polygon_ticker": "X:ETHUSDT", "asset_type": "crypto"},
                    {"symbol": "EURUSD", "polygon_ticker": "C:EURUSD", "asset_type": "forex"},
                ],
                "secondary_assets": [],
            },
        )
        result = world.run_priority()
        assert [asset.status for asset in result.assets] == ["not_found", "success"]
        sync = world.sync("ETHUSDT")
        assert sync is not None
        assert sync[0] == "not_found"

    def test_429_ends_the_cycles_calls_and_fills_the_window_for_everybody(self, free: World) -> None:
        free.provider.order("429=17")
        result = free.run_priority()
        assert len(free.paths) == 1
        assert [asset.status for asset in result.assets] == ["deferred"] * 3
        with free.services() as services:
            state = services.window.state()
            job = services.history.job(Command.RUN_PRIORITY)
        assert state.remaining == 0
        assert 15_000 < state.next_slot_ms - state.now_ms <= 17_000
        assert job.last_error == "the provider said too many calls"

    def test_a_provider_that_is_down_altogether_is_said_so(self, free: World) -> None:
        free.provider.order("status=503", times=None)
        with pytest.raises(UnreachableError, match="the provider answers 503"):
            free.run_priority()
        assert free.sync("XAUUSD") is not None

    def test_a_refused_key_stops_the_cycle_at_the_first_call(self, free: World) -> None:
        free.provider.order("status=401", times=None)
        with pytest.raises(KeyRefusedError):
            free.run_priority()
        assert len(free.paths) == 1
        with free.services() as services:
            job = services.history.job(Command.RUN_PRIORITY)
        assert job.last_result == "failed"

    def test_a_missing_schema_says_what_to_run(self, make_world: MakeWorld) -> None:
        world = make_world(init=False)
        with pytest.raises(SchemaMissingError, match="run assetbatch init"):
            world.run_priority()
        assert world.paths == []

    def test_an_asset_without_a_row_is_not_fetched_for_nothing(self, free: World) -> None:
        free.document["priority_assets"] = [
            *free.document["priority_assets"],
            {"symbol": "NEWONE", "polygon_ticker": "C:GBPUSD", "asset_type": "forex"},
        ]
        free.document["secondary_assets"] = []
        result = free.run_priority()
        assert result.assets[3].status == "failed"
        assert "assetbatch init" in (result.assets[3].detail or "")
        assert len(free.paths) == 3


class TestEvents:
    def test_are_json_with_the_stored_values_and_come_after_the_commit(
        self, paid: World, redis_client: RedisClient
    ) -> None:
        listener = Listener(redis_client, ["XAUUSD", "EURUSD", "BTCUSD"])
        paid.run_priority()
        heard = listener.heard()
        listener.close()
        assert [channel for channel, _ in heard] == [
            "asset:update:XAUUSD",
            "asset:update:EURUSD",
            "asset:update:BTCUSD",
        ]
        for _, event in heard:
            update = paid.last_update(event["symbol"])
            assert update is not None
            assert {name: event[name] for name in ("bid", "ask", "last_price")} == {
                name: update[name] for name in ("bid", "ask", "last_price")
            }
            assert datetime.fromisoformat(event["timestamp"]) == datetime.fromisoformat(update["timestamp"])

    def test_are_not_sent_for_what_did_not_change(self, free: World, redis_client: RedisClient) -> None:
        free.run_priority()
        listener = Listener(redis_client, ["BTCUSD"])
        free.run_priority()
        assert listener.heard() == []
        listener.close()

    def test_also_go_to_a_capped_stream_where_wanted(self, make_world: MakeWorld) -> None:
        world = make_world(plan="starter", document={"events": {"stream_maxlen": 100}})
        world.run_priority()
        with world.services() as services:
            assert services.redis.xlen(f"{services.config.redis.prefix}:events") == 3


class TestDryRun:
    def test_says_what_it_would_call_and_why_and_spends_nothing(self, free: World) -> None:
        result = free.run_priority(dry_run=True)
        assert result.plan[0].startswith("call 1: 5-minute bars of C:XAUUSD, 2026-10-15 05:00 UTC to")
        assert result.plan[0].endswith("(never fetched)")
        assert free.paths == []
        with free.services() as services:
            assert services.window.state().used == 0
            assert services.history.job(Command.RUN_PRIORITY).last_started_ms is None

    def test_says_why_nothing_would_be_called(self, free: World) -> None:
        free.run_priority()
        result = free.run_priority(dry_run=True)
        assert result.plan[2] == "no call: price of BTCUSD (complete up to 2026-11-18 05:00 UTC)"


class TestItsBound:
    def test_the_shortest_leaves_time_for_calls(self, free: World) -> None:
        assert [asset.status for asset in free.run_priority(seconds=5).assets] == ["success"] * 3

    def test_a_provider_that_drips_a_byte_a_second_does_not_hold_it(self, free: World) -> None:
        free.provider.order("drip-body=1", times=None)
        with free.services() as services, Deadline(7) as deadline:
            with pytest.raises(UnreachableError, match="no complete answer within"):
                run_priority(services, deadline, Progress())
            assert deadline.remaining() > 0

    def test_a_cycle_that_is_told_to_stop_makes_no_further_call(self, free: World) -> None:
        with free.services() as services, Deadline(20) as deadline:
            os.kill(os.getpid(), signal.SIGTERM)
            result = run_priority(services, deadline, Progress())
        assert result.result == "stopped"
        assert free.paths == []


class TestAnswersThatCannotBeStored:
    def answer(self, monkeypatch: pytest.MonkeyPatch, answer: PricesAnswer) -> None:
        monkeypatch.setattr(ProviderClient, "snapshot", lambda *_arguments, **_options: answer)

    def test_a_price_from_the_future_is_refused(self, paid: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stored, it would keep out every true price until then."""
        price = Price(symbol="EURUSD", last_price=1.1, as_of_ms=WEDNESDAY_MS + 61_000)
        self.answer(
            monkeypatch,
            PricesAnswer(prices={"C:EURUSD": price}, errors={}, empty=frozenset(), refused=Counter()),
        )
        result = paid.run_priority()
        assert result.assets[1].status == "failed"
        assert "from the future" in (result.assets[1].detail or "")
        assert paid.last_update("EURUSD") is None

    def test_an_empty_snapshot_is_no_data_for_what_never_had_any_and_nothing_new_for_what_had(
        self, paid: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The provider clears its snapshots at New York midnight."""
        tickers = frozenset({"C:XAUUSD", "C:EURUSD", "X:BTCUSD"})
        empty = PricesAnswer(prices={}, errors={}, empty=tickers, refused=Counter())
        with monkeypatch.context() as patch:
            self.answer(patch, empty)
            assert [asset.status for asset in paid.run_priority().assets] == ["no_data"] * 3
        paid.clock.at_ms += 61 * MINUTE
        paid.run_priority()
        before = paid.last_update("EURUSD")
        paid.clock.at_ms += 5 * MINUTE
        self.answer(monkeypatch, empty)
        assert [asset.status for asset in paid.run_priority().assets] == ["success"] * 3
        assert paid.last_update("EURUSD") == before
