"""The closes that a page draws: of a card the newest day of bars, thinned; of other assets one an hour."""

from __future__ import annotations

import pytest

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, Bar, Changes
from assetbatch.domain.units import DAY_MS, HOUR_MS

from .conftest import Sql, on_both_tables

pytestmark = on_both_tables

NOW_MS = 1_760_000_100_000


def save(store: Store, symbol: str, slots: range) -> None:
    bars = [Bar(slot * BAR_MS, 1.0, 9_999.0, 1.0, float(1 + slot)) for slot in slots]
    store.save(Changes(bars={symbol: bars}), NOW_MS)


def test_are_those_of_the_newest_day_of_bars_however_old(store: Store) -> None:
    save(store, "EURUSD", range(1000))
    found = store.closes(["EURUSD"], points=288)["EURUSD"]
    assert found == [(slot * BAR_MS, 1.0 + slot) for slot in range(712, 1000)]


@pytest.mark.parametrize(("points", "kept"), [(96, 96), (48, 48), (100, 96), (1, 1), (1000, 288)])
def test_are_thinned_to_at_most_so_many_and_end_with_the_newest(store: Store, points: int, kept: int) -> None:
    save(store, "EURUSD", range(1000))
    found = store.closes(["EURUSD"], points=points)["EURUSD"]
    assert len(found) == kept <= points
    assert found[-1] == (999 * BAR_MS, 1000.0)
    assert found == sorted(found)


def test_symbols_without_bars_are_absent(store: Store) -> None:
    save(store, "EURUSD", range(2))
    assert store.closes(["EURUSD", "XAUUSD", "NOPE", "N\x00PE"]) == {"EURUSD": [(BAR_MS, 2.0)]}
    assert store.closes([]) == {}


class TestOfEachHour:
    """`hourly_closes`: kept with the bars, read from them where another program has written them."""

    START_MS = NOW_MS - NOW_MS % DAY_MS - 10 * DAY_MS

    def save(self, store: Store, first: int, count: int, *, add: float = 0.0, asked_ms: int = NOW_MS) -> None:
        """Save `count` bars from the slot `first` on; the close of a slot is its number and `add`."""
        bars = [
            Bar(self.START_MS + slot * BAR_MS, 1.0, 9_999.0, 1.0, 1.0 + slot + add)
            for slot in range(first, first + count)
        ]
        store.save(Changes(bars={"EURUSD": bars}, asked_ms={"EURUSD": asked_ms}), asked_ms)

    def shown(self, store: Store) -> list[float]:
        return store.hourly_closes(["EURUSD"])["EURUSD"]

    def kept(self, sql: Sql) -> list[float]:
        """What is kept, without a look at the bars."""
        ((closes,),) = sql("SELECT closes FROM data_sources.assetbatch_closes")
        assert isinstance(closes, list)
        return closes

    def test_are_the_last_of_each_of_the_newest_24_hours_that_have_bars(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 12 * 30 + 5)
        newest = 12 * 30 + 5
        assert self.shown(store) == [float(12 * hour) for hour in range(8, 31)] + [newest]
        assert self.kept(sql) == self.shown(store)

    def test_pass_over_hours_without_bars(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 18)
        self.save(store, 12 * 60, 1)
        assert self.kept(sql) == self.shown(store) == [12.0, 18.0, 721.0]

    def test_follow_the_bar_that_is_forming(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 13)
        self.save(store, 12, 1, add=0.5, asked_ms=NOW_MS + HOUR_MS)
        assert self.kept(sql) == self.shown(store) == [12.0, 13.5]

    def test_follow_a_correction_of_an_hour_before(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 36)
        self.save(store, 11, 1, add=0.5, asked_ms=NOW_MS + HOUR_MS)
        assert self.kept(sql) == self.shown(store) == [12.5, 24.0, 36.0]

    def test_are_not_disturbed_by_pages_of_the_past(self, store: Store, sql: Sql) -> None:
        self.save(store, 12 * 48, 12 * 24)
        ((before, row),) = sql("SELECT closes, xmin::text FROM data_sources.assetbatch_closes")
        self.save(store, 0, 12 * 24)
        assert sql("SELECT closes, xmin::text FROM data_sources.assetbatch_closes") == [(before, row)]
        assert self.shown(store) == before

    def test_are_filled_up_by_bars_of_the_past_where_there_are_few(self, store: Store, sql: Sql) -> None:
        self.save(store, 24, 12)
        self.save(store, 0, 24)
        assert self.kept(sql) == self.shown(store) == [12.0, 24.0, 36.0]

    def test_of_the_same_bars_again_are_not_written(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 36)
        before = sql("SELECT xmin::text FROM data_sources.assetbatch_closes")
        self.save(store, 0, 36)
        assert sql("SELECT xmin::text FROM data_sources.assetbatch_closes") == before

    def test_of_bars_that_were_there_before_are_read_from_them(self, store: Store, sql: Sql) -> None:
        """As after an upgrade, or with a platform's table that `init` has adopted."""
        self.save(store, 0, 36)
        sql("DELETE FROM data_sources.assetbatch_closes")
        assert self.shown(store) == [12.0, 24.0, 36.0]

    def test_that_another_program_has_continued_are_read_from_the_bars(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 36)
        sql("UPDATE market_data.ohlcv_5m SET ts = ts + interval '2 hours' WHERE close = 36")
        assert self.shown(store) == [12.0, 24.0, 35.0, 36.0]
        assert self.kept(sql) == [12.0, 24.0, 36.0]

    def test_that_another_program_has_deleted_are_gone(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 36)
        sql("DELETE FROM market_data.ohlcv_5m WHERE close > 30")
        assert self.shown(store) == [12.0, 24.0, 30.0]
        sql("DELETE FROM market_data.ohlcv_5m")
        assert store.hourly_closes(["EURUSD"]) == {}

    def test_leave_out_what_is_no_number(self, store: Store, sql: Sql) -> None:
        self.save(store, 0, 36)
        sql("ALTER TABLE market_data.ohlcv_5m DROP CONSTRAINT ohlcv_5m_prices_check")
        sql("UPDATE market_data.ohlcv_5m SET close = 'NaN' WHERE close = 24")
        sql("DELETE FROM data_sources.assetbatch_closes")
        assert self.shown(store) == [12.0, 36.0]
        self.save(store, 36, 1)
        assert self.shown(store) == [12.0, 36.0, 37.0]

    def test_symbols_without_bars_are_absent(self, store: Store) -> None:
        self.save(store, 0, 1)
        assert store.hourly_closes(["EURUSD", "XAUUSD", "NOPE", "N\x00PE"]) == {"EURUSD": [1.0]}
        assert store.hourly_closes([]) == {}
