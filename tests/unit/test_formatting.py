from __future__ import annotations

import pytest

from assetbatch.domain.formatting import format_duration, iso, listed, moment, plural, price


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 s"),
        (89_400, "89 s"),
        (90_000, "2 min"),
        (3_600_000, "60 min"),
        (5_400_000, "2 h"),
        (47 * 3_600_000, "47 h"),
        (72 * 3_600_000, "3 d"),
    ],
)
def test_a_span_is_told_in_its_largest_fitting_unit(ms: int, words: str) -> None:
    assert format_duration(ms) == words


def test_moments_are_utc_and_say_so() -> None:
    assert moment(1_795_212_000_000) == "2026-11-20 22:00 UTC"
    assert iso(1_795_212_000_123) == "2026-11-20T22:00:00.123+00:00"


def test_prices_keep_the_digits_of_their_size() -> None:
    assert [price(value) for value in (92312.091, 155.1234, 1.04621, 0.00001234)] == [
        "92,312.09",
        "155.123",
        "1.04621",
        "0.00001234",
    ]


def test_one_is_not_plural() -> None:
    assert (plural(1, "call"), plural(0, "call"), plural(1200, "call")) == (
        "1 call",
        "0 calls",
        "1,200 calls",
    )


def test_many_names_are_shortened_and_counted() -> None:
    assert listed(["A", "B"]) == "A, B"
    assert listed([str(n) for n in range(600)], most=2) == "0, 1 and 598 more"
