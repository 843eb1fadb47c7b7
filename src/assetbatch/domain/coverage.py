"""The ledger of a symbol's bars: which stretches were asked for, and what is missing and why.

Pure, and independent of the number of stored bars: a symbol that is kept up to date has one row. All
stretches are half-open, in Unix milliseconds, at multiples of five minutes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum

import msgspec

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import (
    day_of,
    is_open,
    last_open,
    next_open,
    open_ms_between,
    open_spans,
    start_of_day,
)
from assetbatch.domain.models import BAR_MS, CoveredInterval, IntervalState, floor_to_bar


class Reason(StrEnum):
    """Why a slot has no bar."""

    CLOSED = "closed"
    """The market does not trade then: nothing is missing."""
    NOTHING = "nothing"
    """Asked, and the provider has nothing."""
    NOT_IN_PLAN = "not_in_plan"
    """Older than the plan's history."""
    NOT_PUBLISHED = "not_published"
    """Later than what the key may see now."""
    FAILED = "failed"
    """Asked, but no usable answer came; asked again."""
    REJECTED = "rejected"
    """Answered, and the database refused the bars."""
    NOT_ASKED = "not_asked"
    """Not asked for yet."""


_REASONS = {
    IntervalState.ASKED: Reason.NOTHING,
    IntervalState.REQUESTED: Reason.NOT_ASKED,
    IntervalState.FAILED: Reason.FAILED,
    IntervalState.REJECTED: Reason.REJECTED,
    IntervalState.NOT_IN_PLAN: Reason.NOT_IN_PLAN,
}


class Hole(msgspec.Struct, frozen=True):
    """Missing bars with one reason: `bars` slots of five minutes between `start_ms` and `end_ms`, in which
    the market may have been closed now and then. `asked_ms` and `error` are those of the ledger."""

    start_ms: int
    end_ms: int
    reason: Reason
    bars: int
    asked_ms: int | None = None
    error: str | None = None


_STAYS = {
    IntervalState.ASKED: frozenset({IntervalState.ASKED}),
    IntervalState.FAILED: frozenset({IntervalState.ASKED}),
    IntervalState.NOT_IN_PLAN: frozenset({IntervalState.ASKED}),
    IntervalState.REJECTED: frozenset({IntervalState.ASKED}),
    IntervalState.REQUESTED: frozenset({IntervalState.ASKED, IntervalState.FAILED, IntervalState.REJECTED}),
}
"""What each state does not replace."""


def record(known: Sequence[CoveredInterval], news: Sequence[CoveredInterval]) -> list[CoveredInterval]:
    """The ledger after `news` in their order: ascending, never overlapping, alike neighbours merged.

    ASKED replaces everything else, and nothing replaces it: it keeps the moment at which it was first asked.
    FAILED, NOT_IN_PLAN and REJECTED replace each other and REQUESTED. REQUESTED replaces NOT_IN_PLAN only,
    since somebody asks for it again. A merged span has the earlier of the two moments: its oldest part was
    asked then.
    """
    spans = list(known)
    for new in news:
        if new.start_ms < new.end_ms:
            _put(spans, new)
    return _merged(spans)


def _put(spans: list[CoveredInterval], new: CoveredInterval) -> None:
    touched = _touched(spans, new.start_ms, new.end_ms)
    pieces: list[CoveredInterval] = []
    at_ms = new.start_ms
    for span in spans[touched]:
        if span.state in _STAYS[new.state]:
            if at_ms < span.start_ms:
                pieces.append(_cut(new, at_ms, span.start_ms))
            pieces.append(span)
            at_ms = span.end_ms
        elif span.start_ms < new.start_ms:
            pieces.append(_cut(span, span.start_ms, new.start_ms))
    if at_ms < new.end_ms:
        pieces.append(_cut(new, at_ms, new.end_ms))
        last = spans[touched][-1:]
        pieces += [_cut(span, new.end_ms, span.end_ms) for span in last if span.end_ms > new.end_ms]
    spans[touched] = pieces


def _cut(span: CoveredInterval, start_ms: int, end_ms: int) -> CoveredInterval:
    return msgspec.structs.replace(span, start_ms=start_ms, end_ms=end_ms)


def _touched(spans: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> slice:
    """Which of the spans share a slot with `[start_ms, end_ms)`."""
    first = bisect_right(spans, start_ms, key=lambda span: span.end_ms)
    return slice(first, bisect_left(spans, end_ms, lo=first, key=lambda span: span.start_ms))


def _merged(spans: Iterable[CoveredInterval]) -> list[CoveredInterval]:
    merged: list[CoveredInterval] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last and last.end_ms == span.start_ms and _alike(last, span):
            asked_ms = _earlier(last.asked_ms, span.asked_ms)
            merged[-1] = msgspec.structs.replace(last, end_ms=span.end_ms, asked_ms=asked_ms)
        else:
            merged.append(span)
    return merged


def _alike(one: CoveredInterval, other: CoveredInterval) -> bool:
    """Of failures and refusals the moment counts too: each is asked again in its time."""
    timeless = one.state in (IntervalState.ASKED, IntervalState.REQUESTED)
    same_moment = timeless or one.asked_ms == other.asked_ms
    return same_moment and (one.state, one.fault, one.error) == (other.state, other.fault, other.error)


def _earlier(one_ms: int | None, other_ms: int | None) -> int | None:
    return min((at_ms for at_ms in (one_ms, other_ms) if at_ms is not None), default=None)


def open_stretches(spans: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> list[CoveredInterval]:
    """The parts of `[start_ms, end_ms)` that are not ASKED, with what is known of each; a part without a row
    is REQUESTED."""
    return [span for span in _covering(spans, start_ms, end_ms) if span.state is not IntervalState.ASKED]


def _covering(spans: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> Iterator[CoveredInterval]:
    """The spans within `[start_ms, end_ms)`, cut at its borders; REQUESTED ones where there is no row."""
    if start_ms >= end_ms:
        return
    at_ms = start_ms
    for span in spans[_touched(spans, start_ms, end_ms)]:
        if at_ms < span.start_ms:
            yield CoveredInterval(at_ms, span.start_ms, IntervalState.REQUESTED)
        yield _cut(span, max(start_ms, span.start_ms), min(end_ms, span.end_ms))
        at_ms = span.end_ms
    if at_ms < end_ms:
        yield CoveredInterval(at_ms, end_ms, IntervalState.REQUESTED)


def asked_to(spans: Sequence[CoveredInterval], now_ms: int) -> int | None:
    """The end of the last ASKED span, or now if it lies beyond; None without any that begins before now."""
    asked = [span for span in spans if span.state is IntervalState.ASKED and span.start_ms < now_ms]
    return max((min(span.end_ms, now_ms) for span in asked), default=None)


def holes(
    market: Market,
    spans: Sequence[CoveredInterval],
    gaps: Sequence[tuple[int, int]],
    visible_until_ms: int,
    *,
    include_closed: bool = False,
) -> list[Hole]:
    """The holes within `gaps`, the stretches without stored bars (ascending), with their reasons.

    Every open slot of the gaps is in exactly one hole and no closed one is counted; holes of one reason
    between which the market was only closed are one. A slot is published when it ends at or before the
    horizon. With `include_closed` the closed times are holes of no bars in their place between the others.
    """
    border_ms = floor_to_bar(visible_until_ms)
    found: list[Hole] = []
    for start_ms, end_ms in gaps:
        at_ms = start_ms
        for opens_ms, closes_ms in open_spans(market, start_ms, end_ms):
            if include_closed and at_ms < opens_ms:
                found.append(_hole(at_ms, opens_ms, Reason.CLOSED))
            for piece in _explained(spans, opens_ms, closes_ms, border_ms):
                if found and _continues(market, found[-1], piece):
                    found[-1] = _joined(found[-1], piece)
                else:
                    found.append(piece)
            at_ms = closes_ms
        if include_closed and at_ms < end_ms:
            found.append(_hole(at_ms, end_ms, Reason.CLOSED))
    return found


def _explained(
    spans: Sequence[CoveredInterval], start_ms: int, end_ms: int, border_ms: int
) -> Iterator[Hole]:
    seen_to_ms = min(max(start_ms, border_ms), end_ms)
    for span in _covering(spans, start_ms, seen_to_ms):
        yield _hole(span.start_ms, span.end_ms, _REASONS[span.state], span.asked_ms, span.error)
    if seen_to_ms < end_ms:
        yield _hole(seen_to_ms, end_ms, Reason.NOT_PUBLISHED)


def _hole(
    start_ms: int, end_ms: int, reason: Reason, asked_ms: int | None = None, error: str | None = None
) -> Hole:
    bars = 0 if reason is Reason.CLOSED else (end_ms - start_ms) // BAR_MS
    return Hole(start_ms, end_ms, reason, bars, asked_ms, error)


def _continues(market: Market, last: Hole, piece: Hole) -> bool:
    alike = (last.reason, last.error) == (piece.reason, piece.error)
    return alike and not open_ms_between(market, last.end_ms, piece.start_ms)


def _joined(last: Hole, piece: Hole) -> Hole:
    return msgspec.structs.replace(
        last,
        end_ms=piece.end_ms,
        bars=last.bars + piece.bars,
        asked_ms=_earlier(last.asked_ms, piece.asked_ms),
    )


def completeness(market: Market, spans: Sequence[CoveredInterval], visible_until_ms: int) -> float | None:
    """The share (0 to 1) of the market's open time from the first span to the horizon that is ASKED, leaving
    out what is NOT_IN_PLAN; None where there is no such time."""
    border_ms = floor_to_bar(visible_until_ms)
    if not spans:
        return None

    def open_ms(state: IntervalState) -> int:
        return sum(
            open_ms_between(market, span.start_ms, min(span.end_ms, border_ms))
            for span in spans
            if span.state is state
        )

    total = open_ms_between(market, spans[0].start_ms, border_ms) - open_ms(IntervalState.NOT_IN_PLAN)
    return open_ms(IntervalState.ASKED) / total if total else None


def pages(
    market: Market, stretches: Sequence[tuple[int, int]], page_days: int = 34
) -> list[tuple[date, date]]:
    """The fewest pages of at most `page_days` New York days (first and last, both inclusive) that cover the
    open time of these stretches, the newest first. A page begins and ends on a day that is needed."""
    return list(newest_pages(market, stretches, page_days))


def newest_pages(
    market: Market, stretches: Sequence[tuple[int, int]], page_days: int
) -> Iterator[tuple[date, date]]:
    """The same, each page worked out when it is asked for, at a cost that does not depend on its days."""
    left = _united(stretches)
    while left:
        start_ms, end_ms = left[-1]
        last_ms = _last_open_before(market, end_ms)
        if last_ms < start_ms:
            left.pop()
            continue
        last = day_of(last_ms)
        from_ms = start_of_day(last - timedelta(days=page_days - 1))
        within = bisect_right(left, from_ms, key=lambda stretch: stretch[1])
        opens_ms = (
            opens_ms
            for start_ms, end_ms in left[within:]
            if (opens_ms := next_open(market, max(start_ms, from_ms))) < end_ms
        )
        yield day_of(next(opens_ms)), last
        cut = [(left[within][0], from_ms)] if left[within][0] < from_ms else []
        left[within:] = cut


def _united(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending, without those that are empty, and those that touch as one."""
    united: list[tuple[int, int]] = []
    for start_ms, end_ms in sorted(stretch for stretch in stretches if stretch[0] < stretch[1]):
        if united and start_ms <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end_ms))
        else:
            united.append((start_ms, end_ms))
    return united


def _last_open_before(market: Market, end_ms: int) -> int:
    """The last millisecond before `end_ms` at which the market is open."""
    at_ms = last_open(market, end_ms - 1)
    return at_ms if is_open(market, at_ms) else at_ms - 1
