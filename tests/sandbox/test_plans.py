"""What a plan refuses, in the provider's words, and who may ask at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from assetbatch.domain.market_hours import from_ms
from assetbatch.sandbox import PLANS, SandboxServer
from assetbatch.sandbox.plans import history_start
from assetbatch.secret import Secret

from .helpers import KEY, Clock, ask, ask_json, bars, ms, range_path

UNLIMITED_BASIC = replace(PLANS["basic"], limit=None)

NOT_ENTITLED = "You are not entitled to this data. Please upgrade your plan at "
TODAY_NOT_YET = "Attempted to request today's data before end of day. "
NO_TIMEFRAME = "Your plan doesn't include this data timeframe. "


@pytest.fixture(scope="module")
def basic() -> Iterator[SandboxServer]:
    with SandboxServer(UNLIMITED_BASIC, clock=Clock()) as running:
        yield running


def refusal(server: SandboxServer, path: str) -> str:
    """The message of a 403, which must have the provider's shape."""
    response = ask(server, path)
    assert response.status_code == 403, response.text
    body = response.json()
    assert set(body) == {"status", "request_id", "message"}
    assert body["status"] == "NOT_AUTHORIZED"
    message: str = body["message"]
    return message


# The key


def test_no_key_is_refused() -> None:
    with SandboxServer() as server:
        response = ask(server, "/v1/marketstatus/now", key=None)
    assert response.status_code == 401
    body = response.json()
    assert body == {"status": "ERROR", "request_id": body["request_id"], "error": "API Key was not provided"}


def test_another_key_than_the_configured_one_is_unknown() -> None:
    with SandboxServer(key=Secret(KEY)) as server:
        assert ask(server, "/v1/marketstatus/now").status_code == 200
        response = ask(server, "/v1/marketstatus/now", key="made-up-key-124")
    assert response.status_code == 401
    assert response.json()["error"] == "Unknown API Key"


def test_a_key_in_the_query_works_too_and_is_not_in_the_log() -> None:
    with SandboxServer(key=Secret(KEY)) as server:
        response = requests.get(f"{server.base_url}/v1/marketstatus/now?apiKey={KEY}", timeout=10)
        assert response.status_code == 200
        (arrival,) = server.arrivals
    assert arrival.query == {}
    assert KEY not in repr(arrival)


@pytest.mark.parametrize("header", ["Basic bWFkZTp1cA==", "Bearer", "Bearer  ", ""])
def test_a_header_without_a_bearer_key_is_no_key(header: str) -> None:
    with SandboxServer() as server:
        url = f"{server.base_url}/v1/marketstatus/now"
        response = requests.get(url, headers={"Authorization": header}, timeout=10)
    assert response.json()["error"] == "API Key was not provided"


# The basic plan


@pytest.mark.parametrize(
    "path",
    [
        "/v3/snapshot?ticker.any_of=C:EURUSD",
        "/v2/snapshot/locale/global/markets/forex/tickers",
        "/v2/snapshot/locale/global/markets/forex/tickers/C:EURUSD",
        "/v2/snapshot/locale/global/markets/crypto/tickers",
        "/v2/snapshot/locale/global/markets/crypto/tickers/X:BTCUSD",
        "/v1/last_quote/currencies/EUR/USD",
        "/v1/last/crypto/BTC/USD",
        "/v1/conversion/EUR/USD",
    ],
)
def test_basic_has_no_snapshots_quotes_or_conversions(basic: SandboxServer, path: str) -> None:
    assert refusal(basic, path).startswith(NOT_ENTITLED)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/aggs/ticker/X:BTCUSD/prev",
        "/v2/aggs/grouped/locale/global/market/fx/2025-06-17",
        "/v3/reference/tickers",
        "/v1/marketstatus/now",
        "/v1/marketstatus/upcoming",
    ],
)
def test_basic_has_past_days_reference_and_market_status(basic: SandboxServer, path: str) -> None:
    assert ask_json(basic, path)


def test_basic_has_bars_up_to_the_last_new_york_midnight(basic: SandboxServer) -> None:
    midnight_ms = ms("2025-06-18T00:00:00-04:00")
    found = bars(basic, "X:BTCUSD", "5/minute", "2025-06-17", midnight_ms - 1)
    assert found[-1]["t"] == midnight_ms - 300_000
    assert len(bars(basic, "X:BTCUSD", "5/minute", "2025-06-17", "2025-06-17")) == 288


@pytest.mark.parametrize("end", [ms("2025-06-18T00:00:00-04:00"), "2025-06-18"])
def test_basic_refuses_todays_data_before_the_end_of_the_day(basic: SandboxServer, end: object) -> None:
    assert refusal(basic, range_path("X:BTCUSD", "5/minute", "2025-06-17", end)).startswith(TODAY_NOT_YET)
    assert refusal(basic, range_path("X:BTCUSD", "1/day", "2025-06-17", end)).startswith(TODAY_NOT_YET)


def test_basic_refuses_todays_grouped_day(basic: SandboxServer) -> None:
    path = "/v2/aggs/grouped/locale/global/market/crypto/2025-06-18"
    assert refusal(basic, path).startswith(TODAY_NOT_YET)


def test_basic_refuses_dates_in_the_future_as_no_timeframe(basic: SandboxServer) -> None:
    tomorrow_ms = ms("2025-06-19T00:00:00-04:00")
    for end, message in (
        (tomorrow_ms - 1, TODAY_NOT_YET),
        (tomorrow_ms, NO_TIMEFRAME),
        ("2025-06-19", NO_TIMEFRAME),
    ):
        assert refusal(basic, range_path("X:BTCUSD", "1/day", "2025-06-17", end)).startswith(message)
    assert refusal(basic, "/v2/aggs/grouped/locale/global/market/fx/2025-06-19").startswith(NO_TIMEFRAME)


def test_basic_goes_back_two_years_to_the_day(basic: SandboxServer) -> None:
    assert bars(basic, "X:BTCUSD", "1/day", "2023-06-18", "2023-06-19")
    assert refusal(basic, range_path("X:BTCUSD", "1/day", "2023-06-17", "2023-06-19")).startswith(
        NO_TIMEFRAME
    )
    assert refusal(basic, "/v2/aggs/grouped/locale/global/market/fx/2023-06-17").startswith(NO_TIMEFRAME)


def test_the_day_turns_at_new_york_midnight() -> None:
    clock = Clock("2025-06-18T03:59:59Z")
    path = range_path("X:BTCUSD", "5/minute", "2025-06-17", "2025-06-17")
    with SandboxServer(UNLIMITED_BASIC, clock=clock) as server:
        assert refusal(server, path).startswith(TODAY_NOT_YET)
        clock.now_ms += 1_000
        assert ask_json(server, path)["resultsCount"] == 288


def test_two_years_before_a_29_february_is_the_28th() -> None:
    start_ms = history_start(PLANS["basic"], ms("2024-02-29T12:00:00Z"))
    assert start_ms is not None
    assert f"{from_ms(start_ms):%Y-%m-%d %H:%M}" == "2022-02-28 05:00"


# The paid plan, and plans in between


def test_starter_has_everything_up_to_now() -> None:
    clock = Clock()
    with SandboxServer(PLANS["starter"], clock=clock) as server:
        assert (
            bars(server, "X:BTCUSD", "5/minute", "2025-06-18", "2025-06-30")[-1]["t"] > clock.now_ms - 300_000
        )
        assert bars(server, "X:BTCUSD", "1/day", "2015-01-01", "2015-01-02")
        assert ask_json(server, "/v3/snapshot")["results"]


def test_a_plan_without_intraday_bars_refuses_five_minutes_and_allows_days() -> None:
    with SandboxServer(replace(UNLIMITED_BASIC, intraday=False), clock=Clock()) as server:
        path = range_path("C:XAUUSD", "5/minute", "2025-06-10", "2025-06-11")
        assert refusal(server, path).startswith(NO_TIMEFRAME)
        assert bars(server, "C:XAUUSD", "1/day", "2025-06-10", "2025-06-11")


def test_a_plan_of_one_asset_class_refuses_the_other_one() -> None:
    with SandboxServer(replace(PLANS["starter"], kinds=frozenset({"crypto"})), clock=Clock()) as server:
        tickers = {"ticker.any_of": "C:EURUSD,X:BTCUSD,X:NOPE"}
        eurusd, btcusd, nope = ask_json(server, "/v3/snapshot", **tickers)["results"]
        assert eurusd == {
            "ticker": "C:EURUSD",
            "error": "NOT_ENTITLED",
            "message": "Not entitled to this ticker.",
        }
        assert "session" in btcusd
        assert nope["error"] == "NOT_FOUND"
        for path in (
            range_path("C:EURUSD", "5/minute", "2025-06-16", "2025-06-17"),
            "/v2/aggs/ticker/C:EURUSD/prev",
            "/v2/aggs/grouped/locale/global/market/fx/2025-06-17",
            "/v2/snapshot/locale/global/markets/forex/tickers",
            "/v1/last_quote/currencies/EUR/USD",
            "/v1/conversion/EUR/USD",
        ):
            assert refusal(server, path).startswith(NOT_ENTITLED)
        assert ask_json(server, "/v1/last/crypto/BTC/USD")
