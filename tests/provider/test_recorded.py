"""Bodies recorded from the provider (in ../shared, never copied) decode into what a person reads there."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from assetbatch.domain.models import Price
from assetbatch.domain.nyse import special_day
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.answers import MarketStatus
from assetbatch.provider.bars import decode_bars
from assetbatch.provider.holidays import decode_holidays
from assetbatch.provider.market_status import decode_market_status
from assetbatch.provider.prices import (
    decode_grouped_day,
    decode_market_snapshot,
    decode_previous_day,
    decode_snapshot,
)
from assetbatch.provider.refusals import Refusal
from tests.conftest import every

Recorded = Callable[[str], bytes]


@pytest.fixture(scope="module")
def fixtures(shared_dir: Path) -> Path:
    return shared_dir / "vendor" / "fixtures"


@pytest.fixture(scope="module")
def recorded(fixtures: Path) -> Recorded:
    return lambda name: (fixtures / name).read_bytes()


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def price(
    symbol: str, last: float, as_of_ms: int, day: tuple[float, float, float, float], **quote: float
) -> Price:
    """A price with open, high, low and close of its day."""
    names = ("daily_open", "daily_high", "daily_low", "daily_close")
    daily = dict(zip(names, day, strict=True))
    return Price(symbol=symbol, last_price=last, as_of_ms=as_of_ms, **daily, **quote)


def test_the_crypto_snapshot(recorded: Recorded) -> None:
    answer = decode_snapshot(
        recorded("client-go/v3/snapshot__crypto.json"),
        {"X:BTCUSD": "BTCUSD", "X:ETHUSD": "ETHUSD", "X:FLOWUSD": "FLOWUSD"},
    )
    assert answer.prices == {
        "X:BTCUSD": price("BTCUSD", 27220.0, 1684422449502, (27402.3, 27506.0, 27010.0, 27236.1)),
        "X:ETHUSD": price("ETHUSD", 1816.31, 1684422449301, (1823.8, 1833.4, 1802.26, 1817.14)),
        "X:FLOWUSD": price("FLOWUSD", 0.784, 1684422355917, (0.791, 0.793, 0.779, 0.784)),
    }
    assert not answer.errors
    assert not answer.refused


def test_the_forex_snapshot(recorded: Recorded) -> None:
    answer = decode_snapshot(
        recorded("client-go/v3/snapshot__forex.json"),
        {"C:USDCAD": "USDCAD", "C:USDEUR": "USDEUR", "C:USDAUD": "USDAUD"},
    )
    assert answer.prices == {
        "C:USDCAD": price(
            "USDCAD", 1.35188, 1684431002000, (1.34667, 1.35244, 1.34479, 1.35178), bid=1.35185, ask=1.35191
        ),
        "C:USDEUR": price(
            "USDEUR", 0.9288, 1684430998000, (0.92266, 0.92913, 0.9215, 0.92877), bid=0.92877, ask=0.92883
        ),
        "C:USDAUD": price(
            "USDAUD",
            1.51289,
            1684431002000,
            (1.502449, 1.51398, 1.4965803, 1.512722),
            bid=1.51281,
            ask=1.51297,
        ),
    }
    assert not answer.errors


def test_the_snapshot_of_an_option_a_stock_and_an_unknown_ticker(recorded: Recorded) -> None:
    answer = decode_snapshot(recorded("client-python/v3/snapshot.json"), {"AAPL": "AAPL", "TSLAAPL": "NOPE"})
    assert answer.prices["AAPL"] == price(
        "AAPL", 0.05, 1675280958783, (22.49, 22.49, 21.35, 21.4), bid=20.9, ask=21.25
    )
    assert answer.refused == {"unasked": 1}  # no asset is an option
    assert answer.delayed == {"AAPL": False}
    assert answer.errors["TSLAAPL"].kind is RefusalKind.UNKNOWN_TICKER
    assert answer.errors["TSLAAPL"].message == "Ticker not found."


def test_the_snapshot_of_indices_without_a_status_word(recorded: Recorded) -> None:
    answer = decode_snapshot(
        recorded("client-python/v3/snapshot_indices__not_found_not_entitled.json"),
        {"SPX": "SPX", "APx": "APX", "APy": "APY"},
    )
    assert answer.empty == {"SPX"}  # a value, but no moment it is from
    assert answer.errors["APx"].kind is RefusalKind.UNKNOWN_TICKER
    assert answer.errors["APy"].kind is RefusalKind.NOT_IN_PLAN
    assert answer.errors["APy"].message == "Not entitled to this ticker."


def test_the_snapshot_that_is_entitled_in_part(recorded: Recorded) -> None:
    answer = decode_snapshot(
        recorded("client-go/v3/snapshot__partial_not_entitled.json"), {"AAPL": "AAPL", "APy": "APY"}
    )
    assert (answer.prices["AAPL"].last_price, answer.prices["AAPL"].as_of_ms) == (173.5, 1683577205678)
    assert answer.errors["APy"].kind is RefusalKind.NOT_IN_PLAN


def test_the_previous_day_of_a_forex_pair(recorded: Recorded) -> None:
    body = recorded("spec-examples/v2_aggs_ticker_forexTicker_prev.json")
    found = decode_previous_day(body, ticker="C:EURUSD", symbol="EURUSD")
    assert found is not None
    assert found.price == price(
        "EURUSD", 1.06206, ms("2022-05-05T00:00:00-04:00"), (1.05252, 1.0631, 1.0505, 1.06206)
    )
    assert found.bar.day == date(2022, 5, 4)


def test_the_previous_day_of_a_stock_carries_another_moment_of_the_day(recorded: Recorded) -> None:
    body = recorded("client-python/v2/aggs/ticker/AAPL/prev.json")
    found = decode_previous_day(body, ticker="AAPL", symbol="AAPL")
    assert found is not None
    assert (found.price.last_price, found.price.as_of_ms) == (156.8, ms("2022-04-26T16:00:00-04:00"))


def test_the_aggregates_of_a_forex_pair(recorded: Recorded) -> None:
    body = recorded("spec-examples/v2_aggs_ticker_forexTicker_range_multiplier_timespan_from_to.json")
    answer = decode_bars(body, ticker="C:EURUSD", start_ms=1626912000000, end_ms=1626912000000)
    (bar,) = answer.bars
    assert (bar.t_ms, bar.open, bar.high, bar.low, bar.close) == (
        1626912000000,
        1.17921,
        1.18305,
        1.1756,
        1.17721,
    )
    assert (bar.volume, bar.vwap, bar.trades) == (125329.0, 1.1789, 125329)
    assert (answer.refused, answer.next_url) == ({}, None)


def test_the_aggregates_of_a_stock(recorded: Recorded) -> None:
    body = recorded("client-python/v2/aggs/ticker/AAPL/range_1_day_2005-04-01_2005-04-04.json")
    answer = decode_bars(body, ticker="AAPL", start_ms=1112331600000, end_ms=1112587200000)
    assert [(bar.t_ms, bar.close, bar.trades) for bar in answer.bars] == [
        (1112331600000, 1.4604, 82132),
        (1112587200000, 1.4675, 65543),
    ]


def test_the_snapshot_of_the_forex_market(recorded: Recorded) -> None:
    body = recorded("spec-examples/v2_snapshot_locale_global_markets_forex_tickers.json")
    answer = decode_market_snapshot(body, {"C:HKDCHF": "HKDCHF", "C:NOPE": "NOPE"})
    assert answer.prices == {
        "C:HKDCHF": price(
            "HKDCHF",
            0.11779315,
            ms("2020-11-13T15:21:59+00:00"),
            (0.11797149, 0.11812263, 0.11766631, 0.11778221),
            bid=0.11777952,
            ask=0.11780678,
        )
    }
    assert (answer.errors, set(answer.empty), answer.refused) == ({}, {"C:NOPE"}, {})


def test_the_snapshot_of_the_crypto_market(recorded: Recorded) -> None:
    body = recorded("spec-examples/v2_snapshot_locale_global_markets_crypto_tickers.json")
    answer = decode_market_snapshot(body, {"X:FSNUSD": "FSNUSD"})
    assert answer.prices == {
        "X:FSNUSD": price("FSNUSD", 0.293, 1605292686010, (0.28, 0.59714, 0.23706, 0.296))
    }
    assert (answer.errors, answer.empty, answer.refused) == ({}, frozenset(), {})


def test_the_snapshot_of_the_stock_market(recorded: Recorded) -> None:
    """The recorded body is that of a single ticker: the list has such entries."""
    body = json.loads(recorded("client-python/v2/snapshot/locale/us/markets/stocks/tickers/AAPL.json"))
    body["tickers"] = [body.pop("ticker")]
    answer = decode_market_snapshot(json.dumps(body).encode(), {"AAPL": "AAPL"})
    assert answer.prices["AAPL"] == price(
        "AAPL", 159.99, 1651251948294, (161.84, 166.2, 159.8, 160.315), bid=159.98, ask=159.99
    )


@pytest.mark.parametrize("market", ["forex", "crypto"])
def test_the_snapshot_of_a_single_ticker_of_a_market_is_no_list(recorded: Recorded, market: str) -> None:
    body = recorded(f"spec-examples/v2_snapshot_locale_global_markets_{market}_tickers_ticker.json")
    with pytest.raises(Refusal) as caught:
        decode_market_snapshot(body, {"C:EURUSD": "EURUSD", "X:BTCUSD": "BTCUSD"})
    assert caught.value.kind is RefusalKind.NONSENSE


def test_the_day_of_the_forex_market(recorded: Recorded) -> None:
    body = recorded("spec-examples/v2_aggs_grouped_locale_global_market_fx_date.json")
    answer = decode_grouped_day(body, date(2020, 10, 14), {"C:GBPCAD": "GBPCAD", "C:EURUSD": "EURUSD"})
    assert answer.prices == {
        "C:GBPCAD": price(
            "GBPCAD", 1.71103, ms("2020-10-15T00:00:00-04:00"), (1.69955, 1.71642, 1.69064, 1.71103)
        )
    }
    assert (answer.errors, set(answer.empty), answer.refused) == ({}, {"C:EURUSD"}, {})


def test_the_day_of_the_crypto_market(recorded: Recorded) -> None:
    body = recorded("spec-examples/v2_aggs_grouped_locale_global_market_crypto_date.json")
    tickers = {"X:ARDRUSD": "ARDRUSD", "X:NGCUSD": "NGCUSD", "X:ZSCUSD": "ZSCUSD"}
    answer = decode_grouped_day(body, date(2020, 2, 2), tickers)
    assert {found.symbol: found.last_price for found in answer.prices.values()} == {
        "ARDRUSD": 0.0550762,
        "NGCUSD": 0.0272983,
        "ZSCUSD": 0.00028531,
    }
    assert {found.as_of_ms for found in answer.prices.values()} == {ms("2020-02-03T00:00:00-05:00")}
    assert (answer.errors, answer.empty, answer.refused) == ({}, frozenset(), {})


def test_the_day_of_the_stock_market_has_the_same_form(recorded: Recorded) -> None:
    body = recorded("client-python/v2/aggs/grouped_us_stocks_2005-04-04.json")
    answer = decode_grouped_day(body, date(2005, 4, 4), {"GIK": "GIK"})
    assert (answer.prices["GIK"].last_price, answer.prices["GIK"].as_of_ms) == (
        10.02,
        ms("2005-04-04T16:00:00-04:00"),
    )


@pytest.mark.parametrize("market", ["fx", "crypto"])
def test_a_whole_markets_day_is_no_list_of_five_minute_bars(recorded: Recorded, market: str) -> None:
    body = recorded(f"spec-examples/v2_aggs_grouped_locale_global_market_{market}_date.json")
    with pytest.raises(Refusal, match=r"no bar of the answer is of use \(time: 3\)"):
        decode_bars(body, ticker="C:EURUSD", start_ms=0, end_ms=1_700_000_000_000)


@pytest.mark.parametrize(
    ("name", "server_time"),
    [
        ("client-go/v1/marketstatus/now.json", "2022-05-17T10:26:06-04:00"),
        ("client-python/v1/marketstatus/now.json", "2022-04-28T16:48:08-04:00"),
        ("spec-examples/v1_marketstatus_now.json", "2020-11-10T17:37:37-05:00"),
    ],
)
def test_the_market_status(recorded: Recorded, name: str, server_time: str) -> None:
    exchanges = dict.fromkeys(("stocks", "indices"), "extended-hours")
    assert decode_market_status(recorded(name)) == MarketStatus(
        server_time_ms=ms(server_time), markets={"forex": "open", "crypto": "open", **exchanges}
    )


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("client-python/v1/marketstatus/upcoming.json", 7),
        ("spec-examples/v1_marketstatus_upcoming.json", 2),
    ],
)
def test_the_listed_holidays_are_those_that_are_computed(recorded: Recorded, name: str, number: int) -> None:
    found = decode_holidays(recorded(name))
    assert found.refused.total() == 0
    assert len(found.days) == number
    for day, special in found.days.items():
        computed = special_day(day)
        assert computed is not None
        assert computed.closes == special.closes


DECODERS: list[Callable[[bytes], object]] = [
    lambda cut: decode_snapshot(cut, {"X:BTCUSD": "BTCUSD", "C:USDCAD": "USDCAD"}),
    lambda cut: decode_bars(cut, ticker="X", start_ms=0, end_ms=10**13),
    lambda cut: decode_previous_day(cut, ticker="X", symbol="X"),
    lambda cut: decode_market_snapshot(cut, {"X:FSNUSD": "FSNUSD", "C:HKDCHF": "HKDCHF"}),
    lambda cut: decode_grouped_day(cut, date(2020, 10, 14), {"C:GBPCAD": "GBPCAD"}),
    decode_market_status,
    decode_holidays,
]


def test_every_recorded_body_cut_at_any_byte_is_refused_and_nothing_else(fixtures: Path) -> None:
    patterns = (
        "v3/snapshot*.json",
        "*aggs*/**/*.json",
        "*aggs_grouped*.json",
        "*tickers.json",
        "*now.json",
        "*upcoming.json",
    )
    names = [path for pattern in patterns for path in fixtures.rglob(pattern)]
    assert len(names) >= 15
    for path in names:
        body = path.read_bytes().rstrip()
        for end in range(0, len(body), every(7)):
            cut = body[:end]
            for decode in DECODERS:
                with pytest.raises(Refusal) as caught:
                    decode(cut)
                assert caught.value.kind is RefusalKind.NONSENSE
