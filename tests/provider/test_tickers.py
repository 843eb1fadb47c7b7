"""Which rows of the provider's list of tickers count."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.rules import ListedTicker, TickerQuery
from assetbatch.provider.answers import TickersPage
from assetbatch.provider.tickers import decode_tickers
from tests.provider.servers import client_of, refusal_of

BASE = "https://api.massive.com"


def row(ticker: object = "A", **more: Any) -> dict[str, Any]:
    said = {"ticker": ticker, "name": "Agilent Technologies Inc.", "market": "stocks", "locale": "us"}
    return said | {"primary_exchange": "XNYS", "type": "CS", "active": True, "currency_name": "usd"} | more


def read(*rows: object, **around: Any) -> TickersPage:
    body = {"status": "OK", "results": rows, "count": len(rows)} | around
    return decode_tickers(json.dumps(body).encode(), "stocks")


def test_a_row_says_what_a_rule_asks_for() -> None:
    found = read(row("BRK.B"))
    wanted = ListedTicker(ticker="BRK.B", name="Agilent Technologies Inc.", exchange="XNYS", kind="CS")
    assert (found.tickers, found.last, found.is_last) == ([wanted], "BRK.B", True)


def test_lower_case_letters_mark_another_security() -> None:
    assert [one.ticker for one in read(row("KIMPL"), row("KIMpL")).tickers] == ["KIMPL", "KIMpL"]


def test_a_further_page_is_told() -> None:
    assert not read(row(), next_url=f"{BASE}/v3/reference/tickers?cursor=YWM9").is_last


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (5, "undecodable"),
        (row(None), "ticker"),
        (row(""), "ticker"),
        (row("A\nB"), "ticker"),
        (row("A" * 41), "ticker"),
        (row(market="otc"), "market"),
        (row(active=False), "inactive"),
    ],
)
def test_a_useless_row_costs_only_itself(bad: object, reason: str) -> None:
    found = read(bad, row("B"))
    assert [one.ticker for one in found.tickers] == ["B"]
    assert found.refused == {reason: 1}


def test_a_market_without_tickers_is_an_answer() -> None:
    found = read()
    assert (found.tickers, found.last, found.is_last) == ([], None, True)


def test_an_error_is_no_empty_market() -> None:
    refusal = refusal_of(lambda: decode_tickers(b'{"status": "ERROR", "error": "no"}', "stocks"))
    assert refusal.kind is not RefusalKind.NOT_IN_PLAN


@responses.activate
def test_a_call_asks_for_the_active_tickers_of_one_market() -> None:
    responses.get(f"{BASE}/v3/reference/tickers", json={"status": "OK", "results": []})
    with client_of(BASE) as client:
        client.tickers(TickerQuery(AssetType.CRYPTO), "X:ETHUSD")
    assert parse_qs(urlsplit(str(responses.calls[0].request.url)).query) == {
        "market": ["crypto"],
        "ticker.gte": ["X:ETHUSD"],
        "active": ["true"],
        "sort": ["ticker"],
        "order": ["asc"],
        "limit": ["1000"],
    }
