"""A provider in plain Python, whose truth is known: what it would answer at a moment, as bytes.

A bar is made by its quotes. A plan may lag, so that some quotes of a bar appear only after its end;
`LAG_MS` after it they are all there, and the bar is final unless the provider corrects it later.

How to read this: time goes to the right, `q` is a quote, and each slot of `BAR_MS` is a bar.

    slot 0          slot 1          slot 2
    |q   q   q   q  |               |q   q          |   the series: what happens (slot 1 stays empty)
            ^ seen                      ^ asked         lag = asked - seen

`Provider.version(slot, seen)` is the bar of the quotes up to `seen`; its rank is how many these are, so a
higher rank is newer news. `Provider.answer` puts the versions of a range into bytes, spoils them by its
oddities, and tells beside the bytes what a reader may learn (`finished`) and all that it may store at most
(`heard`). Prices have the same in small: a price is the nth change of its symbol, and no two changes share
a number. The last part are the strategies by which hypothesis makes up series, oddities and faults.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from hypothesis import strategies as st

from assetbatch.domain.models import BAR_MS, SETTLED_AFTER_MS, Bar, Price

START_MS = 1_760_000_100_000
SLOTS = 3
"""How many bars there may be; the second is not always there."""

QUOTE_MS = BAR_MS // 4
LAG_MS = 15 * 60_000
LATE_MS = SETTLED_AFTER_MS - BAR_MS - LAG_MS
"""How much later than it was asked an answer may be saved: what is older then has been asked when final."""

NEVER_MS = 10**15

Element = dict[str, Any]
Quotes = Sequence[tuple[float, float]]
"""Price and size of what happens within a bar, each `QUOTE_MS` after the one before."""


class Version(NamedTuple):
    """A bar as the provider knew it at some moment; a later one has a higher rank."""

    rank: int
    bar: Bar


class Answer(NamedTuple):
    """The bytes of an answer, and what may be learned from them: the finished bars that are of use, by start.

    `heard` are all elements of the asked range as bars, useless values left out: whatever is stored must
    be one of them.
    """

    asked_ms: int
    start_ms: int
    end_ms: int
    body: bytes
    finished: Mapping[int, Version]
    heard: frozenset[Bar]


class Oddity(NamedTuple):
    """Something that is not as it should be in an answer, at one of its bars."""

    name: str
    slot: int
    detail: Any


class Provider:
    """The bars of one symbol, the first of which starts at `START_MS`; one without quotes does not exist."""

    def __init__(self, series: Sequence[Quotes]) -> None:
        self._series = series
        self._corrected: dict[int, Version] = {}

    def version(self, slot: int, seen_ms: int) -> Version | None:
        """The bar as it looks to somebody who sees the quotes up to a moment."""
        if slot in self._corrected:
            return self._corrected[slot]
        t_ms = start_of(slot)
        count = sum(t_ms + n * QUOTE_MS <= seen_ms for n in range(len(self._series[slot])))
        return Version(count, _bar(t_ms, self._series[slot][:count])) if count else None

    def final(self) -> dict[int, Bar]:
        """The truth about every bar, corrections included."""
        versions = [self.version(slot, NEVER_MS) for slot in range(SLOTS)]
        return {version.bar.t_ms: version.bar for version in versions if version}

    def correct(self, slot: int, quotes: Quotes) -> None:
        """From now on a bar is another, if there is one."""
        before = self.version(slot, NEVER_MS)
        if before:
            self._corrected[slot] = Version(max(before.rank, 100) + 1, _bar(before.bar.t_ms, quotes))

    def answer(self, asked_ms: int, slots: range, lag_ms: int = 0, oddities: Sequence[Oddity] = ()) -> Answer:
        """The answer to a range of bars, odd in the given ways."""
        versions = {
            slot: version for slot in slots if (version := self.version(slot, asked_ms - lag_ms)) is not None
        }
        elements = {slot: [element_of(version.bar)] for slot, version in versions.items()}
        finished = {slot: v for slot, v in versions.items() if v.bar.end_ms <= asked_ms}
        start_ms, end_ms = start_of(slots.start), start_of(slots.stop) - 1
        around: list[Element] = []
        seed = 0
        for oddity in sorted(oddities, key=lambda oddity: oddity.name):
            match oddity:
                case Oddity("unordered"):
                    seed = oddity.detail
                case Oddity("outside"):
                    lies = (Bar(start_ms - BAR_MS, 7.0, 7.0, 7.0, 7.0), Bar(end_ms + 1, 7.0, 7.0, 7.0, 7.0))
                    around += map(element_of, lies)
                case Oddity(slot=slot) if slot not in versions:
                    pass
                case Oddity("copied", slot):  # by something older that comes before it
                    count = 1 + oddity.detail % versions[slot].rank
                    older = _bar(start_of(slot), self._series[slot][:count])
                    elements[slot].insert(0, element_of(older))
                case Oddity("useless", slot):
                    for element in elements[slot]:
                        oddity.detail(element)
                    finished.pop(slot, None)
                case Oddity("not a number", slot):
                    for element in elements[slot]:
                        element[oddity.detail] = float("nan")
                    finished.pop(slot, None)
                case Oddity("untrue", slot):
                    elements[slot].append(element_of(_bar(start_of(slot), oddity.detail)))
                case Oddity("bare", slot):
                    elements[slot][-1].update(v=None, vw=None, n=None)
        inside = [(slot, element) for slot, some in elements.items() for element in some]
        heard = [bar for _, element in inside if (bar := _heard(element))]
        return Answer(
            asked_ms=asked_ms,
            start_ms=start_ms,
            end_ms=end_ms,
            body=_body(_shuffled(inside, seed) + around),
            finished={v.bar.t_ms: v for v in finished.values()},
            heard=frozenset(heard),
        )


def start_of(slot: int) -> int:
    return START_MS + slot * BAR_MS


def settled_ms(slot: int) -> int:
    """From this moment on the store takes what is said of a bar for the last word."""
    return start_of(slot) + SETTLED_AFTER_MS + 1


def element_of(bar: Bar) -> Element:
    return {
        "t": bar.t_ms,
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": bar.volume,
        "vw": bar.vwap,
        "n": bar.trades,
    }


def _heard(element: Element) -> Bar | None:
    prices: list[Any] = [element.get(name) for name in "ohlc"]
    if element["t"] not in map(start_of, range(SLOTS)):
        return None
    if not all(isinstance(price, float) and price > 0 for price in prices):
        return None
    o, h, l, c = prices  # noqa: E741 - the provider's names
    bar = Bar(element["t"], o, h, l, c, element["v"], element["vw"], element["n"])
    return bar if l <= min(o, c) <= max(o, c) <= h else None


def _body(elements: Sequence[Element]) -> bytes:
    return json.dumps({"status": "OK", "resultsCount": len(elements), "results": elements}).encode()


def _shuffled(elements: Sequence[tuple[int, Element]], seed: int) -> list[Element]:
    """In an order that `seed` decides (0: as they are), but several of one bar as they are."""
    slots = [slot for slot, _ in elements]
    if seed:
        random.Random(seed).shuffle(slots)
    waiting: dict[int, list[Element]] = {}
    for slot, element in elements:
        waiting.setdefault(slot, []).append(element)
    return [waiting[slot].pop(0) for slot in slots]


def _bar(t_ms: int, quotes: Quotes) -> Bar:
    prices = [price for price, _ in quotes]
    volume = sum(size for _, size in quotes)
    return Bar(
        t_ms,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        volume,
        sum(price * size for price, size in quotes) / volume,
        len(quotes),
    )


# --- prices ---

TICKERS = {"EURUSD": "C:EURUSD", "BTCUSD": "X:BTCUSD"}
"""One that has quotes and one that has trades."""

CHANGES = 4
FUTURE_MS = 2 * 86_400_000


class PricesAnswer(NamedTuple):
    """The bytes of an answer, and what may be learned from them.

    `shown` are the prices that are whole, by symbol. `heard` are all numbers of each element about a symbol,
    with the element's moment: whatever is stored must be from one of them.
    """

    asked_ms: int
    body: bytes
    shown: Mapping[str, Price]
    heard: Sequence[tuple[str, str, frozenset[float]]]


class PricesStep(NamedTuple):
    """An answer after the nth change: what is wrong about a symbol, and what older entries it has as well."""

    change: int
    faults: Mapping[str, str]
    copies: Sequence[tuple[str, int]]


def moment_of(change: int) -> int:
    return START_MS + change * QUOTE_MS


def price_of(symbol: str, change: int) -> Price:
    """The price after its nth change; no number of it is that of another change."""
    base = 4.0 + change
    has_quotes = symbol == "EURUSD"
    return Price(
        symbol=symbol,
        last_price=base,
        as_of_ms=moment_of(change),
        bid=base - 0.25 if has_quotes else None,
        ask=base + 0.25 if has_quotes else None,
        daily_open=base - 0.125,
        daily_high=base + 0.375,
        daily_low=base - 0.375,
        daily_close=base + 0.0625,
    )


def entry_of(price: Price) -> Element:
    """What a unified snapshot says of a price."""
    moment_ns = price.as_of_ms * 1_000_000
    session = {
        "open": price.daily_open,
        "high": price.daily_high,
        "low": price.daily_low,
        "close": price.daily_close,
    }
    entry = {"ticker": TICKERS[price.symbol], "last_updated": moment_ns, "session": session}
    if price.bid is None:
        return entry | {"last_trade": {"price": price.last_price, "sip_timestamp": moment_ns}}
    return entry | {"last_quote": {"bid": price.bid, "ask": price.ask, "last_updated": moment_ns}}


def prices_answer(step: PricesStep) -> PricesAnswer:
    """The answer to a snapshot of all symbols."""
    prices = [price_of(symbol, min(change, step.change)) for symbol, change in step.copies]
    entries = list(map(entry_of, prices))
    for symbol in TICKERS:
        price = price_of(symbol, step.change)
        entry = entry_of(price)
        fault = step.faults.get(symbol, "")
        if fault in WHOLE_FAULTS:
            WHOLE_FAULTS[fault](entry)
        else:
            if fault:
                PART_FAULTS[fault](entry)
            prices.append(price)
        entries.insert(len(entries) // 2, entry)
    return PricesAnswer(
        asked_ms=moment_of(step.change),
        body=_body(entries),
        shown={
            price.symbol: price
            for price in sorted(prices, key=lambda price: price.as_of_ms)
            if step.faults.get(price.symbol) != FROM_THE_FUTURE
        },
        heard=[_heard_price(price) for price in prices],
    )


def _heard_price(price: Price) -> tuple[str, str, frozenset[float]]:
    numbers = (price.last_price, price.bid, price.ask, price.daily_open, price.daily_high, price.daily_low)
    moment = datetime.fromtimestamp(price.as_of_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+00:00")
    return price.symbol, moment, frozenset(n for n in (*numbers, price.daily_close) if n is not None)


FROM_THE_FUTURE = "from the future"


def _without_quote(entry: Element) -> None:
    entry["last_quote"] = {"bid": 0, "ask": None}
    entry["last_trade"] = {"price": 0.0}


def _without_day(entry: Element) -> None:
    entry["session"] = dict.fromkeys(entry["session"], 0)


def _cleared(entry: Element) -> None:
    """As at midnight."""
    _without_quote(entry)
    _without_day(entry)


def _refused(entry: Element) -> None:
    entry.update(error="NOT_FOUND")


def _from_the_future(entry: Element) -> None:
    for place in (entry, entry.get("last_quote", {}), entry.get("last_trade", {})):
        for name in place.keys() & {"last_updated", "sip_timestamp"}:
            place[name] += FUTURE_MS * 1_000_000


def _not_a_number(entry: Element) -> None:
    entry["session"]["close"] = float("nan")


WHOLE_FAULTS: Mapping[str, Callable[[Element], None]] = {
    "cleared": _cleared,
    "refused": _refused,
    FROM_THE_FUTURE: _from_the_future,
}
"""With them an answer says nothing of a symbol."""

PART_FAULTS: Mapping[str, Callable[[Element], None]] = {
    "without a quote": _without_quote,
    "without a day": _without_day,
    "not a number": _not_a_number,
}
"""With them it says less."""


# --- what hypothesis makes up ---

QUOTES = st.lists(
    st.tuples(st.sampled_from([1.0, 1.5, 1.25, 2.0]), st.sampled_from([1.0, 0.5])), min_size=2, max_size=4
)
SERIES = st.tuples(QUOTES, st.just([]) | QUOTES, QUOTES)
SLOT = st.integers(0, SLOTS - 1)


def replaced(**values: object) -> Callable[[Element], None]:
    return lambda element: element.update(values)


USELESS = st.sampled_from(
    [
        replaced(c=None),
        replaced(o=0),
        replaced(l=0.0),
        replaced(h=-1.0),
        replaced(c="1.5"),
        replaced(h=0.5),  # below the low
        replaced(l=3.0),  # above the high
        lambda element: element.pop("o", None),
    ]
)
MISPLACED = st.sampled_from([replaced(t=None), replaced(t=START_MS + 1)])


def _oddities(name: str, details: st.SearchStrategy[Any]) -> st.SearchStrategy[Oddity]:
    return st.builds(Oddity, st.just(name), SLOT, details)


HARMLESS = st.one_of(
    _oddities("unordered", st.integers(1, 5)),
    _oddities("copied", st.integers(0, 3)),
    _oddities("outside", st.none()),
)
FAULTY = _oddities("useless", USELESS) | _oddities("useless", MISPLACED)
ODDITIES = st.one_of(
    HARMLESS,
    FAULTY,
    _oddities("not a number", st.sampled_from(["h", "c"])),
)
LIES = st.one_of(_oddities("untrue", QUOTES), _oddities("bare", st.none()))


def prices_steps(faults: Iterable[str]) -> st.SearchStrategy[PricesStep]:
    symbol, change = st.sampled_from(sorted(TICKERS)), st.integers(0, CHANGES)
    return st.builds(
        PricesStep,
        change,
        st.dictionaries(symbol, st.sampled_from(sorted(faults)), max_size=2),
        st.lists(st.tuples(symbol, change), max_size=2),
    )
