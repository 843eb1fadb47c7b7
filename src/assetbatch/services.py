"""Builds the parts that a command needs from the configuration, each when it is first used.

An idle start never opens the database and never loads an HTTP library.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from assetbatch.config import Config
from assetbatch.domain import queueing
from assetbatch.domain.asset_classes import AssetType, Product
from assetbatch.domain.records import Command
from assetbatch.domain.units import MINUTE_MS
from assetbatch.errors import ConfigError, DatabaseError
from assetbatch.secret import Secret
from assetbatch.state.clock import ServerClock
from assetbatch.state.connection import VIEW_SECONDS, RedisClient, Waiting, connect
from assetbatch.state.history import History
from assetbatch.state.keys import Keys, fingerprint, shared_prefix, window_name
from assetbatch.state.locks import Locks
from assetbatch.state.metrics import Metrics
from assetbatch.state.queue import Queue
from assetbatch.state.window import Window, WindowSettings

if TYPE_CHECKING:
    from assetbatch.database import Store
    from assetbatch.deadline import Deadline
    from assetbatch.domain.entitlements import Entitlements
    from assetbatch.domain.forecast import Budget
    from assetbatch.domain.rules import Walk
    from assetbatch.embedded import EmbeddedServers
    from assetbatch.provider.client import ProviderClient
    from assetbatch.slots.slots import Slots
    from assetbatch.state.dead_processes import DeadProcesses
    from assetbatch.state.entitlement_store import EntitlementStore
    from assetbatch.state.events import Events
    from assetbatch.state.reference_store import ReferenceStore
    from assetbatch.state.spare_calls import SpareCalls

log = logging.getLogger("assetbatch")


class Services:
    """The parts of one command: `with Services(config) as services`.

    Each part raises its own AssetbatchError when it is first used: ConfigError if it is not configured,
    UnreachableError if it does not answer.
    """

    def __init__(self, config: Config, cycle_id: str | None = None, deadline: Deadline | None = None) -> None:
        """Take the command's `deadline`: no server is waited for beyond it."""
        self.config = config
        self._deadline = deadline
        self._store_error: DatabaseError | None = None
        self._has_members = self._has_walks = False
        self.rules_with_members: frozenset[str] = frozenset()
        """The keys of the rules that have a member, once `load_members` has asked."""
        self.walks: dict[str, Walk] = {}
        """How far the members of each rule are looked up, once `load_walks` has asked."""
        self.cycle_id = cycle_id or str(uuid.uuid4())
        self._stack = ExitStack()

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def embedded(self) -> EmbeddedServers:
        """The embedded servers, started on demand."""
        from assetbatch.embedded import EmbeddedServers

        return self._stack.enter_context(EmbeddedServers(self.config.data_folder))

    @cached_property
    def redis(self) -> RedisClient:
        """The Redis client."""
        url = self.config.require_redis()
        if "?" in url.reveal():
            from assetbatch.config.options import check_redis_options

            check_redis_options(self.config)
        given = Secret(self.embedded.redis_url()) if url.embedded else url
        client = connect(given, self.config.redis.prefix, Waiting.within(self._deadline), url.names)
        self._stack.callback(client.close)
        return client

    def load_members(self) -> None:
        """Let the configuration have the members of its rules, which PostgreSQL keeps. Without rules nothing
        is asked. Raise DatabaseError."""
        rules = self.config.enabled_rules
        if not rules or self._has_members:
            return
        from assetbatch.domain.rules import members_of

        stored = self.store.members([rule.key for rule in rules])
        members = members_of(rules, stored, self.config.written_assets)
        self.config = msgspec.structs.replace(self.config, members=members)
        self.rules_with_members = frozenset(stored)
        self._has_members = True

    def forget_members(self) -> None:
        """Let the next `load_members` ask again: a page of a walk has come."""
        self._has_members = False

    def load_walks(self) -> None:
        """Ask PostgreSQL how far the members of the rules are looked up, once. Raise DatabaseError."""
        if not self._has_walks:
            self.walks = self.store.walks([rule.key for rule in self.config.enabled_rules])
            self._has_walks = True

    def classes_looked_up_first(self) -> set[AssetType]:
        """Return the classes of which the first walk of a rule is under way."""
        self.load_walks()
        from assetbatch.domain.rules import is_first_under_way

        now_ms = self.now_ms()
        rules = self.config.enabled_rules
        return {rule.every for rule in rules if is_first_under_way(self.walks.get(rule.key), now_ms)}

    @property
    def is_database_login_refused(self) -> bool:
        """Return whether the database was asked for and does not take the user or the password."""
        return self._store_error is not None and self._store_error.is_login_refused

    def open_store(self, *, check_schema: bool = True, within_seconds: float = 20.0) -> Store:
        """Open a connection whose transactions may take `within_seconds`. The caller closes it."""
        from assetbatch.database import Store

        url = self.config.require_database()
        if "?" in url.reveal():
            from assetbatch.config.options import check_database_options

            check_database_options(self.config)
        database = self.embedded.database_url() if url.embedded else url.reveal()
        left = self._deadline.remaining if self._deadline else None
        return Store.open(
            database,
            check_schema=check_schema,
            within_seconds=within_seconds,
            seconds_left=left,
            mappings=self.config.database.tables,
            tickers=lambda: {asset.symbol: asset.polygon_ticker for asset in self.config.assets},
            url_names=url.names,
        )

    @cached_property
    def store(self) -> Store:
        """The open database with a checked schema. If it cannot be opened, that is not tried again."""
        if self._store_error is not None:
            raise self._store_error
        try:
            return self._stack.enter_context(self.open_store())
        except DatabaseError as error:
            self._store_error = error
            raise

    @cached_property
    def provider(self) -> ProviderClient:
        """The provider's client; in a sandbox, the client of the simulated provider, which this starts."""
        from assetbatch.provider.client import ProviderClient

        base_url = str(self.config.provider.base_url)
        if self.config.sandbox:
            import dataclasses

            from assetbatch.sandbox import SandboxServer, plan_of

            plan = plan_of(*(self.config.rate_limiting.plan_of(product) for product in Product))
            # As this program expects it: a product without an asset limits no call.
            plan = dataclasses.replace(plan, limit=self.config.rate_limiting.calls_of(self.config.products))
            folder = self.config.data_folder
            folder.mkdir(parents=True, exist_ok=True)
            server = SandboxServer(plan=plan, state_file=folder / "vendor.json")
            base_url = self._stack.enter_context(server).base_url
        key = self.config.require_api_key()
        return self._stack.enter_context(
            ProviderClient(
                base_url,
                key,
                call_seconds=queueing.LONGEST_CALL_SECONDS,
                url_name=self.config.named("provider.base_url"),
            )
        )

    @cached_property
    def keys(self) -> Keys:
        """The names of our keys in Redis."""
        prefix = self.config.redis.prefix
        cluster = self.config.require_redis().group == "cluster"
        return Keys(prefix, shared_prefix(prefix, cluster=cluster))

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.config.require_api_key())

    @cached_property
    def clock(self) -> ServerClock:
        """The clock of the Redis server."""
        return ServerClock(self.redis)

    def now_ms(self) -> int:
        """Return the time of the Redis server in Unix milliseconds (UTC)."""
        return self.clock.now_ms()

    @property
    def _server_name(self) -> str:
        """`embedded` for an embedded server, whose synced log survives any restart; else empty."""
        return "embedded" if self.config.require_redis().embedded else ""

    @cached_property
    def window(self) -> Window:
        """The call window of the configured API key, or of the name that it shares with others."""
        return self._window(lambda trust: self.store.first_call(trust))

    def _window(self, first_call: Callable[[Callable[[], object]], bool]) -> Window:
        shared_by = self.config.rate_limiting.window
        settings = WindowSettings(
            self.keys,
            window_name(shared_by) if shared_by else self._fingerprint,
            self.config.call_limit,
            queueing.LONGEST_CALL_SECONDS,
            server_name=self._server_name,
            view_seconds=VIEW_SECONDS if self.config.require_redis().group else 0.0,
            queue_runs=self.config.queue.max_concurrency,
        )
        return Window(
            self.redis, settings, first_call=first_call, free_dead=lambda: self.dead_processes.free()
        )

    def slots(self, *, is_recorded: bool = False) -> Slots:
        """Return the slots of the window for other programs.

        `is_recorded` says that the database knows already that calls are made, and need not be asked.
        """
        from assetbatch.slots.slots import Slots

        if not is_recorded:
            with suppress(DatabaseError, ConfigError):  # `_record_call_if_known` says so
                _ = self.store  # opened before a slot is taken, which does not keep for long
        record_call = None if is_recorded else self._record_call_if_known
        return Slots(self._window(self._first_call_if_known), record_call)

    def _first_call_if_known(self, trust: Callable[[], object]) -> bool:
        """Ask the store for earlier calls. Without a database an incomplete log is waited out."""
        try:
            return self.store.first_call(trust)
        except (DatabaseError, ConfigError) as error:
            log.info("nobody knows of earlier calls: %s", error)
            return False

    def _record_call_if_known(self) -> bool:
        try:
            self.store.record_call()
        except (DatabaseError, ConfigError) as error:
            log.info("the database does not learn of this call: %s", error)
            return False
        return True

    @cached_property
    def queue(self) -> Queue:
        """The queue."""
        settings = self.config.queue
        return Queue(
            self.redis,
            self.keys,
            max_size=settings.max_size,
            retry_max_attempts=settings.retry_max_attempts,
            retry_delay_seconds=settings.retry_delay_seconds,
            server_name=self._server_name,
        )

    def begin_queue_run(self) -> tuple[queueing.QueueState, int]:
        """Return the figures of the queue and how many spare calls there are, by one question to Redis. Raise
        RedisError."""
        share = self.config.verify.share
        if not share or self.config.api_key is None:
            return self.queue.state(), 0
        return self.queue.begin_run(self.window, share)

    @cached_property
    def spare_calls(self) -> SpareCalls:
        """The calls that nobody else needs."""
        from assetbatch.state.spare_calls import SpareCalls

        return SpareCalls(self.redis, self.keys, self.window)

    @cached_property
    def locks(self) -> Locks:
        """The cycle locks."""
        return Locks(self.redis, self.keys, free_dead=lambda: self.dead_processes.free())

    @cached_property
    def dead_processes(self) -> DeadProcesses:
        """The records of dead processes of this machine."""
        from assetbatch.state.dead_processes import DeadProcesses

        return DeadProcesses(
            self.redis,
            self.keys,
            self.window.keys,
            tuple(Command),
            self.queue.retry,
            server_name=self._server_name,
        )

    @cached_property
    def history(self) -> History:
        """The record of starts and cycles."""
        return History(self.redis, self.keys)

    @cached_property
    def metrics(self) -> Metrics:
        """The counters and the series of the last 24 hours."""
        return Metrics(self.redis, self.keys)

    @cached_property
    def entitlement_store(self) -> EntitlementStore:
        """What the plans of this key are known to show and to lack. Another plan starts without knowledge."""
        from assetbatch.state.entitlement_store import EntitlementStore, plan_name

        plan_of = self.config.rate_limiting.plan_of
        names = {product: plan_name(self._fingerprint, product, plan_of(product)) for product in Product}
        return EntitlementStore(self.redis, self.keys, names, with_special_days=self.config.follows_exchange)

    @cached_property
    def reference_store(self) -> ReferenceStore:
        """When reference data were asked for with this plan."""
        from assetbatch.state.entitlement_store import plan_name
        from assetbatch.state.reference_store import ReferenceStore

        plan = self.config.rate_limiting.plan_of(Product.STOCKS)
        return ReferenceStore(self.redis, self.keys, plan_name(self._fingerprint, Product.STOCKS, plan))

    @cached_property
    def events(self) -> Events:
        """The channel to the listeners."""
        from assetbatch.state.events import Events

        return Events(self.redis, self.config.redis.prefix, self.config.events.stream_maxlen)

    def budget(self) -> Budget:
        """Return what the forecast has to know of the configuration."""
        from assetbatch.domain.forecast import Budget

        config = self.config
        return Budget(
            priority_assets=config.enabled_priority_assets,
            assets=config.assets,
            interval_ms=config.batch.interval_minutes * MINUTE_MS,
            call_limit=config.call_limit,
        )

    def entitlements(self) -> Entitlements:
        """Return what may be asked: what the tier promises, and what the provider has shown and refused.

        The days of the exchange that the provider lists come along, and hold for the whole process.
        """
        from assetbatch.domain.entitlements import Entitlements

        remembered = self.entitlement_store.load()
        if remembered.special_days is not None:
            from assetbatch.domain.market_hours import set_listed_days

            set_listed_days(remembered.special_days)
        return Entitlements(
            end_of_day=self.config.end_of_day,
            restrictions=remembered.restrictions,
            observations=remembered.observations,
            page_lengths=remembered.page_lengths,
        )
