"""Months on the free plan whose provider mends silently: the real commands, a real Redis and PostgreSQL.

The provider leaves out days and has them some days later, and changes bars some days after it has shown them.
The clock is set, and each symbol has a bar an hour, so that a month of 20 symbols passes within a minute. A
quarter of 60 symbols takes five to thirty: with ASSETBATCH_TEST_QUARTER=1 it is lived through too.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg
import pytest
import yaml

from assetbatch.commands.enqueue_secondary import enqueue_secondary
from assetbatch.commands.init import initialise
from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.config import load
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.market_hours import day_of, from_ms, last_midnight, start_of_day
from assetbatch.domain.models import Bar, IntervalState
from assetbatch.domain.queueing import CallLimit
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.results import CycleResult
from assetbatch.domain.verification import Tally
from assetbatch.provider.answers import BarsAnswer
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from tests.simulation.starts import Unslept, give_clock
from tests.world import KEY, SetClock

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
DAY = 24 * HOUR
LIMIT = CallLimit(5, MINUTE)
PRIORITY = 3
FIRST_DAY = date(2026, 4, 1)
LAG_DAYS = (3, 12)
"""After so many days, at least and at most, the provider mends or changes what it has shown of a day."""
LAST_LOOK_DAYS = 12
"""Days after the last change until all has been compared: a week, and a few days for what goes before."""
START = start_of_day(FIRST_DAY)
STORED = """
SELECT s.symbol, (extract(epoch FROM b.ts) * 1000)::int8, b.open, b.high, b.low, b.close
FROM market_data.ohlcv_5m b JOIN trading.symbols s ON s.id = b.symbol_id WHERE b.ts >= %s
"""
PRIORITY_EVERY, QUEUE_EVERY, ENQUEUE_EVERY = HOUR, 20 * MINUTE, 2 * HOUR
BEFORE_PRIORITY = 5 * SECOND
"""So shortly before a priority cycle the queue is worked: a call too many would be missed there."""


class Size(NamedTuple):
    """How much is lived through: symbols, days, and the shares of days left out and of bars changed."""

    symbols: int
    days: int
    left_out: float
    changed: float


MONTH, QUARTER = Size(20, 28, 0.03, 0.003), Size(60, 91, 0.01, 0.001)


class Provider:
    """Bars of an hour each, made up; what is left out or changed, and from which moment on it is not."""

    def __init__(self, clock: SetClock, size: Size, seed: int) -> None:
        self._clock = clock
        draw = random.Random(seed)
        self.left_out: dict[tuple[str, date], int] = {}
        self.changed: dict[tuple[str, int], int] = {}
        self.calls: list[int] = []
        for ticker in (f"X:C{number:02}USD" for number in range(size.symbols)):
            for number in range(size.days):
                day = FIRST_DAY + timedelta(days=number)
                if draw.random() < size.left_out:
                    self.left_out[ticker, day] = self._later(draw, day)
                    continue
                for hour in range(24):
                    if draw.random() < size.changed:
                        self.changed[ticker, start_of_day(day) + hour * HOUR] = self._later(draw, day)

    def _later(self, draw: random.Random, day: date) -> int:
        return start_of_day(day) + draw.randint(LAG_DAYS[0] * DAY, LAG_DAYS[1] * DAY)

    def bars(
        self,
        ticker: str,
        start_ms: int,
        end_ms: int,
        *,
        size: BarSize = BarSize.FIVE_MINUTES,
        deadline_seconds: float | None = None,
    ) -> BarsAnswer:
        now_ms = self._clock.now_ms()
        self.calls.append(now_ms)
        if end_ms >= last_midnight(now_ms):
            raise Refusal(RefusalKind.TODAY_NOT_YET, "not before the end of the day")
        return BarsAnswer(
            ticker=ticker,
            start_ms=start_ms,
            end_ms=end_ms,
            bars=self.truth(ticker, start_ms, end_ms, now_ms),
            refused=Counter(),
        )

    def truth(self, ticker: str, start_ms: int, end_ms: int, now_ms: int) -> list[Bar]:
        """The bars that are shown at a moment."""
        found = []
        for t_ms in range(-(-start_ms // HOUR) * HOUR, end_ms + 1, HOUR):
            if self.left_out.get((ticker, day_of(t_ms)), 0) > now_ms:
                continue
            price = 100 + t_ms // HOUR % 97 + int(ticker[3:5])
            if self.changed.get((ticker, t_ms), now_ms) < now_ms:
                price *= 2
            found.append(Bar(t_ms, price, price + 2, price - 2, price + 1, 5.0, price, 3))
        return found

    def windows_over_limit(self) -> int:
        return sum(
            later - first < LIMIT.window_ms
            for first, later in zip(self.calls, self.calls[LIMIT.limit :], strict=False)
        )


class Quarter:
    """One process that makes all starts: what they share is in Redis and PostgreSQL."""

    def __init__(self, services: Services, database_url: str, clock: SetClock, size: Size, seed: int) -> None:
        self.services = services
        self.database_url = database_url
        self.clock = clock
        self.provider = Provider(clock, size, seed)
        give_clock(services, clock, self.provider, window_name="quarter", limit=LIMIT)
        self.waits = 0
        self.verified = 0
        self.failures: list[str] = []

    def live(self, until_ms: int) -> None:
        """Start what cron starts, until a moment."""
        while self.clock.at_ms < until_ms:
            at_ms = self.clock.at_ms
            if at_ms % PRIORITY_EVERY == 0:
                self.waits += self.run(run_priority).waits
            if at_ms % ENQUEUE_EVERY == 0:
                self.clock.at_ms = at_ms + 30 * SECOND
                self.run(enqueue_secondary)
            self.clock.at_ms = at_ms + QUEUE_EVERY - BEFORE_PRIORITY
            self.verified += self.run(run_queue).pages_verified
            self.clock.at_ms = at_ms + QUEUE_EVERY

    def run(self, command: object) -> CycleResult:
        with Unslept(60) as deadline:
            result: CycleResult = command(self.services, deadline, Progress())  # type: ignore[operator]
        self.failures += [str(asset.detail) for asset in result.failed]
        return result

    def stored(self) -> dict[tuple[str, int], tuple[float, ...]]:
        """The bars that are stored since the quarter has begun."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(STORED, [from_ms(START)])
            return {(symbol, t_ms): tuple(prices) for symbol, t_ms, *prices in rows}

    def truth(self, end_ms: int) -> dict[tuple[str, int], tuple[float, ...]]:
        """The bars that the provider shows now."""
        return {
            (asset.symbol, bar.t_ms): (bar.open, bar.high, bar.low, bar.close)
            for asset in self.services.config.assets
            for bar in self.provider.truth(asset.polygon_ticker, START, end_ms - 1, self.clock.at_ms)
        }


@contextmanager
def quarter(
    folder: Path, database_url: str, redis_url: str, prefix: str, size: Size, *, share: float, seed: int = 1
) -> Iterator[Quarter]:
    assets = [
        {"symbol": f"C{number:02}USD", "polygon_ticker": f"X:C{number:02}USD", "asset_type": "crypto"}
        for number in range(size.symbols)
    ]
    document = {
        "priority_assets": assets[:PRIORITY],
        "secondary_assets": assets[PRIORITY:],
        "batch": {"interval_minutes": PRIORITY_EVERY // MINUTE},
        "rate_limiting": {"tier": "free"},
        "verify": {"share": share},
        "database": {"url": database_url},
        "redis": {"url": redis_url, "prefix": prefix},
    }
    path = folder / "config.yml"
    path.write_text(yaml.dump(document))
    config = load(path, {"POLYGON_API_KEY": KEY}, cwd=folder)
    with Services(config) as services:
        initialise(services)
    with Services(config) as services:
        made = Quarter(services, database_url, SetClock(START), size, seed)
        with services.queue.derived():
            pass
        yield made


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(MONTH, id="month"),
        pytest.param(
            QUARTER,
            id="quarter",
            marks=pytest.mark.skipif(
                not os.environ.get("ASSETBATCH_TEST_QUARTER"),
                reason="long: ASSETBATCH_TEST_QUARTER=1 runs it",
            ),
        ),
    ],
)
def test_every_difference_is_found_and_repaired(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    prefix: str,
    capsys: pytest.CaptureFixture[str],
    size: Size,
) -> None:
    with quarter(tmp_path, database_url, redis_url, prefix, size, share=0.2) as world:
        end_ms = START + size.days * DAY
        world.live(end_ms + (LAG_DAYS[1] + LAST_LOOK_DAYS) * DAY)
        stored = {key: row for key, row in world.stored().items() if key[1] < end_ms}
        symbols = [asset.symbol for asset in world.services.config.assets]
        tallies = world.services.store.tallies(symbols, world.clock.at_ms)
        coverage = world.services.store.load(symbols)
        provider = world.provider
        found = sum_of(tallies)
        assert provider.left_out
        assert provider.changed
        assert stored == world.truth(end_ms)
        assert found.appeared == 24 * len(provider.left_out)
        assert found.changed == len(provider.changed)
        assert found.vanished == 0
        assert world.failures == []
        assert world.waits == 0
        assert provider.windows_over_limit() == 0
        assert IntervalState.AGAIN not in {
            one.state for symbol in symbols for one in coverage[symbol].coverage if one.end_ms <= end_ms
        }
        doubted = sum(tally.asked_again_ms is not None for tally in tallies.values())
        with capsys.disabled():
            sys.stdout.write(
                f"\n{len(provider.calls):,} calls in {size.days + LAG_DAYS[1] + LAST_LOOK_DAYS} days, "
                f"{world.verified:,} of them spare; {found.changed:,} bars changed, "
                f"{found.appeared:,} appeared; {doubted} symbols were asked for again as a whole\n"
            )


def sum_of(tallies: dict[str, Tally]) -> Tally:
    whole = Tally()
    for tally in tallies.values():
        whole = msgspec.structs.replace(
            whole,
            changed=whole.changed + tally.changed,
            appeared=whole.appeared + tally.appeared,
            vanished=whole.vanished + tally.vanished,
        )
    return whole
