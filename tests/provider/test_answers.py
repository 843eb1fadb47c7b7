"""What of an answer counts: bars, day bars and snapshots, one rule each."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import pytest

from assetbatch.domain.models import BAR_MS, Bar, Price
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.answers import BarsAnswer, PricesAnswer
from assetbatch.provider.bars import decode_bars
from assetbatch.provider.decoding import moment_ms
from assetbatch.provider.market_status import decode_market_status
from assetbatch.provider.prices import decode_previous_day, decode_snapshot, midpoint
from tests.provider.servers import refusal_of

START = 1_699_999_800_000
END = START + 100 * BAR_MS
NOW_NS = 1_684_431_002_000_000_000
NOW_MS = 1_684_431_002_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def raw_bar(**changes: Any) -> dict[str, Any]:
    return {"t": START, "o": 1.1, "h": 1.2, "l": 1.0, "c": 1.15, "v": 12, "vw": 1.12, "n": 12} | changes


def bars(*elements: object, **envelope: Any) -> BarsAnswer:
    body = json.dumps({"status": "OK", "results": list(elements)} | envelope).encode()
    return decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=END)


def snapshot(*elements: object, asked: str = "C:EURUSD", **envelope: Any) -> PricesAnswer:
    body = json.dumps({"status": "OK", "results": list(elements)} | envelope).encode()
    return decode_snapshot(body, {ticker: ticker[2:] for ticker in asked.split()})


def daily(price: Price) -> list[float | None]:
    return [price.daily_open, price.daily_high, price.daily_low, price.daily_close]


def price(**fields: Any) -> Price:
    return snapshot({"ticker": "C:EURUSD"} | fields).prices["C:EURUSD"]


# --- bars ---


def test_a_bar_takes_its_values_from_the_answer() -> None:
    assert bars(raw_bar()).bars == [Bar(START, 1.1, 1.2, 1.0, 1.15, 12.0, 1.12, 12)]


def test_volume_vwap_and_count_may_be_missing() -> None:
    element = {"t": START, "o": 1.1, "h": 1.2, "l": 1.0, "c": 1.15}
    assert bars(element).bars == [Bar(START, 1.1, 1.2, 1.0, 1.15)]


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("v", 0, 0.0),
        ("v", -1, None),
        ("v", None, None),
        ("v", "12", None),
        ("vw", 0, None),
        ("vw", -1.1, None),
        ("vw", None, None),
        ("n", 0, 0),
        ("n", -1, None),
        ("n", 3.0, 3),
        ("n", 3.5, None),
        ("n", 2**63, None),
        ("n", True, None),
    ],
)
def test_a_value_beside_the_prices_that_makes_no_sense_is_absent(field: str, value: Any, stored: Any) -> None:
    name = {"v": "volume", "vw": "vwap", "n": "trades"}[field]
    answer = bars(raw_bar(**{field: value}))
    assert getattr(answer.bars[0], name) == stored
    assert not answer.refused


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"t": None}, "time"),
        ({"t": START + 1}, "time"),
        ({"t": START + 0.5}, "time"),
        ({"t": str(START)}, "time"),
        ({"t": START // 1000}, "time"),
        ({"t": START - BAR_MS}, "outside"),
        ({"t": END + BAR_MS}, "outside"),
        ({"o": 0}, "price"),
        ({"h": None}, "price"),
        ({"l": -1.0}, "price"),
        ({"c": "1.15"}, "price"),
        ({"c": True}, "price"),
        ({"h": 1.12}, "range"),
        ({"l": 1.11}, "range"),
        ({"h": 0.9, "l": 1.3}, "range"),
    ],
)
def test_a_bar_of_no_use_is_counted_by_reason_and_loses_no_other(
    changes: dict[str, Any], reason: str
) -> None:
    answer = bars(raw_bar(t=START + BAR_MS), raw_bar(**changes), raw_bar(t=START + 2 * BAR_MS))
    assert [bar.t_ms for bar in answer.bars] == [START + BAR_MS, START + 2 * BAR_MS]
    assert answer.refused == {reason: 1}


@pytest.mark.parametrize("element", [None, 5, "bar", [], [raw_bar()]])
def test_an_element_that_is_no_bar_at_all_loses_no_other(element: object) -> None:
    answer = bars(raw_bar(), element)
    assert len(answer.bars) == 1
    assert answer.refused == {"undecodable": 1}


@pytest.mark.parametrize("said", ["1e400", "NaN", "-Infinity", "1" + 400 * "0"])
def test_what_no_float_can_hold_loses_only_its_own_value(said: str) -> None:
    body = json.dumps({"status": "OK", "results": [raw_bar(v=7777), raw_bar(t=END, c=7777)]})
    answer = decode_bars(body.replace("7777", said).encode(), ticker="C:EURUSD", start_ms=START, end_ms=END)
    assert [(bar.t_ms, bar.volume) for bar in answer.bars] == [(START, None)]
    assert (answer.refused.total(), answer.faulty_ms) == (1, (END,))


@pytest.mark.parametrize(
    "odd",
    [
        b'"x":"\xff"',
        b'"\xff":1',
        b'"x":"\x00"',
        b'"x":"\x01\n\x1f"',
        b'"x":"\\ud800"',
        b'"x":"\\udc00\\ud800"',
        b'"x":"\\q"',
        b'"x":"\\u12"',
    ],
)
def test_bad_text_loses_no_bar_not_even_its_own(odd: bytes) -> None:
    body = json.dumps({"status": "OK", "request_id": 1, "results": [raw_bar(), raw_bar(t=END, x=7777)]})
    for text in (body.encode().replace(b'"x": 7777', odd), body.encode().replace(b'"request_id": 1', odd)):
        answer = decode_bars(text, ticker="C:EURUSD", start_ms=START, end_ms=END)
        assert ([bar.t_ms for bar in answer.bars], answer.refused) == ([START, END], {})


@pytest.mark.parametrize(
    "element",
    [b"{,}", b'{"t":1,,}', b"{t:1}", b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"01"],
    ids=lambda element: element[:8].decode(),
)
def test_an_element_that_is_no_json_loses_no_other(element: bytes) -> None:
    body = json.dumps({"status": "OK", "results": [raw_bar(), 7777, raw_bar(t=END)], "next_url": ""})
    answer = decode_bars(
        body.encode().replace(b"7777", element), ticker="C:EURUSD", start_ms=START, end_ms=END
    )
    assert [bar.t_ms for bar in answer.bars] == [START, END]
    assert (answer.refused, answer.unplaced) == ({"undecodable": 1}, 1)


def test_an_answer_that_stops_in_the_middle_is_nonsense() -> None:
    body = json.dumps({"status": "OK", "results": [raw_bar(), raw_bar(t=END)]}).encode()
    for length in (len(body) - 2, len(body) - 10, len(body) // 2):
        refusal = refusal_of(
            lambda: decode_bars(body[:length], ticker="C:EURUSD", start_ms=START, end_ms=END)  # noqa: B023
        )
        assert refusal.kind is RefusalKind.NONSENSE


@pytest.mark.parametrize("said", ["X:DOGEUSD", "C:EURUSD2", "", 5, "c:eurusd"])
def test_an_answer_for_another_ticker_is_nonsense_even_an_empty_one(said: object) -> None:
    for results in ([raw_bar()], []):
        refusal = refusal_of(lambda: bars(*results, ticker=said))  # noqa: B023 - called at once
        assert refusal.kind is RefusalKind.NONSENSE
    assert "C:EURUSD" in refusal.message


@pytest.mark.parametrize("said", [None, "C:EURUSD", "C:EURUSD\x00"])
def test_an_answer_for_the_asked_ticker_or_for_none_is_taken(said: str | None) -> None:
    assert len(bars(raw_bar(), ticker=said).bars) == 1


def test_an_element_of_another_ticker_is_refused_and_its_slot_noted() -> None:
    answer = bars(raw_bar(T="C:EURUSD"), raw_bar(t=START + BAR_MS, T="X:DOGEUSD"))
    assert [bar.t_ms for bar in answer.bars] == [START]
    assert (answer.refused, answer.misplaced_ms) == ({"ticker": 1}, (START + BAR_MS,))


@pytest.mark.parametrize("t", [END + 180_000 - BAR_MS, (END - BAR_MS) * 1_000_000, (END - BAR_MS) // 1000])
def test_the_slot_of_a_misplaced_bar_is_noted(t: int) -> None:
    """Off the grid, in nanoseconds, in seconds."""
    answer = bars(raw_bar(), raw_bar(t=t))
    assert (answer.refused, answer.misplaced_ms, answer.unplaced) == ({"time": 1}, (END - BAR_MS,), 0)


def test_a_slot_with_a_sound_bar_is_not_misplaced() -> None:
    assert bars(raw_bar(), raw_bar(t=START + 180_000)).misplaced_ms == ()


def test_an_element_off_the_grid_in_the_slot_of_a_sound_bar_is_not_placed() -> None:
    answer = bars(raw_bar(), raw_bar(t=START + 1))
    assert (answer.misplaced_ms, answer.unplaced) == ((), 1)


def test_of_two_elements_off_the_grid_in_one_slot_one_is_not_placed() -> None:
    answer = bars(raw_bar(), raw_bar(t=START + BAR_MS + 1), raw_bar(t=START + BAR_MS + 2))
    assert (answer.misplaced_ms, answer.unplaced) == ((START + BAR_MS,), 1)


@pytest.mark.parametrize("t", [None, "x", END + BAR_MS, START - BAR_MS, START - 1, END * 5])
def test_a_bar_that_may_be_of_any_slot_is_unplaced(t: object) -> None:
    answer = bars(raw_bar(), raw_bar(t=t))
    assert (answer.misplaced_ms, answer.unplaced) == ((), 1)


@pytest.mark.parametrize("value", [1e300, 1.1e12, 1e-16, 5e-324])
def test_a_number_beyond_any_price_is_none(value: float) -> None:
    answer = bars(raw_bar(), raw_bar(t=END, **dict.fromkeys("ohlc", value)))
    assert (answer.refused, answer.faulty_ms) == ({"price": 1}, (END,))
    assert bars(raw_bar(vw=value)).bars[0].vwap is None


@pytest.mark.parametrize("value", [1e-12, 4e9])
def test_the_cheapest_coin_and_a_bitcoin_in_dong_have_prices(value: float) -> None:
    assert len(bars(raw_bar(**dict.fromkeys("ohlc", value))).bars) == 1


def test_an_answer_whose_bars_are_all_of_no_use_is_nonsense_and_not_an_empty_one() -> None:
    refusal = refusal_of(lambda: bars(raw_bar(c=0), raw_bar(h=0), raw_bar(t=None)))
    assert (refusal.kind, refusal.http_status) == (RefusalKind.NONSENSE, 200)
    assert refusal.message == "no bar of the answer is of use (price: 2, time: 1)"


def test_an_answer_with_bars_outside_the_range_only_is_no_empty_one() -> None:
    refusal = refusal_of(lambda: bars(raw_bar(t=START - BAR_MS)))
    assert (refusal.kind, refusal.message) == (
        RefusalKind.NONSENSE,
        "no bar of the answer is of use (outside: 1)",
    )


def test_both_ends_of_the_asked_range_belong_to_it() -> None:
    assert [bar.t_ms for bar in bars(raw_bar(), raw_bar(t=END)).bars] == [START, END]


def test_a_start_written_as_a_float_is_an_integer() -> None:
    bar = bars(raw_bar(t=float(START))).bars[0]
    assert (bar.t_ms, type(bar.t_ms)) == (START, int)


def test_of_two_bars_in_a_row_with_one_start_the_last_counts() -> None:
    answer = bars(raw_bar(c=1.11), raw_bar(c=1.16), raw_bar(t=END))
    assert [(bar.t_ms, bar.close) for bar in answer.bars] == [(START, 1.16), (END, 1.15)]
    assert answer.refused == {"duplicate": 1}


def test_bars_are_sorted_and_of_two_with_one_start_the_last_counts() -> None:
    answer = bars(raw_bar(t=START + BAR_MS), raw_bar(c=1.11), raw_bar(c=1.16))
    assert [(bar.t_ms, bar.close) for bar in answer.bars] == [(START, 1.16), (START + BAR_MS, 1.15)]
    assert answer.refused == {"duplicate": 1}


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"c": 0}, True),
        ({"c": None}, True),
        ({"c": "1.15"}, True),
        ({"h": 0.5}, True),
        ({"t": float(START), "c": 0}, True),
        ({"t": START + 1, "c": 0}, False),
        ({"t": START - BAR_MS, "c": 0}, False),
        ({"t": END + BAR_MS, "c": 0}, False),
        ({"t": None, "c": 0}, False),
    ],
)
def test_the_start_of_a_bar_refused_for_its_prices_is_noted_if_it_was_asked_for(
    changes: dict[str, Any], noted: bool
) -> None:
    answer = bars(raw_bar(**changes), raw_bar(t=END))
    assert answer.faulty_ms == ((START,) if noted else ())
    assert all(type(t_ms) is int for t_ms in answer.faulty_ms)


def test_faulty_starts_are_noted_once_and_ascending() -> None:
    faulty = [raw_bar(t=START + step * BAR_MS, c=0) for step in (3, 1, 1)]
    assert bars(*faulty, raw_bar(t=END)).faulty_ms == (START + BAR_MS, START + 3 * BAR_MS)


def test_a_sound_bar_of_the_same_start_makes_up_for_a_faulty_one_in_either_order() -> None:
    elements = [raw_bar(c=0), raw_bar()]
    for order in (elements, elements[::-1]):
        answer = bars(*order)
        assert (len(answer.bars), answer.faulty_ms, answer.refused) == (1, (), {"price": 1})


@pytest.mark.parametrize(
    ("steps", "unordered"),
    [
        ([], 0),
        ([0, 1, 2], 0),
        ([0, 0, 1], 0),
        ([2, 1, 0], 2),
        ([1, 2, 0, 3], 1),
        ([3, 0, 1, 2], 1),
        ([1, 0, 1, 0], 2),
    ],
)
def test_bars_that_start_earlier_than_the_one_before_are_counted(steps: list[int], unordered: int) -> None:
    answer = bars(*(raw_bar(t=START + step * BAR_MS) for step in steps))
    assert answer.unordered == unordered
    assert [bar.t_ms for bar in answer.bars] == [START + step * BAR_MS for step in sorted(set(steps))]


@pytest.mark.parametrize("word", ["OK", "success", "DELAYED", "delayed", None])
def test_a_good_answer_has_a_good_word_or_none(word: str | None) -> None:
    assert len(bars(raw_bar(), status=word).bars) == 1


@pytest.mark.parametrize("word", ["ERROR", "", 200, {}])
def test_results_under_any_other_word_are_not_taken(word: object) -> None:
    assert refusal_of(lambda: bars(raw_bar(), status=word)).kind is RefusalKind.NONSENSE


@pytest.mark.parametrize(
    "body", [b'{"status":"OK","resultsCount":0}', b'{"status":"OK","results":null}', b'{"resultsCount":0}']
)
def test_an_answer_without_results_is_an_empty_one(body: bytes) -> None:
    answer = decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=END)
    assert (answer.bars, answer.next_url) == ([], None)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"results":null}', b'{"status":"OK","resultsCount":3}', b'{"status":"OK","results":{}}']
)
def test_an_answer_that_does_not_say_there_is_nothing_is_not_taken_for_it(body: bytes) -> None:
    refusal = refusal_of(lambda: decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=END))
    assert refusal.kind is RefusalKind.NONSENSE


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (None, None),
        ("", None),
        ("https://h/p?cursor=a", "https://h/p?cursor=a"),
        ("https://h/p?apiKey=secret", "https://h/p"),
        ("https://h/p?cursor=a&apikey=secret", "https://h/p?cursor=a"),
        ("https://h/p?API_KEY=secret&cursor=a%26b", "https://h/p?cursor=a%26b"),
        (5, "unusable"),
    ],
)
def test_the_next_page_is_kept_without_a_key_and_never_forgotten(said: object, kept: str | None) -> None:
    assert bars(raw_bar(), next_url=said).next_url == kept


def test_a_page_of_50000_bars_is_decoded_in_a_moment() -> None:
    elements = [raw_bar(t=START + step * BAR_MS) for step in range(50_000)]
    body = json.dumps({"status": "OK", "results": elements}).encode()
    started = perf_counter()
    answer = decode_bars(body, ticker="C:EURUSD", start_ms=START, end_ms=START + 50_000 * BAR_MS)
    assert perf_counter() - started < 1.0  # 0.06 s on 2 cores; one broken element makes it 0.17 s
    assert len(answer.bars) == 50_000


# --- the previous day ---


def day_bar(**changes: Any) -> Price | None:
    body = json.dumps({"status": "OK", "results": [raw_bar(**changes)]}).encode()
    found = decode_previous_day(body, ticker="C:EURUSD", symbol="EURUSD")
    return found.price if found else None


@pytest.mark.parametrize(
    ("moment", "day_end"),
    [
        ("2022-05-04T00:00:00Z", "2022-05-05T00:00:00-04:00"),
        ("2022-05-04T23:59:59.999Z", "2022-05-05T00:00:00-04:00"),
        ("2022-05-04T00:00:00-04:00", "2022-05-05T00:00:00-04:00"),
        ("2022-05-04T23:59:59.999-04:00", "2022-05-05T00:00:00-04:00"),
        ("2022-05-04T17:00:00-04:00", "2022-05-05T00:00:00-04:00"),
        ("2022-11-06T00:00:00-04:00", "2022-11-07T00:00:00-05:00"),
    ],
)
def test_a_day_bar_is_as_of_the_end_of_its_new_york_day_whichever_moment_it_carries(
    moment: str, day_end: str
) -> None:
    price = day_bar(t=ms(moment))
    assert price is not None
    assert price.as_of_ms == ms(day_end)
    assert (price.last_price, daily(price)) == (1.15, [1.1, 1.2, 1.0, 1.15])


@pytest.mark.parametrize("envelope", [{"ticker": "X:DOGEUSD"}, {"results": [raw_bar(T="X:DOGEUSD")]}])
def test_the_previous_day_of_another_ticker_is_nonsense(envelope: dict[str, Any]) -> None:
    body = json.dumps({"status": "OK", "results": [raw_bar()]} | envelope).encode()
    refusal = refusal_of(lambda: decode_previous_day(body, ticker="C:EURUSD", symbol="EURUSD"))
    assert refusal.kind is RefusalKind.NONSENSE


def test_no_previous_day_is_no_price() -> None:
    assert decode_previous_day(b'{"status":"OK"}', ticker="C:EURUSD", symbol="EURUSD") is None


@pytest.mark.parametrize("changes", [{"c": 0}, {"t": None}, {"t": 0}, {"h": 0.5}])
def test_a_day_bar_of_no_use_is_nonsense(changes: dict[str, Any]) -> None:
    assert refusal_of(lambda: day_bar(**changes)).kind is RefusalKind.NONSENSE


# --- snapshots ---


def test_the_last_trade_is_the_price_where_there_is_one() -> None:
    trade = {"price": 27220, "participant_timestamp": NOW_NS}
    assert price(last_trade=trade, session={"price": 1, "close": 2}) == Price(
        symbol="EURUSD", last_price=27220.0, as_of_ms=NOW_MS, daily_close=2.0
    )


def test_without_a_trade_the_price_is_halfway_between_bid_and_ask() -> None:
    quote = {"bid": 1.35185, "ask": 1.35191, "last_updated": NOW_NS}
    assert price(last_quote=quote, session={"close": 1.3}) == Price(
        symbol="EURUSD", last_price=1.35188, as_of_ms=NOW_MS, bid=1.35185, ask=1.35191, daily_close=1.3
    )


@pytest.mark.parametrize(
    ("bid", "ask", "middle"),
    [(1.1, 1.2, 1.15), (1.1, 1.1, 1.1), (0.1, 0.2, 0.15), (1.00001, 1.00002, 1.000015)],
)
def test_a_midpoint_has_no_more_digits_than_it_needs(bid: float, ask: float, middle: float) -> None:
    assert midpoint(bid, ask) == midpoint(ask, bid) == middle


def quoted(bid: object, ask: object, **fields: Any) -> PricesAnswer:
    quote = {"bid": bid, "ask": ask, "last_updated": NOW_NS}
    return snapshot({"ticker": "C:EURUSD", "last_quote": quote} | fields)


def test_a_bid_above_the_ask_by_rounding_is_kept_as_it_is() -> None:
    crossed = quoted(1.0851, 1.085).prices["C:EURUSD"]
    assert (crossed.bid, crossed.ask, crossed.last_price) == (1.0851, 1.085, 1.08505)


SESSION = {"open": 1.085, "high": 1.09, "low": 1.08, "close": 1.085}


@pytest.mark.parametrize(
    ("bid", "ask"),
    [(1.0852, 1.085), (1.2, 1.1), (1.085, 10.85), (0.01, 2.2), (1.0, 1.1), (1e300, 1.1), (1.1, 1e300)],
)
def test_a_quote_that_cannot_be_one_is_refused_and_its_ticker_fails(bid: float, ask: float) -> None:
    answer = quoted(bid, ask, session=SESSION, last_updated=NOW_NS)
    assert (answer.prices, answer.errors["C:EURUSD"].kind) == ({}, RefusalKind.NONSENSE)
    assert answer.refused == {"quote": 1}


@pytest.mark.parametrize(("bid", "ask"), [(1.085, 1.0855), (1.0, 1.05)])
def test_a_quote_as_wide_as_quotes_are_is_taken(bid: float, ask: float) -> None:
    assert "C:EURUSD" in quoted(bid, ask, session=SESSION).prices


def test_a_wide_quote_is_taken_on_a_wild_day_or_where_nothing_is_beside_it() -> None:
    wild = {"open": 1.0, "high": 1.1, "low": 1.0, "close": 1.05}
    assert "C:EURUSD" in quoted(1.0, 1.2, session=wild).prices
    assert "C:EURUSD" in quoted(1.0, 1.2).prices


def test_beside_a_trade_a_quote_that_cannot_be_one_is_left_out() -> None:
    answer = quoted(1.2, 1.1, last_trade={"price": 1.15, "sip_timestamp": NOW_NS})
    taken = answer.prices["C:EURUSD"]
    assert (taken.last_price, taken.bid, taken.ask, answer.refused) == (1.15, None, None, {"quote": 1})


@pytest.mark.parametrize("said", [1e300, 1e-16, -1.1, "1.1", True, []])
def test_a_trade_that_is_no_price_is_refused_and_nothing_lesser_takes_its_place(said: object) -> None:
    trade = {"price": said, "sip_timestamp": NOW_NS}
    answer = snapshot({"ticker": "C:EURUSD", "last_trade": trade, "session": SESSION, "last_updated": NOW_NS})
    assert (answer.prices, answer.errors["C:EURUSD"].kind) == ({}, RefusalKind.NONSENSE)
    assert answer.refused == {"price": 1}


def test_bad_text_and_odd_elements_lose_no_other_ticker() -> None:
    good = {"last_trade": {"price": 1.1, "sip_timestamp": NOW_NS}}
    entries = [{"ticker": "X:A"} | good, {"ticker": "X:B", "name": "7777"} | good, "8888"]
    body = json.dumps({"status": "OK", "results": entries}).encode()
    for text in (b"\xff", b"\x00", b"\\ud800"):
        spoilt = body.replace(b"7777", text).replace(b'"8888"', b"{,}")
        answer = decode_snapshot(spoilt, {"X:A": "A", "X:B": "B"})
        assert (set(answer.prices), answer.refused) == ({"X:A", "X:B"}, {"undecodable": 1})


@pytest.mark.parametrize("quote", [{"bid": 1.1}, {"bid": 1.1, "ask": 0}, {"bid": 1.1, "ask": None}])
def test_with_one_side_only_the_price_is_the_sessions(quote: dict[str, Any]) -> None:
    one_sided = price(last_quote=quote | {"last_updated": NOW_NS}, session={"close": 1.3})
    assert (one_sided.last_price, one_sided.bid, one_sided.ask) == (1.3, 1.1, None)


def test_the_sessions_price_goes_before_its_close() -> None:
    assert price(last_updated=NOW_NS, session={"price": 1.4, "close": 1.3}).last_price == 1.4


@pytest.mark.parametrize(
    ("fields", "as_of_ms"),
    [
        ({"last_trade": {"price": 1, "sip_timestamp": NOW_NS, "participant_timestamp": 1}}, NOW_MS),
        ({"last_trade": {"price": 1, "sip_timestamp": 0, "last_updated": NOW_NS}}, NOW_MS),
        ({"last_trade": {"price": 1}, "last_updated": NOW_NS}, NOW_MS),
        ({"last_quote": {"bid": 1, "ask": 1}, "last_updated": NOW_NS}, NOW_MS),
        ({"session": {"close": 1}, "last_quote": {"last_updated": NOW_NS}}, NOW_MS),
    ],
)
def test_a_price_has_its_own_moment_or_else_the_entrys(fields: dict[str, Any], as_of_ms: int) -> None:
    assert price(**fields).as_of_ms == as_of_ms


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"session": {"open": 0, "high": 0, "low": 0, "close": 0}, "last_updated": NOW_NS},
        {"last_trade": {"price": 1.1}},
        {"last_trade": {"price": 1.1, "sip_timestamp": 0}},
        {"last_trade": {"price": 0, "sip_timestamp": NOW_NS}},
        {"last_trade": "none", "last_quote": [], "session": 5, "last_updated": NOW_NS},
    ],
)
def test_an_entry_without_a_price_or_without_a_moment_is_empty_and_no_error(entry: dict[str, Any]) -> None:
    answer = snapshot({"ticker": "C:EURUSD"} | entry)
    assert not answer.prices
    assert not answer.errors
    assert answer.empty == {"C:EURUSD"}
    assert answer.refused == {"empty": 1}


def test_daily_values_of_zero_are_absent() -> None:
    quoted = price(
        last_quote={"bid": 1.1, "ask": 1.1, "last_updated": NOW_NS},
        session={"open": 0, "high": 1.2, "low": None, "close": -1},
    )
    assert (quoted.daily_open, quoted.daily_high, quoted.daily_low, quoted.daily_close) == (
        None,
        1.2,
        None,
        None,
    )


def test_daily_values_with_the_high_below_the_low_are_all_absent() -> None:
    quoted = price(
        last_quote={"bid": 1.1, "ask": 1.1, "last_updated": NOW_NS},
        session={"open": 1.1, "high": 1.0, "low": 1.2, "close": 1.1},
    )
    assert daily(quoted) == [None] * 4


def test_every_asked_ticker_is_a_price_an_error_or_empty() -> None:
    good = {"last_trade": {"price": 1.1, "sip_timestamp": NOW_NS}}
    answer = snapshot(
        {"ticker": "X:A"} | good,
        {"ticker": "X:B", "error": "NOT_FOUND", "message": "Ticker not found."},
        {"ticker": "X:C", "error": "NOT_ENTITLED"},
        {"ticker": "X:D"},
        {"ticker": "X:UNASKED"} | good,
        asked="X:A X:B X:C X:D X:E",
    )
    assert set(answer.prices) == {"X:A"}
    assert {ticker: error.kind for ticker, error in answer.errors.items()} == {
        "X:B": RefusalKind.UNKNOWN_TICKER,
        "X:C": RefusalKind.NOT_IN_PLAN,
        "X:E": RefusalKind.NONSENSE,  # another's price may have come in its place
    }
    assert answer.empty == {"X:D"}
    assert answer.refused == {"empty": 1, "unasked": 1}


@pytest.mark.parametrize(
    ("elements", "envelope"),
    [
        ([], {}),
        ([5, {"ticker": "X:A"}], {}),
        ([{"ticker": "X:A"}], {"next_url": "https://api.massive.com/v3/snapshot?cursor=a"}),
    ],
    ids=["nothing", "an element that cannot be read", "a page that goes on"],
)
def test_a_ticker_left_out_of_an_incomplete_answer_is_not_called_unknown(
    elements: list[object], envelope: dict[str, Any]
) -> None:
    answer = snapshot(*elements, asked="X:A X:B", **envelope)
    assert answer.errors["X:B"].kind is RefusalKind.NONSENSE


def test_of_two_entries_for_a_ticker_the_newer_counts() -> None:
    entries = [
        {"ticker": "C:EURUSD", "last_trade": {"price": 1.1, "sip_timestamp": NOW_NS}},
        {"ticker": "C:EURUSD", "last_trade": {"price": 1.2, "sip_timestamp": NOW_NS - 10**9}},
    ]
    for order in (entries, entries[::-1]):
        answer = snapshot(*order)
        assert answer.prices["C:EURUSD"].last_price == 1.1
        assert answer.refused == {"duplicate": 1}


# --- moments ---


@pytest.mark.parametrize(
    ("value", "at_ms"),
    [
        (1_684_431_002, NOW_MS),
        (1_684_431_002_000, NOW_MS),
        (1_684_431_002_000_000, NOW_MS),
        (NOW_NS, NOW_MS),
        (NOW_NS + 999_999, NOW_MS),
        (1_684_431_002_999_999_999, NOW_MS + 999),
        (0, None),
        (-1, None),
        (10**30, None),
        (5_000_000_000, None),
        (True, None),
        ("1684431002000", None),
        (None, None),
    ],
)
def test_the_unit_of_a_moment_is_told_by_its_magnitude(value: object, at_ms: int | None) -> None:
    assert moment_ms(value) == at_ms


# --- market status ---


@pytest.mark.parametrize("time", ["2022-05-17T10:26:06", "now", "", 5, None])
def test_a_server_time_without_a_zone_or_sense_is_absent(time: object) -> None:
    body = json.dumps({"serverTime": time, "currencies": {"fx": "open"}}).encode()
    status = decode_market_status(body)
    assert (status.server_time_ms, status.markets) == (None, {"forex": "open"})


def test_moments_are_utc() -> None:
    body = b'{"serverTime":"2022-05-17T10:26:06-04:00","currencies":{}}'
    assert decode_market_status(body).server_time_ms == ms("2022-05-17T14:26:06+00:00")
    assert datetime.fromtimestamp(NOW_MS / 1000, UTC).isoformat() == "2023-05-18T17:30:02+00:00"
