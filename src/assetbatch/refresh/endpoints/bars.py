"""The bars: the bars of one asset, of five minutes or of one, page by page.

The coverage counts in five minutes, whatever the size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from assetbatch.domain.asset_classes import THIN_MARKETS, Market, longest_hours
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import BarsCall
from assetbatch.domain.coverage import EMPTY_MS, GAP_MS, Interval, is_asked, looks, record, unanswered
from assetbatch.domain.entitlements import HISTORY_YEARS, UNPUBLISHED_DAYS, Entitlements, Restriction
from assetbatch.domain.formatting import moment, plural
from assetbatch.domain.market_hours import (
    day_of,
    last_midnight,
    open_intervals,
    open_ms_between,
    start_of_day,
)
from assetbatch.domain.models import (
    BAR_MS,
    SETTLED_AFTER_MS,
    Bar,
    CoveredInterval,
    IntervalFault,
    IntervalState,
    Price,
    StoredAsset,
    floor_to_bar,
)
from assetbatch.domain.pages import MONTH_MS, PAGE_MS, SURE
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work, WorkKind, days_range
from assetbatch.refresh.endpoints.endpoint import Endpoint, ShownRestriction
from assetbatch.refresh.interpretation import CONSEQUENCES, Findings, Page, Result, nothing_came

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.provider.refusals import Refusal
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter
    from assetbatch.refresh.whole_pages import Judged

MAX_PAGES = 100
"""Maximum number of pages of one range, and so the share of the range that each has to bring. A range fits
one page of the size that the provider documents."""

MAX_SEARCHED_BARS = 64
"""Maximum number of bars that are searched for gaps one by one; more are halved before."""

FAULT_WORDS = {
    IntervalFault.UNUSABLE_BAR: "the provider's bar is of no use",
    IntervalFault.UNCONFIRMED: "the provider answered without any bar; asked once more",
}
"""What people read of a fault."""

MAX_LATE_MS = 2 * DAY_MS
"""Maximum time after which the provider has published whatever it has."""


_START = attrgetter("t_ms")


class BarsEndpoint(Endpoint[BarsCall]):
    """Bars of one asset, from which its price follows too."""

    shows_today = True

    def describe(self, call: BarsCall) -> str:
        """Return the call in words."""
        asset = call.work[0].asset
        size = f"{asset.bars.ms // MINUTE_MS}-minute bars of {asset.polygon_ticker}"
        return f"{size}, {moment(call.start_ms)} to {moment(call.end_ms + 1)}"

    def send(self, provider: ProviderClient, call: BarsCall, page: Page | None, seconds: float) -> BarsAnswer:
        """Make one request, for the first page or for `page`."""
        if page:
            return provider.next_page(page.answer, deadline_seconds=seconds)
        asset = call.work[0].asset
        ticker, size = asset.polygon_ticker, asset.bars
        return provider.bars(ticker, call.start_ms, call.end_ms, size=size, deadline_seconds=seconds)

    def observe(
        self, call: BarsCall, answer: BarsAnswer, now_ms: int, learner: Learner, reporter: Reporter
    ) -> None:
        """Tell how new the bars are and whether the last day is published. Report bars that cannot be
        true."""
        if answer.refused or answer.unordered:
            reporter.odd_bars(call.work[0].asset.symbol, answer.refused, answer.unordered)
        learner.saw_bars(call, answer, now_ms)
        learner.note_unpublished_day(call, answer, now_ms)

    def findings(
        self,
        call: BarsCall,
        work: Sequence[Work],
        page: Page | None,
        answer: BarsAnswer,
        stored: Mapping[str, StoredAsset],
        known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return the bars, the price that follows from them, and what the coverage learns."""
        return bars_findings(call, work, page, answer, stored, known, now_ms)

    def restriction(self, call: BarsCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return what the refused range shows: the running day, the last day, the history or all bars."""
        shown_ms = now_ms - call.work[0].asset.asset_class.published_after_ms
        match kind:
            case RefusalKind.TODAY_NOT_YET if call.end_ms >= last_midnight(shown_ms):
                return ShownRestriction(Restriction.TODAY)
            case RefusalKind.TODAY_NOT_YET if now_ms - call.end_ms < (UNPUBLISHED_DAYS + 1) * DAY_MS:
                day_after = day_of(call.end_ms) + timedelta(days=1)
                return ShownRestriction(Restriction.LAST_DAY, start_of_day(day_after))
            case RefusalKind.TIMEFRAME if now_ms - call.start_ms <= PAGE_MS + 7 * DAY_MS:
                return ShownRestriction(Restriction.INTRADAY)
            case RefusalKind.TIMEFRAME:  # a page within the history of the plan concerns only the ticker
                edge_ms = history_edge(call, now_ms)
                return ShownRestriction(Restriction.HISTORY, edge_ms) if edge_ms else None
            case RefusalKind.NOT_IN_PLAN:
                return ShownRestriction(Restriction.BARS)
            case _:
                return None

    def refused_intervals(
        self, call: BarsCall, page: Page | None, refusal: Refusal, now_ms: int
    ) -> Sequence[CoveredInterval]:
        """Return the range of the call, or what is left of it after some pages."""
        state = CONSEQUENCES[refusal.kind].interval
        return failed_range(call, page, state, refusal.message, now_ms) if state else ()


def history_edge(call: BarsCall, now_ms: int) -> int:
    """Return where the history of the plan is assumed to begin, after a range was refused as too old.

    That is two years ago if the range begins before that, or else a day later (the provider does not say how
    it counts). Return 0 if the range begins later.
    """
    today = day_of(now_ms)
    if (today.month, today.day) == (2, 29):
        today -= timedelta(days=1)
    day = today.replace(year=today.year - HISTORY_YEARS)
    for edge_ms in (start_of_day(day), start_of_day(day + timedelta(days=1))):
        if call.start_ms < edge_ms:
            return edge_ms
    return 0


def bars_findings(
    call: BarsCall,
    work: Sequence[Work],
    page: Page | None,
    answer: BarsAnswer,
    stored: Mapping[str, StoredAsset],
    known: Entitlements,
    now_ms: int,
) -> Findings:
    """Keep the finished bars, take the price from a forming one too, and say up to where the answer is
    complete.

    The work waits for a further page, unless that lies beyond the last bar that can be.
    """
    asset = call.work[0].asset
    before = stored[asset.symbol].coverage if asset.symbol in stored else ()
    from_ms = page.from_ms if page else floor_to_bar(call.start_ms)
    own, answer = answer, _with_begun(answer, page) if page else answer
    end_ms = _end_of(call, now_ms)
    answer, judged = _judged(call, page, answer, known, from_ms, now_ms)
    to_ms = judged.to_ms
    seen_to_ms = min(now_ms, call.end_ms + 1)
    kept = _within_hours(asset, _finished(answer, seen_to_ms)) if asset.bars else []
    coverage = _coverage(asset, answer, before, from_ms, judged, known, now_ms) if asset.bars else []
    bars = _within_hours(asset, [*page.bars, *own.bars] if page else answer.bars)
    verifies = any(item.kind is WorkKind.VERIFY for item in call.work)
    compared = looks(asset.market, coverage, before, now_ms, insisted=not verifies) if asset.bars else []
    results: list[Result] = []
    following = None
    if answer.next_url is not None:
        begun_ms = page.begun_ms if page else from_ms if verifies else _known_to(before, from_ms)
        number = page.number + 1 if page else 1
        following = Page(call, own, max(from_ms, to_ms), bars, number, begun_ms, now_ms)
        error = _why_pages_end(call, page, following)
        if error:
            coverage += failed_range(call, following, IntervalState.FAILED, error, now_ms)
            results = [Result(work=item, status=Status.FAILED, error=error) for item in work]
            following = None
    else:
        for item in work:
            if _waits(item, call, judged, end_ms):
                continue
            if item.kind is WorkKind.HISTORY:
                coverage += too_old(item, known, now_ms)
            results.append(_from_bars(item, call, bars, stored, seen_to_ms, answer.size_ms))
    return Findings(
        results=results,
        asked_ms=now_ms,
        bars={asset.symbol: kept} if kept else {},
        bars_refused=answer.refused.total(),
        coverage={asset.symbol: coverage} if coverage else {},
        looks={asset.symbol: compared} if compared else {},
        next_page=following,
        page_lessons=judged.lessons,
    )


def _with_begun(answer: BarsAnswer, page: Page) -> BarsAnswer:
    """Return the answer to a further page, with the elements of the page before that belong to the five
    minutes in which it ended: they are judged and stored as a whole. What could not be placed there may
    belong here."""
    before, starts = page.answer, {bar.t_ms for bar in answer.bars[: BAR_MS // answer.size_ms]}
    begun = before.bars[bisect_left(before.bars, page.from_ms, key=_START) :]
    if not (begun or before.faulty_ms or before.misplaced_ms or before.unplaced):
        return answer

    def late(moments_ms: Sequence[int]) -> Iterator[int]:
        return (t_ms for t_ms in moments_ms if t_ms >= page.from_ms and t_ms not in starts)

    return msgspec.structs.replace(
        answer,
        bars=sorted([*(bar for bar in begun if bar.t_ms not in starts), *answer.bars], key=_START),
        faulty_ms=tuple(sorted({*late(before.faulty_ms), *answer.faulty_ms})),
        misplaced_ms=tuple(sorted({*late(before.misplaced_ms), *answer.misplaced_ms})),
        unplaced=before.unplaced + answer.unplaced,
    )


def _within_hours(asset: Asset, bars: list[Bar]) -> list[Bar]:
    """Return the bars within the hours that an asset follows, where its class has longer ones."""
    if not bars or longest_hours(asset.market) is asset.market:
        return bars
    kept: list[Bar] = []
    for start_ms, end_ms in open_intervals(asset.market, bars[0].t_ms, bars[-1].t_ms + 1):
        kept += bars[bisect_left(bars, start_ms, key=_START) : bisect_left(bars, end_ms, key=_START)]
    return kept


def _finished(answer: BarsAnswer, seen_to_ms: int) -> list[Bar]:
    """Return the bars that had ended at a moment."""
    return answer.bars[: bisect_right(answer.bars, seen_to_ms - answer.size_ms, key=_START)]


def _judged(
    call: BarsCall, page: Page | None, answer: BarsAnswer, known: Entitlements, from_ms: int, now_ms: int
) -> tuple[BarsAnswer, Judged]:
    """Return the part of an answer that counts, and up to where it does."""
    from assetbatch.refresh.whole_pages import judge

    market = call.work[0].asset.market
    to_ms = answered_to(call, answer, now_ms, known.newest_ms(call.work[0].asset.asset_type))
    if answer.next_url is not None and not open_ms_between(market, to_ms, _end_of(call, now_ms)):
        answer = msgspec.structs.replace(answer, next_url=None)
    judged = judge(call, answer, from_ms, to_ms, known.doubts(market, now_ms), is_first=page is None)
    if judged.is_cut:
        bars = answer.bars[: bisect_left(answer.bars, judged.known_to, key=_START)]
        answer = msgspec.structs.replace(answer, next_url=None, bars=bars)
    return answer, judged


def _coverage(
    asset: Asset,
    answer: BarsAnswer,
    before: Sequence[CoveredInterval],
    from_ms: int,
    judged: Judged,
    known: Entitlements,
    now_ms: int,
) -> list[CoveredInterval]:
    """Return what an answer says, and what of it is doubted since a longer page was cut there."""
    known_to_ms, to_ms, market = judged.known_to, judged.to_ms, asset.market
    is_whole = known.reach(market, now_ms) != SURE
    coverage = coverage_of(market, answer, before, from_ms, known_to_ms, now_ms, is_whole=is_whole)
    if known_to_ms < to_ms:
        coverage.append(_failed(known_to_ms, to_ms, now_ms, IntervalFault.UNCONFIRMED))
    return coverage


def _waits(item: Work, call: BarsCall, judged: Judged, end_ms: int) -> bool:
    """Return whether work waits for a further call for bars that this one did not bring."""
    is_left = judged.is_cut and _is_left(item, judged.to_ms, end_ms)
    return is_left or item.id in call.unfinished or _is_doubted(item, judged)


def _is_left(item: Work, to_ms: int, end_ms: int) -> bool:
    """Return whether work waits for what lies beyond `to_ms`, where the answer was cut."""
    if item.kind is not WorkKind.HISTORY:
        return True
    start_ms, until_ms = days_range(item)
    return open_ms_between(item.asset.market, max(start_ms, to_ms), min(until_ms, end_ms)) > 0


def _is_doubted(item: Work, judged: Judged) -> bool:
    """Return whether a page of the past waits for a shorter one, which shows whether a longer one is cut."""
    if item.kind is not WorkKind.HISTORY:
        return False
    start_ms, end_ms = days_range(item)
    return any(
        doubt.start_ms < end_ms and start_ms < doubt.end_ms
        for lesson in judged.lessons
        for doubt in lesson.doubts
    )


def _known_to(coverage: Sequence[CoveredInterval], start_ms: int) -> int:
    """Return the end of the ASKED interval around a moment, or the moment itself."""
    asked = (one for one in coverage if one.state is IntervalState.ASKED)
    return next((one.end_ms for one in asked if one.start_ms <= start_ms < one.end_ms), start_ms)


def _why_pages_end(call: BarsCall, before: Page | None, page: Page) -> str | None:
    """Return why the next page of a range is not asked for, or None if it is."""
    if before is not None and page.from_ms <= before.from_ms:
        return f"the provider's pages lead nowhere: page {page.number} brought nothing"
    if page.number >= MAX_PAGES or _is_slow(call, page, page.number - 1):
        return _never_end(page)
    return None


def _is_slow(call: BarsCall, page: Page, shares: int) -> bool:
    """Return whether the pages of a range have brought less than `shares` of the `MAX_PAGES` shares of it."""
    whole_ms = _end_of(call, page.at_ms) - page.begun_ms
    return max(0, page.from_ms - page.begun_ms) * MAX_PAGES < whole_ms * shares


def _never_end(page: Page) -> str:
    count = plural(page.number, "page")
    return f"the provider's pages do not end: {count} brought bars up to {moment(page.from_ms)}"


def unended_findings(work: Sequence[Work], page: Page) -> Findings:
    """Return what it means that no call is left for the next page of a range.

    Its work waits for another cycle as long as the pages bring the range forward. Else it fails, or it would
    wait for ever.
    """
    call = page.call
    goes_on = work and work[0].asset.bars  # else nothing is stored, and the next cycle begins again
    if goes_on and not _is_slow(call, page, page.number):
        return Findings()
    error = _never_end(page)
    coverage = failed_range(call, page, IntervalState.FAILED, error, page.at_ms)
    return Findings(
        results=[Result(work=item, status=Status.FAILED, error=error) for item in work],
        coverage={call.work[0].asset.symbol: coverage} if coverage else {},
    )


def _from_bars(
    item: Work,
    call: BarsCall,
    bars: Sequence[Bar],
    stored: Mapping[str, StoredAsset],
    seen_to_ms: int,
    size_ms: int,
) -> Result:
    if not bars and item.kind is WorkKind.PRICE:
        span = f"from {moment(call.start_ms)} to {moment(call.end_ms + 1)}"
        return nothing_came(item, stored, f"the provider has no bars of {item.asset.polygon_ticker} {span}")
    price = None
    if item.kind is WorkKind.PRICE:
        price = price_from_bars(item.asset, bars, seen_to_ms, size_ms)
    count = len(bars) if item.asset.bars else 0
    return Result(work=item, status=Status.SUCCESS, price=price, bars=count)


def failed_range(
    call: BarsCall, page: Page | None, state: IntervalState, error: str, now_ms: int
) -> list[CoveredInterval]:
    """Return the interval of a call that brought nothing: its range, or what is left of it after some
    pages."""
    start_ms = page.from_ms if page else floor_to_bar(call.start_ms)
    end_ms = _end_of(call, now_ms)
    keeps_bars = call.work[0].asset.bars
    return (
        [CoveredInterval(start_ms, end_ms, state, now_ms, error)] if keeps_bars and start_ms < end_ms else []
    )


def too_old(item: Work, known: Entitlements, now_ms: int) -> list[CoveredInterval]:
    """Return the part of a page of the past that lies before the history of the plan."""
    start_ms, end_ms = days_range(item)
    edge_ms = min(end_ms, known.history_from_ms(item.asset.asset_type, now_ms))
    return (
        [CoveredInterval(start_ms, edge_ms, IntervalState.NOT_IN_PLAN, now_ms)] if start_ms < edge_ms else []
    )


def answered_to(call: BarsCall, answer: BarsAnswer, now_ms: int, newest_ms: int) -> int:
    """Return the moment up to which an answer is complete, from the start of its range.

    With more pages to come that is the end of its last element: five minutes within which a page of minutes
    ends belong to the next. Otherwise it is the end of the range, without the bars that the provider may
    publish late: those of the last minutes, and those after the newest data that it has shown of any asset of
    the class (`newest_ms`; of the last two days, if it has shown none).
    """
    end_ms = _end_of(call, now_ms)
    starts_ms = [*(bar.t_ms for bar in answer.bars[-1:]), *answer.faulty_ms[-1:], *answer.misplaced_ms[-1:]]
    if answer.next_url is not None:
        return min(floor_to_bar(max(starts_ms) + answer.size_ms), end_ms) if starts_ms else call.start_ms
    last_ms = min(floor_to_bar(max(starts_ms)) + BAR_MS, end_ms) if starts_ms else call.start_ms
    known_ms = newest_ms + HOUR_MS if newest_ms else now_ms - MAX_LATE_MS
    return max(last_ms, min(end_ms, floor_to_bar(min(known_ms, now_ms - SETTLED_AFTER_MS))))


def _end_of(call: BarsCall, now_ms: int) -> int:
    """Return the end of the last bar of a range that has ended."""
    return floor_to_bar(min(call.end_ms + 1, now_ms))


def price_from_bars(asset: Asset, bars: Sequence[Bar], seen_to_ms: int, size_ms: int = BAR_MS) -> Price:
    """Return the price that follows from ascending bars: the last close, as of the end of its bar or the
    moment of the request, whichever is earlier. The daily values are those of its New York day, if they
    follow from bars."""
    last = bars[-1]
    price = Price(symbol=asset.symbol, last_price=last.close, as_of_ms=min(last.t_ms + size_ms, seen_to_ms))
    if not asset.asset_class.has_days_of_bars:
        return price
    midnight = last_midnight(last.t_ms)
    day = [bar for bar in bars if bar.t_ms >= midnight]
    return msgspec.structs.replace(
        price,
        daily_open=day[0].open,
        daily_high=max(bar.high for bar in day),
        daily_low=min(bar.low for bar in day),
        daily_close=last.close,
    )


def coverage_of(
    market: Market,
    answer: BarsAnswer,
    before: Sequence[CoveredInterval],
    start_ms: int,
    end_ms: int,
    now_ms: int,
    *,
    is_whole: bool = False,
) -> list[CoveredInterval]:
    """Return what an answer says of `[start_ms, end_ms)`, beside what was known `before`.

    `is_whole`: longer pages of the market are known to come whole, so that no page is cut after a month.

    The interval of a bar that is of no use or misplaced is FAILED. An interval without a bar is FAILED if
    elements could not even be placed, or if so much is missing that the provider has to answer so once more.
    Of an asset that is seldom traded that is a day of open time. All else is ASKED: its bar is stored, or
    the provider has none.
    """
    if start_ms >= end_ms:
        return []
    misplaced = f"{plural(len(answer.misplaced_ms), 'element')} of the answer came for another time or ticker"
    faulty = set(map(floor_to_bar, answer.faulty_ms))
    odd = _within(sorted(faulty.union(map(floor_to_bar, answer.misplaced_ms))), start_ms, end_ms)
    is_thin = _is_thin(market, answer.bars, start_ms, end_ms)
    gaps = _Gaps(market, answer.unplaced, before, start_ms, end_ms, now_ms, is_whole, is_thin)
    failed = [
        interval
        for from_ms, to_ms in _gaps_of(answer, odd, start_ms, end_ms)
        for interval in gaps.failed(from_ms, to_ms)
    ]
    failed += [
        _failed(t_ms, t_ms + BAR_MS, now_ms, IntervalFault.UNUSABLE_BAR)
        if t_ms in faulty
        else CoveredInterval(t_ms, t_ms + BAR_MS, IntervalState.FAILED, now_ms, misplaced)
        for t_ms in odd
    ]
    failed = record((), failed)  # neighbours that failed alike are one
    return _with_the_rest_asked(failed, start_ms, end_ms, now_ms)


def _is_thin(market: Market, bars: Sequence[Bar], start_ms: int, end_ms: int) -> bool:
    """Return whether an answer shows an asset that is seldom traded, in a market that has such ones: it fills
    less than half of the open time."""
    if market not in THIN_MARKETS:
        return False
    filled = {floor_to_bar(bar.t_ms) for bar in bars}
    return len(filled) * BAR_MS * 2 < open_ms_between(market, start_ms, end_ms)


def _within(moments_ms: Sequence[int], start_ms: int, end_ms: int) -> Sequence[int]:
    """Return those of ascending moments that lie within `[start_ms, end_ms)`."""
    return moments_ms[bisect_left(moments_ms, start_ms) : bisect_left(moments_ms, end_ms)]


def _believed(answer: BarsAnswer) -> Sequence[Bar]:
    """Return the bars that leave no gap in their five minutes. Each element that could not be placed may have
    been any minute that is missing: then all five have to be there."""
    if not answer.unplaced or answer.size_ms == BAR_MS:
        return answer.bars
    counts = Counter(floor_to_bar(bar.t_ms) for bar in answer.bars)
    needed = BAR_MS // answer.size_ms
    return [bar for bar in answer.bars if counts[floor_to_bar(bar.t_ms)] == needed]


def _gaps_of(answer: BarsAnswer, odd: Sequence[int], start_ms: int, end_ms: int) -> Iterator[Interval]:
    """Yield the five minutes without a bar, together with their neighbours, but for those that are `odd`,
    within `[start_ms, end_ms)`. Gaps between bars that are believed anyway are left out."""
    bars, size_ms = _believed(answer), answer.size_ms
    low, high = (bisect_left(bars, at_ms, key=_START) for at_ms in (start_ms, end_ms))
    between: Iterable[Interval] = ()
    at_ms = ends_ms = end_ms
    if low < high:
        believed_ms = 0 if answer.unplaced else GAP_MS
        between = _gaps_between(bars, low, high - 1, size_ms, believed_ms)
        at_ms, ends_ms = floor_to_bar(bars[low].t_ms), floor_to_bar(bars[high - 1].t_ms) + BAR_MS
    for from_ms, to_ms in ((start_ms, at_ms), *between, (ends_ms, end_ms)):
        for odd_ms in _within(odd, from_ms, to_ms):
            if from_ms < odd_ms:
                yield from_ms, odd_ms
            from_ms = odd_ms + BAR_MS
        if from_ms < to_ms:
            yield from_ms, to_ms


def _gaps_between(
    bars: Sequence[Bar], low: int, high: int, size_ms: int, believed_ms: int
) -> Iterator[Interval]:
    """Yield the gaps of more than `believed_ms` between neighbours of ascending bars of `size_ms`, from one
    index to another.

    A run in which no more than that is missing altogether is passed over at once: it is nearly all of most
    answers.
    """
    if bars[high].t_ms - bars[low].t_ms - (high - low) * size_ms <= believed_ms:
        return
    if high - low > MAX_SEARCHED_BARS:
        middle = (low + high) // 2
        yield from _gaps_between(bars, low, middle, size_ms, believed_ms)
        yield from _gaps_between(bars, middle, high, size_ms, believed_ms)
        return
    for bar, following in pairwise(bars[low : high + 1]):
        if following.t_ms - bar.t_ms - size_ms > believed_ms:
            from_ms, to_ms = floor_to_bar(bar.t_ms) + BAR_MS, floor_to_bar(following.t_ms)
            if to_ms - from_ms > believed_ms:
                yield from_ms, to_ms


class _Gaps(NamedTuple):
    """Judges the gaps between the bars of an answer for `[start_ms, end_ms)`."""

    market: Market
    unplaced: int
    before: Sequence[CoveredInterval]
    start_ms: int
    end_ms: int
    now_ms: int
    is_whole: bool
    is_thin: bool

    def failed(self, from_ms: int, to_ms: int) -> list[CoveredInterval]:
        """Return the parts of a gap for which the provider has to be asked again."""
        if not self.unplaced and to_ms - from_ms <= GAP_MS:
            return []
        open_ms = open_ms_between(self.market, from_ms, to_ms)
        if not open_ms:
            return []
        if self.unplaced:
            error = f"{plural(self.unplaced, 'element')} of the answer could not be placed"
            return [CoveredInterval(from_ms, to_ms, IntervalState.FAILED, self.now_ms, error)]
        is_short = not self.is_thin and self._is_within(from_ms, to_ms)
        if not (open_ms > GAP_MS if is_short else open_ms >= EMPTY_MS):
            return []
        return [
            _failed(at_ms, piece.end_ms, self.now_ms, IntervalFault.UNCONFIRMED)
            for piece in unanswered(self.before, from_ms, to_ms)
            if (at_ms := self._doubted_from(piece, from_ms, to_ms)) < piece.end_ms
        ]

    def _doubted_from(self, piece: CoveredInterval, from_ms: int, to_ms: int) -> int:
        """Return from when on a part of a gap has to be confirmed.

        What was asked for before is believed, but not the end of more than a month, as long as no longer page
        came whole: it may have been cut each time.
        """
        if piece.state is IntervalState.AGAIN:
            return piece.end_ms
        if piece.fault is not IntervalFault.UNCONFIRMED:
            return piece.start_ms
        is_end = self.start_ms < from_ms and to_ms == self.end_ms and not self.is_whole
        return max(piece.start_ms, self.start_ms + MONTH_MS) if is_end else piece.end_ms

    def _is_within(self, from_ms: int, to_ms: int) -> bool:
        """Return whether data lies on both sides of a gap, in this answer or in those before."""
        has_left = from_ms > self.start_ms or is_asked(self.before, self.start_ms - BAR_MS)
        return has_left and (to_ms < self.end_ms or is_asked(self.before, self.end_ms))


def _failed(start_ms: int, end_ms: int, now_ms: int, fault: IntervalFault) -> CoveredInterval:
    return CoveredInterval(start_ms, end_ms, IntervalState.FAILED, now_ms, FAULT_WORDS[fault], fault)


def _with_the_rest_asked(
    failed: Sequence[CoveredInterval], start_ms: int, end_ms: int, now_ms: int
) -> list[CoveredInterval]:
    coverage = []
    at_ms = start_ms
    for interval in failed:
        if at_ms < interval.start_ms:
            coverage.append(CoveredInterval(at_ms, interval.start_ms, IntervalState.ASKED, now_ms))
        coverage.append(interval)
        at_ms = interval.end_ms
    if at_ms < end_ms:
        coverage.append(CoveredInterval(at_ms, end_ms, IntervalState.ASKED, now_ms))
    return coverage
