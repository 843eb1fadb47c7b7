"""Whatever an answer holds: a refusal or sound values that were in it, never anything else."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from assetbatch.domain.models import BAR_MS
from assetbatch.domain.splits import Days
from assetbatch.provider.answers import PricesAnswer
from assetbatch.provider.bars import decode_bars
from assetbatch.provider.decoding import moment_ms
from assetbatch.provider.market_status import decode_market_status
from assetbatch.provider.prices import (
    decode_grouped_day,
    decode_market_snapshot,
    decode_previous_day,
    decode_snapshot,
    midpoint,
)
from assetbatch.provider.refusals import Refusal
from assetbatch.provider.splits import decode_splits
from tests.conftest import examples

START = 1_699_999_800_000
END = START + 20 * BAR_MS
ASSETS = {"C:EURUSD": "EURUSD", "X:BTCUSD": "BTCUSD"}
DAY = date(2025, 6, 17)
DAY_END_MS = 1_750_219_200_000  # 2025-06-18T00:00:00-04:00
YEAR_2000_MS = 946_684_800_000
YEAR_2100_MS = 4_102_444_800_000

SPLIT_DAYS = Days(DAY, DAY + timedelta(days=9))

DECODERS: list[Callable[[bytes], object]] = [
    lambda body: decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=END),
    lambda body: decode_previous_day(body, ticker="C:EURUSD", symbol="EURUSD"),
    lambda body: decode_snapshot(body, ASSETS),
    lambda body: decode_market_snapshot(body, ASSETS),
    lambda body: decode_grouped_day(body, DAY, ASSETS),
    lambda body: decode_splits(body, SPLIT_DAYS),
    decode_market_status,
]

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -0.0,
        -1,
        1.5,
        "",
        "1.1",
        [],
        {},
        2**53 + 1,
        2**63,
        10**30,
        10**400,
        1e-320,
        1.7e308,
        "NaN",
    ]
)
JSON = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PRICES = st.floats(0.0001, 100_000) | st.integers(1, 5) | ODD
TIMES = st.integers(-2, 22).map(lambda step: START + step * BAR_MS) | st.integers(START, END) | ODD
MOMENTS = st.sampled_from([1_684_431_002_000_000_000, 1_684_431_002_000, 0]) | ODD
WORDS = st.sampled_from(["OK", "success", "DELAYED", "ERROR", None]) | ODD


def struct(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields)


TICKERS: st.SearchStrategy[Any] = st.sampled_from([*ASSETS, "X:OTHER", 5, None, []])
DAILY = {"o": PRICES, "h": PRICES, "l": PRICES, "c": PRICES}
BAR = struct(T=TICKERS, t=TIMES, **DAILY, v=PRICES, vw=PRICES, n=PRICES) | JSON
ENTRY = (
    struct(
        ticker=TICKERS,
        error=st.sampled_from(["NOT_FOUND", "NOT_ENTITLED", "", 5]),
        message=st.text(max_size=5),
        last_updated=MOMENTS,
        last_quote=struct(bid=PRICES, ask=PRICES, last_updated=MOMENTS) | JSON,
        last_trade=struct(price=PRICES, sip_timestamp=MOMENTS, participant_timestamp=MOMENTS) | JSON,
        session=struct(open=PRICES, high=PRICES, low=PRICES, close=PRICES, price=PRICES) | JSON,
    )
    | JSON
)
MARKET_ENTRY = (
    struct(
        ticker=TICKERS,
        updated=MOMENTS,
        lastQuote=struct(a=PRICES, b=PRICES, t=MOMENTS) | JSON,
        lastTrade=struct(p=PRICES, s=PRICES, t=MOMENTS) | JSON,
        min=struct(c=PRICES, t=MOMENTS) | JSON,
        day=struct(**DAILY) | JSON,
    )
    | JSON
)
SPLIT = (
    struct(
        ticker=st.text(max_size=5) | ODD,
        execution_date=st.dates(DAY, DAY + timedelta(days=12)).map(str) | st.text(max_size=10) | ODD,
        split_from=PRICES,
        split_to=PRICES,
        adjustment_type=st.sampled_from(["reverse_split", "forward_split"]) | ODD,
    )
    | JSON
)


def envelopes(element: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return struct(
        status=WORDS,
        error=st.text(max_size=5),
        results=st.lists(element, max_size=6) | JSON,
        tickers=st.lists(element, max_size=6) | JSON,
        resultsCount=ODD,
        count=ODD,
        next_url=st.text(max_size=5) | ODD,
        currencies=JSON,
        serverTime=st.text(max_size=25) | JSON,
    )


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()  # with NaN and Infinity, as a careless server writes them


def numbers_in(value: object) -> set[float]:
    if isinstance(value, dict):
        return set().union(*map(numbers_in, value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers_in, value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return {float(value)}
    return set()


def assert_sound(price: float | None, said: set[float]) -> None:
    if price is not None:
        assert 0 < price < math.inf
        assert price in said


@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"results":' + b"[" * 100_000)
@example(b'{"a":"\xff"}')
@example(b'{"results":[{"t":"\xff"}]}')
@example(b'{"results":["\\ud800"]}')
@example(b'{"results":[{"t":1' + b"0" * 5000 + b"}]}")
def test_arbitrary_bytes_raise_nothing_but_a_refusal(body: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(Refusal):
            decode(body)


@given((envelopes(BAR) | envelopes(ENTRY) | envelopes(MARKET_ENTRY) | envelopes(SPLIT) | JSON).map(encoded))
def test_arbitrary_json_raises_nothing_but_a_refusal(body: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(Refusal):
            decode(body)


def slots_in(elements: list[Any]) -> set[int]:
    """The slots of the asked range that any of the elements is about."""
    moments = [moment_ms(element.get("t")) for element in elements if isinstance(element, dict)]
    return {at_ms - at_ms % BAR_MS for at_ms in moments if at_ms is not None and START <= at_ms <= END}


# Each of an element's fields may be wrong in a dozen ways, alone and together: three times the examples.
@given(st.lists(BAR, max_size=8))
@examples(3)
def test_every_bar_is_sound_in_range_in_order_and_from_the_answer(elements: list[Any]) -> None:
    elements = [*elements, {"t": END, "o": 1, "h": 1, "l": 1, "c": 1}]  # or all may be of no use: a refusal
    body = encoded({"status": "OK", "results": elements})
    answer = decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=END)
    said = numbers_in(elements)
    starts = [bar.t_ms for bar in answer.bars]
    assert starts == sorted(set(starts))
    assert len(answer.bars) + answer.refused.total() == len(elements)
    if not answer.refused["undecodable"]:
        assert {*starts, *answer.faulty_ms, *answer.misplaced_ms} == slots_in(elements)
    assert list(answer.faulty_ms) == sorted(set(answer.faulty_ms) - set(starts))
    assert list(answer.misplaced_ms) == sorted(set(answer.misplaced_ms) - {*starts, *answer.faulty_ms})
    assert answer.refused["undecodable"] <= answer.unplaced <= answer.refused.total()
    assert 0 <= answer.unordered < len(elements)
    for bar in answer.bars:
        assert START <= bar.t_ms <= END
        assert bar.t_ms % BAR_MS == 0
        assert type(bar.t_ms) is int
        for price in (bar.open, bar.high, bar.low, bar.close, bar.vwap):
            assert_sound(price, said)
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.volume is None or (0 <= bar.volume < math.inf and bar.volume in said)
        assert bar.trades is None or (type(bar.trades) is int and 0 <= bar.trades < 2**63)
        assert bar.trades is None or float(bar.trades) in said


def sound_bar(step: int, prices: list[float]) -> dict[str, Any]:
    low, *middle, high = sorted(prices)
    return {"t": START + step * BAR_MS, "o": middle[0], "h": high, "l": low, "c": middle[1], "v": 1, "n": 1}


SOUND_BARS = st.lists(
    st.builds(sound_bar, st.integers(0, 20), st.lists(st.floats(0.0001, 1e6), min_size=4, max_size=4)),
    max_size=6,
    unique_by=lambda bar: int(bar["t"]),
)


@given(
    SOUND_BARS, st.lists(st.sampled_from([5, None, [], {"t": "x"}, {"t": START, "o": True}, {}]), max_size=3)
)
def test_broken_elements_lose_no_sound_bar(sound: list[dict[str, Any]], broken: list[Any]) -> None:
    assume(sound or not broken)
    alone, mixed = (
        decode_bars(encoded({"status": "OK", "results": elements}), ticker="X", start_ms=START, end_ms=END)
        for elements in (sound, broken + sound + broken)
    )
    assert len(alone.bars) == len(sound)
    assert mixed.bars == alone.bars
    assert mixed.refused.total() == 2 * len(broken)


@given(st.lists(BAR, max_size=6) | SOUND_BARS)
@example([{"t": START, "o": 1, "h": 1, "l": 1, "c": 1, "v": 0, "vw": 0, "n": 0}])
@example([{"t": START, "o": 1, "h": 1, "l": 1, "c": 1, "n": 2**63 - 1}])
@example([{"t": START, "o": 1, "h": 1, "l": 1, "c": 1, "n": 2**63}])
@example([{"t": START, "o": 1, "h": 1, "l": 1, "c": 1, "v": 1e18}])
@example([{"t": END + BAR_MS, "o": 1, "h": 1, "l": 1, "c": 1}])
@example([{"t": START, "o": 1, "h": 1, "l": 1, "c": 1, "T": "another"}])
def test_an_answer_decoded_at_once_is_what_its_sifted_elements_are(elements: list[Any]) -> None:
    """A field that no bar has keeps an element from being decoded at once."""

    def decoded(some: list[Any]) -> object:
        body = encoded({"status": "OK", "results": some})
        try:
            return decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=END)
        except Refusal as refusal:
            return refusal.kind, refusal.message

    sifted = [{**one, "unknown": 1} if isinstance(one, dict) else one for one in elements]
    assert decoded(elements) == decoded(sifted)


def doubles(bar: dict[str, Any], names: str) -> list[float | None]:
    """The bar's values as they are stored: a whole number beyond 2^53 becomes the nearest double."""
    values = [bar.get(name) for name in names]
    most = sys.float_info.max
    return [float(v) if isinstance(v, int | float) and abs(v) <= most else None for v in values]


def assert_sound_prices(answer: PricesAnswer, elements: list[Any]) -> None:
    said = numbers_in(elements)
    groups = [set(answer.prices), set(answer.errors), set(answer.empty)]
    assert set.union(*groups) == set(ASSETS)
    assert sum(map(len, groups)) == len(ASSETS)
    for ticker, price in answer.prices.items():
        assert price.symbol == ASSETS[ticker]
        for value in (
            price.bid,
            price.ask,
            price.daily_open,
            price.daily_high,
            price.daily_low,
            price.daily_close,
        ):
            assert_sound(value, said)
        halfway = midpoint(price.bid, price.ask) if price.bid and price.ask else None
        assert_sound(price.last_price, said | {halfway} if halfway else said)
        assert type(price.as_of_ms) is int
        assert YEAR_2000_MS <= price.as_of_ms < YEAR_2100_MS
        if price.daily_high and price.daily_low:
            assert price.daily_low <= price.daily_high
    assert all(count > 0 for count in answer.refused.values())


@given(st.lists(ENTRY, max_size=6))
@examples(3)
def test_every_price_is_sound_and_from_the_answer_and_every_ticker_is_accounted_for(
    elements: list[Any],
) -> None:
    body = encoded({"status": "OK", "results": elements})
    try:
        answer = decode_snapshot(body, ASSETS)
    except Refusal:
        assert any(word in body for word in (b"NaN", b"Infinity"))
        return
    assert_sound_prices(answer, elements)


@given(st.lists(MARKET_ENTRY, max_size=6))
@examples(3)
def test_every_price_of_a_markets_snapshot_is_sound_from_the_answer_and_accounted_for(
    elements: list[Any],
) -> None:
    body = encoded({"status": "OK", "tickers": elements})
    try:
        answer = decode_market_snapshot(body, ASSETS)
    except Refusal:
        assert any(word in body for word in (b"NaN", b"Infinity"))
        return
    assert_sound_prices(answer, elements)


@given(st.lists(BAR, max_size=6))
@examples(3)
def test_every_price_of_a_markets_day_is_sound_of_its_own_bar_and_of_the_asked_day(
    elements: list[Any],
) -> None:
    body = encoded({"status": "OK", "results": elements})
    try:
        answer = decode_grouped_day(body, DAY, ASSETS)
    except Refusal:
        assert any(word in body for word in (b"NaN", b"Infinity"))
        return
    assert_sound_prices(answer, elements)
    for ticker, price in answer.prices.items():
        own = [bar for bar in elements if isinstance(bar, dict) and bar.get("T") == ticker]
        values = [price.daily_open, price.daily_high, price.daily_low, price.daily_close]
        assert values in [doubles(bar, "ohlc") for bar in own]
        assert price.last_price == price.daily_close
        assert price.as_of_ms == DAY_END_MS


@given(st.lists(BAR, max_size=2))
def test_a_previous_day_is_sound_and_from_the_answer(elements: list[Any]) -> None:
    try:
        found = decode_previous_day(encoded({"status": "OK", "results": elements}), ticker="C:X", symbol="X")
    except Refusal:
        return
    assert (found is None) == (not elements)
    if found is not None:
        price = found.price
        for value in (price.last_price, price.daily_open, price.daily_high, price.daily_low):
            assert_sound(value, numbers_in(elements))


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_a_midpoint_lies_between_its_prices(bid: float, ask: float) -> None:
    assert min(bid, ask) <= midpoint(bid, ask) <= max(bid, ask)
