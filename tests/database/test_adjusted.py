"""The views of adjusted bars: what they hold, how they are read, and what `init` does about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.market_hours import new_york_zone
from assetbatch.domain.splits import Days, Listed, Split, SplitKind
from tests.conftest import examples
from tests.documented import shows

from .conftest import Sql, asset, on_both_tables
from .test_derived import nodes, views

NOTHING = TableMappings()
VIEWS = ["ohlcv_1d_adjusted", "ohlcv_1m_adjusted", "ohlcv_5m_adjusted"]
COLUMNS = "open, high, low, close, volume, vwap, trades"

Row = tuple[Any, ...]


def today() -> date:
    """Return New York's day now: the views ask the server's clock, and a run may go on past midnight."""
    return datetime.now(new_york_zone()).date()


def stock(symbol: str, ticker: str | None = None) -> Asset:
    return Asset(symbol=symbol, polygon_ticker=ticker or symbol, asset_type=AssetType.STOCKS)


STOCKS = [stock("AAPL"), stock("SPY")]


@pytest.fixture
def store(store: Store) -> Store:
    store.initialise(NOTHING, STOCKS)
    return store


def ids(sql: Sql) -> dict[str, int]:
    return dict(sql("SELECT symbol, id FROM trading.symbols"))


def split(day: date, before: float, after: float) -> Split:
    return Split(day, before, after, SplitKind.FORWARD if after > before else SplitKind.REVERSE)


def learn(store: Store, symbol: str, *some: Split, settled: Days | None = None) -> None:
    """An answer lists these splits of a symbol."""
    store.learn_splits({symbol: Listed(some)}, [symbol], settled, 1_700_000_000_000)


def fill(sql: Sql, symbol_id: int, moments: Sequence[datetime], table: str = "ohlcv_5m") -> None:
    """Bars whose prices tell them apart."""
    for number, at in enumerate(moments):
        price = 100.0 + number
        sql(
            f"INSERT INTO market_data.{table} VALUES (%s, %s, %s, %s, %s, %s, 10, %s, %s)",
            symbol_id,
            at.date() if table == "ohlcv_1d" else at,
            price,
            price + 1,
            price - 1,
            price,
            price,
            number,
        )


def at(day: date, hour: int = 12) -> datetime:
    """A moment of a New York day."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=new_york_zone())


class Provider:
    """Answers as the provider does: adjusted bars as of a day, with all splits that took effect by then."""

    def __init__(self, splits: Sequence[Split]) -> None:
        self.splits = splits

    def adjusted(self, row: Row, day: date, today: date) -> Row:
        prices, volume = list(row[:4]), row[4]
        factor = 1.0
        for one in self.splits:
            if day < one.execution_date <= today:
                factor *= one.split_from / one.split_to
        return (*(price * factor for price in prices), volume / factor, row[5] * factor, row[6])


NUMBERS = st.sampled_from([1, 2, 3, 4, 7, 10, 20, 1.5, 1.05, 21])
SPLITS = st.lists(
    st.builds(
        lambda back, before, after: split(today() - timedelta(days=back), before, after),
        st.integers(-20, 60),
        NUMBERS,
        NUMBERS,
    ).filter(lambda one: one.split_from != one.split_to),
    unique_by=lambda one: one.execution_date,
    max_size=6,
)


@on_both_tables
class TestWhatTheyHold:
    @settings(parent=examples(0.5), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        splits=SPLITS,
        backs=st.lists(st.integers(0, 62), unique=True, min_size=1, max_size=8),
        data=st.data(),
    )
    def test_every_bar_is_the_providers_adjusted_one_in_whatever_order_all_was_learnt(
        self, store: Store, sql: Sql, splits: list[Split], backs: list[int], data: st.DataObject
    ) -> None:
        symbol_id = ids(sql)["AAPL"]
        sql("TRUNCATE market_data.ohlcv_5m, market_data.ohlcv_1d, market_data.ohlcv_1m, market_data.splits")
        days = {today() - timedelta(days=back) for back in backs}
        moments = [at(day, hour) for day in sorted(days) for hour in (0, 20)]
        steps: list[tuple[str, Any]] = [("split", one) for one in splits]
        steps += [("bars", table) for table in ("ohlcv_5m", "ohlcv_1m", "ohlcv_1d")]
        for what, one in data.draw(st.permutations(steps)):
            if what == "split":
                learn(store, "AAPL", one)
            else:
                fill(sql, symbol_id, moments[::2] if one == "ohlcv_1d" else moments, one)
        provider = Provider(splits)
        for table in ("5m", "1m", "1d"):
            time = "day" if table == "1d" else "(ts AT TIME ZONE 'America/New_York')::date"
            raw = sql(f"SELECT {time}, {COLUMNS} FROM market_data.ohlcv_{table} ORDER BY trades")
            found = sql(f"SELECT {time}, {COLUMNS} FROM market_data.ohlcv_{table}_adjusted ORDER BY trades")
            wanted = [(row[0], *provider.adjusted(row[1:], row[0], today())) for row in raw]
            assert len(found) == len(raw)
            for one, other in zip(found, wanted, strict=True):
                assert one[0] == other[0]
                assert one[1:] == pytest.approx(other[1:], rel=1e-12)


@on_both_tables
class TestSplits:
    def test_of_today_count_and_those_of_tomorrow_do_not(self, store: Store, sql: Sql) -> None:
        """The provider rescales from the day on which a split takes effect."""
        fill(sql, ids(sql)["AAPL"], [at(today() - timedelta(days=1))])
        learn(store, "AAPL", split(today() + timedelta(days=1), 1, 10))
        assert sql("SELECT open, volume FROM market_data.ohlcv_5m_adjusted") == [(100.0, 10.0)]
        learn(store, "AAPL", split(today(), 1, 4))
        assert sql("SELECT open, volume FROM market_data.ohlcv_5m_adjusted") == [(25.0, 40.0)]

    @pytest.mark.parametrize("state", ["conflict", "withdrawn"])
    def test_that_do_not_count_change_nothing(self, store: Store, sql: Sql, state: str) -> None:
        fill(sql, ids(sql)["AAPL"], [at(today() - timedelta(days=1))])
        learn(store, "AAPL", split(today(), 1, 4))
        sql("UPDATE market_data.splits SET state = %s", state)
        assert sql("SELECT open FROM market_data.ohlcv_5m_adjusted") == [(100.0,)]

    @pytest.mark.parametrize("day", [date(2026, 3, 8), date(2025, 11, 2), date(2026, 6, 1)])
    def test_count_to_the_last_bar_before_new_york_midnight(self, store: Store, sql: Sql, day: date) -> None:
        midnight = datetime(day.year, day.month, day.day, tzinfo=new_york_zone()).astimezone(UTC)
        fill(sql, ids(sql)["AAPL"], [midnight - timedelta(minutes=5), midnight])
        learn(store, "AAPL", split(day, 1, 4))
        for zone in ("UTC", "Asia/Kathmandu", "America/Los_Angeles"):
            sql(f"SET timezone = '{zone}'")
            found = sql("SELECT ts, open FROM market_data.ohlcv_5m_adjusted ORDER BY ts")
            assert found == [(midnight - timedelta(minutes=5), 25.0), (midnight, 101.0)]

    def test_of_one_symbol_are_none_of_another(self, store: Store, sql: Sql) -> None:
        known = ids(sql)
        for symbol in ("SPY", "EURUSD"):
            fill(sql, known[symbol], [at(today() - timedelta(days=1))])
        learn(store, "AAPL", split(today(), 1, 4))
        assert sql("SELECT open FROM market_data.ohlcv_5m_adjusted") == [(100.0,), (100.0,)]

    def test_that_are_learnt_late_write_no_bar(self, store: Store, sql: Sql) -> None:
        fill(sql, ids(sql)["AAPL"], [at(today() - timedelta(days=1))])
        before = sql("SELECT xmin::text, * FROM market_data.ohlcv_5m")
        learn(store, "AAPL", split(today(), 1, 4))
        assert sql("SELECT xmin::text, * FROM market_data.ohlcv_5m") == before

    def test_leave_absent_values_absent(self, store: Store, sql: Sql) -> None:
        symbol_id = ids(sql)["AAPL"]
        sql(
            "INSERT INTO market_data.ohlcv_5m VALUES (%s, %s, 1, 1, 1, 1)",
            symbol_id,
            at(today() - timedelta(days=1)),
        )
        learn(store, "AAPL", split(today(), 1, 4))
        found = sql("SELECT close, volume, vwap, trades FROM market_data.ohlcv_5m_adjusted")
        assert found == [(0.25, None, None, None)]


def test_a_day_of_one_symbol_reads_its_own_bars_and_splits_only(store: Store, sql: Sql) -> None:
    symbol_id = ids(sql)["AAPL"]
    sql(
        "INSERT INTO market_data.ohlcv_5m SELECT s, %s::timestamptz + n * interval '5 min', 1, 1, 1, 1"
        " FROM generate_series(1, 6) s, generate_series(0, 4999) n",
        at(date(2024, 3, 9), 0),
    )
    sql(
        "INSERT INTO market_data.splits (symbol_id, execution_date, split_from, split_to, kind, state)"
        " SELECT s, '2024-03-01'::date + n * 5, 1, 2, 'forward_split', 'applied'"
        " FROM generate_series(1, 500) s, generate_series(0, 7) n"
    )
    sql("VACUUM ANALYZE market_data.ohlcv_5m")
    sql("VACUUM ANALYZE market_data.splits")
    begin = at(date(2024, 3, 20), 0)
    for query in (
        f"SELECT * FROM market_data.ohlcv_5m_adjusted WHERE symbol_id = {symbol_id} AND ts >= %s AND ts < %s",
        "SELECT v.* FROM market_data.ohlcv_5m_adjusted v JOIN trading.symbols s ON s.id = v.symbol_id"
        " WHERE s.symbol = 'AAPL' AND v.ts >= %s AND v.ts < %s",
    ):
        ((plan,),) = sql(f"EXPLAIN (ANALYZE, FORMAT json) {query}", begin, begin + timedelta(days=1))
        read = {"ohlcv_5m": 0.0, "splits": 0.0}
        for node in nodes(plan[0]["Plan"]):
            if (name := node.get("Relation Name")) in read:
                read[name] += node["Actual Rows"] * node["Actual Loops"]
        assert read == {"ohlcv_5m": 288.0, "splits": 288.0 * 4}, query


class TestInit:
    def test_makes_the_views_where_a_stock_is_configured(self, empty: Store, sql: Sql) -> None:
        empty.initialise(NOTHING, [asset("EURUSD")])
        assert views(sql) == []
        foretold = empty.plan(NOTHING, STOCKS, derived=())
        done = empty.initialise(NOTHING, STOCKS).views
        assert sorted(done.created) == [f"market_data.{name}" for name in VIEWS]
        assert [one.what for one in foretold.additions if one.part == "view"] == done.created
        assert views(sql) == VIEWS
        assert empty.initialise(NOTHING, STOCKS).views == ([], [], [])

    def test_keeps_the_views_when_no_stock_is_configured_any_more(self, store: Store, sql: Sql) -> None:
        assert store.initialise(NOTHING, []).views == ([], [], [])
        assert views(sql) == VIEWS

    def test_replaces_an_earlier_definition_and_keeps_its_readers(self, store: Store, sql: Sql) -> None:
        sql(
            "COMMENT ON FUNCTION market_data.assetbatch_adjusted_5m IS"
            " 'Bars, kept by assetbatch init (definition 000000000000)';"
            " GRANT SELECT ON market_data.ohlcv_5m_adjusted TO PUBLIC"
        )
        store.initialise(NOTHING, STOCKS)
        comment = sql("SELECT obj_description('market_data.assetbatch_adjusted_5m()'::regprocedure)")
        assert "000000000000" not in comment[0][0]
        acl = sql("SELECT relacl::text LIKE '%%=r/%%' FROM pg_class WHERE relname = 'ohlcv_5m_adjusted'")
        assert acl == [(True,)]

    def test_makes_the_views_again_where_the_instrument_has_another_type(
        self, store: Store, sql: Sql
    ) -> None:
        fill(sql, ids(sql)["AAPL"], [at(today() - timedelta(days=1))])
        learn(store, "AAPL", split(today(), 1, 4))
        sql("ALTER TABLE market_data.ohlcv_5m ALTER COLUMN symbol_id TYPE integer")
        store.initialise(NOTHING, STOCKS)
        found = sql("SELECT pg_typeof(symbol_id)::text, open FROM market_data.ohlcv_5m_adjusted")
        assert found == [("integer", 25.0)]
        assert views(sql) == VIEWS

    def test_leaves_a_view_that_is_not_ours(self, empty: Store, sql: Sql) -> None:
        sql("CREATE SCHEMA market_data; CREATE VIEW market_data.ohlcv_1d_adjusted AS SELECT 1 AS x")
        done = empty.initialise(NOTHING, STOCKS).views
        assert [one.what for one in done.warnings] == ["market_data.ohlcv_1d_adjusted"]
        shows(str(done.warnings[0]), "… is not ours: no view of adjusted bars is made there …")
        assert sql("SELECT x FROM market_data.ohlcv_1d_adjusted") == [(1,)]
        assert views(sql) == VIEWS

    def test_lets_those_read_who_may_read_the_bars(self, empty: Store, database_url: str, sql: Sql) -> None:
        empty.initialise(NOTHING, [asset("EURUSD")])
        name = f"reader_{sql('SELECT current_database()')[0][0]}"
        sql(f"CREATE ROLE {name}")
        try:
            sql(
                f"GRANT USAGE ON SCHEMA market_data TO {name}; GRANT SELECT ON market_data.ohlcv_5m TO {name}"
            )
            empty.initialise(NOTHING, STOCKS)
            sql(f"SET ROLE {name}")
            assert sql("SELECT * FROM market_data.ohlcv_5m_adjusted") == []
        finally:
            sql(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")


def test_an_upgrade_makes_the_table_for_whoever_may_write_or_read_bars(store: Store, sql: Sql) -> None:
    sql("DROP TABLE market_data.splits; ALTER TABLE data_sources.assetbatch_sync DROP COLUMN splits_ticker")
    sql("DELETE FROM data_sources.assetbatch_migrations WHERE version >= 11")
    sql("UPDATE data_sources.assetbatch_names SET names = names - 'splits'")
    roles = [f"{what}_{sql('SELECT current_database()')[0][0]}" for what in ("writer", "reader")]
    for role, rights in zip(roles, ("SELECT, INSERT, UPDATE", "SELECT"), strict=True):
        sql(f"CREATE ROLE {role}; GRANT {rights} ON market_data.ohlcv_5m TO {role}")
    try:
        assert store.initialise(NOTHING, STOCKS).steps[0] == "splits"
        found = [
            [
                right
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
                if sql("SELECT has_table_privilege(%s, 'market_data.splits', %s)", role, right) == [(True,)]
            ]
            for role in roles
        ]
        assert found == [["SELECT", "INSERT", "UPDATE"], ["SELECT"]]
    finally:
        for role in roles:
            sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


class TestThePlatform:
    def test_may_alter_its_table_of_bars(self, store: Store, sql: Sql) -> None:
        """Nothing in the catalogue depends on the table."""
        fill(sql, ids(sql)["AAPL"], [at(today() - timedelta(days=1))])
        learn(store, "AAPL", split(today(), 1, 4))
        sql("ALTER TABLE market_data.ohlcv_5m ALTER COLUMN open TYPE numeric(20, 8)")
        assert sql("SELECT open FROM market_data.ohlcv_5m_adjusted") == [(25.0,)]

    @pytest.mark.parametrize(
        ("columns", "mapping", "instrument", "moment"),
        [
            ("ticker text NOT NULL, t timestamptz NOT NULL", "symbol", "'AAPL'", "timestamptz"),
            ("ticker text NOT NULL, t timestamptz NOT NULL", "polygon_ticker", "'AAPL'", "timestamptz"),
            (
                "symbol_id bigint NOT NULL, t timestamp NOT NULL",
                None,
                "(SELECT id FROM trading.symbols WHERE symbol = 'AAPL')",
                "timestamp",
            ),
        ],
        ids=["symbols", "tickers", "naive moments"],
    )
    def test_has_its_own_names_and_types(
        self,
        database_url: str,
        sql: Sql,
        columns: str,
        mapping: Any,
        instrument: str,
        moment: str,
    ) -> None:
        key = columns.split()[0]
        sql(
            f"CREATE SCHEMA prices; CREATE TABLE prices.candles ({columns}, o numeric(18,6) NOT NULL,"
            " h numeric(18,6) NOT NULL, l numeric(18,6) NOT NULL, c numeric(18,6) NOT NULL, v numeric,"
            f" PRIMARY KEY ({key}, t))"
        )
        mappings = TableMappings(bars=TableMapping(table="prices.candles", instrument=mapping))
        with Store.open(
            database_url, check_schema=False, mappings=mappings, tickers=lambda: {"AAPL": "AAPL"}
        ) as store:
            store.initialise(mappings, STOCKS)
            learn(store, "AAPL", split(date(2024, 6, 3), 1, 4))
        for time in ("03:59", "04:00"):
            sql(f"INSERT INTO prices.candles VALUES ({instrument}, '2024-06-03 {time}Z', 8, 8, 8, 8, 3)")
        for zone in ("UTC", "Asia/Kathmandu"):
            sql(f"SET timezone = '{zone}'")
            found = sql(
                "SELECT open, volume, vwap, pg_typeof(ts)::text LIKE '%%without%%'"
                f" FROM prices.ohlcv_5m_adjusted WHERE symbol_id = {instrument} ORDER BY ts"
            )
            is_naive = moment == "timestamp"
            assert found == [(2.0, 12.0, None, is_naive), (8.0, 3.0, None, is_naive)]
        assert sql("SELECT count(*) FROM prices.splits") == [(1,)]
