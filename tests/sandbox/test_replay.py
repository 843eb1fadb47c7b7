"""Recorded bars: to the last digit, at their hour of the week, and only what was recorded."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import from_ms, is_open, last_midnight
from assetbatch.errors import ConfigError
from assetbatch.sandbox import PLANS, SandboxServer
from assetbatch.sandbox.replay import RecordedPrices, shifted, weeks_to_recent

from .helpers import BAR_MS, DAY_MS, HOUR_MS, Clock, ask, ask_json, bars, ms, range_path

UNLIMITED_BASIC = replace(PLANS["basic"], limit=None)
HEADER = "t_ms,open,high,low,close,volume,bid_close,ask_close"
MOMENTS = st.integers(ms("2010-01-01T00:00:00Z"), ms("2030-01-01T00:00:00Z"))


@pytest.fixture(scope="module")
def folder(shared_dir: Path) -> Path:
    return shared_dir / "data" / "bars_5m"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[SandboxServer]:
    with SandboxServer(UNLIMITED_BASIC, clock=Clock(), replay=folder) as running:
        yield running


def recorded(*paths: Path) -> list[dict[str, str]]:
    """The lines of the files, oldest first."""
    lines = []
    for path in paths:
        with path.open(newline="") as file:
            lines += list(csv.DictReader(file))
    return sorted(lines, key=lambda line: int(line["t_ms"]))


def write(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).write_text("\n".join([HEADER, *lines]) + "\n")
    return folder


# How far recorded moments are moved


@given(at_ms=MOMENTS, weeks=st.integers(-100, 700))
def test_crypto_moves_by_whole_weeks_exactly(at_ms: int, weeks: int) -> None:
    assert shifted(Market.CRYPTO, at_ms, weeks) - at_ms == weeks * 7 * DAY_MS


@given(hours=st.integers(0, 20 * 365 * 24), weeks=st.integers(-100, 700))
def test_forex_and_metals_keep_their_place_in_the_week_also_over_summer_time(hours: int, weeks: int) -> None:
    at_ms = ms("2010-01-01T00:00:00Z") + hours * HOUR_MS
    for market in (Market.FOREX, Market.METAL):
        if is_open(market, at_ms):
            assert is_open(market, shifted(market, at_ms, weeks))


@given(last_ms=MOMENTS, later=st.integers(0, 900), market=st.sampled_from(Market))
def test_the_last_bar_ends_within_the_week_before_the_last_midnight(
    last_ms: int, later: int, market: Market
) -> None:
    last_ms -= last_ms % BAR_MS
    now_ms = last_ms + later * DAY_MS
    weeks = weeks_to_recent(market, last_ms, now_ms)
    assert shifted(market, last_ms, weeks) + BAR_MS <= last_midnight(now_ms)
    assert shifted(market, last_ms, weeks + 1) + BAR_MS > last_midnight(now_ms)


def test_recorded_forex_weekends_lie_in_present_weekends_in_winter_too(folder: Path) -> None:
    for moment in ("2025-06-18T15:00:00Z", "2025-12-17T15:00:00Z"):
        prices = RecordedPrices(folder, now_ms=ms(moment))
        for ticker in ("C:EURUSD", "C:XAUUSD", "C:NZDUSD"):
            instrument = prices.instruments[ticker]
            rows = prices.rows(instrument, BAR_MS, 0, ms(moment), ms(moment))
            assert len(rows) > 3_000
            # The recorded gold of 2014 trades a quarter of an hour into today's daily break.
            assert all(is_open(Market.FOREX, row[0]) for row in rows)


# What is served


@pytest.mark.parametrize(
    ("ticker", "more"),
    [("C:USDJPY", set()), ("X:BTCUSD", {"v"}), ("C:XAUUSD", {"v", "n"})],
    ids=["neither", "volume", "quotes"],
)
def test_what_was_not_recorded_is_no_field(server: SandboxServer, ticker: str, more: set[str]) -> None:
    (bar,) = ask_json(server, f"/v2/aggs/ticker/{ticker}/prev")["results"]
    assert set(bar) == {"T", "t", "o", "h", "l", "c"} | more


def test_a_day_is_the_aggregate_of_its_recorded_bars(server: SandboxServer) -> None:
    (day,) = ask_json(server, "/v2/aggs/ticker/C:XAUUSD/prev")["results"]
    date = f"{from_ms(day['t']):%Y-%m-%d}"
    within = bars(server, "C:XAUUSD", "5/minute", date, date)
    assert [day[name] for name in "ohlc"] == [
        within[0]["o"],
        max(bar["h"] for bar in within),
        min(bar["l"] for bar in within),
        within[-1]["c"],
    ]
    assert day["v"] == sum(bar["v"] for bar in within)
    grouped = ask_json(server, f"/v2/aggs/grouped/locale/global/market/fx/{date}")["results"]
    assert [bar["c"] for bar in grouped if bar["T"] == "C:XAUUSD"] == [day["c"]]


def test_only_recorded_tickers_are_known(server: SandboxServer) -> None:
    assert bars(server, "C:USDCHF", "5/minute", "2025-06-01", "2025-06-17") == []
    tickers = [one["ticker"] for one in ask_json(server, "/v3/reference/tickers")["results"]]
    assert "C:XAUUSD" in tickers
    assert "C:USDCHF" not in tickers


def test_pages_hold_all_recorded_bars_once_over_years_without_any(server: SandboxServer) -> None:
    whole = bars(server, "X:BTCUSD", "5/minute", "2023-06-18", "2025-06-17")
    for sort in ("asc", "desc"):
        paged = bars(server, "X:BTCUSD", "5/minute", "2023-06-18", "2025-06-17", limit=1_000, sort=sort)
        assert paged == (whole if sort == "asc" else whole[::-1])


def test_bars_as_recorded_appear_when_they_are_complete(folder: Path) -> None:
    clock = Clock("2014-05-08T12:04:59.999Z")
    with SandboxServer(PLANS["starter"], clock=clock, replay=folder, replay_weeks=0) as server:
        before = bars(server, "C:EURUSD", "5/minute", "2014-05-08", "2014-05-08")
        clock.now_ms += 1
        after = bars(server, "C:EURUSD", "5/minute", "2014-05-08", "2014-05-08")
        (snapshot,) = ask_json(server, "/v3/snapshot", **{"ticker.any_of": "C:EURUSD"})["results"]
        minutes = bars(server, "C:EURUSD", "1/minute", "2014-05-08", "2014-05-08")
    assert after[:-1] == before
    assert after[-1]["t"] == ms("2014-05-08T12:00:00Z")
    assert minutes == after
    (line,) = [one for one in recorded(folder / "EURUSD.csv") if int(one["t_ms"]) == after[-1]["t"]]
    quote = snapshot["last_quote"]
    assert (quote["bid"], quote["ask"]) == (float(line["bid_close"]), float(line["ask_close"]))
    assert quote["last_updated"] == (after[-1]["t"] + BAR_MS - 1) * 1_000_000
    assert snapshot["session"]["close"] == after[-1]["c"]


def test_on_basic_everything_recent_is_visible_up_to_yesterday(server: SandboxServer) -> None:
    path = range_path("C:XAUUSD", "5/minute", "2025-05-20", "2025-06-18")
    assert ask(server, path).status_code == 403
    assert len(bars(server, "C:XAUUSD", "5/minute", "2025-05-20", "2025-06-17")) == 3_063


def test_the_shift_stays_while_the_server_runs(tmp_path: Path) -> None:
    clock = Clock()
    start_ms = ms("2018-04-04T00:00:00Z")
    write(tmp_path, "BTCUSD.csv", f"{start_ms},7424.91,7424.91,7390,7405,73.95449355,,")
    with SandboxServer(UNLIMITED_BASIC, clock=clock, replay=tmp_path) as server:
        before = bars(server, "X:BTCUSD", "5/minute", "2025-06-01", "2025-06-17")
        clock.now_ms += 30 * DAY_MS
        assert bars(server, "X:BTCUSD", "5/minute", "2025-06-01", "2025-07-17") == before
    assert [bar["t"] for bar in before] == [ms("2025-06-18T00:00:00Z")]


def test_a_quote_that_was_not_recorded_is_the_close_and_a_tick_above(tmp_path: Path) -> None:
    write(tmp_path, "GBPUSD.csv", f"{ms('2025-06-17T12:00:00Z')},1.5,1.52,1.49,1.51,,,")
    with SandboxServer(clock=Clock(), replay=tmp_path, replay_weeks=0) as server:
        last = ask_json(server, "/v1/last_quote/currencies/GBP/USD")["last"]
    assert (last["bid"], last["ask"]) == (1.51, 1.52)


# What is no recording


def test_a_folder_without_recordings_is_an_error_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recorded bars in"):
        SandboxServer(replay=tmp_path)


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", f"{HEADER}\nx,1,1,1,1,,,\n", f"{HEADER}\n5,one,1,1,1,,,\n"]
)
def test_a_file_that_holds_something_else_is_an_error_of_configuration(tmp_path: Path, content: str) -> None:
    (tmp_path / "EURUSD.csv").write_text(content)
    with pytest.raises(ConfigError, match=r"EURUSD\.csv does not hold recorded bars"):
        SandboxServer(replay=tmp_path)
