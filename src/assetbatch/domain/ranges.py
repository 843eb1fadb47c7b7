"""Which ranges of an asset's bars are worth a call: the latest, and pages of the past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from assetbatch.domain.asset_classes import AssetType, Product, longest_hours, product_of
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.coverage import ANSWERED, answered, asked_to, newest_pages, unanswered
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import (
    days_span,
    last_midnight,
    last_open,
    open_ms_between,
    start_of_day,
    years_before,
)
from assetbatch.domain.models import (
    BAR_MS,
    END_OF_TIME_MS,
    CoveredInterval,
    IntervalFault,
    IntervalState,
    StoredAsset,
    floor_to_bar,
)
from assetbatch.domain.pages import PAGE_MS, SURE, PageKind
from assetbatch.domain.pauses import worth_a_call
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work, WorkKind, days_range, parse_work_id


class BarsRange(NamedTuple):
    """One range `[start_ms, end_ms)` of bars. `unfinished` work waits for a further call after it."""

    start_ms: int
    end_ms: int
    finished: tuple[Work, ...]
    unfinished: tuple[Work, ...] = ()
    kind: PageKind = PageKind.SURE
    sure_ms: int = 0
    """The end of the page of `PAGE_DAYS` with which a longer one begins that may be cut; else 0."""

    @property
    def work(self) -> tuple[Work, ...]:
        """All work of the range."""
        return (*self.finished, *self.unfinished)


def _bars_known_to(stored: StoredAsset | None, now_ms: int) -> int:
    """Return the moment up to which the bars are stored or known not to exist; 0 without any."""
    if stored is None:
        return 0
    return max(bars_stored_to(stored, now_ms), asked_to(stored.coverage, now_ms) or 0)


def bars_stored_to(stored: StoredAsset, now_ms: int) -> int:
    """Return the end of the last stored bar; 0 without any."""
    last_bar_ms = stored.last_bar_ms
    return last_bar_ms + BAR_MS if last_bar_ms is not None and last_bar_ms <= now_ms else 0


def asked_less_from(asset: Asset, stored: StoredAsset) -> int | None:
    """Return from when on bars were asked for in a larger size than the asset keeps now, or without those
    beside the session that it keeps now; None where that is nothing that was answered."""
    found = []
    if asset.bars is BarSize.ONE_MINUTE and stored.bar_size is not BarSize.ONE_MINUTE:
        found.append(stored.coarse_from_ms or 0)
    has_all_hours = longest_hours(asset.market) is asset.market
    if asset.bars and has_all_hours and stored.session_from_ms is not None:
        found.append(stored.session_from_ms)
    from_ms = min(found, default=END_OF_TIME_MS)
    is_asked = any(one.state in ANSWERED and one.end_ms > from_ms for one in stored.coverage)
    return from_ms if is_asked else None


MOST_FINER = 3
"""Maximum number of times in a day that the past of a symbol is wanted once more in smaller bars or longer
hours. Two hosts that keep different bars of it would want it for ever."""


def wanted_once_more(stored: StoredAsset, from_ms: int) -> StoredAsset:
    """Return what is stored, with everything REQUESTED that was answered from a moment on."""
    coverage: list[CoveredInterval] = []
    for one in stored.coverage:
        at_ms = min(max(one.start_ms, from_ms), one.end_ms) if one.state in ANSWERED else one.end_ms
        if one.start_ms < at_ms:
            coverage.append(msgspec.structs.replace(one, end_ms=at_ms))
        if at_ms < one.end_ms:
            coverage.append(CoveredInterval(at_ms, one.end_ms, IntervalState.REQUESTED))
    return msgspec.structs.replace(stored, coverage=tuple(coverage))


def missing_intervals(
    work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> list[CoveredInterval]:
    """Return the intervals of a page of the past that are still to be asked for.

    They lie within the plan's history, the listing of a stock and what is published, and hold open time. What
    another page was just answered without waits for its pause, unless it shows whether longer pages come
    whole.
    """
    asset = work.asset
    start_ms, end_ms = _visible(work, known, now_ms)
    start_ms = max(start_ms, stored.listed_from_ms if stored else 0)
    coverage = stored.coverage if stored else ()
    proven = known.page_kind(asset.market, asset.polygon_ticker, now_ms) is PageKind.PROVEN
    doubts = [one for one in known.doubts(asset.market, now_ms) if proven and one.symbol == asset.symbol]
    return [
        interval
        for interval in unanswered(coverage, start_ms, end_ms)
        if interval.state is not IntervalState.NOT_WANTED
        and (
            interval.fault is not IntervalFault.UNCONFIRMED
            or worth_a_call(interval, now_ms, interval.state)
            or any(one.start_ms < interval.end_ms and interval.start_ms < one.end_ms for one in doubts)
        )
        and open_ms_between(asset.market, interval.start_ms, interval.end_ms)
    ]


def verify_range(
    work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> tuple[int, int] | None:
    """Return the part `[start_ms, end_ms)` of a page that is asked for to verify it: from the first answered
    bar to the last; None where nothing was answered."""
    asset = work.asset
    start_ms, end_ms = _visible(work, known, now_ms)
    parts = answered(stored.coverage, start_ms, end_ms) if stored and start_ms < end_ms else []
    open_parts = [one for one in parts if open_ms_between(asset.market, one.start_ms, one.end_ms)]
    return (open_parts[0].start_ms, open_parts[-1].end_ms) if open_parts else None


def _visible(work: Work, known: Entitlements, now_ms: int) -> tuple[int, int]:
    """Return the part `[start_ms, end_ms)` of a page that lies within the plan's history and what is
    published; it is empty where the end is not after the start."""
    asset_type = work.asset.asset_type
    start_ms, end_ms = days_range(work)
    return (
        max(start_ms, known.history_from_ms(asset_type, now_ms)),
        min(end_ms, floor_to_bar(known.ask_to_ms(asset_type, now_ms))),
    )


def latest_range(
    asset: Asset,
    stored: StoredAsset | None,
    known: Entitlements,
    now_ms: int,
    *,
    probe_today: bool = False,
) -> tuple[int, int]:
    """Return the range `[start_ms, end_ms)` of the latest bars of an asset.

    With `probe_today` it reaches to now where nobody knows whether the plan shows the running day, if the
    market was open on it: else the answer could show nothing of it, and be refused for nothing.

    It begins at the New York midnight before the last stored bar, so that the day's open, high and low and
    the provider's corrections of today come along: rows are free, calls are not. It begins earlier if the
    same page can fill older gaps.
    """
    asset_type = asset.asset_type
    end_ms = known.ask_to_ms(asset_type, now_ms)
    is_there_today = last_open(asset.market, now_ms) > last_midnight(now_ms)
    if probe_today and is_there_today and known.today_untested(asset_type, now_ms):
        end_ms = now_ms
    history_ms = max(known.history_from_ms(asset_type, now_ms), stored.listed_from_ms if stored else 0)
    earliest = max(end_ms - PAGE_MS, min(history_ms, end_ms - BAR_MS))
    if stored is not None and stored.as_of_ms is None:  # a price needs a bar: what is asked for may hold none
        known_to = bars_stored_to(stored, now_ms)
    else:
        known_to = _bars_known_to(stored, now_ms)
    start_ms = earliest
    if known_to:
        start_ms = max(earliest, last_midnight(min(known_to, end_ms) - 1))
        gaps = askable(asset, stored, earliest, start_ms, now_ms)
        start_ms = min([start_ms, *(gap.start_ms for gap in gaps)])
    return floor_to_bar(start_ms), end_ms


def askable(
    asset: Asset, stored: StoredAsset | None, start_ms: int, end_ms: int, now_ms: int
) -> list[CoveredInterval]:
    """Return the intervals of `[start_ms, end_ms)` that are worth a call.

    They lie after the beginning of this asset's history, were open for trading, and were not asked for yet,
    are wanted again, or failed a while ago.
    """
    if stored is None or not stored.coverage:
        return []
    return [
        interval
        for interval in unanswered(stored.coverage, max(start_ms, stored.coverage[0].start_ms), end_ms)
        if worth_a_call(interval, now_ms, IntervalState.FAILED, IntervalState.REJECTED, IntervalState.AGAIN)
        and interval.state not in (IntervalState.NOT_IN_PLAN, IntervalState.NOT_WANTED)
        and open_ms_between(asset.market, interval.start_ms, interval.end_ms)
    ]


def pages_to_ask(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> list[Work]:
    """Return the pages of the past that are worth a call, the newest first.

    What the next range of the latest bars fills by itself is left to that.
    """
    return list(newest_to_ask(asset, stored, known, now_ms))


def newest_to_ask(
    asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> Iterator[Work]:
    """Yield the same, each page when it is asked for: a queue has seldom room for all."""
    if not asset.bars or not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
        return
    if stored is None or stored.sync_status in (Status.NOT_FOUND, Status.NOT_ENTITLED):
        return
    before_ms, _ = latest_range(asset, stored, known, now_ms)
    from_ms = max(known.history_from_ms(asset.asset_type, now_ms), stored.listed_from_ms)
    found = askable(asset, stored, from_ms, max(from_ms, before_ms), now_ms)
    intervals = [(interval.start_ms, interval.end_ms) for interval in found]
    # What was asked for before is asked for again in pages that come whole in any market.
    is_new = all(interval.state is IntervalState.REQUESTED for interval in found)
    reach = known.reach(asset.market, now_ms) if is_new else SURE
    for first, last in newest_pages(asset.market, intervals, reach):
        yield Work(asset, WorkKind.HISTORY, first, last)


ExpectedHistory = Mapping[Product, int]
"""The moment before which the plan of a product is expected to show nothing; 0 where it shows all."""


def expected_history(years: Mapping[Product, int | None], now_ms: int) -> ExpectedHistory:
    """Return before when nothing is expected of plans with a history of so many years; None: of all."""
    return {
        product: 0 if of_product is None else years_before(now_ms, of_product)
        for product, of_product in years.items()
    }


def calls_saved(
    item_ids: Iterable[str],
    assets: Iterable[Asset],
    coverage: Mapping[str, Sequence[CoveredInterval]],
    known: Entitlements,
    expected: ExpectedHistory,
    now_ms: int,
) -> int:
    """Return how many pages of the past among these items of the queue will cost no call.

    The plan is known not to show them, or it is expected not to: then the first refusal of a class ends all
    its pages that are `expected` to be refused. Or a longer page of their symbol brings them along, unless
    something of them was asked for before.
    """
    by_symbol = {asset.symbol: asset for asset in assets}
    saved, doubtful = 0, Counter[AssetType]()
    asked: dict[str, list[tuple[int, int]]] = {}
    for work in map(parse_work_id, set(item_ids)):
        if work.first_day is None or work.last_day is None or work.symbol not in by_symbol:
            continue
        asset_type = by_symbol[work.symbol].asset_type
        if not known.intraday(asset_type, now_ms, by_symbol[work.symbol].polygon_ticker):
            saved += 1
            continue
        span = days_span(work.first_day, work.last_day)
        if history_ms := known.history_from_ms(asset_type, now_ms):
            is_saved = span[1] <= history_ms
            saved += is_saved
        elif is_saved := start_of_day(work.last_day) < expected.get(product_of(asset_type), 0):
            doubtful[asset_type] += 1
        if not is_saved and not _was_asked(by_symbol[work.symbol], span, coverage.get(work.symbol, ())):
            asked.setdefault(work.symbol, []).append(span)
    for symbol, spans in asked.items():
        saved += len(spans) - min(len(spans), _calls_for(by_symbol[symbol], spans, known, now_ms))
    return saved + doubtful.total() - len(doubtful)


def _was_asked(asset: Asset, span: tuple[int, int], coverage: Sequence[CoveredInterval]) -> bool:
    """Return whether something that is missing of a page was asked for before: it is then asked for alone."""
    found = [
        (max(span[0], one.start_ms), min(span[1], one.end_ms))
        for one in coverage
        if one.state in (IntervalState.AGAIN, IntervalState.FAILED, IntervalState.REJECTED)
    ]
    return any(start < end and open_ms_between(asset.market, start, end) for start, end in found)


def _calls_for(asset: Asset, spans: Sequence[tuple[int, int]], known: Entitlements, now_ms: int) -> int:
    """Return how many calls bring these stretches, by what is known of the length of a page."""
    at_once = known.pages_at_once(asset.polygon_ticker, now_ms)
    if at_once > 1:
        return -(-len(spans) // at_once)
    return len(list(newest_pages(asset.market, spans, known.reach(asset.market, now_ms))))


def taken_back(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> list[CoveredInterval]:
    """Return what the coverage is to say of an asset whose past is not to be asked for any more.

    These are the intervals of open time before the next range of the latest bars that are still to be asked
    for: requested, between two backfills, failed or rejected.
    """
    if not stored.coverage:
        return []
    before_ms, _ = latest_range(asset, stored, known, now_ms)
    settled = (IntervalState.NOT_IN_PLAN, IntervalState.NOT_WANTED)
    return [
        CoveredInterval(interval.start_ms, interval.end_ms, IntervalState.NOT_WANTED)
        for interval in unanswered(stored.coverage, stored.coverage[0].start_ms, before_ms)
        if interval.state not in settled and open_ms_between(asset.market, interval.start_ms, interval.end_ms)
    ]
