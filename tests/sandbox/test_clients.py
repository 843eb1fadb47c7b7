"""Independent readers: the provider's own client, and its OpenAPI spec through schemathesis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
    with SandboxServer(PLANS["advanced"], clock=Clock()) as running:
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


def test_the_client_reads_bars_of_stocks_and_indices(client: RESTClient) -> None:
    found = list(client.list_aggs("AAPL", 5, "minute", "2025-06-16", "2025-06-17", adjusted=False, limit=500))
    assert len(found) == 2 * 16 * 12
    (index,) = client.get_aggs("I:NDX", 1, "day", "2025-06-17", "2025-06-17")
    assert (index.volume, index.transactions) == (None, None)
    grouped = client.get_grouped_daily_aggs("2025-06-17", adjusted=False, include_otc=True)
    (previous,) = client.get_previous_close_agg("AAPL")
    assert previous.close in [bar.close for bar in grouped if bar.ticker == "AAPL"]
    assert [bar.ticker for bar in grouped if bar.otc] == ["TCEHY"]


def test_the_client_reads_snapshots_of_stocks_and_indices(client: RESTClient) -> None:
    asked = ["AAPL", "I:NDX", "X:BTCUSD"]
    aapl, index, _ = client.list_universal_snapshots(ticker_any_of=asked, limit=250)
    assert aapl.last_quote.bid < aapl.last_trade.price < aapl.last_quote.ask
    assert aapl.last_minute.close == aapl.last_trade.price
    assert (aapl.timeframe, aapl.market_status, index.type) == ("REAL-TIME", "open", "indices")
    (by_itself,) = client.get_snapshot_indices(ticker_any_of=["I:NDX"])
    assert by_itself.value == index.value > 0
    one = client.get_snapshot_ticker("stocks", "AAPL")
    assert one.day.close == aapl.session.close
    assert one.last_trade.price == aapl.last_trade.price
    assert [found.ticker for found in client.get_snapshot_all("stocks", tickers=["SPY", "NOPE"])] == ["SPY"]


def test_the_client_reads_splits_renames_and_details(client: RESTClient) -> None:
    (split,) = client.list_stocks_splits(ticker="AAPL", execution_date_gte="2015-01-01", limit=1)
    assert (split.split_from, split.split_to, split.adjustment_type) == (1, 4, "forward_split")
    splits = list(client.list_stocks_splits(ticker="FLIP", limit=10))
    assert len(splits) == len({one.id for one in splits}) > 10
    assert client.get_ticker_details("GONE").active is False
    assert [event["type"] for event in client.get_ticker_events("META").events] == ["ticker_change"] * 2


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
STOCK_OPERATIONS = [
    "/stocks/v1/dividends",
    "/stocks/v1/splits",
    "/v1/marketstatus/now",
    "/v1/marketstatus/upcoming",
    "/v1/open-close/{indicesTicker}/{date}",
    "/v1/open-close/{stocksTicker}/{date}",
    "/v1/summaries",
    "/v2/aggs/grouped/locale/us/market/stocks/{date}",
    "/v2/aggs/ticker/{indicesTicker}/prev",
    "/v2/aggs/ticker/{indicesTicker}/range/{multiplier}/{timespan}/{from}/{to}",
    "/v2/aggs/ticker/{stocksTicker}/prev",
    "/v2/aggs/ticker/{stocksTicker}/range/{multiplier}/{timespan}/{from}/{to}",
    "/v2/snapshot/locale/us/markets/stocks/tickers",
    "/v2/snapshot/locale/us/markets/stocks/tickers/{stocksTicker}",
    "/v3/reference/dividends",
    "/v3/reference/exchanges",
    "/v3/reference/splits",
    "/v3/reference/tickers",
    "/v3/reference/tickers/types",
    "/v3/reference/tickers/{ticker}",
    "/v3/snapshot",
    "/v3/snapshot/indices",
    "/vX/reference/tickers/{id}/events",
]

# Values the spec calls plain strings, by parameter; where the path matters, by path and parameter.
MEANINGFUL: dict[str, list[Any]] = {
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


MEANINGFUL_FOR_STOCKS: dict[str, list[Any]] = {
    **MEANINGFUL,
    "open-close date": ["2025-06-16", "2025-06-17"],
    "stocksTicker": ["AAPL", "SPY", "BRK.B", "KIMpL", "FLIP"],
    "indicesTicker": ["I:NDX", "I:SPX"],
    "tickers ticker": ["AAPL", "GONE", "I:NDX"],
    "id": ["AAPL", "NEWX", "META"],
    "stocks sort": ["execution_date.asc", "ticker.desc,execution_date"],
    "execution_date": ["2025-03-03"],
    "execution_date.gt": ["2024-01-01"],
    "execution_date.gte": ["2024-01-01", "2025-06-18"],
    "execution_date.lt": ["2025-12-31"],
    "execution_date.lte": ["2025-12-31"],
    "ticker": ["AAPL", "FLIP", "I:NDX", "X:NOPE"],
    "ticker.any_of": ["AAPL,I:NDX,X:BTCUSD,NOPE", "FLIP", ""],
    "tickers": [["AAPL", "SPY"], []],
    "exchange": ["XNAS", ""],
    "cik": [""],
    "cusip": [""],
}


def spec_of_stocks(shared_dir: Path) -> dict[str, Any]:
    """The provider's spec of stocks and indices, made as its service is."""
    spec: dict[str, Any] = json.loads((shared_dir / "vendor" / "spec_stocks_indices.json").read_text())
    assert sorted(spec["paths"]) == STOCK_OPERATIONS
    # The spec documents few errors for these; the service answers nonsense with 400 and 404.
    for methods in spec["paths"].values():
        methods["get"]["responses"].setdefault("default", {"description": "an error"})
    # The example of the events has `type`, as the provider's client reads it, and the schema `event_type`.
    events = schema_of(spec, "/vX/reference/tickers/{id}/events")["properties"]["results"]["properties"][
        "events"
    ]
    assert events["items"]["oneOf"][0]["required"] == ["event_type", "date"]
    events["items"]["oneOf"][0]["required"] = ["date"]
    # As in the spec of currencies: trades of crypto have no size.
    results = schema_of(spec, "/v3/snapshot")["properties"]["results"]["items"]["properties"]
    results["last_trade"]["required"] = ["price"]
    return spec


def schema_of(spec: dict[str, Any], path: str) -> dict[str, Any]:
    content = spec["paths"][path]["get"]["responses"]["200"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


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


def with_meaningful_values(
    spec: dict[str, Any], meaningful: dict[str, list[Any]] = MEANINGFUL
) -> dict[str, Any]:
    """The spec with strings narrowed to tickers, dates and currencies that mean something."""
    for path, methods in spec["paths"].items():
        for parameter in methods["get"].get("parameters", []):
            for scope in (*(part for part in path.split("/") if part), ""):
                values = meaningful.get(f"{scope} {parameter['name']}".strip())
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
    examples: int = 15,
) -> list[int]:
    """Sends generated requests to one operation, applies every other check, returns the statuses."""
    operation = schemathesis.openapi.from_dict(spec)[path]["GET"]
    headers = {"Authorization": f"Bearer {KEY}"}
    statuses = []

    @settings(
        max_examples=examples,
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


Spec = Callable[[Path], dict[str, Any]]
SPECS: list[tuple[Spec, str]] = [
    *((providers_spec, path) for path in OPERATIONS),
    *((spec_of_stocks, path) for path in STOCK_OPERATIONS),
]
NAMES = [f"{spec.__name__} {path}" for spec, path in SPECS]


@pytest.mark.parametrize(("spec_of", "path"), SPECS, ids=NAMES)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_asked_is_answered_within_the_spec(
    server: SandboxServer, shared_dir: Path, spec_of: Spec, path: str, mode: GenerationMode
) -> None:
    # Not asked for: the spec calls dates in paths plain strings, so that any text would have to be good;
    # and the service ignores parameters that it does not know or need, so that few can be wrong.
    without = (positive_data_acceptance, negative_data_rejection)
    examples = 15 if spec_of is providers_spec else 6  # most of what can be asked wrongly is the same code
    assert examine(server, spec_of(shared_dir), path, mode, without, examples)


@pytest.mark.parametrize(("spec_of", "path"), SPECS, ids=NAMES)
def test_what_makes_sense_is_answered_with_data_as_the_spec_has_them(
    server: SandboxServer, shared_dir: Path, spec_of: Spec, path: str
) -> None:
    meaningful = MEANINGFUL if spec_of is providers_spec else MEANINGFUL_FOR_STOCKS
    spec = with_meaningful_values(spec_of(shared_dir), meaningful)
    assert set(examine(server, spec, path)) == {200}
