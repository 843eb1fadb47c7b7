"""Independent readers: the provider's own client, and its OpenAPI spec through schemathesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from massive import RESTClient  # type: ignore[import-untyped]  # the provider ships no types
from massive.exceptions import BadResponse  # type: ignore[import-untyped]  # the same
from schemathesis import CheckFunction, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from assetbatch.sandbox import PLANS, SandboxServer

from .helpers import KEY, Clock, listed, ms

load_all_checks()


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(clock=Clock()) as running:
        yield running


# The provider's client


def client_of(server: SandboxServer, key: str = KEY) -> RESTClient:
    return RESTClient(api_key=key, base=server.base_url, retries=0, num_pools=1)


@pytest.fixture(scope="module")
def client(server: SandboxServer) -> RESTClient:
    return client_of(server)


def test_the_client_reads_a_range_over_all_its_pages(client: RESTClient) -> None:
    found = list(client.list_aggs("X:BTCUSD", 5, "minute", "2025-06-16", "2025-06-17", limit=500))
    assert len(found) == 2 * 288
    assert found[0].timestamp == ms("2025-06-16T00:00:00-04:00")
    assert found[0].low <= found[0].vwap <= found[0].high
    single = client.get_aggs("X:BTCUSD", 5, "minute", "2025-06-16", "2025-06-17", limit=50_000)
    assert [bar.close for bar in single] == [bar.close for bar in found]


def test_the_client_reads_the_previous_and_the_grouped_day(client: RESTClient) -> None:
    (previous,) = client.get_previous_close_agg("C:XAUUSD")
    grouped = client.get_grouped_daily_aggs("2025-06-17", locale="global", market_type="fx")
    assert previous.ticker == "C:XAUUSD"
    assert previous.close in [bar.close for bar in grouped if bar.ticker == "C:XAUUSD"]


def test_the_client_reads_universal_snapshots(client: RESTClient, server: SandboxServer) -> None:
    asked = ["C:EURUSD", "X:BTCUSD", "X:NOPE"]
    eurusd, btcusd, nope = client.list_universal_snapshots(ticker_any_of=asked, limit=250)
    assert eurusd.last_quote.bid < eurusd.last_quote.ask
    assert btcusd.last_trade.price == btcusd.session.price
    assert nope.error == "NOT_FOUND"
    everything = [one.ticker for one in client.list_universal_snapshots(limit=10)]
    assert everything == listed(server)


def test_the_client_reads_v2_snapshots(client: RESTClient) -> None:
    forex = client.get_snapshot_all("forex", tickers=["C:EURUSD"])[0]
    crypto = client.get_snapshot_ticker("crypto", "X:BTCUSD")
    assert (forex.ticker, crypto.ticker) == ("C:EURUSD", "X:BTCUSD")
    assert crypto.last_trade.price == crypto.day.close
    assert forex.prev_day.close > 0


def test_the_client_reads_quotes_trades_and_conversions(client: RESTClient) -> None:
    quote = client.get_last_forex_quote("EUR", "USD").last
    assert quote.bid < quote.ask
    assert client.get_last_crypto_trade("BTC", "USD").price > 0
    converted = client.get_real_time_currency_conversion("EUR", "USD", amount=100, precision=4)
    assert converted.converted == pytest.approx(100 * quote.bid, abs=1e-4)


def test_the_client_reads_the_market_status_and_holidays(client: RESTClient) -> None:
    assert client.get_market_status().currencies.crypto == "open"
    assert {holiday.status for holiday in client.get_market_holidays()} == {"closed", "early-close"}


def test_the_client_reads_the_reference(client: RESTClient, server: SandboxServer) -> None:
    found = [one.ticker for one in client.list_tickers(limit=25)]
    assert found == listed(server)


def test_the_client_takes_refusals_for_what_they_are() -> None:
    with SandboxServer(PLANS["basic"], clock=Clock()) as server:
        with pytest.raises(BadResponse, match="You are not entitled to this data"):
            client_of(server).get_snapshot_ticker("crypto", "X:BTCUSD")
        with pytest.raises(BadResponse, match="API Key was not provided"):
            client_of(server, key="").get_market_status()


# The provider's spec

OPERATIONS = [
    "/v1/conversion/{from}/{to}",
    "/v1/last/crypto/{from}/{to}",
    "/v1/last_quote/currencies/{from}/{to}",
    "/v1/marketstatus/now",
    "/v1/marketstatus/upcoming",
    "/v2/aggs/grouped/locale/global/market/crypto/{date}",
    "/v2/aggs/grouped/locale/global/market/fx/{date}",
    "/v2/aggs/ticker/{forexTicker}/prev",
    "/v2/aggs/ticker/{forexTicker}/range/{multiplier}/{timespan}/{from}/{to}",
    "/v2/snapshot/locale/global/markets/crypto/tickers",
    "/v2/snapshot/locale/global/markets/crypto/tickers/{ticker}",
    "/v2/snapshot/locale/global/markets/forex/tickers",
    "/v2/snapshot/locale/global/markets/forex/tickers/{ticker}",
    "/v3/reference/tickers",
    "/v3/snapshot",
]

# Values the spec calls plain strings, by parameter; where the path matters, by path and parameter.
MEANINGFUL = {
    "date": ["2025-06-16", "2025-06-17", "2025-06-15", "2031-01-01"],
    "forexTicker": ["C:EURUSD", "C:XAUUSD", "X:BTCUSD", "C:NOPE", "C:DKKAUD"],
    "multiplier": [1, 2, 5, 60],
    "range from": ["2025-06-12", "2025-06-15", str(ms("2025-06-15T10:02:03Z"))],
    "range to": ["2025-06-16", "2025-06-30", str(ms("2025-06-17T10:02:03Z"))],
    "range limit": [1, 100, 5_000],
    "conversion from": ["AUD", "EUR"],
    "conversion to": ["USD", "JPY"],
    "last_quote from": ["EUR", "GBP"],
    "last_quote to": ["USD", "JPY"],
    "crypto from": ["BTC", "ETH"],
    "crypto to": ["USD", "EUR"],
    "crypto ticker": ["X:BTCUSD", "X:SHIBUSD"],
    "forex ticker": ["C:EURUSD", "C:HKDCHF"],
    "ticker.any_of": ["C:EURUSD,X:BTCUSD,X:NOPE", "X:ETHUSD", ""],
    "ticker": ["C:EURUSD", "X:NOPE"],
    "ticker.gte": ["C:E", "X:"],
    "ticker.lt": ["X:", "Z"],
    "amount": [0, 1, 100.5, -3],
    "tickers": [["C:EURUSD", "X:BTCUSD"], []],
}


def providers_spec(shared_dir: Path) -> dict[str, Any]:
    """The provider's spec, where its live service is known to differ made as its service is (API.md)."""
    spec: dict[str, Any] = json.loads((shared_dir / "vendor" / "spec_currencies.json").read_text())
    assert sorted(spec["paths"]) == OPERATIONS
    # The spec documents 200 (and 401) alone for these two; the service answers nonsense with 400.
    for path in ("/v3/snapshot", "/v3/reference/tickers"):
        spec["paths"][path]["get"]["responses"]["default"] = {"description": "an error"}
    # The spec requires the size of a trade, as an integer; crypto trades of the service have none.
    results = spec["paths"]["/v3/snapshot"]["get"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    last_trade = results["properties"]["results"]["items"]["properties"]["last_trade"]
    assert last_trade["required"] == ["price", "size"]
    last_trade["required"] = ["price"]
    return spec


def with_meaningful_values(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with strings narrowed to tickers, dates and currencies that mean something."""
    for path, methods in spec["paths"].items():
        for parameter in methods["get"].get("parameters", []):
            for scope in (*(part for part in path.split("/") if part), ""):
                values = MEANINGFUL.get(f"{scope} {parameter['name']}".strip())
                if values is not None:
                    parameter["schema"] = {"enum": values}
                    break
    return spec


def examine(
    server: SandboxServer,
    spec: dict[str, Any],
    path: str,
    mode: GenerationMode = GenerationMode.POSITIVE,
    without: tuple[CheckFunction, ...] = (),
) -> list[int]:
    """Sends generated requests to one operation, applies every other check, returns the statuses."""
    operation = schemathesis.openapi.from_dict(spec)[path]["GET"]
    headers = {"Authorization": f"Bearer {KEY}"}
    statuses = []

    @settings(
        max_examples=15,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=server.base_url, headers=headers)
        statuses.append(response.status_code)
        case.validate_response(response, headers=headers, excluded_checks=list(without))

    run()
    return statuses


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_asked_is_answered_within_the_spec(
    server: SandboxServer, shared_dir: Path, path: str, mode: GenerationMode
) -> None:
    # Not asked for: the spec calls dates in paths plain strings, so that any text would have to be good;
    # and the service ignores parameters that it does not know or need, so that few can be wrong.
    without = (positive_data_acceptance, negative_data_rejection)
    assert examine(server, providers_spec(shared_dir), path, mode, without)


@pytest.mark.parametrize("path", OPERATIONS)
def test_what_makes_sense_is_answered_with_data_as_the_spec_has_them(
    server: SandboxServer, shared_dir: Path, path: str
) -> None:
    spec = with_meaningful_values(providers_spec(shared_dir))
    assert set(examine(server, spec, path)) == {200}
