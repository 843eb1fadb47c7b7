"""The coverage of a symbol's bars: which intervals were asked for, and what is missing and why.

It does not depend on the number of stored bars: a symbol that is kept up to date has one row. All intervals
are half-open, in Unix milliseconds, at multiples of five minutes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum

import msgspec

from assetbatch.domain.asset_classes import THIN_MARKETS, Market
from assetbatch.domain.market_hours import (
    day_of,
    is_open,
    last_open,
    next_open,
    open_intervals,
    open_ms_between,
    sessions,
    special_day,
    start_of_day,
)
from assetbatch.domain.models import (
    BAR_MS,
    END_OF_TIME_MS,
    CoveredInterval,
    IntervalState,
    Look,
    floor_to_bar,
)
from assetbatch.domain.pages import SURE, Reach
from assetbatch.domain.units import DAY_MS, HOUR_MS

Interval = tuple[int, int]
ALWAYS: Interval = (0, END_OF_TIME_MS)
"""`[start_ms, end_ms)`."""

GAP_MS = HOUR_MS
"""Maximum gap of open hours between bars that is believed at once. A longer one is believed when the provider
answers so twice."""

EMPTY_MS = DAY_MS
"""The same for a gap at either end of an answer, where the data may simply begin or end."""


ANSWERED = frozenset({IntervalState.ASKED, IntervalState.AGAIN})
"""The states of what was answered: a bar that is not stored does not exist, as far as anybody knows."""


# --- what is recorded ---

_STAYS = {
    IntervalState.ASKED: frozenset({IntervalState.ASKED}),
    IntervalState.FAILED: frozenset({IntervalState.ASKED, IntervalState.NOT_WANTED}),
    IntervalState.NOT_IN_PLAN: frozenset({IntervalState.ASKED}),
    IntervalState.REJECTED: frozenset({IntervalState.ASKED, IntervalState.NOT_WANTED}),
    IntervalState.REQUESTED: frozenset(
        {IntervalState.ASKED, IntervalState.FAILED, IntervalState.REJECTED, IntervalState.AGAIN}
    ),
    IntervalState.NOT_WANTED: frozenset({IntervalState.ASKED}),
    IntervalState.AGAIN: frozenset(IntervalState) - ANSWERED,
}
"""What each state does not replace."""

_REFUSED_OR_CANCELLED = frozenset({IntervalState.NOT_IN_PLAN, IntervalState.NOT_WANTED})


def record(coverage: Sequence[CoveredInterval], news: Sequence[CoveredInterval]) -> list[CoveredInterval]:
    """Return the coverage after `news` in their order: ascending, never overlapping, alike neighbours merged.

    ASKED replaces everything else, and nothing replaces it: it keeps the moment at which it was first asked.
    FAILED, NOT_IN_PLAN and REJECTED replace each other and REQUESTED. REQUESTED replaces NOT_IN_PLAN and
    NOT_WANTED only, since somebody asks for it again. NOT_WANTED replaces what is still to be asked for, and
    no failure of a call that was on its way replaces it. A merged interval has the earlier of the two
    moments: its oldest part was asked then.

    AGAIN replaces ASKED only and keeps its moment, and an answer makes it ASKED. A call for it that fails
    leaves it AGAIN, with the moment and the error: what came before is still stored. NOT_IN_PLAN and
    NOT_WANTED make it ASKED. What was never asked for, since others have stored it, stays apart.
    """
    intervals = list(coverage)
    for new in news:
        if new.start_ms < new.end_ms:
            _put(intervals, new)
    return _merged(intervals)


def _put(intervals: list[CoveredInterval], new: CoveredInterval) -> None:
    touched = _touched(intervals, new.start_ms, new.end_ms)
    where_none_is = new
    if new.state is IntervalState.AGAIN:  # nothing came before where nothing is known
        where_none_is = msgspec.structs.replace(new, state=IntervalState.REQUESTED)
    pieces: list[CoveredInterval] = []
    at_ms = new.start_ms
    for known in intervals[touched]:
        starts_ms, ends_ms = max(known.start_ms, new.start_ms), min(known.end_ms, new.end_ms)
        after = _after(known, new)
        if at_ms < starts_ms:
            pieces.append(_cut(where_none_is, at_ms, starts_ms))
        if after is known:
            pieces.append(known)
        else:
            if known.start_ms < starts_ms:
                pieces.append(_cut(known, known.start_ms, starts_ms))
            pieces.append(_cut(after, starts_ms, ends_ms))
            if ends_ms < known.end_ms:
                pieces.append(_cut(known, ends_ms, known.end_ms))
        at_ms = ends_ms
    if at_ms < new.end_ms:
        pieces.append(_cut(where_none_is, at_ms, new.end_ms))
    intervals[touched] = pieces


def _after(known: CoveredInterval, new: CoveredInterval) -> CoveredInterval:
    """Return what is known after `new` where `known` was before: `known` itself where that stays."""
    if known.state in _STAYS[new.state]:
        return known
    if new.state is IntervalState.AGAIN:
        return msgspec.structs.replace(new, asked_ms=known.asked_ms)
    if known.state is not IntervalState.AGAIN or new.state is IntervalState.ASKED:
        return new
    if new.state in _REFUSED_OR_CANCELLED:
        return msgspec.structs.replace(known, state=IntervalState.ASKED, error=None, fault=None)
    return msgspec.structs.replace(new, state=IntervalState.AGAIN)


def _cut(interval: CoveredInterval, start_ms: int, end_ms: int) -> CoveredInterval:
    return msgspec.structs.replace(interval, start_ms=start_ms, end_ms=end_ms)


def _touched(intervals: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> slice:
    """Return which of the intervals overlap `[start_ms, end_ms)`."""
    first = bisect_right(intervals, start_ms, key=lambda interval: interval.end_ms)
    return slice(first, bisect_left(intervals, end_ms, lo=first, key=lambda interval: interval.start_ms))


def _merged(intervals: Iterable[CoveredInterval]) -> list[CoveredInterval]:
    merged: list[CoveredInterval] = []
    for interval in intervals:
        last = merged[-1] if merged else None
        if last and last.end_ms == interval.start_ms and _alike(last, interval):
            asked_ms = _earlier(last.asked_ms, interval.asked_ms)
            merged[-1] = msgspec.structs.replace(last, end_ms=interval.end_ms, asked_ms=asked_ms)
        else:
            merged.append(interval)
    return merged


def _alike(one: CoveredInterval, other: CoveredInterval) -> bool:
    """Return whether two neighbours are one. Failures and refusals of different moments are not: each is
    asked again in its time."""
    timeless = one.state in (IntervalState.REQUESTED, IntervalState.NOT_WANTED)
    if one.state is IntervalState.ASKED:  # what others have stored was never asked for
        timeless = (one.asked_ms is None) == (other.asked_ms is None)
    same_moment = timeless or one.asked_ms == other.asked_ms
    return same_moment and (one.state, one.fault, one.error) == (other.state, other.fault, other.error)


def _earlier(one_ms: int | None, other_ms: int | None) -> int | None:
    return min((at_ms for at_ms in (one_ms, other_ms) if at_ms is not None), default=None)


# --- what is known ---


def unanswered(coverage: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> list[CoveredInterval]:
    """Return the parts of `[start_ms, end_ms)` that are still to be asked for, with what is known of each:
    those that are not ASKED.

    A part without a row is REQUESTED.
    """
    within = _within(coverage, start_ms, end_ms)
    return [interval for interval in within if interval.state is not IntervalState.ASKED]


def answered(coverage: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> list[CoveredInterval]:
    """Return the parts of `[start_ms, end_ms)` that were answered, also those that are wanted again."""
    return [interval for interval in _within(coverage, start_ms, end_ms) if interval.state in ANSWERED]


def _within(coverage: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> Iterator[CoveredInterval]:
    """Yield the coverage of `[start_ms, end_ms)`, cut at its borders; REQUESTED where there is no row."""
    if start_ms >= end_ms:
        return
    at_ms = start_ms
    for interval in coverage[_touched(coverage, start_ms, end_ms)]:
        if at_ms < interval.start_ms:
            yield CoveredInterval(at_ms, interval.start_ms, IntervalState.REQUESTED)
        yield _cut(interval, max(start_ms, interval.start_ms), min(end_ms, interval.end_ms))
        at_ms = interval.end_ms
    if at_ms < end_ms:
        yield CoveredInterval(at_ms, end_ms, IntervalState.REQUESTED)


def is_asked(coverage: Sequence[CoveredInterval], at_ms: int) -> bool:
    """Return whether a moment lies in an answered interval of an ascending coverage."""
    after = bisect_right(coverage, at_ms, key=lambda interval: interval.start_ms)
    interval = coverage[after - 1] if after else None
    return interval is not None and interval.state in ANSWERED and at_ms < interval.end_ms


def asked_to(coverage: Sequence[CoveredInterval], now_ms: int) -> int | None:
    """Return the end of the last answered interval, or now if it lies beyond; None without any before
    now."""
    asked = [one for one in coverage if one.state in ANSWERED and one.start_ms < now_ms]
    return max((min(one.end_ms, now_ms) for one in asked), default=None)


def completeness(market: Market, coverage: Sequence[CoveredInterval], visible_until_ms: int) -> float | None:
    """Return the share (0 to 1) of the market's open time that was answered; None without such time.

    It counts from the first interval to what can be seen, without what is NOT_IN_PLAN or NOT_WANTED.
    """
    border_ms = floor_to_bar(visible_until_ms)
    if not coverage:
        return None

    def open_ms(*states: IntervalState) -> int:
        return sum(
            open_ms_between(market, interval.start_ms, min(interval.end_ms, border_ms))
            for interval in coverage
            if interval.state in states
        )

    total = open_ms_between(market, coverage[0].start_ms, border_ms)
    total -= open_ms(IntervalState.NOT_IN_PLAN, IntervalState.NOT_WANTED)
    return open_ms(*ANSWERED) / total if total else None


# --- gaps and their reasons ---


class GapReason(StrEnum):
    """Why an interval of five minutes has no bar."""

    CLOSED = "closed"
    """The market does not trade then: nothing is missing."""
    NOTHING = "nothing"
    """Asked, and the provider has nothing."""
    HALTED_OR_THIN = "halted_or_thin"
    """Asked, and the provider has nothing of a market whose assets may go without a trade for hours."""
    NOT_IN_PLAN = "not_in_plan"
    """Older than the plan's history."""
    NOT_LISTED = "not_listed"
    """From before a stock was listed under its ticker, or after."""
    NOT_PUBLISHED = "not_published"
    """Later than what the key may see now."""
    FAILED = "failed"
    """Asked, but no usable answer came; asked again."""
    REJECTED = "rejected"
    """Answered, and the database refused the bars."""
    NOT_ASKED = "not_asked"
    """Not asked for yet."""
    NOT_WANTED = "not_wanted"
    """Taken back by `backfill --cancel`."""


_REASONS = {
    IntervalState.ASKED: GapReason.NOTHING,
    IntervalState.REQUESTED: GapReason.NOT_ASKED,
    IntervalState.FAILED: GapReason.FAILED,
    IntervalState.REJECTED: GapReason.REJECTED,
    IntervalState.NOT_IN_PLAN: GapReason.NOT_IN_PLAN,
    IntervalState.NOT_WANTED: GapReason.NOT_WANTED,
    IntervalState.AGAIN: GapReason.NOTHING,
}


class Gap(msgspec.Struct, frozen=True):
    """Missing bars with one reason: `bars` intervals of five minutes between `start_ms` and `end_ms`.

    The market may have been closed now and then in between. `asked_ms` and `error` are those of the coverage.
    `holiday` names the holiday or the early close for which a market is closed.
    """

    start_ms: int
    end_ms: int
    reason: GapReason
    bars: int
    asked_ms: int | None = None
    error: str | None = None
    holiday: str | None = None


def explained_gaps(
    market: Market,
    coverage: Sequence[CoveredInterval],
    without_bars: Sequence[Interval],
    visible_until_ms: int,
    *,
    include_closed: bool = False,
    listed: Interval = ALWAYS,
) -> list[Gap]:
    """Return the gaps within the intervals without stored bars (ascending), with their reasons. `listed` is
    the time in which a stock was listed.

    Every open interval of five minutes is in exactly one gap, and no closed one is counted. Gaps of one
    reason between which the market was only closed are one. An interval is published when it can be seen as a
    whole. With `include_closed` the closed times are gaps of no bars in their place between the others.
    """
    border_ms = floor_to_bar(visible_until_ms)
    found: list[Gap] = []
    for start_ms, end_ms in without_bars:
        at_ms = start_ms
        for opens_ms, closes_ms in open_intervals(market, start_ms, end_ms):
            if include_closed and at_ms < opens_ms:
                found.append(_closed(market, at_ms, opens_ms))
            for piece in _explained(market, coverage, opens_ms, closes_ms, border_ms, listed):
                if found and _continues(market, found[-1], piece):
                    found[-1] = _joined(found[-1], piece)
                else:
                    found.append(piece)
            at_ms = closes_ms
        if include_closed and at_ms < end_ms:
            found.append(_closed(market, at_ms, end_ms))
    return found


def _closed(market: Market, start_ms: int, end_ms: int) -> Gap:
    """Return the gap of no bars in which a market is closed, with the names of the holidays in it."""
    names: dict[str, None] = {}
    day, last = day_of(start_ms), day_of(end_ms - 1)
    while day <= last:
        special = special_day(market, day)
        if special and all(closes_ms <= start_ms for _, closes_ms in sessions(market, day)):
            names[special.name] = None
        day += timedelta(days=1)
    return Gap(start_ms, end_ms, GapReason.CLOSED, 0, holiday=", ".join(names) or None)


def _explained(
    market: Market,
    coverage: Sequence[CoveredInterval],
    start_ms: int,
    end_ms: int,
    border_ms: int,
    listed: Interval,
) -> Iterator[Gap]:
    from_ms, to_ms = (min(max(start_ms, at_ms), end_ms) for at_ms in listed)
    if start_ms < from_ms:
        yield _gap(start_ms, from_ms, GapReason.NOT_LISTED)
    yield from _explained_while_listed(market, coverage, from_ms, to_ms, border_ms)
    if to_ms < end_ms:
        yield _gap(to_ms, end_ms, GapReason.NOT_LISTED)


def _explained_while_listed(
    market: Market, coverage: Sequence[CoveredInterval], start_ms: int, end_ms: int, border_ms: int
) -> Iterator[Gap]:
    seen_to_ms = min(max(start_ms, border_ms), end_ms)
    for interval in _within(coverage, start_ms, seen_to_ms):
        reason = _REASONS[interval.state]
        if reason is GapReason.NOTHING and market in THIN_MARKETS:
            reason = GapReason.HALTED_OR_THIN
        yield _gap(interval.start_ms, interval.end_ms, reason, interval.asked_ms, interval.error)
    if seen_to_ms < end_ms:
        yield _gap(seen_to_ms, end_ms, GapReason.NOT_PUBLISHED)


def _gap(
    start_ms: int, end_ms: int, reason: GapReason, asked_ms: int | None = None, error: str | None = None
) -> Gap:
    return Gap(start_ms, end_ms, reason, (end_ms - start_ms) // BAR_MS, asked_ms, error)


def _continues(market: Market, last: Gap, piece: Gap) -> bool:
    alike = (last.reason, last.error) == (piece.reason, piece.error)
    return alike and not open_ms_between(market, last.end_ms, piece.start_ms)


def _joined(last: Gap, piece: Gap) -> Gap:
    return msgspec.structs.replace(
        last,
        end_ms=piece.end_ms,
        bars=last.bars + piece.bars,
        asked_ms=_earlier(last.asked_ms, piece.asked_ms),
    )


# --- what an answer is compared with ---

MAX_PARTS = 50
"""Maximum number of parts of an answer that are compared one by one. Of one with more nothing is."""


def looks(
    market: Market,
    news: Iterable[CoveredInterval],
    before: Sequence[CoveredInterval],
    at_ms: int,
    *,
    insisted: bool,
) -> list[Look]:
    """Return what an answer is compared with: what it says of bars that were answered before; if somebody
    `insisted`, only of those that were wanted again, as far as it is usable. An answer with too many holes
    is of no use."""
    found = []
    for new in news:
        usable = new.state is IntervalState.ASKED
        for part in answered(before, new.start_ms, new.end_ms):
            if insisted and not (usable and part.state is IntervalState.AGAIN):
                continue
            room = open_ms_between(market, part.start_ms, part.end_ms) // BAR_MS
            found.append(Look(part.start_ms, part.end_ms, at_ms, room, usable, insisted))
    if len(found) > MAX_PARTS and not insisted:
        first, last = min(one.start_ms for one in found), max(one.end_ms for one in found)
        return [Look(first, last, at_ms, usable=False)]
    return found


# --- pages of the past ---


def pages(market: Market, intervals: Sequence[Interval], reach: Reach = SURE) -> list[tuple[date, date]]:
    """Return the fewest pages that cover the open time of these intervals, the newest first.

    A page has the New York days from its first to its last, both inclusive, no more than `reach` allows. It
    begins and ends on a day that is needed.
    """
    return list(newest_pages(market, intervals, reach))


def newest_pages(
    market: Market, intervals: Sequence[Interval], reach: Reach = SURE
) -> Iterator[tuple[date, date]]:
    """Yield the same, each page when it is asked for, at a cost that does not depend on its days."""
    left = _united(intervals)
    while left:
        start_ms, end_ms = left[-1]
        last_ms = _last_open_before(market, end_ms)
        if last_ms < start_ms:
            left.pop()
            continue
        last = day_of(last_ms)
        from_ms = start_of_day(reach.first_day(market, last))
        within = bisect_right(left, from_ms, key=lambda interval: interval[1])
        opens_ms = (
            opens_ms
            for start_ms, end_ms in left[within:]
            if (opens_ms := next_open(market, max(start_ms, from_ms))) < end_ms
        )
        yield day_of(next(opens_ms)), last
        cut = [(left[within][0], from_ms)] if left[within][0] < from_ms else []
        left[within:] = cut


def _united(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the intervals ascending, without empty ones, and those that touch as one."""
    united: list[Interval] = []
    for start_ms, end_ms in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if united and start_ms <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end_ms))
        else:
            united.append((start_ms, end_ms))
    return united


def _last_open_before(market: Market, end_ms: int) -> int:
    """Return the last millisecond before `end_ms` at which the market is open."""
    at_ms = last_open(market, end_ms - 1)
    return at_ms if is_open(market, at_ms) else at_ms - 1
