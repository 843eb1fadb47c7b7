from __future__ import annotations

import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any, Literal

import psycopg
import pytest

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.database.migrations import all_migrations
from assetbatch.database.session import Connection
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    Changes,
    CoveredInterval,
    IntervalFault,
    IntervalState,
    Price,
)
from assetbatch.domain.units import DAY_MS
from assetbatch.errors import DatabaseError, SchemaMissingError
from tests.schema import migrate, register

from .conftest import SYMBOLS, Sql, asset


def test_init_takes_every_step(empty: Store) -> None:
    """`test_documented_tables` says which tables and columns are there then."""
    assert migrate(empty).steps == [step.name for step in all_migrations()]


def test_init_again_applies_nothing(store: Store, sql: Sql) -> None:
    before = sql("SELECT xmin, * FROM data_sources.assetbatch_migrations")
    assert migrate(store).steps == []
    assert sql("SELECT xmin, * FROM data_sources.assetbatch_migrations") == before


def test_versions_are_numbered_from_1_without_a_gap() -> None:
    assert [step.version for step in all_migrations()] == list(range(1, len(all_migrations()) + 1))


def test_eight_programs_may_start_init_at_once(database_url: str, sql: Sql) -> None:
    together = threading.Barrier(8)

    def init(_: int) -> tuple[list[str], list[str]]:
        with Store.open(database_url, check_schema=False) as store:
            together.wait()
            return migrate(store).steps, register(store, [asset(symbol) for symbol in SYMBOLS]).added

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(init, range(8)))
    assert [steps for steps, _ in results if steps] == [[step.name for step in all_migrations()]]
    assert sorted(symbol for _, added in results for symbol in added) == sorted(SYMBOLS)
    assert sql("SELECT count(*) FROM trading.symbols") == [(len(SYMBOLS),)]


def test_init_waits_for_another_init_no_longer_than_the_lock_timeout(database_url: str, sql: Sql) -> None:
    sql("SELECT pg_advisory_lock(hashtextextended('assetbatch migrations', 0))")
    with (
        Store.open(database_url, check_schema=False, lock_seconds=0.2) as store,
        pytest.raises(DatabaseError, match="a lock was not free in time"),
    ):
        migrate(store)


def test_without_tables_it_says_to_run_init(database_url: str) -> None:
    with pytest.raises(SchemaMissingError) as caught:
        Store.open(database_url)
    assert caught.value.hint == "run assetbatch init"


def test_an_older_schema_says_to_run_init(store: Store, database_url: str, sql: Sql) -> None:
    sql("DELETE FROM data_sources.assetbatch_migrations")
    with pytest.raises(SchemaMissingError, match="version 0") as caught:
        Store.open(database_url)
    assert caught.value.hint == "run assetbatch init"


def test_an_installation_of_version_1_is_upgraded_and_keeps_what_it_has(
    store: Store, database_url: str, sql: Sql
) -> None:
    store.save(Changes(prices=[Price(symbol="EURUSD", last_price=1.5, as_of_ms=1)]), 1)
    sql("DROP TABLE data_sources.assetbatch_spans")
    sql("DELETE FROM data_sources.assetbatch_migrations WHERE version > 1")
    with pytest.raises(SchemaMissingError, match="version 1") as caught:
        Store.open(database_url)
    assert caught.value.hint == "run assetbatch init"
    assert migrate(store).steps == [step.name for step in all_migrations()[1:]]
    with Store.open(database_url) as upgraded:
        assert upgraded.load(["EURUSD"])["EURUSD"].last_price == 1.5
        upgraded.save(Changes(coverage={"EURUSD": [CoveredInterval(0, BAR_MS, IntervalState.ASKED)]}), 1)


@pytest.mark.parametrize("instrument", ["id", "symbol", "polygon_ticker"])
def test_bars_of_an_upgraded_installation_stay_and_can_become_minutes(
    database_url: str, sql: Sql, instrument: str
) -> None:
    """From version 8, which knew one table of bars and recorded what it holds beside the tables."""
    mappings, start_ms = TableMappings(), 1_760_000_100_000
    if instrument != "id":
        sql(
            "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_5m (ticker text, ts timestamptz,"
            " open float8, high float8, low float8, close float8, volume float8, PRIMARY KEY (ticker, ts))"
        )
        kind: Literal["symbol", "polygon_ticker"] = "symbol" if instrument == "symbol" else "polygon_ticker"
        mappings = TableMappings(bars=TableMapping(instrument=kind))

    def opened(*, check_schema: bool = True) -> Store:
        return Store.open(
            database_url,
            mappings=mappings,
            tickers=lambda: {"EURUSD": "C:EURUSD"},
            check_schema=check_schema,
        )

    def answer(size_ms: int) -> Changes:
        starts = range(start_ms, start_ms + 10 * BAR_MS, size_ms)
        return Changes(
            bars={"EURUSD": [Bar(t_ms, 1.0, 2.0, 1.0, 1.5, size_ms / 60_000) for t_ms in starts]},
            coverage={
                "EURUSD": [CoveredInterval(start_ms, start_ms + 10 * BAR_MS, IntervalState.ASKED, start_ms)]
            },
            minutes={"EURUSD"} if size_ms < BAR_MS else set(),
        )

    with opened(check_schema=False) as store:
        store.initialise(mappings, [asset("EURUSD")])
        store.save(answer(BAR_MS), start_ms + DAY_MS)
    sql(
        "DROP TABLE market_data.ohlcv_1m, market_data.ohlcv_1d;"
        "ALTER TABLE data_sources.assetbatch_sync DROP COLUMN bar_size;"
        "DELETE FROM data_sources.assetbatch_migrations WHERE version >= 9"
    )
    sql(
        "UPDATE data_sources.assetbatch_names SET names = (names - 'bars_1m' - 'bars_1d'"
        " #- '{bars,instrument}' #- '{bars,target}')"
        " || jsonb_build_object('instrument', %s::text, 'bars_target', NULL)",
        instrument,
    )
    before = sql("SELECT xmin::text, * FROM market_data.ohlcv_5m ORDER BY ts")
    with pytest.raises(SchemaMissingError, match="version 8"):
        opened()
    with opened(check_schema=False) as store:
        done = store.initialise(mappings, [asset("EURUSD")])
        assert (done.steps[:1], done.plan.changed) == (["bar_sizes"], ())
    with opened() as store:
        assert (store.load(["EURUSD"])["EURUSD"].bar_size, len(before)) == (None, 10)
        store.ask_again({"EURUSD": 0}, {"EURUSD": BarSize.ONE_MINUTE}, start_ms + DAY_MS)
        store.save(answer(60_000), start_ms + DAY_MS)
        assert store.load(["EURUSD"])["EURUSD"].bar_size is BarSize.ONE_MINUTE
    assert sql("SELECT xmin::text, * FROM market_data.ohlcv_5m ORDER BY ts") == before
    assert sql("SELECT count(*) FROM market_data.ohlcv_1m") == [(50,)]


def test_the_words_of_failed_stretches_become_faults(store: Store, sql: Sql) -> None:
    words = [
        "the vendor's bar is of no use",
        "the vendor answered without any bar; asked once more",
        "no connection",
        None,
    ]
    spans = [
        CoveredInterval(2 * n * BAR_MS, (2 * n + 1) * BAR_MS, IntervalState.FAILED, 1, said)
        for n, said in enumerate(words)
    ]
    store.save(Changes(coverage={"EURUSD": spans}), 1)
    sql("ALTER TABLE data_sources.assetbatch_spans DROP COLUMN fault")
    sql(
        "CREATE TABLE data_sources.assetbatch_rejections"
        " (symbol_id bigint PRIMARY KEY, rejected_at timestamptz, since timestamptz, error text)"
    )
    sql("DELETE FROM data_sources.assetbatch_migrations WHERE version > 4")
    migrate(store)
    found = store.load(["EURUSD"])["EURUSD"].coverage
    assert [span.fault for span in found] == [
        IntervalFault.UNUSABLE_BAR,
        IntervalFault.UNCONFIRMED,
        None,
        None,
    ]


def test_a_newer_schema_says_to_upgrade(store: Store, database_url: str, sql: Sql) -> None:
    sql("INSERT INTO data_sources.assetbatch_migrations VALUES (9999, 'from_the_future')")
    with pytest.raises(DatabaseError, match="version 9999") as caught:
        Store.open(database_url)
    assert not isinstance(caught.value, SchemaMissingError)
    assert caught.value.hint == "upgrade assetbatch"
    with pytest.raises(DatabaseError, match="version 9999"):
        migrate(store)


def test_a_missing_provider_says_to_run_init(store: Store, database_url: str, sql: Sql) -> None:
    sql("DELETE FROM data_sources.api_providers")
    with pytest.raises(SchemaMissingError, match="code polygon"):
        Store.open(database_url)
    register(store, [])
    Store.open(database_url).close()


@pytest.mark.parametrize("table", ["market_data.ohlcv_5m", "data_sources.assetbatch_spans"])
def test_a_table_that_was_dropped_later_is_named(
    store: Store, database_url: str, sql: Sql, table: str
) -> None:
    sql(f"DROP TABLE {table}")
    with pytest.raises(DatabaseError, match=f"{re.escape(table)} is missing") as caught:
        Store.open(database_url)
    assert not isinstance(caught.value, SchemaMissingError), "init would change nothing"
    with pytest.raises(DatabaseError, match=f"{re.escape(table)} is missing"):
        migrate(store)


def test_a_migration_that_fails_leaves_nothing_behind(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assetbatch.database import migrations

    broken = (*all_migrations(), migrations.Migration(2, "broken", b"SELECT 1 / 0"))
    monkeypatch.setattr(migrations, "all_migrations", lambda: broken)
    with pytest.raises(DatabaseError, match="division by zero"):
        migrate(empty)
    assert sql("SELECT count(*) FROM pg_namespace WHERE nspname IN ('trading', 'data_sources')") == [(0,)]


@pytest.mark.parametrize(
    "bar",
    [
        "0, 2, 1, 1",
        "1, 2, 0, 1",
        "1, 'Infinity', 1, 1",
        "1, 'NaN', 1, 1",
        "1, 2, -1, 1",
        "3, 2, 1, 1",
        "1, 2, 1, 3",
        "1, 2, 1.5, 2",
        "NULL, 2, 1, 1",
    ],
)
def test_the_table_refuses_bars_that_cannot_be(store: Store, sql: Sql, bar: str) -> None:
    with pytest.raises(psycopg.IntegrityError):
        sql(
            "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
            f" VALUES (1, now(), {bar})"
        )


def test_every_sql_file_names_no_percent_sign_outside_of_parameters() -> None:
    for path in files("assetbatch.database").joinpath("sql").iterdir():
        if path.name.endswith(".sql"):
            assert not re.search(r"%(?!\([a-z_]+\)s)", path.read_text()), path.name


def test_no_statement_names_a_table_of_the_owner_other_than_by_its_place_in_the_template() -> None:
    for path in files("assetbatch.database").joinpath("sql").iterdir():
        if path.name.endswith(".sql"):
            code = re.sub(r"--.*", "", path.read_text())
            assert not re.search(r"trading\.|market_data\.|api_providers|data_sync_status", code), path.name


def test_who_may_write_the_ledger_may_write_the_tables_that_an_upgrade_adds(empty: Store, sql: Sql) -> None:
    migrate(empty)
    new = ", ".join(f"data_sources.assetbatch_{name}" for name in ("sync", "answers", "calls", "closes"))
    sql(f"DROP TABLE {new}, data_sources.assetbatch_names")
    sql("DELETE FROM data_sources.assetbatch_migrations WHERE version > 2")
    role = f"role_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE ROLE {role}")
    try:
        sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON data_sources.assetbatch_spans TO {role}")
        migrate(empty)
        for table in new.split(", "):
            assert sql(f"SELECT has_table_privilege('{role}', '{table}', 'SELECT, INSERT')") == [(True,)]
    finally:
        sql(f"DROP OWNED BY {role}")
        sql(f"DROP ROLE {role}")


def test_opening_asks_three_questions(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    execute = Connection.execute

    def counted(connection: Connection, query: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(query)
        return execute(connection, query, *arguments, **options)

    monkeypatch.setattr(Connection, "execute", counted)
    Store.open(database_url).close()
    assert len([query for query in asked if query != "COMMIT"]) == 3
