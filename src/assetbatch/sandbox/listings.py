"""The stocks and indices of the simulated provider: who is listed when, and what happens to them.

Prices and events are made up, also those of stocks with a real name. Only the splits of AAPL and the rename
to META are real.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from hashlib import blake2b
from math import prod
from typing import NamedTuple

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import start_of_day
from assetbatch.sandbox.exchange import CLOSURES, Calendar, Closure
from assetbatch.sandbox.universe import Instrument, letters

STOCK_DIGITS = 4
INDEX_DIGITS = 8
_ANNOUNCED = timedelta(days=20)
_YEARS = range(2010, 2036)


class Split(NamedTuple):
    """A split as the provider lists it: of `split_from` shares come `split_to`.

    `listed` and `unlisted` are the days from which on the provider lists it, and no longer (None: 20 days
    ahead; for ever). `is_true` is False for a row that prices never followed.
    """

    execution_date: date
    split_from: float
    split_to: float
    listed: date | None = None
    unlisted: date | None = None
    is_true: bool = True
    kind: str = ""
    """The provider's word; empty: what follows from the ratio."""

    @property
    def adjustment_type(self) -> str:
        """The provider's word for the kind of a split."""
        return self.kind or ("forward_split" if self.split_to > self.split_from else "reverse_split")

    @property
    def factor(self) -> float:
        """What a price before it is multiplied by."""
        return self.split_from / self.split_to

    def is_listed(self, today: date) -> bool:
        """Return whether the provider lists it on a day."""
        since = self.listed or self.execution_date - _ANNOUNCED
        return since <= today and (self.unlisted is None or today < self.unlisted)


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A stock or an index: where and since when it is traded.

    `traded` are the spans of days on which the ticker has bars, each with its first day and the first day
    after it (None: it goes on). `listed` is the day that the provider names, which may be that of a former
    ticker.
    """

    calendar: Calendar
    name: str
    exchange: str = ""
    type: str = ""
    listed: date = date(2005, 1, 3)
    traded: tuple[tuple[date, date | None], ...] = ((date(2005, 1, 3), None),)
    splits: tuple[Split, ...] = ()
    figi: str = ""
    changes: tuple[tuple[date, str], ...] = ()
    """Since when the company has which ticker, ascending."""
    is_otc: bool = False
    _starts: tuple[tuple[int, float, float], ...] = field(init=False)

    def __post_init__(self) -> None:
        true = sorted((one.execution_date, one) for one in self.splits if one.is_true)
        starts = tuple((start_of_day(day), one.split_to / one.split_from, one.factor) for day, one in true)
        object.__setattr__(self, "_starts", starts)

    def is_traded(self, day: date) -> bool:
        """Return whether the ticker is listed on a day, and may have bars of it."""
        return any(first <= day and (end is None or day < end) for first, end in self.traded)

    def is_known(self, today: date) -> bool:
        """Return whether the ticker is or was listed on a day."""
        return self.traded[0][0] <= today

    def ended(self, today: date) -> date | None:
        """Return the day on which the ticker went, or None while it is listed."""
        ends = [end for _, end in self.traded if end is not None and end <= today]
        return max(ends) if ends and not self.is_traded(today) else None

    def raw_factor(self, start_ms: int) -> float:
        """Return what a price of today's shares is multiplied by to be one of a bar that started then."""
        return prod(ratio for at_ms, ratio, _ in self._starts if at_ms > start_ms)

    def adjusting_factor(self, start_ms: int, now_ms: int) -> float:
        """Return what the prices of a bar that started then are multiplied by now."""
        return prod(factor for at_ms, _, factor in self._starts if start_ms < at_ms <= now_ms)


# A line a stock: ticker, exchange, type, price, trades an hour, shares an hour, daily move, listed, name.
# The thin ones have minutes, some of them hours and days, without a trade.
_STOCKS = """
AAPL XNAS CS 232 100000 7500000 0.015 1980-12-12 Apple Inc.
MSFT XNAS CS 425 70000 3200000 0.013 1986-03-13 Microsoft Corp
NVDA XNAS CS 136 160000 34000000 0.028 1999-01-22 Nvidia Corp
AMZN XNAS CS 205 80000 6000000 0.018 1997-05-15 Amazon.Com Inc
GOOGL XNAS CS 172 60000 4200000 0.016 2004-08-19 Alphabet Inc. Class A Common Stock
GOOG XNAS CS 174 50000 3100000 0.016 2014-03-27 Alphabet Inc. Class C Capital Stock
TSLA XNAS CS 330 140000 13000000 0.032 2010-06-29 Tesla, Inc. Common Stock
BRK.A XNYS CS 712000 300 110 0.009 1980-03-17 Berkshire Hathaway Inc.
BRK.B XNYS CS 474 20000 570000 0.009 1996-05-09 Berkshire Hathaway Inc. Class B
JPM XNYS CS 247 25000 1350000 0.012 1969-03-05 JPMorgan Chase & Co.
KO XNYS CS 63 20000 2100000 0.007 1919-09-05 Coca-Cola Company
XOM XNYS CS 120 26000 2200000 0.012 1978-01-13 Exxon Mobil Corporation
DIS XNYS CS 115 18000 1400000 0.013 1957-11-12 Walt Disney Company
T XNYS CS 22.5 18000 5000000 0.01 1983-11-21 AT&T Inc.
F XNYS CS 11.2 16000 8000000 0.016 1972-06-01 Ford Motor Company
TSM XNYS ADRC 186 30000 2000000 0.02 1997-10-08 Taiwan Semiconductor Manufacturing Company Ltd.
SPY ARCX ETF 597 90000 7800000 0.009 1993-01-29 SPDR S&P 500 ETF Trust
QQQ XNAS ETF 505 80000 5400000 0.012 1999-03-10 Invesco QQQ Trust, Series 1
IWM ARCX ETF 240 50000 4300000 0.013 2000-05-26 iShares Russell 2000 ETF
GLD ARCX ETF 246 12000 1200000 0.009 2004-11-18 SPDR Gold Shares
AAAU BATS ETF 26.2 700 90000 0.009 2018-07-26 Goldman Sachs Physical Gold ETF Shares
BCAT XNYS FUND 15.9 200 55000 0.007 2020-09-25 BlackRock Capital Allocation Term Trust
KIMpL XNYS PFD 21.4 11 700 0.004 2017-08-08 Kimco Realty Corporation 5.125% Class L Preferred
BACpL XNYS PFD 1230 14 300 0.004 2008-01-25 Bank of America Corporation 7.25% Series L Preferred
UZD XNYS SP 22.8 4 350 0.004 2020-08-04 United States Cellular Corporation 6.250% Notes due 2069
HWCPZ XNAS SP 25.1 0.4 90 0.003 2021-09-24 Hancock Whitney Corporation 6.25% Notes due 2060
"""

# A line an index: ticker, value, name. The free plan has the first five.
_INDICES = """
I:NDX 20750 Nasdaq-100
I:COMP 19050 Nasdaq Composite Index
I:NYA 19800 NYSE Composite Index
I:MID 3300 S&P MidCap 400
I:SML 1470 S&P SmallCap 600
I:SPX 5950 S&P 500
I:DJI 44200 Dow Jones Industrial Average
I:RUT 2400 Russell 2000
I:VIX 15.8 Cboe Volatility Index
I:OEX 2890 S&P 100
I:XSP 595 Mini-SPX Index
I:SOX 4950 PHLX Semiconductor Index
I:VXN 19.6 Cboe Nasdaq-100 Volatility Index
"""
FREE_INDICES = frozenset(line.split()[0] for line in _INDICES.strip().splitlines()[:5])

_AAPL_SPLITS = (
    Split(date(1987, 6, 16), 1, 2),
    Split(date(2000, 6, 21), 1, 2),
    Split(date(2005, 2, 28), 1, 2),
    Split(date(2014, 6, 9), 1, 7),
    Split(date(2020, 8, 31), 1, 4),
)


@dataclass(frozen=True)
class Extra:
    """A stock to add to those of a simulated exchange, or to put in the place of one of them."""

    ticker: str
    price: float = 50.0
    trades: float = 4_000
    """Trades of an hour of the regular session."""
    shares: float = 400_000
    """Shares that are traded in such an hour."""
    move: float = 0.015
    exchange: str = "XNYS"
    type: str = "CS"
    name: str = ""
    listed: date = date(2005, 1, 3)
    traded: tuple[tuple[date, date | None], ...] = ((date(2005, 1, 3), None),)
    splits: tuple[Split, ...] = ()
    changes: tuple[tuple[date, str], ...] = ()
    """Since when the company has had which ticker, ascending."""
    is_otc: bool = False


def _first_monday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=-first.weekday() % 7)


def _to_and_fro(split_to: int, split_from: int, forward: int, back: int) -> tuple[Split, ...]:
    """Return splits that cancel each other, twice a year: forward in one month, back in a later one."""
    return tuple(
        split
        for year in _YEARS
        for split in (
            Split(_first_monday(year, forward), split_from, split_to),
            Split(_first_monday(year, back), split_to, split_from),
        )
    )


SPECIAL = (
    # Splits twice a year, so that every window of two years has them.
    Extra("FLIP", 40, name="Flip Industries Inc.", splits=_to_and_fro(4, 1, 3, 9)),
    Extra("RVSE", 8, 300, 30_000, name="Reverse Holdings Ltd.", splits=_to_and_fro(25, 1, 5, 11)),
    Extra("THREE", 75, name="Three for Two Corp", splits=_to_and_fro(3, 2, 4, 10), exchange="XNAS"),
    Extra(
        "DIVS",
        30,
        name="Stock Dividend Trust",
        splits=tuple(Split(_first_monday(year, 2), 100, 105, kind="stock_dividend") for year in _YEARS),
    ),
    # Renamed, delisted, newly listed; and a ticker that belonged to a fund before.
    Extra(
        "OLDX",
        18,
        name="Xenia Robotics Inc.",
        traded=((date(2005, 1, 3), date(2025, 4, 14)),),
        changes=((date(2005, 1, 3), "OLDX"), (date(2025, 4, 14), "NEWX")),
    ),
    Extra(
        "NEWX",
        18,
        name="Xenia Robotics Inc.",
        traded=((date(2025, 4, 14), None),),
        changes=((date(2005, 1, 3), "OLDX"), (date(2025, 4, 14), "NEWX")),
    ),
    Extra("GONE", 3.1, name="Gone Retail Corp.", traded=((date(2005, 1, 3), date(2025, 5, 30)),), trades=150),
    Extra(
        "YOUNG", 27, name="Young Listing Inc.", listed=date(2025, 3, 6), traded=((date(2025, 3, 6), None),),
        exchange="XNAS",
    ),
    Extra(
        "FB",
        590,
        name="Meta Platforms, Inc. Class A Common Stock",
        exchange="XNAS",
        listed=date(2012, 5, 18),
        traded=((date(2012, 5, 18), date(2022, 6, 9)),),
        changes=((date(2012, 5, 18), "FB"), (date(2022, 6, 9), "META")),
    ),
    Extra(
        "META",
        590,
        name="Meta Platforms, Inc. Class A Common Stock",
        exchange="XNAS",
        listed=date(2012, 5, 18),
        traded=((date(2021, 6, 30), date(2022, 2, 1)), (date(2022, 6, 9), None)),
        changes=((date(2012, 5, 18), "FB"), (date(2022, 6, 9), "META")),
    ),
    Extra("TCEHY", 52, name="Tencent Holdings Ltd.", type="ADRC", exchange="", is_otc=True),
)  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """What a simulated provider knows of stocks.

    `stocks` is how many there are at least; made-up ones fill up the common ones. `closures` are the days on
    which the exchange stays closed without a plan, and `extras` stocks with a life of their own.
    """

    stocks: int = 0
    closures: tuple[Closure, ...] = CLOSURES
    extras: tuple[Extra, ...] = ()


USUAL_EXCHANGE = Exchange()


@lru_cache(maxsize=16)
def calendar_of(closures: tuple[Closure, ...]) -> Calendar:
    """Return the one calendar of an exchange with these closures."""
    return Calendar(closures)


@lru_cache(maxsize=16)
def instruments_of(exchange: Exchange) -> tuple[Instrument, ...]:
    """Return the stocks and indices.

    All servers of a process with the same exchange share the objects, and so what is kept of their prices.
    """
    calendar = calendar_of(exchange.closures)
    by_ticker = {one.ticker: one for one in _known(calendar)}
    by_ticker |= {one.ticker: _extra(calendar, one) for one in (*SPECIAL, *exchange.extras)}
    index = 0
    while len(by_ticker) < exchange.stocks:
        made_up = _made_up(calendar, index)
        by_ticker.setdefault(made_up.ticker, made_up)
        index += 1
    return (*by_ticker.values(), *_indices(calendar))


def _stock(
    ticker: str, listing: Listing, price: float, trades: float, shares: float, move: float
) -> Instrument:
    return Instrument(
        ticker=ticker,
        base="",
        quote="USD",
        market=Market.STOCK,
        level=price,
        digits=STOCK_DIGITS,
        daily_move=move,
        activity=trades,
        hourly_volume=shares,
        spread_ticks=max(2, round(price * 10**STOCK_DIGITS * 0.0001)),
        listing=listing,
    )


def _known(calendar: Calendar) -> Iterable[Instrument]:
    for line in _STOCKS.strip().splitlines():
        ticker, exchange, kind, price, trades, shares, move, listed, name = line.split(maxsplit=8)
        day = date.fromisoformat(listed)
        listing = Listing(
            calendar,
            name,
            exchange,
            kind,
            listed=day,
            traded=((day, None),),
            splits=_AAPL_SPLITS if ticker == "AAPL" else (),
            figi=_figi(ticker),
            changes=((day, ticker),),
        )
        yield _stock(ticker, listing, float(price), float(trades), float(shares), float(move))


def _extra(calendar: Calendar, extra: Extra) -> Instrument:
    changes = extra.changes or ((extra.traded[0][0], extra.ticker),)
    listing = Listing(
        calendar,
        extra.name or f"{extra.ticker} Inc.",
        extra.exchange,
        extra.type,
        listed=extra.listed,
        traded=extra.traded,
        splits=extra.splits,
        figi=_figi(changes[0][1]),
        changes=changes,
        is_otc=extra.is_otc,
    )
    return _stock(extra.ticker, listing, extra.price, extra.trades, extra.shares, extra.move)


def _indices(calendar: Calendar) -> Iterable[Instrument]:
    for line in _INDICES.strip().splitlines():
        ticker, value, name = line.split(maxsplit=2)
        level = float(value)
        yield Instrument(
            ticker=ticker,
            base="",
            quote="USD",
            market=Market.INDEX,
            level=level,
            digits=INDEX_DIGITS,
            daily_move=0.04 if level < 25 else 0.009,
            activity=3_600,
            hourly_volume=0.0,
            spread_ticks=1,
            listing=Listing(calendar, name, type="INDEX"),
        )


_MADE_UP_EXCHANGES = ("XNYS", "XNAS", "XNAS", "ARCX", "BATS", "XASE")
_MADE_UP_TYPES = ("CS", "CS", "CS", "CS", "ETF", "ETF", "ADRC", "PFD")
_MADE_UP_SPLITS = ((1, 2), (1, 3), (2, 3), (10, 1), (20, 1), (15, 1))


def _made_up(calendar: Calendar, index: int) -> Instrument:
    """Return the `index`-th made-up stock, such as `ZAAA`.

    One in four has a split, once between 2010 and 2030.
    """
    ticker = f"Z{letters(index, 3)}"
    noise = blake2b(ticker.encode(), digest_size=8).digest()
    price = round(2.0 * 10 ** (noise[0] / 110) * (1 + noise[1] / 256), 2)
    trades = 10 ** (noise[2] / 64)  # from one an hour to ten thousand
    kind = _MADE_UP_TYPES[noise[3] % len(_MADE_UP_TYPES)]
    splits: tuple[Split, ...] = ()
    if noise[4] < 64:
        day = date(2010, 1, 4) + timedelta(days=int.from_bytes(noise[5:7], "big") % 7_300)
        day += timedelta(days=(7 - day.weekday()) % 7 if day.weekday() > 4 else 0)
        split_from, split_to = _MADE_UP_SPLITS[noise[7] % len(_MADE_UP_SPLITS)]
        splits = (Split(day, split_from, split_to),)
    listing = Listing(
        calendar,
        f"{ticker} {'Fund' if kind == 'ETF' else 'Corp'}",
        "ARCX" if kind == "ETF" else _MADE_UP_EXCHANGES[noise[5] % len(_MADE_UP_EXCHANGES)],
        kind,
        splits=splits,
        figi=_figi(ticker),
        changes=((date(2005, 1, 3), ticker),),
    )
    return _stock(ticker, listing, price, trades, trades * 80, 0.005 + noise[6] / 10_000)


def _figi(first_ticker: str) -> str:
    """Return what stands for a company, whatever its ticker is later."""
    return f"BBG00{blake2b(first_ticker.encode(), digest_size=4).hexdigest()[:7].upper()}"
