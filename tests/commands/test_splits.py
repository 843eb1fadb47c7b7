"""Splits of stocks, from the configuration to the adjusted views, with the simulated provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from urllib.request import urlopen

import pytest

from assetbatch.commands.queue_items import list_queue
from assetbatch.domain import splits
from assetbatch.domain.market_hours import last_midnight, new_york_zone, to_ms
from assetbatch.domain.references import REFUSED_MS
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.health import collect
from assetbatch.provider import client
from assetbatch.sandbox.listings import Exchange, Extra, Split
from tests.documented import shows
from tests.world import KEY, SetClock, World

from .conftest import MakeWorld

WEDNESDAY = date(2025, 11, 19)  # PostgreSQL goes by its own clock, so all of it has to be over
MONDAY, FRIDAY = date(2025, 11, 17), date(2025, 11, 14)
LATER = date(2025, 11, 20)
EXCHANGE = Exchange(
    extras=(
        Extra("TWICE", splits=(Split(FRIDAY, 1, 7), Split(MONDAY, 1, 4))),
        Extra("MORE", splits=(Split(MONDAY, 20, 21, kind="stock_dividend"),)),
        Extra("LATE", splits=(Split(MONDAY, 8, 1, listed=LATER),)),
        Extra("FALSE", splits=(Split(MONDAY, 1, 3, unlisted=LATER, is_true=False),)),
        Extra("BOTH", splits=(Split(MONDAY, 1, 2), Split(MONDAY, 1, 5, unlisted=LATER, is_true=False))),
        Extra("PLAIN"),
    )
)


def at(day: date, time: str = "00:06") -> int:
    return to_ms(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=new_york_zone()))


@pytest.fixture
def of(make_world: MakeWorld) -> Any:
    """Stocks on the free plan, on Wednesday just after New York's midnight; trading began a week before."""

    def make(*symbols: str, **settings: Any) -> World:
        assets = [{"symbol": symbol, "asset_type": "stocks", **settings} for symbol in symbols]
        return make_world(
            plan="basic",
            now_ms=at(WEDNESDAY),
            exchange=EXCHANGE,
            days=8,
            document={"priority_assets": [], "secondary_assets": assets},
        )

    return make


def starts(world: World, count: int = 2) -> list[Mapping[str, str]]:
    """Start the queue as cron does. Return what was asked of the splits."""
    since = len(world.provider.arrivals)
    for _ in range(count):
        world.enqueue_secondary()
        world.run_queue()
        world.clock.at_ms += 60_000
    return [one.query for one in world.provider.arrivals[since:] if one.path == "/stocks/v1/splits"]


def days(query: Mapping[str, str]) -> tuple[str, str]:
    return query["execution_date.gte"], query["execution_date.lte"]


def states(world: World) -> dict[str, list[tuple[date, str]]]:
    found: dict[str, list[tuple[date, str]]] = {}
    for symbol, day, state in world.rows(
        "SELECT s.symbol, d.execution_date, d.state FROM market_data.splits d"
        " JOIN trading.symbols s ON s.id = d.symbol_id ORDER BY 1, 2"
    ):
        found.setdefault(symbol, []).append((day, state))
    return found


def adjusted(world: World, symbol: str) -> list[tuple[float, ...]]:
    """The provider's adjusted answer of now: start, prices, volume, average."""
    bounds = f"{at(WEDNESDAY) - 12 * DAY_MS}/{last_midnight(world.clock.at_ms) - 1}"
    target = f"/v2/aggs/ticker/{symbol}/range/5/minute/{bounds}"
    url = f"{world.provider.base_url}{target}?adjusted=true&sort=asc&limit=50000&apiKey={KEY}"
    with urlopen(url) as response:
        rows = json.loads(response.read())["results"]
    return [tuple(row[name] for name in ("t", "o", "h", "l", "c", "v", "vw")) for row in rows]


def stored(world: World, symbol: str, view: str = "ohlcv_5m_adjusted") -> list[tuple[float, ...]]:
    return [
        tuple(map(float, row))
        for row in world.rows(
            "SELECT extract(epoch FROM ts) * 1000, open, high, low, close, volume, vwap"
            f" FROM market_data.{view} v JOIN trading.symbols s ON s.id = v.symbol_id"
            f" WHERE s.symbol = '{symbol}' ORDER BY ts"
        )
    ]


def assert_adjusted(world: World, symbol: str) -> None:
    found = stored(world, symbol)
    theirs = {row[0]: row for row in adjusted(world, symbol)}
    assert len(found) > 300
    for row in found:
        assert row == pytest.approx(theirs[row[0]], rel=1e-9)


class TestAdjustedBars:
    def test_are_the_providers(self, of: Any) -> None:
        world = of("TWICE", "MORE", "LATE", "PLAIN")
        starts(world)
        for symbol in ("TWICE", "MORE", "PLAIN"):
            assert_adjusted(world, symbol)
        assert stored(world, "TWICE")[0][1] == pytest.approx(
            stored(world, "TWICE", "ohlcv_5m")[0][1] / 28, rel=1e-12
        )

    def test_are_the_providers_after_a_split_that_is_listed_late(self, of: Any, clock: SetClock) -> None:
        """It costs one call and writes no bar."""
        world = of("LATE", bars="5m")
        starts(world)
        before = world.rows("SELECT xmin::text, * FROM market_data.ohlcv_5m ORDER BY symbol_id, ts")
        assert stored(world, "LATE") == stored(world, "LATE", "ohlcv_5m")
        clock.at_ms = at(LATER)
        assert len(starts(world)) == 1
        assert states(world) == {"LATE": [(MONDAY, "applied")]}
        after = world.rows("SELECT xmin::text, * FROM market_data.ohlcv_5m ORDER BY symbol_id, ts")
        assert after[: len(before)] == before
        assert_adjusted(world, "LATE")

    def test_are_the_providers_where_the_splits_were_learnt_first(self, of: Any, clock: SetClock) -> None:
        world = of("TWICE", bars="none")
        starts(world)
        assert states(world) == {"TWICE": [(FRIDAY, "applied"), (MONDAY, "applied")]}
        world.document["secondary_assets"][0]["bars"] = "5m"
        clock.at_ms = at(LATER)
        starts(world)
        assert_adjusted(world, "TWICE")


class TestCalls:
    def test_are_one_a_day_and_one_for_new_stocks(self, of: Any, clock: SetClock) -> None:
        world = of("TWICE", "MORE", bars="none")
        market, history = starts(world)
        assert "ticker.any_of" not in market
        assert history["ticker.any_of"] == "MORE,TWICE"
        clock.at_ms = at(WEDNESDAY, "23:50")
        assert starts(world) == []
        clock.at_ms = at(LATER, "00:10")
        (again,) = starts(world)
        assert days(again) == ("2025-11-12", "2025-12-04")
        world.document["secondary_assets"].append({"symbol": "PLAIN", "asset_type": "stocks", "bars": "none"})
        world.init()
        (new,) = starts(world)
        assert new["ticker.any_of"] == "PLAIN"

    def test_are_none_while_the_exchange_stays_closed(self, of: Any, clock: SetClock) -> None:
        world = of("TWICE", bars="none")
        starts(world)
        clock.at_ms = at(date(2025, 11, 22), "12:00")  # Saturday
        assert starts(world) == []
        clock.at_ms = at(date(2025, 11, 24))
        assert len(starts(world)) == 1
        clock.at_ms = at(date(2025, 11, 27), "12:00")  # Thanksgiving
        assert starts(world) == []

    def test_reach_back_over_a_pause(self, of: Any, clock: SetClock) -> None:
        world = of("PLAIN", bars="none")
        starts(world)
        clock.at_ms += 20 * DAY_MS
        (again,) = starts(world)
        assert days(again) == ("2025-11-12", "2025-12-23")

    def test_are_none_without_stocks(self, free: World) -> None:
        assert starts(free) == []

    def test_of_a_full_page_go_on_where_it_ended(self, of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "_MAX_SPLITS", 5)
        world = of("TWICE", "MORE", "BOTH", bars="none")
        assert len(starts(world, 3)) > 2
        assert states(world)["TWICE"] == [(FRIDAY, "applied"), (MONDAY, "applied")]
        with world.services() as services:
            assert list_queue(services) == []

    @pytest.fixture
    def many(self, of: Any, monkeypatch: pytest.MonkeyPatch) -> World:
        """Three stocks in the place of 12,500, a ticker a call, and some splits a page."""
        monkeypatch.setattr(splits, "TICKERS_A_CALL", 1)
        monkeypatch.setattr(splits, "CALLS_FOR_ALL", 2)
        monkeypatch.setattr(client, "_MAX_SPLITS", 60)
        world: World = of("TWICE", "AAPL", "BOTH", bars="none")
        return world

    def test_of_many_stocks_come_with_those_of_the_whole_market(self, many: World, clock: SetClock) -> None:
        asked = starts(many, 4)
        since = [query["execution_date.gte"] for query in asked]
        assert since.count("1900-01-01") == 1
        assert len(since) == len(set(since)) > 2
        assert not [query for query in asked if "ticker.any_of" in query]
        assert len(states(many)["AAPL"]) == 5
        with many.services() as services:
            assert list_queue(services) == []
            assert services.store.unasked_splits({"AAPL": "AAPL", "TWICE": "TWICE", "BOTH": "BOTH"}) == []
        clock.at_ms += 2 * HOUR_MS
        assert starts(many) == []

    def test_of_many_stocks_begin_anew_where_one_is_added_meanwhile(self, many: World) -> None:
        """It would lack what the first pages have."""
        many.enqueue_secondary()
        with many.services() as services:
            assert sum("1900" in entry.item.id for entry in list_queue(services)) == 1
        many.document["secondary_assets"].append({"symbol": "FLIP", "asset_type": "stocks", "bars": "none"})
        many.init()
        asked = starts(many, 4)
        assert [query["execution_date.gte"] for query in asked].count("1900-01-01") == 1
        assert len(states(many)["AAPL"]) == 5
        assert states(many)["FLIP"][0][0].year == 2010

    def test_that_the_plan_lacks_are_not_repeated_for_a_week(self, of: Any, clock: SetClock) -> None:
        world = of("TWICE", bars="none")
        world.provider.order("not-authorized-200", times=None, path_contains="splits")
        assert 1 <= len(starts(world, 3)) <= 2
        clock.at_ms += REFUSED_MS - HOUR_MS
        assert starts(world) == []
        clock.at_ms += HOUR_MS
        assert starts(world) != []

    def test_that_failed_are_repeated_after_an_hour(self, of: Any, clock: SetClock) -> None:
        world = of("TWICE", bars="none")
        world.provider.order("html", times=2, path_contains="splits")
        assert len(starts(world)) == 2
        with world.services() as services:  # as dead letters that were dropped
            services.queue.cancel([entry.item.id for entry in list_queue(services)])
        assert starts(world) == []
        clock.at_ms += HOUR_MS
        assert len(starts(world)) == 2
        assert states(world) == {"TWICE": [(FRIDAY, "applied"), (MONDAY, "applied")]}

    def test_are_shown_by_dry_runs(self, of: Any) -> None:
        world = of("TWICE", "MORE", bars="none")
        plan = world.enqueue_secondary(dry_run=True).plan
        assert "enqueue splits of MORE to TWICE as BARS" in plan
        world.enqueue_secondary()
        said = " | ".join(world.run_queue(dry_run=True).plan)
        assert "splits of all stocks since 2024-11-12" in said
        assert "splits of MORE to TWICE" in said


class TestDoubts:
    def test_are_told_as_long_as_they_last(
        self, of: Any, clock: SetClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = of("FALSE", "BOTH", "TWICE")
        starts(world)
        assert states(world)["BOTH"] == [(MONDAY, "conflict")]
        assert states(world)["FALSE"] == [(MONDAY, "applied")]
        told = self.told(world)
        shows(
            next(one for one in told if "BOTH" in one),
            "…: the provider lists several splits for the day, and they differ: none counts",
        )
        shows(
            next(one for one in told if "FALSE" in one),
            "…: the prices before and after do not fit the split, which counts all the same",
        )
        assert len(told) == 2
        warned = [message for message in caplog.messages if "(hint: status tells" in message]
        assert len(warned) == 2
        clock.at_ms = at(LATER)
        starts(world)
        assert states(world)["BOTH"] == [(MONDAY, "applied")]
        assert states(world)["FALSE"] == [(MONDAY, "withdrawn")]
        assert self.told(world) == []
        assert [one for one in caplog.messages if "(hint: status tells" in one] == warned
        for symbol in ("FALSE", "BOTH"):
            assert_adjusted(world, symbol)

    def told(self, world: World) -> list[str]:
        with world.services() as services:
            return [one.message for one in collect(services).problems if "split" in one.message]
