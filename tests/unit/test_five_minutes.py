"""Bars of five minutes out of minutes, without a database."""

from __future__ import annotations

import pytest

from assetbatch.domain.five_minutes import five_minute_bars
from assetbatch.domain.models import BAR_MS, MAX_TRADES, Bar
from assetbatch.domain.units import MINUTE_MS

START_MS = 5_000 * BAR_MS


def minute(number: int, **values: float | None) -> Bar:
    usual = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 4.0, "vwap": 2.0, "trades": 3}
    return Bar(START_MS + number * MINUTE_MS, **{**usual, **values})  # type: ignore[arg-type]


def test_no_minutes_are_no_bars() -> None:
    assert five_minute_bars([]) == []


def test_a_bar_is_the_first_open_the_highest_high_the_lowest_low_the_last_close_and_the_sums() -> None:
    minutes = [
        minute(1, open=2.0, high=3.0, low=1.5, close=2.5, volume=1.0, vwap=2.0, trades=1),
        minute(2, open=2.5, high=6.0, low=2.0, close=3.0, volume=2.0, vwap=3.5, trades=2),
        minute(4, open=1.5, high=2.0, low=1.0, close=1.25, volume=1.0, vwap=1.0, trades=4),
    ]
    assert five_minute_bars(minutes) == [Bar(START_MS, 2.0, 6.0, 1.0, 1.25, 4.0, 2.5, 7)]


def test_minutes_of_five_others_are_another_bar() -> None:
    bars = five_minute_bars(minute(number) for number in (0, 4, 5, 12, 14))
    assert [(bar.t_ms - START_MS) // BAR_MS for bar in bars] == [0, 1, 2]
    assert [bar.trades for bar in bars] == [6, 3, 6]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("lacking", "left"),
    [
        ({"volume": None}, (None, None, 9)),
        ({"vwap": None}, (12.0, None, 9)),
        ({"trades": None}, (12.0, 2.0, None)),
    ],
)
def test_a_bar_lacks_what_one_of_its_minutes_lacks(
    place: int, lacking: dict[str, None], left: tuple[float | None, float | None, int | None]
) -> None:
    minutes = [minute(number, **lacking) if number == place else minute(number) for number in range(3)]
    (bar,) = five_minute_bars(minutes)
    assert (bar.volume, bar.vwap, bar.trades) == left


def test_volumes_are_added_as_they_were_written() -> None:
    (bar,) = five_minute_bars([minute(0, volume=0.1), minute(1, volume=0.2)])
    assert bar.volume == 0.3


def test_without_volume_there_is_no_average() -> None:
    (bar,) = five_minute_bars([minute(0, volume=0.0), minute(1, volume=0.0)])
    assert (bar.volume, bar.vwap) == (0.0, None)


def test_an_average_lies_between_low_and_high() -> None:
    flat = {"open": 0.1, "high": 0.1, "low": 0.1, "close": 0.1, "vwap": 0.1}
    (bar,) = five_minute_bars([minute(number, volume=0.1 + number / 7, **flat) for number in range(5)])
    assert bar.vwap == 0.1


def test_more_trades_than_a_column_holds_are_absent() -> None:
    (bar,) = five_minute_bars([minute(0, trades=MAX_TRADES), minute(1, trades=1)])
    assert bar.trades is None
