"""Members of rules: their prices come in shared calls, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from assetbatch.commands.common import group_work, known_work
from assetbatch.commands.export import chosen
from assetbatch.commands.gaps import find_gaps
from assetbatch.commands.members import foreseen, look_up
from assetbatch.commands.queue_worker import _Failures, _LeaseOwner
from assetbatch.commands.result import new_result
from assetbatch.config.tables import TableMappings
from assetbatch.deadline import Deadline
from assetbatch.domain.exporting import ExportSize
from assetbatch.domain.listings import Listing, ListingState
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.queueing import ItemState, Lane
from assetbatch.domain.records import Command
from assetbatch.domain.rules import ListedTicker, advanced, continued
from assetbatch.domain.status import AssetState, Status
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.errors import ConfigError, UnreachableError
from assetbatch.health import collect
from assetbatch.refresh.interpretation import Result
from assetbatch.refresh.progress import Progress
from assetbatch.refresh.references import days
from assetbatch.services import Services
from assetbatch.state.queue import Lease
from tests.world import PRIORITY, SetClock, World

from .conftest import MakeWorld

RULE = {"every": "crypto", "quote": "USD", "priority": "LOW", "bars": "none", "years_of_days": 0}
COINS = ["BTC", "ETH", "SOL", "XRP", "ADA"]
GROUP = "members:crypto:LOW"


def take(world: World, names: Sequence[str]) -> None:
    """As after a walk that has found these coins."""
    with world.services() as services:
        (rule,) = services.config.rules
        page = [ListedTicker(ticker=f"X:{name}USD", quote="USD") for name in names]
        walk = continued(rule, None, services.now_ms())
        last = page[-1].ticker if page else None
        walk = advanced(rule, walk, last, services.now_ms(), is_last_page=True, is_whole=True)
        services.store.take_page(rule, page, walk, {}, TableMappings(), ())


def queued(world: World) -> list[str]:
    with world.services() as services:
        return [item.id for item in services.queue.items()]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    document: dict[str, Any] = {"priority_assets": [], "secondary_assets": [RULE]}
    world = make_world(document=document)
    take(world, COINS)
    return world


def prices(world: World) -> set[str]:
    return {
        symbol
        for (symbol,) in world.rows("SELECT symbol FROM trading.symbols WHERE metadata ? 'last_update'")
    }


def test_one_call_a_day_keeps_all(world: World, clock: SetClock) -> None:
    world.enqueue_secondary()
    assert queued(world) == [GROUP]
    done = world.run_queue()
    assert prices(world) == {f"{name}USD" for name in COINS}
    assert (done.calls, len(done.assets), queued(world)) == (1, len(COINS), [])
    clock.at_ms += 5 * MINUTE_MS
    world.enqueue_secondary()
    assert queued(world) == []
    clock.at_ms += DAY_MS
    world.enqueue_secondary()
    world.run_queue()
    assert sum("/grouped/" in path for path in world.paths) == 2


def test_a_coin_without_a_trade_costs_no_further_call(world: World, clock: SetClock) -> None:
    take(world, [*COINS, "NEWCOIN"])
    world.enqueue_secondary()
    done = world.run_queue()
    assert (done.exit_code, len(done.assets)) == (0, len(COINS))
    with world.services() as services:
        health = collect(services)
    assert [asset.symbol for asset in health.assets if asset.state is AssetState.NO_DATA] == ["NEWCOINUSD"]
    assert [problem for problem in health.problems if "NEWCOINUSD" in problem.message] == []
    for _ in range(4):
        clock.at_ms += 90 * MINUTE_MS
        world.enqueue_secondary()
    assert queued(world) == []


def test_a_member_that_has_ended_is_asked_for_once_more_after_init(make_world: MakeWorld) -> None:
    rule = {"every": "stocks", "bars": "none", "years_of_days": 0}
    world = make_world(document={"priority_assets": [], "secondary_assets": [rule]})
    with world.services() as services:
        (stocks,) = services.config.rules
        page = [ListedTicker(ticker="AAPL", kind="CS"), ListedTicker(ticker="MSFT", kind="CS")]
        walk = continued(stocks, None, services.now_ms())
        walk = advanced(stocks, walk, "MSFT", services.now_ms(), is_last_page=True, is_whole=True)
        services.store.take_page(stocks, page, walk, {}, TableMappings(), ())
        services.store.save_listing("MSFT", Listing(state=ListingState.DELISTED, asked_ms=services.now_ms()))
    world.enqueue_secondary()
    assert not [one for one in queued(world) if one.startswith("reference:listing:")]
    world.init()
    world.enqueue_secondary()
    assert [one for one in queued(world) if "listing:" in one] == ["reference:listing:MSFT"]


def test_a_failure_of_the_provider_fails_the_group_once(world: World) -> None:
    world.provider.order("status=500", times=3)
    world.enqueue_secondary()
    with pytest.raises(UnreachableError):
        world.run_queue()
    with world.services() as services:
        (item,) = services.queue.items()
    assert (item.id, item.state) == (GROUP, ItemState.DELAYED)
    assert prices(world) == set()


def test_snapshots_bring_them_on_a_plan_that_has_some(make_world: MakeWorld) -> None:
    world = make_world(plan="starter", document={"priority_assets": [], "secondary_assets": [RULE]})
    take(world, COINS)
    world.enqueue_secondary()
    assert queued(world) == [GROUP]
    world.run_queue()
    assert prices(world) == {f"{name}USD" for name in COINS}
    assert [path for path in world.paths if "/snapshot" in path] == world.paths


def test_a_queue_of_ten_items_has_room_for_all(make_world: MakeWorld) -> None:
    document: dict[str, Any] = {
        "priority_assets": [],
        "secondary_assets": [RULE],
        "queue": {"max_size": 1},
        "alerts": {"queue_size_max": 1},
    }
    world = make_world(document=document)
    take(world, COINS)
    done = world.enqueue_secondary()
    assert (done.enqueued, done.dropped) == (1, [])


def test_without_the_day_of_the_market_each_coin_has_a_call_of_its_own(world: World) -> None:
    world.provider.order("not-authorized-200", times=100, path_contains="/grouped/")
    world.enqueue_secondary()
    world.run_queue()
    world.enqueue_secondary()
    world.run_queue()
    assert queued(world) == []
    assert prices(world) == {f"{name}USD" for name in COINS}


def test_a_member_that_is_gone_leaves_the_queue_without_a_call(world: World, clock: SetClock) -> None:
    world.enqueue_secondary()
    clock.at_ms += MINUTE_MS
    take(world, COINS[:4])
    done = world.run_queue()
    assert sorted(report.symbol for report in done.assets) == sorted(f"{name}USD" for name in COINS[:4])


def test_a_dry_run_of_enqueue_says_what_the_members_take(world: World) -> None:
    first, last = world.enqueue_secondary(dry_run=True).plan
    assert first == "enqueue prices of crypto, the LOW members of rules as LOW"
    assert last.startswith("rule crypto/USD: 5 members, 1 call a day to look them up, 1 call a day for all")


def test_a_dry_run_of_the_queue_shows_the_call(world: World) -> None:
    world.enqueue_secondary()
    (line, *_) = world.run_queue(dry_run=True).plan
    assert line.startswith("call 1: daily bars of all crypto on 2026-11-17, for 5 tickers")


class TestWalk:
    """The members are looked up by calls of the queue."""

    @pytest.fixture
    def listing(self, make_world: MakeWorld) -> World:
        document: dict[str, Any] = {"priority_assets": [], "secondary_assets": [RULE]}
        return make_world(document=document, universe=2400)

    def members(self, world: World) -> int:
        ((count,),) = world.rows(
            "SELECT count(*) FROM data_sources.assetbatch_members WHERE gone_since IS NULL"
        )
        return int(count)

    def test_finds_all_tickers_page_by_page(self, listing: World) -> None:
        listing.enqueue_secondary()
        assert queued(listing) == ["reference:tickers:crypto/USD"]
        listing.run_queue()
        assert set(listing.paths) == {"/v3/reference/tickers"}
        assert len(listing.paths) >= 2
        assert self.members(listing) > 1000
        assert queued(listing) == []

    def test_is_done_once_a_day(self, listing: World, clock: SetClock) -> None:
        listing.enqueue_secondary()
        listing.run_queue()
        before = len(listing.paths)
        listing.enqueue_secondary()
        assert queued(listing) == [GROUP]
        clock.at_ms += DAY_MS
        listing.enqueue_secondary()
        assert "reference:tickers:crypto/USD" in queued(listing)
        listing.run_queue()
        assert [path for path in listing.paths[before:] if "tickers" in path] != []

    def test_that_was_cut_short_goes_on_where_it_was(self, listing: World) -> None:
        listing.document["queue"] = {"retry_delay_seconds": 0}
        listing.provider.order("status=500", times=1)
        listing.enqueue_secondary()
        with pytest.raises(UnreachableError):
            listing.run_queue()
        assert self.members(listing) == 0
        listing.run_queue()
        assert self.members(listing) > 1000

    def test_leaves_out_an_asset_of_the_configuration(self, listing: World) -> None:
        own = {"symbol": "BTC", "polygon_ticker": "X:BTCUSD", "bars": "none"}
        listing.document["secondary_assets"] = [own, RULE]
        listing.init()
        listing.enqueue_secondary()
        listing.run_queue()
        with listing.services() as services:
            services.load_members()
            tickers = [asset.polygon_ticker for asset in services.config.assets]
        assert tickers.count("X:BTCUSD") == 1

    def test_that_finds_a_table_without_room_for_members_costs_a_call_an_hour(
        self, listing: World, clock: SetClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A platform has added a column that wants a value: nothing else of the queue waits for it."""
        with psycopg.connect(listing.database_url) as connection:
            connection.execute("ALTER TABLE trading.symbols ADD COLUMN rank integer NOT NULL DEFAULT 1")
            connection.execute("ALTER TABLE trading.symbols ALTER COLUMN rank DROP DEFAULT")
        listing.enqueue_secondary()
        assert listing.run_queue().error is None
        assert "the members of crypto/USD cannot be registered" in caplog.text
        listing.enqueue_secondary()
        assert queued(listing) == []
        clock.at_ms += HOUR_MS + MINUTE_MS
        listing.enqueue_secondary()
        assert queued(listing) == ["reference:tickers:crypto/USD"]

    def test_a_rule_that_is_gone_has_no_use_any_more(
        self, listing: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        listing.enqueue_secondary()
        listing.document["secondary_assets"] = []
        listing.run_queue()
        assert (queued(listing), listing.paths) == ([], [])
        assert "taken out of the queue: tickers of crypto/USD" in caplog.text

    def test_that_init_has_done_meanwhile_leaves_the_queue_silently(
        self, listing: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        listing.enqueue_secondary()
        take(listing, COINS)
        listing.run_queue()
        assert (queued(listing), listing.paths) == ([], [])
        assert "taken out of the queue" not in caplog.text


class TestInit:
    """Looks up members with the calls that are free."""

    RULES = tuple({**RULE, "quote": quote} for quote in ("USD", "EUR", "GBP", "JPY"))

    def look_up(self, world: World) -> list[str | None]:
        """Return why the members of each rule are not complete."""
        with world.services() as services, Deadline(20) as deadline:
            return [rule.error for rule in look_up(services, deadline, Progress())]

    def test_leaves_the_first_priority_cycle_its_calls(self, make_world: MakeWorld) -> None:
        rules = list(self.RULES)
        world = make_world(limit=5, document={"priority_assets": PRIORITY, "secondary_assets": rules})
        assert "no call is free now" in self.look_up(world)
        assert len(world.paths) == 2
        assert world.run_priority().answered == len(PRIORITY)

    def test_takes_all_calls_where_no_priority_asset_needs_one(self, make_world: MakeWorld) -> None:
        rules = list(self.RULES)
        world = make_world(limit=5, document={"priority_assets": [], "secondary_assets": rules})
        self.look_up(world)
        assert len(world.paths) > 3


class TestDays:
    """Days of the past of the whole market, a call each."""

    @pytest.fixture
    def unknown(self, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
        """Before the members are looked up."""
        monkeypatch.setattr(days, "QUEUED_AT_ONCE", 3)  # each takes the simulated provider a while
        rule = {**RULE, "years_of_days": 1}
        return make_world(document={"priority_assets": [], "secondary_assets": [rule]}, days=None)

    @pytest.fixture
    def past(self, unknown: World) -> World:
        take(unknown, COINS)
        return unknown

    def stored(self, world: World) -> list[tuple[date, int]]:
        return world.rows("SELECT day, count(*) FROM market_data.ohlcv_1d GROUP BY day ORDER BY day DESC")

    def test_come_newest_first_behind_all_else(self, past: World) -> None:
        past.enqueue_secondary()
        ids = queued(past)
        assert (ids[0], ids[1]) == (GROUP, "reference:days:crypto:2026-11-16")
        assert len(ids) == 4
        past.run_queue()
        found = self.stored(past)
        assert found[0] == (date(2026, 11, 17), len(COINS))
        assert found[-1] == (date(2026, 11, 14), len(COINS))
        assert len(found) == 4

    def test_wait_until_the_members_of_their_market_are_known(self, unknown: World) -> None:
        unknown.enqueue_secondary()
        assert queued(unknown) == ["reference:tickers:crypto/USD"]
        unknown.run_queue()
        unknown.enqueue_secondary()
        assert len([name for name in queued(unknown) if "days" in name]) == 3

    def test_are_not_asked_for_where_nothing_fits_the_rule(
        self, unknown: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        take(unknown, [])
        unknown.enqueue_secondary()
        assert queued(unknown) == []
        with unknown.services() as services:
            services.queue.enqueue([("reference:days:crypto:2026-11-16", Lane.HISTORY)])
            (found,) = foreseen(services)
            problems = [problem.message for problem in collect(services).problems]
        unknown.run_queue()
        assert (queued(unknown), unknown.paths) == ([], [])
        assert "taken out of the queue" not in caplog.text
        assert (found.members, found.days) == (0, 0)
        assert "rule crypto/USD: nothing that the provider lists fits" in problems

    def test_are_those_that_a_rule_with_members_wants(self, past: World) -> None:
        past.document["secondary_assets"][0]["years_of_days"] = 0
        past.document["secondary_assets"].append({**RULE, "quote": "EUR", "years_of_days": 1})
        with past.services() as services:
            rule = services.config.rules[1]
            walk = continued(rule, None, services.now_ms())
            walk = advanced(rule, walk, None, services.now_ms(), is_last_page=True, is_whole=True)
            services.store.take_page(rule, [], walk, {}, TableMappings(), ())
        past.enqueue_secondary()
        assert queued(past) == [GROUP]

    def test_that_wait_are_not_asked_for_once_a_rule_without_members_is_there(self, past: World) -> None:
        past.enqueue_secondary()
        past.document["secondary_assets"].append({**RULE, "quote": "EUR"})
        past.run_queue()
        assert [path.rpartition("/")[2] for path in past.paths] == ["2026-11-17"]  # that of the prices
        assert queued(past) == []

    def test_that_have_come_are_not_asked_for_again(self, past: World) -> None:
        past.enqueue_secondary()
        past.run_queue()
        past.enqueue_secondary()
        assert queued(past)[0] == "reference:days:crypto:2026-11-13"

    def test_the_day_of_the_prices_counts(self, past: World, clock: SetClock) -> None:
        past.enqueue_secondary()
        past.run_queue()
        clock.at_ms += DAY_MS
        past.enqueue_secondary()
        assert "reference:days:crypto:2026-11-17" not in queued(past)

    def test_that_the_plan_does_not_show_end_the_search(self, past: World, clock: SetClock) -> None:
        """The newest of them costs a call, and again after a week; newer ones are asked for."""
        past.provider.order("not-authorized-200", times=100, path_contains="2026-11-15")
        past.enqueue_secondary()
        past.run_queue()
        asked = [path.rpartition("/")[2] for path in past.paths]
        assert asked == ["2026-11-17", "2026-11-16", "2026-11-15"]
        assert queued(past) == []
        before = len(past.paths)
        past.enqueue_secondary()
        past.run_queue()
        assert past.paths[before:] == []
        clock.at_ms += 7 * DAY_MS
        for _ in range(3):  # three days at once
            past.enqueue_secondary()
            past.run_queue()
        assert sum("2026-11-15" in path for path in past.paths[before:]) == 1
        assert sum("2026-11-14" in path for path in past.paths) == 0

    @pytest.mark.parametrize("fault", ["zeros", "wrong-types", "hole=2026-11-15"])
    def test_whose_answer_is_of_no_use_are_asked_for_again_after_a_week(
        self, past: World, clock: SetClock, fault: str
    ) -> None:
        bad = "2026-11-15"
        past.provider.order(fault, times=1, path_contains=bad)
        past.enqueue_secondary()
        past.run_queue()
        assert bad not in [str(day) for day, _ in self.stored(past)]
        past.enqueue_secondary()
        assert [name for name in queued(past) if bad in name] == []
        clock.at_ms += 7 * DAY_MS
        for _ in range(3):  # the days of the week come first
            past.enqueue_secondary()
            past.run_queue()
        assert bad in [str(day) for day, _ in self.stored(past)]

    def test_are_in_the_outlook(self, past: World) -> None:
        with past.services() as services:
            (found,) = foreseen(services)
        assert (found.members, found.days) == (len(COINS), 364)


class TestOtherCommands:
    """They see the members as they see other assets."""

    def test_the_health_document_has_them(self, world: World) -> None:
        with world.services() as services:
            assets = {asset.symbol for asset in collect(services).assets}
        assert assets == {f"{name}USD" for name in COINS}

    def test_without_a_database_the_health_document_is_made_all_the_same(self, world: World) -> None:
        world.document["database"] = {"url": "postgresql://me@127.0.0.1:9/x"}
        with world.services() as services:
            health = collect(services)
        assert (health.database_error, health.assets) == (True, [])

    def test_an_export_of_days_has_them_and_one_of_bars_does_not(self, world: World) -> None:
        with world.services() as services:
            assert len(chosen(services, [], ExportSize.DAY)) == len(COINS)
            assert chosen(services, [], ExportSize.FIVE_MINUTES) == []

    def test_a_member_without_bars_is_told_with_its_rule_beside_what_else_is_wrong(
        self, world: World
    ) -> None:
        with world.services() as services, pytest.raises(ConfigError) as caught:
            find_gaps(services, ["BTCUSD", "NOSUCH"], None)
        first, second = str(caught.value).splitlines()
        assert first == "BTCUSD keeps no bars (hint: bars: 5m in its rule of config.yml keeps them)"
        assert second.startswith("NOSUCH is no enabled asset that keeps bars (hint: ")

    def test_a_backfill_of_a_member_that_keeps_bars_is_planned(self, world: World) -> None:
        world.document["secondary_assets"] = [{**RULE, "bars": "5m"}]
        with world.services() as services:
            (found,) = find_gaps(services, ["BTCUSD"], None)
        assert found.symbol == "BTCUSD"

    def test_a_rule_that_is_edited_holds_at_once(self, world: World) -> None:
        world.document["secondary_assets"] = [{**RULE, "priority": "HIGH"}]
        world.enqueue_secondary()
        assert queued(world) == ["members:crypto:HIGH"]


class TestStocks:
    """The whole US market on the free plan."""

    @pytest.fixture
    def market(self, make_world: MakeWorld) -> World:
        rule = {"every": "stocks", "priority": "LOW", "bars": "none", "years_of_days": 0}
        return make_world(document={"priority_assets": [], "secondary_assets": [rule]})

    def grouped(self, world: World) -> list[str]:
        return [path.rpartition("/")[2] for path in world.paths if "/grouped/" in path]

    def start(self, world: World) -> None:
        world.enqueue_secondary()
        world.run_queue()

    def test_takes_one_call_a_trading_day(self, market: World, clock: SetClock) -> None:
        """From Wednesday to Sunday, over Thanksgiving on Thursday, every four hours."""
        clock.at_ms = to_ms(datetime(2026, 11, 25, 15, 0, tzinfo=UTC))
        market.init()
        self.start(market)
        for _ in range(24):
            clock.at_ms += 4 * HOUR_MS
            self.start(market)
        assert self.grouped(market) == ["2026-11-24", "2026-11-25", "2026-11-27"]

    def test_waits_for_the_end_of_the_first_walk(self, market: World, clock: SetClock) -> None:
        """One call brings a day of all of them, so a call a page would be in vain. If a page fails again and
        again, those that are known have waited long enough."""
        with market.services() as services:
            (rule,) = services.config.rules
            page = [ListedTicker(ticker=name, kind="CS") for name in ("AAPL", "MSFT")]
            walk = continued(rule, None, services.now_ms())
            walk = advanced(rule, walk, "MSFT", services.now_ms(), is_last_page=False, is_whole=True)
            services.store.take_page(rule, page, walk, {}, TableMappings(), ())
        market.enqueue_secondary()
        before = queued(market)
        clock.at_ms += HOUR_MS
        market.enqueue_secondary()
        late = set(queued(market)) - set(before)
        assert late == {"members:stocks:LOW", "reference:splits:1900-01-01:AAPL~MSFT"}

    def test_has_the_past_of_a_member_that_came_with_the_same_start(
        self, market: World, clock: SetClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(days, "QUEUED_AT_ONCE", 1)
        (rule,) = market.document["secondary_assets"]
        market.document["secondary_assets"] = [{**rule, "years_of_days": 1}]
        self.start(market)
        market.rows("DELETE FROM data_sources.assetbatch_members WHERE ticker = 'SPY' RETURNING 1")
        clock.at_ms += DAY_MS
        self.start(market)
        (day,) = self.grouped(market)[-1:]
        assert (date.fromisoformat(day), "SPY") in market.rows(
            "SELECT d.day, s.symbol FROM market_data.ohlcv_1d d JOIN trading.symbols s ON s.id = d.symbol_id"
        )

    def test_is_looked_up_by_exchange_and_type(self, market: World) -> None:
        (rule,) = market.document["secondary_assets"]
        market.document["secondary_assets"] = [{**rule, "exchange": "ARCX", "type": "ETF"}]
        self.start(market)
        with market.services() as services:
            services.load_members()
            assert {asset.symbol for asset in services.config.members} == {"GLD", "IWM", "SPY"}


class TestLease:
    """A group is one lease, whatever becomes of its work."""

    @pytest.fixture
    def owner(self, world: World) -> Iterator[tuple[Services, _LeaseOwner, list[Work]]]:
        world.enqueue_secondary()
        with world.services() as services, Deadline(20) as deadline:
            services.load_members()
            known, result = services.entitlements(), new_result(services, Command.RUN_QUEUE)
            lease = services.queue.take(10, 30)
            assert isinstance(lease, Lease)
            engine: Any = None  # nothing of the provider is asked here
            failures = _Failures(services.queue, engine, 0)
            owner = _LeaseOwner(services, deadline, failures, result)
            owner.hold(lease)
            (group,) = known_work(services, lease.ids).groups
            yield services, owner, owner.expand(GROUP, group_work(services, known, group))

    def done(self, work: Work, status: Status = Status.SUCCESS) -> Result:
        return Result(work=work, status=status, error=None if status is Status.SUCCESS else "broken")

    def test_is_complete_with_the_last_of_its_work(
        self, owner: tuple[Services, _LeaseOwner, list[Work]]
    ) -> None:
        services, leased, work = owner
        leased.on_stored([self.done(item) for item in work[:-1]])
        assert [item.state for item in services.queue.items()] == [ItemState.LEASED]
        leased.on_stored([self.done(work[-1])])
        assert services.queue.items() == []

    def test_is_complete_when_a_part_of_it_has_failed(
        self, owner: tuple[Services, _LeaseOwner, list[Work]]
    ) -> None:
        services, leased, work = owner
        leased.on_stored([self.done(work[0], Status.FAILED), *map(self.done, work[1:])])
        assert services.queue.items() == []

    def test_fails_when_all_of_it_has_failed(self, owner: tuple[Services, _LeaseOwner, list[Work]]) -> None:
        services, leased, work = owner
        leased.start([GROUP])
        leased.on_stored([self.done(item, Status.FAILED) for item in work])
        (item,) = services.queue.items()
        assert (item.id, item.state, item.attempts) == (GROUP, ItemState.DELAYED, 1)

    def test_goes_back_when_a_part_of_it_is_left_to_others(
        self, owner: tuple[Services, _LeaseOwner, list[Work]]
    ) -> None:
        services, leased, work = owner
        leased.on_stored([self.done(item) for item in work[:2]])
        assert leased.hand_back(work[2:]) == [item.id for item in work[2:]]
        (item,) = services.queue.items()
        assert (item.id, item.state, item.attempts) == (GROUP, ItemState.WAITING, 0)

    def test_that_is_lost_takes_all_its_work_along(
        self, owner: tuple[Services, _LeaseOwner, list[Work]]
    ) -> None:
        services, leased, work = owner
        services.redis.delete(services.keys.queue_leased)
        services.queue.enqueue([(GROUP, Lane.LOW)])  # it stands nowhere, so it is put in its lane again
        other = services.queue.take(10, 30)
        assert isinstance(other, Lease)
        assert set(leased.lost_leases(work[:2])) == {item.id for item in work[:2]}
        assert set(leased.lost_leases(work[2:])) == {item.id for item in work[2:]}

    def test_that_a_stop_interrupts_goes_back(self, owner: tuple[Services, _LeaseOwner, list[Work]]) -> None:
        services, leased, work = owner
        leased.on_stored([self.done(item) for item in work[:2]])
        leased.release()
        (item,) = services.queue.items()
        assert (item.id, item.state) == (GROUP, ItemState.WAITING)
