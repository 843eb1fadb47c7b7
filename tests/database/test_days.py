"""Bars of days: written for whoever is registered, once, and without harm to anything else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import msgspec
import psycopg
import pytest

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import Changes, DayBar, Price
from assetbatch.errors import SchemaRefusedError
from tests.schema import migrate

from .conftest import Sql, asset, wait_for_a_waiting_lock

NOW_MS = 1_760_000_100_000
MONDAY, TUESDAY = date(2025, 10, 6), date(2025, 10, 7)
TABLE = "market_data.ohlcv_1d"


def day(when: date = MONDAY, close: float = 1.15, **values: float) -> DayBar:
    return DayBar(when, 1.1, 200_000.0, 1.0, close, **{"volume": 12.5, "trades": 7, **values})  # type: ignore[arg-type]


def rows(sql: Sql) -> list[tuple[object, ...]]:
    return sql(
        f"SELECT s.symbol, d.day, d.close, d.volume, d.vwap, d.trades FROM {TABLE} d"
        " JOIN trading.symbols s ON s.id = d.symbol_id ORDER BY 1, 2"
    )


def test_are_written_for_every_registered_symbol_and_no_other(store: Store, sql: Sql) -> None:
    found = store.save(
        Changes(days={"EURUSD": [day(MONDAY), day(TUESDAY, 1.2)], "XAUUSD": [day()], "NOBODY": [day()]}),
        NOW_MS,
    )
    assert rows(sql) == [
        ("EURUSD", MONDAY, 1.15, 12.5, None, 7),
        ("EURUSD", TUESDAY, 1.2, 12.5, None, 7),
        ("XAUUSD", MONDAY, 1.15, 12.5, None, 7),
    ]
    assert (found.unknown, found.rejected) == ([], {})


def test_are_written_only_where_they_are_new_or_differ(store: Store, sql: Sql) -> None:
    store.save(Changes(days={"EURUSD": [day(MONDAY), day(TUESDAY)]}), NOW_MS)
    before = sql(f"SELECT xmin::text, day FROM {TABLE} ORDER BY day")
    store.save(Changes(days={"EURUSD": [day(MONDAY), day(TUESDAY, 1.25)]}), NOW_MS)
    after = sql(f"SELECT xmin::text, day FROM {TABLE} ORDER BY day")
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert rows(sql)[1][2] == 1.25


@pytest.mark.parametrize("there", [0, 1], ids=["as it was", "corrected"])
def test_asked_for_earlier_and_saved_later_change_nothing(store: Store, sql: Sql, there: int) -> None:
    """Whether the later answer has changed the bar or found it as it was."""
    closes = [1.25, 1.5]
    store.save(Changes(days={"EURUSD": [day(close=closes[there], asked_ms=NOW_MS - 9000)]}), NOW_MS)
    store.save(Changes(days={"EURUSD": [day(close=1.5, asked_ms=NOW_MS - 1000)]}), NOW_MS)
    earlier = [day(close=1.25, asked_ms=NOW_MS - 5000), day(TUESDAY, 1.75, asked_ms=NOW_MS - 5000)]
    store.save(Changes(days={"EURUSD": earlier, "XAUUSD": earlier}), NOW_MS)
    assert [row[:3] for row in rows(sql)] == [
        ("EURUSD", MONDAY, 1.5),
        ("EURUSD", TUESDAY, 1.75),
        ("XAUUSD", MONDAY, 1.25),
        ("XAUUSD", TUESDAY, 1.75),
    ]


def test_of_one_batch_that_asked_for_last_counts(store: Store, sql: Sql) -> None:
    two = [day(close=1.5, asked_ms=NOW_MS - 1000), day(close=1.25, asked_ms=NOW_MS - 5000)]
    store.save(Changes(days={"EURUSD": two}), NOW_MS)
    assert rows(sql)[0][2] == 1.5


def test_asked_for_by_a_clock_that_was_ahead_are_corrected(store: Store, sql: Sql) -> None:
    ahead_ms = int(time.time() * 1000) + 3_600_000
    store.save(Changes(days={"EURUSD": [day(close=1.25, asked_ms=ahead_ms)]}), NOW_MS)
    store.save(Changes(days={"EURUSD": [day(close=1.5, asked_ms=NOW_MS)]}), NOW_MS)
    assert rows(sql)[0][2] == 1.5


def test_a_writer_waits_for_the_answer_of_a_later_moment(database_url: str, store: Store, sql: Sql) -> None:
    """Both have begun before either has written."""
    sql(
        "BEGIN; INSERT INTO data_sources.assetbatch_answers"
        f" SELECT id, -1, to_timestamp({NOW_MS} / 1000.0), '[]' FROM trading.symbols WHERE symbol = 'EURUSD'"
    )
    sql(
        f"INSERT INTO {TABLE} SELECT id, '{MONDAY}', 1, 2, 1, 1.5 FROM trading.symbols"
        " WHERE symbol = 'EURUSD'"
    )
    earlier = Changes(days={"EURUSD": [day(close=1.25, asked_ms=NOW_MS - 5000)]})
    with Store.open(database_url) as other, ThreadPoolExecutor(1) as thread:
        saved = thread.submit(other.save, earlier, NOW_MS)
        with psycopg.connect(database_url, autocommit=True) as beside:
            wait_for_a_waiting_lock(lambda query: beside.execute(query.encode()).fetchall())
        sql("COMMIT")
        saved.result(10)
    assert rows(sql)[0][2] == 1.5


def test_do_not_wait_for_a_symbol_that_is_held(store: Store, sql: Sql) -> None:
    sql("BEGIN; SELECT FROM trading.symbols FOR UPDATE")
    store.save(Changes(days={"EURUSD": [day()]}), NOW_MS)
    sql("ROLLBACK")
    assert len(rows(sql)) == 1


REFUSALS = {
    "numeric": f"ALTER TABLE {TABLE} ALTER high TYPE numeric(20,5), ALTER close TYPE numeric(10,5)",
    "check": f"ALTER TABLE {TABLE} ADD CONSTRAINT small CHECK (close < 100000)",
    "trigger": "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN IF NEW.close > 100000 THEN RETURN NULL; END IF; RETURN NEW; END$$;"
    f"CREATE TRIGGER no BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION no()",
}


@pytest.mark.parametrize("rule", REFUSALS.values(), ids=REFUSALS)
def test_that_the_database_refuses_cost_only_themselves(store: Store, sql: Sql, rule: str) -> None:
    sql(rule)
    prices = [Price(symbol=symbol, last_price=1.5, as_of_ms=NOW_MS) for symbol in ("EURUSD", "BTCUSD")]
    days = {"BTCUSD": [day(close=123_456.5)], "EURUSD": [day()], "XAUUSD": [day()]}
    saved = store.save(Changes(prices=prices, days=days), NOW_MS)
    assert [row[0] for row in rows(sql)] == ["EURUSD", "XAUUSD"]
    assert sorted(price.symbol for price in saved.updated) == ["BTCUSD", "EURUSD"]
    assert (saved.rejected["BTCUSD"].bars, saved.rejected["BTCUSD"].failed) == (1, False)
    assert list(saved.rejected) == ["BTCUSD"]


def test_of_a_table_that_takes_none_leave_the_prices_alone(store: Store, sql: Sql) -> None:
    sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT none CHECK (close < 0) NOT VALID")
    sql(
        "INSERT INTO trading.symbols (symbol, name, asset_type)"
        " SELECT 'S' || n, 'S', 'forex' FROM generate_series(1, 900) n"
    )
    price = Price(symbol="EURUSD", last_price=1.5, as_of_ms=NOW_MS)
    days = {f"S{number}": [day()] for number in range(1, 901)}
    saved = store.save(Changes(prices=[price], days=days), NOW_MS)
    assert [one.symbol for one in saved.updated] == ["EURUSD"]
    assert len(saved.rejected) == 900


class TestAPlatformsTable:
    def test_is_used_under_its_names(self, empty: Store, sql: Sql) -> None:
        sql(
            "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_1d (ticker text NOT NULL,"
            " trade_date date NOT NULL, o numeric(18,4) NOT NULL, h numeric(18,4) NOT NULL,"
            " l numeric(18,4) NOT NULL, c numeric(18,4) NOT NULL, vol numeric(18,4) NOT NULL DEFAULT 0,"
            " source text NOT NULL DEFAULT 'polygon', PRIMARY KEY (ticker, trade_date))"
        )
        migrate(empty)
        sql("INSERT INTO trading.symbols (symbol, name, asset_type) VALUES ('EURUSD', 'E', 'forex')")
        bar = DayBar(MONDAY, 1.1, 1.30001, 1.0, 1.15, None, None, 7)
        empty.save(Changes(days={"EURUSD": [bar]}), NOW_MS)
        before = sql("SELECT xmin::text, t.* FROM market_data.ohlcv_1d t")
        assert [tuple(map(str, row[1:])) for row in before] == [
            ("EURUSD", "2025-10-06", "1.1000", "1.3000", "1.0000", "1.1500", "0.0000", "polygon")
        ]
        empty.save(Changes(days={"EURUSD": [bar]}), NOW_MS)
        assert sql("SELECT xmin::text, t.* FROM market_data.ohlcv_1d t") == before

    MOMENTS = (
        "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_1d (symbol_id bigint NOT NULL,"
        " ts timestamptz NOT NULL, open float8, high float8, low float8, close float8, volume float8,"
        " PRIMARY KEY (symbol_id, ts))"
    )

    def test_whose_days_are_moments_is_left_alone(self, empty: Store, sql: Sql) -> None:
        sql(self.MOMENTS)
        first = empty.initialise(TableMappings(), [asset("EURUSD")]).plan
        assert first.warnings[-1].what == "market_data.ohlcv_1d"
        assert "must be date" in first.warnings[-1].why
        empty.save(Changes(days={"EURUSD": [day()]}), NOW_MS)
        assert sql("SELECT count(*) FROM market_data.assetbatch_ohlcv_1d") == [(1,)]
        assert sql("SELECT count(*) FROM market_data.ohlcv_1d") == [(0,)]

    def test_that_was_left_alone_stays_so(self, empty: Store, sql: Sql) -> None:
        sql(self.MOMENTS)
        names = empty.initialise(TableMappings(), []).plan.names
        again = empty.initialise(TableMappings(), []).plan
        assert (again.names, again.additions, again.warnings) == (names, (), ())
        sql("DROP TABLE market_data.ohlcv_1d")
        assert empty.initialise(TableMappings(), []).plan.names == names

    def test_that_is_named_and_does_not_fit_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(self.MOMENTS)
        named = TableMappings(bars_1d=TableMapping(table="market_data.ohlcv_1d"))
        with pytest.raises(SchemaRefusedError, match=r"ohlcv_1d.ts is timestamp.* must be date") as caught:
            empty.initialise(named, [])
        assert "set database.tables.bars_1d.table to another name" in caught.value.message

    def test_does_not_hide_what_else_is_wrong(self, empty: Store, sql: Sql) -> None:
        sql(self.MOMENTS)
        sql("CREATE VIEW market_data.ohlcv_5m AS SELECT 1 AS symbol_id")
        with pytest.raises(SchemaRefusedError, match="ohlcv_5m"):
            migrate(empty)

    def test_of_minutes_is_adopted_too(self, empty: Store, sql: Sql) -> None:
        sql(
            "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_1m (ticker text NOT NULL,"
            " bucket timestamptz NOT NULL, interval text NOT NULL DEFAULT '1m', open float8 NOT NULL,"
            " high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL, volume float8,"
            " PRIMARY KEY (ticker, bucket))"
        )
        names = empty.initialise(TableMappings(), []).plan.names
        assert names is not None
        assert (names.bars_1m.columns["ts"], names.bars_1m.instrument) == ("bucket", "symbol")
        assert "vwap" not in names.bars_1m.columns

    def test_of_minutes_that_are_called_five_is_refused_where_minutes_are_kept(
        self, empty: Store, sql: Sql
    ) -> None:
        sql(
            "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_1m (symbol text NOT NULL,"
            " ts timestamptz NOT NULL, interval text NOT NULL DEFAULT '5m', open float8 NOT NULL,"
            " high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL, volume float8, vwap float8,"
            " trades bigint, PRIMARY KEY (symbol, ts))"
        )
        kept = msgspec.structs.replace(asset("EURUSD"), bars=BarSize.ONE_MINUTE)
        with pytest.raises(SchemaRefusedError, match="would be 5m in bars of one minute"):
            empty.initialise(TableMappings(), [kept])
        names = empty.initialise(TableMappings(), [asset("EURUSD")]).plan.names
        assert names is not None
        assert names.bars_1m.place == "market_data.assetbatch_ohlcv_1m"


def test_an_upgrade_grants_the_new_tables_to_whoever_may_write_bars(store: Store, sql: Sql) -> None:
    sql("DROP TABLE market_data.ohlcv_1m, market_data.ohlcv_1d")
    sql("ALTER TABLE data_sources.assetbatch_sync DROP COLUMN bar_size")
    sql("DELETE FROM data_sources.assetbatch_migrations WHERE version >= 9")
    sql("CREATE ROLE writer_of_bars")
    try:
        sql("GRANT SELECT, INSERT, UPDATE ON market_data.ohlcv_5m TO writer_of_bars")
        migrate(store)
        for table in ("ohlcv_1m", "ohlcv_1d"):
            assert sql(f"SELECT has_table_privilege('writer_of_bars', 'market_data.{table}', 'INSERT')") == [
                (True,)
            ]
    finally:
        sql("DROP OWNED BY writer_of_bars; DROP ROLE writer_of_bars")
