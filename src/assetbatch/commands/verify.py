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
from assetbatch.domain.endings import ENDINGS, TOO_MANY_CALLS
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import plural
from assetbatch.domain.market_hours import is_closed_day
from assetbatch.domain.metrics import CallMade, measure_calls
from assetbatch.domain.models import Changes, Comparison, Look, StoredAsset
from assetbatch.domain.records import EndReason, Started
from assetbatch.domain.results import CycleResult
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.units import HOUR_MS, MINUTE_MS
from assetbatch.domain.verification import may_verify, pages_to_verify
from assetbatch.domain.work import Work, WorkKind, days_range
from assetbatch.errors import AssetbatchError, RedisError
from assetbatch.refresh.batch import BatchReport, WorkChunk
from assetbatch.refresh.engine import Engine
from assetbatch.refresh.policy import SPARE, VERIFY, Policy
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.window import Grant

log = logging.getLogger("assetbatch")

NOTHING_DUE_MS = HOUR_MS
"""Time for which spare calls rest once nothing is due."""

FAILED_MS = 10 * MINUTE_MS
"""The same once they could not be made, or the provider was down."""

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
    done, or the error that ended it; None where it did not."""

    symbols: list[SymbolVerified]
    calls: int = 0
    pages_left: int = 0
    ended_because: str | None = None
    error: str | None = None


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
    if the provider is down. The `document` of an error that ends the calls is a report, too.
    """
    now_ms, known = services.now_ms(), services.entitlements()
    assets, stored = chosen(services, symbols, (), dry_run=dry_run)
    if first_day is None and last_day is None:
        rows = services.store.verified([asset.symbol for asset in assets])
        found = list(pages_to_verify(assets, stored, rows, known, now_ms, pause_ms=0))
    else:
        found = list(_pages_between(assets, stored, known, first_day, last_day, now_ms))
    if dry_run:
        shown = {asset.symbol: SymbolVerified(symbol=asset.symbol) for asset in assets}
        planned = found[:max_calls]
        for work in planned:
            shown[work.asset.symbol].pages.append(_days(work))
        return VerifyReport(symbols=list(shown.values()), pages_left=len(found) - len(planned))
    run = _Run(services, VERIFY, progress, [asset.symbol for asset in assets])
    started = Started((now_ms,), services.history.slowest_call_ms(), 0)
    calls: list[CallMade] = []
    try:
        try:
            with running_engine(services, known, deadline, progress, result, calls, started) as engine:
                run.work(engine, found, max_calls)
        finally:
            services.metrics.record(measure_calls(result, calls))
        if not deadline.stopped:
            raise_if_down(run.reports)
    except AssetbatchError as raised:
        raised.document = run.report(len(found), result.calls, raised.message)
        raise
    return run.report(len(found), result.calls)


def run_spare_calls(
    services: Services,
    deadline: Deadline,
    progress: Progress,
    result: CycleResult,
    calls: list[CallMade],
    started: Started,
) -> None:
    """Do the same with an engine of its own: the queue had no work."""
    known = services.entitlements()
    with running_engine(services, known, deadline, progress, result, calls, started) as engine:
        spend_spare_calls(services, engine, progress, result)


def spend_spare_calls(services: Services, engine: Engine, progress: Progress, result: CycleResult) -> None:
    """Verify the pages that are due, as long as there are spare calls, and log what differs.

    Where none is due, or it cannot be done now, spare calls rest for a while. It never makes the run fail:
    nobody needs it. Raise RedisError.
    """
    run = _Run(services, SPARE, progress)
    try:
        is_done = run.work(engine, _due(services, engine.known), None, services.spare_calls.take)
        pause_ms = NOTHING_DUE_MS if is_done else 0
    except RedisError:
        raise
    except AssetbatchError as error:
        log.info("stored bars are not verified now: %s", error)
        pause_ms = FAILED_MS
    if run.is_down:
        pause_ms = FAILED_MS
    if pause_ms:
        services.spare_calls.rest(services.now_ms() + pause_ms)
    for symbol in run.symbols:
        for words in differences(symbol):
            log.info("%s", words, extra={"symbol": symbol.symbol})
    result.pages_verified += run.asked
    for batch in run.reports:
        account(result, batch)


def _due(services: Services, known: Entitlements) -> Iterator[Work]:
    """Return the pages that are due now, worked out when the first is wanted."""
    services.load_members()
    now_ms = services.now_ms()
    assets = [
        asset for asset in services.config.assets if asset.bars and not is_closed_day(asset.market, now_ms)
    ]
    symbols = [asset.symbol for asset in assets]
    stored = services.store.load(symbols)
    return pages_to_verify(assets, stored, services.store.verified(symbols), known, now_ms)


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


def _days(work: Work) -> Days:
    assert work.first_day is not None, "a page has days"
    assert work.last_day is not None, "a page has days"
    return work.first_day, work.last_day


class _Run:
    """Asks for pages one after the other, and keeps what they show."""

    def __init__(
        self, services: Services, policy: Policy, progress: Progress, symbols: Iterable[str] = ()
    ) -> None:
        self._services = services
        self._policy = policy
        self._progress = progress
        self._by_symbol = {symbol: SymbolVerified(symbol=symbol) for symbol in symbols}
        self.reports: list[BatchReport] = []
        self.asked = 0
        self.is_down = False
        self.ended_because: str | None = None

    @property
    def symbols(self) -> list[SymbolVerified]:
        """What was done so far of each symbol."""
        return list(self._by_symbol.values())

    def report(self, pages: int, calls: int, error: str | None = None) -> VerifyReport:
        """Return what was done of so many pages with so many calls."""
        return VerifyReport(
            symbols=self.symbols,
            calls=calls,
            pages_left=pages - self.asked,
            ended_because=self.ended_because,
            error=error,
        )

    def work(
        self,
        engine: Engine,
        due: Iterable[Work],
        max_calls: int | None,
        take: Callable[[], Grant | None] | None = None,
    ) -> bool:
        """Ask for these pages until there is a reason to end; return whether none was left. `take` gives the
        slot of each, if it is given, or None where there is none."""
        before = engine.calls
        for work in due:
            grant = None
            if max_calls is not None and engine.calls - before >= max_calls:
                self.ended_because = f"{plural(max_calls, 'call')} made"
            elif engine.time.left <= 0:
                self.ended_because = "stopped" if engine.time.is_stopped else "out of time"
            elif take is not None and (grant := take()) is None:
                return False
            else:
                self._page(engine, work, grant)
            if self.ended_because:
                return False
        return True

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
                self.ended_because = done.error
            return
        self.reports.append(report)
        if report.too_many_calls:
            self.ended_because, self.is_down = TOO_MANY_CALLS, True
            if not report.answers:  # the page is left as it was
                return
        self.asked += 1
        shown = self._by_symbol.setdefault(symbol, SymbolVerified(symbol=symbol))
        shown.pages.append(_days(work))
        shown.found += report.compared.get(symbol, Comparison())
        shown.doubted |= symbol in report.doubted
        failed = [done for done in report.results if done.status not in (Status.SUCCESS, *OPEN)]
        errors = [done.error or done.status.value for done in failed]
        shown.errors += errors
        if report.provider_down:
            self.ended_because, self.is_down = ENDINGS[EndReason.PROVIDER_DOWN], True
        elif errors:  # else it would be the first again and again
            tried = Look(*days_range(work), self._services.now_ms(), usable=False)
            self._services.store.save(Changes(looks={symbol: [tried]}), self._services.now_ms())
