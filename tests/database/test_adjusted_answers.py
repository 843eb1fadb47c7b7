"""The views of adjusted bars against the provider's own answers, in whatever order all was learnt."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
import requests

from assetbatch.config.tables import TableMappings
from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.market_hours import day_of, from_ms
from assetbatch.domain.splits import Days, Listed
from assetbatch.provider.client import ProviderClient
from assetbatch.sandbox import PLANS, Exchange, SandboxServer, system_clock
from assetbatch.sandbox.listings import Extra, Split
from assetbatch.secret import Secret

from .conftest import Sql

KEY = "made-up-key-123"
TODAY = day_of(system_clock())
RECENT = Extra(
    "RECENT",
    splits=(
        Split(TODAY - timedelta(days=5), 10, 1),
        Split(TODAY - timedelta(days=3), 2, 3),
        Split(TODAY, 100, 105, kind="stock_dividend"),
        Split(TODAY + timedelta(days=2), 1, 20),
    ),
)
TICKERS = ("FLIP", "THREE", "RECENT", "KIMpL")
# Spans of bars, the table they go into, and for how many days back they are asked for.
SPANS = (("1/day", "ohlcv_1d", 400), ("5/minute", "ohlcv_5m", 7), ("1/minute", "ohlcv_1m", 4))
COLUMNS = "open, high, low, close, volume, vwap, trades"
FIELDS = ("o", "h", "l", "c", "v", "vw", "n")

Bars = list[dict[str, Any]]


@pytest.fixture(scope="module")
def provider() -> Iterator[SandboxServer]:
    with SandboxServer(PLANS["advanced"], exchange=Exchange(extras=(RECENT,))) as running:
        yield running


@pytest.fixture(scope="module")
def answers(provider: SandboxServer) -> dict[tuple[str, str, bool], Bars]:
    """Complete days, raw and adjusted, by ticker, span and whether they are adjusted."""

    def ask(ticker: str, span: str, days: int, *, adjusted: bool) -> Bars:
        first, last = TODAY - timedelta(days=days), TODAY - timedelta(days=1)
        found: Bars = requests.get(
            f"{provider.base_url}/v2/aggs/ticker/{ticker}/range/{span}/{first}/{last}",
            params={"adjusted": str(adjusted).lower(), "limit": "50000"},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=20,
        ).json()["results"]
        return found

    return {
        (ticker, span, adjusted): ask(ticker, span, days, adjusted=adjusted)
        for ticker in TICKERS
        for span, _, days in SPANS
        for adjusted in (False, True)
    }


@pytest.fixture
def store(store: Store) -> Store:
    stocks = [Asset(symbol=one, polygon_ticker=one, asset_type=AssetType.STOCKS) for one in TICKERS]
    store.initialise(TableMappings(), stocks)
    return store


def moment(table: str, start_ms: int) -> Any:
    return day_of(start_ms) if table == "ohlcv_1d" else from_ms(start_ms)


def fill(sql: Sql, symbol: str, table: str, bars: Bars) -> None:
    marks = ", ".join(
        ["((SELECT id FROM trading.symbols WHERE symbol = %s), %s, %s, %s, %s, %s, %s, %s, %s)"] * len(bars)
    )
    sql(
        f"INSERT INTO market_data.{table} VALUES {marks}",
        *(
            value
            for bar in bars
            for value in (symbol, moment(table, bar["t"]), *(bar[name] for name in FIELDS))
        ),
    )


@pytest.mark.parametrize(("by_month", "seed"), [(False, 1), (True, 2)], ids=["one_table", "by_month"])
def test_every_bar_of_the_views_is_the_providers_adjusted_one(
    store: Store, sql: Sql, provider: SandboxServer, answers: dict[tuple[str, str, bool], Bars], seed: int
) -> None:
    """Bars and splits are learnt one after the other, in an order that the seed decides."""
    every = Days(date(1980, 1, 1), TODAY + timedelta(days=14))
    with ProviderClient(provider.base_url, Secret(KEY), call_seconds=20) as client:
        listed = {ticker: client.splits(every, [ticker]).splits.get(ticker, []) for ticker in TICKERS}
    steps: list[Any] = [(ticker, table, span) for ticker in TICKERS for span, table, _ in SPANS]
    steps += [(ticker, split) for ticker in TICKERS for split in listed[ticker]]
    random.Random(seed).shuffle(steps)
    for step in steps:
        if len(step) == 3:
            ticker, table, span = step
            fill(sql, ticker, table, answers[ticker, span, False])
        else:
            ticker, split = step
            store.learn_splits({ticker: Listed([split])}, [ticker], None, system_clock())
    for span, table, _ in SPANS:
        time = "day" if table == "ohlcv_1d" else "ts"
        for ticker in TICKERS:
            found = sql(
                f"SELECT {time}, {COLUMNS} FROM market_data.{table}_adjusted v"
                f" JOIN trading.symbols s ON s.id = v.symbol_id WHERE s.symbol = %s ORDER BY {time}",
                ticker,
            )
            wanted = answers[ticker, span, True]
            assert len(found) == len(wanted) > 0
            for row, bar in zip(found, wanted, strict=True):
                assert row[0] == moment(table, bar["t"])
                assert row[1:] == pytest.approx([bar[name] for name in FIELDS], rel=1e-9)
