"""Ask for stored bars again, page by page, and compare: on demand, or with calls that nobody else needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date

import msgspec

from assetbatch.commands.backfill import chosen, interleaved, wanted_range
from assetbatch.commands.common import account, raise_if_down, running_engine
from assetbatch.deadline import Deadline
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import answered, pages
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import plural
from assetbatch.domain.metrics import CallMade, measure_calls
from assetbatch.domain.models import Changes, Comparison, Look, StoredAsset
from assetbatch.domain.records import Started
from assetbatch.domain.results import CycleResult
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.verification import may_verify, pages_to_verify
from assetbatch.domain.work import Work, WorkKind, days_range
from assetbatch.refresh.batch import BatchReport, WorkChunk
from assetbatch.refresh.engine import Engine
from assetbatch.refresh.policy import SPARE, VERIFY, Policy
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.window import Grant

log = logging.getLogger("assetbatch")

Days = tuple[date, date]
"""The first and the last New York day of a page, both inclusive."""


class SymbolVerified(msgspec.Struct, kw_only=True):
    """What was verified of one symbol: the pages that were asked for, what their comparison has shown, the
    errors of those that brought nothing, and whether so much differs that everything is asked for again."""

    symbol: str
    pages: list[Days] = []
    found: Comparison = Comparison()
    errors: list[str] = []
    doubted: bool = False


class VerifyReport(msgspec.Struct, kw_only=True):
    """What was verified, how many calls it took, how many pages are left, and why it ended before they were
    done; None where it did not."""

    symbols: list[SymbolVerified]
    calls: int = 0
    pages_left: int = 0
    ended_because: str | None = None


def verify(
    services: Services,
    deadline: Deadline,
    progress: Progress,
    result: CycleResult,
    symbols: Sequence[str],
    first_day: date | None,
    last_day: date | None,
    *,
    max_calls: int | None = None,
    dry_run: bool = False,
) -> VerifyReport:
    """Ask for the stored bars of these symbols (all, if none is named) again, and compare.

    The page that was asked for least recently comes first, of bars that are at least a week old. With days
    the pages between them come in their order, however old. It ends with `max_calls`, with its time, or when
    no slot is free within it; slots are taken as the queue takes them. `result` counts its calls.

    Raise ConfigError for a symbol that is not configured, not registered or keeps no bars, UnreachableError
    if the provider is down.
    """
    now_ms, known = services.now_ms(), services.entitlements()
    assets, stored = chosen(services, symbols, (), dry_run=dry_run)
    if first_day is None and last_day is None:
        rows = services.store.verified([asset.symbol for asset in assets])
        found = list(pages_to_verify(assets, stored, rows, known, now_ms, pause_ms=0))
    else:
        found = list(_pages_between(assets, stored, known, first_day, last_day, now_ms))
    if dry_run:
        report = VerifyReport(symbols=_by_symbol(assets))
        for work in found[:max_calls]:
            _of(report, work).pages.append(_days(work))
        report.pages_left = len(found) - len(found[:max_calls])
        return report
    run = _Run(services, _by_symbol(assets), VERIFY, progress)
    started = Started((now_ms,), services.history.slowest_call_ms(), 0)
    calls: list[CallMade] = []
    try:
        with running_engine(services, known, deadline, progress, result, calls, started) as engine:
            run.work(engine, found, max_calls)
    finally:
        services.metrics.record(measure_calls(result, calls))
    if not deadline.stopped:
        raise_if_down(result, run.reports)
    run.report.pages_left = len(found) - run.asked
    return run.report


def verify_with_spare_calls(
    services: Services,
    engine: Engine,
    progress: Progress,
    result: CycleResult,
    take: Callable[[], Grant | None],
) -> int:
    """Verify the pages that are due, as long as `take` gives a slot for one; return how many were asked
    for. Say what differs."""
    now_ms, known = services.now_ms(), engine.known
    assets = [asset for asset in services.config.assets if asset.bars]
    symbols = [asset.symbol for asset in assets]
    stored = services.store.load(symbols)
    due = pages_to_verify(assets, stored, services.store.verified(symbols), known, now_ms)
    run = _Run(services, _by_symbol(assets), SPARE, progress)
    run.work(engine, due, None, take)
    for symbol in run.report.symbols:
        for words in differences(symbol):
            log.info("%s", words, extra={"symbol": symbol.symbol})
    result.pages_verified += sum(len(symbol.pages) for symbol in run.report.symbols)
    for batch in run.reports:
        account(result, batch)
    return run.asked


def differences(symbol: SymbolVerified) -> Iterator[str]:
    """Yield what a person should know of what was verified of a symbol."""
    found = symbol.found
    if found.differed:
        what = f"{found.differed:,} of {plural(found.compared, 'bar')} differ from what was stored"
        changed = f"{found.changed:,} changed, by {found.largest:.2%} at most"
        others = f"{found.appeared:,} appeared, {found.vanished:,} vanished"
        yield f"{symbol.symbol}: {what} ({changed}, {others})"
    if symbol.doubted:
        yield f"{symbol.symbol}: more than 1 % differs: everything of it is asked for again"
    for error in dict.fromkeys(symbol.errors):
        yield f"{symbol.symbol}: {error}"


def _pages_between(
    assets: Sequence[Asset],
    stored: dict[str, StoredAsset],
    known: Entitlements,
    first_day: date | None,
    last_day: date | None,
    now_ms: int,
) -> Iterator[Work]:
    """Return the pages of the answered bars between two days, the newest of each asset first."""

    def of(asset: Asset) -> Iterator[Work]:
        coverage = stored[asset.symbol].coverage
        if not may_verify(asset, stored[asset.symbol], known, now_ms):
            return
        start_ms, end_ms = wanted_range(asset, first_day or date(1970, 1, 1), last_day, known, now_ms)
        start_ms = max(start_ms, known.history_from_ms(asset.asset_type, now_ms), coverage[0].start_ms)
        parts = [(one.start_ms, one.end_ms) for one in answered(coverage, start_ms, end_ms)]
        for first, last in pages(asset.market, parts):
            yield Work(asset, WorkKind.VERIFY, first, last)

    return interleaved(map(of, assets))


def _by_symbol(assets: Iterable[Asset]) -> list[SymbolVerified]:
    return [SymbolVerified(symbol=asset.symbol) for asset in assets]


def _of(report: VerifyReport, work: Work) -> SymbolVerified:
    return next(one for one in report.symbols if one.symbol == work.asset.symbol)


def _days(work: Work) -> Days:
    assert work.first_day is not None, "a page has days"
    assert work.last_day is not None, "a page has days"
    return work.first_day, work.last_day


class _Run:
    """Asks for pages one after the other, and keeps what they show."""

    def __init__(
        self, services: Services, symbols: list[SymbolVerified], policy: Policy, progress: Progress
    ) -> None:
        self._services = services
        self._policy = policy
        self._progress = progress
        self._by_symbol = {one.symbol: one for one in symbols}
        self.report = VerifyReport(symbols=symbols)
        self.reports: list[BatchReport] = []
        self.asked = 0

    def work(
        self,
        engine: Engine,
        due: Iterable[Work],
        max_calls: int | None,
        take: Callable[[], Grant | None] | None = None,
    ) -> None:
        """Ask for these pages until there is a reason to end. `take` gives the slot of each, if it is given,
        or None where there is none."""
        before = engine.calls
        for work in due:
            if max_calls is not None and engine.calls - before >= max_calls:
                self.report.ended_because = f"{plural(max_calls, 'call')} made"
            elif engine.time.left <= 0:
                self.report.ended_because = "stopped" if engine.time.is_stopped else "out of time"
            elif take is None:
                self._page(engine, work, None)
            elif grant := take():
                self._page(engine, work, grant)
            else:
                break
            if self.report.ended_because:
                break
        self.report.calls = engine.calls - before

    def _page(self, engine: Engine, work: Work, grant: Grant | None) -> None:
        symbol = work.asset.symbol
        stored = self._services.store.load([symbol])
        with engine.begin(self._policy, None, grant) as batch:
            batch.add(WorkChunk([work], stored))
            batch.start_calls()
            while batch.complete_next():
                batch.start_calls()
        report = batch.report()
        if not report.calls:
            done = report.results[0] if report.results else None
            if done is not None and done.status in OPEN:
                self.report.ended_because = done.error
            return
        self.asked += 1
        self.reports.append(report)
        shown = self._by_symbol[symbol]
        shown.pages.append(_days(work))
        shown.found += report.compared.get(symbol, Comparison())
        shown.doubted |= symbol in report.doubted
        failed = [done for done in report.results if done.status not in (Status.SUCCESS, *OPEN)]
        errors = [done.error or done.status.value for done in failed]
        shown.errors += errors
        if report.too_many_calls:
            self.report.ended_because = "the provider said too many calls"
        elif report.provider_down:
            self.report.ended_because = "the provider is down"
        elif errors:  # else it would be the first again and again
            tried = Look(*days_range(work), self._services.now_ms(), usable=False)
            self._services.store.save(Changes(looks={symbol: [tried]}), self._services.now_ms())
