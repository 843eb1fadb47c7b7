"""Asks everything, in an order in which each answer explains the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from assetbatch.commands.init import look_at
from assetbatch.config import Config
from assetbatch.config.needs import missing
from assetbatch.config.options import check_options
from assetbatch.config.symbols import ALIKE_HINT, doubts_of_rules, lookalikes
from assetbatch.database import Store
from assetbatch.database.facts import DatabaseFacts
from assetbatch.deadline import Deadline, monotonic
from assetbatch.doctor.findings import (
    Asked,
    Finding,
    Level,
    ProviderClock,
    error,
    not_checked,
    of_adoption,
    of_cron,
    of_crontab,
    of_database,
    of_error,
    of_locks,
    of_partitions,
    of_plan,
    of_provider,
    of_queue,
    of_redis,
    of_references,
    of_refusals,
    of_registered,
    of_rules,
    of_tables,
    of_trial,
    of_window,
    ok,
    warning,
)
from assetbatch.doctor.secrets import readable_secrets
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.formatting import format_duration, plural
from assetbatch.domain.queueing import CallKind, DenialReason, Denied
from assetbatch.domain.records import Command
from assetbatch.domain.refusals import RefusalKind
from assetbatch.errors import (
    AssetbatchError,
    DatabaseError,
    DeadlineExceededError,
    RedisError,
    SchemaMissingError,
)
from assetbatch.health import job_health
from assetbatch.health.jobs import TOO_FREQUENT_HINT, too_frequent
from assetbatch.provider.refusals import Refusal
from assetbatch.secret import masked
from assetbatch.services import Services
from assetbatch.state.connection import redis_errors
from assetbatch.state.events import channel
from assetbatch.state.preflight import preflight_errors
from assetbatch.state.process_id import new_id
from assetbatch.state.window import Grant

SLOT_SECONDS = 5.0
"""Maximum time in seconds to wait for a free call. After that the provider is not asked."""

PROBE_SECONDS = 8.0

HANGS_HINT = "is its server frozen or overloaded, or a disk full or gone?"


def examine_config(config: Config) -> Iterator[Finding]:
    """Check whether a valid configuration has all that is needed. Ask no server."""
    counts = len(config.enabled_priority_assets), len(config.enabled_secondary_assets)
    where = masked(str(config.file)) if config.file else "the built-in configuration"
    state = "read" if list(missing(config)) else "valid"
    rules = f" and {plural(len(config.rules), 'rule')}" if config.rules else ""
    yield ok("config", f"{where}: {state}, {counts[0]} priority and {counts[1]} secondary assets{rules}")
    for words in lookalikes(config.configured_symbols):
        yield warning("config", words, ALIKE_HINT)
    for doubt in doubts_of_rules(config.enabled_rules):
        yield warning("config", *doubt)
    for words in too_frequent(config):
        yield warning("config", words, TOO_FREQUENT_HINT)
    if not any(counts) and not config.enabled_rules:
        yield warning("config", "no asset is enabled: there is nothing to do", "enable some in config.yml")
    try:
        config.require_api_key()
        yield ok("config", f"an API key is configured ({config.origins.get('api_key', 'default')})")
    except AssetbatchError as raised:
        yield from of_error("config", raised)
    try:
        check_options(config)
    except AssetbatchError as raised:
        yield from of_error("config", raised)
    yield from readable_secrets(config)


def examine(services: Services, deadline: Deadline, *, call: bool) -> Iterator[Finding]:
    """Check the servers, the provider and the work. Yield each finding as soon as it is known.

    With `call` the provider is asked once, if a slot is free.
    """
    found = _Examination(services, deadline, call=call)
    return in_order(
        {
            "redis": found.redis,
            "postgresql": found.postgresql,
            "locks": found.locks,
            "vendor": found.provider,
            "plan": found.plan,
            "window": found.window,
            "queue": found.queue,
            "cron": found.cron,
        }
    )


def in_order(checks: Mapping[str, Callable[[], Iterable[Finding]]]) -> Iterator[Finding]:
    """Yield the findings of the checks, one check after the other.

    A check that fails is a finding itself. Without Redis, or when the time is over, the rest is not
    checked.
    """
    missing = ""
    said: set[str] = set()
    for check, look in checks.items():
        if missing and (missing, check) != ("redis", "postgresql"):
            yield not_checked(check, f"it needs {missing}")
            continue
        try:
            for finding in look():
                said.add(finding.message)
                yield finding
        except DeadlineExceededError as raised:
            yield error(check, f"hangs: {raised.message}", HANGS_HINT, code=raised.exit_code)
            missing = "more time"
        except RedisError as raised:
            if raised.message not in said:
                yield from of_error("redis", raised)
            if check != "redis":
                yield not_checked(check, "it needs redis")
            missing = "redis"
        except AssetbatchError as raised:
            yield from of_error(check, raised)


def examine_servers(services: Services, deadline: Deadline) -> Iterator[Finding]:
    """Check Redis and PostgreSQL alone, as before `init`: no table need be there."""
    found = _Examination(services, deadline, call=False)
    return in_order({"redis": found.redis, "postgresql": found.database_server})


class _Examination:
    """The checks in their order. Each may rely on the findings of those before it."""

    def __init__(self, services: Services, deadline: Deadline, *, call: bool) -> None:
        self._services = services
        self._config = services.config
        self._deadline = deadline
        self._call = call
        self._has_redis = False
        self._takes_writes = False
        self._waiting = 0

    def redis(self) -> Iterator[Finding]:
        client = self._services.redis
        with redis_errors():
            info = client.info()
        before_ms = _host_ms()
        redis_ms = self._services.now_ms()
        host = Asked(before_ms, _host_ms())
        self._has_redis = True
        url = self._config.require_redis()
        yield from of_redis(
            info, redis_ms, host, embedded=url.embedded, group=url.group, url_name=url.names.address
        )
        example = next(iter(self._config.assets), None)
        write, publish = preflight_errors(
            client,
            ("HSET", self._services.keys.job("doctor"), "field", "value"),
            ("PUBLISH", channel(example.symbol if example else ""), ""),
        )
        self._takes_writes = write is None
        if info.get("role") != "slave":  # else it has been said
            yield from of_trial(write, publish, example)

    def database_server(self) -> Iterator[Finding]:
        with self._services.open_store(check_schema=False) as store:
            yield from of_database(*self._facts(store))

    def _facts(self, store: Store) -> tuple[DatabaseFacts, Asked | None]:
        before_ms = self._services.now_ms() if self._has_redis else 0
        facts = store.facts()
        return facts, Asked(before_ms, self._services.now_ms()) if self._has_redis else None

    def postgresql(self) -> Iterator[Finding]:
        with self._services.open_store(check_schema=False) as store:
            facts, asked = self._facts(store)
            yield from of_database(facts, asked)
            if facts.missing_rights:
                return  # what follows would only say it again
            try:
                store.check_schema()
            except SchemaMissingError as raised:
                yield from of_error("postgresql", raised)
                yield from of_refusals(
                    store.plan(self._config.database.tables, self._config.assets, tries=False)
                )
                return
            for of, there in facts.partitions.items():
                yield from of_partitions(there, facts.now_ms, of)
            tables, symbols = self._config.database.tables, [asset.symbol for asset in self._config.assets]
            adopted = of_adoption(
                store.plan(tables, self._config.assets, tries=False), store.locked_out(symbols), len(symbols)
            )
            yield from adopted
            if any(finding.level is Level.ERROR for finding in adopted):
                return  # what is asked below may need what is missing
            concerns = look_at(store, self._config.assets)
            if any(concern.stops_all for concern in concerns):
                yield from of_tables(concerns, {})
                return
            stored = store.load([asset.symbol for asset in self._config.assets])
            refused = {
                symbol: of.error_message or "" for symbol, of in stored.items() if of.rejected_ms is not None
            }
            yield from of_tables(concerns, refused)
            yield of_registered(self._config, list(stored))
            if rules := self._config.enabled_rules:
                keys = [rule.key for rule in rules]
                yield from of_rules(rules, store.members(keys), store.walks(keys), facts.now_ms)

    def locks(self) -> Iterable[Finding]:
        held = {command: self._services.locks.held(command) for command in Command}
        return of_locks(held, self._services.now_ms())

    def provider(self) -> Iterable[Finding]:
        if self._config.api_key is None:
            return [not_checked("vendor", "it needs an API key")]
        if not self._call:
            return [ok("vendor", "not asked (--no-call)")]
        if not self._takes_writes:
            return [not_checked("vendor", "it needs redis to take writes, for the call to be counted")]
        return _provider(self._services, self._deadline)

    def plan(self) -> Iterable[Finding]:
        if self._config.api_key is None:
            yield not_checked("plan", "it needs an API key")
            return
        now_ms = self._services.now_ms()
        yield from of_plan(self._config, self._services.entitlements(), now_ms)
        if self._config.follows_exchange or self._config.enabled_rules:
            yield from of_references(self._services.reference_store.load(), now_ms)

    def window(self) -> Iterable[Finding]:
        if self._config.api_key is None:
            return [not_checked("window", "it needs an API key")]
        return [of_window(self._services.window.state())]

    def queue(self) -> Iterable[Finding]:
        state = self._services.queue.state()
        self._waiting = state.size
        return [of_queue(state, self._config.queue.max_size)]

    def cron(self) -> Iterable[Finding]:
        now_ms = self._services.now_ms()
        jobs = [
            job_health(command, self._services.history.job(command), self._config, now_ms)
            for command in Command
        ]
        yield from of_crontab(_crontab(), self._config)
        yield from of_cron(jobs, self._waiting, self._config, now_ms)


def _crontab() -> bytes:
    """Return the crontab of this user; nothing where it cannot be read."""
    from assetbatch.setup import crontab

    try:
        return crontab.read()
    except AssetbatchError:
        return b""


def _host_ms() -> int:
    return round(time.time() * 1000)


def _provider(services: Services, deadline: Deadline) -> Sequence[Finding]:
    provider = services.provider  # made before the slot is taken, which does not keep for long
    try:
        grant = _slot(services, deadline)
        if isinstance(grant, Grant):
            _record_call(services, grant)
    except DatabaseError:
        return [not_checked("vendor", "it needs the database, to record that a call is made")]
    if not isinstance(grant, Grant):
        free_in = format_duration(grant.wait_ms)
        if grant.reason is DenialReason.BLOCKED:
            hint = "it said too many calls (429): does another program use this key?"
            return [warning("vendor", f"allows no call for another {free_in}", hint)]
        return [ok("vendor", f"not asked: no call is free for {free_in}; ask again then")]
    if grant.too_old(monotonic()):  # this host slept meanwhile
        services.window.cancel(grant)
        return [not_checked("vendor", "this host was too slow to use its slot")]
    sent = True
    before_ms = services.now_ms()
    try:
        seconds = min(PROBE_SECONDS, services.window.call_ends_at(grant) - monotonic())
        status = provider.market_status(deadline_seconds=seconds)
    except Refusal as refusal:
        sent = refusal.sent
        return [_refused(services, refusal)]
    finally:
        if sent:
            services.window.complete(grant)
        else:
            services.window.cancel(grant)
    types = services.config.asset_types or AssetType
    markets = ", ".join(f"{name} {status.markets.get(name, 'unknown')}" for name in types)
    return of_provider(ProviderClock(status.server_time_ms, markets), Asked(before_ms, services.now_ms()))


def _record_call(services: Services, grant: Grant) -> None:
    """Record a call. If that fails, free the slot and raise DatabaseError."""
    try:
        services.store.record_call()
    except BaseException:
        services.window.cancel(grant)
        raise


def _slot(services: Services, deadline: Deadline) -> Grant | Denied:
    """Return a free call, or why and for how long there is none."""
    call_id = new_id()
    waited = 0.0
    while True:
        answer = services.window.ask(CallKind.QUEUE, call_id)
        if isinstance(answer, Grant):
            return answer
        if deadline.stopped or waited + answer.wait_ms / 1000 > SLOT_SECONDS:
            services.window.abandon_wait(call_id)
            return answer
        deadline.wait(answer.pause_seconds)
        waited += answer.pause_seconds


def _refused(services: Services, refusal: Refusal) -> Finding:
    match refusal.kind:
        case RefusalKind.KEY:
            return error("vendor", f"refuses the API key: {refusal.message}", refusal.hint, code=4)
        case RefusalKind.TOO_MANY_CALLS:
            until_ms = services.window.block(refusal.retry_after_seconds)
            hint = "does another program use this key? then lower rate_limiting.calls_per_minute"
            left = format_duration(until_ms - services.now_ms())
            return warning("vendor", f"says too many calls; nobody calls for {left}", hint)
        case RefusalKind.NOT_IN_PLAN:
            return ok("vendor", "answers, and takes the API key")
        case RefusalKind.NONSENSE:
            hint = f"check {services.config.named('provider.base_url')}"
            return error("vendor", f"cannot be used: {refusal.message}", hint, code=3)
        case _:
            hint = refusal.hint or "is the network up, and provider.base_url right?"
            return error("vendor", f"cannot be used: {refusal.message}", hint, code=3)
