"""How far the answer to a longer page of bars is believed, and what it shows of longer pages.

Pure. A page of `PAGE_DAYS` comes whole, or says where the rest is. Beyond that a longer page may be cut or
have gaps: it counts as far as bars came without one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.calls import BarsCall
from assetbatch.domain.coverage import EMPTY_MS, GAP_MS, Interval
from assetbatch.domain.market_hours import day_of, days_span, open_ms_between
from assetbatch.domain.models import BAR_MS, floor_to_bar
from assetbatch.domain.pages import (
    BY_OPEN_TIME,
    DOUBTS_OF_A_PAGE,
    MEASURED_MS,
    MONTHS_MS,
    PROOF_MARGIN_MS,
    Doubt,
    PageKind,
    PageLesson,
    pages_of_thin,
    sure_until,
)

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer


class Judged(NamedTuple):
    """Up to where an answer counts. `is_cut`: what lies beyond is asked for by calls of its own.

    From `known_to_ms` on, where it is given, the answer left out so much that it is doubted.
    """

    to_ms: int
    is_cut: bool = False
    lessons: tuple[PageLesson, ...] = ()
    known_to_ms: int | None = None

    @property
    def known_to(self) -> int:
        """The moment up to which the answer is believed."""
        return self.to_ms if self.known_to_ms is None else self.known_to_ms


def judge(
    call: BarsCall, answer: BarsAnswer, from_ms: int, to_ms: int, doubts: Sequence[Doubt], *, is_first: bool
) -> Judged:
    """Judge the answer for `[from_ms, to_ms)`, the first of its call or a further one. `doubts` are those of
    the market."""
    settled = tuple(_settled(call, answer, from_ms, to_ms, doubts))
    if answer.unplaced:
        judged = Judged(to_ms)
    elif call.kind is PageKind.SURE:
        judged = Judged(to_ms, lessons=tuple(_of_density(call, answer, to_ms, is_first=is_first)))
    else:
        judged = _of_longer(call, answer, from_ms, to_ms, is_first=is_first)
    return judged._replace(lessons=(*settled, *judged.lessons))


def _settled(
    call: BarsCall, answer: BarsAnswer, from_ms: int, to_ms: int, doubts: Sequence[Doubt]
) -> Iterator[PageLesson]:
    """Yield what a page that comes whole says of doubts: a longer one was cut, or nothing exists."""
    asset = call.work[0].asset
    sure_ms = min(to_ms, call.sure_ms or sure_until(call.start_ms))
    for doubt in doubts:
        start_ms, end_ms = max(doubt.start_ms, from_ms), min(doubt.end_ms, sure_ms)
        if doubt.symbol != asset.symbol or start_ms >= end_ms:
            continue
        at = bisect_left(answer.bars, start_ms, key=lambda bar: bar.t_ms)
        if at < len(answer.bars) and answer.bars[at].t_ms < end_ms:
            yield PageLesson(of=asset.market, whole=False)
        elif (start_ms, end_ms) == (doubt.start_ms, doubt.end_ms):
            yield PageLesson(of=asset.market, settled=(doubt,))


def _of_density(call: BarsCall, answer: BarsAnswer, to_ms: int, *, is_first: bool) -> Iterator[PageLesson]:
    """Yield how many pages of its symbol fit one call, if the answer is long enough to tell."""
    if is_first and answer.bars and answer.next_url is None and to_ms - call.start_ms >= MEASURED_MS:
        pages = pages_of_thin(len(answer.bars) * answer.size_ms, to_ms - call.start_ms)
        yield PageLesson(of=call.work[0].asset.polygon_ticker, pages=pages)


def _of_longer(call: BarsCall, answer: BarsAnswer, from_ms: int, to_ms: int, *, is_first: bool) -> Judged:
    asset = call.work[0].asset
    sure_ms = call.sure_ms or sure_until(call.start_ms)
    cut = PageLesson(of=asset.polygon_ticker if call.kind is PageKind.THIN else asset.market, whole=False)
    if answer.next_url is not None:
        if open_ms_between(asset.market, to_ms, sure_ms) <= GAP_MS:
            # The last bar may have come in part.
            return Judged(max(sure_ms, to_ms - BAR_MS), is_cut=True, lessons=(cut,))
        if is_first and _ends_with_a_month(call, to_ms):  # any page is cut so: the rest is on the next one
            return Judged(to_ms, lessons=(cut,))
        return Judged(sure_ms, is_cut=True, lessons=(cut,), known_to_ms=max(from_ms, to_ms - BAR_MS))
    if not is_first:  # the provider has said where the rest is
        return Judged(to_ms)
    gaps = _gaps(asset.market, answer, max(from_ms, sure_ms), to_ms, call.kind)
    if call.kind is PageKind.THIN:
        if not gaps:
            return Judged(to_ms, lessons=tuple(_of_density(call, answer, to_ms, is_first=True)))
        return Judged(max(sure_ms, gaps[-1][0] - BAR_MS), is_cut=True, lessons=(cut,))
    if gaps:
        longest = sorted(gaps, key=lambda gap: gap[0] - gap[1])[:DOUBTS_OF_A_PAGE]
        doubted = PageLesson(of=asset.market, doubts=tuple(Doubt(asset.symbol, *gap) for gap in longest))
        if call.kind is PageKind.PROVEN:
            return Judged(to_ms, lessons=(doubted,))
        return Judged(max(sure_ms, gaps[0][0] - BAR_MS), is_cut=True, lessons=(doubted,))
    first_day = day_of(call.start_ms)
    _, reach_ms = days_span(first_day, BY_OPEN_TIME.last_day(asset.market, first_day))
    is_proof = to_ms >= reach_ms - PROOF_MARGIN_MS
    return Judged(to_ms, lessons=(PageLesson(of=asset.market, whole=True),) if is_proof else ())


def _ends_with_a_month(call: BarsCall, to_ms: int) -> bool:
    market, ends_ms = call.work[0].asset.market, [call.start_ms + month_ms for month_ms in MONTHS_MS]
    return any(to_ms <= end_ms and open_ms_between(market, to_ms, end_ms) <= GAP_MS for end_ms in ends_ms)


def _gaps(market: Market, answer: BarsAnswer, from_ms: int, to_ms: int, kind: PageKind) -> list[Interval]:
    """Return the gaps of an answer in `[from_ms, to_ms)` that a cut page could have left, ascending.

    At the end that is any, as long as no longer page came whole. A thin symbol has gaps of its own: only a
    day at the end counts.
    """
    starts_ms: Sequence[int] = [bar.t_ms for bar in answer.bars]
    if answer.faulty_ms or answer.misplaced_ms:
        starts_ms = sorted({*starts_ms, *answer.faulty_ms, *answer.misplaced_ms})
    if answer.size_ms < BAR_MS:
        starts_ms = list(dict.fromkeys(map(floor_to_bar, starts_ms)))
    at = bisect_left(starts_ms, from_ms)
    at_ms = max(from_ms, starts_ms[at - 1] + BAR_MS) if at else from_ms
    gaps: list[Interval] = []
    for t_ms in starts_ms[at:]:
        is_gap = kind is not PageKind.THIN and t_ms - at_ms > GAP_MS
        if is_gap and open_ms_between(market, at_ms, t_ms) > GAP_MS:
            gaps.append((at_ms, t_ms))
        at_ms = t_ms + BAR_MS
    missing_ms = open_ms_between(market, at_ms, to_ms)
    least_ms = {PageKind.THIN: EMPTY_MS, PageKind.PROVEN: GAP_MS + 1}.get(kind, 1)
    if missing_ms >= least_ms:
        gaps.append((at_ms, to_ms))
    return gaps
