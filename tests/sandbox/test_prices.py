"""Made-up prices: reproducible, consistent from the second to the day, silent while markets are closed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import from_ms, is_open, start_of_day
from assetbatch.domain.units import SECOND_MS
from assetbatch.sandbox import SandboxServer
from assetbatch.sandbox.bars import Row, divide, merge
from assetbatch.sandbox.prices import HISTORY_START_MS, GeneratedPrices
from assetbatch.sandbox.universe import Instrument, instruments, split_symbol

from .helpers import (
    BAR_MS,
    HOUR_MS,
    MINUTE_MS,
    Clock,
    aggregate,
    ask_json,
    bars,
    ms,
    range_path,
)

PRICES = GeneratedPrices(instruments())
PAIRS = st.sampled_from(list(PRICES.instruments.values()))
MOMENTS = st.integers(ms("2015-01-01T00:00:00Z"), ms("2030-01-01T00:00:00Z"))
LONG_AGO = ms("2031-01-01T00:00:00Z")


def rows(pair: Instrument, grain_ms: int, start_ms: int, end_ms: int, now_ms: int = LONG_AGO) -> list[Row]:
    return PRICES.rows(pair, grain_ms, start_ms, end_ms, now_ms)


def without_average(row: Row) -> tuple[int, ...]:
    return row[:7]


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[SandboxServer]:
    with SandboxServer(clock=clock) as running:
        yield running


# Dividing a bar


@given(
    low=st.integers(1, 10**9),
    spread=st.integers(0, 10**7),
    opened=st.floats(0, 1),
    closed=st.floats(0, 1),
    count=st.integers(1, 10_000),
    volume=st.integers(1, 10**15),
    parts=st.sampled_from([5, 6, 10, 12]),
    data=st.data(),
)
def test_the_parts_of_a_bar_add_up_to_the_bar(
    low: int,
    spread: int,
    opened: float,
    closed: float,
    count: int,
    volume: int,
    parts: int,
    data: st.DataObject,
) -> None:
    row = (0, low + int(spread * opened), low + spread, low, low + int(spread * closed), volume, count, 0)
    noise = data.draw(st.binary(min_size=3 * parts, max_size=3 * parts))
    divided = [part for part in divide(row, parts, MINUTE_MS, noise) if part is not None]
    assert without_average(merge(divided, 0)) == without_average(row)
    for _, first, high, low_, last, _, quotes, _ in divided:
        assert low_ <= min(first, last) <= max(first, last) <= high
        assert quotes > 0


@given(pair=PAIRS, at_ms=MOMENTS)
def test_an_hour_is_the_aggregate_of_its_minutes_and_a_minute_of_its_seconds(
    pair: Instrument, at_ms: int
) -> None:
    for long_ms, short_ms in ((HOUR_MS, MINUTE_MS), (MINUTE_MS, SECOND_MS)):
        start_ms = at_ms // long_ms * long_ms
        long = rows(pair, long_ms, start_ms, start_ms + long_ms)
        short = rows(pair, short_ms, start_ms, start_ms + long_ms)
        assert [without_average(row) for row in long] == [
            without_average(row) for row in ([merge(short, start_ms)] if short else [])
        ]


@given(pair=PAIRS, at_ms=MOMENTS, length=st.sampled_from([MINUTE_MS, BAR_MS, HOUR_MS]))
def test_a_forming_bar_knows_the_complete_seconds_and_nothing_later(
    pair: Instrument, at_ms: int, length: int
) -> None:
    start_ms = at_ms // length * length
    grain_ms = PRICES.grain_ms(pair, length)
    forming = rows(pair, grain_ms, start_ms, start_ms + length, at_ms)
    seconds = rows(pair, SECOND_MS, start_ms, at_ms // SECOND_MS * SECOND_MS)
    assert bool(forming) == bool(seconds)
    if seconds:
        assert without_average(merge(forming, start_ms)) == without_average(merge(seconds, start_ms))


@given(pair=PAIRS, at_ms=MOMENTS)
def test_prices_are_positive_near_their_level_and_bid_is_below_ask(pair: Instrument, at_ms: int) -> None:
    last = PRICES.last(pair, at_ms)
    assert last is not None
    row, as_of_ms = last
    bid, ask = PRICES.quote(pair, row)
    assert 0 < bid <= row[4] <= ask
    assert bid < ask
    assert as_of_ms < at_ms
    assert pair.level / 4 < row[4] / 10**pair.digits < pair.level * 4


@given(pair=PAIRS, at_ms=MOMENTS)
def test_there_is_a_row_exactly_when_the_market_is_open(pair: Instrument, at_ms: int) -> None:
    hour_ms = at_ms // HOUR_MS * HOUR_MS
    assert bool(rows(pair, HOUR_MS, hour_ms, hour_ms + HOUR_MS)) == is_open(pair.market, hour_ms)


@given(pair=PAIRS, at_ms=MOMENTS)
def test_the_search_for_data_never_steps_over_a_quote(pair: Instrument, at_ms: int) -> None:
    after_ms = PRICES.next_data(pair, at_ms)
    before_ms = PRICES.last_data(pair, at_ms)
    assert after_ms is not None
    assert before_ms is not None
    assert before_ms <= at_ms <= after_ms
    # At most half an hour is looked at, else a weekend would be read second by second.
    first_second_ms = -(-at_ms // SECOND_MS) * SECOND_MS
    assert (
        rows(pair, SECOND_MS, first_second_ms, min(after_ms, at_ms + HOUR_MS // 2) // SECOND_MS * SECOND_MS)
        == []
    )
    begin_ms = max(before_ms, at_ms - HOUR_MS // 2)
    assert rows(pair, SECOND_MS, -(-begin_ms // SECOND_MS) * SECOND_MS, at_ms // SECOND_MS * SECOND_MS) == []


def test_another_process_makes_up_the_same_prices() -> None:
    code = (
        "from assetbatch.sandbox.prices import GeneratedPrices as G\n"
        "from assetbatch.sandbox.universe import instruments\n"
        f"g = G(instruments(300)); at = {ms('2025-06-18T12:00:00Z')}\n"
        "print([g.rows(i, 60_000, at, at + 300_000, at + 299_000) for i in g.instruments.values()])"
    )
    command = [sys.executable, "-c", code]
    one, two = (
        subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": seed}, timeout=60)
        for seed in ("1", "2")
    )
    assert len(one.stdout) > 100_000
    assert one.stdout == two.stdout


# The same over HTTP


@given(
    ticker=st.sampled_from(["C:EURUSD", "C:XAUUSD", "X:BTCUSD", "C:DKKAUD"]),
    day=st.dates(date(2023, 7, 1), date(2025, 6, 10)),
    multiplier=st.sampled_from([2, 5, 7, 15, 30]),
)
def test_bars_of_several_minutes_are_the_aggregate_of_the_minutes(
    server: SandboxServer, ticker: str, day: date, multiplier: int
) -> None:
    length_ms = multiplier * MINUTE_MS
    start_ms = start_of_day(day) // length_ms * length_ms
    end_ms = start_ms + 20 * length_ms - 1
    minutes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for minute in bars(server, ticker, "1/minute", start_ms, end_ms):
        minutes[minute["t"] // length_ms * length_ms].append(minute)
    several = bars(server, ticker, f"{multiplier}/minute", start_ms, end_ms)
    assert {bar["t"]: {name: bar[name] for name in "ohlcvn"} for bar in several} == {
        start_ms: aggregate(within) for start_ms, within in minutes.items()
    }
    assert all(bar["l"] <= bar["vw"] <= bar["h"] for bar in several)


@pytest.mark.parametrize("ticker", ["C:EURUSD", "C:XAUUSD", "X:BTCUSD"])
@pytest.mark.parametrize("day", ["2025-06-17", "2025-03-09", "2024-11-03"])
def test_a_day_bar_is_the_aggregate_of_the_new_york_day(server: SandboxServer, ticker: str, day: str) -> None:
    start_ms = start_of_day(date.fromisoformat(day))
    end_ms = start_of_day(date.fromisoformat(day) + timedelta(days=1))
    within = bars(server, ticker, "5/minute", start_ms, end_ms - 1)
    (bar,) = bars(server, ticker, "1/day", day, day)
    assert {name: bar[name] for name in "ohlcvn"} == aggregate(within)
    assert bar["t"] == start_ms
    assert bars(server, ticker, "5/minute", day, day) == within


def test_the_grouped_day_and_the_previous_day_are_the_day_bar(server: SandboxServer) -> None:
    grouped = ask_json(server, "/v2/aggs/grouped/locale/global/market/fx/2025-06-17")["results"]
    assert {bar["T"] for bar in grouped} == {one for one in server.source.instruments if one.startswith("C:")}
    (from_grouped,) = [bar for bar in grouped if bar["T"] == "C:XAUUSD"]
    (previous,) = ask_json(server, "/v2/aggs/ticker/C:XAUUSD/prev")["results"]
    (day,) = bars(server, "C:XAUUSD", "1/day", "2025-06-17", "2025-06-17")
    for name in ("o", "h", "l", "c", "v", "vw", "n"):
        assert from_grouped[name] == previous[name] == day[name]
    # The provider stamps start or end of the day: the UTC day is the day that was asked either way.
    assert {from_ms(bar["t"]).date() for bar in (from_grouped, previous, day)} == {date(2025, 6, 17)}


@pytest.mark.parametrize(("ticker", "market"), [("C:EURUSD", "forex"), ("X:ETHUSD", "crypto")])
def test_a_snapshot_is_the_aggregate_since_new_york_midnight(
    server: SandboxServer, clock: Clock, ticker: str, market: str
) -> None:
    today = bars(server, ticker, "1/minute", start_of_day(date(2025, 6, 18)), clock.now_ms)
    (yesterday,) = ask_json(server, f"/v2/aggs/ticker/{ticker}/prev")["results"]
    (v3,) = ask_json(server, "/v3/snapshot", **{"ticker.any_of": ticker})["results"]
    v2 = ask_json(server, f"/v2/snapshot/locale/global/markets/{market}/tickers/{ticker}")["ticker"]
    whole = aggregate(today)
    assert {name: v2["day"][name] for name in "ohlcv"} == {name: whole[name] for name in "ohlcv"}
    session = v3["session"]
    assert [session[name] for name in ("open", "high", "low", "close")] == [whole[name] for name in "ohlc"]
    assert session["previous_close"] == v2["prevDay"]["c"] == yesterday["c"]
    assert session["change"] == v2["todaysChange"] == pytest.approx(session["close"] - yesterday["c"])
    assert {name: v2["min"][name] for name in "ohlcvnt"} == {name: today[-1][name] for name in "ohlcvnt"}


def test_the_last_price_is_the_close_of_the_latest_minute(server: SandboxServer, clock: Clock) -> None:
    latest = bars(server, "X:BTCUSD", "1/minute", clock.now_ms - BAR_MS, clock.now_ms)[-1]
    (snapshot,) = ask_json(server, "/v3/snapshot", **{"ticker.any_of": "X:BTCUSD"})["results"]
    trade = ask_json(server, "/v1/last/crypto/BTC/USD")["last"]
    assert latest["t"] == clock.now_ms // MINUTE_MS * MINUTE_MS
    assert latest["c"] == snapshot["last_trade"]["price"] == snapshot["session"]["price"] == trade["price"]
    assert snapshot["last_trade"]["participant_timestamp"] == trade["timestamp"] * 1_000_000
    assert clock.now_ms - 1_000 <= trade["timestamp"] <= clock.now_ms

    latest = bars(server, "C:EURUSD", "1/minute", clock.now_ms - BAR_MS, clock.now_ms)[-1]
    (snapshot,) = ask_json(server, "/v3/snapshot", **{"ticker.any_of": "C:EURUSD"})["results"]
    quote = ask_json(server, "/v1/last_quote/currencies/EUR/USD")["last"]
    assert snapshot["last_quote"]["bid"] == quote["bid"] < quote["ask"] == snapshot["last_quote"]["ask"]
    assert quote["bid"] <= latest["c"] <= quote["ask"]


def test_the_last_bar_of_a_range_into_now_is_still_forming(clock: Clock) -> None:
    moving = Clock()
    with SandboxServer(clock=moving) as server:
        first = bars(server, "X:BTCUSD", "5/minute", "2025-06-18", "2025-06-18")
        moving.now_ms += MINUTE_MS
        second = bars(server, "X:BTCUSD", "5/minute", "2025-06-18", "2025-06-18")
    assert first[:-1] == second[:-1]
    assert first[-1]["t"] == second[-1]["t"] == ms("2025-06-18T15:00:00Z")
    assert first[-1]["o"] == second[-1]["o"]
    assert first[-1]["v"] < second[-1]["v"]


# Closed markets


def weekend_gap(server: SandboxServer, ticker: str, friday: str, monday: str) -> tuple[str, str]:
    """The end of the last bar before the weekend and the start of the first one after it."""
    starts = [bar["t"] for bar in bars(server, ticker, "5/minute", friday, monday)]
    before_ms, after_ms = max(pairwise(starts), key=lambda pair: pair[1] - pair[0])
    return f"{from_ms(before_ms + BAR_MS):%a %H:%M}", f"{from_ms(after_ms):%a %H:%M}"


@pytest.mark.parametrize(
    ("friday", "monday", "forex", "gold"),
    [
        ("2025-01-10", "2025-01-13", ("Fri 22:00", "Sun 22:00"), ("Fri 22:00", "Sun 23:00")),
        ("2025-03-07", "2025-03-10", ("Fri 22:00", "Sun 21:00"), ("Fri 22:00", "Sun 22:00")),
        ("2025-06-13", "2025-06-16", ("Fri 21:00", "Sun 21:00"), ("Fri 21:00", "Sun 22:00")),
        ("2024-11-01", "2024-11-04", ("Fri 21:00", "Sun 22:00"), ("Fri 21:00", "Sun 23:00")),
    ],
    ids=["winter", "into summer time", "summer", "into winter time"],
)
def test_the_weekend_follows_new_york_time(
    server: SandboxServer, friday: str, monday: str, forex: tuple[str, str], gold: tuple[str, str]
) -> None:
    assert weekend_gap(server, "C:EURUSD", friday, monday) == forex
    assert weekend_gap(server, "C:XAUUSD", friday, monday) == gold


def test_gold_pauses_for_an_hour_each_day(server: SandboxServer) -> None:
    starts = [bar["t"] for bar in bars(server, "C:XAUUSD", "1/minute", "2025-06-17", "2025-06-17")]
    gaps = [pair for pair in pairwise(starts) if pair[1] - pair[0] > MINUTE_MS]
    assert gaps == [(ms("2025-06-17T20:59:00Z"), ms("2025-06-17T22:00:00Z"))]


def test_crypto_trades_through_the_weekend(server: SandboxServer) -> None:
    starts = [bar["t"] for bar in bars(server, "X:BTCUSD", "5/minute", "2025-06-14", "2025-06-15")]
    assert len(starts) == 2 * 288
    assert {after - before for before, after in pairwise(starts)} == {BAR_MS}


def test_a_quiet_pair_has_no_bar_where_nothing_was_quoted(server: SandboxServer) -> None:
    found = bars(server, "C:DKKAUD", "5/minute", "2025-06-17", "2025-06-17")
    assert 100 < len(found) < 287
    assert all(bar["n"] >= 1 for bar in found)


def test_on_a_weekend_a_forex_snapshot_has_zeros_for_the_day_and_fridays_quote() -> None:
    with SandboxServer(clock=Clock("2025-06-14T15:00:00Z")) as server:
        v2 = ask_json(server, "/v2/snapshot/locale/global/markets/forex/tickers/C:EURUSD")["ticker"]
        (v3,) = ask_json(server, "/v3/snapshot", **{"ticker.any_of": "C:EURUSD"})["results"]
        status = ask_json(server, "/v1/marketstatus/now")
    assert v2["day"] == {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0}
    assert v2["min"] == {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0, "t": 0, "n": 0}
    assert v2["lastQuote"]["t"] == ms("2025-06-13T21:00:00Z") - 1
    assert v3["market_status"] == "closed"
    assert v3["session"]["open"] == v3["session"]["change"] == 0
    assert v3["session"]["previous_close"] > 0
    assert status["currencies"] == {"fx": "closed", "crypto": "open"}


def test_there_is_nothing_before_the_history_begins(server: SandboxServer) -> None:
    assert bars(server, "X:BTCUSD", "5/minute", 0, HISTORY_START_MS - 1) == []
    assert bars(server, "X:BTCUSD", "1/day", "1970-01-01", "2010-01-02")[0]["t"] == HISTORY_START_MS


# The universe


def test_both_classes_are_there_with_the_pairs_people_hold() -> None:
    known = instruments()
    for ticker in ("C:EURUSD", "C:GBPUSD", "C:USDJPY", "C:XAUUSD", "C:XAGUSD", "X:BTCUSD", "X:ETHUSD"):
        assert ticker in known
    assert sum(one.market is not Market.CRYPTO for one in known.values()) >= 30
    assert sum(one.market is Market.CRYPTO for one in known.values()) >= 20
    assert "X:ETHUSDT" not in known


def test_a_universe_of_thousands_holds_the_common_pairs_and_made_up_ones() -> None:
    many = instruments(10_000)
    assert len(many) == 10_000
    assert set(instruments()) < set(many)
    assert list(many) == sorted(many)
    assert "C:AAAUSD" in many
    assert "X:AAAAUSD" in many


@pytest.mark.parametrize(
    ("symbol", "parts"),
    [
        ("EURUSD", ("EUR", "USD", Market.FOREX)),
        ("XAUUSD", ("XAU", "USD", Market.METAL)),
        ("BTCUSDT", ("BTC", "USDT", Market.CRYPTO)),
        ("LINKUSD", ("LINK", "USD", Market.CRYPTO)),
    ],
)
def test_a_bare_symbol_is_told_by_its_base(symbol: str, parts: tuple[str, str, Market]) -> None:
    assert split_symbol(symbol) == parts


# Speed: bounds with room for a slow machine; CPU time of this process, in which the server runs


def test_a_page_of_ten_thousand_bars_takes_less_than_one_and_a_half_seconds(server: SandboxServer) -> None:
    path = range_path("X:SOLUSD", "5/minute", "2024-02-01", "2025-02-01")
    before = time.process_time()
    assert len(ask_json(server, path, limit=50_000)["results"]) == 10_000
    assert time.process_time() - before < 1.5


def test_a_grouped_day_takes_less_than_a_second(server: SandboxServer) -> None:
    before = time.process_time()
    assert len(ask_json(server, "/v2/aggs/grouped/locale/global/market/fx/2024-05-08")["results"]) > 40
    assert time.process_time() - before < 1.0
