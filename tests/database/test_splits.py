"""Splits as they are stored: what answers change of them, and whether the stored bars bear them out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.domain.splits import Days, KnownSplit, Listed, Split, SplitKind, SplitState

from .conftest import Sql
from .test_adjusted import NOTHING, STOCKS, ids, split, stock

NOW_MS = 1_780_000_000_000
DAY = date(2026, 5, 18)
WEEKS = Days(DAY - timedelta(days=7), DAY + timedelta(days=14))


@pytest.fixture
def store(store: Store) -> Store:
    store.initialise(NOTHING, STOCKS)
    return store


def learn(store: Store, *some: Split, symbol: str = "AAPL", settled: Days | None = WEEKS) -> Any:
    return store.learn_splits({symbol: Listed(some)}, ["AAPL", "SPY", "GONE"], settled, NOW_MS).changed


def stored(sql: Sql) -> list[tuple[Any, ...]]:
    return sql(
        "SELECT s.symbol, execution_date, split_from, split_to, kind, state"
        " FROM market_data.splits d JOIN trading.symbols s ON s.id = d.symbol_id ORDER BY 1, 2"
    )


class TestAnswers:
    def test_are_written_once(self, store: Store, sql: Sql) -> None:
        assert list(learn(store, split(DAY, 1, 4))) == ["AAPL"]
        row = ("AAPL", DAY, 1.0, 4.0, "forward_split", "applied")
        assert stored(sql) == [row]
        assert sql("SELECT learned_at FROM market_data.splits") == [
            (datetime.fromtimestamp(NOW_MS / 1000, UTC),)
        ]
        before = sql("SELECT xmin::text FROM market_data.splits")
        assert learn(store, split(DAY, 1, 4)) == {}
        assert sql("SELECT xmin::text FROM market_data.splits") == before

    def test_that_contradict_themselves_are_a_conflict_until_they_do_not(
        self, store: Store, sql: Sql
    ) -> None:
        learn(store, split(DAY, 1, 4))
        learn(store, split(DAY, 1, 4), split(DAY, 1, 5))
        assert stored(sql) == [("AAPL", DAY, 1.0, 4.0, "forward_split", "conflict")]
        learn(store, split(DAY, 1, 5))
        assert stored(sql) == [("AAPL", DAY, 1.0, 5.0, "forward_split", "applied")]

    def test_that_list_a_split_no_more_withdraw_it(self, store: Store, sql: Sql) -> None:
        learn(store, split(DAY, 1, 4))
        learn(store, split(DAY, 10, 1), symbol="SPY")
        assert [(row[0], row[-1]) for row in stored(sql)] == [("AAPL", "withdrawn"), ("SPY", "applied")]

    def test_of_other_symbols_or_days_withdraw_nothing(self, store: Store, sql: Sql) -> None:
        learn(store, split(DAY, 1, 4))
        store.learn_splits({}, ["SPY"], WEEKS, NOW_MS)
        learn(store, settled=Days(DAY + timedelta(days=1), WEEKS.last))
        learn(store, settled=None)
        assert [row[-1] for row in stored(sql)] == ["applied"]

    def test_about_symbols_that_are_not_registered_are_left_out(self, store: Store, sql: Sql) -> None:
        learn(store, split(DAY, 1, 4), symbol="GONE")
        assert stored(sql) == []

    def test_that_repeat_what_a_person_has_corrected_write_it_again(self, store: Store, sql: Sql) -> None:
        learn(store, split(DAY, 1, 4))
        sql("UPDATE market_data.splits SET state = 'withdrawn'")
        learn(store, split(DAY, 1, 4))
        assert [row[-1] for row in stored(sql)] == ["applied"]


TICKERS = {"AAPL": "AAPL", "SPY": "SPY", "GONE": "GONE"}


class TestAsked:
    def test_are_those_that_were_recorded(self, store: Store) -> None:
        assert store.unasked_splits(TICKERS) == ["AAPL", "SPY"]
        store.learn_splits({}, ["AAPL"], None, NOW_MS, asked={"AAPL": "AAPL"})
        assert store.unasked_splits(TICKERS) == ["SPY"]

    def test_are_asked_again_by_another_ticker(self, store: Store) -> None:
        store.learn_splits({}, ["AAPL", "SPY"], None, NOW_MS, asked=TICKERS)
        assert store.unasked_splits(TICKERS) == []
        assert store.unasked_splits(TICKERS | {"SPY": "SPYX"}) == ["SPY"]

    def test_change_nothing_of_what_else_is_known(self, store: Store) -> None:
        before = store.load(["AAPL"])
        store.learn_splits({}, ["AAPL"], None, NOW_MS, asked=TICKERS)
        assert store.load(["AAPL"]) == before


def fill(sql: Sql, prices: Sequence[tuple[str, float, float]], table: str = "ohlcv_5m") -> None:
    for moment, opened, closed in prices:
        high, low = max(opened, closed), min(opened, closed)
        sql(
            f"INSERT INTO market_data.{table} VALUES (%s, %s, %s, %s, %s, %s)",
            ids(sql)["AAPL"],
            moment if table == "ohlcv_5m" else moment[:10],
            opened,
            high,
            low,
            closed,
        )


@pytest.mark.parametrize("table", ["ohlcv_5m", "ohlcv_1d"])
class TestFits:
    def test_are_told_by_the_bars_around_the_day(self, store: Store, sql: Sql, table: str) -> None:
        learn(store, split(DAY, 1, 4))
        assert store.judge_splits(DAY) == []
        assert sql("SELECT fits FROM market_data.splits") == [(None,)]
        fill(sql, [("2026-05-14 19:00Z", 9, 9), ("2026-05-15 19:55Z", 399, 400)], table)
        fill(sql, [("2026-05-18 13:30Z", 101, 102), ("2026-05-19 13:30Z", 9, 9)], table)
        assert store.judge_splits(DAY) == []
        assert sql("SELECT fits FROM market_data.splits") == [(True,)]
        assert store.doubtful_splits(["AAPL", "SPY"]) == []

    def test_are_doubted_once_and_told_as_long_as_it_lasts(self, store: Store, sql: Sql, table: str) -> None:
        learn(store, split(DAY, 1, 4))
        fill(sql, [("2026-05-15 19:55Z", 400, 400), ("2026-05-18 13:30Z", 401, 401)], table)
        assert store.judge_splits(DAY) == [("AAPL", split(DAY, 1, 4))]
        assert store.judge_splits(DAY) == []
        known = KnownSplit(split(DAY, 1, 4), SplitState.APPLIED)
        assert store.doubtful_splits(["AAPL"]) == [("AAPL", known)]
        assert store.doubtful_splits(["SPY"]) == []
        learn(store, split(DAY, 100, 101))  # another ratio
        assert store.doubtful_splits(["AAPL"]) == []
        assert store.judge_splits(DAY) == []

    def test_are_not_told_before_the_day_nor_by_bars_far_away(
        self, store: Store, sql: Sql, table: str
    ) -> None:
        learn(store, split(DAY, 1, 4))
        fill(sql, [("2026-05-05 19:55Z", 400, 400), ("2026-05-18 13:30Z", 401, 401)], table)
        assert store.judge_splits(DAY) == []
        fill(sql, [("2026-05-15 19:55Z", 400, 400)], table)
        assert store.judge_splits(DAY - timedelta(days=1)) == []
        assert len(store.judge_splits(DAY)) == 1


def test_conflicts_are_doubtful(store: Store) -> None:
    learn(store, split(DAY, 1, 4), split(DAY, 1, 5))
    known = KnownSplit(split(DAY, 1, 4), SplitState.CONFLICT)
    assert store.doubtful_splits(["AAPL"]) == [("AAPL", known)]


class TestThePlatform:
    def test_keeps_its_own_table_of_splits(self, empty: Store, sql: Sql) -> None:
        """It is no table of ours, and nothing is done to it."""
        sql(
            "CREATE SCHEMA market_data;"
            " CREATE TABLE market_data.splits (ticker text, ex_date date, ratio numeric);"
            " INSERT INTO market_data.splits VALUES ('AAPL', '2020-08-31', 4)"
        )
        before = sql("SELECT xmin::text, * FROM market_data.splits")
        empty.initialise(NOTHING, STOCKS)
        fill(sql, [("2026-05-15 19:55Z", 400, 400)])
        learn(empty, split(DAY, 1, 4))
        assert sql("SELECT open FROM market_data.ohlcv_5m_adjusted") == [(100.0,)]
        assert sql("SELECT count(*) FROM market_data.assetbatch_splits") == [(1,)]
        assert sql("SELECT xmin::text, * FROM market_data.splits") == before

    def test_may_have_made_it_with_names_and_types_of_its_own(self, database_url: str, sql: Sql) -> None:
        sql(
            "CREATE SCHEMA market_data; CREATE TABLE market_data.stock_splits (id serial PRIMARY KEY,"
            " ticker varchar(20) NOT NULL, ex_date date NOT NULL, old_shares numeric(12,4) NOT NULL,"
            " new_shares numeric(12,4) NOT NULL, split_type text NOT NULL, state varchar(10),"
            " source text NOT NULL, learned_at timestamp, UNIQUE (ticker, ex_date, source));"
            " INSERT INTO market_data.stock_splits"
            " (ticker, ex_date, old_shares, new_shares, split_type, source)"
            " VALUES ('AAPL', '2026-05-18', 1, 9, 'theirs', 'them')"
        )
        mapping = TableMapping(table="market_data.stock_splits", constants={"source": "polygon"})
        mappings = TableMappings(splits=mapping)
        with Store.open(
            database_url, check_schema=False, mappings=mappings, tickers=lambda: {"AAPL": "AAPL"}
        ) as store:
            store.initialise(mappings, [stock("AAPL")])
            fill(sql, [("2026-05-15 19:55Z", 400, 400)])
            learn(store, split(DAY, 1, 4))
            assert learn(store, split(DAY, 1, 4)) == {}
            assert store.judge_splits(DAY) == []
            learn(store, split(DAY, 1, 5))
            known = store.doubtful_splits(["AAPL"])
        assert known == []
        found = sql(
            "SELECT source, new_shares::int, split_type, state, learned_at"
            " FROM market_data.stock_splits ORDER BY 1"
        )
        moment = datetime.fromtimestamp(NOW_MS / 1000, UTC).replace(tzinfo=None)
        assert found == [
            ("polygon", 5, "forward_split", "applied", moment),
            ("them", 9, "theirs", None, None),
        ]
        assert sql("SELECT open FROM market_data.ohlcv_5m_adjusted") == [(80.0,)]


def test_a_kind_of_a_row_of_others_is_read_as_any(store: Store, sql: Sql) -> None:
    learn(store, split(DAY, 1, 4))
    sql("UPDATE market_data.splits SET kind = 'theirs', fits = false")
    ((_, known),) = store.doubtful_splits(["AAPL"])
    assert known.split == Split(DAY, 1, 4, SplitKind.FORWARD)
