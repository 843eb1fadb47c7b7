"""The table of bars by months: made when init is told so, looked after by every init, used like any other."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from assetbatch.database import Store
from assetbatch.database.migrations import all_migrations
from assetbatch.database.partitions import EARLIER, LATER, MONTHS_AHEAD, MONTHS_BACK, missing
from assetbatch.domain.market_hours import from_ms, month_of
from assetbatch.domain.models import BAR_MS, Bar, Changes, Saved
from assetbatch.errors import DatabaseError, SchemaRefusedError
from tests.conftest import REPOSITORY
from tests.schema import migrate, register

from .conftest import SYMBOLS, TIMESCALEDB_AVAILABLE, Sql, asset

STEPS = [step.name for step in all_migrations()]
TABLE = "market_data.ohlcv_5m"
DAY_MS = 86_400_000

PLATFORMS = (
    f"CREATE SCHEMA market_data; CREATE TABLE {TABLE} (symbol_id bigint, ts timestamptz, open float8,"
    " high float8, low float8, close float8, volume float8, vwap float8, trades bigint,"
    " PRIMARY KEY (symbol_id, ts)) PARTITION BY {}"
)


@pytest.fixture
def by_month() -> bool:
    return True


@pytest.fixture
def now_ms(sql: Sql) -> int:
    """The server's time: it decides about months."""
    ((at_ms,),) = sql("SELECT (extract(epoch FROM now()) * 1000)::int8")
    return int(at_ms)


def bar(at_ms: int, close: float = 1.0) -> Bar:
    return Bar(at_ms - at_ms % BAR_MS, close, close, close, close)


def places(sql: Sql) -> list[tuple[Any, ...]]:
    """Each bar, and the partition that holds it."""
    return sql(f"SELECT tableoid::regclass::text, symbol_id, ts, close FROM {TABLE} ORDER BY 2, 3")


def tables(sql: Sql) -> list[tuple[Any, ...]]:
    """The partitions with their ranges, as the catalogue has them, and the file of each."""
    return sql(
        "SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid), c.relfilenode, c.xmin::text"
        " FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        f" WHERE inhparent = '{TABLE}'::regclass ORDER BY 1"
    )


def let_months_pass(sql: Sql, months: int) -> None:
    """As if init had been run so long ago: the last months have no partition yet."""
    names = [name.split(".")[1] for name, *_ in tables(sql) if re.search(r"_\d{4}_\d\d$", name)]
    gone = names[-months:]
    sql(f"ALTER TABLE {TABLE} DETACH PARTITION market_data.{LATER}")
    for name in gone:
        sql(f"DROP TABLE market_data.{name}")
    _, year, month = gone[0].rsplit("_", 2)
    sql(
        f"ALTER TABLE {TABLE} ATTACH PARTITION market_data.{LATER}"
        f" FOR VALUES FROM ('{year}-{month}-01 00:00+00') TO (MAXVALUE)"
    )


class TestANewTable:
    def test_has_a_partition_for_each_month_and_for_what_is_earlier_and_later(
        self, empty: Store, sql: Sql, now_ms: int
    ) -> None:
        made = migrate(empty, by_month=True)
        minutes = [part.name for part in missing([], now_ms, "bars_1m")]
        assert made == (STEPS, [part.name for part in missing([], now_ms)] + minutes, False)
        assert (minutes[0], minutes[-1]) == ("ohlcv_1m_earlier", "ohlcv_1m_later")
        assert len(tables(sql)) == MONTHS_BACK + 1 + MONTHS_AHEAD + 2

    def test_has_the_columns_checks_and_key_of_one_that_is_not_partitioned(
        self, empty: Store, sql: Sql
    ) -> None:
        def shape() -> list[tuple[Any, ...]]:
            return sql(
                "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
                f" WHERE attrelid = '{TABLE}'::regclass AND attnum > 0 ORDER BY attnum"
            ) + sql(
                "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
                f" WHERE conrelid = '{TABLE}'::regclass ORDER BY 1"
            )

        migrate(empty)
        plain = shape()
        sql("DROP SCHEMA trading, market_data, data_sources CASCADE")
        migrate(empty, by_month=True)
        assert shape() == plain

    def test_is_not_partitioned_unless_init_is_told_so(self, empty: Store, sql: Sql) -> None:
        assert migrate(empty) == (STEPS, [], False)
        assert sql(f"SELECT relkind::text FROM pg_class WHERE oid = '{TABLE}'::regclass") == [("r",)]

    def test_refers_to_symbols_of_a_platform_by_the_type_of_their_ids(self, empty: Store, sql: Sql) -> None:
        sql("CREATE SCHEMA trading")
        sql(
            "CREATE TABLE trading.symbols (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), symbol text UNIQUE)"
        )
        migrate(empty, by_month=True)
        register(empty, [asset("EURUSD")])
        assert empty.save(Changes(bars={"EURUSD": [bar(0)]}), 0).bars_new == 1

    def test_that_was_lost_is_not_made_again_in_silence(self, store: Store, sql: Sql) -> None:
        sql(f"DROP TABLE {TABLE}")
        with pytest.raises(DatabaseError, match="ohlcv_5m is missing"):
            migrate(store, by_month=True)


class TestBars:
    def test_go_into_the_partition_of_their_month(self, store: Store, sql: Sql, now_ms: int) -> None:
        moments = [0, month_of(now_ms, -1), month_of(now_ms) - BAR_MS, month_of(now_ms), month_of(now_ms, 9)]
        store.save(Changes(bars={"EURUSD": [bar(at_ms) for at_ms in moments]}), now_ms)
        last_month = from_ms(month_of(now_ms, -1)).strftime("market_data.ohlcv_5m_%Y_%m")
        this_month = from_ms(now_ms).strftime("market_data.ohlcv_5m_%Y_%m")
        assert [place for place, *_ in places(sql)] == [
            f"market_data.{EARLIER}",
            last_month,
            last_month,
            this_month,
            f"market_data.{LATER}",
        ]

    @pytest.mark.parametrize("moment", ["-infinity", "infinity"])
    def test_of_no_moment_at_all_are_not_refused_either(self, store: Store, sql: Sql, moment: str) -> None:
        sql(f"INSERT INTO {TABLE} SELECT id, '{moment}', 1, 1, 1, 1 FROM trading.symbols")
        assert store.load(["EURUSD"])["EURUSD"].last_bar_ms is None

    def test_of_several_months_are_written_once_corrected_and_read_as_from_one_table(
        self, store: Store, sql: Sql, now_ms: int
    ) -> None:
        first_ms = month_of(now_ms, -1) - 300 * BAR_MS
        bars = [bar(first_ms + n * BAR_MS, 1.0 + n / 64) for n in range(600)]
        missing_ms = bars[250].t_ms
        some = [one for one in bars if one.t_ms != missing_ms]
        assert store.save(Changes(bars={"EURUSD": some}), now_ms).bars_new == 599  # copied
        before = places(sql)
        assert store.save(Changes(bars={"EURUSD": some}), now_ms) == Saved(updated=[], unknown=[])
        assert places(sql) == before
        corrected = [bar(one.t_ms, 9.0) if n % 200 == 7 else one for n, one in enumerate(bars)]
        saved = store.save(Changes(bars={"EURUSD": corrected, "XAUUSD": bars[:5]}), now_ms)  # merged
        assert (saved.bars_new, saved.bars_changed) == (1 + 5, 3)
        assert [(ts, close) for _, _, ts, close in places(sql)][:600] == [
            (from_ms(one.t_ms), one.close) for one in corrected
        ]
        assert store.load(SYMBOLS)["EURUSD"].last_bar_ms == bars[-1].t_ms
        assert store.closes(["EURUSD"], 288)["EURUSD"] == [(one.t_ms, one.close) for one in corrected[-288:]]
        end_ms = bars[-1].end_ms
        assert store.gaps({"EURUSD": (first_ms - BAR_MS, end_ms), "XAUUSD": (first_ms, end_ms)}) == {
            "EURUSD": [(first_ms - BAR_MS, first_ms)],
            "XAUUSD": [(bars[5].t_ms, end_ms)],
        }


class TestInitAgain:
    @pytest.mark.parametrize("told", [False, True])
    def test_changes_nothing(self, store: Store, sql: Sql, told: bool) -> None:
        before = tables(sql)
        assert migrate(store, by_month=told) == ([], [], False)
        assert tables(sql) == before

    @pytest.mark.parametrize("told", [False, True])
    def test_adds_the_months_that_have_come_nearer(self, store: Store, sql: Sql, told: bool) -> None:
        before = [row[:2] for row in tables(sql)]
        let_months_pass(sql, 3)
        assert len(migrate(store, by_month=told).partitions) == 3
        assert [row[:2] for row in tables(sql)] == before

    def test_moves_bars_that_meanwhile_went_into_the_last_partition(
        self, store: Store, sql: Sql, now_ms: int
    ) -> None:
        bars = [bar(now_ms - n * DAY_MS, 10.0 + n / 64) for n in range(-400, 90)]
        store.save(Changes(bars=dict.fromkeys(SYMBOLS, bars)), now_ms)
        before = places(sql)
        sql(f"DELETE FROM {TABLE}")
        let_months_pass(sql, MONTHS_AHEAD + 2)
        store.save(Changes(bars=dict.fromkeys(SYMBOLS, bars)), now_ms)
        assert places(sql) != before
        migrate(store)
        assert places(sql) == before

    def test_makes_a_month_that_was_dropped_again(self, store: Store, sql: Sql, now_ms: int) -> None:
        name = from_ms(month_of(now_ms, -7)).strftime("ohlcv_5m_%Y_%m")
        sql(f"DROP TABLE market_data.{name}")
        assert migrate(store).partitions == [name]
        assert store.save(Changes(bars={"EURUSD": [bar(month_of(now_ms, -7))]}), now_ms).bars_new == 1

    def test_names_a_month_that_is_in_its_way_since_it_was_detached(self, store: Store, sql: Sql) -> None:
        name = tables(sql)[5][0]
        sql(f"ALTER TABLE {TABLE} DETACH PARTITION {name}")
        with pytest.raises(DatabaseError, match="a table is there already") as caught:
            migrate(store)
        assert name.split(".")[1] in caught.value.message
        assert caught.value.hint == "rename or drop it: a partition that was detached keeps its name"

    def test_may_be_started_by_eight_programs_at_once(
        self, store: Store, database_url: str, sql: Sql
    ) -> None:
        let_months_pass(sql, 5)
        together = threading.Barrier(8)

        def init(_: int) -> int:
            with Store.open(database_url) as mine:
                together.wait()
                return len(migrate(mine).partitions)

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(init, range(8))) == [0] * 7 + [5]

    def test_hides_no_bar_from_those_who_read_meanwhile(
        self, store: Store, database_url: str, sql: Sql, now_ms: int
    ) -> None:
        let_months_pass(sql, MONTHS_AHEAD + 2)
        bars = [bar(now_ms - n * BAR_MS) for n in range(3_000)]
        store.save(Changes(bars={"EURUSD": bars}), now_ms)
        started, done = threading.Event(), threading.Event()

        def watch() -> set[int]:
            seen = set()
            with psycopg.connect(database_url, autocommit=True) as other:
                while not done.is_set():
                    row = other.execute("SELECT count(*) FROM market_data.ohlcv_5m").fetchone()
                    seen.add(row[0] if row else -1)
                    started.set()
            return seen

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            started.wait(10)
            assert migrate(store).partitions
            done.set()
            assert watching.result(10) == {3_000}

    def test_needs_no_rights_of_an_owner_where_nothing_is_missing(
        self, store: Store, limited_url: str
    ) -> None:
        with Store.open(limited_url) as limited:
            assert migrate(limited, by_month=True) == ([], [], False)

    def test_after_the_record_of_migrations_was_lost_adopts_the_table_as_it_is(
        self, store: Store, sql: Sql
    ) -> None:
        before = tables(sql)
        sql("DROP TABLE data_sources.assetbatch_migrations")
        assert migrate(store) == (STEPS, [], False)
        assert tables(sql) == before


@pytest.fixture
def limited_url(store: Store, database_url: str, sql: Sql) -> Iterator[str]:
    """The URL of a role that has been granted what the README says, on the partitioned table only."""
    role = f"role_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'")
    sql(f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role}")
    sql(f"GRANT SELECT, UPDATE ON trading.symbols TO {role}")
    sql(f"GRANT SELECT, INSERT, UPDATE ON {TABLE}, data_sources.data_sync_status TO {role}")
    sql(f"GRANT SELECT, INSERT, UPDATE ON market_data.ohlcv_1m, market_data.ohlcv_1d TO {role}")
    sql(f"GRANT SELECT, INSERT, UPDATE ON market_data.splits TO {role}")
    readable = "data_sources.api_providers, data_sources.assetbatch_migrations, data_sources.assetbatch_names"
    sql(f"GRANT SELECT ON {readable} TO {role}")
    for ours in ("spans", "verified", "vanished"):
        sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON data_sources.assetbatch_{ours} TO {role}")
    for ours in ("sync", "answers", "closes"):
        sql(f"GRANT SELECT, INSERT, UPDATE ON data_sources.assetbatch_{ours} TO {role}")
    sql(f"GRANT SELECT, INSERT ON data_sources.assetbatch_calls TO {role}")
    try:
        yield make_conninfo(database_url, user=role, password="made-up")
    finally:
        sql(f"DROP OWNED BY {role}")
        sql(f"DROP ROLE {role}")


def test_rights_on_the_table_are_enough_for_its_partitions(
    store: Store, limited_url: str, now_ms: int
) -> None:
    bars = [bar(now_ms - n * DAY_MS) for n in range(60)]
    with Store.open(limited_url) as limited:
        facts = limited.facts()
        assert facts.missing_rights == ()
        assert facts.partitions["bars"][-1].name == LATER
        assert limited.save(Changes(bars={"EURUSD": bars}), now_ms).bars_new == 60
        changed = [bar(one.t_ms, 2.0) for one in bars]
        assert limited.save(Changes(bars={"EURUSD": changed}), now_ms + DAY_MS).bars_changed == 60
        assert limited.load(["EURUSD"])["EURUSD"].last_bar_ms == bars[0].t_ms
        assert len(limited.closes(["EURUSD"], 288)["EURUSD"]) == 60


def test_rights_that_are_missing_on_the_table_are_named(store: Store, limited_url: str, sql: Sql) -> None:
    sql(f"REVOKE UPDATE ON {TABLE} FROM {make_role(limited_url)}")
    with Store.open(limited_url) as limited:
        assert limited.facts().missing_rights == (f"UPDATE ON {TABLE}",)


def make_role(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["user"])


class TestATableThatIsThereAlready:
    @pytest.fixture
    def by_month(self) -> bool:
        return False

    @pytest.mark.parametrize("bars", [0, 3])
    def test_is_not_touched_and_the_way_is_named(
        self, store: Store, sql: Sql, now_ms: int, bars: int
    ) -> None:
        store.save(Changes(bars={"EURUSD": [bar(now_ms - n * DAY_MS) for n in range(bars)]}), now_ms)
        before = sql(f"SELECT relkind::text, relfilenode FROM pg_class WHERE oid = '{TABLE}'::regclass")
        with pytest.raises(SchemaRefusedError, match="is there and is not partitioned") as caught:
            migrate(store, by_month=True)
        assert 'docs/deploying.md, "Bars by month"' in caught.value.message
        assert (
            sql(f"SELECT relkind::text, relfilenode FROM pg_class WHERE oid = '{TABLE}'::regclass") == before
        )

    def test_becomes_the_first_partition_by_the_sql_of_the_documentation_without_being_rewritten(
        self, store: Store, sql: Sql
    ) -> None:
        section = (REPOSITORY / "docs" / "deploying.md").read_text().split("## Bars by month")[1]
        found = re.search(r"```sql\n(.*?)```", section, re.S)
        assert found
        asked_ms = 1_760_000_100_000  # long before the border in the documentation
        bars = [bar(asked_ms - n * DAY_MS, 1.0 + n / 64) for n in range(100)]
        store.save(Changes(bars=dict.fromkeys(SYMBOLS, bars)), asked_ms)
        rows = [row[1:] for row in places(sql)]
        ((file,),) = sql(f"SELECT relfilenode FROM pg_class WHERE oid = '{TABLE}'::regclass")
        for statement in found[1].split(";"):
            if statement.strip():
                sql(statement)
        migrate(store, by_month=True)
        assert [row[1:] for row in places(sql)] == rows
        old = next(row for row in tables(sql) if "until" in row[0])
        assert old[2] == file
        border_ms = 1_798_761_600_000
        more = [bar(border_ms + n * BAR_MS, 3.0) for n in (-1, 0)]
        assert store.save(Changes(bars={"EURUSD": [*bars, *more]}), border_ms + DAY_MS).bars_new == 2
        assert [place for place, *_ in places(sql) if place != old[0]] == ["market_data.ohlcv_5m_2027_01"]
        assert store.load(["EURUSD"])["EURUSD"].last_bar_ms == border_ms
        assert migrate(store) == ([], [], False)

    @pytest.mark.parametrize("told", [False, True])
    @pytest.mark.parametrize(
        ("by", "values"),
        [
            ("RANGE (ts)", "DEFAULT"),
            ("RANGE (symbol_id)", "FOR VALUES FROM (1) TO (1000)"),
            ("RANGE (ts, symbol_id)", "FOR VALUES FROM ('2020-01-01', 1) TO (MAXVALUE, MAXVALUE)"),
            ("LIST (ts)", "FOR VALUES IN ('2020-01-01')"),
        ],
    )
    def test_whose_partitions_a_platform_looks_after_is_left_to_it(
        self, empty: Store, sql: Sql, told: bool, by: str, values: str
    ) -> None:
        sql(PLATFORMS.format(by))
        sql(f"CREATE TABLE market_data.theirs PARTITION OF {TABLE} {values}")
        before = tables(sql)
        if told:
            with pytest.raises(SchemaRefusedError, match="partitioned already") as caught:
                migrate(empty, by_month=True)
            assert (caught.value.hint or "").startswith("leave out --partition")
        else:
            assert migrate(empty) == (STEPS, [], False)
        assert tables(sql) == before
        assert "bars" not in empty.facts().partitions

    def test_with_ranges_of_months_can_be_handed_over(self, empty: Store, sql: Sql, now_ms: int) -> None:
        sql(PLATFORMS.format("RANGE (ts)"))
        start, end = from_ms(month_of(now_ms, -1)), from_ms(month_of(now_ms, 1))
        sql(f"CREATE TABLE market_data.theirs PARTITION OF {TABLE} FOR VALUES FROM ('{start}') TO ('{end}')")
        assert migrate(empty).partitions == []
        made = migrate(empty, by_month=True).partitions
        assert (made[0], made[-1], len(made)) == (EARLIER, LATER, 2 + MONTHS_AHEAD)


class TestTimescaleDB:
    """The real extension where the server has it, else a stand-in that writes down how it was called."""

    @pytest.fixture
    def by_month(self) -> bool:
        return False

    @pytest.fixture
    def real(self, empty: Store, database_url: str, sql: Sql) -> Sql:
        if not sql(TIMESCALEDB_AVAILABLE):
            pytest.skip("the server has no TimescaleDB (ASSETBATCH_TEST_DATABASE_URL may name one that has)")
        with psycopg.connect(database_url, autocommit=True) as fresh:  # it must come first in a session
            fresh.execute("CREATE EXTENSION timescaledb")
        return sql

    @pytest.fixture
    def stand_in(self, sql: Sql) -> Sql:
        """An extension of that name by its entry in the catalogue, in a schema that is not on the path."""
        if sql(TIMESCALEDB_AVAILABLE):
            pytest.skip("the server has the real one")
        sql("CREATE SCHEMA elsewhere")
        sql("CREATE SCHEMA timescaledb_information")
        sql("CREATE TABLE elsewhere.calls (relation regclass, name name, every interval, indexes boolean)")
        sql("CREATE TABLE timescaledb_information.hypertables (hypertable_schema name, hypertable_name name)")
        sql("SET allow_system_table_mods = on")
        sql(
            "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
            " SELECT 'elsewhere.calls'::regclass, 'timescaledb', u.oid, 'elsewhere'::regnamespace, false, '0'"
            " FROM pg_roles u WHERE u.rolname = current_user"
        )
        sql(
            "CREATE FUNCTION elsewhere.create_hypertable(relation regclass, time_column_name name,"
            " chunk_time_interval anyelement, create_default_indexes boolean) RETURNS void LANGUAGE sql AS"
            " 'INSERT INTO elsewhere.calls VALUES ($1, $2, $3, $4);"
            " INSERT INTO timescaledb_information.hypertables"
            " SELECT relnamespace::regnamespace::name, relname FROM pg_class WHERE oid = $1'"
        )
        return sql

    def test_makes_a_hypertable_with_chunks_of_a_month(self, empty: Store, stand_in: Sql) -> None:
        assert migrate(empty, by_month=True) == (STEPS, [], True)
        assert stand_in("SELECT relation::text, name::text, every::text, indexes FROM elsewhere.calls") == [
            (TABLE, "ts", "1 mon", False),
            ("market_data.ohlcv_1m", "ts", "1 mon", False),
        ]

    def test_is_asked_once(self, empty: Store, stand_in: Sql) -> None:
        migrate(empty, by_month=True)
        assert migrate(empty, by_month=True) == ([], [], False)
        assert len(stand_in("SELECT name FROM elsewhere.calls")) == 2

    def test_is_not_asked_unless_init_is_told_so(self, empty: Store, stand_in: Sql) -> None:
        assert migrate(empty) == (STEPS, [], False)
        assert stand_in("SELECT name FROM elsewhere.calls") == []

    def test_takes_over_a_table_that_is_there_only_while_it_is_empty(
        self, store: Store, stand_in: Sql
    ) -> None:
        store.save(Changes(bars={"EURUSD": [bar(0)]}), 0)
        with pytest.raises(SchemaRefusedError, match="holds bars and is no hypertable") as caught:
            migrate(store, by_month=True)
        assert 'docs/deploying.md, "Bars by month"' in (caught.value.hint or "")
        stand_in(f"DELETE FROM {TABLE}")
        assert migrate(store, by_month=True).hypertable

    def test_that_is_real_keeps_bars_as_an_ordinary_table_does(
        self, empty: Store, real: Sql, database_url: str, now_ms: int
    ) -> None:
        with Store.open(database_url, check_schema=False) as store:
            assert migrate(store, by_month=True) == (STEPS, [], True)
            assert migrate(store, by_month=True) == ([], [], False)
            register(store, [asset(symbol) for symbol in SYMBOLS])
            first_ms = month_of(now_ms, -2)
            bars = [bar(first_ms + n * 36 * BAR_MS, 1.0 + n / 64) for n in range(600)]
            assert store.save(Changes(bars={"EURUSD": bars}), now_ms).bars_new == 600
            assert store.save(Changes(bars={"EURUSD": bars}), now_ms) == Saved(updated=[], unknown=[])
            changed = [*bars[:-1], bar(bars[-1].t_ms, 9.0)]
            saved = store.save(Changes(bars={"EURUSD": changed, "XAUUSD": bars[:9]}), now_ms)
            assert (saved.bars_new, saved.bars_changed) == (9, 1)
            assert store.load(SYMBOLS)["EURUSD"].last_bar_ms == bars[-1].t_ms
            assert store.closes(["EURUSD"], 288)["EURUSD"] == [
                (one.t_ms, one.close) for one in changed[-288:]
            ]
            assert store.gaps({"EURUSD": (first_ms, bars[1].end_ms)}) == {
                "EURUSD": [(bars[0].end_ms, bars[1].t_ms)]
            }
            ((chunks,),) = real(
                "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'ohlcv_5m'"
            )
            assert chunks >= 2
