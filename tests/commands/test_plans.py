"""What a plan shows and lacks, learned in cycles: by answers and refusals, never by the tier's name alone."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from msgspec import structs

from assetbatch.commands.gaps import find_gaps
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.coverage import GapReason
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.market_hours import start_of_day, to_ms
from assetbatch.domain.queueing import Lane
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.results import CycleResult
from assetbatch.provider.answers import BarsAnswer
from assetbatch.provider.client import ProviderClient
from assetbatch.provider.refusals import Refusal
from assetbatch.sandbox import PLANS, SandboxServer
from assetbatch.sandbox.universe import instruments
from assetbatch.state.connection import RedisClient
from assetbatch.state.events import Events
from tests.world import Listener, World

from .conftest import MakeWorld

MINUTE = 60_000
HOUR = 60 * MINUTE
NO_BARS = {"bars": False}
PRICED = [
    {"symbol": f"{name}USD", "polygon_ticker": f"C:{name}USD", "asset_type": "forex", **NO_BARS}
    for name in ("AUD", "EUR", "GBP", "NZD")
]


def sorts(world: World, since: int = 0) -> list[str]:
    """The endpoints that were asked, without tickers and ranges."""
    return [path.split("?")[0].split("/ticker/")[0] for path in world.paths[since:]]


def refuse(world: World, path: str, times: int = 1, fault: str = "not-authorized-200") -> None:
    world.provider.order(fault, times=times, path_contains=path)


def last_update_of(world: World, symbol: str) -> int:
    update = world.last_update(symbol)
    assert update is not None
    return to_ms(datetime.fromisoformat(update["timestamp"]))


def cycle_of_all(world: World) -> CycleResult:
    world.enqueue_secondary()
    return world.run_queue()


class TestSnapshotsOfMarkets:
    def test_are_used_where_the_plan_has_only_those(self, paid: World) -> None:
        refuse(paid, "/v3/snapshot", times=100)
        paid.run_priority()
        paid.clock.at_ms += 5 * MINUTE
        paid.run_priority()
        before = len(paid.paths)
        paid.clock.at_ms += 5 * MINUTE
        result = paid.run_priority()
        assert [asset.status for asset in result.assets] == ["success"] * 3
        assert sorts(paid, before) == [
            "/v2/snapshot/locale/global/markets/forex/tickers",
            "/v2/snapshot/locale/global/markets/crypto/tickers",
        ]
        update = paid.last_update("EURUSD")
        assert update is not None
        assert update["bid"] < update["ask"]

    def test_are_asked_once_a_day_where_the_plan_lacks_them_too(self, paid: World) -> None:
        refuse(paid, "/snapshot", times=1000)
        for _ in range(6):
            paid.run_priority()
            paid.clock.at_ms += 5 * MINUTE
        assert sum("/v3/snapshot" in path for path in paid.paths) == 1
        assert sum("/markets/forex/" in path for path in paid.paths) == 1
        assert sum("/markets/crypto/" in path for path in paid.paths) == 1
        assert paid.run_priority().result in ("ok", "nothing")

    def test_leave_the_bars_to_the_queue(self, paid: World) -> None:
        refuse(paid, "/v3/snapshot", times=100)
        for _ in range(3):
            paid.run_priority()
            paid.clock.at_ms += 5 * MINUTE
        paid.run_queue()
        assert paid.bars("XAUUSD") > 500


class TestGroupedDays:
    def test_serve_all_assets_of_a_market_that_keep_no_bars_in_one_call(self, make_world: MakeWorld) -> None:
        world = make_world(document={"secondary_assets": PRICED, "priority_assets": []})
        result = cycle_of_all(world)
        assert [asset.status for asset in result.assets] == ["success"] * 4
        assert [path.split("?")[0] for path in world.paths] == [
            "/v2/aggs/grouped/locale/global/market/fx/2026-11-17"
        ]
        update = world.last_update("EURUSD")
        assert update is not None
        assert update["timestamp"] == "2026-11-18T05:00:00.000+00:00"
        assert cycle_of_all(world).calls == 0

    def test_are_replaced_by_the_previous_day_where_the_plan_lacks_them(self, make_world: MakeWorld) -> None:
        world = make_world(document={"secondary_assets": PRICED, "priority_assets": []})
        with world.services() as services:
            known = services.entitlements()
            for ticker in ("C:EURUSD", "C:GBPUSD"):
                services.entitlement_store.remember(
                    known.refused(
                        Restriction.INTRADAY, AssetType.FOREX, "no", services.now_ms(), ticker=ticker
                    )
                )
        refuse(world, "/grouped/")
        result = cycle_of_all(world)
        assert [asset.status for asset in result.assets] == ["success"] * 4
        assert sum(path.split("?")[0].endswith("/prev") for path in world.paths) == 4
        assert world.last_update("EURUSD") is not None


class TestTheHorizon:
    def test_of_a_plan_that_shows_more_than_its_tier_is_found_by_one_call(
        self, make_world: MakeWorld
    ) -> None:
        """Somebody upgraded and left `tier: free` in the file."""
        world = make_world(plan="starter", tier="free")
        cycle_of_all(world)
        with world.services() as services:
            known = services.entitlements()
            assert known.visible_until_ms(AssetType.FOREX, world.clock.at_ms) == world.clock.at_ms
        before = len(world.paths)
        result = world.run_priority()
        assert [asset.status for asset in result.assets] == ["success"] * 3
        assert sorts(world, before) == ["/v3/snapshot"]

    def test_that_the_free_plan_lacks_the_running_day_is_asked_once_a_day_and_class(
        self, free: World
    ) -> None:
        today = start_of_day(date(2026, 11, 18))
        for _ in range(6):
            cycle_of_all(free)
            free.run_priority()
            free.clock.at_ms += 30 * MINUTE
        beyond = [path for path in free.paths if int(path.split("?")[0].split("/")[9]) >= today]
        assert len(beyond) == 2

    def test_is_a_quarter_of_an_hour_ago_where_data_of_open_markets_are_never_younger(
        self, paid: World
    ) -> None:
        lag = 15 * MINUTE
        clock = paid.clock
        with SandboxServer(PLANS["starter"], clock=lambda: clock.at_ms - lag) as late:
            paid.document["provider"] = {"base_url": late.base_url}
            paid.run_priority()
        with paid.services() as services:
            known = services.entitlements()
            for kind in (AssetType.FOREX, AssetType.CRYPTO):
                assert known.visible_until_ms(kind, clock.at_ms) == clock.at_ms - lag

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["refused", "left out of the answer"])
    @pytest.mark.usefixtures("years_of_bars")
    def test_of_a_day_that_is_not_published_yet_is_probed_with_few_calls(
        self, free: World, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        """The provider has the last day from nine in the morning on."""
        midnight = start_of_day(date(2026, 11, 18))
        published = midnight + 9 * HOUR
        ask = ProviderClient.bars
        probes = []

        def bars(
            client: ProviderClient, ticker: str, start_ms: int, end_ms: int, **options: Any
        ) -> BarsAnswer:
            if free.clock.at_ms >= published or end_ms != midnight - 1:
                return ask(client, ticker, start_ms, end_ms, **options)
            probes.append(ticker)
            if how == "refused":
                raise Refusal(RefusalKind.TODAY_NOT_YET, "Attempted to request today's data", http_status=403)
            answer = ask(client, ticker, start_ms, end_ms, **options)
            day_ms = start_of_day(date(2026, 11, 17))
            return structs.replace(answer, bars=[bar for bar in answer.bars if bar.t_ms < day_ms])

        free.clock.at_ms = midnight - 5 * HOUR
        free.run_priority()
        monkeypatch.setattr(ProviderClient, "bars", bars)
        free.clock.at_ms = midnight
        while free.clock.at_ms < published + 4 * HOUR:
            free.clock.at_ms += 5 * MINUTE
            free.run_priority()
        assert 2 <= len(probes) <= 16  # of two classes; every cycle would be 324
        assert all(last_update_of(free, symbol) == midnight for symbol in ("EURUSD", "BTCUSD", "XAUUSD"))
        with free.services() as services:
            (found,) = find_gaps(services, ["BTCUSD"], None)
        assert found.complete == 1.0
        assert {hole.reason for hole in found.gaps} == {GapReason.NOT_PUBLISHED}


class TestAClassThatIsNotInThePlan:
    SYMBOLS: list[dict[str, Any]] = [  # noqa: RUF012 - never changed
        {"symbol": f"{name}USD", "polygon_ticker": f"X:{name}USD", "asset_type": "crypto"}
        for name in ("ETH", "SOL", "XRP", "ADA", "LTC", "DOGE")
    ]

    def test_costs_a_few_calls_and_none_for_the_rest_of_the_day(self, make_world: MakeWorld) -> None:
        world = make_world(document={"secondary_assets": self.SYMBOLS, "priority_assets": []})
        world.know_that_today_is_refused()
        refuse(world, "/v2/aggs", times=1000)
        world.document["queue"] = {"retry_delay_seconds": 0}
        for _ in range(4):
            cycle_of_all(world)
            world.clock.at_ms += 30 * MINUTE
        assert len(world.paths) <= 6
        assert {sync[0] for symbol in self.SYMBOLS if (sync := world.sync(symbol["symbol"]))} == {
            "not_entitled"
        }

    def test_is_not_taken_for_lacking_because_one_ticker_is_refused(self, make_world: MakeWorld) -> None:
        world = make_world(document={"secondary_assets": self.SYMBOLS, "priority_assets": []})
        world.know_that_today_is_refused()
        refuse(world, "X:SOLUSD", times=1000)
        result = cycle_of_all(world)
        states = {asset.symbol: asset.status for asset in result.assets}
        assert states.pop("SOLUSD") == "not_entitled"
        assert set(states.values()) == {"success"}


class TestATickerThatIsRefusedAlone:
    """Users report it of gold: what it is refused says nothing of the euro."""

    @pytest.mark.parametrize("kind", [RefusalKind.TIMEFRAME, RefusalKind.NOT_IN_PLAN])
    def test_gets_its_daily_price_and_keeps_nobody_from_their_bars(
        self, free: World, monkeypatch: pytest.MonkeyPatch, kind: RefusalKind
    ) -> None:
        ask = ProviderClient.bars

        def bars(client: ProviderClient, ticker: str, *arguments: Any, **options: Any) -> BarsAnswer:
            if ticker == "C:XAUUSD":
                asked.append(ticker)
                raise Refusal(kind, "not of gold", http_status=403)
            return ask(client, ticker, *arguments, **options)

        asked: list[str] = []
        monkeypatch.setattr(ProviderClient, "bars", bars)
        for _ in range(12):
            free.run_priority()
            free.clock.at_ms += 30 * MINUTE
        assert len(asked) == 1
        assert free.bars("EURUSD") > 500
        assert free.last_update("XAUUSD") is not None

    def test_of_two_metals_is_believed_of_metals_and_not_of_currencies(self) -> None:
        known = Entitlements(end_of_day=True)
        for ticker in ("C:XAUUSD", "C:XAGUSD"):
            known.refused(Restriction.BARS, AssetType.FOREX, "no", 1000, ticker=ticker)
        assert not known.intraday(AssetType.FOREX, 2000, "C:XPTUSD")
        assert known.intraday(AssetType.FOREX, 2000, "C:EURUSD")
        known.answered(Restriction.BARS, AssetType.FOREX, "C:XPTUSD")
        assert known.intraday(AssetType.FOREX, 2000, "C:XPTUSD")
        assert not known.intraday(AssetType.FOREX, 2000, "C:XAUUSD")


class TestOddRefusals:
    @pytest.mark.usefixtures("years_of_bars")
    def test_of_two_days_that_are_not_published_end_with_the_third(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = ProviderClient.bars
        published = start_of_day(date(2026, 11, 16))

        def bars(
            client: ProviderClient, ticker: str, start_ms: int, end_ms: int, **options: Any
        ) -> BarsAnswer:
            calls.append(end_ms)
            if end_ms >= published:
                raise Refusal(RefusalKind.TODAY_NOT_YET, "before end of day", http_status=403)
            return ask(client, ticker, start_ms, end_ms, **options)

        calls: list[int] = []
        monkeypatch.setattr(ProviderClient, "bars", bars)
        cycle_of_all(free)
        free.run_priority()
        free.run_priority()
        assert len(calls) <= 2 * 4 + 6  # today and three days of two classes, then a range for each asset
        assert last_update_of(free, "BTCUSD") == published

    def test_that_contradict_what_was_just_seen_are_believed_for_a_quarter_of_an_hour(
        self, paid: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paid.run_priority()
        paid.clock.at_ms += 5 * MINUTE
        with paid.services() as services:
            known = services.entitlements()
            known.refused(Restriction.TODAY, AssetType.FOREX, "no", paid.clock.at_ms, ticker="C:EURUSD")
            assert not known.may_ask_today(AssetType.FOREX, paid.clock.at_ms)
            assert known.may_ask_today(AssetType.FOREX, paid.clock.at_ms + 16 * MINUTE)

    def test_of_a_whole_snapshot_blame_no_ticker(self, paid: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def snapshot(*_: object, **__: object) -> None:
            raise Refusal(RefusalKind.UNKNOWN_TICKER, "Ticker not found.", http_status=404)

        monkeypatch.setattr(ProviderClient, "snapshot", snapshot)
        paid.run_priority()
        result = paid.run_priority()
        assert {asset.status for asset in result.assets} <= {"success", "fresh"}

    def test_of_bars_are_not_repeated_each_cycle(self, paid: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def bars(client: ProviderClient, ticker: str, *_: object, **__: object) -> None:
            calls.append(ticker)
            raise Refusal(RefusalKind.UNKNOWN_TICKER, "Ticker not found.", http_status=404)

        calls: list[str] = []
        monkeypatch.setattr(ProviderClient, "bars", bars)
        for _ in range(6):
            paid.run_priority()
            paid.run_queue()
            paid.clock.at_ms += 5 * MINUTE
        assert len(calls) == 3


def test_a_new_tier_is_asked_anew(make_world: MakeWorld) -> None:
    """Somebody has paid: moving up is one line."""
    world = make_world(plan="starter", tier="free")
    world.know_that_today_is_refused()
    world.document["rate_limiting"]["tier"] = "starter"
    result = world.run_priority()
    assert (result.calls, sorts(world)) == (1, ["/v3/snapshot"])


def test_a_clock_that_was_ahead_for_a_while_silences_nothing(paid: World) -> None:
    paid.run_priority()
    paid.run_queue()
    paid.clock.at_ms += 400 * 24 * HOUR
    paid.run_priority()
    paid.run_queue()
    paid.clock.at_ms -= 400 * 24 * HOUR - 10 * MINUTE
    result = paid.run_priority()
    assert {asset.status for asset in result.assets} == {"success"}


class TestEvents:
    def test_what_a_crash_between_commit_and_publishing_has_swallowed_is_published_by_the_next_cycle(
        self, free: World, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listener = Listener(redis_client, ["XAUUSD", "EURUSD", "BTCUSD"])
        try:
            with monkeypatch.context() as patched:

                def die(*_: object) -> None:
                    raise KeyboardInterrupt  # as if the process were gone

                patched.setattr(Events, "publish", die)
                with pytest.raises(KeyboardInterrupt):
                    free.run_priority()
            assert free.last_update("XAUUSD") is not None
            assert listener.heard() == []
            free.clock.at_ms += 66 * 1000  # the dead cycle's lock has run out
            with free.services() as services:
                services.redis.delete(services.keys.lock("run_priority"))
            result = free.run_priority()
            heard = listener.heard()
            assert "asset:update:XAUUSD" in {channel for channel, _ in heard}
            assert result.published >= 1
            free.run_priority()
            assert listener.heard() == []
        finally:
            listener.close()

    def test_carry_the_stored_quote(self, paid: World, redis_client: RedisClient) -> None:
        listener = Listener(redis_client, ["EURUSD"])
        try:
            paid.run_priority()
            ((_, first),) = listener.heard()
            with paid.services() as services:
                services.redis.delete(f"{services.keys.prefix}:published")
            paid.run_priority()
            ((_, again),) = listener.heard()
            assert again == first
            assert first["bid"] < first["ask"]
        finally:
            listener.close()


def test_250_assets_on_a_snapshot_plan_cost_one_call_and_their_bars_follow_as_slots_allow(
    make_world: MakeWorld,
) -> None:
    many = [
        {
            "symbol": instrument.ticker.replace(":", ""),
            "polygon_ticker": instrument.ticker,
            "asset_type": "crypto" if instrument.kind == "crypto" else "forex",
        }
        for instrument in instruments(250).values()
    ]
    world = make_world(
        plan="starter",
        limit=5,
        universe=250,
        document={"secondary_assets": many[:250], "priority_assets": []},
    )
    world.enqueue_secondary()
    result = world.run_queue(seconds=15)
    assert sorts(world) == ["/v3/snapshot", *["/v2/aggs"] * 4]
    assert [asset.kind for asset in result.assets] == ["price"] * 250 + ["bars"] * 4
    assert {asset.status for asset in result.assets} == {"success"}
    with world.services() as services:
        assert services.queue.state().by_lane[Lane.BARS] == 246
