"""Which calls bring the pages of the past of one asset: the fewest that its known page length allows.

The days of a piece of work say what it waits for. What a call asks for follows from what is missing, so that
pages that were queued with another length go on meaning the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import Interval, newest_pages
from assetbatch.domain.entitlements import HISTORY_YEARS, Entitlements
from assetbatch.domain.market_hours import day_of, days_span, open_ms_between, start_of_day, years_before
from assetbatch.domain.models import IntervalFault, IntervalState, StoredAsset
from assetbatch.domain.pages import BY_OPEN_TIME, PAGE_DAYS, PAGE_MS, SURE, PageKind, Reach, sure_until
from assetbatch.domain.ranges import BarsRange, askable, missing_intervals
from assetbatch.domain.units import DAY_MS
from assetbatch.domain.work import Work


class _Wanted(NamedTuple):
    """A piece of work and what is missing of it, ascending."""

    work: Work
    missing: list[Interval]
    failed: bool
    """Whether something of it was asked for before. Only a page that comes whole can say that there is
    nothing."""


def history_ranges(
    work: Sequence[Work],
    stored: StoredAsset | None,
    known: Entitlements,
    now_ms: int,
    *,
    reach_out: bool,
) -> list[BarsRange]:
    """Return the ranges for pages of the past of one asset, the newest first.

    With `reach_out` a range also brings older intervals that are requested, or work of this call, as far as a
    page reaches. Without, each piece of work has its own range.
    """
    left = sorted(_wanted(work, stored, known, now_ms), key=lambda one: one.missing[-1][1], reverse=True)
    ranges: list[BarsRange] = []
    while left:
        newest, *others = left
        found = _longer(newest, others, stored, known, now_ms) if reach_out and not newest.failed else None
        found = found or _sure(newest, stored)
        ranges.append(found)
        left = [one for one in others if one.work not in found.work]
        if found.kind is not PageKind.SURE:
            left = [cut for one in left if (cut := _before(one, found.start_ms)).missing]
    return ranges


def _is_doubted(stored: StoredAsset | None) -> bool:
    """Return whether the provider has yet to confirm that it has nothing of some interval. A page that may be
    cut would find more of them, each to be asked for again."""
    coverage = stored.coverage if stored else ()
    return any(interval.fault is IntervalFault.UNCONFIRMED for interval in coverage)


def _wanted(
    work: Sequence[Work], stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> list[_Wanted]:
    wanted = []
    for item in work:
        missing = missing_intervals(item, stored, known, now_ms)
        if missing:
            failed = any(one.state is not IntervalState.REQUESTED for one in missing)
            wanted.append(_Wanted(item, [(one.start_ms, one.end_ms) for one in missing], failed))
    return wanted


def _before(wanted: _Wanted, end_ms: int) -> _Wanted:
    return wanted._replace(missing=_clipped(wanted.work.asset.market, wanted.missing, 0, end_ms))


def _lies_within(wanted: _Wanted, start_ms: int, end_ms: int) -> bool:
    """Return whether all open time that is missing lies in `[start_ms, end_ms)`."""
    market = wanted.work.asset.market
    return not any(
        open_ms_between(market, first_ms, min(last_ms, start_ms))
        or open_ms_between(market, max(first_ms, end_ms), last_ms)
        for first_ms, last_ms in wanted.missing
    )


def _clipped(market: Market, intervals: Sequence[Interval], start_ms: int, end_ms: int) -> list[Interval]:
    """Return what lies in `[start_ms, end_ms)` of these intervals, without what has no open time."""
    cut = ((max(start_ms, first_ms), min(end_ms, last_ms)) for first_ms, last_ms in intervals)
    return [piece for piece in cut if open_ms_between(market, *piece)]


def _sure(wanted: _Wanted, stored: StoredAsset | None) -> BarsRange:
    """Return the range of one piece of work, or the newest page of it if it was queued as a longer one.

    What has to be confirmed near it comes along.
    """
    asset, missing = wanted.work.asset, wanted.missing
    start_ms, end_ms = missing[0][0], missing[-1][1]
    if (day_of(end_ms - 1) - day_of(start_ms)).days >= PAGE_DAYS:
        ((start_ms, end_ms),) = _newest(asset.market, missing, SURE, 1)
        return BarsRange(start_ms, end_ms, (), (wanted.work,))
    if wanted.failed and stored:
        for one in stored.coverage:
            if one.fault is IntervalFault.UNCONFIRMED and one.end_ms <= start_ms + PAGE_MS:
                end_ms = max(end_ms, one.end_ms)
    return BarsRange(start_ms, end_ms, (wanted.work,))


def _longer(
    newest: _Wanted, others: Sequence[_Wanted], stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> BarsRange | None:
    """Return a range that brings more than the newest work by itself, or None without one.

    A range that may be cut begins where a page of `PAGE_DAYS` begins, and reaches into newer ones. The
    provider cuts a page at its end: then the newer ones are left as they were, and no call is lost.
    """
    asset, end_ms = newest.work.asset, newest.missing[-1][1]
    market = asset.market
    kind = known.page_kind(market, asset.polygon_ticker, now_ms)
    if kind is PageKind.SURE or (kind is not PageKind.PROVEN and _is_doubted(stored)):
        return None
    earliest_ms = _earliest(known, asset, end_ms, now_ms)
    older = [one for other in others if not other.failed for one in other.missing]
    older += _older(asset, stored, known, newest.missing[0][0], now_ms)
    older = _clipped(market, older, 0, newest.missing[0][0])
    start_ms, to_ms, sure_ms = newest.missing[0][0], end_ms, 0
    if kind is PageKind.PROVEN:
        within = [*_clipped(market, older, earliest_ms, end_ms), *newest.missing]
        reach = BY_OPEN_TIME if _saves_a_call(market, within) else SURE
        ((start_ms, _),) = _newest(market, within, reach, 1)
    else:
        most = known.pages_at_once(asset.polygon_ticker, now_ms) if kind is PageKind.THIN else 2
        own = _newest(market, newest.missing, SURE, most)
        pages = own + [
            page for page in _newest(market, older, SURE, most - len(own)) if page[0] >= earliest_ms
        ]
        if kind is PageKind.THIN:
            reach_ms = start_of_day(day_of(end_ms - 1) - timedelta(days=most * PAGE_DAYS - 1))
            pages = [page for page in pages if page[0] >= reach_ms]
        start_ms, sure_ms = pages[-1]
        if kind is PageKind.TRIED:
            to_ms = _tried_end(market, start_ms, end_ms)
            if not open_ms_between(market, pages[0][0], to_ms):
                return None
    if to_ms <= sure_until(start_ms):
        if kind is PageKind.TRIED or start_ms >= newest.missing[0][0]:
            return None
        kind = PageKind.SURE
    inside = tuple(
        one.work for one in (newest, *others) if not one.failed and _lies_within(one, start_ms, to_ms)
    )
    rest = () if newest.work in inside else (newest.work,)
    return BarsRange(start_ms, to_ms, inside, rest, kind, sure_ms)


def _older(
    asset: Asset, stored: StoredAsset | None, known: Entitlements, before_ms: int, now_ms: int
) -> list[Interval]:
    """Return what a backfill has requested before a moment."""
    from_ms = known.history_from_ms(asset.asset_type, now_ms)
    return [
        (one.start_ms, one.end_ms)
        for one in askable(asset, stored, from_ms, max(from_ms, before_ms), now_ms)
        if one.state is IntervalState.REQUESTED
    ]


def _earliest(known: Entitlements, asset: Asset, end_ms: int, now_ms: int) -> int:
    """Return where a longer range may begin: not before the history of the free plan, unless it ends there.
    Else a refusal of what is too old would take along what is not."""
    if known.history_from_ms(asset.asset_type, now_ms):
        return 0
    edge_ms = years_before(now_ms, HISTORY_YEARS) + DAY_MS
    return edge_ms if edge_ms < end_ms else 0


def _newest(market: Market, intervals: Sequence[Interval], reach: Reach, count: int) -> list[Interval]:
    """Return the newest pages of these intervals, at most `count`: what each holds of them."""
    found = []
    for days, _ in zip(newest_pages(market, intervals, reach), range(count), strict=False):
        within = _clipped(market, intervals, *days_span(*days))
        found.append((min(within)[0], max(end_ms for _, end_ms in within)))
    return found


def _saves_a_call(market: Market, intervals: Sequence[Interval]) -> bool:
    """Return whether fewer longer pages than pages of `PAGE_DAYS` bring these intervals.

    If not, nothing would make up for a longer page that has gaps.
    """
    longer, sure = (sum(1 for _ in newest_pages(market, intervals, reach)) for reach in (BY_OPEN_TIME, SURE))
    return longer < sure


def _tried_end(market: Market, start_ms: int, end_ms: int) -> int:
    """Return how far a longer page reaches that begins at a moment."""
    first = day_of(start_ms)
    _, to_ms = days_span(first, BY_OPEN_TIME.last_day(market, first))
    return min(to_ms, end_ms)
