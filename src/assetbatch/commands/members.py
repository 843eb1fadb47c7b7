"""The members of rules, looked up outside of the queue, as `init` does; and what they will take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.commands.common import running_engine, symbols
from assetbatch.commands.init import RuleReport
from assetbatch.commands.result import new_result
from assetbatch.deadline import Deadline
from assetbatch.domain import rules
from assetbatch.domain.assets import Rule
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.forecast import priority_calls
from assetbatch.domain.market_days import left_alone, missing_days, wanted_from
from assetbatch.domain.metrics import CallMade, measure_calls
from assetbatch.domain.outlook import Outlook, outlook
from assetbatch.domain.records import Command, Started
from assetbatch.domain.status import Status
from assetbatch.domain.units import MINUTE_MS
from assetbatch.errors import AssetbatchError
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services

if TYPE_CHECKING:
    from assetbatch.domain.references import Reference
    from assetbatch.refresh.references.run import ReferenceResult


def look_up(services: Services, deadline: Deadline, progress: Progress) -> tuple[RuleReport, ...]:
    """Look up the members of all rules that are due, as far as slots are free now and no priority cycle will
    need them.

    What is left is work of the queue. Nothing of it makes `init` fail: without a key, Redis or the provider
    the tables are there all the same.
    """
    wanted = services.config.enabled_rules
    if not wanted:
        return ()
    keys = [rule.key for rule in wanted]
    before = services.store.members(keys)
    error, calls = None, 0
    try:
        calls, error = _walk(services, deadline, progress, wanted)
    except AssetbatchError as raised:
        error = raised.message
    after, walks = services.store.members(keys), services.store.walks(keys)
    hints = {one.rule: one.hint for one in foreseen(services)}
    return tuple(
        msgspec.structs.replace(
            _report(
                rule, before.get(rule.key, ()), after.get(rule.key, ()), walks.get(rule.key), calls, error
            ),
            hint=hints[rule.key],
        )
        for rule in wanted
    )


def _report(
    rule: Rule,
    before: Sequence[rules.Member],
    after: Sequence[rules.Member],
    walk: rules.Walk | None,
    calls: int,
    error: str | None,
) -> RuleReport:
    old, new = {member.symbol for member in before}, {member.symbol for member in after}
    is_complete = walk is not None and walk.is_finished
    return RuleReport(
        rule=rule.key,
        members=len(new),
        new=len(new - old),
        gone=len(old - new),
        calls=min(calls, walk.calls) if walk else 0,
        is_complete=is_complete,
        error=None if is_complete else error,
    )


class _Owner:
    """Hears what becomes of the calls; nothing of them is in the queue."""

    def __init__(self) -> None:
        self.results: list[ReferenceResult] = []

    def start(self, _ids: Sequence[str]) -> Collection[str]:
        """Nobody else has them."""
        return ()

    def on_reference(self, result: ReferenceResult) -> None:
        """Keep it."""
        self.results.append(result)


def _walk(
    services: Services, deadline: Deadline, progress: Progress, wanted: Sequence[Rule]
) -> tuple[int, str | None]:
    """Make the calls that are due, page after page; return how many, and why they ended early."""
    from assetbatch.refresh.policy import SPARE
    from assetbatch.refresh.references.run import ReferenceRun
    from assetbatch.refresh.references.tickers import page_of

    now_ms, result, calls = services.now_ms(), new_result(services, Command.RUN_QUEUE), list[CallMade]()
    services.load_walks()
    waiting: list[Reference] = [
        page_of(rule, walk) for rule in wanted if rules.is_due(walk := services.walks.get(rule.key), now_ms)
    ]
    if not waiting:
        return 0, None
    owner, known = _Owner(), services.entitlements()
    started = Started((now_ms,), services.history.slowest_call_ms(), 0)
    error = None
    try:
        _reserve_first(services, known, now_ms)
        with running_engine(services, known, deadline, progress, result, calls, started) as engine:
            run = ReferenceRun(services, engine, owner, SPARE)
            while waiting and error is None:
                run.ask([waiting.pop(0)])
                done = owner.results.pop() if owner.results else None
                if done is None:
                    error = "no call is free now"
                elif done.status is Status.SUCCESS:
                    waiting = [*done.follows, *waiting]
                else:
                    error = done.detail
    finally:
        services.metrics.record(measure_calls(result, calls))
    return result.calls, error


def _reserve_first(services: Services, known: Entitlements, now_ms: int) -> None:
    """Reserve the slots of the first priority cycle, which may start right after `init`. Later ones have
    reserved theirs themselves."""
    assets = services.config.enabled_priority_assets
    if not assets:
        return
    window = services.window.state()
    if window.reserved_from_ms:
        return
    needed = priority_calls(assets, services.store.load(symbols(assets)), known, now_ms)
    services.window.reserve(window.now_ms, needed, services.config.batch.interval_minutes * MINUTE_MS)


def foreseen(services: Services) -> list[Outlook]:
    """Return what the members of each rule will take."""
    config = services.config
    if not config.enabled_rules:
        return []
    try:
        known, now_ms = services.entitlements(), services.now_ms()
    except AssetbatchError:  # a first look needs neither a key nor Redis
        import time

        known, now_ms = Entitlements(end_of_day=config.tier.delay_minutes > 0), round(time.time() * 1000)
    try:
        keys = [rule.key for rule in config.enabled_rules]
        stored, walks = services.store.members(keys), services.store.walks(keys)
    except AssetbatchError:
        stored, walks = {}, {}
    counts = {key: len(stored.get(key, ())) for key, walk in walks.items() if walk.knows_members}
    return [
        outlook(
            rule,
            counts.get(rule.key),
            _days_missing(services, rule, known, now_ms) if counts.get(rule.key) != 0 else 0,
            known,
            config.call_limit,
            config.queue.max_size,
            now_ms,
        )
        for rule in config.enabled_rules
    ]


def _days_missing(services: Services, rule: Rule, known: Entitlements, now_ms: int) -> int:
    first = wanted_from([rule], rule.every, now_ms)
    if first is None:
        return 0
    try:
        answered = left_alone(services.store.market_days(rule.every.value, first), now_ms)
    except AssetbatchError:
        answered = set()
    return sum(1 for _ in missing_days(rule.every, first, answered, known, now_ms))
