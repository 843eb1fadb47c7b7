"""What a person should look at, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from assetbatch.config import Config
from assetbatch.domain.asset_classes import AssetType, class_of_type
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.due import RUN_QUEUE_SILENT_MS
from assetbatch.domain.formatting import ago, format_duration, listed, moment, plural
from assetbatch.domain.queueing import DeadLetter, QueueState
from assetbatch.domain.ranges import MOST_FINER
from assetbatch.domain.reasons import Reason
from assetbatch.domain.records import Command, CycleOutcome, CycleRecord, JobState
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import HOUR_MS, MINUTE_MS, SECOND_MS
from assetbatch.health.document import Alert, AssetHealth, HealthStatus, Problem, Severity
from assetbatch.health.jobs import DIED, enqueue_needed_ms, last_result

if TYPE_CHECKING:
    from assetbatch.domain.splits import KnownSplit

MISSED_STARTS = 2
"""After how many intervals without a start cron has stopped starting a command: one start may be skipped."""

LATE_MS = 30 * SECOND_MS
"""How late a start may be besides: cron may be slow, and what is wrong is named within a minute."""

ENQUEUES_MISSED = 3
"""After how many needed intervals without an enqueue-secondary that is a problem."""

FIRST_START_MS = MISSED_STARTS * MINUTE_MS
"""How long work waits before it is a problem that run-queue was never started: cron may just be set up."""

ENQUEUE_SILENT_MS = HOUR_MS
"""Time without a start of enqueue-secondary that is a problem, if no frequency allows for more."""

DAILY_LIST = "until a week after its day the provider's daily list writes ratio and state again"
"""What becomes of a correction by hand that comes too early."""

NAMES_SHOWN = 3
"""Maximum number of symbols that a problem names."""


class Situation(NamedTuple):
    """What the rules look at.

    `known_since_ms` is the start of the earliest cycle of run-priority that is remembered.
    """

    assets: Sequence[AssetHealth]
    jobs: Mapping[Command, JobState]
    dead: Sequence[DeadLetter]
    queue: QueueState
    config: Config
    now_ms: int
    known_since_ms: int | None = None
    last_enqueued: CycleRecord | None = None
    """The last cycle of enqueue-secondary."""
    asked_again: Mapping[str, int] = {}
    """The symbols of which too much has differed while everything of them is asked for again, and since
    when."""
    finer: Mapping[str, int] = {}
    """How many times within a day the past of a symbol was wanted once more in smaller bars."""
    splits: Sequence[tuple[str, KnownSplit]] = ()
    """The splits that are in doubt, and their symbols."""
    rules_without_members: Sequence[str] = ()
    """The rules that nothing fits of what the provider lists."""


def problems_of(situation: Situation) -> list[Problem]:
    """Return what a person should look at, the gravest first."""
    return gravest_first(problem for rule in RULES for problem in rule(situation))


def gravest_first(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems in their order, those that are critical first, and advice last."""
    grave = [Severity.CRITICAL, Severity.WARNING, Severity.ADVICE]
    return sorted(problems, key=lambda problem: grave.index(problem.severity))


def commands_failed(now: Situation) -> Iterator[Problem]:
    """Yield a problem for each command whose last start failed or was cut short."""
    for command, job in now.jobs.items():
        if job.last_error:
            failed = job.last_result == CycleOutcome.FAILED
            how = "failed" if failed else "was cut short"
            is_grave = failed and command is Command.RUN_PRIORITY
            yield Problem(
                f"the last {command} {how}: {job.last_error}",
                _since(job),
                Severity.CRITICAL if is_grave else Severity.WARNING,
            )
        elif last_result(job, now.config, now.now_ms) == DIED and job.last_started_ms is not None:
            yield Problem(
                f"the {command} of {moment(job.last_started_ms)} died before its end",
                "was it killed, or did the machine go down? its journal may say so",
                Severity.CRITICAL if command is Command.RUN_PRIORITY else Severity.WARNING,
            )


def _since(job: JobState) -> str:
    doctor = "assetbatch doctor says whether it lasts"
    return f"at {moment(job.last_finished_ms)}; {doctor}" if job.last_finished_ms else doctor


def priority_not_started(now: Situation) -> Iterator[Problem]:
    """Yield a problem if cron does not start run-priority, or not any more."""
    started_ms = now.jobs[Command.RUN_PRIORITY].last_started_ms
    minutes = now.config.batch.interval_minutes
    if not now.config.enabled_priority_assets:
        return  # nothing is to be started
    if started_ms is None:
        # A redis that knows other commands has lost nothing: those may have stored the prices.
        knows_others = any(job.last_started_ms is not None for job in now.jobs.values())
        if not knows_others and any(asset.as_of is not None for asset in now.assets):
            yield Problem(
                "redis has no record of a run-priority: it was emptied, or is another server",
                "the next start makes one; is redis.url right?",
            )
            return
        yield Problem(
            "run-priority has never been started", "start it by hand, then by cron (crontab.example)"
        )
    elif has_stopped(now.now_ms - started_ms, minutes * MINUTE_MS) and not now.config.sandbox:
        yield Problem(
            f"run-priority was last started {ago(now.now_ms - started_ms)}, it should be every {minutes} min",
            "is cron running, and does its log say why?",
            Severity.CRITICAL,
        )


def has_stopped(silent_ms: int, interval_ms: int) -> bool:
    """Return whether a command that should start every `interval_ms` is not started any more."""
    return silent_ms > MISSED_STARTS * interval_ms + LATE_MS


def enqueue_not_started(now: Situation) -> Iterator[Problem]:
    """Yield a problem if cron does not start enqueue-secondary though there are secondary assets."""
    started_ms = now.jobs[Command.ENQUEUE_SECONDARY].last_started_ms
    silent_ms = now.now_ms - (started_ms or now.known_since_ms or now.now_ms)
    longest_ms = max(ENQUEUE_SILENT_MS, ENQUEUES_MISSED * enqueue_needed_ms(now.config))
    if now.config.has_secondary and not now.config.sandbox and silent_ms > longest_ms:
        started = f"last started {ago(silent_ms)}" if started_ms else "never started"
        minutes = now.config.batch.enqueue_interval_minutes
        hint = f"cron should start it every {minutes} min (crontab.example)"
        yield Problem(f"enqueue-secondary was {started}", hint)


def queue_not_worked(now: Situation) -> Iterator[Problem]:
    """Yield a problem if work waits and cron does not start run-queue."""
    started_ms = now.jobs[Command.RUN_QUEUE].last_started_ms
    silent_ms = now.now_ms - (started_ms or now.queue.oldest_ms or 0)
    longest_ms = RUN_QUEUE_SILENT_MS if started_ms else FIRST_START_MS
    if now.queue.size and not now.config.sandbox and silent_ms > longest_ms:
        started = f"last started {ago(silent_ms)}" if started_ms else "never started"
        yield Problem(
            f"{plural(now.queue.size, 'item')} in the queue, and run-queue was {started}",
            "cron should start it every minute (crontab.example)",
        )


def queue_full(now: Situation) -> Iterator[Problem]:
    """Yield a problem if assets found no room in the queue when they were last queued."""
    last = now.last_enqueued
    if last is not None and last.dropped:
        names = ", ".join(last.dropped_names)
        more = last.dropped - len(last.dropped_names)
        yield Problem(
            f"the queue is full (at most {now.config.queue.max_size:,}): {plural(last.dropped, 'asset')} "
            f"found no room at {moment(last.started_ms)}: {names}{f' and {more} more' if more else ''}",
            "raise queue.max_size, or enable fewer assets",
        )


def not_registered(now: Situation) -> Iterator[Problem]:
    """Yield a problem if assets are not in the database."""
    unknown = [asset for asset in now.assets if asset.cause is Reason.NOT_REGISTERED]
    if unknown:
        is_grave = any(_is_critical(asset) for asset in unknown)
        yield Problem(
            f"{_names(unknown)}: not registered in the database",
            "run assetbatch init",
            Severity.CRITICAL if is_grave else Severity.WARNING,
        )


def prices_not_stored(now: Situation) -> Iterator[Problem]:
    """Yield a problem for each priority asset whose last refresh succeeded without a stored price."""
    for asset in now.assets:
        if asset.cause is Reason.NOT_STORED and _is_critical(asset):
            hint = "assetbatch doctor looks into it: a trigger, a row-level policy or another program?"
            yield Problem(f"{asset.symbol}: {asset.reason}", hint, Severity.CRITICAL)


def assets_not_well(now: Situation) -> Iterator[Problem]:
    """Yield a problem for each priority asset that fails or is stale and for each stock that is not listed,
    and one for all others in the same state."""
    others: dict[AssetState, list[AssetHealth]] = {}
    for asset in now.assets:
        is_thin = asset.state is AssetState.NO_DATA and asset.symbol in now.config.members_by_symbol
        if asset.state.is_well or asset.state is AssetState.NEVER or is_thin or _is_not_sold(asset):
            continue
        if asset.cause is Reason.UNLISTED:
            severity = Severity.CRITICAL if _is_critical(asset) else Severity.WARNING
            yield Problem(f"{asset.symbol}: {asset.reason}", _hint_of_unlisted(asset), severity)
            continue
        if _is_critical(asset):
            yield Problem(f"{asset.symbol}: {_what_is_wrong(asset)}", None, Severity.CRITICAL)
        else:
            others.setdefault(asset.state, []).append(asset)
    for alike in others.values():
        yield Problem(f"{_names(alike)}: {_what_is_wrong(alike[0])}")


def not_sold(now: Situation) -> Iterator[Problem]:
    """Yield advice for the tickers that the plan lacks, of a class of which plans have single tickers."""
    if lacking := [asset for asset in now.assets if _is_not_sold(asset)]:
        yield Problem(
            f"{_names(lacking)}: not in your plan",
            "remove them from the configuration, or change the plan; they are asked for again once a day",
            Severity.ADVICE,
        )


def _is_not_sold(asset: AssetHealth) -> bool:
    """Return whether the plan lacks the ticker alone. A priority asset without a price is grave all the
    same."""
    if asset.state is not AssetState.NOT_ENTITLED or _is_critical(asset):
        return False
    return class_of_type(AssetType(asset.asset_type)).is_sold_by_ticker


def _hint_of_unlisted(asset: AssetHealth) -> str:
    index = f"polygon_ticker: I:{asset.symbol}, asset_type: indices"
    return f"is its ticker right, or has its company another one now? an index is {index}"


def renamed(now: Situation) -> Iterator[Problem]:
    """Yield advice for each stock whose company has another ticker now."""
    for asset in now.assets:
        if asset.cause is Reason.RENAMED:
            hint = "configure its new ticker in place of this one"
            yield Problem(f"{asset.symbol}: {asset.reason}", hint, Severity.ADVICE)


def rules_empty(now: Situation) -> Iterator[Problem]:
    """Yield a problem for the rules whose look-up has found no member."""
    if now.rules_without_members:
        from assetbatch.domain.rules import RIGHT_HINT

        names = listed(list(now.rules_without_members), NAMES_SHOWN)
        yield Problem(f"rule {names}: nothing that the provider lists fits", RIGHT_HINT)


def dead_letters(now: Situation) -> Iterator[Problem]:
    """Yield a problem if items of the queue have failed for good."""
    if now.queue.dead:
        shown = ", ".join(f"{letter.id} ({letter.error})" for letter in now.dead)
        yield Problem(
            f"{plural(now.queue.dead, 'dead letter')}, the latest: {shown}",
            "assetbatch dead list shows them; dead retry tries them again, dead drop removes them",
        )


def bars_differ(now: Situation) -> Iterator[Problem]:
    """Yield a problem for the symbols of which too many stored bars have differed from later answers."""
    if now.asked_again:
        names = listed(list(now.asked_again), NAMES_SHOWN)
        since = moment(min(now.asked_again.values()))
        yield Problem(
            f"{names}: more than 1 % of the verified bars differed; all is asked for again since {since}",
            "run-queue does it with the calls that prices leave free; assetbatch holes shows what differed",
        )


def sizes_differ(now: Situation) -> Iterator[Problem]:
    """Yield a problem for the symbols of which hosts seem to keep bars of different sizes."""
    found = [symbol for symbol, count in now.finer.items() if count >= MOST_FINER]
    if found:
        names = listed(found, NAMES_SHOWN)
        yield Problem(
            f"{names}: more bars are kept here or elsewhere than on another host",
            "give it the same `bars` and `extended_hours` on all hosts; "
            "the past is asked for again a day later",
        )


def splits_in_conflict(now: Situation) -> Iterator[Problem]:
    """Yield a problem if the provider lists splits that contradict each other."""
    if names := _splits(now, is_conflict=True):
        yield Problem(
            f"{names}: the provider lists several splits for the day, and they differ: none counts",
            "look it up, and correct its row in the table of splits: ratio, and state applied or withdrawn; "
            f"{DAILY_LIST}",
        )


def splits_do_not_fit(now: Situation) -> Iterator[Problem]:
    """Yield a problem if the bars around the day of a split do not bear it out."""
    if names := _splits(now, is_conflict=False):
        yield Problem(
            f"{names}: the prices before and after do not fit the split, which counts all the same",
            "look it up; in its row in the table of splits set fits to true, or state to withdrawn; "
            f"{DAILY_LIST}",
        )


def _splits(now: Situation, *, is_conflict: bool) -> str:
    if not now.splits:
        return ""
    from assetbatch.domain.splits import SplitState

    some = [
        f"{symbol} on {one.split.execution_date}"
        for symbol, one in now.splits
        if (one.state is SplitState.CONFLICT) == is_conflict
    ]
    return listed(some, NAMES_SHOWN)


RULES: tuple[Callable[[Situation], Iterable[Problem]], ...] = (
    commands_failed,
    priority_not_started,
    enqueue_not_started,
    queue_not_worked,
    queue_full,
    not_registered,
    prices_not_stored,
    assets_not_well,
    renamed,
    not_sold,
    rules_empty,
    dead_letters,
    bars_differ,
    sizes_differ,
    splits_in_conflict,
    splits_do_not_fit,
)
"""All rules; their order is that of problems that are equally grave."""


def _is_critical(asset: AssetHealth) -> bool:
    return asset.priority is AssetPriority.CRITICAL


def _names(assets: Sequence[AssetHealth]) -> str:
    return listed([asset.symbol for asset in assets], NAMES_SHOWN)


def _what_is_wrong(asset: AssetHealth) -> str:
    if asset.state is AssetState.STALE:
        age = format_duration(round((asset.age_seconds or 0) * SECOND_MS))
        return f"stale, its price is {age} old ({asset.reason})"
    return f"{asset.state.label} ({asset.error})" if asset.error else asset.state.label


def verdict(problems: Sequence[Problem], alerts: Sequence[Alert]) -> HealthStatus:
    """Return unhealthy with anything critical, degraded with any warning; advice is no matter."""
    severities = {problem.severity for problem in problems} | {alert.severity for alert in alerts}
    if Severity.CRITICAL in severities:
        return HealthStatus.UNHEALTHY
    return HealthStatus.DEGRADED if Severity.WARNING in severities else HealthStatus.HEALTHY
