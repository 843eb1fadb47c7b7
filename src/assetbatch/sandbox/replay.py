"""Recorded 5-minute bars served as the provider's, moved in time so that they are of the recent past.

The files are `SYMBOL.csv` or `SYMBOL_suffix.csv` with the columns
`t_ms,open,high,low,close,volume,bid_close,ask_close`; files of one symbol are merged. A recorded bar
shows when it is complete, and spans below five minutes show one bar per recorded one.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import from_ms, last_midnight, new_york_zone, to_ms
from assetbatch.domain.models import BAR_MS
from assetbatch.domain.units import HOUR_MS
from assetbatch.errors import ConfigError
from assetbatch.sandbox.bars import VOLUME_DIGITS, Bar, Row, bar_of
from assetbatch.sandbox.universe import Instrument, split_symbol

_COLUMNS = ("t_ms", "open", "high", "low", "close", "volume", "bid_close", "ask_close")
_CLOSE = 3
_PRICES = (0, 1, 2, 3, 5, 6)  # the columns of prices after the time: bar, bid and ask
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_WEEK_MS = 7 * 86_400_000


def shifted(market: Market, at_ms: int, weeks: int) -> int:
    """Return a recorded moment moved by whole weeks.

    Crypto moves by exactly 168 hours a week. Forex and metals keep New York's wall clock, so that the
    weekend is where the market has it even if only one of the two times is summer time.
    """
    if market is Market.CRYPTO:
        return at_ms + weeks * _WEEK_MS
    local = from_ms(at_ms).astimezone(new_york_zone()).replace(tzinfo=None)
    return to_ms((local + timedelta(weeks=weeks)).replace(tzinfo=new_york_zone()))


def weeks_to_recent(market: Market, last_bar_ms: int, now_ms: int) -> int:
    """Return the most weeks by which a symbol can move.

    Its last bar then ends by the last New York midnight.
    """
    midnight_ms = last_midnight(now_ms)
    weeks = (midnight_ms - last_bar_ms) // _WEEK_MS + 1
    while shifted(market, last_bar_ms, weeks) + BAR_MS > midnight_ms:
        weeks -= 1
    return weeks


@dataclass(frozen=True, slots=True)
class _Recording:
    """Bars of one instrument, ascending, with bid and ask at their close where recorded."""

    starts: list[int]
    rows: list[Row]
    quotes: dict[int, tuple[int, int]]


class RecordedPrices:
    """A `Source` of the bars in a folder.

    `weeks` moves all of them by so many weeks. None moves each symbol once, as close to `now_ms` as
    `weeks_to_recent` allows; the shift stays while the source lives. Raises ConfigError for a folder
    without such files or a file that cannot be read.
    """

    def __init__(self, folder: Path, *, now_ms: int, weeks: int | None = None) -> None:
        files: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(folder.glob("*.csv")):
            files[path.stem.partition("_")[0]].append(path)
        if not files:
            raise ConfigError(
                f"no recorded bars in {folder}", hint="name a folder of SYMBOL.csv files with 5-minute bars"
            )
        self.weeks: dict[str, int] = {}
        """The number of weeks by which each ticker was moved."""
        instruments: dict[str, Instrument] = {}
        self._recordings: dict[str, _Recording] = {}
        for symbol, paths in files.items():
            lines = sorted((line for path in paths for line in _read(path)), key=lambda line: line.t_ms)
            instrument = _instrument(symbol, lines)
            ticker, market = instrument.ticker, instrument.market
            by = weeks_to_recent(market, lines[-1].t_ms, now_ms) if weeks is None else weeks
            self.weeks[ticker] = by
            instruments[ticker] = instrument
            self._recordings[ticker] = _recording(instrument, lines, by)
        self.instruments: Mapping[str, Instrument] = dict(sorted(instruments.items()))

    def grain_ms(self, instrument: Instrument, span_ms: int | None) -> int:  # noqa: ARG002  one length
        """Return five minutes, whatever is asked."""
        return BAR_MS

    def rows(
        self,
        instrument: Instrument,
        grain_ms: int,  # noqa: ARG002  recorded bars have one length
        start_ms: int,
        end_ms: int,
        now_ms: int,
    ) -> list[Row]:
        """See `Source.rows`; a bar is known when it is complete."""
        recording = self._recordings[instrument.ticker]
        before_ms = min(end_ms, now_ms - BAR_MS + 1)
        return recording.rows[
            bisect_left(recording.starts, start_ms) : bisect_left(recording.starts, before_ms)
        ]

    def bar(
        self, instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int, now_ms: int
    ) -> Bar | None:
        """See `Source.bar`."""
        return bar_of(self.rows(instrument, grain_ms, start_ms, end_ms, now_ms), start_ms)

    def next_data(self, instrument: Instrument, at_ms: int) -> int | None:
        """Return the start of the next recorded bar."""
        starts = self._recordings[instrument.ticker].starts
        index = bisect_left(starts, at_ms)
        return starts[index] if index < len(starts) else None

    def last_data(self, instrument: Instrument, at_ms: int) -> int | None:
        """Return the moment after the start of the last recorded bar that starts before `at_ms`."""
        starts = self._recordings[instrument.ticker].starts
        index = bisect_left(starts, at_ms)
        return starts[index - 1] + 1 if index else None

    def last(self, instrument: Instrument, now_ms: int) -> tuple[Row, int] | None:
        """Return the newest complete bar and its end."""
        recording = self._recordings[instrument.ticker]
        index = bisect_left(recording.starts, now_ms - BAR_MS + 1)
        if index == 0:
            return None
        return recording.rows[index - 1], recording.starts[index - 1] + BAR_MS - 1

    def quote(self, instrument: Instrument, row: Row) -> tuple[int, int]:
        """Return bid and ask as recorded, or the close and one tick above it if nothing was recorded."""
        return self._recordings[instrument.ticker].quotes.get(row[0], (row[4], row[4] + 1))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file; `texts` are the columns after the time, decimal or empty."""

    t_ms: int
    texts: list[str]


def _read(path: Path) -> list[_Line]:
    lines = []
    try:
        with path.open(newline="", encoding="ascii") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != _COLUMNS:
                raise ValueError
            for t_ms, *texts in reader:
                opened, high, low, closed, _, _, _ = texts
                if not all(map(_DECIMAL.fullmatch, filter(None, texts))) or not (
                    opened and high and low and closed
                ):
                    raise ValueError
                lines.append(_Line(int(t_ms), texts))
    except ValueError:
        raise ConfigError(
            f"{path} does not hold recorded bars", hint=f"its columns must be {','.join(_COLUMNS)}"
        ) from None
    return lines


def _digits(text: str) -> int:
    return len(text.partition(".")[2])


def _in_units(text: str, digits: int) -> int:
    """Return a decimal text as a whole number of its `digits`-th decimals, exactly.

    Further decimals are cut off.
    """
    whole, _, fraction = text.partition(".")
    return int(whole + fraction[:digits].ljust(digits, "0"))


def _instrument(symbol: str, lines: list[_Line]) -> Instrument:
    base, quote, market = split_symbol(symbol)
    return Instrument(
        ticker=f"{'X' if market is Market.CRYPTO else 'C'}:{symbol}",
        base=base,
        quote=quote,
        market=market,
        level=float(lines[-1].texts[_CLOSE]),
        digits=max(_digits(line.texts[column]) for line in lines for column in _PRICES),
        daily_move=0.0,
        activity=0,
        hourly_volume=0.0,
        spread_ticks=1,
    )


def _recording(instrument: Instrument, lines: list[_Line], weeks: int) -> _Recording:
    crypto = instrument.market is Market.CRYPTO
    digits = instrument.digits
    shifted_hours: dict[int, int] = {}
    rows: dict[int, Row] = {}
    quotes: dict[int, tuple[int, int]] = {}
    for line in lines:
        # Clocks change on the hour, so an hour is moved as a whole.
        hour_ms = line.t_ms // HOUR_MS * HOUR_MS
        if hour_ms not in shifted_hours:
            shifted_hours[hour_ms] = shifted(instrument.market, hour_ms, weeks)
        start_ms = shifted_hours[hour_ms] + line.t_ms - hour_ms
        *prices, volume_text, bid, ask = line.texts
        opened, high, low, closed = (_in_units(text, digits) for text in prices)
        volume = _in_units(volume_text or "0", VOLUME_DIGITS if crypto else 0)
        rows[start_ms] = (start_ms, opened, high, low, closed, volume, 0 if crypto else volume, 0)
        if bid and ask:
            quotes[start_ms] = (_in_units(bid, digits), _in_units(ask, digits))
    starts = sorted(rows)
    return _Recording(starts, [rows[start] for start in starts], quotes)
