"""Listings of stocks, from the configuration to what is asked for and what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from assetbatch.commands.backfill import backfill
from assetbatch.commands.gaps import find_gaps
from assetbatch.commands.init import initialise
from assetbatch.domain.coverage import GapReason
from assetbatch.domain.listings import Details, Listing, ListingState
from assetbatch.domain.market_hours import set_listed_days, start_of_day, to_ms
from assetbatch.domain.queueing import Lane
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.health import collect
from assetbatch.provider.client import ProviderClient
from assetbatch.sandbox.listings import Exchange, Extra
from tests.world import SetClock, World

from .conftest import MakeWorld

TUESDAY_MS = to_ms(datetime(2026, 11, 10, 5, 10, tzinfo=UTC))  # just after New York's midnight
NEXT = date(2026, 11, 10)
"""The first day without a trade."""
FIRST = date(2026, 9, 22)
OWN = date(2026, 10, 20)
"""Since when a ticker is its company's that was another one's before, as META was."""
EXCHANGE = Exchange(
    extras=(
        Extra("DYING", traded=((date(2005, 1, 3), NEXT),)),
        Extra("ENDED", traded=((date(2005, 1, 3), date(2026, 6, 1)),)),
        Extra(
            "FORMER",
            traded=((date(2005, 1, 3), NEXT),),
            changes=((date(2005, 1, 3), "FORMER"), (NEXT, "LATER")),
        ),
        Extra(
            "TAKEN",
            listed=date(2012, 5, 18),
            traded=((date(2026, 9, 1), date(2026, 10, 1)), (OWN, None)),
            changes=((date(2012, 5, 18), "BEFORE"), (OWN, "TAKEN")),
        ),
        Extra("YOUNGER", listed=FIRST, traded=((FIRST, None),)),
        Extra("LATER", traded=((NEXT, None),), changes=((date(2005, 1, 3), "FORMER"), (NEXT, "LATER"))),
    )
)


@pytest.fixture(autouse=True)
def usual_days() -> Iterator[None]:
    yield
    set_listed_days({})


@pytest.fixture
def of(make_world: MakeWorld) -> Any:
    def make(*symbols: str, bars: str = "5m", **options: Any) -> World:
        assets = [{"symbol": symbol, "asset_type": "stocks", "bars": bars} for symbol in symbols]
        return make_world(
            now_ms=TUESDAY_MS,
            exchange=EXCHANGE,
            document={"priority_assets": [], "secondary_assets": assets},
            **options,
        )

    return make


def start(world: World) -> None:
    world.enqueue_secondary()
    world.run_queue()


def asked(world: World, of: str) -> list[str]:
    return [path for path in world.paths if "/reference/tickers/" in path and of in path]


def listing(world: World, symbol: str) -> Listing | None:
    with world.services() as services:
        return services.store.load([symbol])[symbol].listing


def state(world: World, symbol: str) -> AssetState:
    with world.services() as services:
        return next(one.state for one in collect(services).assets if one.symbol == symbol)


def five_sessions_later(world: World, clock: SetClock) -> None:
    """On the Wednesday of the next week, and an hour later, when it is known that there was nothing."""
    for later_ms in (8 * DAY_MS, HOUR_MS, 0):
        clock.at_ms += later_ms
        start(world)


class TestANewStock:
    def test_is_asked_for_once(self, of: Any, clock: SetClock) -> None:
        world = of("YOUNG")
        start(world)
        found = listing(world, "YOUNG")
        assert found is not None
        assert (found.state, found.first_day) == (ListingState.LISTED, date(2025, 3, 6))
        assert len(asked(world, "YOUNG")) == 1
        clock.at_ms += DAY_MS
        start(world)
        assert len(asked(world, "YOUNG")) == 1

    @pytest.mark.parametrize("plan", ["basic", "starter"])
    def test_that_is_an_index_in_truth_gets_advice(self, of: Any, clock: SetClock, plan: str) -> None:
        world = of("NDX", plan=plan)
        clock.at_ms += 10 * HOUR_MS  # in the session of the Tuesday
        start(world)
        with world.services() as services:
            problems = {one.message: one.hint or "" for one in collect(services).problems}
        assert "I:NDX, asset_type: indices" in problems["NDX: the provider lists no stock NDX"]

    @pytest.mark.parametrize("bars", ["5m", "none"])
    def test_that_never_was_costs_two_calls_a_week_and_no_bars(
        self, of: Any, clock: SetClock, bars: str
    ) -> None:
        world = of("AAPL", "NOSUCH", bars=bars, plan="starter", limit=None)
        clock.at_ms += 10 * HOUR_MS  # in the session of the Tuesday
        for _ in range(5):
            start(world)
            clock.at_ms += HOUR_MS
        assert state(world, "NOSUCH") is AssetState.NOT_FOUND
        found = [path for path in world.paths if "NOSUCH" in path or path.endswith("/reference/tickers")]
        assert found == ["/v3/reference/tickers/NOSUCH", "/v3/reference/tickers"]

    def test_without_bars_is_not_asked_for(self, of: Any) -> None:
        world = of("YOUNG", "AAPL", bars="none")
        start(world)
        assert asked(world, "") == []

    def test_has_no_bars_asked_for_from_before_its_ticker_was_its_own(self, of: Any) -> None:
        world = of("TAKEN", days=60)
        with world.services() as services:
            backfill(services, ["TAKEN"], date(2026, 9, 1), None, dry_run=False)
        with world.services() as services:  # its price may go before it
            services.queue.enqueue([("reference:listing:TAKEN", Lane.HIGH)])
        world.run_queue()
        for _ in range(3):
            start(world)
        own_ms = start_of_day(OWN)
        starts = [int(path.split("/")[-2]) for path in world.paths if "/range/" in path]
        assert min(starts) == own_ms
        with world.services() as services:
            (found,) = find_gaps(services, ["TAKEN"], start_of_day(date(2026, 9, 1)))
        assert found.complete == 1
        first = found.gaps[0]
        assert (first.reason, first.end_ms <= own_ms) == (GapReason.NOT_LISTED, True)

    def test_has_no_page_asked_for_that_is_taken_together_with_its_listing(self, of: Any) -> None:
        """Calls run in parallel, and a lease has many items."""
        world = of("YOUNGER", plan="starter", days=60, limit=None)
        with world.services() as services:
            backfill(services, ["YOUNGER"], date(2026, 9, 1), date(2026, 9, 30), dry_run=False)
            services.queue.enqueue([("reference:listing:YOUNGER", Lane.BARS)])
        world.run_queue()
        starts = sorted(int(path.split("/")[-2]) for path in world.paths if "/range/" in path)
        assert starts[0] == start_of_day(FIRST)

    def test_has_no_page_planned_from_before_its_listing(self, of: Any) -> None:
        world = of("YOUNG")
        start(world)
        with world.services() as services:
            report = backfill(services, ["YOUNG"], date(2025, 1, 6), None, dry_run=True)
        (symbol,) = report.symbols
        assert min(first for first, _ in [*symbol.pages, *symbol.doubtful_pages]) >= date(2025, 3, 6)

    def test_is_kept_without_a_listing_where_the_plan_refuses_it_and_that_is_told_once(
        self, of: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = of("AAPL", "MSFT", "NVDA")
        world.provider.order("not-authorized-200", times=None, path_contains="/v3/reference/tickers/")
        start(world)
        assert len(asked(world, "/v3/")) == 1
        assert sum("the plan does not have it" in message for message in caplog.messages) == 1
        start(world)
        assert len(asked(world, "/v3/")) == 1
        assert state(world, "NVDA") is AssetState.FRESH

    @pytest.mark.parametrize("fault", ["not-authorized-200", "status=404"])
    def test_is_kept_without_its_former_tickers_where_they_are_refused(
        self, of: Any, caplog: pytest.LogCaptureFixture, fault: str
    ) -> None:
        world = of("YOUNG", "AAPL")
        world.provider.order(fault, times=None, path_contains="/vX/")
        start(world)
        assert len(asked(world, "/vX/")) == 1
        found = listing(world, "YOUNG")
        assert found is not None
        assert found.first_day == date(2025, 3, 6)
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


class TestASilentStock:
    def test_that_is_delisted_is_asked_for_once_and_then_left_alone(self, of: Any, clock: SetClock) -> None:
        world = of("AAPL", "DYING", bars="none")
        start(world)
        five_sessions_later(world, clock)
        assert asked(world, "") == ["/v3/reference/tickers/DYING"]
        found = listing(world, "DYING")
        assert found is not None
        assert (found.state, found.until) == (ListingState.DELISTED, NEXT)
        assert state(world, "DYING") is AssetState.DELISTED
        with world.services() as services:
            assert not [one for one in collect(services).problems if "DYING" in one.message]
        calls = len(world.paths)
        del world.document["secondary_assets"][0]
        clock.at_ms += DAY_MS
        start(world)
        assert [path for path in world.paths[calls:] if "marketstatus" not in path] == []

    def test_whose_ticker_is_another_companys_now_has_ended(
        self, of: Any, clock: SetClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = of("AAPL", "DYING", bars="none")
        start(world)
        with world.services() as services:
            services.store.save_listing("DYING", Listing(asked_ms=TUESDAY_MS, figi="BBG000000001"))
        another = Details(figi="BBG000000002", list_date=date(2026, 11, 16))
        monkeypatch.setattr(ProviderClient, "details", lambda *_, **__: another)
        five_sessions_later(world, clock)
        found = listing(world, "DYING")
        assert found is not None
        assert (found.state, found.figi) == (ListingState.DELISTED, "BBG000000001")

    def test_that_snapshots_do_not_find_leaves_no_dead_letter(self, of: Any, clock: SetClock) -> None:
        world = of("AAPL", "DYING", bars="none", plan="starter", limit=None)
        clock.at_ms -= 8 * HOUR_MS  # the last session is open
        start(world)
        clock.at_ms += DAY_MS
        start(world)
        with world.services() as services:
            assert [letter.id for letter in services.queue.dead_letters(9)] == ["DYING"]
        five_sessions_later(world, clock)
        assert state(world, "DYING") is AssetState.DELISTED
        with world.services() as services:
            assert services.queue.dead_letters(9) == []

    @pytest.mark.parametrize("bars", ["5m", "1m", "none"])
    @pytest.mark.parametrize("plan", ["basic", "starter"])
    def test_that_is_renamed_gets_advice(self, of: Any, clock: SetClock, plan: str, bars: str) -> None:
        world = of("AAPL", "FORMER", bars=bars, plan=plan, limit=None)
        start(world)
        five_sessions_later(world, clock)
        assert state(world, "FORMER") is AssetState.DELISTED
        with world.services() as services:
            problems = [one for one in collect(services).problems if "FORMER" in one.message]
        assert [one.message for one in problems] == [
            f"FORMER: renamed to LATER since {NEXT}; nothing is asked for any more"
        ]

    @pytest.mark.parametrize("bars", ["5m", "1m", "none"])
    @pytest.mark.parametrize("plan", ["basic", "starter"])
    def test_that_was_renamed_before_it_was_registered_gets_advice(
        self, of: Any, clock: SetClock, plan: str, bars: str
    ) -> None:
        world = of("AAPL", "OLDX", bars=bars, plan=plan, limit=None)
        clock.at_ms += 10 * HOUR_MS  # in the session of the Tuesday
        for _ in range(3):
            start(world)
            clock.at_ms += HOUR_MS
        assert state(world, "OLDX") is AssetState.DELISTED
        with world.services() as services:
            problems = [one for one in collect(services).problems if "OLDX" in one.message]
            assert services.queue.dead_letters(9) == []
        assert [one.message for one in problems] == [
            "OLDX: renamed to NEWX since 2025-04-14; nothing is asked for any more"
        ]
        calls = len(world.paths)
        for _ in range(3):
            clock.at_ms += HOUR_MS
            start(world)
        assert [path for path in world.paths[calls:] if "OLDX" in path] == []

    def test_that_had_ended_before_it_was_registered_is_told_again_after_init(self, of: Any) -> None:
        world = of("ENDED")
        start(world)
        start(world)
        assert state(world, "ENDED") is AssetState.DELISTED
        world.init()
        start(world)
        start(world)
        assert len(asked(world, "ENDED")) == 2
        assert state(world, "ENDED") is AssetState.DELISTED

    @pytest.mark.parametrize("plan", ["basic", "starter"])
    def test_that_has_ended_stays_so_after_init_until_it_is_asked_for(
        self, of: Any, clock: SetClock, plan: str
    ) -> None:
        world = of("AAPL", "ENDED", plan=plan, limit=None)
        clock.at_ms += 10 * HOUR_MS  # in the session of the Tuesday
        start(world)
        world.init()
        clock.at_ms += HOUR_MS
        world.enqueue_secondary()
        assert state(world, "ENDED") is AssetState.DELISTED
        with world.services() as services:
            assert not [one for one in collect(services).problems if "ENDED" in one.message]
            assert [one.id for one in services.queue.items() if "ENDED" in one.id] == [
                "reference:listing:ENDED"
            ]
            (found,) = find_gaps(services, ["ENDED"], start_of_day(date(2026, 11, 2)))
        assert {gap.reason for gap in found.gaps} == {GapReason.NOT_LISTED}
        world.run_queue()
        assert len(asked(world, "ENDED")) == 2
        assert state(world, "ENDED") is AssetState.DELISTED

    def test_that_has_ended_is_left_alone_by_a_start_of_the_sandbox(self, of: Any) -> None:
        world = of("ENDED")
        start(world)
        start(world)
        with world.services() as services:
            initialise(services, anew=False)
        start(world)
        assert len(asked(world, "ENDED")) == 1
        assert state(world, "ENDED") is AssetState.DELISTED

    def test_that_has_ended_is_asked_for_once_more_after_init(self, of: Any, clock: SetClock) -> None:
        world = of("AAPL", "DYING", bars="none")
        start(world)
        five_sessions_later(world, clock)
        world.init()
        clock.at_ms += DAY_MS
        start(world)
        start(world)
        assert len(asked(world, "DYING")) == 2
        assert state(world, "DYING") is AssetState.DELISTED
