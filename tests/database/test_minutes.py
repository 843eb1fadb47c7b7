"""Bars of five minutes out of minutes, in whatever order, parts and corrections these come."""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    Changes,
    CoveredInterval,
    IntervalState,
    Look,
    floor_to_bar,
    in_order,
)
from assetbatch.domain.ranges import asked_less_from, wanted_once_more

from .conftest import Sql

MINUTE_MS = 60_000
NOW_MS = 1_760_000_100_000
START_MS = floor_to_bar(NOW_MS - 10 * 86_400_000)
ASKED, FAILED = IntervalState.ASKED, IntervalState.FAILED

Row = tuple[object, ...]


def minute(number: int, close: float = 1.15, volume: float | None = 2.0, **more: float | None) -> Bar:
    values = {"open": 1.1, "high": 9.0, "low": 1.0, "vwap": 1.125, "trades": 3, **more}
    return Bar(START_MS + number * MINUTE_MS, close=close, volume=volume, **values)  # type: ignore[arg-type]


def changes(
    minutes: Sequence[Bar], asked: Sequence[tuple[int, int]] = ((0, 100),), asked_ms: int = NOW_MS
) -> Changes:
    """Minutes, with the numbers of the bars of five minutes up to which the answer is complete."""
    minutes = in_order(minutes)
    coverage = [
        CoveredInterval(START_MS + first * BAR_MS, START_MS + end * BAR_MS, ASKED, asked_ms)
        for first, end in asked
    ]
    return Changes(
        bars={"BTCUSD": minutes} if minutes else {},
        coverage={"BTCUSD": coverage},
        asked_ms={"BTCUSD": asked_ms},
        minutes={"BTCUSD"},
    )


def bars(sql: Sql, table: str = "ohlcv_5m") -> dict[int, Row]:
    rows = sql(
        "SELECT (extract(epoch FROM o.ts) * 1000)::int8, open, high, low, close, volume, vwap, trades"
        f" FROM market_data.{table} o JOIN trading.symbols s ON s.id = o.symbol_id WHERE s.symbol = 'BTCUSD'"
    )
    return {int(row[0]): row[1:] for row in rows}


def number(sql: Sql, at: int) -> Row:
    return bars(sql)[START_MS + at * BAR_MS]


def rounded(value: float) -> float:
    """To 15 significant digits."""
    return float(f"{value:.15g}")


def aggregated(minutes: Sequence[Bar]) -> Row:
    """One bar out of the minutes of its five, in plain Python."""
    known = sorted(minutes, key=lambda bar: bar.t_ms)
    volumes, trades = [bar.volume for bar in known], [bar.trades for bar in known]
    volume = vwap = None
    if None not in volumes:
        volume = rounded(float(sum(Decimal(repr(one)) for one in volumes if one is not None)))
        if all(bar.vwap is not None for bar in known) and volume > 0:
            turnover = sum((bar.volume or 0.0) * (bar.vwap or 0.0) for bar in known)
            vwap = rounded(turnover / sum(one for one in volumes if one is not None))
    return (
        known[0].open,
        max(bar.high for bar in known),
        min(bar.low for bar in known),
        known[-1].close,
        volume,
        vwap,
        None if None in trades else sum(one for one in trades if one is not None),
    )


class TestABar:
    def test_is_the_first_open_the_last_close_and_the_sums(self, store: Store, sql: Sql) -> None:
        minutes = [
            minute(1, open=1.2, high=1.5, low=1.1, close=1.3, volume=0.1, vwap=1.25, trades=1),
            minute(2, open=1.3, high=1.9, low=1.2, close=1.4, volume=0.2, vwap=1.75, trades=2),
            minute(4, open=1.4, high=1.6, low=1.0, close=1.1, volume=0.7, vwap=1.5, trades=4),
        ]
        saved = store.save(changes(minutes), NOW_MS)
        assert number(sql, 0) == (1.2, 1.9, 1.0, 1.1, 1.0, 1.525, 7)
        assert (saved.bars_new, saved.bars_changed, len(bars(sql, "ohlcv_1m"))) == (3, 0, 3)

    def test_of_one_minute_is_that_minute(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(3)]), NOW_MS)
        assert number(sql, 0) == (1.1, 9.0, 1.0, 1.15, 2.0, 1.125, 3)

    @pytest.mark.parametrize(
        ("lacking", "left"),
        [
            ({"volume": None}, (None, None, 6)),
            ({"vwap": None}, (4.0, None, 6)),
            ({"trades": None}, (4.0, 1.125, None)),
        ],
    )
    def test_lacks_what_one_of_its_minutes_lacks(
        self, store: Store, sql: Sql, lacking: dict[str, None], left: Row
    ) -> None:
        store.save(changes([minute(0), minute(1, **lacking)]), NOW_MS)  # type: ignore[arg-type]
        assert number(sql, 0)[4:] == left

    def test_gives_the_close_that_is_kept_of_its_hour(self, store: Store, sql: Sql) -> None:
        def kept() -> object:
            ((closes,),) = sql("SELECT closes FROM data_sources.assetbatch_closes")
            assert store.hourly_closes(["BTCUSD"]) == {"BTCUSD": closes}
            return closes

        first = -START_MS % 3_600_000 // MINUTE_MS  # of a whole hour
        hour = (first // 5, first // 5 + 12)
        store.save(changes([minute(first + 3, close=1.3), minute(first + 62, close=1.4)], [hour]), NOW_MS)
        assert kept() == [1.3]  # the five minutes of the second are not complete
        store.save(changes([], [(hour[1], hour[1] + 1)]), NOW_MS)
        assert kept() == [1.3, 1.4]
        store.save(changes([minute(first + 4, close=1.2)], [hour], NOW_MS + 1), NOW_MS + 1)
        assert kept() == [1.2, 1.4]

    def test_without_volume_has_no_average(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(0, volume=0.0)]), NOW_MS)
        assert number(sql, 0)[4:] == (0.0, None, 3)


class TestWhenItIsWritten:
    def test_as_far_as_the_answer_is_complete(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n) for n in range(12)], [(0, 2)]), NOW_MS)
        assert sorted(bars(sql)) == [START_MS, START_MS + BAR_MS]
        assert len(bars(sql, "ohlcv_1m")) == 12

    def test_the_next_page_completes_the_bar_in_which_a_page_ends(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n, 1.0 + n / 8) for n in range(8)], [(0, 1)]), NOW_MS)
        store.save(changes([minute(n, 1.0 + n / 8) for n in range(8, 10)], [(1, 2)]), NOW_MS)
        assert number(sql, 1) == (1.1, 9.0, 1.0, 1.0 + 9 / 8, 10.0, 1.125, 15)

    def test_in_a_later_page_without_a_minute_of_it(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n) for n in range(7)], [(0, 1)]), NOW_MS)
        store.save(changes([minute(17)], [(1, 4)]), NOW_MS)
        assert number(sql, 1)[6] == 6

    def test_again_when_a_minute_is_corrected(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n) for n in range(5)]), NOW_MS)
        saved = store.save(changes([minute(4, 1.75, volume=3.0)], asked_ms=NOW_MS + 1), NOW_MS + 1)
        assert (saved.bars_new, saved.bars_changed) == (0, 1)
        assert number(sql, 0) == (1.1, 9.0, 1.0, 1.75, 11.0, 1.125, 15)

    def test_not_again_by_an_older_answer(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n, 1.5) for n in range(5)], asked_ms=NOW_MS), NOW_MS)
        store.save(changes([minute(n, 1.25) for n in range(5)], asked_ms=NOW_MS - 1000), NOW_MS)
        assert number(sql, 0)[3] == 1.5

    def test_the_same_minutes_again_write_nothing(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n) for n in range(50)]), NOW_MS)
        before = sql("SELECT xmin::text, ts FROM market_data.ohlcv_5m ORDER BY ts")
        saved = store.save(changes([minute(n) for n in range(50)]), NOW_MS)
        assert (saved.bars_new, saved.bars_changed) == (0, 0)
        assert sql("SELECT xmin::text, ts FROM market_data.ohlcv_5m ORDER BY ts") == before

    @pytest.mark.parametrize("partly", [False, True])
    def test_where_what_is_stored_is_wanted_again(self, store: Store, sql: Sql, partly: bool) -> None:
        """At once by the same batch, or before an answer of which a minute is of no use."""
        again = CoveredInterval(START_MS, START_MS + 10 * BAR_MS, IntervalState.AGAIN, NOW_MS)
        batch = changes([minute(n) for n in range(50)], [(0, 10)])
        both = [*batch.coverage["BTCUSD"], again]
        store.save(msgspec.structs.replace(batch, coverage={"BTCUSD": both}), NOW_MS)
        assert len(bars(sql)) == 10
        if partly:
            failed = CoveredInterval(START_MS, START_MS + BAR_MS, FAILED, NOW_MS, "no use")
            batch = changes([minute(0, 1.75, open=1.5)], [], NOW_MS + 1)
            store.save(msgspec.structs.replace(batch, coverage={"BTCUSD": [failed]}), NOW_MS + 1)
        assert number(sql, 0)[0] == (1.5 if partly else 1.1)

    def test_by_the_same_minutes_where_another_program_has_removed_it_and_they_are_verified(
        self, store: Store, sql: Sql
    ) -> None:
        minutes = [minute(n) for n in range(500)]
        store.save(changes(minutes), NOW_MS)
        before = bars(sql)
        sql("DELETE FROM market_data.ohlcv_5m")
        store.save(changes(minutes, asked_ms=NOW_MS + 1), NOW_MS + 1)
        assert bars(sql) == {}  # that would cost each refresh of the latest minutes
        look = Look(START_MS, START_MS + 100 * BAR_MS, NOW_MS + 2, 100)
        verified = msgspec.structs.replace(changes(minutes, asked_ms=NOW_MS + 2), looks={"BTCUSD": [look]})
        store.save(verified, NOW_MS + 2)
        assert bars(sql) == before

    def test_a_minute_of_no_use_leaves_its_bar_as_it_was(self, store: Store, sql: Sql) -> None:
        store.save(changes([minute(n) for n in range(5)]), NOW_MS)
        failed = CoveredInterval(START_MS, START_MS + BAR_MS, FAILED, NOW_MS, "no use")
        batch = Changes(bars={"BTCUSD": [minute(0, 1.75)]}, coverage={"BTCUSD": [failed]}, minutes={"BTCUSD"})
        store.save(batch, NOW_MS + 1)
        assert number(sql, 0)[6] == 15

    def test_beside_bars_of_five_minutes_that_are_corrected(self, store: Store, sql: Sql) -> None:
        def both(close: float) -> Changes:
            batch = changes([minute(n, close) for n in range(5)])
            five = Bar(START_MS, 1.0, 9.0, 1.0, close)
            return msgspec.structs.replace(batch, bars={**batch.bars, "EURUSD": [five]})

        store.save(both(1.25), NOW_MS)
        store.save(both(1.5), NOW_MS + 1)
        assert sql("SELECT DISTINCT close FROM market_data.ohlcv_5m") == [(1.5,)]

    def test_where_the_minutes_are_the_same_and_more_is_answered(self, store: Store, sql: Sql) -> None:
        minutes = [minute(n) for n in range(15)]
        store.save(changes(minutes, [(0, 1)]), NOW_MS)
        saved = store.save(changes(minutes, [(0, 3)]), NOW_MS)
        assert (saved.bars_new, saved.bars_changed, len(bars(sql))) == (0, 0, 3)


class TestATableThatRefuses:
    def test_a_value_costs_only_its_bar(self, store: Store, sql: Sql) -> None:
        sql("ALTER TABLE market_data.ohlcv_5m ADD CONSTRAINT small CHECK (volume < 100)")
        minutes = [minute(n, volume=30.0 if 10 <= n < 15 else 1.0) for n in range(50)]
        saved = store.save(changes(minutes, [(0, 10)]), NOW_MS)
        assert START_MS + 2 * BAR_MS not in bars(sql)
        assert (len(bars(sql)), len(bars(sql, "ohlcv_1m"))) == (9, 50)
        assert "small" in saved.rejected["BTCUSD"].error
        (rejected,) = [
            one for one in store.load(["BTCUSD"])["BTCUSD"].coverage if one.state is IntervalState.REJECTED
        ]
        assert (rejected.start_ms, rejected.end_ms) == (START_MS + 2 * BAR_MS, START_MS + 3 * BAR_MS)

    def test_a_minute_has_its_five_asked_for_again(self, store: Store, sql: Sql) -> None:
        sql("ALTER TABLE market_data.ohlcv_1m ADD CONSTRAINT small CHECK (close < 100)")
        minutes = [minute(n, 8.0) for n in range(15)]
        minutes[7] = minute(7, 200.0, high=300.0)
        saved = store.save(changes(minutes, [(0, 3)]), NOW_MS)
        assert sorted(bars(sql)) == [START_MS, START_MS + 2 * BAR_MS]
        assert len(bars(sql, "ohlcv_1m")) == 14
        assert saved.rejected["BTCUSD"].failed

    def test_a_month_without_a_partition_is_a_gap_with_that_reason(self, store: Store, sql: Sql) -> None:
        sql(
            "ALTER TABLE market_data.ohlcv_5m RENAME TO all_bars;"
            "CREATE TABLE market_data.ohlcv_5m (LIKE market_data.all_bars INCLUDING ALL)"
            " PARTITION BY RANGE (ts)"
        )
        moment = f"to_timestamp({(START_MS + 5 * BAR_MS) // 1000})"
        ((bound,),) = sql(f"SELECT {moment}::text")
        sql(
            "CREATE TABLE market_data.later PARTITION OF market_data.ohlcv_5m"
            f" FOR VALUES FROM ('{bound}') TO (MAXVALUE)"
        )
        saved = store.save(changes([minute(n) for n in range(50)], [(0, 10)]), NOW_MS)
        assert min(bars(sql)) == START_MS + 5 * BAR_MS
        assert "has no partition for" in saved.rejected["BTCUSD"].error
        assert len(bars(sql, "ohlcv_1m")) == 50

    def test_rounds_before_it_compares(self, store: Store, sql: Sql) -> None:
        sql("ALTER TABLE market_data.ohlcv_5m ALTER vwap TYPE numeric(10,2), ALTER volume TYPE numeric(10,1)")
        store.save(changes([minute(0, volume=1.26)]), NOW_MS)
        before = sql("SELECT xmin::text, volume::text, vwap::text FROM market_data.ohlcv_5m")
        assert before[0][1:] == ("1.3", "1.13")
        store.save(changes([minute(0, volume=1.26)]), NOW_MS)
        assert sql("SELECT xmin::text, volume::text, vwap::text FROM market_data.ohlcv_5m") == before

    def test_a_sum_costs_only_its_bar(self, store: Store, sql: Sql) -> None:
        sql("ALTER TABLE market_data.ohlcv_5m ALTER volume TYPE numeric(5,2)")
        minutes = [minute(n, volume=400.0 if 5 <= n < 10 else 1.0) for n in range(15)]
        saved = store.save(changes(minutes, [(0, 3)]), NOW_MS)
        assert sorted(bars(sql)) == [START_MS, START_MS + 2 * BAR_MS]
        assert "ohlcv_5m.volume (numeric(5,2)) cannot hold 2000.0" in saved.rejected["BTCUSD"].error
        assert [(one.state, one.start_ms) for one in store.load(["BTCUSD"])["BTCUSD"].coverage][1] == (
            IntervalState.REJECTED,
            START_MS + BAR_MS,
        )

    def test_digits_of_minutes_has_bars_of_what_is_stored(self, store: Store, sql: Sql) -> None:
        sql("ALTER TABLE market_data.ohlcv_1m ALTER volume TYPE numeric(10,1)")
        store.save(changes([minute(0, volume=1.26), minute(1, volume=1.26)]), NOW_MS)
        assert number(sql, 0)[4] == 2.6


class TestTheSize:
    def size(self, store: Store) -> BarSize | None:
        return store.load(["BTCUSD"])["BTCUSD"].bar_size

    def states(self, store: Store) -> list[IntervalState]:
        return [one.state for one in store.load(["BTCUSD"])["BTCUSD"].coverage]

    def five(self, first: int, end: int) -> Changes:
        interval = CoveredInterval(START_MS + first * BAR_MS, START_MS + end * BAR_MS, ASKED, NOW_MS)
        return Changes(coverage={"BTCUSD": [interval]})

    def test_is_that_in_which_bars_were_asked_for_first(self, store: Store) -> None:
        store.save(changes([minute(0)]), NOW_MS)
        assert self.size(store) is BarSize.ONE_MINUTE

    def test_stays_five_minutes_until_everything_is_asked_for_again(self, store: Store) -> None:
        store.save(self.five(0, 10), NOW_MS)
        store.save(changes([minute(100)], [(10, 30)]), NOW_MS)
        assert self.size(store) is not BarSize.ONE_MINUTE
        store.ask_again({"BTCUSD": 0}, {"BTCUSD": BarSize.ONE_MINUTE}, NOW_MS)
        assert (self.size(store), self.states(store)) == (BarSize.ONE_MINUTE, [IntervalState.REQUESTED])

    def test_is_asked_for_again_once(self, store: Store) -> None:
        store.save(self.five(0, 10), NOW_MS)
        store.ask_again({"BTCUSD": 0}, {"BTCUSD": BarSize.ONE_MINUTE}, NOW_MS)
        store.save(changes([minute(0)], [(0, 10)]), NOW_MS)
        store.ask_again({"BTCUSD": 0}, {"BTCUSD": BarSize.ONE_MINUTE}, NOW_MS)
        assert (self.size(store), self.states(store)) == (BarSize.ONE_MINUTE, [ASKED])

    def again(self, store: Store, asset: Asset) -> list[tuple[int, int]]:
        """Ask again for what is less than the asset keeps; return what is wanted."""
        before = store.load(["BTCUSD"])["BTCUSD"]
        from_ms = asked_less_from(asset, before)
        assert from_ms is not None
        store.ask_again({"BTCUSD": from_ms}, {"BTCUSD": asset.bars}, NOW_MS)
        after = store.load(["BTCUSD"])["BTCUSD"]
        assert asked_less_from(asset, after) is None
        wanted = wanted_once_more(before, from_ms).coverage
        assert [(one.start_ms, one.end_ms, one.state) for one in after.coverage] == [
            (one.start_ms, one.end_ms, one.state) for one in wanted
        ]
        return [
            ((one.start_ms - START_MS) // BAR_MS, (one.end_ms - START_MS) // BAR_MS)
            for one in after.coverage
            if one.state is IntervalState.REQUESTED
        ]

    def test_of_a_change_to_and_fro_only_what_lies_between_is_asked_for_again(self, store: Store) -> None:
        asset = Asset(
            symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO, bars=BarSize("1m")
        )
        store.save(changes([minute(0)], [(0, 10)]), NOW_MS)
        store.save(self.five(8, 20), NOW_MS)
        store.save(self.five(20, 30), NOW_MS)
        store.save(self.five(0, 5), NOW_MS)  # what was answered in minutes stays so
        assert self.again(store, asset) == [(10, 30)]

    def test_so_it_is_with_bars_beside_the_session(self, store: Store) -> None:
        asset = Asset(
            symbol="BTCUSD", polygon_ticker="TSLA", asset_type=AssetType.STOCKS, extended_hours=True
        )
        session = frozenset({"BTCUSD"})
        store.save(msgspec.structs.replace(self.five(0, 10), in_session=session), NOW_MS)
        assert self.again(store, asset) == [(0, 10)]
        store.save(self.five(0, 20), NOW_MS)
        assert asked_less_from(asset, store.load(["BTCUSD"])["BTCUSD"]) is None
        store.save(msgspec.structs.replace(self.five(15, 30), in_session=session), NOW_MS)
        assert (
            asked_less_from(
                msgspec.structs.replace(asset, bars=BarSize.NONE), store.load(["BTCUSD"])["BTCUSD"]
            )
            is None
        )
        assert self.again(store, asset) == [(20, 30)]

    def test_what_an_earlier_version_has_asked_for_counts_as_the_session(self, store: Store) -> None:
        asset = Asset(
            symbol="BTCUSD", polygon_ticker="TSLA", asset_type=AssetType.STOCKS, extended_hours=True
        )
        store.save(self.five(0, 10), NOW_MS)
        store.save(msgspec.structs.replace(self.five(10, 20), in_session={"BTCUSD"}), NOW_MS)
        assert self.again(store, asset) == [(0, 20)]

    def test_is_five_minutes_once_those_are_asked_for(self, store: Store) -> None:
        store.save(changes([minute(0)], [(0, 10)]), NOW_MS)
        store.save(self.five(10, 20), NOW_MS)
        assert (self.size(store), self.states(store)) == (BarSize.FIVE_MINUTES, [ASKED])


PRICES = st.integers(1, 400).map(lambda ticks: ticks / 8)
VOLUMES = st.none() | st.integers(0, 10**6).map(lambda units: units / 1000)


def a_minute(at: int, prices: list[float], rises: bool, volume: float | None, rest: int) -> Bar:
    low, first, second, high = sorted(prices)
    opened, closed = (first, second) if rises else (second, first)
    vwap, trades = None if rest % 5 == 0 else (low + high) / 2, None if rest % 7 == 0 else rest
    return Bar(START_MS + at * MINUTE_MS, opened, high, low, closed, volume, vwap, trades)


MINUTES = st.builds(
    a_minute,
    st.integers(0, 29),
    st.lists(PRICES, min_size=4, max_size=4),
    st.booleans(),
    VOLUMES,
    st.integers(0, 1000),
)
ANSWERS = st.tuples(
    st.integers(0, 3), st.lists(MINUTES, max_size=25, unique_by=lambda bar: bar.t_ms), st.integers(1, 4)
)
"""When it was asked for, its minutes, and in how many pages they come."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(ANSWERS, min_size=1, max_size=5), order=st.randoms(use_true_random=False))
def test_bars_equal_the_direct_aggregation_of_the_minutes(
    store: Store, sql: Sql, answers: list[tuple[int, list[Bar], int]], order: Random
) -> None:
    """Whatever the corrections, the cuts of pages and the order of arrival."""
    sql("TRUNCATE market_data.ohlcv_5m, market_data.ohlcv_1m, data_sources.assetbatch_spans")
    sql("TRUNCATE data_sources.assetbatch_answers")
    parts = []
    for asked, minutes, pages in answers:
        cuts = [0, *sorted(order.sample(range(31), pages - 1)), 30]
        for first, end in pairwise(cuts):
            page = [bar for bar in minutes if first <= (bar.t_ms - START_MS) // MINUTE_MS < end]
            parts.append(changes(page, [(first // 5, end // 5)], NOW_MS + asked))
    order.shuffle(parts)
    for part in parts:
        store.save(part, NOW_MS + 10)
    stored = defaultdict(list)
    for t_ms, row in bars(sql, "ohlcv_1m").items():
        stored[floor_to_bar(t_ms)].append(Bar(t_ms, *row))  # type: ignore[arg-type]
    wanted = {start: aggregated(minutes) for start, minutes in stored.items()}
    found = bars(sql)
    assert found.keys() == wanted.keys()
    for start, bar in found.items():
        assert bar[:5] + bar[6:] == wanted[start][:5] + wanted[start][6:]
        assert (bar[5] is None) == (wanted[start][5] is None)
        assert bar[5] is None or bar[5] == pytest.approx(wanted[start][5], rel=1e-14)


def write_for_ever(database_url: str, seed: int) -> None:
    """What a process does until it is killed: corrected minutes, in pages that end within a bar."""
    chance = Random(seed)
    with Store.open(database_url) as store:
        while True:
            now_ms = int(time.time() * 1000)
            first, end = sorted(chance.sample(range(600), 2))
            minutes = [
                minute(n, chance.randrange(8, 72) / 8, volume=float(chance.randrange(9)))
                for n in range(first, end)
                if chance.random() < 0.8
            ]
            store.save(changes(minutes, [(-(-first // 5), end // 5)], now_ms), now_ms)


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_whenever_a_process_is_killed_each_bar_is_that_of_its_minutes(database_url: str, sql: Sql) -> None:
    """Two processes write the same bars, and one of them is killed at any moment."""
    chance, fork = Random(5), multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_for_ever, args=(database_url, seed)) for seed in range(2)]
    for writer in writers:
        writer.start()
    try:
        for seed in range(2, 42):
            time.sleep(chance.uniform(0.05, 0.3))
            killed = writers.pop(0)
            killed.kill()
            killed.join()
            writers.append(fork.Process(target=write_for_ever, args=(database_url, seed)))
            writers[-1].start()
            assert_bars_are_those_of_the_minutes(sql)
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert len(bars(sql)) > 100


def assert_bars_are_those_of_the_minutes(sql: Sql) -> None:
    """As one snapshot of the database has them."""
    sql("BEGIN ISOLATION LEVEL REPEATABLE READ")
    minutes, found = bars(sql, "ohlcv_1m"), bars(sql)
    asked = {
        int(start) + at
        for start, end in sql(
            "SELECT extract(epoch FROM start_ts) * 1000, extract(epoch FROM end_ts) * 1000"
            " FROM data_sources.assetbatch_spans WHERE state = 'asked'"
        )
        for at in range(0, int(end - start), BAR_MS)
    }
    sql("COMMIT")
    stored = defaultdict(list)
    for t_ms, row in minutes.items():
        stored[floor_to_bar(t_ms)].append(Bar(t_ms, *row))  # type: ignore[arg-type]
    wanted = {start: aggregated(some) for start, some in stored.items() if start in asked}
    assert found.keys() == wanted.keys()
    for start, bar in found.items():
        assert bar[:5] + bar[6:] == wanted[start][:5] + wanted[start][6:]
