"""The bars of five minutes that follow from bars of one minute."""

from __future__ import annotations

import math
from collections.abc import Iterable

from assetbatch.domain.models import BAR_MS, MAX_TRADES, Bar

_ABSENT = math.nan
"""A sum of which a part is absent: it stays so, whatever is added. It equals nothing, itself included."""


def five_minute_bars(minutes: Iterable[Bar]) -> list[Bar]:
    """Return the bars of five minutes out of ascending minutes, as the provider would make them.

    First open, highest high, lowest low, last close, sums, the average weighted by volume. What one of the
    minutes lacks, the bar lacks. A sum of volumes with a fraction keeps 15 significant digits: 0.1 and 0.2
    are 0.3.
    """
    bars: list[Bar] = []
    start_ms: int | None = None
    end_ms = -math.inf
    open_ = high = low = close = volume = turnover = trades = _ABSENT
    for minute in minutes:
        t_ms, highest, lowest = minute.t_ms, minute.high, minute.low
        if t_ms >= end_ms:
            if start_ms is not None:
                bars.append(_bar(start_ms, open_, high, low, close, volume, turnover, trades))
            start_ms = t_ms - t_ms % BAR_MS
            end_ms = start_ms + BAR_MS
            open_, high, low = minute.open, highest, lowest
            volume = turnover = 0.0
            trades = 0
        if highest > high:
            high = highest
        if lowest < low:
            low = lowest
        close = minute.close
        more, average, count = minute.volume, minute.vwap, minute.trades
        if more is None:
            volume = turnover = _ABSENT
        else:
            volume += more
            turnover += _ABSENT if average is None else more * average
        trades += _ABSENT if count is None else count
    if start_ms is not None:
        bars.append(_bar(start_ms, open_, high, low, close, volume, turnover, trades))
    return bars


def _bar(
    start_ms: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    turnover: float,
    trades: float,
) -> Bar:
    vwap = turnover / volume if volume > 0 else _ABSENT
    if vwap > high:
        vwap = high
    elif vwap < low:
        vwap = low
    return Bar(
        start_ms,
        open_,
        high,
        low,
        close,
        _as_written(volume) if volume == volume else None,
        vwap if vwap == vwap else None,
        int(trades) if trades <= MAX_TRADES else None,
    )


def _as_written(total: float) -> float:
    return total if total.is_integer() else float(f"{total:.15g}")
