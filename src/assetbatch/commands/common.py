"""What the run commands have in common: what is stored of their assets, what goes into the queue, the
engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from assetbatch.deadline import Deadline
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import choose_calls
from assetbatch.domain.due import assess, bars_to_queue
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import listed
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.ranges import MOST_FINER, asked_less_from, wanted_once_more
from assetbatch.domain.records import Started
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.domain.status import Status
from assetbatch.domain.work import GROUP_PREFIX, Work, WorkKind, is_reference, parse_work_id
from assetbatch.errors import UnreachableError
from assetbatch.refresh.batch import BatchReport, WorkChunk
from assetbatch.refresh.endpoints import describe
from assetbatch.refresh.engine import Engine
from assetbatch.refresh.interpretation import Result
from assetbatch.refresh.progress import Progress
from assetbatch.refresh.reporter import Reporter
from assetbatch.services import Services

if TYPE_CHECKING:  # few starts meet any
    from assetbatch.domain.groups import Group
    from assetbatch.domain.references import Reference

log = logging.getLogger("assetbatch")

ANSWERED_HINT = "the fault is on its side: every start asks again, and nothing is lost meanwhile"
"""What to do when the provider, or a gateway before it, answers with an error of its own."""

NOT_CONFIGURED = "not in the configuration any more"
"""Why an item leaves the queue without a call."""

UNREGISTERED = "not registered in the database (hint: run assetbatch init)"


def symbols(assets: Sequence[Asset]) -> list[str]:
    """Return the symbols of these assets, in their order."""
    return [asset.symbol for asset in assets]


def load(services: Services, result: CycleResult, symbols: Sequence[str]) -> dict[str, StoredAsset]:
    """Return what is stored of these symbols. Publish what was stored but never published."""
    stored = ask_again(services, services.store.load(symbols))
    missed = services.events.publish_missed(stored.values())
    for price in missed:
        log.info("%s: published now, an earlier cycle has stored it only", price.symbol)
    result.published += len(missed)
    return stored


def ask_again(
    services: Services, stored: Mapping[str, StoredAsset], *, dry_run: bool = False
) -> dict[str, StoredAsset]:
    """Return what is stored when everything is wanted once more that was asked for in larger bars or shorter
    hours than its asset keeps now; not if another host seems to keep less."""
    by_symbol = services.config.assets_by_symbol
    less = {
        symbol: from_ms
        for symbol, one in stored.items()
        if (from_ms := asked_less_from(by_symbol[symbol], one)) is not None
    }
    if not less:
        return dict(stored)
    now_ms = services.now_ms()
    before = services.history.finer_of_last_day(now_ms)
    less = {symbol: from_ms for symbol, from_ms in less.items() if before[symbol] < MOST_FINER}
    if not less or dry_run:
        return {**stored, **{symbol: wanted_once_more(stored[symbol], less[symbol]) for symbol in less}}
    services.history.wanted_finer(less, now_ms)
    services.store.ask_again(less, {symbol: by_symbol[symbol].bars for symbol in less}, now_ms)
    log.info("%s: more bars are kept from now on, the past is asked for once more", listed([*less]))
    return {**stored, **services.store.load(less)}


class KnownWork(NamedTuple):
    """What ids of the queue stand for: work, groups of members, and calls for reference data.

    `needless` are ids of such calls that have no use just now. `gone` are all other ids: they have no use
    with this configuration (any more).
    """

    work: list[Work]
    groups: list[Group]
    references: list[Reference]
    needless: list[str]
    gone: list[str]


def known_work(services: Services, ids: Sequence[str]) -> KnownWork:
    """Return what ids of the queue stand for."""
    by_symbol = services.config.assets_by_symbol
    work: list[Work] = []
    groups: list[Group] = []
    references: list[Reference] = []
    needless: list[str] = []
    gone: list[str] = []
    of_references: list[str] = []
    of_groups: list[str] = []
    for item_id in ids:
        if ":" not in item_id and (asset := by_symbol.get(item_id)):  # a price, as nearly all are
            work.append(Work(asset))
        elif is_reference(item_id):
            of_references.append(item_id)
        elif item_id.startswith(GROUP_PREFIX):
            of_groups.append(item_id)
        else:
            symbol, kind, first_day, last_day = parse_work_id(item_id)
            if asset := by_symbol.get(symbol):
                work.append(Work(asset, kind, first_day, last_day))
            else:
                gone.append(item_id)
    if of_references:
        from assetbatch.refresh.references import queued_references

        references, needless, unknown = queued_references(services, of_references)
        gone += unknown
    if of_groups:
        from assetbatch.domain.groups import parse_group

        groups = [group for group in map(parse_group, of_groups) if group]
        gone += [item_id for item_id in of_groups if parse_group(item_id) is None]
    return KnownWork(work, groups, references, needless, gone)


def group_work(services: Services, known: Entitlements, group: Group) -> list[Work]:
    """Return the prices that a group of members stands for now."""
    from assetbatch.domain.groups import work_of

    return work_of(group, services.config.members, known, services.now_ms())


def enqueue(services: Services, result: CycleResult, items: Sequence[tuple[str, Lane]]) -> None:
    """Queue items. Name the prices that found no room in the result."""
    if not items:
        return
    enqueued = services.queue.enqueue(items)
    result.enqueued += len(enqueued.added)
    # bars and pages that had to make room are queued again by themselves
    result.dropped += [
        item_id for item_id in enqueued.dropped if parse_work_id(item_id).kind is WorkKind.PRICE
    ]


def enqueue_bars(
    services: Services, result: CycleResult, known: Entitlements, stored: Mapping[str, StoredAsset]
) -> None:
    """Queue the bars that snapshots leave behind, after all prices."""
    enqueue(services, result, [(item.id, Lane.BARS) for item in bars_left(services, known, stored)])


def bars_left(services: Services, known: Entitlements, stored: Mapping[str, StoredAsset]) -> list[Work]:
    """Return the bars that snapshots leave behind."""
    now_ms = services.now_ms()
    by_symbol = services.config.assets_by_symbol
    return [
        Work(by_symbol[symbol], WorkKind.BARS)
        for symbol, of_symbol in stored.items()
        if bars_to_queue(by_symbol[symbol], of_symbol, known, now_ms)
    ]


def enqueue_references(services: Services, result: CycleResult, references: Sequence[Reference]) -> None:
    """Queue calls for reference data, each kind in its lane."""
    enqueue(services, result, reference_items(references))


def reference_items(references: Sequence[Reference]) -> list[tuple[str, Lane]]:
    """Return the items of the queue for calls for reference data."""
    if not references:
        return []
    from assetbatch.refresh.references import lane_of

    return [(reference.id, lane_of(reference)) for reference in references]


def references_left(services: Services, stored: Mapping[str, StoredAsset]) -> list[Reference]:
    """Return the calls for reference data that are due."""
    config = services.config
    if not config.follows_exchange and not config.enabled_rules:  # nothing of them is loaded
        return []
    from assetbatch.refresh.references import due_references

    return due_references(services, stored, services.now_ms())


def load_chunk(services: Services, result: CycleResult, work: Sequence[Work]) -> tuple[WorkChunk, list[Work]]:
    """Return this work with what is stored of its assets, and the work whose asset is not registered, so that
    no answer could be stored: it is reported as failed."""
    stored = load(services, result, [item.asset.symbol for item in work])
    missing = [item for item in work if item.asset.symbol not in stored]
    if missing:
        names = list(dict.fromkeys(item.asset.symbol for item in missing))
        log.warning("%s: %s", listed(names), UNREGISTERED, extra={"symbols": names})
        result.assets += [unregistered(item) for item in missing]
        work = [item for item in work if item.asset.symbol in stored]
    return WorkChunk(work, stored), missing


def unregistered(item: Work) -> AssetReport:
    """Return the report of work whose asset is not registered."""
    return AssetReport(symbol=item.asset.symbol, status=Status.FAILED, detail=UNREGISTERED)


@contextmanager
def running_engine(
    services: Services,
    known: Entitlements,
    deadline: Deadline,
    progress: Progress,
    result: CycleResult,
    calls: list[CallMade],
    started: Started,
) -> Iterator[Engine]:
    """Yield the engine of one cycle. Account for its calls and waits however the cycle ends."""
    engine = Engine(
        provider=lambda: services.provider,
        store=lambda: services.store,
        window=services.window,
        entitlement_store=services.entitlement_store,
        events=services.events,
        known=known,
        now_ms=services.now_ms,
        deadline=deadline,
        slowest_call_seconds=None if started.slowest_call_ms is None else started.slowest_call_ms / 1000,
        reporter=Reporter(services.history, services.now_ms, progress),
        symbols_of=services.config.symbols_of,
    )
    try:
        yield engine
    finally:
        result.calls = engine.calls
        result.answered = engine.answers
        result.waits = engine.reporter.waits
        calls += engine.reporter.calls


def asset_report(done: Result, stored: StoredAsset | None) -> AssetReport:
    """Return what became of a piece of work, with the price that is known now."""
    price = done.price or stored
    return AssetReport(
        symbol=done.work.asset.symbol,
        status=done.status,
        kind=done.work.kind,
        last_price=price.last_price if price else None,
        as_of_ms=price.as_of_ms if price else None,
        bars=done.bars,
        detail=done.error,
        paused=done.paused,
    )


def account(result: CycleResult, report: BatchReport) -> None:
    """Add what a batch did to the result of the cycle."""
    result.bars_written += report.bars_new + report.bars_corrected
    result.bars_corrected += report.bars_corrected
    result.bars_refused += report.bars_refused
    result.bars_filled += report.bars_filled
    result.prices_refused += report.prices_refused
    result.published += report.published
    for found in report.compared.values():
        result.bars_compared += found.compared
        result.bars_changed += found.changed
        result.bars_appeared += found.appeared
        result.bars_vanished += found.vanished
    result.too_many_calls |= report.too_many_calls


def raise_if_down(reports: Sequence[BatchReport]) -> None:
    """Raise UnreachableError if every batch found the provider down."""
    if not reports or not all(report.provider_down for report in reports):
        return
    last = reports[-1]
    if last.outage_status is not None:  # the reason says so
        raise UnreachableError(str(last.outage), hint=last.outage_hint or ANSWERED_HINT)
    raise UnreachableError(
        f"the API cannot be reached: {last.outage}",
        hint=last.outage_hint or "is the network up, and provider.base_url right?",
    )


def plan_lines(
    services: Services,
    known: Entitlements,
    work: Sequence[Work],
    references: Sequence[Reference] = (),
    places: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Return a line for each call that would be made for this now, and for each work that needs none, with
    the reason. `places` are the places of ids in the queue, which order the calls."""
    from assetbatch.domain.item_words import work_in_words

    now_ms = services.now_ms()
    stored = services.store.load([item.asset.symbol for item in work])
    verdicts = {item.id: assess(item, stored.get(item.asset.symbol), known, now_ms) for item in work}
    due = [item for item in work if verdicts[item.id].due]
    calls: list[tuple[int, str]] = []
    for call in choose_calls(due, stored, known, now_ms):
        reasons = dict.fromkeys(verdicts[item.id].why.text for item in call.work)
        place = min((places[item.id] for item in call.work if item.id in places), default=0)
        calls.append((place, f"{describe(call)} ({'; '.join(reasons)})"))
    calls += [(places.get(one.id, 0), f"{one.words} (it is due)") for one in references]
    calls.sort(key=itemgetter(0))
    lines = [f"call {number}: {words}" for number, (_, words) in enumerate(calls, 1)]
    lines += [f"no call: {work_in_words(one)} ({v.why.text})" for one, v in verdicts.items() if not v.due]
    return lines
