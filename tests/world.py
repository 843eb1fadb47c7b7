"""A whole installation for tests: real Redis, real PostgreSQL, the simulated provider over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.init import initialise
from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.config import Config, load
from assetbatch.config.tables import TableMappings
from assetbatch.deadline import Deadline
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import DerivedSize
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.market_hours import day_of, last_midnight, last_open, start_of_day
from assetbatch.domain.results import CycleResult
from assetbatch.refresh.progress import Progress
from assetbatch.sandbox import PLANS, SandboxServer, system_clock
from assetbatch.sandbox.listings import USUAL_EXCHANGE, Exchange
from assetbatch.sandbox.plans import Plan
from assetbatch.sandbox.prices import HISTORY_START_MS
from assetbatch.sandbox.spans import Counting
from assetbatch.services import Services
from assetbatch.state.connection import RedisClient

PRIORITY = [
    {"symbol": "XAUUSD", "polygon_ticker": "C:XAUUSD", "asset_type": "forex"},
    {"symbol": "EURUSD", "polygon_ticker": "C:EURUSD", "asset_type": "forex"},
    {"symbol": "BTCUSD", "polygon_ticker": "X:BTCUSD", "asset_type": "crypto"},
]
SECONDARY = [
    {"symbol": "ETHUSD", "polygon_ticker": "X:ETHUSD", "asset_type": "crypto", "priority": "HIGH"},
    {"symbol": "GBPUSD", "polygon_ticker": "C:GBPUSD", "asset_type": "forex"},
    {"symbol": "USDJPY", "polygon_ticker": "C:USDJPY", "asset_type": "forex", "priority": "LOW"},
]
KEY = "made-up-key-123"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster, where there is libyaml


class SetClock:
    """The server's time as a test sets it; milliseconds."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


class RealClock(SetClock):
    """The time of this machine, which the test's Redis and simulated provider share."""

    def __init__(self) -> None:
        super().__init__(0)

    def now_ms(self) -> int:
        return system_clock()


def first_day(now_ms: int, days: int) -> int:
    """The New York midnight at which trading begins if so many days of all markets are to be over."""
    last_day = day_of(last_open(Market.FOREX, last_midnight(now_ms)) - 1)
    return start_of_day(last_day - timedelta(days=days - 1))


def what_init_reads(config: Config) -> tuple[TableMappings, Sequence[Asset], Sequence[DerivedSize]]:
    return config.database.tables, (*config.priority_assets, *config.secondary_assets), config.derived


class World:
    """`run_priority()` and the others are what one cron start does, each with new services."""

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        database_url: str,
        prefix: str,
        clock: SetClock,
        *,
        plan: str | Plan = "basic",
        tier: str | None = None,
        limit: int | None = 100,
        window_seconds: int = 60,
        document: dict[str, Any] | None = None,
        replay: Path | None = None,
        replay_weeks: int | None = None,
        universe: int | None = None,
        counting: Counting = Counting.STORED,
        exchange: Exchange = USUAL_EXCHANGE,
        days: int | None = 2,
    ) -> None:
        """`days`: how many days of trading there are before this one; None: years, which cost a page of bars
        (0.2 s) for each new asset."""
        self.clock = clock
        self.provider = SandboxServer(
            replace(
                PLANS[plan] if isinstance(plan, str) else plan, limit=limit, window_seconds=window_seconds
            ),
            clock=clock.now_ms,
            replay=replay,
            replay_weeks=replay_weeks,
            universe=universe,
            counting=counting,
            exchange=exchange,
            since_ms=first_day(clock.now_ms(), days) if days else HISTORY_START_MS,
        )
        self.provider.start()
        self.folder = folder
        self.database_url = database_url
        self.document: dict[str, Any] = {
            "priority_assets": PRIORITY,
            "secondary_assets": SECONDARY,
            "rate_limiting": {
                "tier": tier or ("free" if plan == "basic" else "starter"),
                "calls_per_minute": limit,
                "window_seconds": window_seconds,
            },
            "database": {"url": database_url},
            "redis": {"url": redis_url, "prefix": prefix},
            "provider": {"base_url": self.provider.base_url},
            "verify": {"share": 0},  # tests count calls: those of verification come in tests of their own
            **(document or {}),
        }

    def config(self) -> Config:
        """As the document says it now. The file is left alone where it says so already: a simulated week asks
        a thousand times."""
        path = self.folder / "config.yml"
        text = yaml.dump(self.document, Dumper=_DUMPER)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return load(path, {"POLYGON_API_KEY": KEY}, cwd=self.folder)

    @contextmanager
    def services(self) -> Iterator[Services]:
        with Services(self.config()) as services:
            services.clock = self.clock  # type: ignore[assignment]  # the same two methods
            yield services

    def init(self, made_for: Config | None = None) -> None:
        """As after a first start: the queue is known to be empty, and not lost.

        `made_for`: the tables are as `init` has left them for this configuration. They stay where this one
        asks for the same; else their symbols go.
        """
        with self.services() as services:
            if made_for is None:
                initialise(services)
            elif what_init_reads(services.config) != what_init_reads(made_for):
                with psycopg.connect(self.database_url) as connection:
                    connection.execute("DELETE FROM trading.symbols")
                    connection.execute("ALTER SEQUENCE trading.symbols_id_seq RESTART")
                initialise(services)
            with services.queue.derived():
                pass

    def drop_tables(self) -> None:
        """As before `init`."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("DROP SCHEMA IF EXISTS trading, market_data, data_sources CASCADE")

    def know_that_today_is_refused(self) -> None:
        """As after the first range of a day that the free plan has refused: no call is spent on it."""
        with self.services() as services:
            known = services.entitlements()
            for asset_type in dict.fromkeys(asset.asset_type for asset in services.config.assets):
                refusal = known.refused(
                    Restriction.TODAY, asset_type, "no", services.now_ms(), ticker="C:ANY"
                )
                services.entitlement_store.remember(refusal)

    def _run(self, command: Callable[[Services, Deadline], CycleResult], seconds: float) -> CycleResult:
        with self.services() as services, Deadline(seconds) as deadline:
            return command(services, deadline)

    def run_priority(self, seconds: float = 20, **options: Any) -> CycleResult:
        return self._run(lambda s, b: run_priority(s, b, Progress(), **options), seconds)

    def run_queue(self, seconds: float = 20, **options: Any) -> CycleResult:
        return self._run(lambda s, b: run_queue(s, b, Progress(), **options), seconds)

    def enqueue_secondary(self, **options: Any) -> CycleResult:
        return self._run(lambda s, b: enqueue_secondary(s, b, Progress(), **options), 20)

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query, arguments).fetchall()

    def last_update(self, symbol: str) -> dict[str, Any] | None:
        ((metadata,),) = self.rows("SELECT metadata FROM trading.symbols WHERE symbol = %s", symbol)
        update: dict[str, Any] | None = metadata.get("last_update")
        return update

    def sync(self, symbol: str) -> tuple[Any, ...] | None:
        """(sync_status, error_message, last_sync_timestamp) of a symbol."""
        found = self.rows(
            "SELECT d.sync_status, d.error_message, d.last_sync_timestamp "
            "FROM data_sources.data_sync_status d JOIN trading.symbols s ON s.id = d.ticker_id "
            "WHERE s.symbol = %s",
            symbol,
        )
        return found[0] if found else None

    def bars(self, symbol: str) -> int:
        ((count,),) = self.rows(
            "SELECT count(*) FROM market_data.ohlcv_5m o JOIN trading.symbols s ON s.id = o.symbol_id "
            "WHERE s.symbol = %s",
            symbol,
        )
        return int(count)

    @property
    def paths(self) -> list[str]:
        """The paths that have arrived at the provider, in order."""
        return [arrival.path for arrival in self.provider.arrivals]


def reserved(services: Services) -> list[int]:
    """The moment (ms) of the installation's next priority cycle, the slots kept for it, and more."""
    text = services.redis.hget(services.window.keys[2], services.keys.prefix)
    return [int(part) for part in (text or "").split(":")]


class Listener:
    """Hears the events of some symbols."""

    def __init__(self, client: RedisClient, symbols: Sequence[str]) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(*(f"asset:update:{symbol}" for symbol in symbols))
        for _ in symbols:
            self._pubsub.get_message(timeout=1)

    def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """Channel and JSON of what has come since."""
        messages = []
        while (message := self._pubsub.get_message(timeout=0.2)) is not None:
            messages.append((message["channel"], json.loads(message["data"])))
        return messages

    def close(self) -> None:
        self._pubsub.close()
