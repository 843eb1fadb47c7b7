"""The bars of five minutes that follow from bars of one minute."""

from __future__ import annotations

from collections.abc import Iterable

from assetbatch.domain.models import BAR_MS, MAX_TRADES, Bar


def five_minute_bars(minutes: Iterable[Bar]) -> list[Bar]:
    """Return the bars of five minutes out of ascending minutes, as the provider would make them.

    First open, highest high, lowest low, last close, sums, the average weighted by volume. What one of the
    minutes lacks, the bar lacks. A sum of volumes keeps 15 significant digits: 0.1 and 0.2 are 0.3.
    """
    bars: list[Bar] = []
    start_ms: int | None = None
    open_ = high = low = close = 0.0
    volume: float | None = None
    turnover: float | None = None
    trades: int | None = None
    for minute in minutes:
        slot_ms = minute.t_ms - minute.t_ms % BAR_MS
        if slot_ms != start_ms:
            if start_ms is not None:
                bars.append(_bar(start_ms, open_, high, low, close, volume, turnover, trades))
            start_ms = slot_ms
            open_, high, low, close = minute.open, minute.high, minute.low, minute.close
            volume, trades = minute.volume, minute.trades
            turnover = None if volume is None or minute.vwap is None else volume * minute.vwap
            continue
        if minute.high > high:
            high = minute.high
        if minute.low < low:
            low = minute.low
        close = minute.close
        more, vwap, more_trades = minute.volume, minute.vwap, minute.trades
        turnover = None if turnover is None or more is None or vwap is None else turnover + more * vwap
        volume = None if volume is None or more is None else volume + more
        trades = None if trades is None or more_trades is None else trades + more_trades
    if start_ms is not None:
        bars.append(_bar(start_ms, open_, high, low, close, volume, turnover, trades))
    return bars


def _bar(
    start_ms: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float | None,
    turnover: float | None,
    trades: int | None,
) -> Bar:
    vwap = None
    if volume and turnover is not None:
        vwap = min(high, max(low, turnover / volume))
    if volume is not None:
        volume = float(f"{volume:.15g}")
    if trades is not None and trades > MAX_TRADES:
        trades = None
    return Bar(start_ms, open_, high, low, close, volume, vwap, trades)
