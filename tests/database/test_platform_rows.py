"""Rows that others hold, hide, swallow or write: what is not stored is not a success."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, LOCKED, Bar, Changes, Outcome, Price, RejectionCause
from assetbatch.domain.status import Status
from tests.schema import register

from .conftest import Sql

NOW_MS = 1_760_000_100_000

HELD = {
    "its symbol": "SELECT FROM trading.symbols WHERE symbol = 'EURUSD' FOR UPDATE",
    "its symbol by a reference": "SELECT FROM trading.symbols WHERE symbol = 'EURUSD' FOR NO KEY UPDATE",
    "its status": "SELECT FROM data_sources.data_sync_status FOR UPDATE",
    "a bar": "UPDATE market_data.ohlcv_5m SET close = close",
    "a bar that is being added": (
        "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
        " SELECT id, to_timestamp(3600), 1, 1, 1, 1 FROM trading.symbols WHERE symbol = 'EURUSD'"
    ),
}

SWALLOW = (
    "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;"
    "CREATE TRIGGER swallow BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION swallow()"
)


def batch(*symbols: str, at_ms: int = NOW_MS) -> Changes:
    return Changes(
        prices=[Price(symbol=symbol, last_price=1.5, as_of_ms=at_ms) for symbol in symbols],
        bars={
            symbol: [Bar(n * BAR_MS, 1.0, 2.0, 1.0, 1.5, at_ms / 1e12) for n in range(13)]
            for symbol in symbols
        },
        outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in symbols],
    )


@pytest.fixture
def hasty(store: Store, database_url: str) -> Iterator[Store]:
    """A store that waits 0.5 s for locks, on a database where EURUSD was refreshed once."""
    store.save(batch("EURUSD", at_ms=NOW_MS - BAR_MS), NOW_MS - BAR_MS)
    with Store.open(database_url, lock_seconds=0.5) as hasty:
        yield hasty


class TestARowThatIsHeld:
    @pytest.mark.parametrize("held", HELD.values(), ids=HELD)
    def test_costs_only_its_own_symbol(
        self, hasty: Store, store: Store, database_url: str, sql: Sql, held: str
    ) -> None:
        if "INSERT" in held:
            sql("DELETE FROM market_data.ohlcv_5m WHERE ts = to_timestamp(3600)")
        with psycopg.connect(database_url) as other:
            other.execute(held.encode())
            saved = hasty.save(batch("EURUSD", "XAUUSD", "BTCUSD"), NOW_MS)
        assert {price.symbol for price in saved.updated} == {"XAUUSD", "BTCUSD"}
        assert {symbol: some.cause for symbol, some in saved.rejected.items()} == {
            "EURUSD": RejectionCause.LOCKED
        }
        found = store.load(["EURUSD", "XAUUSD"])
        assert (found["EURUSD"].sync_status, found["EURUSD"].error_message) == ("failed", LOCKED)
        assert found["EURUSD"].rejected_ms is None, "it is due again at once"
        assert (found["XAUUSD"].sync_status, found["XAUUSD"].last_bar_ms) == ("success", 12 * BAR_MS)

    def test_is_waited_for_within_the_bound(self, hasty: Store, database_url: str) -> None:
        from threading import Timer

        with psycopg.connect(database_url) as other:
            other.execute(HELD["its symbol"].encode())
            timer = Timer(0.2, other.rollback)
            timer.start()
            saved = hasty.save(batch("EURUSD", "XAUUSD"), NOW_MS)
            timer.join()
        assert len(saved.updated) == 2
        assert saved.rejected == {}

    def test_is_found_among_many_in_the_time_of_the_bound(
        self, hasty: Store, store: Store, database_url: str
    ) -> None:
        from .conftest import asset

        many = [f"S{number:03}" for number in range(250)]
        register(store, [asset(symbol) for symbol in many])
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM trading.symbols WHERE symbol IN ('S007', 'S200') FOR UPDATE")
            started = time.monotonic()
            saved = hasty.save(batch(*many), NOW_MS)
        assert set(saved.rejected) == {"S007", "S200"}
        assert len(saved.updated) == 248
        assert time.monotonic() - started < 10


class TestATableThatIsLocked:
    def test_is_an_error_of_the_whole_batch(self, hasty: Store, database_url: str) -> None:
        from assetbatch.errors import DatabaseError

        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE trading.symbols IN EXCLUSIVE MODE")
            with pytest.raises(DatabaseError, match="a lock was not free in time"):
                hasty.save(batch("EURUSD", "XAUUSD"), NOW_MS)


class TestATriggerThatLeavesRowsOut:
    @pytest.mark.parametrize(
        ("table", "is_price"),
        [("trading.symbols", True), ("data_sources.data_sync_status", False)],
    )
    def test_makes_the_refresh_a_failure(self, store: Store, sql: Sql, table: str, is_price: bool) -> None:
        sql(SWALLOW.format(table))
        saved = store.save(batch("EURUSD"), NOW_MS)
        rejection = saved.rejected["EURUSD"]
        assert (rejection.cause, rejection.price) == (RejectionCause.SKIPPED, is_price)
        assert table in rejection.error
        found = store.load(["EURUSD"])["EURUSD"]
        assert (found.sync_status, found.rejected_ms) == ("failed", NOW_MS)
        assert (found.fetched_to_ms is None) is is_price

    def test_rejects_the_bars(self, store: Store, sql: Sql) -> None:
        sql(SWALLOW.format("market_data.ohlcv_5m"))
        saved = store.save(batch("EURUSD", "XAUUSD"), NOW_MS)
        assert {symbol: some.bars for symbol, some in saved.rejected.items()} == {"EURUSD": 13, "XAUUSD": 13}
        assert "market_data.ohlcv_5m" in saved.rejected["EURUSD"].error

    def test_of_a_bar_that_is_corrected_rejects_it(self, store: Store, sql: Sql) -> None:
        store.save(batch("EURUSD"), NOW_MS)
        sql(SWALLOW.format("market_data.ohlcv_5m"))
        saved = store.save(batch("EURUSD", at_ms=NOW_MS + BAR_MS), NOW_MS + BAR_MS)
        assert saved.rejected["EURUSD"].bars == 13

    def test_harms_no_other_symbol(self, store: Store, sql: Sql) -> None:
        sql(
            SWALLOW.format("trading.symbols").replace(
                "FOR EACH ROW", "FOR EACH ROW WHEN (NEW.symbol = 'EURUSD')"
            )
        )
        saved = store.save(batch("EURUSD", "XAUUSD"), NOW_MS)
        assert [price.symbol for price in saved.updated] == ["XAUUSD"]
        assert list(saved.rejected) == ["EURUSD"]


@pytest.fixture
def limited(store: Store, database_url: str, sql: Sql) -> Iterator[Store]:
    """A store of a role that owns nothing and may do everything."""
    role = f"role_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'")
    for schema in ("trading", "market_data", "data_sources"):
        sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
    try:
        with Store.open(make_conninfo(database_url, user=role, password="made-up")) as limited:
            yield limited
    finally:
        sql(f"DROP OWNED BY {role}")
        sql(f"DROP ROLE {role}")


class TestRowLevelSecurity:
    def test_that_lets_nobody_update_the_symbols_makes_the_refresh_a_failure(
        self, limited: Store, sql: Sql
    ) -> None:
        sql("ALTER TABLE trading.symbols ENABLE ROW LEVEL SECURITY")
        sql("CREATE POLICY readable ON trading.symbols FOR SELECT USING (true)")
        saved = limited.save(batch("EURUSD"), NOW_MS)
        assert (saved.updated, saved.unknown) == ([], ["EURUSD"])
        assert "row-level policy" in saved.rejected["EURUSD"].error
        found = limited.load(["EURUSD"])["EURUSD"]
        assert (found.sync_status, found.rejected_ms) == ("failed", NOW_MS), (
            "no call is spent on it for a while"
        )

    def test_that_refuses_the_bars_of_one_symbol_costs_that_one(self, limited: Store, sql: Sql) -> None:
        ((refused,),) = sql("SELECT id FROM trading.symbols WHERE symbol = 'EURUSD'")
        sql("ALTER TABLE market_data.ohlcv_5m ENABLE ROW LEVEL SECURITY")
        sql(f"CREATE POLICY but_one ON market_data.ohlcv_5m USING (symbol_id <> {refused})")
        saved = limited.save(batch("EURUSD", "XAUUSD"), NOW_MS)
        assert [price.symbol for price in saved.updated if price.symbol == "XAUUSD"] == ["XAUUSD"]
        assert list(saved.rejected) == ["EURUSD"]


class TestARowThatOthersWrite:
    def test_changes_nothing_of_what_is_known(self, store: Store, sql: Sql) -> None:
        store.save(batch("EURUSD"), NOW_MS)
        before = store.load(["EURUSD"])["EURUSD"]
        sql(
            "UPDATE data_sources.data_sync_status SET sync_status = 'in_progress', error_message = 'theirs',"
            " last_sync_timestamp = now() + interval '6 hours', updated_at = now() - interval '6 hours'"
        )
        after = store.load(["EURUSD"])["EURUSD"]
        assert after.platform_status == "in_progress"
        assert after.last_sync_ms == before.last_sync_ms
        assert (after.sync_status, after.status_at_ms) == (before.sync_status, before.status_at_ms)

    def test_is_written_again_with_the_next_outcome(self, store: Store, sql: Sql) -> None:
        store.save(batch("EURUSD"), NOW_MS)
        sql("UPDATE data_sources.data_sync_status SET sync_status = 'in_progress'")
        store.save(batch("EURUSD", at_ms=NOW_MS + 1), NOW_MS + 1)
        assert sql("SELECT sync_status FROM data_sources.data_sync_status") == [("success",)]

    def test_leaves_it_known_how_new_our_own_price_was(self, store: Store, sql: Sql) -> None:
        store.save(batch("EURUSD"), NOW_MS)
        sql(
            "UPDATE trading.symbols SET metadata ="
            " jsonb_set(metadata, '{last_update,timestamp}', '\"2099-01-01T00:00:00Z\"')"
        )
        found = store.load(["EURUSD"])["EURUSD"]
        assert found.fetched_to_ms == NOW_MS
        assert found.as_of_ms != NOW_MS
