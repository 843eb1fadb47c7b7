"""Stocks and indices: their days and hours, what a plan shows, splits, renames, and the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from assetbatch.domain import market_hours
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, start_of_day
from assetbatch.domain.nyse import SpecialDay
from assetbatch.provider.holidays import decode_holidays
from assetbatch.sandbox import PLANS, SandboxServer
from assetbatch.sandbox.exchange import Calendar, Closure
from assetbatch.sandbox.listings import FREE_INDICES, Exchange, Extra, Split
from assetbatch.sandbox.plans import plan_of

from .helpers import (
    DAY_MS,
    HOUR_MS,
    KEY,
    MINUTE_MS,
    Clock,
    aggregate,
    ask,
    ask_json,
    bars,
    ms,
    range_path,
)
from .helpers import pages as pages_of

GROUPED = "/v2/aggs/grouped/locale/us/market/stocks"
FREE = replace(PLANS["basic"], limit=None)
NOW = "2025-06-18T15:02:37Z"
PRICES = ("o", "h", "l", "c")


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(PLANS["advanced"], clock=Clock(NOW)) as running:
        yield running


@pytest.fixture(scope="module")
def free() -> Iterator[SandboxServer]:
    with SandboxServer(FREE, clock=Clock(NOW)) as running:
        yield running


def refusal(server: SandboxServer, path: str) -> str:
    response = ask(server, path)
    assert response.status_code == 403, response.text
    message: str = response.json()["message"]
    return message


def days(server: SandboxServer, ticker: str, first: str, last: str, **params: object) -> dict[date, Any]:
    """The daily bars by their New York day."""
    return {day_of(bar["t"]): bar for bar in bars(server, ticker, "1/day", first, last, **params)}


# Days and hours


def test_minutes_of_a_stock_are_those_from_4_to_20_in_new_york(server: SandboxServer) -> None:
    found = bars(server, "AAPL", "5/minute", "2025-06-17", "2025-06-17")
    assert found[0]["t"] == ms("2025-06-17T04:00:00-04:00")
    assert found[-1]["t"] == ms("2025-06-17T19:55:00-04:00")
    assert len(found) == 16 * 12


def test_minutes_of_an_index_are_those_of_the_session_and_have_prices_alone(server: SandboxServer) -> None:
    found = bars(server, "I:NDX", "1/minute", "2025-06-17", "2025-06-17")
    assert found[0]["t"] == ms("2025-06-17T09:30:00-04:00")
    assert found[-1]["t"] == ms("2025-06-17T15:59:00-04:00")
    assert all(set(bar) == {*PRICES, "t"} for bar in found)
    assert "adjusted" not in ask_json(server, range_path("I:NDX", "1/day", "2025-06-17", "2025-06-17"))


@given(
    ticker=st.sampled_from(["AAPL", "BRK.A", "SPY", "KIMpL", "FLIP"]),
    day=st.dates(date(2018, 1, 2), date(2025, 6, 10)),
)
def test_a_day_has_the_prices_of_its_session_and_the_volume_of_all_its_minutes(
    server: SandboxServer, ticker: str, day: date
) -> None:
    session = server.source.instruments["SPY"].listing.calendar.session(day)  # type: ignore[union-attr]
    minutes = bars(server, ticker, "5/minute", day, day, adjusted="false")
    found = bars(server, ticker, "1/day", day, day, adjusted="false")
    if session is None:
        assert minutes == found == []
        return
    assert all(session.early_ms <= bar["t"] < session.late_ms for bar in minutes)
    regular = [bar for bar in minutes if session.opens_ms <= bar["t"] < session.closes_ms]
    (whole,) = found
    assert {name: whole[name] for name in PRICES} == {name: aggregate(regular)[name] for name in PRICES}
    assert {name: whole[name] for name in "vn"} == {name: aggregate(minutes)[name] for name in "vn"}
    assert whole["l"] <= whole["vw"]


def test_hours_and_half_hours_are_the_aggregate_of_the_minutes(server: SandboxServer) -> None:
    minutes = bars(server, "SPY", "1/minute", "2025-06-17", "2025-06-17")
    for span, length_ms in (("30/minute", 30 * MINUTE_MS), ("1/hour", HOUR_MS), ("4/hour", 4 * HOUR_MS)):
        for bar in bars(server, "SPY", span, "2025-06-17", "2025-06-17"):
            within = [one for one in minutes if bar["t"] <= one["t"] < bar["t"] + length_ms]
            assert {name: bar[name] for name in "ohlcvn"} == aggregate(within)


def test_volume_may_be_fractional(server: SandboxServer) -> None:
    assert any(bar["v"] % 1 for bar in bars(server, "AAPL", "1/day", "2025-06-01", "2025-06-17"))


def test_an_early_close_ends_the_session_at_13_and_trading_at_17() -> None:
    with SandboxServer(clock=Clock("2025-07-10T15:00:00Z")) as server:
        stock = bars(server, "SPY", "5/minute", "2025-07-03", "2025-07-03")
        index = bars(server, "I:NYA", "5/minute", "2025-07-03", "2025-07-03")
    assert stock[-1]["t"] == ms("2025-07-03T16:55:00-04:00")
    assert index[-1]["t"] == ms("2025-07-03T12:55:00-04:00")


@pytest.mark.parametrize("day", ["2025-06-14", "2025-05-26", "2025-01-09", "2025-05-15"])
def test_a_weekend_a_holiday_and_a_closure_have_no_bars(server: SandboxServer, day: str) -> None:
    for ticker in ("SPY", "I:NDX"):
        assert bars(server, ticker, "5/minute", day, day) == bars(server, ticker, "1/day", day, day) == []
    body = ask_json(server, f"{GROUPED}/{day}")
    assert (body["status"], body["resultsCount"], "results" in body) == ("OK", 0, False)


def test_a_closure_that_nobody_planned_is_listed_from_the_day_on_that_it_is_known() -> None:
    closure = Closure(date(2025, 6, 24), "Flood", listed=date(2025, 6, 20))
    clock = Clock("2025-06-19T15:00:00Z")
    with SandboxServer(clock=clock, exchange=Exchange(closures=(closure,))) as server:
        path = "/v1/marketstatus/upcoming"
        assert date(2025, 6, 24) not in decode_holidays(ask(server, path).content).days
        clock.now_ms += DAY_MS
        listed = decode_holidays(ask(server, path).content).days
        assert listed[date(2025, 6, 24)] == SpecialDay("Flood")
        clock.now_ms = ms("2025-06-24T15:00:00Z")
        assert ask_json(server, "/v1/marketstatus/now")["market"] == "closed"


def test_without_closures_the_days_are_those_that_the_program_computes() -> None:
    calendar, day = Calendar(()), date(2015, 1, 1)
    while day < date(2028, 1, 1):
        session = calendar.session(day)
        regular = ((session.opens_ms, session.closes_ms),) if session else ()
        extended = ((session.early_ms, session.late_ms),) if session else ()
        assert market_hours.sessions(Market.STOCK, day) == market_hours.sessions(Market.INDEX, day) == regular
        assert market_hours.sessions(Market.STOCK_EXTENDED, day) == extended
        day += timedelta(days=1)


def test_what_the_program_was_told_of_the_calendar_changes_no_simulated_day(server: SandboxServer) -> None:
    before = bars(server, "SPY", "1/day", "2025-06-16", "2025-06-17")
    market_hours.set_listed_days({date(2025, 6, 17): SpecialDay("Told")})
    try:
        assert bars(server, "SPY", "1/day", "2025-06-16", "2025-06-17") == before
        assert len(before) == 2
    finally:
        market_hours.set_listed_days({})


def test_a_day_is_stamped_as_the_provider_stamps_it(server: SandboxServer) -> None:
    (stock,) = bars(server, "SPY", "1/day", "2025-06-17", "2025-06-17")
    (index,) = bars(server, "I:NDX", "1/day", "2025-06-17", "2025-06-17")
    assert stock["t"] == ms("2025-06-17T00:00:00-04:00")
    assert index["t"] == ms("2025-06-17T01:00:00-04:00")
    sixteen_ms = ms("2025-06-17T16:00:00-04:00")
    for ticker in ("SPY", "I:NDX"):
        (previous,) = ask_json(server, f"/v2/aggs/ticker/{ticker}/prev")["results"]
        assert (previous["T"], previous["t"]) == (ticker, sixteen_ms)
    grouped = ask_json(server, f"{GROUPED}/2025-06-17")["results"]
    assert {bar["t"] for bar in grouped} == {sixteen_ms}
    (in_grouped,) = [bar for bar in grouped if bar["T"] == "SPY"]
    assert {name: in_grouped[name] for name in "ohlcvn"} == {name: stock[name] for name in "ohlcvn"}


def test_a_thin_stock_has_minutes_and_days_without_a_trade(server: SandboxServer) -> None:
    assert 20 < len(bars(server, "KIMpL", "1/minute", "2025-06-17", "2025-06-17")) < 390
    thinnest = replace(Extra("THIN"), trades=0.15)
    with SandboxServer(clock=Clock(NOW), exchange=Exchange(extras=(thinnest,))) as other:
        traded = days(other, "THIN", "2025-01-02", "2025-06-17")
    assert 5 < len(traded) < 110


def test_a_grouped_day_holds_every_stock_and_over_the_counter_ones_on_request(server: SandboxServer) -> None:
    with SandboxServer(clock=Clock(NOW), exchange=Exchange(stocks=12_500)) as large:
        found = ask_json(large, f"{GROUPED}/2025-06-17", adjusted="false")["results"]
        assert 12_400 < len(found) <= 12_500
        assert len({bar["T"] for bar in found}) == len(found)
    usual = {bar["T"]: bar for bar in ask_json(server, f"{GROUPED}/2025-06-17")["results"]}
    with_otc = {
        bar["T"]: bar for bar in ask_json(server, f"{GROUPED}/2025-06-17", include_otc="true")["results"]
    }
    assert with_otc.keys() - usual.keys() == {"TCEHY"}
    assert with_otc["TCEHY"]["otc"] is True
    assert {"AAPL", "BRK.B", "KIMpL"} <= usual.keys()
    assert not any("I:" in ticker for ticker in usual)


def test_nothing_is_traded_before_the_moment_since_when_there_is_data() -> None:
    since_ms = start_of_day(date(2025, 6, 16))
    with SandboxServer(clock=Clock(NOW), since_ms=since_ms) as server:
        assert min(days(server, "SPY", "2025-06-01", "2025-06-17")) == date(2025, 6, 16)
        assert bars(server, "SPY", "5/minute", "2025-06-01", "2025-06-17")[0]["t"] >= since_ms


@settings(max_examples=8)
@given(
    start_ms=st.integers(ms("2025-04-01T00:00:00Z"), ms("2025-06-12T00:00:00Z")), limit=st.integers(60, 900)
)
def test_the_pages_of_a_stock_hold_each_bar_once(server: SandboxServer, start_ms: int, limit: int) -> None:
    end_ms = start_ms + 3 * DAY_MS
    for ticker in ("SPY", "KIMpL"):
        whole = bars(server, ticker, "5/minute", start_ms, end_ms)
        assert bars(server, ticker, "5/minute", start_ms, end_ms, limit=limit) == whole
        assert bars(server, ticker, "5/minute", start_ms, end_ms, limit=limit, sort="desc") == whole[::-1]


# Plans


def test_the_free_plan_has_five_indices_and_refuses_the_others(free: SandboxServer) -> None:
    indices = [one for one in free.source.instruments if one.startswith("I:")]
    assert {"I:NDX", "I:COMP", "I:NYA", "I:MID", "I:SML"} == FREE_INDICES
    assert len(indices) == 13
    for ticker in indices:
        for path in (
            range_path(ticker, "1/day", "2025-06-16", "2025-06-17"),
            f"/v2/aggs/ticker/{ticker}/prev",
        ):
            if ticker in FREE_INDICES:
                assert ask_json(free, path)["results"]
            else:
                assert refusal(free, path).startswith("You are not entitled to this data. ")


def test_a_free_day_of_stocks_opens_some_minutes_after_new_yorks_midnight() -> None:
    clock = Clock("2025-06-18T04:02:59Z")
    day = range_path("SPY", "5/minute", "2025-06-17", "2025-06-17")
    with SandboxServer(FREE, clock=clock) as server:
        for path in (day, f"{GROUPED}/2025-06-17", day.replace("SPY", "I:NDX")):
            assert refusal(server, path).startswith("Attempted to request today's data before end of day. ")
        (before,) = ask_json(server, "/v2/aggs/ticker/SPY/prev")["results"]
        assert ask_json(server, day.replace("SPY", "C:EURUSD"))["results"]
        clock.now_ms += 1_000
        assert ask_json(server, day)["resultsCount"] == 16 * 12
        assert ask_json(server, f"{GROUPED}/2025-06-17")["results"]
        (after,) = ask_json(server, "/v2/aggs/ticker/SPY/prev")["results"]
    assert (day_of(before["t"]), day_of(after["t"])) == (date(2025, 6, 16), date(2025, 6, 17))


def test_the_free_plan_refuses_today_and_what_is_older_than_two_years(free: SandboxServer) -> None:
    assert refusal(free, range_path("SPY", "1/day", "2025-06-17", "2025-06-18")).startswith("Attempted to ")
    assert refusal(free, f"{GROUPED}/2025-06-18").startswith("Attempted to ")
    assert refusal(free, f"{GROUPED}/2023-06-17").startswith("Your plan doesn't include this data timeframe")
    assert ask_json(free, f"{GROUPED}/2023-06-20")["results"]


def test_starter_is_15_minutes_late_and_advanced_is_not(server: SandboxServer) -> None:
    now_ms = ms(NOW)
    path = range_path("SPY", "1/minute", "2025-06-18", "2025-06-18")
    with SandboxServer(PLANS["starter"], clock=Clock(NOW)) as starter:
        late = ask_json(starter, path)
    newest = ask_json(server, path)
    assert (late["status"], newest["status"]) == ("DELAYED", "OK")
    assert late["results"][-1]["t"] == (now_ms - 15 * MINUTE_MS) // MINUTE_MS * MINUTE_MS
    assert newest["results"][-1]["t"] == now_ms // MINUTE_MS * MINUTE_MS


def test_a_key_has_a_plan_for_each_product() -> None:
    with SandboxServer(plan_of("basic", "starter", "basic"), clock=Clock(NOW)) as server:
        assert server.plan.limit == 5
        today = ("2025-06-18", "2025-06-18")
        assert ask_json(server, range_path("SPY", "1/minute", *today))["results"]
        assert refusal(server, range_path("C:EURUSD", "1/minute", *today)).startswith("Attempted to ")
        assert refusal(server, range_path("I:NDX", "1/minute", *today)).startswith("Attempted to ")


def test_a_key_without_a_product_is_refused_it() -> None:
    with SandboxServer(replace(PLANS["starter"], stocks=None), clock=Clock(NOW)) as server:
        for path in (range_path("SPY", "1/day", "2025-06-16", "2025-06-17"), f"{GROUPED}/2025-06-17"):
            assert refusal(server, path).startswith("You are not entitled to this data. ")
        assert ask_json(server, "/v2/aggs/ticker/I:SPX/prev")["results"]


# Snapshots

V2 = "/v2/snapshot/locale/us/markets/stocks/tickers"


def universal(server: SandboxServer, *tickers: str) -> list[dict[str, Any]]:
    asked = {"ticker.any_of": ",".join(tickers), "limit": 250}
    results: list[dict[str, Any]] = ask_json(server, "/v3/snapshot", **asked)["results"]
    return results


def test_a_snapshot_mixes_all_classes(server: SandboxServer) -> None:
    found = universal(server, "AAPL", "BRK.B", "I:NDX", "C:EURUSD", "X:BTCUSD", "NOPE", "GONE")
    types = {one["ticker"]: one.get("type", one.get("error")) for one in found}
    assert types == {
        "AAPL": "stocks",
        "BRK.B": "stocks",
        "C:EURUSD": "fx",
        "GONE": "NOT_FOUND",
        "I:NDX": "indices",
        "NOPE": "NOT_FOUND",
        "X:BTCUSD": "crypto",
    }


def test_a_snapshot_agrees_with_the_bars(server: SandboxServer) -> None:
    stock, index = universal(server, "AAPL", "I:NDX")
    for entry in (stock, index):
        (day,) = bars(server, entry["ticker"], "1/day", "2025-06-18", "2025-06-18")
        last = bars(server, entry["ticker"], "1/minute", "2025-06-18", "2025-06-18")[-1]
        (previous,) = ask_json(server, f"/v2/aggs/ticker/{entry['ticker']}/prev")["results"]
        session = entry["session"]
        assert [session[name] for name in ("open", "high", "low", "close")] == [day[name] for name in "ohlc"]
        assert session["previous_close"] == previous["c"]
        assert entry.get("value", session.get("price")) == last["c"] == session["close"]
        if entry is stock:
            assert session["volume"] == day["v"]
            assert (stock["last_minute"]["close"], stock["last_minute"]["volume"]) == (last["c"], last["v"])
        else:
            assert "volume" not in session
        assert last["t"] * 1_000_000 <= entry["last_updated"] < ms(NOW) * 1_000_000


@pytest.mark.parametrize(
    ("stocks", "trades", "quotes", "timeframe"),
    [
        ("starter", False, False, "DELAYED"),
        ("developer", True, False, "DELAYED"),
        ("advanced", True, True, "REAL-TIME"),
    ],
)
def test_a_plan_decides_what_a_snapshot_of_a_stock_holds(
    stocks: str, trades: bool, quotes: bool, timeframe: str
) -> None:
    with SandboxServer(plan_of("basic", stocks, "basic"), clock=Clock(NOW)) as server:
        aapl, eurusd, index = universal(server, "AAPL", "C:EURUSD", "I:NDX")
        old = ask_json(server, f"{V2}/AAPL")["ticker"]
        assert refusal(server, "/v2/snapshot/locale/global/markets/forex/tickers").startswith("You are not ")
    assert ("last_trade" in aapl, "last_quote" in aapl) == (trades, quotes)
    assert ("lastTrade" in old, "lastQuote" in old) == (trades, quotes)
    assert aapl["last_minute"]["close"] == old["min"]["c"] > 0
    assert aapl["timeframe"] == timeframe
    late_ms = ms(NOW) - aapl["last_updated"] // 1_000_000
    assert late_ms // MINUTE_MS == (15 if timeframe == "DELAYED" else 0)
    assert eurusd["error"] == index["error"] == "NOT_ENTITLED"


def test_the_free_plan_has_no_snapshots_of_stocks_and_indices(free: SandboxServer) -> None:
    for path in ("/v3/snapshot?ticker.any_of=AAPL", V2, f"{V2}/AAPL", "/v3/snapshot/indices"):
        assert refusal(free, path).startswith("You are not entitled to this data. ")


NIGHT = {
    # Moment in New York, market status, whether the day has prices, and whether there was a trade.
    "2025-06-17T17:30:00-04:00": ("late_trading", True, True),
    "2025-06-18T03:29:59-04:00": ("closed", True, True),
    "2025-06-18T03:30:00-04:00": ("closed", False, False),
    "2025-06-18T04:10:00-04:00": ("early_trading", False, True),
    "2025-06-18T09:29:59-04:00": ("early_trading", False, True),
    "2025-06-18T09:31:00-04:00": ("open", True, True),
    "2025-06-21T12:00:00-04:00": ("closed", False, False),
}


@pytest.mark.parametrize("moment", NIGHT)
def test_a_snapshot_is_cleared_in_the_night_and_its_day_is_zero_until_the_open(moment: str) -> None:
    status, has_day, has_trade = NIGHT[moment]
    with SandboxServer(PLANS["advanced"], clock=Clock(moment)) as server:
        stock, index = universal(server, "AAPL", "I:NDX")
        old = ask_json(server, f"{V2}/AAPL")["ticker"]
    assert stock["market_status"] == status
    assert index["market_status"] == ("open" if status == "open" else "closed")
    assert index["value"] > 0
    for bar in (stock["session"], index["session"]):
        assert [bar[name] > 0 for name in ("open", "high", "low", "close")] == [has_day] * 4
        assert bar["previous_close"] > 0
    assert [old["day"][name] > 0 for name in "ohlcv"] == [has_day] * 5
    assert (stock["last_minute"]["close"] > 0) is (old["min"]["c"] > 0) is has_trade
    assert ("last_trade" in stock) is (old["lastTrade"]["p"] > 0) is has_trade
    assert old["prevDay"]["c"] > 0


def test_the_snapshot_of_indices_has_ten_of_them_unless_told_otherwise(server: SandboxServer) -> None:
    assert len(ask_json(server, "/v3/snapshot/indices")["results"]) == 10
    body = ask_json(server, "/v3/snapshot/indices", limit=250)
    assert len(body["results"]) == 13
    assert "next_url" not in body
    (wrong,) = ask_json(server, "/v3/snapshot/indices", **{"ticker.any_of": "AAPL"})["results"]
    assert wrong["error"] == "NOT_FOUND"


def test_the_snapshot_of_all_stocks_leaves_out_what_is_gone_or_over_the_counter(
    server: SandboxServer,
) -> None:
    found = [one["ticker"] for one in ask_json(server, V2)["tickers"]]
    assert {"AAPL", "KIMpL", "NEWX"} <= set(found)
    assert {"OLDX", "GONE", "TCEHY"}.isdisjoint(found)
    asked = ask_json(server, V2, tickers="TCEHY,AAPL,NOPE,C:EURUSD")["tickers"]
    assert [one["ticker"] for one in asked] == ["AAPL", "TCEHY"]


# Splits


def test_bars_are_adjusted_unless_they_are_asked_for_raw(server: SandboxServer) -> None:
    split = date(2025, 3, 3)  # FLIP: four for one
    for span in ("1/day", "5/minute"):
        raw = bars(server, "FLIP", span, "2025-02-27", "2025-03-04", adjusted="false")
        adjusted = bars(server, "FLIP", span, "2025-02-27", "2025-03-04")
        assert [bar["t"] for bar in raw] == [bar["t"] for bar in adjusted]
        for one, other in zip(raw, adjusted, strict=True):
            factor = 0.25 if day_of(one["t"]) < split else 1
            assert [other[name] for name in (*PRICES, "vw")] == pytest.approx(
                [one[name] * factor for name in (*PRICES, "vw")], rel=1e-12
            )
            assert other["v"] == pytest.approx(one["v"] / factor, rel=1e-12)
            assert other["n"] == one["n"]
    raw_days = days(server, "FLIP", "2025-02-27", "2025-03-04", adjusted="false")
    jump = raw_days[split]["o"] / raw_days[date(2025, 2, 28)]["c"]
    assert jump == pytest.approx(0.25, rel=0.2)


def test_grouped_and_previous_days_are_adjusted_too() -> None:
    with SandboxServer(clock=Clock("2025-03-03T15:00:00Z")) as server:  # FLIP splits four for one today
        found = {}
        for adjusted in ("true", "false"):
            grouped = ask_json(server, f"{GROUPED}/2025-02-28", adjusted=adjusted)
            (in_grouped,) = [bar for bar in grouped["results"] if bar["T"] == "FLIP"]
            (previous,) = ask_json(server, "/v2/aggs/ticker/FLIP/prev", adjusted=adjusted)["results"]
            assert in_grouped == previous
            assert grouped["adjusted"] is (adjusted == "true")
            found[adjusted] = previous
    assert found["true"]["c"] == pytest.approx(found["false"]["c"] / 4, rel=1e-12)
    assert found["true"]["v"] == pytest.approx(found["false"]["v"] * 4, rel=1e-12)


def test_a_split_is_listed_before_it_takes_effect_and_rescales_bars_from_its_day_on() -> None:
    clock = Clock("2025-03-03T04:59:59Z")
    with SandboxServer(clock=clock) as server:
        rows = ask_json(server, "/stocks/v1/splits", ticker="FLIP", limit=1)["results"]
        assert rows[0]["execution_date"] == "2025-03-03"
        before = days(server, "FLIP", "2025-02-27", "2025-02-28")
        clock.now_ms += 1_000
        after = days(server, "FLIP", "2025-02-27", "2025-02-28")
    for day, bar in before.items():
        assert after[day]["c"] == pytest.approx(bar["c"] / 4, rel=1e-12)


def test_a_week_with_a_split_in_it_is_of_one_measure(server: SandboxServer) -> None:
    # THREE has a split of three for two on Monday, 7 April; the second bar of two weeks holds it.
    by_day = days(server, "THREE", "2025-03-23", "2025-05-10")
    for week in bars(server, "THREE", "2/week", "2025-03-23", "2025-04-19"):
        first = day_of(week["t"])
        within = [bar for day, bar in by_day.items() if first <= day < first + timedelta(days=14)]
        assert week["h"] == pytest.approx(max(bar["h"] for bar in within), abs=1e-4)
        assert week["v"] == pytest.approx(sum(bar["v"] for bar in within), rel=1e-6)


def test_the_next_page_of_raw_bars_is_raw(server: SandboxServer) -> None:
    path = range_path("FLIP", "5/minute", "2025-02-27", "2025-02-28")
    found = pages_of(server, path, adjusted="false", limit=600)
    assert len(found) > 1
    assert not any(page["adjusted"] for page in found)
    raw = bars(server, "FLIP", "5/minute", "2025-02-27", "2025-02-28", adjusted="false")
    assert [bar for page in found for bar in page.get("results", [])] == raw


def test_splits_are_found_by_ticker_date_and_kind_over_all_pages(server: SandboxServer) -> None:
    rows = ask_json(server, "/stocks/v1/splits", **{"ticker.any_of": "AAPL,FLIP,C:EURUSD", "limit": 5_000})[
        "results"
    ]
    assert {row["ticker"] for row in rows} == {"AAPL", "FLIP"}
    assert [row["execution_date"] for row in rows] == sorted(
        (row["execution_date"] for row in rows), reverse=True
    )
    (aapl,) = [row for row in rows if row["execution_date"] == "2020-08-31"]
    assert (aapl["split_from"], aapl["split_to"], aapl["adjustment_type"]) == (1, 4, "forward_split")
    assert aapl["historical_adjustment_factor"] == 0.25
    some = {
        "execution_date.gte": "2025-01-01",
        "execution_date.lte": "2025-06-30",
        "sort": "execution_date.asc",
    }
    found = pages_of(server, "/stocks/v1/splits", limit=2, **some)
    assert [row["ticker"] for page in found for row in page["results"]] == ["DIVS", "FLIP", "THREE", "RVSE"]
    reverse = ask_json(server, "/stocks/v1/splits", adjustment_type="reverse_split", limit=5_000)["results"]
    assert {row["adjustment_type"] for row in reverse} == {"reverse_split"}
    for wrong in ({"limit": 5_002}, {"execution_date.gte": "yesterday"}, {"sort": "colour"}):
        response = ask(server, "/stocks/v1/splits", **wrong)
        assert (response.status_code, response.json()["status"]) == (400, "ERROR")


def test_the_old_list_of_splits_agrees_with_the_new_one(server: SandboxServer) -> None:
    new = ask_json(server, "/stocks/v1/splits", ticker="RVSE", limit=1_000)["results"]
    old = ask_json(server, "/v3/reference/splits", ticker="RVSE", limit=1_000)["results"]
    assert old == [{name: row[name] for name in row if name in old[0]} for row in new]
    reverse = ask_json(server, "/v3/reference/splits", ticker="RVSE", reverse_split="true", order="asc")
    days_ = [row["execution_date"] for row in reverse["results"]]
    assert len(days_) == 10
    assert days_ == sorted(row["execution_date"] for row in new if row["split_from"] > row["split_to"])[:10]


def test_a_split_may_be_listed_late_wrongly_or_for_a_while() -> None:
    splits = (
        Split(date(2025, 6, 2), 1, 2, listed=date(2025, 6, 20)),
        Split(date(2025, 6, 2), 1, 3, is_true=False, unlisted=date(2025, 6, 20)),
    )
    clock = Clock(NOW)
    with SandboxServer(clock=clock, exchange=Exchange(extras=(Extra("ODD", splits=splits),))) as server:
        first = ask_json(server, "/stocks/v1/splits", ticker="ODD")["results"]
        raw = days(server, "ODD", "2025-05-29", "2025-06-03", adjusted="false")
        clock.now_ms += 2 * DAY_MS
        later = ask_json(server, "/stocks/v1/splits", ticker="ODD")["results"]
    assert [row["split_to"] for row in first] == [3]
    assert [row["split_to"] for row in later] == [2]
    assert raw[date(2025, 6, 2)]["o"] / raw[date(2025, 5, 30)]["c"] == pytest.approx(1 / 2, rel=0.15)


# What the program does not ask


def test_open_and_close_are_those_of_the_day(server: SandboxServer) -> None:
    for ticker, adjusted in (("FLIP", "false"), ("FLIP", "true"), ("I:NDX", "true")):
        found = ask_json(server, f"/v1/open-close/{ticker}/2025-02-28", adjusted=adjusted)
        (bar,) = bars(server, ticker, "1/day", "2025-02-28", "2025-02-28", adjusted=adjusted)
        assert [found[name] for name in ("open", "high", "low", "close")] == [bar[name] for name in "ohlc"]
        assert found.get("volume") == bar.get("v")
    assert ask(server, "/v1/open-close/FLIP/2025-03-01").status_code == 404


def test_summaries_are_short_snapshots(server: SandboxServer) -> None:
    asked = {"ticker.any_of": "AAPL,C:EURUSD,I:NDX,NOPE"}
    aapl, eurusd, index, nope = ask_json(server, "/v1/summaries", **asked)["results"]
    assert (aapl["price"], aapl["type"], eurusd["type"]) == (aapl["session"]["close"], "stocks", "fx")
    assert index["error"] == nope["error"] == "NOT_FOUND"


def test_the_lists_of_exchanges_types_and_dividends_are_there(server: SandboxServer) -> None:
    exchanges = ask_json(server, "/v3/reference/exchanges", asset_class="stocks")["results"]
    assert {"XNYS", "XNAS"} <= {one["mic"] for one in exchanges}
    types = ask_json(server, "/v3/reference/tickers/types", locale="us")["results"]
    assert {"CS", "ETF"} <= {one["code"] for one in types}
    assert ask_json(server, "/v3/reference/exchanges", asset_class="crypto")["results"] == []
    for version in ("stocks/v1", "v3/reference"):
        assert ask_json(server, f"/{version}/dividends", ticker="AAPL")["results"] == []


# Who is listed


def test_a_renamed_stock_goes_on_under_its_new_ticker(server: SandboxServer) -> None:
    assert max(days(server, "OLDX", "2025-04-01", "2025-04-30")) == date(2025, 4, 11)
    assert min(days(server, "NEWX", "2025-04-01", "2025-04-30")) == date(2025, 4, 14)
    assert ask(server, "/v3/reference/tickers/OLDX").status_code == 404
    before = ask_json(server, "/v3/reference/tickers/OLDX", date="2025-04-01")["results"]
    assert before["active"] is True
    assert ask(server, "/vX/reference/tickers/OLDX/events").status_code == 404
    for name in ("NEWX", before["composite_figi"]):
        events = ask_json(server, f"/vX/reference/tickers/{name}/events")["results"]["events"]
        assert events[0] == {
            "type": "ticker_change",
            "date": "2025-04-14",
            "ticker_change": {"ticker": "NEWX"},
        }


def test_before_a_rename_nothing_is_known_of_it() -> None:
    with SandboxServer(clock=Clock("2025-04-11T15:00:00Z")) as server:
        assert ask_json(server, "/v3/reference/tickers/OLDX")["results"]["active"] is True
        assert ask(server, "/v3/reference/tickers/NEWX").status_code == 404
        events = ask_json(server, "/vX/reference/tickers/OLDX/events")["results"]["events"]
    assert [event["ticker_change"]["ticker"] for event in events] == ["OLDX"]


def test_a_delisted_stock_has_no_bars_from_that_day_on(server: SandboxServer) -> None:
    assert max(days(server, "GONE", "2025-05-01", "2025-06-17")) == date(2025, 5, 29)
    details = ask_json(server, "/v3/reference/tickers/GONE")["results"]
    assert (details["active"], details["delisted_utc"]) == (False, "2025-05-30T00:00:00Z")
    inactive = ask_json(server, "/v3/reference/tickers", market="stocks", active="false")["results"]
    assert {one["ticker"] for one in inactive} == {"FB", "GONE", "OLDX"}


def test_a_ticker_may_have_belonged_to_another_fund_before(server: SandboxServer) -> None:
    found = days(server, "META", "2021-06-01", "2022-07-01")
    assert not [day for day in found if date(2022, 2, 1) <= day < date(2022, 6, 9)]
    assert min(found) == date(2021, 6, 30)
    assert ask_json(server, "/v3/reference/tickers/META")["results"]["list_date"] == "2012-05-18"


def test_a_young_stock_has_no_bars_before_its_first_day(server: SandboxServer) -> None:
    assert min(days(server, "YOUNG", "2025-01-01", "2025-03-31")) == date(2025, 3, 6)
    assert ask_json(server, "/v3/reference/tickers/YOUNG")["results"]["list_date"] == "2025-03-06"


def test_the_reference_holds_a_whole_market_in_pages_of_a_thousand() -> None:
    with SandboxServer(clock=Clock(NOW), exchange=Exchange(stocks=2_500)) as server:
        found = pages_of(server, "/v3/reference/tickers", market="stocks", active="true", limit=1_000)
        tickers = [one["ticker"] for page in found for one in page["results"]]
        assert [page["count"] for page in found[:-1]] == [1_000] * (len(found) - 1)
        assert tickers == sorted(set(tickers))
        rule = {"market": "stocks", "exchange": "XNYS", "type": "CS", "ticker.gte": "Z", "limit": 1_000}
        some = ask_json(server, "/v3/reference/tickers", **rule)["results"]
    assert {(one["primary_exchange"], one["type"], one["ticker"][0]) for one in some} == {("XNYS", "CS", "Z")}
    assert 100 < len(some) < 1_000
    assert {"OLDX", "GONE", "TCEHY"}.isdisjoint(tickers)


def test_indices_and_stocks_over_the_counter_are_markets_of_their_own(server: SandboxServer) -> None:
    indices = ask_json(server, "/v3/reference/tickers", market="indices")["results"]
    assert len(indices) == 13
    otc = ask_json(server, "/v3/reference/tickers", market="otc")["results"]
    assert [one["ticker"] for one in otc] == ["TCEHY"]


# Currencies are what they were

# The first digits of the SHA-256 of each answer, as it was before there were stocks.
UNCHANGED = {
    "/v3/snapshot?ticker.any_of=C:EURUSD,C:XAUUSD,X:BTCUSD,X:NOPE&limit=250": "e5235387161b12cc",
    "/v3/snapshot?type=crypto&limit=20": "e64262490676878f",
    "/v3/snapshot?type=fx&limit=250": "6029b33dfa3fc489",
    "/v2/aggs/ticker/C:EURUSD/range/5/minute/2025-06-01/2025-06-18?limit=7000": "1f0600c8c7dce309",
    "/v2/aggs/ticker/C:XAUUSD/range/1/day/2025-01-01/2025-06-18?limit=50000": "62709c36f345740a",
    "/v2/aggs/ticker/C:DKKAUD/range/1/week/2024-01-01/2025-06-18": "fd9dcb1d6e010b48",
    "/v2/aggs/ticker/X:BTCUSD/range/24/hour/2025-06-01/2025-06-18": "e82bbf3e7448d4af",
    "/v2/aggs/ticker/X:BTCUSD/range/10/second/1750259000000/1750259999000": "014a1a34b0fdcd53",
    "/v2/aggs/ticker/C:XAUUSD/prev": "0b8724a42c384dbb",
    "/v2/aggs/grouped/locale/global/market/fx/2025-06-17": "b6ae085609b95960",
    "/v2/aggs/grouped/locale/global/market/crypto/2025-06-18?adjusted=false": "662aaeff845fcfd6",
    "/v2/snapshot/locale/global/markets/forex/tickers": "98354f918f036979",
    "/v2/snapshot/locale/global/markets/crypto/tickers/X:BTCUSD": "5c55ed23141a1e97",
    "/v3/reference/tickers?market=crypto&limit=3&sort=name": "86a0193e0a43d67f",
    "/v1/marketstatus/now": "b10f91b8cc864905",
    "/v1/marketstatus/upcoming": "0be62ec5a3161a3b",
}


@pytest.mark.parametrize("path", UNCHANGED)
def test_the_answers_for_currencies_are_the_bytes_that_they_were(path: str) -> None:
    with SandboxServer(PLANS["starter"], clock=Clock(NOW), universe=300) as server:
        headers = {"Authorization": f"Bearer {KEY}", "Host": "sandbox"}
        answer = requests.get(f"{server.base_url}{path}", headers=headers, timeout=10)
    assert sha256(answer.content).hexdigest()[:16] == UNCHANGED[path]
