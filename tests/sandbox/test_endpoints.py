"""The endpoints: fields and types as recorded from the provider, pages, filters and refusals of nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.nyse import special_days
from assetbatch.provider.holidays import decode_holidays
from assetbatch.sandbox import SandboxServer
from assetbatch.sandbox.spans import Counting

from .helpers import (
    BAR_MS,
    MINUTE_MS,
    Clock,
    ask,
    ask_json,
    bars,
    listed,
    ms,
    pages,
    range_path,
)

FOREX_TICKERS = "/v2/snapshot/locale/global/markets/forex/tickers"
CRYPTO_TICKERS = "/v2/snapshot/locale/global/markets/crypto/tickers"


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[SandboxServer]:
    with SandboxServer(clock=clock) as running:
        yield running


# Shapes as recorded


def kind(value: object) -> str:
    """The JSON type of a value; whole and broken numbers are one type."""
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number", str: "string", list: "list", dict: "object"}[type(value)]


def differences(recorded: Any, ours: Any, where: str, left_out: set[str]) -> list[str]:
    """Fields the recorded body has and ours has not, or of another type; lists by their first item."""
    if kind(recorded) != kind(ours):
        return [f"{where} is {kind(recorded)}, ours is {kind(ours)}"]
    if isinstance(recorded, list):
        return differences(recorded[0], ours[0], f"{where}[0]", left_out) if recorded and ours else []
    found = []
    if isinstance(recorded, dict):
        for name, value in recorded.items():
            if name in left_out:
                continue
            if name not in ours:
                found.append(f"{where}.{name} is missing")
            else:
                found += differences(value, ours[name], f"{where}.{name}", left_out)
    return found


# Path of ours, recorded body, and the fields that ours leaves out:
# - next_url, open and close, and share_class_figi and the like depend on what was asked, not on the endpoint;
# - `fmv` is of the Business plan; `i` is a field of forex quotes that only one example has.
# - `request_id` is an object in the grouped examples: a schema in the place of its value.
STOCK_FIELDS = {"cik", "composite_figi", "share_class_figi", "primary_exchange", "type", "currency_name"}
RECORDED = [
    ("/v3/snapshot?ticker.any_of=C:USDCAD", "client-go/v3/snapshot__forex.json", {"fmv", "next_url"}),
    ("/v3/snapshot?ticker.any_of=X:BTCUSD", "client-go/v3/snapshot__crypto.json", {"fmv", "next_url"}),
    (FOREX_TICKERS, "spec-examples/v2_snapshot_locale_global_markets_forex_tickers.json", set()),
    (
        f"{FOREX_TICKERS}/C:EURUSD",
        "spec-examples/v2_snapshot_locale_global_markets_forex_tickers_ticker.json",
        {"i"},
    ),
    (
        f"{CRYPTO_TICKERS}/X:BTCUSD",
        "spec-examples/v2_snapshot_locale_global_markets_crypto_tickers_ticker.json",
        set(),
    ),
    (
        range_path("C:EURUSD", "1/day", "2025-06-10", "2025-06-11"),
        "client-python/v2/aggs/ticker/AAPL/range_1_day_2005-04-01_2005-04-04.json",
        set(),
    ),
    (
        range_path("C:EURUSD", "1/day", "2025-06-10", "2025-06-11"),
        "spec-examples/v2_aggs_ticker_forexTicker_range_multiplier_timespan_from_to.json",
        set(),
    ),
    ("/v2/aggs/ticker/C:EURUSD/prev", "client-python/v2/aggs/ticker/AAPL/prev.json", set()),
    ("/v2/aggs/ticker/C:EURUSD/prev", "spec-examples/v2_aggs_ticker_forexTicker_prev.json", set()),
    (
        "/v2/aggs/grouped/locale/global/market/fx/2025-06-11",
        "client-python/v2/aggs/grouped_us_stocks_2005-04-04.json",
        set(),
    ),
    (
        "/v2/aggs/grouped/locale/global/market/fx/2025-06-11",
        "spec-examples/v2_aggs_grouped_locale_global_market_fx_date.json",
        {"request_id"},
    ),
    (
        "/v2/aggs/grouped/locale/global/market/crypto/2025-06-11",
        "spec-examples/v2_aggs_grouped_locale_global_market_crypto_date.json",
        {"request_id"},
    ),
    (
        "/v1/conversion/AUD/USD?amount=100&precision=2",
        "client-python/v1/conversion/AUD/USD__amount100_precision2.json",
        set(),
    ),
    ("/v1/last/crypto/BTC/USD", "client-python/v1/last/crypto/BTC/USD.json", set()),
    ("/v1/last_quote/currencies/AUD/USD", "client-python/v1/last_quote/currencies/AUD/USD.json", set()),
    ("/v1/marketstatus/now", "client-python/v1/marketstatus/now.json", set()),
    ("/v1/marketstatus/upcoming", "client-python/v1/marketstatus/upcoming.json", set()),
    ("/v3/reference/tickers?limit=2", "client-python/v3/reference/tickers__page1.json", STOCK_FIELDS),
]


@pytest.mark.parametrize(("path", "name", "left_out"), RECORDED, ids=[row[1] for row in RECORDED])
def test_an_answer_has_the_fields_and_types_of_the_recorded_one(
    server: SandboxServer, shared_dir: Path, path: str, name: str, left_out: set[str]
) -> None:
    recorded = json.loads((shared_dir / "vendor" / "fixtures" / name).read_text())
    assert differences(recorded, ask_json(server, path), "body", left_out) == []


def test_an_error_of_a_ticker_is_the_recorded_one(server: SandboxServer, shared_dir: Path) -> None:
    folder = shared_dir / "vendor" / "fixtures" / "client-python" / "v3"
    recorded = json.loads((folder / "snapshot_indices__not_found_not_entitled.json").read_text())
    (ours,) = ask_json(server, "/v3/snapshot", **{"ticker.any_of": "APx"})["results"]
    assert ours == recorded["results"][1]


# /v3/snapshot


def snapshot_tickers(server: SandboxServer, **params: object) -> list[str]:
    return [one["ticker"] for one in ask_json(server, "/v3/snapshot", **params)["results"]]


def test_a_crypto_trade_in_a_snapshot_has_no_size_and_forex_has_no_trade(server: SandboxServer) -> None:
    forex, crypto = ask_json(server, "/v3/snapshot", **{"ticker.any_of": "X:BTCUSD,C:EURUSD"})["results"]
    assert "last_trade" not in forex
    assert "last_quote" not in crypto
    assert "size" not in crypto["last_trade"]
    assert forex["last_quote"]["last_updated"] > 2**53


def test_a_snapshot_has_ten_results_unless_told_otherwise(server: SandboxServer) -> None:
    asked = ",".join(list(server.source.instruments)[:60])
    body = ask_json(server, "/v3/snapshot", **{"ticker.any_of": asked})
    assert len(body["results"]) == 10
    assert "next_url" in body
    body = ask_json(server, "/v3/snapshot", **{"ticker.any_of": asked, "limit": 250})
    assert len(body["results"]) == 60
    assert "next_url" not in body


def test_a_last_page_that_is_full_has_no_next_one(server: SandboxServer) -> None:
    asked = {"ticker.any_of": ",".join(list(server.source.instruments)[:40])}
    assert [len(page["results"]) for page in pages(server, "/v3/snapshot", limit=20, **asked)] == [20, 20]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_pages_of_a_snapshot_hold_every_ticker_once(server: SandboxServer, order: str) -> None:
    found = pages(server, "/v3/snapshot", limit=20, order=order)
    tickers = [one["ticker"] for page in found for one in page["results"]]
    assert tickers == sorted(listed(server), reverse=order == "desc")
    assert [len(page["results"]) for page in found[:-1]] == [20] * (len(found) - 1)


def test_a_snapshot_can_be_cut_by_type_and_by_range(server: SandboxServer) -> None:
    everything = listed(server)
    crypto = [one for one in everything if one.startswith("X:")]
    assert snapshot_tickers(server, type="crypto", limit=250) == crypto
    cut = snapshot_tickers(server, **{"ticker.gte": "C:EURUSD", "ticker.lt": "C:GBPUSD", "limit": 250})
    assert cut == [one for one in everything if "C:EURUSD" <= one < "C:GBPUSD"]
    cut = snapshot_tickers(server, **{"ticker.gt": "C:EURUSD", "ticker.lte": "C:GBPUSD", "limit": 250})
    assert cut == [one for one in everything if "C:EURUSD" < one <= "C:GBPUSD"]
    assert snapshot_tickers(server, ticker="C:EURUSD") == ["C:EURUSD"]
    assert snapshot_tickers(server, type="options") == []


# v2 snapshots


def test_a_v2_list_leaves_unknown_tickers_out(server: SandboxServer) -> None:
    body = ask_json(server, CRYPTO_TICKERS, tickers="X:BTCUSD,X:NOPE,C:EURUSD")
    assert [one["ticker"] for one in body["tickers"]] == ["X:BTCUSD"]


def test_a_v2_list_without_tickers_is_the_whole_market(server: SandboxServer) -> None:
    found = [one["ticker"] for one in ask_json(server, FOREX_TICKERS)["tickers"]]
    assert found == [one for one in server.source.instruments if one.startswith("C:")]


@pytest.mark.parametrize("path", [f"{CRYPTO_TICKERS}/X:NOPE", f"{CRYPTO_TICKERS}/C:EURUSD"])
def test_an_unknown_ticker_of_a_v2_snapshot_is_not_found(server: SandboxServer, path: str) -> None:
    response = ask(server, path)
    assert response.status_code == 404
    assert (response.json()["status"], response.json()["message"]) == ("NOT_FOUND", "Ticker not found.")


def test_v2_forex_says_updated_in_nanoseconds_and_crypto_in_milliseconds(
    server: SandboxServer, clock: Clock
) -> None:
    forex = ask_json(server, f"{FOREX_TICKERS}/C:EURUSD")["ticker"]
    crypto = ask_json(server, f"{CRYPTO_TICKERS}/X:BTCUSD")["ticker"]
    assert forex["updated"] == forex["lastQuote"]["t"] * 1_000_000
    assert crypto["updated"] == crypto["lastTrade"]["t"]
    assert 0 < clock.now_ms - crypto["updated"] <= 1_000


# Aggregates


@given(
    ticker=st.sampled_from(["C:EURUSD", "C:XAUUSD", "X:BTCUSD", "C:HKDCHF"]),
    start_ms=st.integers(ms("2025-05-01T00:00:00Z"), ms("2025-06-17T00:00:00Z")),
    hours=st.integers(1, 80),
    limit=st.integers(1, 300),
    sort=st.sampled_from(["asc", "desc"]),
)
def test_pages_hold_exactly_the_bars_of_the_range_once_and_in_order(
    server: SandboxServer, ticker: str, start_ms: int, hours: int, limit: int, sort: str
) -> None:
    end_ms = start_ms + hours * 12 * BAR_MS
    whole = bars(server, ticker, "5/minute", start_ms, end_ms)
    paged = bars(server, ticker, "5/minute", start_ms, end_ms, limit=max(limit, hours), sort=sort)
    assert paged == (whole if sort == "asc" else whole[::-1])
    assert all(before["t"] < after["t"] for before, after in pairwise(whole))
    assert all(start_ms <= bar["t"] <= end_ms and bar["t"] % BAR_MS == 0 for bar in whole)


def test_both_ends_of_a_range_are_inclusive(server: SandboxServer) -> None:
    start_ms = ms("2025-06-17T10:00:00Z")
    found = bars(server, "C:EURUSD", "5/minute", start_ms, start_ms + 2 * BAR_MS)
    assert [bar["t"] for bar in found] == [start_ms, start_ms + BAR_MS, start_ms + 2 * BAR_MS]


def test_the_limit_counts_minutes_not_bars(server: SandboxServer) -> None:
    path = range_path("X:BTCUSD", "5/minute", "2025-01-01", "2025-06-01")
    default = ask_json(server, path)
    assert default["queryCount"] == 5_000
    assert default["resultsCount"] == len(default["results"]) == 1_000
    assert len(ask_json(server, path, limit=50_000)["results"]) == 10_000
    assert len(ask_json(server, path, limit=50)["results"]) == 10


def test_next_url_is_absolute_without_the_key_and_to_the_host_that_was_asked(server: SandboxServer) -> None:
    path = range_path("X:BTCUSD", "5/minute", "2025-01-01", "2025-06-01")
    next_url = ask_json(server, f"{path}?limit=50")["next_url"]
    assert next_url.startswith(server.base_url + "/v2/aggs/ticker/X%3ABTCUSD/range/5/minute/")
    assert urlsplit(next_url).query.startswith("cursor=")
    assert ask(server, next_url, key=None).status_code == 401
    other_name = server.base_url.replace("127.0.0.1", "localhost")
    assert ask_json(server, f"{other_name}{path}?limit=50")["next_url"].startswith(other_name)


def test_a_page_that_is_full_at_the_end_of_the_data_leads_to_an_empty_one(server: SandboxServer) -> None:
    path = range_path("C:EURUSD", "5/minute", ms("2025-06-13T20:00:00Z"), ms("2025-06-14T12:00:00Z"))
    first, second = pages(server, path, limit=60)
    assert first["resultsCount"] == 12
    assert second["resultsCount"] == 0
    assert "results" not in second


@pytest.mark.parametrize(("counting", "days"), [("stored", 47), ("elapsed", 34), ("month", 29)])
def test_a_page_counts_the_minutes_that_it_is_to_count(clock: Clock, counting: str, days: int) -> None:
    path = range_path("C:EURUSD", "5/minute", "2025-01-05", "2025-04-01")
    with SandboxServer(clock=clock, counting=Counting(counting)) as server:
        found = pages(server, path, limit=50_000)
    first = found[0]["results"]
    assert (first[-1]["t"] - ms("2025-01-05T05:00:00Z")) // (24 * 60 * MINUTE_MS) in (days, days - 1)
    starts = [bar["t"] for page in found for bar in page.get("results", [])]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("ticker", ["X:NOPE", "C:eurusd", "EURUSD", "X:EURUSD"])
def test_an_unknown_ticker_is_an_empty_good_answer_on_aggregates(server: SandboxServer, ticker: str) -> None:
    for path in (
        range_path(ticker, "5/minute", "2025-06-16", "2025-06-17"),
        f"/v2/aggs/ticker/{ticker}/prev",
    ):
        body = ask_json(server, path)
        assert (body["status"], body["resultsCount"], body["ticker"]) == ("OK", 0, ticker)
        assert "results" not in body


def test_adjusted_is_repeated_as_it_was_asked(server: SandboxServer) -> None:
    path = range_path("C:EURUSD", "1/day", "2025-06-16", "2025-06-17")
    assert ask_json(server, path)["adjusted"] is True
    assert ask_json(server, path, adjusted="false")["adjusted"] is False


def test_a_range_in_the_future_is_empty(server: SandboxServer) -> None:
    assert bars(server, "X:BTCUSD", "5/minute", "2025-06-19", "2025-06-20") == []


def test_the_previous_day_of_forex_on_a_monday_is_sunday_evening() -> None:
    with SandboxServer(clock=Clock("2025-06-16T15:00:00Z")) as server:
        (bar,) = ask_json(server, "/v2/aggs/ticker/C:EURUSD/prev")["results"]
        (sunday,) = bars(server, "C:EURUSD", "1/day", "2025-06-15", "2025-06-15")
    assert bar["c"] == sunday["c"]


@pytest.mark.parametrize(
    ("span", "starts"),
    [
        ("4/hour", ["2025-06-02T04:00:00Z", "2025-06-02T08:00:00Z"]),
        ("1/week", ["2025-06-08T04:00:00Z", "2025-06-15T04:00:00Z"]),
        ("1/month", ["2025-01-01T05:00:00Z", "2025-02-01T05:00:00Z"]),
        ("1/quarter", ["2025-01-01T05:00:00Z", "2025-04-01T04:00:00Z"]),
        ("1/year", ["2024-01-01T05:00:00Z", "2025-01-01T05:00:00Z"]),
        ("30/second", ["2025-06-02T04:00:00Z", "2025-06-02T04:00:30Z"]),
    ],
)
def test_longer_spans_start_where_new_yorks_calendar_has_them(
    server: SandboxServer, span: str, starts: list[str]
) -> None:
    first, second = map(ms, starts)
    found = bars(server, "X:BTCUSD", span, first, second)
    assert [bar["t"] for bar in found] == [first, second]
    assert bars(server, "X:BTCUSD", span, first, second, sort="desc") == found[::-1]
    if second - first > 4 * BAR_MS:
        days = bars(server, "X:BTCUSD", "1/hour", first, second - 1)
        assert found[0]["h"] == max(bar["h"] for bar in days)


def test_crypto_volume_is_fractional_and_forex_volume_counts_quotes(server: SandboxServer) -> None:
    crypto = bars(server, "X:BTCUSD", "5/minute", "2025-06-17", "2025-06-17")
    forex = bars(server, "C:EURUSD", "5/minute", "2025-06-17", "2025-06-17")
    assert any(bar["v"] != int(bar["v"]) for bar in crypto)
    assert all(isinstance(bar["v"], int) and bar["v"] == bar["n"] for bar in forex)


# Nonsense is refused in the provider's shape


@pytest.mark.parametrize(
    "path",
    [
        range_path("C:EURUSD", "5/minute", "2025-06-31", "2025-07-01"),
        range_path("C:EURUSD", "5/minute", "yesterday", "2025-07-01"),
        range_path("C:EURUSD", "5/minute", "2025-06-12", "2025-06-11"),
        range_path("C:EURUSD", "0/minute", "2025-06-11", "2025-06-12"),
        range_path("C:EURUSD", "five/minute", "2025-06-11", "2025-06-12"),
        range_path("C:EURUSD", "5/minutes", "2025-06-11", "2025-06-12"),
        range_path("C:EURUSD", "5/minute", "2025-06-11", "2025-06-12") + "?limit=50001",
        range_path("C:EURUSD", "5/minute", "2025-06-11", "2025-06-12") + "?limit=many",
        range_path("C:EURUSD", "5/minute", "2025-06-11", "2025-06-12") + "?sort=up",
        range_path("C:EURUSD", "5/minute", "2025-06-11", "2025-06-12") + "?cursor=%21%21",
        range_path("C:EURUSD", "5/minute", "9999-12-31", "9999-12-31"),
        "/v2/aggs/grouped/locale/global/market/fx/today",
        "/v3/snapshot?limit=251",
        "/v3/snapshot?limit=0",
        "/v3/snapshot?type=gold",
        "/v3/snapshot?sort=name",
        "/v3/snapshot?ticker.any_of=" + ",".join(f"C:A{number}" for number in range(251)),
        "/v3/snapshot?cursor=YQ",
        "/v3/reference/tickers?limit=1001",
        "/v3/reference/tickers?sort=size",
        "/v3/reference/tickers?active=perhaps",
        "/v1/conversion/AUD/USD?amount=much",
        "/v1/conversion/AUD/USD?amount=nan",
        "/v1/conversion/AUD/USD?precision=5",
    ],
)
def test_a_wrong_parameter_is_a_400_with_an_error(server: SandboxServer, path: str) -> None:
    response = ask(server, path)
    assert response.status_code == 400
    body = response.json()
    assert body["status"] == "ERROR"
    assert set(body) == {"status", "request_id", "error"}


def test_an_unknown_path_is_plain_text(server: SandboxServer) -> None:
    response = ask(server, "/v3/snapshots")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.text == "404 page not found\n"


# Currencies by pair


def test_a_conversion_uses_the_quote_of_the_inverse_pair_where_there_is_one(server: SandboxServer) -> None:
    inverse = ask_json(server, "/v1/conversion/CAD/USD", amount=100, precision=4)
    direct = ask_json(server, "/v1/conversion/USD/CAD", amount=100, precision=4)
    assert inverse["symbol"] == direct["symbol"] == "USD/CAD"
    assert inverse["last"] == direct["last"]
    assert inverse["converted"] == pytest.approx(100 / inverse["last"]["bid"], abs=1e-4)
    assert direct["converted"] == pytest.approx(100 * direct["last"]["bid"], abs=1e-4)


@pytest.mark.parametrize(
    "path", ["/v1/last_quote/currencies/EUR/ZZZ", "/v1/last/crypto/ETH/USDT", "/v1/conversion/ZZZ/USD"]
)
def test_an_unknown_pair_is_not_found(server: SandboxServer, path: str) -> None:
    response = ask(server, path)
    assert response.status_code == 404
    assert response.json()["status"] == "NOT_FOUND"


# Reference and market status


def test_the_reference_can_be_searched_and_sorted(server: SandboxServer) -> None:
    def found(**params: object) -> list[str]:
        results = ask_json(server, "/v3/reference/tickers", **params)["results"]
        return [one["ticker"] for one in results]

    assert found(search="gold", market="fx") == ["C:XAUEUR", "C:XAUUSD"]
    assert found(search="gold", market="fx", order="desc") == ["C:XAUUSD", "C:XAUEUR"]
    assert found(market="crypto", search="ETHE") == [
        "X:ETCUSD",
        "X:ETHBTC",
        "X:ETHEUR",
        "X:ETHUSD",
        "X:USDTUSD",
    ]
    assert found(active="false", market="fx") == found(market="crypto", type="CS") == []
    by_name = found(sort="name", limit=1_000)
    assert found(sort="name", market="crypto")[0] == "X:AAVEUSD"
    assert sorted(by_name) == listed(server)


def test_the_server_time_has_new_yorks_offset(server: SandboxServer) -> None:
    assert ask_json(server, "/v1/marketstatus/now")["serverTime"] == "2025-06-18T11:02:37-04:00"


@pytest.mark.parametrize(
    ("moment", "market", "early", "late"),
    [
        ("2025-06-18T12:00:00Z", "extended-hours", True, False),
        ("2025-06-18T15:00:00Z", "open", False, False),
        ("2025-06-18T21:00:00Z", "extended-hours", False, True),
        ("2025-06-19T02:00:00Z", "closed", False, False),
        ("2025-06-21T15:00:00Z", "closed", False, False),
        ("2025-06-19T15:00:00Z", "closed", False, False),  # Juneteenth
        ("2025-07-03T18:00:00Z", "extended-hours", False, True),  # from 13:00
        ("2025-07-03T21:00:00Z", "closed", False, False),  # from 17:00
    ],
)
def test_the_stock_market_has_its_hours(moment: str, market: str, early: bool, late: bool) -> None:
    with SandboxServer(clock=Clock(moment)) as server:
        status = ask_json(server, "/v1/marketstatus/now")
    assert (status["market"], status["earlyHours"], status["afterHours"]) == (market, early, late)


def test_the_coming_holidays_are_those_of_a_year(server: SandboxServer) -> None:
    found = ask_json(server, "/v1/marketstatus/upcoming")
    days = {one["date"]: one["status"] for one in found if one["exchange"] == "NYSE"}
    assert list(days)[:4] == ["2025-06-19", "2025-07-03", "2025-07-04", "2025-09-01"]
    assert list(days)[-1] == "2026-05-25"
    assert [day for day, status in days.items() if status == "early-close"] == [
        "2025-07-03",
        "2025-11-28",
        "2025-12-24",
    ]


def test_the_coming_holidays_are_read_as_what_is_computed(server: SandboxServer) -> None:
    found = decode_holidays(ask(server, "/v1/marketstatus/upcoming").content)
    assert found.refused.total() == 0
    assert found.days == {
        day: special
        for year in (2025, 2026)
        for day, special in special_days(year).items()
        if date(2025, 6, 18) <= day <= date(2026, 6, 18)
    }


# Names in paths


def test_percent_encoded_tickers_are_the_same_tickers(server: SandboxServer) -> None:
    path = range_path("X%3ABTCUSD", "5/minute", "2025-06-17", "2025-06-17")
    assert ask_json(server, path)["ticker"] == "X:BTCUSD"
    assert ask_json(server, "/v3/snapshot?ticker.any_of=X%3ABTCUSD%2CC%3AEURUSD")["results"][1]["name"]
    assert ask_json(server, f"{CRYPTO_TICKERS}?tickers=X:BTCUSD&tickers=X:ETHUSD")["tickers"][1]["day"]


def test_a_range_that_starts_within_a_bar_starts_with_the_next_one(server: SandboxServer) -> None:
    start_ms = ms("2025-06-17T10:00:00Z")
    found = bars(server, "C:EURUSD", "5/minute", start_ms + MINUTE_MS, start_ms + 2 * BAR_MS)
    assert found[0]["t"] == start_ms + BAR_MS
