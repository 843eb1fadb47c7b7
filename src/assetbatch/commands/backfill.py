"""What is missing in the stored bars and why, and the pages of the past that fill it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice, zip_longest

import msgspec

from assetbatch.config.symbols import plain
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import Gap, completeness, explained_gaps, pages, unanswered
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.forecast import Forecast, QueueLoad, forecast
from assetbatch.domain.market_hours import open_ms_between, start_of_day
from assetbatch.domain.models import Changes, CoveredInterval, IntervalState, StoredAsset, floor_to_bar
from assetbatch.domain.queueing import Enqueued, Lane
from assetbatch.domain.ranges import newest_to_ask, pages_to_ask
from assetbatch.domain.records import RUN_PRIORITY, RUN_QUEUE
from assetbatch.domain.work import PAGE_DAYS, Work, WorkKind, days_range, parse_work_id
from assetbatch.errors import ConfigError
from assetbatch.services import Services
from assetbatch.state.history import CYCLES_FOR_FORECAST
from assetbatch.state.queue import DEAD_LETTERS_KEPT

SHARE_FOR_PRICES = 2
"""Pages of the past fill at most one part in so many of the queue: the rest is for prices."""


class SymbolHoles(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing of one symbol since `from_ms`; None where nothing of it was ever asked for.

    `complete` is the share (0 to 1) of its market's open time that is stored or known to be empty.
    """

    symbol: str
    from_ms: int | None
    visible_until_ms: int
    complete: float | None
    holes: list[Gap]


class SymbolBackfill(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol of a backfill: the pages (of `PAGE_DAYS` New York days) still to be asked for, the share of
    the wanted time that is there or known to be empty, and what lies before the plan's history."""

    symbol: str
    pages: list[tuple[date, date]]
    complete: float
    too_old_before_ms: int | None


class BackfillReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill has queued, what waits for room in the queue, and when all is expected to be there."""

    symbols: list[SymbolBackfill]
    queued: int
    waiting_for_room: int
    forecast: Forecast


def find_holes(
    services: Services, symbols: Sequence[str], from_ms: int | None, *, closed: bool = False
) -> list[SymbolHoles]:
    """The holes of these symbols (all that keep bars, without any), from `from_ms` or where their history
    begins up to now. Raises ConfigError for a symbol that is not configured or keeps no bars."""
    now_ms = services.now_ms()
    known = services.entitlements()
    assets = choose(services.config.assets, symbols)
    stored = services.store.load([asset.symbol for asset in assets])
    starts = {
        asset.symbol: floor_to_bar(start_ms)
        for asset in assets
        if (start_ms := _history_start(stored.get(asset.symbol), from_ms)) is not None
    }
    gaps = services.store.gaps(
        {symbol: (start_ms, floor_to_bar(now_ms)) for symbol, start_ms in starts.items()}
    )
    found = []
    for asset in assets:
        spans = stored[asset.symbol].spans if asset.symbol in stored else ()
        visible_until_ms = floor_to_bar(known.visible_until_ms(asset.asset_type, now_ms))
        missing = gaps.get(asset.symbol, [])
        found.append(
            SymbolHoles(
                symbol=asset.symbol,
                from_ms=starts.get(asset.symbol),
                visible_until_ms=visible_until_ms,
                complete=completeness(asset.market, spans, visible_until_ms),
                holes=explained_gaps(asset.market, spans, missing, visible_until_ms, include_closed=closed),
            )
        )
    return found


def _history_start(stored: StoredAsset | None, from_ms: int | None) -> int | None:
    if stored is None or from_ms is not None:
        return from_ms if stored else None
    return stored.spans[0].start_ms if stored.spans else None


def choose(assets: Iterable[Asset], symbols: Sequence[str]) -> list[Asset]:
    """The enabled assets that keep bars, or those of them that are named; raises ConfigError for others."""
    with_bars = {asset.symbol: asset for asset in assets if asset.bars}
    for symbol in symbols:
        if symbol not in with_bars:
            near = [name for name in with_bars if plain(name) == plain(symbol)]
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(
                f"{symbol} is no enabled asset that keeps bars",
                hint=f"{meant}assetbatch config show lists the assets; bars: true keeps them",
            )
    return [with_bars[symbol] for symbol in symbols] if symbols else list(with_bars.values())


def backfill(
    services: Services, symbols: Sequence[str], first_day: date, last_day: date | None, *, dry_run: bool
) -> BackfillReport:
    """Wants the bars of these symbols from `first_day` (a New York day) to `last_day` (or now), and queues
    the fewest pages that bring what is missing, as far as there is room; enqueue-secondary queues the rest.

    May be repeated at any time: what is stored, or was answered with nothing, is never asked for again.
    Raises ConfigError for a symbol that is not configured, not registered or keeps no bars.
    """
    config = services.config
    now_ms = services.now_ms()
    known = services.entitlements()
    assets = choose(config.assets, symbols)
    stored = services.store.load([asset.symbol for asset in assets])
    for asset in assets:
        if asset.symbol not in stored:
            raise ConfigError(f"{asset.symbol} is not registered in the database", hint="run assetbatch init")
    from_ms = start_of_day(first_day)
    ranges = {}
    for asset in assets:
        to_ms = known.ask_to_ms(asset.asset_type, now_ms)
        if last_day is not None:
            to_ms = min(to_ms, start_of_day(date.fromordinal(last_day.toordinal() + 1)))
        ranges[asset.symbol] = (from_ms, max(from_ms, floor_to_bar(to_ms)))
    gaps = services.store.gaps({symbol: span for symbol, span in ranges.items() if span[0] < span[1]})
    wanted: dict[str, list[CoveredInterval]] = {}
    reports = []
    for asset in assets:
        before = stored[asset.symbol]
        missing = gaps.get(asset.symbol, [])
        spans, report = _want(asset, before, known, ranges[asset.symbol], missing, now_ms)
        reports.append(report)
        wanted[asset.symbol] = spans
    work = list(
        interleaved(
            [Work(asset, WorkKind.HISTORY, first, last) for first, last in report.pages]
            for asset, report in zip(assets, reports, strict=True)
        )
    )
    queued = 0
    if not dry_run:
        services.store.save(Changes(spans=wanted), now_ms)
        enqueued = _queue_pages(services, work)
        queued = len(enqueued.added) + len(enqueued.duplicates)
    by_lane = services.queue.by_lane()
    ahead = len(work) - len(services.queue.known([item.id for item in work])) if dry_run else len(work)
    if not dry_run:  # what lies between the wanted days and the ledger of before is asked for too
        stored = services.store.load([asset.symbol for asset in assets])
        ahead = max(
            ahead, sum(len(pages_to_ask(asset, stored[asset.symbol], known, now_ms)) for asset in assets)
        )
    return BackfillReport(
        symbols=reports,
        queued=queued,
        waiting_for_room=len(work) - queued,
        forecast=forecast(
            services.budget(),
            QueueLoad(
                queued=by_lane,
                pages_elsewhere=ahead if dry_run else max(0, ahead - by_lane[Lane.HISTORY]),
                starts_ms=services.history.job(RUN_PRIORITY).starts_ms,
                cycles=services.history.cycles(RUN_QUEUE, CYCLES_FOR_FORECAST),
            ),
            known,
            services.store.load([asset.symbol for asset in config.enabled_priority_assets]),
            now_ms,
        ),
    )


def _want(
    asset: Asset,
    stored: StoredAsset,
    known: Entitlements,
    wanted: tuple[int, int],
    gaps: Sequence[tuple[int, int]],
    now_ms: int,
) -> tuple[list[CoveredInterval], SymbolBackfill]:
    """What the ledger is to say of a wanted range, and the pages that are missing in it.

    Where every open slot has a bar that nobody of us has asked for (an adopted table), nothing is missing.
    """
    start_ms, end_ms = wanted
    edge_ms = min(end_ms, known.history_from_ms(asset.asset_type, now_ms))
    spans = []
    if start_ms < edge_ms:
        spans.append(CoveredInterval(start_ms, edge_ms, IntervalState.NOT_IN_PLAN))
    unasked = unanswered(stored.spans, max(start_ms, edge_ms), end_ms)
    missing = [
        piece
        for stretch in unasked
        for piece in _intersections((stretch.start_ms, stretch.end_ms), gaps)
        if open_ms_between(asset.market, *piece)
    ]
    found = pages(asset.market, missing, PAGE_DAYS)
    page_spans = sorted(days_range(Work(asset, WorkKind.HISTORY, first, last)) for first, last in found)
    for stretch in unasked:
        for piece in _intersections((stretch.start_ms, stretch.end_ms), page_spans):
            spans.append(CoveredInterval(*piece, IntervalState.REQUESTED))
        complete_ms = stretch.start_ms
        for page_start_ms, page_end_ms in page_spans:
            if complete_ms < min(page_start_ms, stretch.end_ms):
                spans.append(
                    CoveredInterval(complete_ms, min(page_start_ms, stretch.end_ms), IntervalState.ASKED)
                )
            complete_ms = max(complete_ms, page_end_ms)
        # A closed end is no answer: a price that waits for a page before it would pass for complete.
        if complete_ms < stretch.end_ms and open_ms_between(asset.market, complete_ms, stretch.end_ms):
            spans.append(CoveredInterval(complete_ms, stretch.end_ms, IntervalState.ASKED))
    open_ms = open_ms_between(asset.market, max(start_ms, edge_ms), end_ms) if edge_ms < end_ms else 0
    missing_ms = sum(open_ms_between(asset.market, *piece) for piece in missing)
    report = SymbolBackfill(
        symbol=asset.symbol,
        pages=found,
        complete=1 - missing_ms / open_ms if open_ms else 1.0,
        too_old_before_ms=edge_ms if start_ms < edge_ms else None,
    )
    return spans, report


def _intersections(stretch: tuple[int, int], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    cut = [(max(stretch[0], start_ms), min(stretch[1], end_ms)) for start_ms, end_ms in others]
    return [(start_ms, end_ms) for start_ms, end_ms in cut if start_ms < end_ms]


def interleaved(of_assets: Iterable[Iterable[Work]]) -> Iterator[Work]:
    """The first page of each, then the second of each: the newest days of all symbols come first."""
    return (item for row in zip_longest(*of_assets) for item in row if item is not None)


def enqueue_missing_pages(
    services: Services, assets: Sequence[Asset], stored: Mapping[str, StoredAsset], known: Entitlements
) -> int:
    """Queues pages of the past that are missing, as far as there is room for them; returns how many. Dead
    letters of pages that came in by another call meanwhile are thrown away."""
    now_ms = services.now_ms()
    by_symbol = {asset.symbol: asset for asset in assets}
    settled = []
    for letter in services.queue.dead_letters(DEAD_LETTERS_KEPT):
        symbol, kind, *days = parse_work_id(letter.id)
        if kind is WorkKind.HISTORY and symbol in by_symbol:
            work = Work(by_symbol[symbol], kind, *days)
            if not assess(work, stored.get(symbol), known, now_ms).due:
                settled.append(letter.id)
    services.queue.drop_dead(settled)
    if _room(services) <= 0:
        return 0
    found = (newest_to_ask(asset, stored.get(asset.symbol), known, now_ms) for asset in assets)
    return len(_queue_pages(services, interleaved(found)).added)


def _room(services: Services) -> int:
    return services.queue.max_size // SHARE_FOR_PRICES - services.queue.state().size


def _queue_pages(services: Services, work: Iterable[Work]) -> Enqueued:
    items = [(item.id, Lane.HISTORY) for item in islice(work, max(0, _room(services)))]
    return services.queue.enqueue(items) if items else Enqueued((), (), (), ())
