"""The client's methods: what each asks (exactly once), and what comes back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.models import BAR_MS, Bar, Price
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.splits import Days
from assetbatch.provider.answers import BarsAnswer
from tests.provider.servers import client_of, refusal_of

BASE = "https://api.massive.com"
START = 1_699_999_800_000  # a multiple of BAR_MS
END = START + 10 * BAR_MS
DAY_END_MS = 1_651_723_200_000  # 2022-05-05T00:00:00-04:00
RANGE = f"{BASE}/v2/aggs/ticker/C:EURUSD/range/5/minute/{START}/{END}"
ANY_URL = re.compile(r"https://api\.massive\.com/.*")


def bar(t_ms: int) -> dict[str, Any]:
    return {"t": t_ms, "o": 1.1, "h": 1.2, "l": 1.0, "c": 1.15, "v": 12, "vw": 1.12, "n": 12}


def asked(call: int = 0) -> tuple[str, dict[str, list[str]]]:
    url = urlsplit(str(responses.calls[call].request.url))
    return f"{url.scheme}://{url.netloc}{url.path}", parse_qs(url.query)


def page(next_url: str | None) -> BarsAnswer:
    return BarsAnswer(
        ticker="C:EURUSD", start_ms=START, end_ms=END, bars=[], refused=Counter(), next_url=next_url
    )


@responses.activate
def test_bars_asks_for_the_range_in_milliseconds_with_the_largest_page() -> None:
    responses.get(RANGE, json={"status": "OK", "resultsCount": 1, "results": [bar(START)]})
    with client_of(BASE) as client:
        answer = client.bars("C:EURUSD", START, END)
    assert asked() == (RANGE, {"adjusted": ["true"], "sort": ["asc"], "limit": ["50000"]})
    assert answer.bars == [Bar(START, 1.1, 1.2, 1.0, 1.15, 12.0, 1.12, 12)]
    assert (answer.next_url, answer.refused, len(responses.calls)) == (None, Counter(), 1)


@responses.activate
def test_a_ticker_is_encoded_in_the_path() -> None:
    responses.get(f"{BASE}/v2/aggs/ticker/C:A%2F%3FB/prev", json={"status": "OK"})
    with client_of(BASE) as client:
        assert client.previous_day("C:A/?B", "AB") is None


def test_a_range_that_ends_before_it_starts_is_a_mistake_of_the_caller() -> None:
    with client_of(BASE) as client, pytest.raises(ValueError, match="ends before"):
        client.bars("C:EURUSD", END, START)


@responses.activate
def test_a_next_page_is_asked_with_the_key_in_the_header_and_not_in_the_url() -> None:
    responses.get(
        RANGE,
        json={
            "status": "OK",
            "results": [bar(START)],
            "next_url": f"{RANGE}?cursor=abc%3D&apiKey=made-up-key-123&x=1",
        },
    )
    with client_of(BASE) as client:
        answer = client.bars("C:EURUSD", START, END)
        assert answer.next_url == f"{RANGE}?cursor=abc%3D&x=1"
        responses.get(RANGE, json={"status": "OK", "results": [bar(START + BAR_MS), bar(END + BAR_MS)]})
        following = client.next_page(answer)
    assert asked(1) == (RANGE, {"cursor": ["abc="], "x": ["1"]})
    assert responses.calls[1].request.headers["Authorization"] == "Bearer made-up-key-123"
    assert [bar.t_ms for bar in following.bars] == [START + BAR_MS]
    assert following.refused == {"outside": 1}


@responses.activate
def test_a_next_page_may_be_empty() -> None:
    responses.get(RANGE, json={"status": "OK", "resultsCount": 0})
    with client_of(BASE) as client:
        answer = client.next_page(page(f"{RANGE}?cursor=abc"))
    assert (answer.bars, answer.next_url) == ([], None)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v2/aggs?cursor=abc",
        "http://api.massive.com/v2/aggs?cursor=abc",
        "http://api.massive.com:443/v2/aggs?cursor=abc",
        "https://api.massive.com:444/v2/aggs?cursor=abc",
        "https://api.massive.com.evil.example/v2",
        "https://api.massive.com@evil.example/v2",
        "https://somebody@api.massive.com/v2",
        r"https://api.massive.com\@evil.example/v2",
        "https://api.massive.com:port/v2",
        "https://[api.massive.com/v2",
        "//api.massive.com/v2",
        "/v2/aggs?cursor=abc",
        "https://api.massive.com",
        "unusable",
        None,
    ],
)
@responses.activate
def test_a_next_page_anywhere_else_is_refused_without_sending_anything(url: str | None) -> None:
    with client_of(BASE) as client:
        refusal = refusal_of(lambda: client.next_page(page(url)))
    assert (refusal.kind, refusal.sent, len(responses.calls)) == (RefusalKind.NONSENSE, False, 0)


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ("https://api.polygon.io", "https://api.massive.com"),
        ("https://api.massive.com", "https://api.polygon.io:443"),
    ],
)
@responses.activate
def test_a_next_page_under_the_providers_other_name_is_asked_from_the_base_url(base: str, other: str) -> None:
    responses.get(f"{base}/v2/next", json={"status": "OK", "results": [bar(START)]})
    with client_of(base) as client:
        assert len(client.next_page(page(f"{other}/v2/next?cursor=abc")).bars) == 1
    assert asked() == (f"{base}/v2/next", {"cursor": ["abc"]})


@responses.activate
def test_a_snapshot_asks_for_all_tickers_at_once_and_raises_the_limit_of_10() -> None:
    tickers = {f"X:T{number}USD": f"T{number}USD" for number in range(250)}
    responses.get(f"{BASE}/v3/snapshot", json={"status": "OK", "results": []})
    with client_of(BASE) as client:
        client.snapshot(tickers)
    url, query = asked()
    assert url == f"{BASE}/v3/snapshot"
    assert query["limit"] == ["250"]
    assert query["ticker.any_of"] == [",".join(tickers)]
    assert len(responses.calls) == 1


@pytest.mark.parametrize("count", [0, 251])
@responses.activate
def test_a_snapshot_of_no_ticker_or_too_many_is_a_mistake_of_the_caller(count: int) -> None:
    with client_of(BASE) as client, pytest.raises(ValueError, match="1 to 250"):
        client.snapshot({f"X:T{number}USD": "T" for number in range(count)})
    assert len(responses.calls) == 0


@responses.activate
def test_a_snapshot_gives_each_ticker_its_price_or_its_error() -> None:
    responses.get(
        f"{BASE}/v3/snapshot",
        json={
            "status": "OK",
            "results": [
                {
                    "ticker": "X:BTCUSD",
                    "last_trade": {"price": 27220, "participant_timestamp": 1684422449502000000},
                },
                {"ticker": "X:ETHUSDT", "error": "NOT_FOUND", "message": "Ticker not found."},
            ],
        },
    )
    with client_of(BASE) as client:
        answer = client.snapshot({"X:BTCUSD": "BTCUSD", "X:ETHUSDT": "ETHUSD"})
    assert answer.prices == {"X:BTCUSD": Price(symbol="BTCUSD", last_price=27220.0, as_of_ms=1684422449502)}
    assert answer.errors["X:ETHUSDT"].kind is RefusalKind.UNKNOWN_TICKER
    assert answer.empty == frozenset()


@pytest.mark.parametrize(
    ("asset_type", "market", "ticker"),
    [
        (AssetType.FOREX, "global/markets/forex", "C:EURUSD"),
        (AssetType.CRYPTO, "global/markets/crypto", "X:BTCUSD"),
        (AssetType.STOCKS, "us/markets/stocks", "BRK.B"),
    ],
)
@responses.activate
def test_a_markets_snapshot_asks_for_the_tickers_of_one_market(
    asset_type: AssetType, market: str, ticker: str
) -> None:
    path = f"{BASE}/v2/snapshot/locale/{market}/tickers"
    entry = {"ticker": ticker, "lastTrade": {"p": 27220, "t": 1684422449502}}
    responses.get(path, json={"status": "OK", "count": 1, "tickers": [entry]})
    with client_of(BASE) as client:
        answer = client.market_snapshot(asset_type, {ticker: "ASKED", "C:OTHER": "OTHER"})
    assert asked() == (path, {"tickers": [f"{ticker},C:OTHER"]})
    assert answer.prices == {ticker: Price(symbol="ASKED", last_price=27220.0, as_of_ms=1684422449502)}
    assert (answer.errors, set(answer.empty), len(responses.calls)) == ({}, {"C:OTHER"}, 1)


@responses.activate
def test_the_snapshot_of_indices_has_an_endpoint_of_its_own_with_a_limit_of_10_to_raise() -> None:
    path = f"{BASE}/v3/snapshot/indices"
    entry = {"ticker": "I:NDX", "value": 24_239.6, "last_updated": 1684422449502000000}
    responses.get(path, json={"status": "OK", "results": [entry]})
    with client_of(BASE) as client:
        answer = client.market_snapshot(AssetType.INDICES, {"I:NDX": "NDX", "I:SPX": "SPX"})
    assert asked() == (path, {"ticker.any_of": ["I:NDX,I:SPX"], "limit": ["250"]})
    assert answer.prices == {"I:NDX": Price(symbol="NDX", last_price=24_239.6, as_of_ms=1684422449502)}


@pytest.mark.parametrize("count", [0, 251])
@responses.activate
def test_a_markets_snapshot_of_no_ticker_would_be_of_all_and_is_a_mistake_of_the_caller(count: int) -> None:
    tickers = {f"X:T{number}USD": "T" for number in range(count)}
    with client_of(BASE) as client, pytest.raises(ValueError, match="1 to 250"):
        client.market_snapshot(AssetType.CRYPTO, tickers)
    assert len(responses.calls) == 0


@pytest.mark.parametrize(
    ("asset_type", "market", "ticker"),
    [(AssetType.FOREX, "fx", "C:EURUSD"), (AssetType.CRYPTO, "crypto", "X:BTCUSD")],
)
@responses.activate
def test_a_grouped_day_asks_for_the_date_of_a_whole_market(
    asset_type: AssetType, market: str, ticker: str
) -> None:
    path = f"{BASE}/v2/aggs/grouped/locale/global/market/{market}/2022-05-04"
    responses.get(path, json={"status": "OK", "results": [bar(START) | {"T": ticker}]})
    with client_of(BASE) as client:
        answer = client.grouped_day(asset_type, date(2022, 5, 4), {ticker: "ASKED", "C:OTHER": "OTHER"})
    assert asked() == (path, {"adjusted": ["true"]})
    price = answer.prices[ticker]
    assert (price.symbol, price.last_price, price.as_of_ms) == ("ASKED", 1.15, DAY_END_MS)
    assert (answer.errors, set(answer.empty), len(responses.calls)) == ({}, {"C:OTHER"}, 1)


@responses.activate
def test_a_stock_is_asked_for_without_its_splits_and_an_index_without_a_word_of_them() -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("/v2/aggs/ticker/BRK.B/prev", lambda: client.previous_day("BRK.B", "BRK")),
        ("/v2/aggs/ticker/I:NDX/prev", lambda: client.previous_day("I:NDX", "NDX")),
        (f"/v2/aggs/ticker/KIMpL/range/5/minute/{START}/{END}", lambda: client.bars("KIMpL", START, END)),
        (f"/v2/aggs/ticker/I:NDX/range/5/minute/{START}/{END}", lambda: client.bars("I:NDX", START, END)),
        (
            "/v2/aggs/grouped/locale/us/market/stocks/2022-05-04",
            lambda: client.grouped_day(AssetType.STOCKS, date(2022, 5, 4), {"AAPL": "AAPL"}),
        ),
    ]
    with client_of(BASE) as client:
        for path, call in calls:
            responses.get(f"{BASE}{path}", json={"status": "OK"})
            call()
    of_range = {"sort": ["asc"], "limit": ["50000"]}
    raw = {"adjusted": ["false"]}
    assert [asked(number) for number in range(len(calls))] == [
        (f"{BASE}{path}", query)
        for (path, _), query in zip(calls, [raw, {}, raw | of_range, of_range, raw], strict=True)
    ]


@responses.activate
def test_the_market_status_tells_the_providers_clock() -> None:
    responses.get(
        f"{BASE}/v1/marketstatus/now",
        json={"serverTime": "2022-05-17T10:26:06-04:00", "currencies": {"fx": "closed", "crypto": "open"}},
    )
    with client_of(BASE) as client:
        status = client.market_status()
    assert status.server_time_ms == 1652797566000
    assert status.markets == {"forex": "closed", "crypto": "open"}


CALLS: list[Callable[..., object]] = [
    lambda client, **deadline: client.bars("C:EURUSD", START, END, **deadline),
    lambda client, **deadline: client.next_page(page(RANGE), **deadline),
    lambda client, **deadline: client.snapshot({"C:EURUSD": "EURUSD"}, **deadline),
    lambda client, **deadline: client.market_snapshot(AssetType.FOREX, {"C:EURUSD": "EURUSD"}, **deadline),
    lambda client, **deadline: client.grouped_day(
        AssetType.FOREX, date(2022, 5, 4), {"C:EURUSD": "EURUSD"}, **deadline
    ),
    lambda client, **deadline: client.previous_day("C:EURUSD", "EURUSD", **deadline),
    lambda client, **deadline: client.splits(Days(date(2022, 5, 4), date(2022, 5, 25)), ["AAPL"], **deadline),
    lambda client, **deadline: client.market_status(**deadline),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"status":"ERROR","error":"Unknown API Key"}', RefusalKind.KEY),
        (
            403,
            b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}',
            RefusalKind.NOT_IN_PLAN,
        ),
        (
            200,
            b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}',
            RefusalKind.NOT_IN_PLAN,
        ),
        (429, b"", RefusalKind.TOO_MANY_CALLS),
        (503, b"", RefusalKind.PROVIDER_DOWN),
        (200, b"", RefusalKind.NONSENSE),
        (200, b"{}", RefusalKind.NONSENSE),
        (200, b'{"status":"OK","results":{"a":1},"currencies":5}', RefusalKind.NONSENSE),
        (200, b"<html>Login</html>", RefusalKind.NONSENSE),
        (302, b"", RefusalKind.NONSENSE),
    ],
)
@responses.activate
def test_every_call_makes_one_request_and_raises_its_refusal(
    call: Callable[..., object], status: int, body: bytes, kind: RefusalKind
) -> None:
    responses.get(url=ANY_URL, status=status, body=body, headers={"Location": "https://evil.example/"})
    with client_of(BASE) as client:
        refusal = refusal_of(lambda: call(client))
    assert (refusal.kind, refusal.http_status, len(responses.calls)) == (kind, status, 1)


@pytest.mark.parametrize("status", [200, 400])
@responses.activate
def test_a_key_that_the_provider_echoes_is_not_in_the_refusal(status: int) -> None:
    responses.get(url=ANY_URL, status=status, json={"status": "ERROR", "error": "bad key made-up-key-123!"})
    with client_of(BASE) as client:
        assert refusal_of(client.market_status).message == "bad key ***!"


@responses.activate
def test_a_key_that_the_provider_echoes_is_not_in_a_tickers_error() -> None:
    entry = {"ticker": "C:EURUSD", "error": "NOT_ENTITLED", "message": "made-up-key-123 may not"}
    responses.get(f"{BASE}/v3/snapshot", json={"status": "OK", "results": [entry]})
    with client_of(BASE) as client:
        assert client.snapshot({"C:EURUSD": "EURUSD"}).errors["C:EURUSD"].message == "*** may not"


@pytest.mark.parametrize("call", CALLS)
@responses.activate
def test_every_call_takes_a_deadline_of_its_own(call: Callable[..., object]) -> None:
    with client_of(BASE) as client:
        refusal = refusal_of(lambda: call(client, deadline_seconds=0.0))
    assert (refusal.message, refusal.sent) == ("no time was left for the call", False)
    assert len(responses.calls) == 0
