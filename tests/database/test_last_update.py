from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.database.last_update import Stored, as_of_ms, document, parse, read, supersedes
from assetbatch.domain.models import Price
from assetbatch.domain.numbers import positive

NOW_MS = 1_760_000_100_000
DAY_MS = 86_400_000


def price(at_ms: int = NOW_MS, last: float = 1.5, **rest: Any) -> Price:
    return Price(symbol="EURUSD", last_price=last, as_of_ms=at_ms, **rest)


def test_the_document_has_the_owners_keys_and_null_for_what_is_absent() -> None:
    assert document(price(NOW_MS + 7, bid=1.25)) == {
        "bid": 1.25,
        "ask": None,
        "last_price": 1.5,
        "daily_open": None,
        "daily_high": None,
        "daily_low": None,
        "daily_close": None,
        "timestamp": "2025-10-09T08:55:00.007+00:00",
    }


@pytest.mark.parametrize("nothing", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_price_is_null(nothing: float) -> None:
    assert document(price(bid=nothing))["bid"] is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.5, 0.5),
        (5e-324, 5e-324),
        (1, 1.0),
        (10**400, None),
        (0, None),
        (-1, None),
        (0.0, None),
        (-0.5, None),
        (math.inf, None),
        (math.nan, None),
        (True, None),
        ("1.5", None),
        (None, None),
    ],
)
def test_a_price_is_a_number_above_0_and_finite(value: object, number: float | None) -> None:
    assert positive(value) == number


def test_a_price_is_a_float_whatever_number_it_was_written_as() -> None:
    assert type(positive(2)) is float


@given(st.integers(0, 4_000_000_000_000))
def test_a_moment_survives_being_written(at_ms: int) -> None:
    assert as_of_ms(document(price(at_ms))["timestamp"]) == at_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
        ("1970-01-01 00:00:01", 1000),
        ("1970-01-01T00:00:01.5", 1500),
    ],
)
def test_other_ways_of_writing_iso_8601_are_understood(text: str, expected: int) -> None:
    assert as_of_ms(text) == expected


@pytest.mark.parametrize(
    "garbage",
    ["", "yesterday", "2025-13-01T00:00:00Z", 5, None, True, ["2025-01-01"], {}, "\ud800", "9" * 5000],
)
def test_garbage_is_no_moment(garbage: object) -> None:
    assert as_of_ms(garbage) is None


@pytest.mark.parametrize(
    "text", [None, "null", "[1]", '"word"', "12", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\ud800"]
)
def test_what_is_no_object_reads_as_an_empty_one(text: str | None) -> None:
    assert parse(text).get("timestamp") is None
    assert read(text) == Stored()


FOREIGN = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(FOREIGN)
def test_whatever_others_wrote_can_be_read(foreign: object) -> None:
    stored = parse(json.dumps({"timestamp": foreign, "last_price": foreign}))
    as_of_ms(stored.get("timestamp"))
    number = positive(stored.get("last_price"))
    assert number is None or (number > 0 and math.isfinite(number))
    supersedes(price(), stored, NOW_MS)


@given(st.dictionaries(st.sampled_from(["bid", "ask", "last_price", "daily_open", "timestamp"]), FOREIGN))
def test_what_is_no_price_and_no_text_is_absent(stored: dict[str, object]) -> None:
    text = json.dumps(stored)
    found = parse(text)
    timestamp = found.get("timestamp")
    assert read(text) == Stored(
        bid=positive(found.get("bid")),
        ask=positive(found.get("ask")),
        last_price=positive(found.get("last_price")),
        daily_open=positive(found.get("daily_open")),
        timestamp=timestamp if isinstance(timestamp, str) else None,
    )


def test_later_replaces_earlier() -> None:
    assert supersedes(price(NOW_MS + 1), document(price(NOW_MS)), NOW_MS)
    assert not supersedes(price(NOW_MS), document(price(NOW_MS + 1)), NOW_MS)


@pytest.mark.parametrize("written", ["2025-10-09T08:55:00.000Z", "2025-10-09T10:55:00+02:00"])
def test_another_spelling_of_the_same_moment_is_no_difference(written: str) -> None:
    stored = {**document(price()), "timestamp": written}
    assert as_of_ms(written) == as_of_ms(document(price())["timestamp"])
    assert not supersedes(price(), stored, NOW_MS)


def test_at_the_same_moment_only_a_difference_is_written() -> None:
    assert not supersedes(price(), document(price()), NOW_MS)
    assert supersedes(price(bid=1.25), document(price()), NOW_MS)


def test_at_the_same_moment_no_value_is_lost_to_a_null() -> None:
    whole = document(price(bid=1.25, ask=1.75))
    assert not supersedes(price(bid=1.25), whole, NOW_MS)
    assert not supersedes(price(last=1.25), whole, NOW_MS)
    assert supersedes(price(bid=1.25, ask=1.75), document(price(last=1.25)), NOW_MS)
    assert supersedes(price(NOW_MS + 1), whole, NOW_MS)


def test_at_the_same_moment_what_is_no_price_may_be_lost_to_a_null() -> None:
    for nothing in (0, -1.5, "1.5", True, math.inf):
        assert supersedes(price(), {**document(price()), "bid": nothing}, NOW_MS)
    for something in (1, 0.25):
        assert not supersedes(price(), {**document(price()), "bid": something}, NOW_MS)


def test_a_stored_moment_that_cannot_be_read_is_replaced() -> None:
    assert supersedes(price(), {"timestamp": "soon"}, NOW_MS)
    assert supersedes(price(), {}, NOW_MS)


def test_a_stored_moment_in_the_far_future_does_not_keep_the_price_for_ever() -> None:
    assert supersedes(price(), document(price(NOW_MS + DAY_MS + 1)), NOW_MS)
    assert not supersedes(price(), document(price(NOW_MS + DAY_MS)), NOW_MS)


def test_a_clock_that_fell_back_does_not_let_older_prices_win() -> None:
    assert not supersedes(price(NOW_MS - 1), document(price(NOW_MS)), now_ms=0)
