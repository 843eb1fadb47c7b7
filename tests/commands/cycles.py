"""Cycles in which much goes wrong, as a program: it prints as JSON what they did and, apart, what they said.

`python -m tests.commands.cycles FOLDER REDIS_URL DATABASE_URL PLAN PART` runs whatever `assetbatch` is on the
path. The second part goes on with what the first has left in the servers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from assetbatch.commands.gaps import find_gaps
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.results import CycleResult
from assetbatch.errors import AssetbatchError
from assetbatch.health import collect
from assetbatch.secret import Secret
from assetbatch.state.connection import connect
from tests.world import SECONDARY, SetClock, World

WEDNESDAY_MS = to_ms(datetime(2026, 11, 18, 15, 0, 10, tzinfo=UTC))
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
UNKNOWN = {"symbol": "NOPEUSD", "polygon_ticker": "X:NOPEUSD", "asset_type": "crypto"}

ROWS = {
    "symbols": "SELECT symbol, metadata -> 'last_update' FROM trading.symbols ORDER BY 1",
    "sync": (
        "SELECT s.symbol, d.sync_status, d.last_sync_timestamp::text, d.error_message IS NULL "
        "FROM data_sources.data_sync_status d JOIN trading.symbols s ON s.id = d.ticker_id ORDER BY 1"
    ),
    "coverage": (
        "SELECT s.symbol, c.start_ts::text, c.end_ts::text, c.state, c.fault, c.asked_at::text, "
        "c.error_message IS NULL FROM data_sources.assetbatch_spans c "
        "JOIN trading.symbols s ON s.id = c.symbol_id ORDER BY 1, 2"
    ),
    "bars": (
        "SELECT s.symbol, count(*), sum(o.close::numeric)::text FROM market_data.ohlcv_5m o "
        "JOIN trading.symbols s ON s.id = o.symbol_id GROUP BY 1 ORDER BY 1"
    ),
}


class Diary:
    """What one world's cycles did, and the texts that they said."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.done: list[Any] = []
        self.texts: list[str | None] = []

    def cycle(self, run: Callable[[], CycleResult]) -> None:
        try:
            result = run()
        except AssetbatchError as error:
            result = cast(CycleResult, error.document)
            self.done.append([type(error).__name__, error.exit_code])
            self.texts.append(error.message)
        self.texts += [asset.detail for asset in result.assets]
        self.done.append(
            {
                "command": result.command,
                "result": result.result,
                "exit": result.exit_code,
                "calls": result.calls,
                "queue": result.queue_size,
                "enqueued": result.enqueued,
                "published": result.published,
                "bars": [result.bars_written, result.bars_refused, result.prices_refused],
                "assets": [[a.symbol, a.status, a.kind, a.bars, a.paused] for a in result.assets],
            }
        )

    def all_commands(self) -> None:
        self.cycle(self._world.run_priority)
        self.cycle(self._world.enqueue_secondary)
        self.cycle(self._world.run_queue)

    def health(self) -> None:
        with self._world.services() as services:
            document = collect(services)
            found = find_gaps(services, [], None)
        self.texts += [problem.message for problem in document.problems]
        self.texts += [asset.reason for asset in document.assets]
        self.done.append(
            {
                "status": document.status,
                "problems": [problem.severity for problem in document.problems],
                "alerts": [alert.metric for alert in document.alerts],
                "assets": [[asset.symbol, asset.state, asset.cause] for asset in document.assets],
                "jobs": [job.last_result for job in document.jobs],
                "dead": document.queue["dead"],
                "gaps": [[one.symbol, gap.reason, gap.bars] for one in found for gap in one.gaps],
            }
        )

    def rows(self) -> None:
        self.done.append({name: self._world.rows(query) for name, query in ROWS.items()})
        self.done.append(self._world.paths)


FAULTS = {
    "basic": (
        ("zeros", "X:BTCUSD"),
        ("null-results", "C:EURUSD"),
        ("wrong-shape", "C:XAUUSD"),
        ("status=503", "X:ETHUSD"),
        ("off-grid", "C:GBPUSD"),
    ),
    "starter": (
        ("ticker-errors=NOT_FOUND", "/v3/snapshot"),
        ("ticker-errors=NOT_AUTHORIZED", "/v3/snapshot"),
        ("crossed", "/v3/snapshot"),
    ),
}
"""What goes wrong on each plan: bars of no use, empty answers, failures; tickers that are unknown or
lacking."""


def first_part(world: World, diary: Diary, plan: str) -> None:
    """All is new; then something goes wrong in each cycle."""
    diary.all_commands()
    for fault, path in FAULTS[plan]:
        world.clock.at_ms += DAY_MS if plan == "basic" else 10 * MINUTE_MS
        world.provider.order(fault, path_contains=path)
        diary.all_commands()
    world.clock.at_ms = WEDNESDAY_MS + 6 * DAY_MS
    leave_out_a_day(world)
    diary.all_commands()
    diary.health()


def leave_out_a_day(world: World) -> None:
    """Answer without a day within the bars: that is believed when it is answered twice, once in each part."""
    world.provider.order("hole=2026-11-23", times=None, path_contains="X:BTCUSD")


def second_part(world: World, diary: Diary) -> None:
    """What failed is asked for again in its time; then the key is refused, and the provider is away."""
    diary.health()
    leave_out_a_day(world)
    for pause_ms in (0, HOUR_MS, 6 * HOUR_MS, DAY_MS):
        world.clock.at_ms += pause_ms
        diary.all_commands()
    diary.health()
    for fault in ("status=401", "drop", "429=30"):  # the last one ends it: the window's time is the real one
        world.provider.faults.clear()
        world.clock.at_ms += DAY_MS
        world.provider.order(fault, times=None)
        diary.all_commands()
    diary.health()


def main(folder: Path, redis_url: str, database_url: str, plan: str, part: int) -> None:
    document = {"secondary_assets": [*SECONDARY, UNKNOWN]}
    clock = SetClock(WEDNESDAY_MS + (part - 1) * 7 * DAY_MS)
    world = World(folder, redis_url, database_url, "{cycles}", clock, plan=plan, limit=500, document=document)
    diary = Diary(world)
    if part == 1:
        with connect(Secret(redis_url)) as client:
            client.flushall()
        world.drop_tables()
        world.init()
        first_part(world, diary, plan)
    else:
        second_part(world, diary)
    diary.rows()
    world.provider.stop()
    sys.stdout.write(f"{json.dumps([diary.done, diary.texts], default=str)}\n")


if __name__ == "__main__":
    _, where, redis, database, *what = sys.argv
    main(Path(where), redis, database, what[0], int(what[1]))
