"""What follows from the facts: each finding says how bad it is, what it is and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from assetbatch.config import Config
from assetbatch.database.adoption import Plan
from assetbatch.database.adoption.findings import Part
from assetbatch.database.facts import DatabaseFacts
from assetbatch.database.failures import INIT_HINT
from assetbatch.database.partitions import Partition, looked_after, missing
from assetbatch.database.shape import Concern
from assetbatch.domain import references
from assetbatch.domain.asset_classes import AssetType, Product, product_of
from assetbatch.domain.assets import Asset, Rule
from assetbatch.domain.due import RUN_QUEUE_SILENT_MS
from assetbatch.domain.endings import pause_in_words
from assetbatch.domain.entitlements import Entitlements, restriction_in_words
from assetbatch.domain.formatting import ago, format_duration, listed, moment, plural
from assetbatch.domain.market_hours import month_of, to_ms
from assetbatch.domain.pages import length_in_words
from assetbatch.domain.queueing import QueueState
from assetbatch.domain.records import Command
from assetbatch.domain.rules import RIGHT_HINT, Member, Walk
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from assetbatch.errors import AssetbatchError, RedisError
from assetbatch.health import JobHealth
from assetbatch.health.jobs import enqueue_needed_ms, interval_ms
from assetbatch.health.problems import ENQUEUES_MISSED, has_stopped
from assetbatch.state.window import WindowState

CLOCK_WARNING_MS = 2 * SECOND_MS
CLOCK_ERROR_MS = MINUTE_MS
REDIS_VERSION = (7, 0)
VALKEY_VERSION = (8, 0)
POSTGRES_VERSION = 150_000
NEARLY_FULL = 0.9
LONGEST_CYCLE_MS = HOUR_MS + MINUTE_MS
"""Maximum time of a lock: no `--max-seconds` is longer than an hour. A longer one came by a clock's jump."""
NTP_HINT = "have NTP (chrony, systemd-timesyncd) slew both clocks; a jump ahead would open the call window"
CRON_HINT = "run assetbatch cron install, or put the lines of crontab.example into your crontab"
CRON_LATE_HINT = "is cron running, and does its log say why?"


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report. `code` is the exit code that an error of this kind leads to."""

    check: str
    level: Level
    message: str
    hint: str | None = None
    code: int = msgspec.field(default=1)


def ok(check: str, message: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, level=Level.OK, message=message)


def warning(check: str, message: str, hint: str | None = None) -> Finding:
    """Return something to look at."""
    return Finding(check=check, level=Level.WARNING, message=message, hint=hint)


def error(check: str, message: str, hint: str | None = None, *, code: int = 1) -> Finding:
    """Return that it does not work like this."""
    return Finding(check=check, level=Level.ERROR, message=message, hint=hint, code=code)


def of_error(check: str, raised: AssetbatchError) -> list[Finding]:
    """Return an exception as findings; that of a configuration has a line for each mistake."""
    *lines, last = raised.message.splitlines() or [""]
    code = raised.exit_code
    return [*(error(check, line, code=code) for line in lines), error(check, last, raised.hint, code=code)]


def not_checked(check: str, why: str) -> Finding:
    """Return that something could not be looked at, since something that it needs is missing."""
    return warning(check, f"not checked: {why}")


def worst(findings: Sequence[Finding]) -> Level:
    """Return the worst level of all."""
    levels = [finding.level for finding in findings]
    return Level.ERROR if Level.ERROR in levels else Level.WARNING if Level.WARNING in levels else Level.OK


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the code of the first error, on which the later ones may depend; 0 without one."""
    return next((finding.code for finding in findings if finding.level is Level.ERROR), 0)


# --- Redis ---


class Asked(NamedTuple):
    """Between which two moments (ms, by the clock of who asked) another clock was read."""

    from_ms: int
    to_ms: int


def of_redis(
    info: Mapping[str, Any],
    redis_ms: int,
    host: Asked,
    *,
    embedded: bool = False,
    group: str = "",
    url_name: str = "redis.url",
) -> list[Finding]:
    """Judge version, role, replicas, persistence, eviction, memory and clock, from what `INFO` says.

    `redis_ms` is the server's time, `host` when this host asked for it. `group` is `sentinel` or `cluster` if
    servers stand in for one another. `url_name` says where its URL is configured.
    """
    findings = [_redis_version(info)]
    if group:
        findings.append(_replicas(info, group))
    if info.get("role") == "slave":
        findings.append(
            error("redis", "this is a read-only replica", f"point {url_name} at the master", code=3)
        )
    findings.append(_persistence(info, embedded=embedded))
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = str(info.get("maxmemory_policy", "unknown"))
    if limit and policy != "noeviction":
        message = f"eviction policy {policy}: a full server drops the call window or queued work"
        findings.append(error("redis", message, "set maxmemory-policy noeviction", code=3))
    if limit and used > NEARLY_FULL * limit:
        findings.append(warning("redis", f"memory is {used / limit:.0%} full", "raise maxmemory"))
    elif not limit or policy == "noeviction":
        findings.append(ok("redis", f"nothing is evicted, {used / 2**20:.1f} MB used"))
    findings.append(clock("redis", "redis' clock", redis_ms, "this host's", host))
    return findings


def _redis_version(info: Mapping[str, Any]) -> Finding:
    valkey = info.get("valkey_version")
    name, text = ("Valkey", str(valkey)) if valkey else ("Redis", str(info.get("redis_version", "?")))
    least = VALKEY_VERSION if valkey else REDIS_VERSION
    numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if numbers < least:
        hint = "Redis 7 or Valkey 8 or later is needed"
        return error("redis", f"{name} {text} is too old", hint, code=3)
    return ok("redis", f"{name} {text}")


def _replicas(info: Mapping[str, Any], group: str) -> Finding:
    count = int(info.get("connected_slaves", 0))
    if count:
        return ok("redis", f"{plural(count, 'replica')} would take over ({group})")
    return warning(
        "redis",
        f"no replica follows this server of the {group} group: who would take over?",
        "bring one back; until then a failure of this server stops everything",
    )


def _persistence(info: Mapping[str, Any], *, embedded: bool) -> Finding:
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status", "ok") != "ok":
            message = "the last write to the append-only file failed"
            return error("redis", message, "is its disk full?", code=3)
        return ok("redis", "every write is persisted" if embedded else "persistence by append-only file")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return error("redis", "the last snapshot to disk failed", "look at its log and its disk", code=3)
    return warning(
        "redis",
        "no append-only file: a restart may lose the latest of queue and call window",
        "set appendonly yes; assetbatch notices a lost window and waits, lost work is queued again",
    )


def of_trial(write: RedisError | None, publish: RedisError | None, example: Asset | None) -> list[Finding]:
    """Return what Redis has against writing and publishing; `example` is the asset whose channel was
    tried."""
    if write:
        return of_error("redis", write)
    if publish:
        channel = f" (tried: that of {example.symbol})" if example else ""
        hint = "allow it the channels asset:update:* (ACL SETUSER <user> &asset:update:*)"
        return [error("redis", f"this user may not publish{channel}: {publish.message}", hint, code=3)]
    return []


def clock(check: str, name: str, its_ms: int, other: str, asked: Asked) -> Finding:
    """Judge whether a clock agrees with the other one, by which it was `asked`. A slow answer is no
    difference."""
    off = its_ms - min(max(its_ms, asked.from_ms), asked.to_ms)
    words = f"{name} is {format_duration(abs(off))} {'ahead of' if off > 0 else 'behind'} {other}"
    if abs(off) >= CLOCK_ERROR_MS:
        return error(check, words, NTP_HINT, code=3)
    if abs(off) >= CLOCK_WARNING_MS:
        return warning(check, words, NTP_HINT)
    return ok(check, f"{name} agrees with {other}")


# --- PostgreSQL ---


def of_database(facts: DatabaseFacts, asked: Asked | None) -> list[Finding]:
    """Judge version, rights and clock; `asked` is when by Redis' clock, None without Redis."""
    shown = f"PostgreSQL {facts.version // 10_000}.{facts.version % 10_000}"
    findings = [ok("postgresql", shown)]
    if facts.version < POSTGRES_VERSION:
        findings = [error("postgresql", f"{shown} is too old", "PostgreSQL 15 or later is needed", code=3)]
    if facts.read_only:
        hint = "use the primary, or turn default_transaction_read_only off"
        findings.append(error("postgresql", "the database is read-only", hint, code=3))
    if facts.missing_rights:
        message = f"the role lacks {plural(len(facts.missing_rights), 'right')}: " + ", ".join(
            facts.missing_rights
        )
        findings.append(error("postgresql", message, "GRANT them as the owner of the tables", code=3))
    else:
        findings.append(ok("postgresql", "the role has every right it needs"))
    if asked is not None:
        findings.append(clock("postgresql", "its clock", facts.now_ms, "redis'", asked))
    return findings


def of_partitions(there: Sequence[Partition], now_ms: int, of: str = "bars") -> list[Finding]:
    """Judge whether each moment has a partition of a table of bars, and the next month one of its own.

    It says nothing of tables that assetbatch has not partitioned.
    """
    later = next((part for part in there if looked_after([part], of)), None)
    if later is None or later.start_ms is None:
        return []
    bars = "minutes" if of == "bars_1m" else "bars"
    gaps = [part for part in missing(there, now_ms, of) if part.end_ms and part.end_ms <= later.start_ms]
    if gaps:
        names = listed([part.name for part in gaps], 3)
        message = f"{bars} have no partition to go into and would be refused: {names} is missing"
        return [error("postgresql", message, INIT_HINT, code=3)]
    if later.start_ms < month_of(now_ms, 2):
        message = f"the partitions of {bars} end at {moment(later.start_ms)}: what is later shares one table"
        return [warning("postgresql", message, INIT_HINT)]
    return [ok("postgresql", f"{bars} have partitions by month up to {moment(later.start_ms)}")]


def of_refusals(found: Plan) -> list[Finding]:
    """Return why `init` would refuse the tables that are there: each would keep data out or spoil it."""
    return [
        error("postgresql", f"{refusal.what} {refusal.why}", refusal.remedy, code=2)
        for refusal in found.refusals
    ]


def of_adoption(found: Plan, locked_out: Sequence[str], symbols: int) -> list[Finding]:
    """Return what the plan of `init` says of tables that are there.

    `locked_out` are those of the configured `symbols` whose rows may be read but not updated.
    """
    findings = of_refusals(found)
    lacking = [f"{one.part} {one.what}" for one in found.additions if one.part is not Part.ROW]
    if lacking:
        findings.append(error("postgresql", f"{listed(lacking, 5)}: not there", INIT_HINT, code=3))
    elif found.changed:
        message = f"the tables are not as init has found them: {listed(found.changed, 5)}"
        findings.append(error("postgresql", message, f"restore them, or {INIT_HINT}", code=3))
    findings += [warning("postgresql", f"{note.what} {note.why}", note.remedy) for note in found.warnings]
    if locked_out and not found.refusals:
        message = (
            f"row level security lets this role read but not update {len(locked_out)} of "
            f"{plural(symbols, 'symbol')}: {listed(locked_out, 5)}"
        )
        hint = "CREATE POLICY ... FOR UPDATE on the table of symbols for this role"
        findings.append(error("postgresql", message, hint, code=2))
    return findings


def of_tables(concerns: Sequence[Concern], refused: Mapping[str, str]) -> list[Finding]:
    """Return what the tables will keep out; `refused` has the symbols that the database refuses now, and
    why."""
    findings = [
        error("postgresql", concern.message, concern.hint, code=3)
        if concern.stops_all
        else warning("postgresql", concern.message, concern.hint)
        for concern in concerns
    ]
    hint = "mend the table, then run assetbatch init; until then it is asked for less and less often"
    findings += [
        warning("postgresql", f"the database refuses {symbol}: {why}", hint)
        for symbol, why in refused.items()
    ]
    return findings


def of_registered(config: Config, registered: Sequence[str]) -> Finding:
    """Judge whether `init` has entered every asset."""
    missing = [asset.symbol for asset in config.assets if asset.symbol not in registered]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        return error("postgresql", f"not registered: {shown}", "run assetbatch init", code=3)
    return ok("postgresql", f"the schema is there, {plural(len(config.assets), 'asset')} registered")


RULES_HINT = "run assetbatch init, which says what is in the way; run-queue does it by itself once a day"
RULES_LATE_MS = 2 * DAY_MS
"""Age of a look-up from which something is in its way."""


def of_rules(
    rules: Iterable[Rule], members: Mapping[str, Sequence[Member]], walks: Mapping[str, Walk], now_ms: int
) -> list[Finding]:
    """Return how many members each rule has, and whether they are looked up; both by the rule's key."""
    findings = []
    for rule in rules:
        walk, count = walks.get(rule.key), len(members.get(rule.key, ()))
        what = f"rule {rule.key}: {plural(count, 'member')}"
        if walk is None:
            findings.append(warning("postgresql", f"{what}, not looked up yet", RULES_HINT))
            continue
        at_ms = walk.started_ms if walk.finished_ms is None else walk.finished_ms
        seen = "looked up" if walk.is_finished else "not all looked up, begun"
        words = f"{what}, {seen} {ago(now_ms - at_ms)}"
        if now_ms - at_ms > RULES_LATE_MS:
            findings.append(warning("postgresql", words, RULES_HINT))
        elif walk.knows_members and not count:
            findings.append(warning("postgresql", f"{words}: nothing that is listed fits", RIGHT_HINT))
        else:
            findings.append(ok("postgresql", words))
    return findings


# --- locks, plan, window, queue, cron ---


def of_locks(held: Mapping[Command, Sequence[int]], now_ms: int) -> list[Finding]:
    """Return who runs now; `held` has the moments (ms) at which the locks of each command end."""
    findings = []
    for command, ends_ms in held.items():
        if ends_ms and max(ends_ms) - now_ms > LONGEST_CYCLE_MS:
            left = format_duration(max(ends_ms) - now_ms)
            message = f"{command} is locked for another {left}, longer than any cycle may take"
            hint = f"was redis' clock set back? wait, or delete its key lock:{command.old}"
            findings.append(warning("locks", message, hint))
    running = [f"{len(ends)} {name}" for name, ends in held.items() if ends]
    if not findings:
        findings.append(ok("locks", f"running now: {', '.join(running)}" if running else "nobody is running"))
    return findings


class ProviderClock(NamedTuple):
    """The provider's time (None: it said none) and its open markets, in words."""

    server_time_ms: int | None
    markets: str


def of_provider(found: ProviderClock, asked: Asked) -> list[Finding]:
    """Return that the provider has answered, `asked` by Redis' clock: the key is good."""
    findings = [ok("vendor", f"answers, and takes the API key ({found.markets})")]
    if found.server_time_ms is not None:
        findings.append(clock("vendor", "the provider's clock", found.server_time_ms, "redis'", asked))
    return findings


def of_plan(config: Config, known: Entitlements, now_ms: int) -> list[Finding]:
    """Return up to when each class may be seen, product by product, and what the provider has refused of the
    plan."""
    horizons: dict[Product, list[str]] = {product: [] for product in config.products}
    for asset_type in config.asset_types:
        horizons[product_of(asset_type)].append(_horizon(known, asset_type, now_ms))
    findings = []
    for product, shown in horizons.items():
        plan = config.rate_limiting.plan_of(product)
        words = f"{product} {plan}" if len(horizons) > 1 else plan
        findings.append(ok("plan", f"{words}: {', '.join(shown)}"))
    markets = {asset.market for asset in config.assets}
    findings += [
        ok("plan", length_in_words(length, days))
        for length, days in known.market_lengths(now_ms)
        if length.of in markets
    ]
    expected = Entitlements(end_of_day=config.end_of_day)
    for refusal in known.believed(now_ms):
        words = restriction_in_words(refusal)
        product = product_of(refusal.asset_type)
        if product in config.end_of_day or expected.expects(refusal.restriction, refusal.asset_type):
            findings.append(ok("plan", words))
        else:
            page = config.rate_limiting.upgrade_url.masked()
            hint = f"is {config.rate_limiting.plan_setting(product)} what this key has? {page}"
            findings.append(warning("plan", words, hint))
    return findings


def of_references(asked: Mapping[str, references.Asked], now_ms: int) -> list[Finding]:
    """Return which reference data the plan is known to refuse. Prices and bars do not depend on them."""
    return [
        ok(
            "plan",
            f"your plan has no {name}: {one.error}; asked again {moment(one.at_ms + references.REFUSED_MS)}",
        )
        for name, one in asked.items()
        if one.is_refused(now_ms)
    ]


def _horizon(known: Entitlements, asset_type: AssetType, now_ms: int) -> str:
    horizon = known.visible_until_ms(asset_type, now_ms)
    if now_ms - horizon == known.delay_ms(asset_type, now_ms) > 0:
        return f"{asset_type} up to {format_duration(now_ms - horizon)} ago"
    return f"{asset_type} up to {'now' if now_ms - horizon < MINUTE_MS else moment(horizon)}"


def of_window(state: WindowState) -> Finding:
    """Return what is left of the calls."""
    wait_ms = state.next_slot_ms - state.now_ms
    words = f"{state.used} of {state.limit} calls used in {state.window_ms / 1000:g} s"
    if state.pause:
        words += f", {pause_in_words(state.pause, wait_ms, begun=state.pause_begun)}"
    elif state.remaining:
        words += f", {state.remaining} free"
    else:
        words += f", the next in {format_duration(wait_ms)}"
    if state.reserved:
        words += f", {state.reserved} kept for the next priority cycle"
    return ok("window", words)


def of_queue(state: QueueState, max_size: int) -> Finding:
    """Judge the room and the dead letters."""
    words = f"{state.size} of at most {max_size}, {plural(state.dead, 'dead letter')}"
    if state.size > NEARLY_FULL * max_size:
        return warning("queue", f"nearly full: {words}", "raise queue.max_size, or enable fewer assets")
    if state.dead:
        return warning("queue", words, "see assetbatch dead list")
    return ok("queue", words)


def of_cron(jobs: Sequence[JobHealth], waiting: int, config: Config, now_ms: int) -> list[Finding]:
    """Judge when each command last started; `waiting` items are queued."""
    if config.sandbox:
        return [ok("cron", "a sandbox needs none")]
    findings = []
    never = [job.id for job in jobs if job.last_started is None and _has_work(job.id, waiting, config)]
    if never:
        verb = "was" if len(never) == 1 else "were"
        findings.append(warning("cron", f"{', '.join(never)} {verb} never started", CRON_HINT))
    findings += [
        _of_job(job, now_ms - to_ms(datetime.fromisoformat(job.last_started)), waiting, config)
        for job in jobs
        if job.last_started is not None
    ]
    return findings or [ok("cron", "there is nothing to be started")]


def of_crontab(crontab: bytes, config: Config) -> list[Finding]:
    """Judge whether the lines of this configuration have the intervals that it asks for."""
    from assetbatch.setup.starts import cron_schedule, out_of_step

    if config.file is None or config.sandbox:
        return []
    minutes = {command: interval_ms(command, config) // MINUTE_MS for command in Command}
    return [
        warning(
            "cron",
            f"the crontab starts {command} at {times}, the configuration asks for "
            f"{cron_schedule(minutes[command])}",
            "run assetbatch cron install again",
        )
        for command, times in out_of_step(crontab, Path(os.path.abspath(config.file)), minutes).items()
    ]


def _has_work(command: Command, waiting: int, config: Config) -> bool:
    if command is Command.RUN_PRIORITY:
        return bool(config.enabled_priority_assets)
    if command is Command.ENQUEUE_SECONDARY:
        return config.has_secondary
    return bool(waiting or config.has_secondary)


def _of_job(job: JobHealth, age_ms: int, waiting: int, config: Config) -> Finding:
    started = f"{job.id} was last started {ago(age_ms)}"
    if _has_work(job.id, waiting, config):
        if job.id is Command.RUN_PRIORITY and has_stopped(age_ms, interval_ms(job.id, config)):
            words = f"{started}, it should be every {config.batch.interval_minutes} min"
            return error("cron", words, CRON_LATE_HINT)
        if job.id is Command.RUN_QUEUE and waiting and age_ms > RUN_QUEUE_SILENT_MS:
            return warning("cron", f"{started}, and {plural(waiting, 'item')} in the queue", CRON_LATE_HINT)
        if job.id is Command.ENQUEUE_SECONDARY and age_ms > ENQUEUES_MISSED * enqueue_needed_ms(config):
            words = f"{started}, it should be every {enqueue_needed_ms(config) // MINUTE_MS} min"
            return warning("cron", words, CRON_LATE_HINT)
    words = f"{job.id} started {ago(age_ms)}: {job.last_result}"
    if job.last_error:
        hint = f"if nothing above explains it, start it by hand: assetbatch -v {job.id}"
        return warning("cron", f"{words}: {job.last_error}", hint)
    return ok("cron", words)
