"""Days on the free plan with currencies, stocks and an index: the real commands, the simulated provider.

From 30 October to 30 November 2026 summer time ends, and the exchange has weekends, Thanksgiving and an early
close. The clock stands still during a start. After each New York midnight cron starts everything as it does;
later it starts everything every few hours. With ASSETBATCH_TEST_QUARTER=1 the whole month is lived
through, and 12,500 stocks are listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import yaml

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.init import initialise
from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.config import load
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, last_open, open_intervals, sessions, start_of_day
from assetbatch.domain.results import CycleResult
from assetbatch.health import collect
from assetbatch.provider.client import ProviderClient
from assetbatch.provider.decoding import Body
from assetbatch.refresh.progress import Progress
from assetbatch.sandbox import PLANS, SandboxServer
from assetbatch.sandbox.listings import Exchange
from assetbatch.secret import Secret
from assetbatch.services import Services
from tests.simulation.starts import Unslept, give_clock
from tests.world import KEY, PRIORITY, SetClock

MINUTE, HOUR = 60_000, 3_600_000
STOCKS: list[dict[str, Any]] = [
    {"symbol": "AAPL", "asset_type": "stocks", "priority": "LOW"},
    {"symbol": "SPY", "asset_type": "stocks", "priority": "LOW", "bars": "1m", "extended_hours": True},
    {"symbol": "NDX", "polygon_ticker": "I:NDX", "asset_type": "indices", "priority": "LOW"},
    *(
        {"symbol": symbol, "asset_type": "stocks", "priority": "LOW", "bars": "none"}
        for symbol in ("MSFT", "BRK.A")
    ),
    {"symbol": "SPX", "polygon_ticker": "I:SPX", "asset_type": "indices", "priority": "LOW"},
    {"every": "stocks", "priority": "LOW", "bars": "none", "years_of_days": 0},
]
FRESH_BY = 20
"""Minutes after New York midnight at which everything is fresh."""

A_MINUTE = 500
"""Stocks that are registered in a minute after that: 1,000 tickers or the splits of 250 come in a call, and 5
calls take two minutes, since the clock stands still during a start."""

EVERY = 3 * HOUR
"""How often all commands start after that."""


class Span(NamedTuple):
    """New York days, both inclusive."""

    first: date
    last: date


SUMMER_TIME = Span(date(2026, 10, 30), date(2026, 11, 3))
THANKSGIVING = Span(date(2026, 11, 24), date(2026, 11, 30))
WHOLE = Span(SUMMER_TIME.first, THANKSGIVING.last)


class Call(NamedTuple):
    at_ms: int
    target: str

    @property
    def is_of_prices(self) -> bool:
        """Whether it asks for prices or bars."""
        return self.target.startswith(("/v2/", "/v3/snapshot"))

    @property
    def is_of_stocks(self) -> bool:
        """Whether it asks for prices or bars of the exchange."""
        currencies = ("C:", "X:", "/market/fx/", "/market/crypto/")
        return self.is_of_prices and not any(name in self.target for name in currencies)


class Stamped(ProviderClient):
    """Notes when each call was made, by the clock that is set."""

    def __init__(self, base_url: str, clock: SetClock) -> None:
        super().__init__(base_url, Secret(KEY))
        self._clock = clock
        self.calls: list[Call] = []

    def _get(self, target: str, deadline_seconds: float | None) -> Body:
        self.calls.append(Call(self._clock.at_ms, target))
        return super()._get(target, deadline_seconds)


class Month:
    """One process that makes all starts."""

    def __init__(self, services: Services, database_url: str, provider: Stamped, clock: SetClock) -> None:
        self.database_url = database_url
        self.services, self.provider, self.clock = services, provider, clock
        self._config = services.config
        give_clock(
            services, clock, provider, window_name=services.keys.prefix, limit=services.config.call_limit
        )
        self.waits = 0
        self.registered_by = FRESH_BY
        """Minutes after the first midnight at which all splits were asked for."""
        self.failures: list[str] = []
        self.stale: list[tuple[date, str]] = []
        self.late: list[tuple[date, str]] = []

    def run(self, command: object) -> CycleResult:
        services = self.services  # as new: a rule's members are read once a start
        services.config, services._has_members, services._has_walks = self._config, False, False
        with Unslept(60) as deadline:
            result: CycleResult = command(self.services, deadline, Progress())  # type: ignore[operator]
        self.failures += [f"{self.clock.at_ms} {asset.detail}" for asset in result.failed]
        return result

    def stored(self, symbol: str, span: Span) -> list[tuple[float, ...]]:
        """The bars of five minutes that are stored of the days that can be seen."""
        return self.rows(
            "SELECT (extract(epoch FROM b.ts) * 1000)::int8, b.open, b.high, b.low, b.close"
            " FROM market_data.ohlcv_5m b JOIN trading.symbols s ON s.id = b.symbol_id"
            f" WHERE s.symbol = '{symbol}' AND b.ts >= to_timestamp({start_of_day(span.first) / 1000})"
            " ORDER BY 1"
        )

    def truth(self, symbol: str, span: Span) -> list[tuple[float, ...]]:
        """The bars that the provider has of the hours that the asset follows."""
        asset = self.services.config.assets_by_symbol[symbol]
        start_ms, end_ms = start_of_day(span.first), start_of_day(span.last)
        bars = self.provider.bars(asset.polygon_ticker, start_ms, end_ms - 1).bars
        hours = open_intervals(asset.market, start_ms, end_ms)
        return [
            (bar.t_ms, bar.open, bar.high, bar.low, bar.close)
            for bar in bars
            if any(opens_ms <= bar.t_ms < closes_ms for opens_ms, closes_ms in hours)
        ]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query.encode()).fetchall()

    def start(self, *, all_of_them: bool = True) -> None:
        """What cron starts in a minute."""
        if all_of_them:
            self.waits += self.run(run_priority).waits
            self.run(enqueue_secondary)
        self.run(run_queue)

    def live(self, day: date, *, minutes: int = FRESH_BY) -> None:
        """Start what cron starts on a New York day, each minute for so many minutes."""
        midnight, end = start_of_day(day), start_of_day(day + timedelta(days=1))
        for minute in range(minutes + 1):
            self.clock.at_ms = midnight + minute * MINUTE
            self.start(all_of_them=minute % 5 == 0)
            if minute == FRESH_BY:
                self.look(day)
        for at_ms in range(midnight + EVERY, end, EVERY):
            self.clock.at_ms = at_ms
            self.start()
        self.stale += [
            (day, asset.symbol) for asset in collect(self.services).assets if asset.state == "stale"
        ]

    def look(self, day: date) -> None:
        """Note what is not fresh up to the end of the day before."""
        assets = self.services.config.assets
        stored = self.services.store.load([asset.symbol for asset in assets])
        for asset in assets:
            newest_ms = last_open(asset.market, start_of_day(day))
            as_of_ms = stored[asset.symbol].as_of_ms or 0
            if newest_ms - as_of_ms > HOUR:
                self.late.append((day, asset.symbol))

    def windows_over_limit(self) -> int:
        limit = self.services.config.call_limit
        moments = [call.at_ms for call in self.provider.calls]
        return sum(
            later - first < limit.window_ms
            for first, later in zip(moments, moments[limit.limit :], strict=False)
        )


@contextmanager
def month(
    folder: Path,
    database_url: str,
    redis_url: str,
    prefix: str,
    secondary: list[dict[str, Any]],
    span: Span,
    *,
    listed: int = 0,
) -> Iterator[Month]:
    """`secondary` are the secondary assets, `listed` is how many stocks there are at least.

    Nothing is left of a month before.
    """
    clock = SetClock(start_of_day(span.first))
    key = f"{KEY}-{len(secondary)}"
    document = {
        "priority_assets": PRIORITY,
        "secondary_assets": secondary,
        "rate_limiting": {"plans": {"currencies": "basic", "stocks": "basic", "indices": "basic"}},
        "verify": {"share": 0},
        "database": {"url": database_url},
        "redis": {"url": redis_url, "prefix": f"{prefix}:{len(secondary)}"},
    }
    path = folder / "config.yml"
    path.write_text(yaml.dump(document))
    config = load(path, {"POLYGON_API_KEY": key}, cwd=folder)
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS trading, market_data, data_sources CASCADE")
    with Services(config) as services:
        initialise(services)
    since_ms = start_of_day(span.first - timedelta(days=10))
    plan = replace(PLANS["basic"], limit=None)  # it counts calls by the real time
    exchange = Exchange(stocks=listed)
    server = SandboxServer(plan, clock=clock.now_ms, since_ms=since_ms, exchange=exchange)
    with server, Stamped(server.base_url, clock) as provider, Services(config) as services:
        made = Month(services, database_url, provider, clock)
        made.registered_by += listed // A_MINUTE
        with services.queue.derived():
            pass
        yield made


def days(span: Span) -> Iterator[date]:
    for number in range((span.last - span.first).days + 1):
        yield span.first + timedelta(days=number)


def lived(world: Month, span: Span) -> list[Call]:
    """Live through a span. Return the calls for prices and bars."""
    for day in days(span):
        world.live(day, minutes=world.registered_by if day == span.first else FRESH_BY)
    assert [failed for failed in world.failures if "not entitled" not in failed] == []
    assert world.windows_over_limit() == 0
    assert world.waits == 0
    assert [late for late in world.late if late[1] != "SPX"] == []
    assert world.stale == []
    return [call for call in world.provider.calls if call.is_of_prices]


@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(
    ("span", "listed"),
    [
        pytest.param(SUMMER_TIME, 300, id="the end of summer time"),
        pytest.param(THANKSGIVING, 0, id="Thanksgiving"),
        pytest.param(
            WHOLE,
            12_500,
            id="month",
            marks=pytest.mark.skipif(
                not os.environ.get("ASSETBATCH_TEST_QUARTER"),
                reason="long: ASSETBATCH_TEST_QUARTER=1 runs it",
            ),
        ),
    ],
)
def test_everything_is_fresh_after_midnight_and_a_closed_day_costs_nothing(
    tmp_path: Path, database_url: str, redis_url: str, prefix: str, span: Span, listed: int
) -> None:
    with month(tmp_path, database_url, redis_url, prefix, STOCKS, span, listed=listed) as world:
        of_stocks = [call for call in lived(world, span) if call.is_of_stocks]
        prices = world.rows("SELECT count(*), count(metadata->'last_update') FROM trading.symbols")
        last_days = world.rows("SELECT max(day) FROM market_data.ohlcv_1d GROUP BY symbol_id")
        for symbol in ("AAPL", "SPY", "NDX"):
            assert world.stored(symbol, span) == world.truth(symbol, span), symbol
    ((assets, priced),) = prices
    assert assets - 1 == priced > 30  # SPX is not in the plan
    last_session = day_of(last_open(Market.STOCK, start_of_day(span.last)) - 1)
    assert last_days == [(last_session,)] * (assets - len(PRIORITY) - 2)  # currencies and indices have none
    for day in days(Span(span.first + timedelta(days=1), span.last)):
        made = [call for call in of_stocks if day_of(call.at_ms) == day]
        yesterday = day - timedelta(days=1)
        if not sessions(Market.STOCK, yesterday):
            assert made == [], day
        else:
            assert sum("/grouped/" in call.target for call in made) == 1, day
            probes = 2 if sessions(Market.STOCK, day) else 0
            assert len(made) <= 3 + 1 + probes + 2, day  # ranges, the grouped day, and SPX


def test_the_calls_of_currencies_are_those_without_stocks(
    tmp_path: Path, database_url: str, redis_url: str, prefix: str
) -> None:
    span = Span(date(2026, 11, 24), date(2026, 11, 26))
    calls: list[list[Call]] = []
    for secondary in ([], STOCKS):
        with month(tmp_path, database_url, redis_url, prefix, secondary, span) as world:
            calls.append([call for call in lived(world, span) if not call.is_of_stocks])
    assert calls[0] == calls[1]
