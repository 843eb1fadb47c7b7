"""Asks everything, in an order in which each answer explains the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from assetbatch.bounds import Bound
from assetbatch.config import Config
from assetbatch.doctor.findings import (
    Answer,
    Finding,
    error,
    not_checked,
    of_cron,
    of_database,
    of_error,
    of_locks,
    of_plan,
    of_queue,
    of_redis,
    of_registered,
    of_vendor,
    of_window,
    ok,
    warning,
)
from assetbatch.errors import AssetbatchError, DatabaseError
from assetbatch.health import COMMANDS, job_health
from assetbatch.services import Services
from assetbatch.state.connection import redis_errors
from assetbatch.state.window import CallKind, Grant, new_call_id
from assetbatch.vendor.refusals import Refusal, RefusalKind
from assetbatch.words import span

SLOT_SECONDS = 5.0
"""So long a free call is waited for; after that the vendor is left alone."""

CALL_SECONDS = 8.0


def examine(services: Services, bound: Bound, *, call: bool) -> Iterator[Finding]:
    """All findings, each as soon as it is known; with `call` the vendor is asked once, if a slot is free."""
    config = services.config
    yield from _config(config)
    redis_ms: int | None = None
    try:
        info, redis_ms, host_ms = _ask_redis(services)
        embedded = config.require_redis().embedded
        yield from of_redis(info, redis_ms, host_ms, embedded=embedded)
    except AssetbatchError as raised:
        yield from of_error("redis", raised)
    yield from _database(services, redis_ms)
    if redis_ms is None:
        for check in ("locks", "vendor", "plan", "window", "queue", "cron"):
            yield not_checked(check, "it needs redis")
        return
    try:
        yield from _state(services, bound, call=call)
    except AssetbatchError as raised:  # it was there a moment ago
        yield from of_error("redis", raised)


def _config(config: Config) -> Iterator[Finding]:
    counts = len(config.enabled_priority_assets), len(config.enabled_secondary_assets)
    where = config.file or "the built-in configuration"
    yield ok("config", f"{where}: valid, {counts[0]} priority and {counts[1]} secondary assets")
    if not any(counts):
        yield warning("config", "no asset is enabled: there is nothing to do", "enable some in config.yml")
    try:
        config.require_api_key()
        yield ok("config", f"an API key is configured ({config.origins.get('api_key', 'default')})")
    except AssetbatchError as raised:
        yield from of_error("config", raised)
    dotenv = config.file.parent / ".env" if config.file else None
    if dotenv and _readable_for_all(dotenv):
        yield warning("config", f"{dotenv} can be read by every user of this host", f"chmod 600 {dotenv}")


def _readable_for_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False


def _ask_redis(services: Services) -> tuple[dict[str, object], int, int]:
    client = services.redis
    with redis_errors():
        info = client.info()
        before = time.time()
        seconds, microseconds = client.time()
        after = time.time()
    return info, seconds * 1000 + microseconds // 1000, round((before + after) * 500)


def _database(services: Services, redis_ms: int | None) -> Iterator[Finding]:
    try:
        with services.open_store(check_schema=False) as store:
            if redis_ms is not None:
                redis_ms = services.now_ms()
            facts = store.facts()
            yield from of_database(facts, redis_ms)
            if facts.missing_rights:
                return  # what follows would only say it again
            store.check_schema()
            config = services.config
            yield of_registered(config, list(store.load([asset.symbol for asset in config.assets])))
    except AssetbatchError as raised:
        yield from of_error("postgresql", raised)


def _state(services: Services, bound: Bound, *, call: bool) -> Iterator[Finding]:
    config = services.config
    held = {command: services.locks.held(command) for command in COMMANDS}
    now_ms = services.now_ms()
    yield from of_locks(held, now_ms, 3_600_000 + 60_000)
    if config.api_key is None:
        for check in ("vendor", "plan", "window"):
            yield not_checked(check, "it needs an API key")
    else:
        if call:
            yield from _vendor(services, bound)
        else:
            yield ok("vendor", "not asked (--no-call)")
        yield from of_plan(config, services.entitlements(), now_ms)
        yield of_window(services.window.state())
    yield of_queue(services.queue.state(), config.queue.max_size)
    jobs = [job_health(command, services.journal.job(command), config, now_ms) for command in COMMANDS]
    yield from of_cron(jobs, config, now_ms)


def _vendor(services: Services, bound: Bound) -> Sequence[Finding]:
    try:
        grant = _slot(services, bound)
    except DatabaseError:  # a lost window is made up for from the database
        return [not_checked("vendor", "it needs the database, to know of recent calls")]
    if not isinstance(grant, Grant):
        return [ok("vendor", f"not asked: no call is free for {span(grant)}; ask again then")]
    sent = True
    try:
        status = services.vendor.market_status(deadline_seconds=CALL_SECONDS)
    except Refusal as refusal:
        sent = refusal.sent
        return [_refused(services, refusal)]
    finally:
        if sent:
            services.window.settle(grant)
        else:
            services.window.cancel(grant)
    markets = f"forex {status.fx or 'unknown'}, crypto {status.crypto or 'unknown'}"
    return of_vendor(Answer(status.server_time_ms, markets), services.now_ms())


def _slot(services: Services, bound: Bound) -> Grant | int:
    """A free call; or for how many ms there is none."""
    call_id = new_call_id()
    waited = 0.0
    while True:
        answer = services.window.ask(CallKind.QUEUE, call_id)
        if isinstance(answer, Grant):
            return answer
        if bound.stopped or waited + answer.wait_ms / 1000 > SLOT_SECONDS:
            services.window.leave(call_id)
            return answer.wait_ms
        bound.wait(answer.wait_ms / 1000 + 0.001)
        waited += answer.wait_ms / 1000 + 0.001


def _refused(services: Services, refusal: Refusal) -> Finding:
    match refusal.kind:
        case RefusalKind.KEY:
            hint = "put a valid key into POLYGON_API_KEY (or POLYGON_API_KEY_FILE)"
            return error("vendor", f"refuses the API key: {refusal.message}", hint, code=4)
        case RefusalKind.TOO_MANY_CALLS:
            until_ms = services.window.block(refusal.retry_after_seconds)
            hint = "does another program use this key? then lower rate_limiting.calls_per_minute"
            left = span(until_ms - services.now_ms())
            return warning("vendor", f"says too many calls; nobody calls for {left}", hint)
        case RefusalKind.NOT_IN_PLAN:
            return ok("vendor", "answers, and takes the API key")
        case _:
            hint = "is the network up, and provider.base_url right?"
            return error("vendor", f"cannot be used: {refusal.message}", hint, code=3)
