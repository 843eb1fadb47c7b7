"""The views of larger bars: what they hold, how they are read, and what `init` does about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.database.derived import Present, Wanted, decide
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import DerivedSize
from tests.conftest import examples
from tests.documented import shows

from .conftest import SYMBOLS, TIMESCALEDB_AVAILABLE, Sql, asset, on_both_tables
from .platforms import mapped

ALL = tuple(DerivedSize)
NOTHING = TableMappings()
START = datetime(2024, 3, 9, 22, 0, tzinfo=UTC)
FIVE = timedelta(minutes=5)
COLUMNS = "ts, open, high, low, close, volume, vwap, trades"

Row = tuple[Any, ...]


def keep(
    store: Store,
    *sizes: DerivedSize,
    mappings: TableMappings = NOTHING,
    assets: Sequence[Asset] = (),
) -> Any:
    """What `init` did about the views of these sizes."""
    return store.initialise(mappings, assets, derived=sizes).views


def fill(sql: Sql, rows: Sequence[Row], symbol_id: int = 1) -> None:
    for row in rows:
        sql(f"INSERT INTO market_data.ohlcv_5m VALUES ({symbol_id}, %s, %s, %s, %s, %s, %s, %s, %s)", *row)


def aggregated(rows: Sequence[Row], size: DerivedSize) -> list[Row]:
    """The larger bars, made in the plainest way."""
    width = timedelta(milliseconds=size.ms)
    day = datetime(2024, 1, 1, tzinfo=UTC)
    found: list[Row] = []
    for start, some in groupby(sorted(rows), key=lambda row: row[0] - (row[0] - day) % width):
        bars = list(some)
        highs, lows = [bar[2] for bar in bars], [bar[3] for bar in bars]
        volumes, trades = [bar[5] for bar in bars], [bar[7] for bar in bars]
        volume = None if None in volumes else sum(volumes)
        vwap = None
        if volume and not any(bar[6] is None for bar in bars):
            vwap = min(max(highs), max(min(lows), sum(bar[5] * bar[6] for bar in bars) / volume))
        trades_sum = None if None in trades else sum(trades)
        found.append((start, bars[0][1], max(highs), min(lows), bars[-1][4], volume, vwap, trades_sum))
    return found


def assert_same(found: Sequence[Row], wanted: Sequence[Row]) -> None:
    """The bars are the same; the averages but for rounding."""
    assert [row[:6] + row[7:] for row in found] == [row[:6] + row[7:] for row in wanted]
    averages = [(row[6], other[6]) for row, other in zip(found, wanted, strict=True) if row[6] != other[6]]
    assert all(one == pytest.approx(other, rel=1e-12) for one, other in averages)


def bar(place: int, price: float = 1.0, volume: float | None = 2.0, trades: int | None = 3) -> Row:
    return (START + place * FIVE, price, price + 1, price / 2, price + 0.5, volume, price, trades)


@st.composite
def some_bars(draw: st.DrawFn) -> list[Row]:
    """Bars of about two days with holes and missing values, in any order."""
    places = draw(st.lists(st.integers(0, 600), unique=True, min_size=1, max_size=80))
    volumes = st.none() | st.integers(0, 1000).map(float)
    return [
        bar(place, draw(st.integers(1, 500)), draw(volumes), draw(st.none() | st.integers(0, 99)))
        for place in places
    ]


@on_both_tables
class TestWhatTheyHold:
    @settings(parent=examples(0.5), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(bars=some_bars())
    def test_each_bar_is_made_of_its_bars_of_five_minutes(
        self, store: Store, sql: Sql, bars: list[Row]
    ) -> None:
        keep(store, *ALL)
        sql("TRUNCATE market_data.ohlcv_5m")
        fill(sql, bars)
        fill(sql, [bar(3, 7000.0)], symbol_id=2)
        for size in ALL:
            found = sql(f"SELECT {COLUMNS} FROM market_data.ohlcv_{size} WHERE symbol_id = 1 ORDER BY ts")
            assert_same(found, aggregated(bars, size))

    def test_a_range_of_one_symbol_reads_its_own_bars_only(self, store: Store, sql: Sql) -> None:
        """The index is asked for each bar of the range, and the table is not read."""
        keep(store, *ALL)
        sql(
            "INSERT INTO market_data.ohlcv_5m SELECT s, %s::timestamptz + n * interval '5 min', 1, 1, 1, 1"
            " FROM generate_series(1, 3) s, generate_series(0, 8999) n",
            START,
        )
        sql("VACUUM ANALYZE market_data.ohlcv_5m")
        for query in (
            "SELECT * FROM market_data.ohlcv_1h WHERE symbol_id = 2 AND ts >= %s AND ts < %s",
            "SELECT v.* FROM market_data.ohlcv_1h v JOIN trading.symbols s ON s.id = v.symbol_id"
            " WHERE s.symbol = 'XAUUSD' AND v.ts >= %s AND v.ts < %s",
            "SELECT * FROM market_data.assetbatch_bars(2, '1 hour', %s, %s)",
        ):
            begin = datetime(2024, 3, 20, tzinfo=UTC)
            ((plan,),) = sql(f"EXPLAIN (ANALYZE, FORMAT json) {query}", begin, begin + timedelta(days=1))
            read = [
                node["Actual Rows"] * node["Actual Loops"]
                for node in nodes(plan[0]["Plan"])
                if node.get("Relation Name", "").startswith("ohlcv_5m")
            ]
            assert 288 <= sum(read) <= 288 + 2, query  # and the first and the last bar of the symbol

    def test_a_bar_begins_within_the_range_of_the_function(self, store: Store, sql: Sql) -> None:
        keep(store, *ALL)
        fill(sql, [bar(place) for place in range(36)])
        found = sql(
            "SELECT ts, trades FROM market_data.assetbatch_bars(1, '1 hour', %s, %s) ORDER BY ts",
            START + FIVE,
            START + timedelta(hours=2, minutes=5),
        )
        assert found == [(START + timedelta(hours=hour), 36) for hour in (1, 2)]
        ((every,),) = sql(
            "SELECT count(*) FROM market_data.assetbatch_bars(1, '1 hour', '-infinity', 'infinity')"
        )
        assert every == 3


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for one in plan.get("Plans", ()):
        yield from nodes(one)


def views(sql: Sql) -> list[str]:
    return [
        name
        for (name,) in sql(
            "SELECT relname::text FROM pg_class"
            " WHERE relkind = 'v' AND relnamespace = 'market_data'::regnamespace"
            " ORDER BY relname"
        )
    ]


class TestInit:
    def test_makes_what_is_listed_once(self, store: Store, sql: Sql) -> None:
        assert keep(store, *ALL) == (
            ["market_data.ohlcv_15m", "market_data.ohlcv_1h", "market_data.ohlcv_4h"],
            [],
            [],
        )
        before = sql("SELECT xmin::text, relname FROM pg_class WHERE relname LIKE 'ohlcv%%'")
        assert keep(store, *ALL) == ([], [], [])
        assert sql("SELECT xmin::text, relname FROM pg_class WHERE relname LIKE 'ohlcv%%'") == before

    def test_makes_no_view_of_a_size_that_is_not_listed(self, store: Store, sql: Sql) -> None:
        keep(store, DerivedSize.HOUR)
        assert views(sql) == ["ohlcv_1h"]

    def test_drops_the_view_of_a_size_that_is_listed_no_more(self, store: Store, sql: Sql) -> None:
        keep(store, *ALL)
        assert keep(store, DerivedSize.HOUR) == ([], ["market_data.ohlcv_15m", "market_data.ohlcv_4h"], [])
        assert views(sql) == ["ohlcv_1h"]

    def test_leaves_nothing_where_no_size_is_listed(self, store: Store, sql: Sql) -> None:
        keep(store, *ALL)
        keep(store)
        assert views(sql) == []
        assert sql("SELECT proname FROM pg_proc WHERE proname LIKE 'assetbatch%%'") == []

    @pytest.mark.parametrize(
        "foreign",
        [
            "CREATE TABLE market_data.ohlcv_1h (x int)",
            "CREATE VIEW market_data.ohlcv_1h AS SELECT 1 AS x",
            "CREATE MATERIALIZED VIEW market_data.ohlcv_1h AS SELECT 1 AS x",
            "CREATE TYPE market_data.ohlcv_1h AS ENUM ('x')",
        ],
    )
    def test_leaves_what_is_not_ours(self, store: Store, sql: Sql, foreign: str) -> None:
        def there() -> list[Row]:
            return sql(
                "SELECT oid, xmin::text FROM pg_class WHERE relname = 'ohlcv_1h'"
                " UNION ALL SELECT oid, xmin::text FROM pg_type WHERE typname = 'ohlcv_1h'"
            )

        sql(foreign)
        before = there()
        for sizes in (ALL, (), ALL):
            done = keep(store, *sizes)
            assert [one.what for one in done.warnings] == ["market_data.ohlcv_1h"] * bool(sizes)
            if sizes:
                shows(str(done.warnings[0]), "… is not ours: no view is made there")
        assert there() == before
        assert {"ohlcv_15m", "ohlcv_4h"} <= set(views(sql))

    def test_makes_no_view_over_a_function_that_is_not_ours(self, store: Store, sql: Sql) -> None:
        sql("CREATE FUNCTION market_data.assetbatch_bars(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        done = keep(store, *ALL)
        assert [one.what for one in done.warnings] == ["market_data.assetbatch_bars"]
        assert views(sql) == []

    def test_goes_on_without_a_view_that_a_reader_holds(
        self, store: Store, database_url: str, sql: Sql
    ) -> None:
        keep(store, *ALL)
        with (
            psycopg.connect(database_url) as reader,
            Store.open(database_url, check_schema=False, lock_seconds=0.2) as hurried,
        ):
            reader.execute("SELECT * FROM market_data.ohlcv_1h")
            done = keep(hurried)
            assert done.dropped == ["market_data.ohlcv_15m", "market_data.ohlcv_4h"]
            assert [(one.what, one.remedy) for one in done.warnings] == [
                ("market_data.ohlcv_1h", "run init again when nobody reads it")
            ]
            shows(str(done.warnings[0]), "… cannot be dropped: canceling statement due to lock timeout")
            sql("COMMENT ON VIEW market_data.ohlcv_1h IS 'kept by assetbatch init (definition 000000000000)'")
            assert keep(hurried, *ALL).created == []
            reader.rollback()
            assert len(keep(hurried, *ALL).created) == 3

    def test_replaces_an_earlier_definition_and_keeps_its_readers(self, store: Store, sql: Sql) -> None:
        keep(store, *ALL)
        sql(
            "CREATE OR REPLACE FUNCTION market_data.assetbatch_bars(instrument bigint, width interval,"
            " since timestamptz, until timestamptz) RETURNS TABLE (ts timestamptz, open float8, high float8,"
            " low float8, close float8, volume float8, vwap float8, trades bigint) LANGUAGE sql"
            " AS 'SELECT since, x, x, x, x, x, x, 1::int8 FROM (SELECT 1.0::float8) AS one(x)'"
        )
        sql(
            "COMMENT ON FUNCTION market_data.assetbatch_bars IS"
            " 'Bars, kept by assetbatch init (definition 000000000000)'"
        )
        sql("GRANT SELECT ON market_data.ohlcv_1h TO PUBLIC")
        fill(sql, [bar(0, 5.0)])
        keep(store, *ALL)
        assert sql("SELECT open FROM market_data.ohlcv_1h") == [(5.0,)]
        assert sql("SELECT relacl::text LIKE '%%=r/%%' FROM pg_class WHERE relname = 'ohlcv_1h'") == [(True,)]

    def test_makes_the_views_again_where_the_instrument_has_another_type(
        self, store: Store, sql: Sql
    ) -> None:
        keep(store, *ALL)
        fill(sql, [bar(0, 5.0)])
        sql("ALTER TABLE market_data.ohlcv_5m ALTER COLUMN symbol_id TYPE integer")
        keep(store, *ALL)
        assert sql("SELECT symbol_id, pg_typeof(symbol_id)::text, open FROM market_data.ohlcv_1h") == [
            (1, "integer", 5.0)
        ]
        assert sql("SELECT count(*) FROM pg_proc WHERE proname = 'assetbatch_bars'") == [(1,)]

    def test_keeps_a_view_on_which_another_depends(self, store: Store, sql: Sql) -> None:
        keep(store, *ALL)
        sql("CREATE VIEW market_data.daily AS SELECT max(high) FROM market_data.ohlcv_4h")
        done = keep(store, DerivedSize.HOUR)
        assert done.dropped == ["market_data.ohlcv_15m"]
        assert [one.what for one in done.warnings] == ["market_data.ohlcv_4h"]
        assert views(sql) == ["daily", "ohlcv_1h", "ohlcv_4h"]
        assert sql("SELECT * FROM market_data.daily") == [(None,)]

    def test_warns_where_the_role_may_not_create(self, store: Store, database_url: str, sql: Sql) -> None:
        name = f"worker_{sql('SELECT current_database()')[0][0]}"
        sql(f"CREATE ROLE {name} LOGIN")
        try:
            for schema in ("trading", "market_data", "data_sources"):
                sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
                sql(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {name}")
            with Store.open(make_conninfo(database_url, user=name), check_schema=False) as worker:
                done = keep(worker, *ALL)
            assert done.created == []
            assert len(done.warnings) == 3
            shows(str(done.warnings[0]), "… cannot be made: permission denied …")
            assert views(sql) == []
            keep(store, DerivedSize.HOUR)
            with Store.open(make_conninfo(database_url, user=name), check_schema=False) as worker:
                assert keep(worker, DerivedSize.HOUR) == ([], [], [])
                assert "permission denied" in str(keep(worker, *ALL).warnings[0])
                sql(
                    "COMMENT ON FUNCTION market_data.assetbatch_bars IS"
                    " 'kept by assetbatch init (definition 000000000000)'"
                )
                done = keep(worker, DerivedSize.HOUR)
                assert [one.what for one in done.warnings] == ["market_data.assetbatch_bars"]
        finally:
            sql(f"DROP OWNED BY {name}")
            sql(f"DROP ROLE {name}")

    def test_is_foretold_by_a_plan(self, empty: Store) -> None:
        def planned(*sizes: DerivedSize) -> list[str]:
            plan = empty.plan(NOTHING, [], derived=sizes)
            return [one.what for one in plan.additions if one.part == "view"] + list(map(str, plan.warnings))

        assert planned(*ALL) == [f"market_data.ohlcv_{size}" for size in ALL]
        keep(empty, DerivedSize.HOUR)
        assert planned(DerivedSize.HOUR) == []
        assert planned() == ["market_data.ohlcv_1h is not in `derived` any more: it is dropped"]


class TestThePlatform:
    def test_may_alter_and_rename_its_table_of_bars(self, store: Store, sql: Sql) -> None:
        """Nothing in the catalogue depends on the table."""
        keep(store, *ALL)
        fill(sql, [bar(0, 5.0)])
        sql(
            "ALTER TABLE market_data.ohlcv_5m ALTER COLUMN open TYPE numeric(20, 8), DROP COLUMN vwap,"
            " ADD COLUMN vwap numeric"
        )
        assert sql("SELECT open, vwap FROM market_data.ohlcv_1h") == [(5.0, None)]

    def test_readers_of_the_bars_read_the_views_with_their_own_rights(
        self, store: Store, database_url: str, sql: Sql
    ) -> None:
        name = f"reader_{sql('SELECT current_database()')[0][0]}"
        sql(f"CREATE ROLE {name} LOGIN")
        try:
            for schema in ("trading", "market_data"):
                sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
                sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {name}")
            keep(store, *ALL)
            fill(sql, [bar(0)])
            fill(sql, [bar(0)], symbol_id=2)
            sql("ALTER TABLE market_data.ohlcv_5m ENABLE ROW LEVEL SECURITY")
            sql(f"CREATE POLICY own ON market_data.ohlcv_5m TO {name} USING (symbol_id = 2)")
            with psycopg.connect(make_conninfo(database_url, user=name)) as reader:
                assert reader.execute("SELECT symbol_id FROM market_data.ohlcv_1h").fetchall() == [(2,)]
            sql(f"REVOKE SELECT ON market_data.ohlcv_5m FROM {name}")
            with (
                psycopg.connect(make_conninfo(database_url, user=name)) as reader,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                reader.execute("SELECT symbol_id FROM market_data.ohlcv_1h")
        finally:
            sql("DROP POLICY IF EXISTS own ON market_data.ohlcv_5m")
            sql(f"DROP OWNED BY {name}")
            sql(f"DROP ROLE {name}")

    @pytest.mark.parametrize(
        ("columns", "key", "settings", "instruments"),
        [
            (
                "instrument_id bigint, time timestamp, o numeric(18,8), h numeric(18,8), l numeric(18,8),"
                " c numeric(18,8), vol numeric(24,4)",
                "(instrument_id, time)",
                {
                    "columns": {
                        "symbol_id": "instrument_id",
                        "ts": "time",
                        "open": "o",
                        "high": "h",
                        "low": "l",
                        "close": "c",
                        "volume": "vol",
                        "vwap": None,
                        "trades": None,
                    }
                },
                "id",
            ),
            (
                'ticker text, "Interval" text, ts timestamptz, open real, high real, low real, close real,'
                " volume float8, vwap float8, trades int",
                '(ticker, "Interval", ts)',
                {
                    "columns": {"symbol_id": "ticker"},
                    "constants": {"Interval": "5m"},
                    "instrument": "polygon_ticker",
                },
                "polygon_ticker",
            ),
            (
                "symbol text, ts timestamptz, open float8, high float8, low float8, close float8,"
                " volume float8, vwap float8, trades bigint",
                "(ts, symbol)",
                {"columns": {"symbol_id": "symbol"}, "instrument": "symbol"},
                "symbol",
            ),
        ],
        ids=["names_types_and_naive_time", "tickers_and_an_interval", "symbols"],
    )
    def test_its_own_table_has_views_in_its_schema(
        self, empty: Store, sql: Sql, columns: str, key: str, settings: dict[str, Any], instruments: str
    ) -> None:
        sql(f"CREATE SCHEMA prices; CREATE TABLE prices.candles ({columns}, PRIMARY KEY {key})")
        mappings = mapped(bars=TableMapping(table="prices.candles", **settings))
        assets = [asset(symbol) for symbol in SYMBOLS]
        done = keep(empty, *ALL, mappings=mappings, assets=assets)
        assert done.created == [f"prices.ohlcv_{size}" for size in ALL]
        names = settings["columns"]
        at, instrument = names.get("ts", "ts"), names["symbol_id"]
        held = {"id": 2, "symbol": "XAUUSD", "polygon_ticker": "C:XAUUSD"}[instruments]
        prices = [names.get(name, name) for name in ("open", "high", "low", "close", "volume")]
        for place in range(4):
            row = {instrument: held, at: START + place * FIVE}
            row |= dict(zip(prices, (5 + place, 9, 2, 4, 7), strict=True))
            row |= settings.get("constants", {})
            marks = ", ".join(["%s"] * len(row))
            named = ", ".join(f'"{name}"' for name in row)
            sql("SET timezone = 'UTC'")
            sql(f"INSERT INTO prices.candles ({named}) VALUES ({marks})", *row.values())
            if "constants" in settings:
                row["Interval"] = "1h"
                sql(f"INSERT INTO prices.candles ({named}) VALUES ({marks})", *row.values())
        wanted = [
            (held, START, 5, 9, 2, 4, 21, None, None),
            (held, START + 3 * FIVE, 8, 9, 2, 4, 7, None, None),
        ]
        for zone in ("UTC", "Asia/Kathmandu"):  # whatever the session of a reader has
            sql(f"SET timezone = '{zone}'")
            assert sql(f"SELECT symbol_id, {COLUMNS} FROM prices.ohlcv_15m ORDER BY ts") == wanted
            range_of_one = (held, START, START + FIVE)
            query = "SELECT ts FROM prices.assetbatch_bars(%s, '15 min', %s, %s)"
            assert sql(query, *range_of_one) == [(START,)]


class TestTheDecision:
    VIEW = Wanted("ohlcv_1h", "view", "Bars of 1h", b"CREATE")

    def present(self, **other: Any) -> Present:
        return Present("ohlcv_1h", "view", self.VIEW.definition, "market_data.ohlcv_1h")._replace(**other)

    def test_nothing_is_done_where_the_definition_is_the_same(self) -> None:
        assert decide([self.present()], [self.VIEW]) == ([], [], [])

    def test_another_definition_is_replaced(self) -> None:
        assert decide([self.present(definition="0" * 12)], [self.VIEW]).create == [self.VIEW]

    def test_another_kind_is_dropped_first(self) -> None:
        steps = decide([self.present(kind="aggregate")], [self.VIEW])
        assert [one.kind for one in steps.drop] == ["aggregate"]
        assert steps.create == [self.VIEW]

    def test_views_are_dropped_before_the_functions_that_they_call(self) -> None:
        function = Present("assetbatch_bars", "function", "0" * 12, "market_data.assetbatch_bars()")
        assert decide([function, self.present()], []).drop == [self.present(), function]


class TestTimescaleDB:
    """Continuous aggregates, where the server has the extension."""

    @pytest.fixture
    def real(self, empty: Store, database_url: str, sql: Sql) -> Sql:
        if not sql(TIMESCALEDB_AVAILABLE):
            pytest.skip("the server has no TimescaleDB (ASSETBATCH_TEST_DATABASE_URL may name one that has)")
        with psycopg.connect(database_url, autocommit=True) as fresh:  # it must come first in a session
            fresh.execute("CREATE EXTENSION timescaledb")
        return sql

    def test_a_hypertable_has_continuous_aggregates(self, empty: Store, real: Sql) -> None:
        assets = [asset(symbol) for symbol in SYMBOLS]
        done = empty.initialise(NOTHING, assets, by_month=True, derived=ALL)
        assert done.hypertable
        assert len(done.views.created) == 3
        assert done.views.warnings == []
        bars = [bar(place, 2.0 + place % 7, None if place == 40 else 4.0) for place in range(100)]
        real("BEGIN")  # TimescaleDB takes up what is there when it happens to begin
        fill(real, bars)
        real("COMMIT")
        for _ in range(2):  # read from the bars, then from what was taken up
            for size in ALL:
                found = real(f"SELECT {COLUMNS} FROM market_data.ohlcv_{size} ORDER BY ts")
                assert_same(found, aggregated(bars, size))
                real(f"CALL refresh_continuous_aggregate('market_data.ohlcv_{size}', NULL, NULL)")
        assert empty.initialise(NOTHING, assets, derived=ALL).views == ([], [], [])
        assert len(empty.initialise(NOTHING, assets, derived=()).views.dropped) == 3

    def test_views_become_aggregates_where_the_table_becomes_a_hypertable(
        self, empty: Store, real: Sql
    ) -> None:
        assets = [asset(symbol) for symbol in SYMBOLS]
        keep(empty, *ALL, assets=assets)
        bars = [bar(place, 2.0 + place % 7) for place in range(100)]
        fill(real, bars)
        real(
            "SELECT create_hypertable('market_data.ohlcv_5m', 'ts', create_default_indexes => false,"
            " migrate_data => true)"
        )
        plan = empty.plan(NOTHING, assets, derived=ALL)
        assert [one.what for one in plan.additions] == [f"market_data.ohlcv_{size}" for size in ALL]
        assert plan.warnings == ()
        done = keep(empty, *ALL, assets=assets)
        assert (len(done.created), done.dropped, done.warnings) == (3, [], [])
        found = real(f"SELECT {COLUMNS} FROM market_data.ohlcv_1h ORDER BY ts")
        assert_same(found, aggregated(bars, DerivedSize.HOUR))
        ((count,),) = real("SELECT count(*) FROM timescaledb_information.continuous_aggregates")
        assert count == 3

    def test_moments_without_a_zone_have_views(self, empty: Store, real: Sql) -> None:
        """An aggregate of them would have moments without a zone too."""
        real(
            "CREATE SCHEMA prices; CREATE TABLE prices.candles (symbol_id bigint, ts timestamp, open float8,"
            " high float8, low float8, close float8, volume float8, vwap float8, trades bigint,"
            " PRIMARY KEY (symbol_id, ts))"
        )
        real("SELECT create_hypertable('prices.candles', 'ts', create_default_indexes => false)")
        mappings = mapped(bars=TableMapping(table="prices.candles"))
        done = keep(empty, *ALL, mappings=mappings, assets=[asset(symbol) for symbol in SYMBOLS])
        assert (len(done.created), done.warnings) == (3, [])
        assert real("SELECT count(*) FROM timescaledb_information.continuous_aggregates") == [(0,)]
        real("INSERT INTO prices.candles VALUES (2, '2024-03-09 22:05', 5, 9, 2, 4, 21, 3, 1)")
        for zone in ("UTC", "Asia/Kathmandu"):
            real(f"SET timezone = '{zone}'")
            assert real("SELECT ts FROM prices.ohlcv_1h") == [(START,)]
