"""Calls for reference data, from the configuration to what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time

import pytest

from assetbatch.commands.enqueue_secondary import _in_words
from assetbatch.commands.queue_items import list_queue
from assetbatch.config import Config
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.item_words import work_in_words
from assetbatch.domain.market_hours import day_of, sessions, set_listed_days, special_day, to_ms
from assetbatch.domain.nyse import SpecialDay
from assetbatch.domain.queueing import CallKind, DenialReason, Lane
from assetbatch.domain.references import REFUSED_MS, Asked, AskOutcome, Reference, ReferenceKind
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.errors import KeyRefusedError, UnreachableError
from assetbatch.health import collect
from assetbatch.provider.answers import ListedDays
from assetbatch.refresh.references import HANDLERS
from assetbatch.refresh.references.handler import Stored
from assetbatch.refresh.references.holidays import HolidaysHandler
from assetbatch.sandbox.exchange import Closure
from assetbatch.sandbox.listings import Exchange
from assetbatch.services import Services
from assetbatch.state.queue import Lease
from assetbatch.state.reference_store import KEPT_MS
from tests.world import SetClock, World

from .conftest import MakeWorld

ID = "reference:holidays"
PATH = "/v1/marketstatus/upcoming"


@pytest.fixture(autouse=True)
def stocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An asset follows the stock exchange; what a test learns of it is forgotten."""
    monkeypatch.setattr(Config, "follows_exchange", True)
    yield
    set_listed_days({})


def queued(world: World) -> list[str]:
    with world.services() as services:
        return [entry.item.id for entry in list_queue(services)]


def enqueue(world: World, *ids: str) -> None:
    with world.services() as services:
        services.queue.enqueue([(item_id, Lane.BARS) for item_id in ids])


def asked(world: World) -> Asked | None:
    with world.services() as services:
        return services.reference_store.load().get("holidays")


class TestHolidays:
    def test_are_asked_for_once_a_week(self, free: World, clock: SetClock) -> None:
        free.enqueue_secondary()
        assert ID in queued(free)
        result = free.run_queue()
        assert free.paths.count(PATH) == 1
        assert "reference:holidays" in [one.work_id for one in result.assets if one.is_well]
        clock.at_ms += 7 * DAY_MS - HOUR_MS
        free.enqueue_secondary()
        assert ID not in queued(free)
        clock.at_ms += HOUR_MS
        free.enqueue_secondary()
        assert ID in queued(free)

    @pytest.mark.parametrize("name", ["A storm", None])
    def test_are_asked_for_daily_while_one_is_near_that_may_be_lifted(
        self, free: World, clock: SetClock, name: str | None
    ) -> None:
        """Its day is a trading day again, once the list leaves it out."""
        closed = day_of(clock.at_ms + DAY_MS)
        enqueue(free, ID)
        free.run_queue()
        with free.services() as services:
            services.reference_store.keep_special_days({closed: SpecialDay(name)} if name else {})
        clock.at_ms += DAY_MS
        free.enqueue_secondary()
        assert (ID in queued(free)) is bool(name)
        free.run_queue()
        assert sessions(Market.STOCK, closed)

    def test_are_not_asked_for_where_nothing_follows_the_exchange(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Config, "follows_exchange", False)
        free.enqueue_secondary()
        enqueue(free, ID)
        free.run_queue()
        assert PATH not in free.paths
        assert ID not in queued(free)

    def test_hold_in_every_process_that_asks_what_the_plan_has(self, free: World) -> None:
        day = date(2027, 3, 3)
        listed = {day: SpecialDay("A funeral"), date(2027, 3, 4): SpecialDay("After it", time(13))}
        with free.services() as services:
            services.reference_store.keep_special_days(listed)
        assert special_day(Market.STOCK, day) is None
        with free.services() as services:
            services.entitlements()
            assert services.reference_store.special_days() == listed
        assert special_day(Market.STOCK, day) == SpecialDay("A funeral")

    def test_that_were_learned_stay_where_a_later_list_ends_before_them(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Past closures and later days are kept; what the provider leaves out between is withdrawn."""
        past, gone, far = date(2026, 11, 16), date(2026, 11, 30), date(2028, 1, 3)
        with free.services() as services:
            services.reference_store.keep_special_days(
                {day: SpecialDay("A closure") for day in (past, gone, far)}
            )
        enqueue(free, ID)
        free.run_queue()
        with free.services() as services:
            days = services.reference_store.special_days()
        assert past in days
        assert far in days
        assert gone not in days
        assert days[date(2026, 12, 25)].name == "Christmas Day"


def test_on_a_closure_that_nobody_has_planned_nothing_is_asked_and_nothing_is_stale(
    make_world: MakeWorld, clock: SetClock
) -> None:
    closed = date(2026, 11, 19)
    world = make_world(
        plan="starter",
        exchange=Exchange(closures=(Closure(closed, "A funeral", date(2026, 11, 16)),)),
        document={
            "priority_assets": [],
            "secondary_assets": [{"symbol": "AAPL", "asset_type": "stocks"}],
        },
    )
    world.enqueue_secondary()
    world.run_queue()
    for hour in (21, 23):  # what the day before has left
        clock.at_ms = to_ms(datetime(2026, 11, 18, hour, 40, tzinfo=UTC))
        world.enqueue_secondary()
        world.run_queue()
    calls = len(world.paths)
    for hour in (14, 15, 18, 21):
        clock.at_ms = to_ms(datetime(2026, 11, 19, hour, 45, tzinfo=UTC))
        world.enqueue_secondary()
        assert set(queued(world)) <= {ID}  # whether it still is a closure
        world.run_queue()
        with world.services() as services:
            (asset,) = collect(services).assets
        assert (asset.state, asset.market) == (AssetState.FRESH, "closed")
    assert world.paths[calls:] == [PATH]


def test_what_was_asked_long_ago_is_forgotten_though_other_names_are_not(
    free: World, clock: SetClock
) -> None:
    with free.services() as services:
        for name, age_ms in (("listing:OLD", KEPT_MS), ("listing:NEW", KEPT_MS - HOUR_MS)):
            services.reference_store.remember(name, Asked(clock.at_ms - age_ms, AskOutcome.REFUSED))
    free.enqueue_secondary()
    with free.services() as services:
        assert list(services.reference_store.load()) == ["listing:NEW"]


class TestACall:
    def test_takes_the_slot_of_its_lease_and_counts_as_any_call(self, free: World) -> None:
        enqueue(free, ID)
        result = free.run_queue()
        assert (result.calls, result.answered, result.result) == (1, 1, "ok")
        with free.services() as services:
            assert services.window.state().used == 1
            assert services.history.slowest_call_ms() is not None

    def test_comes_after_all_prices(self, free: World) -> None:
        free.enqueue_secondary()
        free.run_queue()
        assert free.paths[-1] == PATH

    def test_goes_with_the_prices_of_its_lease(self, paid: World) -> None:
        paid.enqueue_secondary()
        result = paid.run_queue()
        assert PATH in paid.paths
        assert queued(paid) == []
        assert {"ETHUSD", "GBPUSD", "USDJPY", "holidays"} <= {one.symbol for one in result.assets}

    def test_waits_for_a_slot_no_longer_than_its_start_has(self, make_world: MakeWorld) -> None:
        world = make_world(limit=1)
        enqueue(world, ID)
        with world.services() as services:
            services.window.ask(CallKind.PRIORITY)
        result = world.run_queue(seconds=3)
        assert result.calls == 0
        assert result.ended_because
        assert queued(world) == [ID]

    def test_that_fails_for_the_last_time_is_a_dead_letter(self, make_world: MakeWorld) -> None:
        world = make_world(document={"queue": {"retry_max_attempts": 1}})
        world.provider.order("html", path_contains="marketstatus")
        enqueue(world, ID, "ETHUSD")
        world.run_queue()
        with world.services() as services:
            (letter,) = services.queue.dead_letters(10)
        assert (letter.id, letter.attempts) == (ID, 1)

    def test_that_failed_is_not_queued_again_at_once(self, free: World, clock: SetClock) -> None:
        free.provider.order("html", path_contains="marketstatus")
        enqueue(free, ID)
        free.run_queue()
        found = asked(free)
        assert found is not None
        assert found.outcome is AskOutcome.FAILED
        with free.services() as services:
            services.queue.cancel([ID])
        free.enqueue_secondary()
        assert ID not in queued(free)
        clock.at_ms += HOUR_MS
        free.enqueue_secondary()
        assert ID in queued(free)

    def test_that_fails_lets_the_work_behind_it_go_on(self, free: World) -> None:
        """A single failure may be the fault of its endpoint."""
        free.provider.order("status=503", times=None, path_contains="marketstatus")
        enqueue(free, ID, "ETHUSD")
        result = free.run_queue()
        assert {one.symbol for one in result.assets} == {"holidays", "ETHUSD"}
        assert queued(free) == [ID]

    def test_ends_the_run_where_the_provider_is_down(self, free: World) -> None:
        free.provider.order("status=503", times=None)
        enqueue(free, ID)
        with pytest.raises(UnreachableError):
            free.run_queue()
        assert queued(free) == [ID]

    def test_that_the_plan_lacks_is_told_once_and_asked_again_after_a_week(
        self, free: World, clock: SetClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        free.provider.order("not-authorized-200", times=None, path_contains="marketstatus")
        enqueue(free, ID)
        assert free.run_queue().exit_code == 0
        assert sum("the plan does not have it" in message for message in caplog.messages) == 1
        with free.services() as services:
            assert services.queue.dead_letters(10) == []
        clock.at_ms += REFUSED_MS - HOUR_MS
        free.enqueue_secondary()
        assert ID not in queued(free)
        clock.at_ms += HOUR_MS
        free.enqueue_secondary()
        assert ID in queued(free)

    def test_that_is_one_too_many_blocks_all_and_stays_in_the_queue(self, free: World) -> None:
        free.provider.order("429", path_contains="marketstatus")
        enqueue(free, ID)
        result = free.run_queue()
        assert result.too_many_calls
        assert queued(free) == [ID]
        with free.services() as services:
            assert services.window.state().pause is DenialReason.BLOCKED

    def test_with_a_wrong_key_ends_the_run_and_stays_in_the_queue(self, free: World) -> None:
        free.provider.order("status=401", path_contains="marketstatus")
        enqueue(free, ID)
        with pytest.raises(KeyRefusedError):
            free.run_queue()
        with free.services() as services:
            (entry,) = list_queue(services)
        assert (entry.item.id, entry.item.attempts) == (ID, 0)

    def test_that_somebody_else_has_taken_over_does_not_go_out(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enqueue(free, ID)
        describe = HolidaysHandler.is_wanted

        def is_taken(self: HolidaysHandler, services: Services, reference: Reference) -> bool:
            services.redis.hset(services.keys.queue_items, ID, "4:0:1:another:60000")
            return describe(self, services, reference)

        monkeypatch.setattr(HolidaysHandler, "is_wanted", is_taken)
        assert free.run_queue().calls == 0
        assert PATH not in free.paths


class Pages(HolidaysHandler):
    """Tickers in three pages, in an answer of another endpoint."""

    def is_wanted(self, _services: Services, _reference: Reference) -> bool:
        return True

    def describe(self, reference: Reference) -> str:
        return f"tickers, {reference.detail}"

    def store(self, services: Services, reference: Reference, answer: ListedDays, now_ms: int) -> Stored:
        page = int(reference.detail)
        return Stored(follows=[Reference(ReferenceKind.TICKERS, str(page + 1))] if page < 3 else [])


def test_a_page_queues_the_next_one(free: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HANDLERS, ReferenceKind.TICKERS, Pages())
    enqueue(free, "reference:tickers:1")
    result = free.run_queue()
    assert [one.symbol for one in result.assets] == ["tickers:1", "tickers:2", "tickers:3"]
    assert free.paths.count(PATH) == 3
    assert queued(free) == []


def test_what_an_answer_brings_is_asked_for_again_if_its_run_died_before_it_was_finished(free: World) -> None:
    enqueue(free, ID)
    with free.services() as services:
        lease = services.queue.take(1, 60)
        assert isinstance(lease, Lease)
        services.queue.start(lease.token, [ID], 60)
        services.queue.release(lease.token, [ID])
    free.run_queue()
    assert queued(free) == []


def test_a_kind_of_a_later_version_is_taken_out(free: World, caplog: pytest.LogCaptureFixture) -> None:
    enqueue(free, "reference:dividends")
    free.run_queue()
    assert "taken out of the queue: reference:dividends" in caplog.text
    assert queued(free) == []


def test_dry_runs_show_it(free: World) -> None:
    assert "enqueue holidays of the stock exchange as BARS" in free.enqueue_secondary(dry_run=True).plan
    enqueue(free, ID)
    assert "call 1: holidays of the stock exchange (it is due)" in free.run_queue(dry_run=True).plan
    assert PATH not in free.paths


def test_a_dry_run_has_the_order_of_the_queue_and_says_what_becomes_of_the_rest(free: World) -> None:
    with free.services() as services:
        page = "history:ETHUSD:2026-09-01:2026-09-30"
        services.queue.enqueue([(page, Lane.HISTORY), (ID, Lane.BARS), ("GONE", Lane.LOW)])
        services.queue.enqueue([("ETHUSD", Lane.HIGH), ("reference:listing:AAPL", Lane.BARS)])
    *calls, first, last = free.run_queue(dry_run=True).plan
    assert [call.split(": ")[0] for call in calls] == ["call 1", "call 2", "call 3"]
    assert [call.split(": ")[1].partition(",")[0] for call in calls] == [
        "5-minute bars of X:ETHUSD",
        "holidays of the stock exchange (it is due)",
        "5-minute bars of X:ETHUSD",
    ]
    assert first == "no call: price of GONE (not in the configuration any more)"
    assert last == "no call: listing of AAPL (not in the configuration any more)"


def test_what_is_taken_out_is_one_line(free: World, caplog: pytest.LogCaptureFixture) -> None:
    enqueue(free, "reference:listing:AAPL")
    enqueue(free, "GONE")
    free.run_queue()
    (line,) = [record.getMessage() for record in caplog.records if "taken out" in record.getMessage()]
    assert line == (
        "taken out of the queue: listing of AAPL, price of GONE (not in the configuration any more)"
    )


@pytest.mark.parametrize(
    ("item_id", "words"),
    [
        (ID, "holidays of the stock exchange"),
        ("reference:listing:BRK.B", "listing of BRK.B"),
        ("reference:former:BRK.B@2026-09-01", "listing of BRK.B on 2026-09-01"),
        ("reference:renames:META@FB", "renames of META"),
        ("reference:tickers:stocks/XNAS", "tickers of stocks/XNAS"),
        ("reference:tickers:stocks/XNAS+1", "tickers of stocks/XNAS, page 2"),
        ("reference:days:stocks:2026-11-16", "daily bars of all stocks on 2026-11-16"),
        ("reference:dividends", "reference:dividends"),
    ],
)
def test_people_read_what_it_is(item_id: str, words: str) -> None:
    assert work_in_words(item_id) == words


def test_days_of_a_market_are_one_line() -> None:
    days = [
        ("reference:days:stocks:2026-11-16", Lane.HISTORY),
        ("reference:days:stocks:2026-11-13", Lane.HISTORY),
    ]
    assert _in_words([*days, ("ETHUSD", Lane.HIGH), (ID, Lane.BARS)]) == [
        ("price of ETHUSD", Lane.HIGH),
        ("holidays of the stock exchange", Lane.BARS),
        ("daily bars of all stocks on 2 days, 2026-11-13 to 2026-11-16", Lane.HISTORY),
    ]
