"""How many calls wait in the queue, and when they will be done at the rate that is left for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from assetbatch.config import Config
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.forecast import Budget, Forecast, QueueLoad, estimate, forecast, turn_moments
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.records import CycleRecord
from assetbatch.domain.status import Status

MINUTE = 60_000
NOW = to_ms(datetime(2026, 11, 18, 15, tzinfo=UTC))
FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)


def config(limit: int | None = 5, window_seconds: int = 60, **fields: Any) -> Config:
    plain = Config(priority_assets=(EURUSD,), secondary_assets=(BTCUSD,))
    rate = structs.replace(plain.rate_limiting, calls_per_minute=limit, window_seconds=window_seconds)
    return structs.replace(plain, rate_limiting=rate, **fields)


def waiting(**lanes: int) -> dict[Lane, int]:
    return dict.fromkeys(Lane, 0) | {Lane[name.upper()]: count for name, count in lanes.items()}


def told(
    queued: Mapping[Lane, int],
    known: Entitlements = FREE,
    *,
    settings: Config | None = None,
    pages_elsewhere: int = 0,
    stored: dict[str, StoredAsset] | None = None,
    cycles: list[CycleRecord] | None = None,
    starts_ms: tuple[int, ...] = (NOW - 5 * MINUTE, NOW),
) -> Forecast:
    told_by = settings or config()
    budget = Budget(
        priority_assets=told_by.enabled_priority_assets,
        assets=told_by.assets,
        interval_ms=told_by.batch.interval_minutes * MINUTE,
        call_limit=told_by.call_limit,
    )
    load = QueueLoad(queued=queued, pages_elsewhere=pages_elsewhere, starts_ms=starts_ms, cycles=cycles or [])
    return forecast(budget, load, known, stored or {}, NOW)


def cycle(duration_ms: int, calls: int) -> CycleRecord:
    return CycleRecord(started_ms=NOW, duration_ms=duration_ms, result="ok", calls=calls)


def kept_fresh_until(at_ms: int) -> dict[str, StoredAsset]:
    """EURUSD needs no call before then."""
    return {
        "EURUSD": StoredAsset(
            symbol="EURUSD",
            as_of_ms=at_ms,
            last_sync_ms=at_ms,
            sync_status=Status.SUCCESS,
            status_at_ms=at_ms,
        )
    }


class TestTheCallsAhead:
    def test_are_one_for_250_of_the_prices_only_that_one_call_serves(self) -> None:
        stocks = tuple(
            Asset(symbol=f"S{n}", polygon_ticker=f"S{n}", asset_type=AssetType.STOCKS) for n in range(2)
        )
        known = Entitlements(end_of_day=True)
        known.saw(AssetType.STOCKS, NOW, NOW, market_open=True)  # currencies are those of the free plan
        settings = config(secondary_assets=(BTCUSD, *stocks))
        assert told(waiting(low=8), known, settings=settings).calls == 4 + 1

    def test_are_one_for_each_item_and_each_page_where_no_call_serves_several(self) -> None:
        assert told(waiting(medium=300, bars=20, history=7), pages_elsewhere=5).calls == 332

    @pytest.mark.parametrize(("prices", "calls"), [(1, 1), (250, 1), (251, 2), (500, 2), (501, 3)])
    def test_are_one_for_250_prices_where_snapshots_serve_them(self, prices: int, calls: int) -> None:
        assert told(waiting(low=prices), PAID).calls == calls
        assert told(waiting(low=prices, bars=20, history=7), PAID).calls == calls + 27


class TestTheRate:
    def test_is_what_the_next_priority_cycle_leaves(self) -> None:
        assert told(waiting(low=1)).calls_per_minute == 4.8  # one range each five minutes
        assert told(waiting(low=1), stored=kept_fresh_until(NOW)).calls_per_minute == 5.0

    def test_goes_by_what_will_be_due_at_the_next_cycle(self) -> None:
        stored = kept_fresh_until(NOW)  # still fresh now, and due in five minutes
        assert told(waiting(low=1), PAID, stored=stored).calls_per_minute == 4.8

    def test_expects_the_next_cycle_where_cron_starts_if_there_was_none(self) -> None:
        assert told(waiting(low=1), starts_ms=()).calls_per_minute == 4.8

    def test_of_a_cycle_each_minute_leaves_less(self) -> None:
        batch = structs.replace(config().batch, interval_minutes=1)
        assert told(waiting(low=1), settings=config(batch=batch)).calls_per_minute == 4.0

    def test_is_no_faster_than_one_call_after_the_other_where_calls_are_many(self) -> None:
        many = config(limit=100, window_seconds=1)
        half_a_second = [cycle(5_000, 10), cycle(1_000, 10), cycle(9_000, 3), cycle(7_000, 0)]
        assert told(waiting(low=1), settings=many, cycles=half_a_second).calls_per_minute == 100.0

    def test_takes_a_second_for_a_call_where_none_was_measured(self) -> None:
        many = config(limit=100, window_seconds=1)
        assert told(waiting(low=1), settings=many).calls_per_minute == 50.0

    @pytest.mark.parametrize(("limit", "rate"), [(60, 60.0), (61, 5.0)])
    def test_goes_by_how_long_calls_take_only_where_more_than_one_a_second_may_go(
        self, limit: int, rate: float
    ) -> None:
        slow = [cycle(10_000, 1)]
        stored = kept_fresh_until(NOW)
        given = told(waiting(low=1), settings=config(limit=limit), cycles=slow, stored=stored)
        assert given.calls_per_minute == rate


def reckoned(**given: Any) -> Forecast:
    plain = {
        "calls": 10,
        "limit": 5,
        "window_ms": MINUTE,
        "priority_calls": 0,
        "interval_ms": 5 * MINUTE,
        "call_seconds": 0.0,
        "now_ms": NOW,
    }
    return estimate(**{**plain, **given})


def test_slow_calls_are_not_told_faster_than_they_are_by_what_the_plan_would_allow() -> None:
    assert reckoned(limit=100, window_ms=1000, call_seconds=10.0).calls_per_minute == 5.0


class TestTheEnd:
    def test_is_half_a_minute_for_cron_and_the_minutes_of_the_calls_away(self) -> None:
        assert reckoned() == Forecast(
            calls=10, calls_per_minute=5.0, minutes=2.0, done_ms=NOW + MINUTE // 2 + 2 * MINUTE
        )

    def test_waits_half_an_interval_where_that_is_shorter_than_crons_minute(self) -> None:
        assert reckoned(interval_ms=20_000).done_ms == NOW + 10_000 + 2 * MINUTE

    def test_of_nothing_is_now(self) -> None:
        assert reckoned(calls=0).done_ms == NOW

    def test_is_worked_out_with_all_digits_and_told_with_few(self) -> None:
        found = reckoned(calls=10, limit=7, window_ms=2 * MINUTE, priority_calls=1)
        assert (found.calls_per_minute, found.minutes) == (3.3, 3.0)
        assert found.done_ms == NOW + MINUTE // 2 + round(10 / 3.3 * MINUTE)
        assert reckoned(limit=7, window_ms=180_000).calls_per_minute == 2.33
        assert reckoned(calls=1, limit=7, window_ms=180_000).minutes == 0.4

    def test_leaves_the_queue_a_hundredth_where_priority_wants_all(self) -> None:
        assert reckoned(priority_calls=1000).calls_per_minute == 0.05
        assert reckoned(limit=100, priority_calls=1000).calls_per_minute == 1.0
        assert reckoned(limit=100, window_ms=MINUTE // 2, priority_calls=10_000).calls_per_minute == 2.0


class TestTurns:
    """A turn is when the call for an item of the queue goes out."""

    def turns(self, *lanes: Lane, **given: Any) -> list[int]:
        plain = {
            "prices_at_once": 1,
            "free": 0,
            "free_at_ms": NOW,
            "per_minute": 2.0,
            "window_ms": MINUTE,
            "start_ms": NOW,
        }
        return list(turn_moments(lanes, **{**plain, **given}))

    def test_come_together_as_many_as_are_left_of_a_window_each_window(self) -> None:
        found = self.turns(*[Lane.LOW] * 5)
        assert found == [NOW, NOW, NOW + MINUTE, NOW + MINUTE, NOW + 2 * MINUTE]

    def test_come_together_as_far_as_calls_are_free(self) -> None:
        found = self.turns(*[Lane.LOW] * 6, free=3)
        assert found == [NOW] * 3 + [NOW + MINUTE] * 2 + [NOW + 2 * MINUTE]

    def test_skip_windows_of_which_priority_takes_nearly_all(self) -> None:
        assert self.turns(Lane.LOW, Lane.LOW, per_minute=0.5) == [NOW, NOW + 2 * MINUTE]

    def test_begin_when_the_next_call_is_free_or_run_queue_starts(self) -> None:
        assert self.turns(Lane.LOW, free_at_ms=NOW + 7) == [NOW + 7]
        assert self.turns(Lane.LOW, start_ms=NOW + 9, free_at_ms=NOW + 7) == [NOW + 9]
        assert self.turns(Lane.LOW, free=1, free_at_ms=NOW + 7) == [NOW]

    def test_of_prices_are_one_where_one_call_brings_them(self) -> None:
        lanes = Lane.HIGH, Lane.HISTORY, Lane.LOW, Lane.LOW
        found = self.turns(*lanes, prices_at_once=2, per_minute=1.0)
        assert found == [NOW, NOW + MINUTE, NOW + MINUTE, NOW + 2 * MINUTE]
