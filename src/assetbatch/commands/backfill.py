"""Queue the pages of the past that fill the gaps of the bars."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice, zip_longest
from typing import NamedTuple

import msgspec

from assetbatch.commands.common import ask_again
from assetbatch.commands.gaps import choose
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.assets import Asset, AssetPriority
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.coverage import answered, asked_to, pages, unanswered
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.forecast import Forecast, QueueLoad, forecast
from assetbatch.domain.market_hours import open_ms_between, start_of_day
from assetbatch.domain.models import (
    Changes,
    CoveredInterval,
    IntervalFault,
    IntervalState,
    StoredAsset,
    floor_to_bar,
)
from assetbatch.domain.pages import SURE, Reach
from assetbatch.domain.pauses import BARS_AGAIN_MS, worth_a_call
from assetbatch.domain.queueing import Cancelled, Enqueued, Lane
from assetbatch.domain.ranges import (
    ExpectedHistory,
    calls_saved,
    expected_history,
    newest_to_ask,
    pages_to_ask,
    taken_back,
)
from assetbatch.domain.records import Command
from assetbatch.domain.work import Work, WorkKind, days_range, parse_work_id
from assetbatch.errors import ConfigError
from assetbatch.services import Services
from assetbatch.state.history import CYCLES_FOR_FORECAST
from assetbatch.state.queue import DEAD_LETTERS_KEPT

SHARE_FOR_PRICES = 2
"""Pages of the past fill at most one part in this many of the queue. The rest is for prices."""


_REQUESTED = (IntervalState.REQUESTED, IntervalState.AGAIN)

Span = tuple[int, int]
"""`[start_ms, end_ms)`."""

Days = tuple[date, date]
"""The first and the last New York day of a page, both inclusive."""


class SymbolBackfill(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol of a backfill.

    `pages` are to be asked for, each as long as is known to come whole; `new_pages` is how many of them no
    backfill has requested before. `complete` is the share of the wanted time that is stored or known to be
    empty. Before `too_old_before_ms` the plan shows nothing. `doubtful_pages` lie before what the tier is
    expected to show: the first of them that is refused ends them all. Of one that is `refused` the plan has
    no bars now: its pages wait until it has some.
    """

    symbol: str
    pages: list[Days]
    complete: float
    too_old_before_ms: int | None
    doubtful_pages: list[Days] = []
    new_pages: int = 0
    refused: bool = False


class BackfillReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill has queued, what waits for room in the queue, and when all will be there.

    Of the `queued` pages `queued_before` were in the queue already. The plan is expected to show nothing
    before `expected_from_ms`; None where it shows all. Doubtful pages are not counted.
    """

    symbols: list[SymbolBackfill]
    queued: int
    queued_before: int = 0
    waiting_for_room: int
    forecast: Forecast
    expected_from_ms: int | None = None
    again: bool = False
    """Whether what is stored is asked for too."""

    @property
    def new_calls(self) -> int:
        """The number of calls that no backfill has requested before."""
        return sum(symbol.new_pages for symbol in self.symbols)


class TakenBack(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill has taken back: the pages of each symbol that are not asked for any more, and what
    became of those in the queue."""

    symbols: dict[str, list[Days]]
    queue: Cancelled


class Queued(NamedTuple):
    """How many pages of a backfill are in the queue, without the doubtful ones, and how many of them were
    there before."""

    pages: int = 0
    before: int = 0


class BackfillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill wants: for each symbol what the coverage is to say and a report, and the pages in the
    order in which they are queued."""

    symbols: list[SymbolBackfill]
    intervals: dict[str, list[CoveredInterval]]
    work: list[Work]


def backfill(
    services: Services,
    symbols: Sequence[str],
    first_day: date,
    last_day: date | None,
    *,
    dry_run: bool,
    classes: Collection[AssetPriority] = (),
    again: bool = False,
) -> BackfillReport:
    """Request the bars of these symbols and priorities: queue the fewest pages that bring what is missing.

    The days go from `first_day` (a New York day) to `last_day` (or now). Without symbols, all that keep bars
    are meant; without priorities, all of them. What has no room now is queued by enqueue-secondary.

    May be repeated at any time: what is stored, or was answered with nothing, is never asked for again. With
    `again` everything of these days is asked for once more, whatever is known of it. Raise ConfigError for a
    symbol that is not configured, not registered or keeps no bars.
    """
    now_ms, known = services.now_ms(), services.entitlements()
    assets, stored = chosen(services, symbols, classes, dry_run=dry_run)
    expected = expected_history(services.config.history_years, now_ms)
    wanted = {asset.symbol: wanted_range(asset, first_day, last_day, known, now_ms) for asset in assets}
    ranges = {symbol: _while_listed(span, stored[symbol]) for symbol, span in wanted.items()}
    if not again:
        ranges = {symbol: _without_newest(span, stored[symbol], now_ms) for symbol, span in ranges.items()}
    spans = {symbol: span for symbol, span in ranges.items() if span[0] < span[1]}
    # Bars of five minutes that are there say nothing of minutes.
    in_minutes = {asset.symbol for asset in assets if asset.bars is BarSize.ONE_MINUTE}
    gaps = services.store.gaps({symbol: span for symbol, span in spans.items() if symbol not in in_minutes})
    gaps |= {symbol: [span] for symbol, span in spans.items() if symbol in in_minutes}
    plan = plan_backfill(assets, stored, gaps, known, ranges, now_ms, expected, again=again)
    queued = Queued() if dry_run else apply(services, plan, now_ms)
    return BackfillReport(
        symbols=plan.symbols,
        queued=queued.pages,
        queued_before=queued.before,
        waiting_for_room=sum(len(symbol.pages) for symbol in plan.symbols) - queued.pages,
        forecast=_forecast(services, assets, plan, known, now_ms, is_applied=not dry_run),
        expected_from_ms=max((expected[asset.asset_class.product] for asset in assets), default=0) or None,
        again=again,
    )


def take_back(
    services: Services, symbols: Sequence[str], *, dry_run: bool, classes: Collection[AssetPriority] = ()
) -> TakenBack:
    """Ask for no page of the past of these assets any more (see `backfill` for which), and take those out of
    the queue that wait there. A page that is being worked stays, and is stored.

    The coverage says of the missing bars that nobody wants them; another backfill asks for them. Raise
    ConfigError as `backfill` does.
    """
    now_ms, known = services.now_ms(), services.entitlements()
    assets, stored = chosen(services, symbols, classes, dry_run=dry_run)
    intervals = {asset.symbol: taken_back(asset, stored[asset.symbol], known, now_ms) for asset in assets}
    found = {
        asset.symbol: pages(
            asset.market,
            [(one.start_ms, one.end_ms) for one in intervals[asset.symbol]],
            known.reach(asset.market, now_ms),
        )
        for asset in assets
    }
    queued = [item.id for item in services.queue.items() if _is_page_of(item.id, found)]
    if dry_run:
        return TakenBack(symbols=found, queue=Cancelled((), (), ()))
    services.store.save(Changes(coverage=intervals), now_ms)
    return TakenBack(symbols=found, queue=services.queue.cancel(queued))


def _is_page_of(item_id: str, symbols: Collection[str]) -> bool:
    work = parse_work_id(item_id)
    return work.kind is WorkKind.HISTORY and work.symbol in symbols


def chosen(
    services: Services, symbols: Sequence[str], classes: Collection[AssetPriority], *, dry_run: bool
) -> tuple[list[Asset], dict[str, StoredAsset]]:
    """Return the assets that are meant, and what is stored of each. Raise ConfigError."""
    services.load_members()
    assets = [asset for asset in choose(services.config, symbols) if not classes or asset.priority in classes]
    if not assets:
        which = f" of class {' or '.join(classes)}" if classes else ""
        raise ConfigError(
            f"no enabled asset{which} keeps bars", hint="assetbatch config show lists the assets"
        )
    stored = services.store.load([asset.symbol for asset in assets])
    for asset in assets:
        if asset.symbol not in stored:
            raise ConfigError(f"{asset.symbol} is not registered in the database", hint="run assetbatch init")
    return assets, ask_again(services, stored, dry_run=dry_run)


def wanted_range(
    asset: Asset, first_day: date, last_day: date | None, known: Entitlements, now_ms: int
) -> tuple[int, int]:
    """Return the range `[start_ms, end_ms)` of the days that are wanted, as far as the plan shows them."""
    start_ms, end_ms = start_of_day(first_day), known.ask_to_ms(asset.asset_type, now_ms)
    if last_day is not None:
        end_ms = min(end_ms, start_of_day(last_day + timedelta(days=1)))
    return start_ms, max(start_ms, floor_to_bar(end_ms))


def _while_listed(span: Span, stored: StoredAsset) -> Span:
    """Return the part of a range in which a stock was listed under its ticker."""
    start_ms = max(span[0], stored.listed_from_ms)
    return start_ms, max(start_ms, min(span[1], stored.listed_to_ms))


def _without_newest(span: Span, stored: StoredAsset, now_ms: int) -> Span:
    """Return a range up to where the answers end, if the next latest bars bring the rest by themselves."""
    start_ms, end_ms = span
    known_to_ms = asked_to(stored.coverage, now_ms)
    if known_to_ms is None or end_ms - known_to_ms > BARS_AGAIN_MS:
        return span
    return start_ms, max(start_ms, min(end_ms, floor_to_bar(known_to_ms)))


def plan_backfill(
    assets: Sequence[Asset],
    stored: Mapping[str, StoredAsset],
    gaps: Mapping[str, Sequence[tuple[int, int]]],
    known: Entitlements,
    ranges: Mapping[str, tuple[int, int]],
    now_ms: int,
    expected: ExpectedHistory | None = None,
    *,
    again: bool = False,
) -> BackfillPlan:
    """Return what a backfill of these ranges wants. `gaps` are the stretches of the ranges without bars; with
    `again` it wants what is stored too.

    Pages that are `expected` to be refused are doubtful, as long as no answer has shown where the history
    begins.
    """
    intervals, reports = {}, []
    for asset in assets:
        symbol = asset.symbol
        history_ms = known.history_from_ms(asset.asset_type, now_ms)
        intervals[symbol], report = _plan_symbol(
            asset,
            stored[symbol].coverage,
            ranges[symbol],
            history_ms,
            gaps.get(symbol, ()),
            0 if history_ms else (expected or {}).get(asset.asset_class.product, 0),
            SURE if again else known.reach(asset.market, now_ms),
            now_ms,
            again=again,
        )
        if not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
            report = msgspec.structs.replace(report, refused=True)
        reports.append(report)
    of_assets = (
        [
            Work(asset, WorkKind.HISTORY, first, last)
            for first, last in [*report.pages, *report.doubtful_pages]
        ]
        for asset, report in zip(assets, reports, strict=True)
    )
    return BackfillPlan(symbols=reports, intervals=intervals, work=list(interleaved(of_assets)))


def apply(services: Services, plan: BackfillPlan, now_ms: int) -> Queued:
    """Store what is wanted and queue the pages that find room."""
    by_symbol = services.config.assets_by_symbol
    in_minutes = {one for one in plan.intervals if by_symbol[one].bars is BarSize.ONE_MINUTE}
    services.store.save(Changes(coverage=plan.intervals, minutes=in_minutes), now_ms)
    enqueued = _enqueue(services, islice(plan.work, _room(services)))
    doubtful = {(symbol.symbol, *days) for symbol in plan.symbols for days in symbol.doubtful_pages}

    def count(item_ids: Iterable[str]) -> int:
        works = map(parse_work_id, item_ids)
        return sum((work.symbol, work.first_day, work.last_day) not in doubtful for work in works)

    before = count(enqueued.duplicates)
    return Queued(count(enqueued.added) + before, before)


def _forecast(
    services: Services,
    assets: Sequence[Asset],
    plan: BackfillPlan,
    known: Entitlements,
    now_ms: int,
    *,
    is_applied: bool,
) -> Forecast:
    """Return when all pages will be there, those of earlier backfills and of this one."""
    by_lane, queued = services.queue.by_lane(), services.queue.items()
    works = [parse_work_id(item.id) for item in queued if item.lane is Lane.HISTORY]
    stored = services.store.load(list({work.symbol for work in works} | plan.intervals.keys()))
    coverage: dict[str, Sequence[CoveredInterval]] = {symbol: one.coverage for symbol, one in stored.items()}
    if is_applied:  # what lies between the wanted days and the coverage of before is asked for too
        to_ask = sum(len(pages_to_ask(asset, stored[asset.symbol], known, now_ms)) for asset in assets)
        pages_elsewhere = max(0, max(len(plan.work), to_ask) - by_lane[Lane.HISTORY])
    else:
        pages_elsewhere = len(plan.work) - len(services.queue.known([item.id for item in plan.work]))
        coverage |= plan.intervals
    load = QueueLoad(
        queued=by_lane,
        pages_elsewhere=pages_elsewhere,
        calls_saved=calls_saved(
            [*(item.id for item in queued), *(work.id for work in plan.work)],
            services.config.assets,
            coverage,
            known,
            expected_history(services.config.history_years, now_ms),
            now_ms,
        ),
        starts_ms=services.history.job(Command.RUN_PRIORITY).starts_ms,
        cycles=services.history.cycles(Command.RUN_QUEUE, CYCLES_FOR_FORECAST),
    )
    stored = services.store.load([asset.symbol for asset in services.config.enabled_priority_assets])
    return forecast(services.budget(), load, known, stored, now_ms)


def _plan_symbol(
    asset: Asset,
    coverage: Sequence[CoveredInterval],
    wanted: tuple[int, int],
    history_ms: int,
    gaps: Sequence[tuple[int, int]],
    expected_from_ms: int,
    reach: Reach,
    now_ms: int,
    *,
    again: bool,
) -> tuple[list[CoveredInterval], SymbolBackfill]:
    """Return what the coverage is to say of a wanted range, and the pages that are missing in it.

    Pages that end before `expected_from_ms` are doubtful. If every open interval has a bar that assetbatch
    never asked for (an adopted table), nothing is missing. What was just answered with nothing waits for its
    pause. With `again` all that was answered is wanted once more, and all else as if no bar were stored.
    """
    start_ms, end_ms = wanted
    edge_ms = min(end_ms, history_ms)
    known_from_ms = max(start_ms, edge_ms)
    unknown = [
        one for one in unanswered(coverage, known_from_ms, end_ms) if one.state is not IntervalState.AGAIN
    ]
    unasked = _spans(one for one in unknown if again or not _is_paused(one, now_ms))
    once_more = _spans(answered(coverage, known_from_ms, end_ms)) if again else []
    requested = _spans(one for one in coverage if one.state in _REQUESTED)
    missing = _missing(asset.market, _spans(unknown), gaps)
    to_ask = _missing(asset.market, [*unasked, *once_more], [wanted] if again else gaps)
    found = pages(asset.market, to_ask, reach)
    sure = [days for days in found if start_of_day(days[1]) >= expected_from_ms]
    unrequested = [piece for piece in to_ask if not _lies_within(piece, requested)]
    page_spans = sorted(days_range(Work(asset, WorkKind.HISTORY, first, last)) for first, last in found)
    too_old = [CoveredInterval(start_ms, edge_ms, IntervalState.NOT_IN_PLAN)] if start_ms < edge_ms else []
    intervals = [one for stretch in unasked for one in _wanted_intervals(asset.market, stretch, page_spans)]
    intervals += [CoveredInterval(*stretch, IntervalState.AGAIN) for stretch in once_more]
    open_ms = open_ms_between(asset.market, known_from_ms, end_ms) if edge_ms < end_ms else 0
    missing_ms = sum(open_ms_between(asset.market, *piece) for piece in missing)
    report = SymbolBackfill(
        symbol=asset.symbol,
        pages=sure,
        doubtful_pages=found[len(sure) :],
        new_pages=sum(bool(_intersections(_span(days), unrequested)) for days in sure),
        complete=1 - missing_ms / open_ms if open_ms else 1.0,
        too_old_before_ms=edge_ms if start_ms < edge_ms else None,
    )
    forgotten = _forgotten(unknown) if again else []
    return [*too_old, *forgotten, *intervals], report


def _is_paused(interval: CoveredInterval, now_ms: int) -> bool:
    """Return whether the provider has just answered that it has nothing: no run asks again so early."""
    is_unconfirmed = interval.fault is IntervalFault.UNCONFIRMED
    return is_unconfirmed and not worth_a_call(interval, now_ms, interval.state)


def _forgotten(unknown: Iterable[CoveredInterval]) -> list[CoveredInterval]:
    """Return what lets the coverage forget an answer without bars, so that no pause follows from it."""
    return [
        CoveredInterval(one.start_ms, one.end_ms, IntervalState.NOT_WANTED)
        for one in unknown
        if one.fault is IntervalFault.UNCONFIRMED
    ]


def _spans(intervals: Iterable[CoveredInterval]) -> list[Span]:
    return [(one.start_ms, one.end_ms) for one in intervals]


def _missing(market: Market, unasked: Iterable[Span], gaps: Sequence[Span]) -> list[Span]:
    """Return the parts of stretches without an answer that have no bars though the market was open."""
    return [
        piece
        for stretch in unasked
        for piece in _intersections(stretch, gaps)
        if open_ms_between(market, *piece)
    ]


def _span(days: Days) -> Span:
    return start_of_day(days[0]), start_of_day(days[1] + timedelta(days=1))


def _lies_within(piece: Span, others: Iterable[Span]) -> bool:
    return any(start_ms <= piece[0] and piece[1] <= end_ms for start_ms, end_ms in others)


def _wanted_intervals(
    market: Market, stretch: tuple[int, int], page_spans: Sequence[tuple[int, int]]
) -> Iterator[CoveredInterval]:
    """Yield the parts of a stretch: REQUESTED where a page covers it, ASKED between the pages, since all bars
    are there."""
    start_ms, end_ms = stretch
    for piece in _intersections(stretch, page_spans):
        yield CoveredInterval(*piece, IntervalState.REQUESTED)
    complete_ms = start_ms
    for page_start_ms, page_end_ms in page_spans:
        if complete_ms < min(page_start_ms, end_ms):
            yield CoveredInterval(complete_ms, min(page_start_ms, end_ms), IntervalState.ASKED)
        complete_ms = max(complete_ms, page_end_ms)
    # A closed end is no answer: a price that waits for a page before it would look complete.
    if complete_ms < end_ms and open_ms_between(market, complete_ms, end_ms):
        yield CoveredInterval(complete_ms, end_ms, IntervalState.ASKED)


def _intersections(stretch: tuple[int, int], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    cut = [(max(stretch[0], start_ms), min(stretch[1], end_ms)) for start_ms, end_ms in others]
    return [(start_ms, end_ms) for start_ms, end_ms in cut if start_ms < end_ms]


def interleaved(of_assets: Iterable[Iterable[Work]]) -> Iterator[Work]:
    """Return the first page of each asset, then the second of each: the newest days of all symbols come
    first."""
    return (item for row in zip_longest(*of_assets) for item in row if item is not None)


def enqueue_missing_pages(
    services: Services, assets: Sequence[Asset], stored: Mapping[str, StoredAsset], known: Entitlements
) -> int:
    """Queue pages of the past that are missing, as far as there is room for them; return how many. Throw away
    dead letters of pages that another call has brought meanwhile."""
    now_ms = services.now_ms()
    letters = services.queue.dead_letters(DEAD_LETTERS_KEPT)
    by_symbol = {asset.symbol: asset for asset in assets} if letters else {}
    brought = []
    for letter in letters:
        symbol, kind, *days = parse_work_id(letter.id)
        if kind is WorkKind.HISTORY and symbol in by_symbol:
            work = Work(by_symbol[symbol], kind, *days)
            if not assess(work, stored.get(symbol), known, now_ms).due:
                brought.append(letter.id)
    services.queue.drop_dead(brought)
    return len(_enqueue(services, missing_pages(services, assets, stored, known)).added)


def missing_pages(
    services: Services, assets: Sequence[Asset], stored: Mapping[str, StoredAsset], known: Entitlements
) -> list[Work]:
    """Return the pages of the past that are missing, in their order, as far as there is room for them."""
    if not (room := _room(services)):
        return []
    now_ms = services.now_ms()
    found = [newest_to_ask(asset, stored.get(asset.symbol), known, now_ms) for asset in assets if asset.bars]
    return list(islice(interleaved(found), room))


def _room(services: Services) -> int:
    """Return how many pages find room in the queue."""
    return max(0, services.queue.max_size // SHARE_FOR_PRICES - services.queue.state().size)


def _enqueue(services: Services, work: Iterable[Work]) -> Enqueued:
    items = [(item.id, Lane.HISTORY) for item in work]
    return services.queue.enqueue(items) if items else Enqueued((), (), (), ())
