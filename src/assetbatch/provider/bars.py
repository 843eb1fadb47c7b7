"""Bars of aggregate answers, checked before they may be stored.

The prices of a bar are possible prices, and its high and low enclose its open and close. A useless element
is counted by reason and never loses the others. An answer of sound bars in order, as nearly every answer is,
is decoded into bars at once; in any other answer each element is sifted by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import msgspec

from assetbatch.domain.models import (
    BAR_MS,
    HIGHEST_PRICE,
    LOWEST_PRICE,
    MAX_TRADES,
    MAX_VOLUME,
    Bar,
    DayBar,
    in_order,
)
from assetbatch.domain.numbers import finite
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.answers import BarsAnswer
from assetbatch.provider.decoding import (
    LIST,
    Body,
    Envelope,
    attempt,
    check,
    check_ticker,
    decode,
    moment_ms,
)
from assetbatch.provider.refusals import UNDECODABLE, Refusal
from assetbatch.secret import Secret


class RawBar(msgspec.Struct, gc=False):
    """A bar as it comes. Every field may be missing or null, and no number is checked."""

    t: int | float | None = None
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the provider's name
    c: float | None = None
    v: float | None = None
    vw: float | None = None
    n: int | float | None = None
    ticker: Any = msgspec.field(default=None, name="T")


class _LooseBar(msgspec.Struct):
    t: Any = None
    o: Any = None
    h: Any = None
    l: Any = None  # noqa: E741 - the provider's name
    c: Any = None
    v: Any = None
    vw: Any = None
    n: Any = None
    ticker: Any = msgspec.field(default=None, name="T")


class _SoundEnvelope(Envelope, kw_only=True):
    results: list[Bar] | None = None


class _BarsEnvelope(Envelope, kw_only=True):
    results: list[RawBar] | None = None


_SOUND_BARS = msgspec.json.Decoder(_SoundEnvelope)
_BARS = msgspec.json.Decoder(_BarsEnvelope)
_LOOSE_BAR = msgspec.json.Decoder(_LooseBar)


def decode_bars(
    body: Body,
    *,
    ticker: str,
    start_ms: int,
    end_ms: int,
    size_ms: int = BAR_MS,
    key: Secret | None = None,
) -> BarsAnswer:
    """Decode the bars of `/v2/aggs/ticker/{ticker}/range/5/minute/{start_ms}/{end_ms}`; `size_ms` is their
    length.

    Both ends of the range are inclusive, as the provider's are. Raise Refusal if the answer as a whole is
    useless or another ticker's. It is useless if all its bars are: else a broken answer would pass for a
    market without trades.
    """
    refused: Counter[str] = Counter()
    if (sound := _sound_bars(body, start_ms, end_ms, size_ms)) is not None:
        check(sound, sound.results, body, key)
        check_ticker(sound, ticker)
        return BarsAnswer(
            ticker=ticker,
            start_ms=start_ms,
            end_ms=end_ms,
            bars=sound.results or [],
            refused=refused,
            next_url=_next_url(sound.next_url),
            size_ms=size_ms,
        )
    envelope, raws = raw_bars(body, refused, key)
    check_ticker(envelope, ticker)
    sifted = _Sifted(refused, size_ms)
    sifted.take(raws, ticker, start_ms, end_ms)
    if not sifted.bars and refused:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(refused.items()))
        raise Refusal(RefusalKind.NONSENSE, f"no bar of the answer is of use ({reasons})", http_status=200)
    misplaced = sifted.misplaced.union(sifted.off_grid)
    starts = {bar.t_ms for bar in sifted.bars} if sifted.faulty or misplaced else ()
    return BarsAnswer(
        ticker=ticker,
        start_ms=start_ms,
        end_ms=end_ms,
        bars=sifted.bars,
        refused=refused,
        faulty_ms=tuple(sorted(sifted.faulty.difference(starts))),
        misplaced_ms=tuple(sorted(misplaced.difference(starts, sifted.faulty))),
        unplaced=refused["undecodable"] + sifted.unplaced + sifted.between_elements(),
        unordered=sifted.unordered,
        next_url=_next_url(envelope.next_url),
        size_ms=size_ms,
    )


def _sound_bars(body: Body, start_ms: int, end_ms: int, size_ms: int) -> _SoundEnvelope | None:
    """Decode an answer of nothing but sound bars within the range, ascending.

    Return None if anything about it is to be looked at: then each element has to be sifted.
    """
    try:
        envelope = _SOUND_BARS.decode(body)
    except UNDECODABLE:
        return None
    before_ms = start_ms - 1
    for bar in envelope.results or ():
        t_ms, o, h, l, c = bar.t_ms, bar.open, bar.high, bar.low, bar.close  # noqa: E741
        if t_ms <= before_ms or t_ms % size_ms or l > o or l > c or h < o or h < c:
            return None
        before_ms = t_ms
    return envelope if before_ms <= end_ms else None


def raw_bars(body: Body, refused: Counter[str], key: Secret | None) -> tuple[Envelope, list[RawBar]]:
    """Decode all elements at once; only if one has a wrong type, each by itself (10 times slower).

    Count those that are no bars at all in `refused`. Raise Refusal if the answer is useless.
    """
    try:
        envelope = _BARS.decode(body)
    except UNDECODABLE:
        loose = decode(LIST, body, key)
        check(loose, loose.results, body, key)
        return loose, list(_loosened(loose.results or (), refused))
    check(envelope, envelope.results, body, key)
    return envelope, envelope.results or []


def fault(o: float | None, h: float | None, l: float | None, c: float | None) -> str:  # noqa: E741
    """Return why these four are no bar: `price` (one is missing, 0 or beyond any price) or `range`.

    Return "" for a bar.
    """
    if not (o and h and l and c) or o < 0 or h < 0 or l < 0 or c < 0:
        return "price"
    if not (l <= o <= h and l <= c <= h):
        return "range"
    return "" if l >= LOWEST_PRICE and h <= HIGHEST_PRICE else "price"


def day_bar(raw: RawBar, day: date) -> DayBar:
    """Return the bar of a day whose four prices are sound; of the rest what is not is absent."""
    o, h, l, c = raw.o, raw.h, raw.l, raw.c  # noqa: E741 - the provider's names
    assert o is not None, "a sound bar has its prices"
    assert h is not None, "a sound bar has its prices"
    assert l is not None, "a sound bar has its prices"
    assert c is not None, "a sound bar has its prices"
    v, vw, n = raw.v, raw.vw, raw.n
    return DayBar(
        day,
        o,
        h,
        l,
        c,
        v if v is not None and 0 <= v <= MAX_VOLUME else None,
        vw if vw is not None and LOWEST_PRICE <= vw <= HIGHEST_PRICE else None,
        int(n) if n is not None and 0 <= n <= MAX_TRADES and n == int(n) else None,
    )


def _loosened(elements: Iterable[msgspec.Raw], refused: Counter[str]) -> Iterator[RawBar]:
    for element in elements:
        bar = attempt(_LOOSE_BAR, element)
        if bar is None:
            refused["undecodable"] += 1
            continue
        yield RawBar(
            t=bar.t if finite(bar.t) is not None else None,
            o=finite(bar.o),
            h=finite(bar.h),
            l=finite(bar.l),
            c=finite(bar.c),
            v=finite(bar.v),
            vw=finite(bar.vw),
            n=bar.n if finite(bar.n) is not None else None,
            ticker=bar.ticker,
        )


class _Sifted:
    """The sorted elements of an answer: the sound bars in order, and the fate of the others."""

    def __init__(self, refused: Counter[str], size_ms: int) -> None:
        self.refused = refused
        self._size_ms = size_ms
        self.bars: list[Bar] = []
        self.faulty: set[int] = set()
        self.misplaced: set[int] = set()
        self.off_grid: list[int] = []
        self.unplaced = 0
        self.unordered = 0

    def take(self, raws: list[RawBar], ticker: str, start_ms: int, end_ms: int) -> None:
        """Sift the elements of an answer for `ticker` and a range."""
        bars, refused, size_ms = self.bars, self.refused, self._size_ms
        before_ms = -1
        ascending = True
        for raw in raws:
            t = raw.t
            if t is None or t % size_ms or not start_ms <= t <= end_ms:
                self._misplace(t, start_ms, end_ms)
                continue
            t_ms = int(t)
            if raw.ticker is not None and raw.ticker != ticker:
                refused["ticker"] += 1
                self.misplaced.add(t_ms)
                continue
            o, h, l, c = raw.o, raw.h, raw.l, raw.c  # noqa: E741 - the provider's names
            reason = fault(o, h, l, c)
            if reason or o is None or h is None or l is None or c is None:
                refused[reason] += 1
                self.faulty.add(t_ms)
                continue
            v, vw, n = raw.v, raw.vw, raw.n
            bars.append(
                Bar(
                    t_ms,
                    o,
                    h,
                    l,
                    c,
                    v if v is not None and 0 <= v <= MAX_VOLUME else None,
                    vw if vw is not None and LOWEST_PRICE <= vw <= HIGHEST_PRICE else None,
                    int(n) if n is not None and 0 <= n <= MAX_TRADES and n == int(n) else None,
                )
            )
            if t_ms <= before_ms:
                ascending = False
                self.unordered += t_ms < before_ms
            before_ms = t_ms
        if not ascending:
            self.bars = in_order(bars)
            if len(self.bars) < len(bars):
                refused["duplicate"] += len(bars) - len(self.bars)

    def between_elements(self) -> int:
        """Count the elements off the grid whose interval another element of the answer has.

        Nobody can tell which bar such an element was meant to be.
        """
        placed = {bar.t_ms for bar in self.bars} | self.faulty | self.misplaced if self.off_grid else set()
        return len(self.off_grid) - len(set(self.off_grid) - placed)

    def _misplace(self, t: float | None, start_ms: int, end_ms: int) -> None:
        """Note the interval of a bar for which an element off the grid or without a moment was meant.

        Its moment may be in another unit.
        """
        at_ms, size_ms = moment_ms(t), self._size_ms
        if at_ms is not None and start_ms - start_ms % size_ms <= at_ms <= end_ms:
            self.refused["time"] += 1
            if at_ms % size_ms:
                self.off_grid.append(at_ms - at_ms % size_ms)
            else:
                self.misplaced.add(at_ms)
            return
        self.refused["time" if at_ms is None or at_ms % size_ms else "outside"] += 1
        self.unplaced += 1


def _next_url(value: object) -> str | None:
    """Return the next page's address without a key.

    An address that is no text stays an unusable one: else the pages would end unnoticed.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        return "unusable"
    return re.sub(r"(?i)([?&])api_?key=[^&#]*&?", r"\1", value).rstrip("?&")
