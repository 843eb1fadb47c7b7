"""A value that PostgreSQL refuses costs only its own symbol."""

from __future__ import annotations

import psycopg
import pytest

from assetbatch.database import Store
from assetbatch.database.session import Session
from assetbatch.domain.due import assess
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    Changes,
    CoveredInterval,
    IntervalState,
    Outcome,
    Price,
    StoredAsset,
)
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work
from assetbatch.errors import DatabaseError
from tests.schema import register

from .conftest import SYMBOLS, Sql, asset

NOW_MS = 1_760_000_100_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
FIRST_MS = NOW_MS - NOW_MS % BAR_MS - 100 * BAR_MS

CASES = {
    "numeric": ("ALTER TABLE market_data.ohlcv_5m ALTER close TYPE numeric(10,5)", "close", "123456.5"),
    "check": (
        "ALTER TABLE market_data.ohlcv_5m ADD CONSTRAINT small CHECK (close < 100000)",
        "close",
        "123456.5",
    ),
    "deferred": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF NEW.close > 100000 THEN RAISE EXCEPTION 'close too large'; END IF; RETURN NULL; END$$;"
        "CREATE CONSTRAINT TRIGGER no AFTER INSERT OR UPDATE ON market_data.ohlcv_5m"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()",
        "close",
        "123456.5",
    ),
    "trigger": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF NEW.close > 100000 THEN RAISE EXCEPTION 'close too large' USING ERRCODE = 'Q0001';"
        " END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER no BEFORE INSERT OR UPDATE ON market_data.ohlcv_5m"
        " FOR EACH ROW EXECUTE FUNCTION no()",
        "close",
        "123456.5",
    ),
    "domain": (
        "CREATE DOMAIN small AS float8 CHECK (VALUE < 100000);"
        "ALTER TABLE market_data.ohlcv_5m ALTER close TYPE small",
        "close",
        "123456.5",
    ),
}


@pytest.fixture
def transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each transaction of the store was for, in order."""
    done: list[str] = []
    run = Session.run

    def counted(self, doing, *args, **options):  # type: ignore[no-untyped-def]
        done.append(doing)
        return run(self, doing, *args, **options)

    monkeypatch.setattr(Session, "run", counted)
    return done


def price(symbol: str, last: float = 1.5) -> Price:
    return Price(symbol=symbol, last_price=last, as_of_ms=NOW_MS)


def bar(slot: int, value: float = 1.5) -> Bar:
    return Bar(FIRST_MS + slot * BAR_MS, value, value, value, value, 5.0)


def page(bars_of: dict[str, list[Bar]]) -> Changes:
    """What a cycle saves after an answer with bars for each symbol."""
    return Changes(
        prices=[price(symbol, bars[-1].close) for symbol, bars in bars_of.items()],
        bars=bars_of,
        coverage={
            symbol: [CoveredInterval(bars[0].t_ms, bars[-1].end_ms, IntervalState.ASKED, NOW_MS)]
            for symbol, bars in bars_of.items()
        },
        outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in bars_of],
        from_bars=frozenset(bars_of),
    )


def starts(sql: Sql, symbol: str) -> list[int]:
    return [
        t_ms
        for (t_ms,) in sql(
            "SELECT (extract(epoch FROM ts) * 1000)::int8 FROM market_data.ohlcv_5m"
            " JOIN trading.symbols ON id = symbol_id WHERE symbol = %s ORDER BY ts",
            symbol,
        )
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_refused_value_costs_only_its_own_symbol(store: Store, sql: Sql, case: str) -> None:
    ddl, column, value = CASES[case]
    sql(ddl)
    batch = page({"EURUSD": [bar(0)], "BTCUSD": [bar(0, 123456.5)], "XAUUSD": [bar(0)]})
    saved = store.save(batch, NOW_MS)
    assert {one.symbol for one in saved.updated} == {"EURUSD", "XAUUSD"}
    assert saved.rejected.keys() == {"BTCUSD"}
    found = store.load(SYMBOLS)
    assert [found[symbol].sync_status for symbol in SYMBOLS] == ["success", "success", "failed"]
    assert column in (found["BTCUSD"].error_message or "")
    assert value in (found["BTCUSD"].error_message or "")
    assert (found["BTCUSD"].last_price, found["BTCUSD"].last_bar_ms) == (None, None)
    assert [span.state for span in found["BTCUSD"].coverage] == [IntervalState.REJECTED]
    assert starts(sql, "EURUSD") == starts(sql, "XAUUSD") == [FIRST_MS]


def test_one_bad_symbol_of_many_costs_a_few_transactions(
    store: Store, sql: Sql, transactions: list[str]
) -> None:
    symbols = [f"S{number:03}" for number in range(256)]
    register(store, [asset(symbol) for symbol in symbols])
    sql("ALTER TABLE trading.symbols ADD CHECK (symbol <> 'S137' OR metadata = '{}')")
    transactions.clear()
    saved = store.save(Changes(prices=[price(symbol) for symbol in symbols]), NOW_MS)
    assert len(saved.updated) == 255
    assert list(saved.rejected) == ["S137"]
    assert len(transactions) <= 2 * 8 + 4


def test_a_good_batch_is_one_transaction(store: Store, transactions: list[str]) -> None:
    store.save(page({symbol: [bar(0), bar(1)] for symbol in SYMBOLS}), NOW_MS)
    assert transactions == ["saving a batch"]


def test_a_price_that_is_refused_fails_its_symbol_and_leaves_its_bars(store: Store, sql: Sql) -> None:
    sql(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " IF NEW.symbol = 'BTCUSD' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END$$"
    )
    sql("CREATE TRIGGER no BEFORE UPDATE ON trading.symbols FOR EACH ROW EXECUTE FUNCTION no()")
    saved = store.save(page({"BTCUSD": [bar(0), bar(1)], "EURUSD": [bar(0)]}), NOW_MS)
    assert [one.symbol for one in saved.updated] == ["EURUSD"]
    assert saved.rejected["BTCUSD"].price
    assert starts(sql, "BTCUSD") == [FIRST_MS, FIRST_MS + BAR_MS]
    found = store.load(["BTCUSD"])["BTCUSD"]
    assert (found.sync_status, found.error_message, found.rejected_ms) == ("failed", "not this one", NOW_MS)
    assert [span.state for span in found.coverage] == [IntervalState.ASKED]


def test_an_outcome_that_is_refused_leaves_a_rejection(store: Store, sql: Sql) -> None:
    (btc,) = sql("SELECT id FROM trading.symbols WHERE symbol = 'BTCUSD'")
    sql(f"ALTER TABLE data_sources.data_sync_status ADD CHECK (ticker_id <> {btc[0]})")
    saved = store.save(page({"BTCUSD": [bar(0)], "EURUSD": [bar(0)]}), NOW_MS)
    assert [one.symbol for one in saved.updated] == ["EURUSD"]
    found = store.load(["BTCUSD"])["BTCUSD"]
    assert (found.sync_status, found.rejected_ms) == ("failed", NOW_MS)


def test_of_many_bars_the_good_ones_are_stored(store: Store, sql: Sql) -> None:
    sql("ALTER TABLE market_data.ohlcv_5m ADD CONSTRAINT small CHECK (close < 100)")
    bars = [bar(slot, 200.0 if slot == 37 else 50.0) for slot in range(100)]
    saved = store.save(page({"BTCUSD": bars, "EURUSD": [bar(0)]}), NOW_MS)
    assert saved.rejected["BTCUSD"].bars == 1
    assert starts(sql, "BTCUSD") == [one.t_ms for one in bars if one.close == 50.0]
    found = store.load(["BTCUSD"])["BTCUSD"]
    refused = [span for span in found.coverage if span.state is IntervalState.REJECTED]
    assert [(span.start_ms, span.end_ms) for span in refused] == [(bars[37].t_ms, bars[37].end_ms)]
    assert found.last_price == 50.0  # its own bar is stored


def test_bars_that_are_refused_all_alike_cost_a_bounded_number_of_transactions(
    store: Store, sql: Sql, transactions: list[str]
) -> None:
    sql("ALTER TABLE market_data.ohlcv_5m ADD CONSTRAINT small CHECK (close < 100)")
    bars = [bar(slot, 200.0) for slot in range(1000)]
    transactions.clear()
    saved = store.save(page({"BTCUSD": bars}), NOW_MS)
    assert saved.rejected["BTCUSD"].bars == 1000
    assert len(transactions) < 80


@pytest.mark.parametrize(
    ("type_name", "value"), [("numeric(10,4)", 8.4e-6), ("numeric(8,0)", 0.4), ("real", 1e-46)]
)
def test_what_a_column_would_round_to_0_is_refused(
    store: Store, sql: Sql, type_name: str, value: float
) -> None:
    for column in ("open", "high", "low", "close"):
        sql(f"ALTER TABLE market_data.ohlcv_5m ALTER {column} TYPE {type_name}")
    saved = store.save(page({"BTCUSD": [bar(0, value)], "EURUSD": [bar(0)]}), NOW_MS)
    assert starts(sql, "BTCUSD") == []
    assert saved.rejected["BTCUSD"].bars == 1
    assert f"would round {value!r} to 0" in saved.rejected["BTCUSD"].error
    assert starts(sql, "EURUSD") == [FIRST_MS]


def test_a_volume_of_nearly_0_is_no_reason_to_lose_the_bar(store: Store, sql: Sql) -> None:
    sql("ALTER TABLE market_data.ohlcv_5m ALTER volume TYPE numeric(10,4)")
    saved = store.save(Changes(bars={"BTCUSD": [Bar(FIRST_MS, 1.0, 1.0, 1.0, 1.0, 1e-9)]}), NOW_MS)
    assert (saved.bars_new, saved.rejected) == (1, {})


def test_a_column_that_takes_no_null_refuses_only_bars_without_the_value(store: Store, sql: Sql) -> None:
    sql("ALTER TABLE market_data.ohlcv_5m ALTER vwap SET NOT NULL")
    bars = [Bar(FIRST_MS, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), Bar(FIRST_MS + BAR_MS, 1.0, 1.0, 1.0, 1.0)]
    saved = store.save(page({"BTCUSD": bars}), NOW_MS)
    assert starts(sql, "BTCUSD") == [FIRST_MS]
    assert "vwap (double precision) takes no NULL" in saved.rejected["BTCUSD"].error


@pytest.mark.parametrize(
    "partitions",
    [
        "PARTITION BY RANGE (ts);"
        "CREATE TABLE market_data.p PARTITION OF market_data.ohlcv_5m FOR VALUES FROM ('{}') TO (MAXVALUE)",
        "PARTITION BY LIST ((ts < '{}'));"
        "CREATE TABLE market_data.p PARTITION OF market_data.ohlcv_5m FOR VALUES IN (false)",
    ],
    ids=["range", "expression"],
)
def test_bars_without_a_partition_are_holes_and_the_others_are_stored(
    store: Store, sql: Sql, partitions: str
) -> None:
    (first,) = sql("SELECT to_timestamp(%s)::text", (FIRST_MS + 3 * BAR_MS) / 1000)
    columns = "symbol_id bigint, ts timestamptz, " + ", ".join(
        f"{name} float8" for name in ("open", "high", "low", "close", "volume", "vwap")
    )
    sql("DROP TABLE market_data.ohlcv_5m")
    sql(f"CREATE TABLE market_data.ohlcv_5m ({columns}, trades bigint) " + partitions.format(first[0]))
    if "RANGE" in partitions:
        sql("CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, ts)")
    else:
        sql("CREATE UNIQUE INDEX ON market_data.p (symbol_id, ts)")
    saved = store.save(page({"EURUSD": [bar(slot) for slot in range(6)], "XAUUSD": [bar(5)]}), NOW_MS)
    assert starts(sql, "EURUSD") == [FIRST_MS + slot * BAR_MS for slot in (3, 4, 5)]
    assert not saved.rejected["EURUSD"].failed
    found = store.load(["EURUSD"])["EURUSD"]
    assert (found.sync_status, found.last_price) == ("success", 1.5)
    rejected = [span for span in found.coverage if span.state is IntervalState.REJECTED]
    assert [(span.start_ms, span.end_ms) for span in rejected] == [(FIRST_MS, FIRST_MS + 3 * BAR_MS)]
    assert "has no partition" in (rejected[0].error or "")


def test_a_policy_that_refuses_a_row_costs_only_its_symbol(store: Store, sql: Sql, database_url: str) -> None:
    sql("DROP ROLE IF EXISTS refused_by_policy")
    sql("CREATE ROLE refused_by_policy LOGIN PASSWORD 'made-up'")
    for schema in ("trading", "market_data", "data_sources"):
        sql(f"GRANT USAGE ON SCHEMA {schema} TO refused_by_policy")
        sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO refused_by_policy")
    (btc,) = sql("SELECT id FROM trading.symbols WHERE symbol = 'BTCUSD'")
    sql("ALTER TABLE market_data.ohlcv_5m ENABLE ROW LEVEL SECURITY")
    sql(f"CREATE POLICY ours ON market_data.ohlcv_5m USING (true) WITH CHECK (symbol_id <> {btc[0]})")
    url = psycopg.conninfo.make_conninfo(database_url, user="refused_by_policy", password="made-up")
    try:
        with Store.open(url) as limited:
            saved = limited.save(page({"BTCUSD": [bar(0)], "EURUSD": [bar(0)]}), NOW_MS)
            assert (list(saved.rejected), [one.symbol for one in saved.updated]) == (["BTCUSD"], ["EURUSD"])
            sql("REVOKE INSERT ON market_data.ohlcv_5m FROM refused_by_policy")
            with pytest.raises(DatabaseError, match="permission denied"):
                limited.save(page({"EURUSD": [bar(1)]}), NOW_MS)
    finally:
        sql("DROP OWNED BY refused_by_policy")
        sql("DROP ROLE refused_by_policy")


def test_a_statement_that_is_wrong_is_nobodys_rejection(store: Store, sql: Sql) -> None:
    sql("ALTER TABLE market_data.ohlcv_5m DROP COLUMN vwap")
    with pytest.raises(DatabaseError, match="a column is missing"):
        store.save(page({"EURUSD": [bar(0)]}), NOW_MS)
    assert store.load(["EURUSD"])["EURUSD"].rejected_ms is None


def refused(store: Store, at_ms: int) -> StoredAsset:
    """BTCUSD after its bar was refused at a moment."""
    batch = page({"BTCUSD": [bar(0, 200.0)]})
    store.save(batch, at_ms)
    return store.load(["BTCUSD"])["BTCUSD"]


class TestAskedAgain:
    """Calls for what is refused are not repeated at every start."""

    @pytest.fixture
    def narrow(self, store: Store, sql: Sql) -> Store:
        sql("ALTER TABLE market_data.ohlcv_5m ADD CONSTRAINT small CHECK (close < 100)")
        return store

    def due(self, stored: StoredAsset, now_ms: int) -> bool:
        from assetbatch.domain.entitlements import Entitlements

        return assess(Work(asset("BTCUSD")), stored, Entitlements(end_of_day=False), now_ms).due

    def test_after_an_hour_and_then_after_doubling_pauses(self, narrow: Store) -> None:
        stored = refused(narrow, NOW_MS)
        assert not self.due(stored, NOW_MS + 59 * MINUTE_MS)
        assert self.due(stored, NOW_MS + 60 * MINUTE_MS)
        stored = refused(narrow, NOW_MS + 3 * HOUR_MS)
        assert stored.rejected_since_ms == NOW_MS
        assert not self.due(stored, NOW_MS + 3 * HOUR_MS + 179 * MINUTE_MS)
        assert self.due(stored, NOW_MS + 6 * HOUR_MS)

    def test_at_once_after_init(self, narrow: Store) -> None:
        refused(narrow, NOW_MS)
        narrow.forget_rejections()
        stored = narrow.load(["BTCUSD"])["BTCUSD"]
        assert self.due(stored, NOW_MS + MINUTE_MS)
        assert [span.state for span in stored.coverage] == [IntervalState.REQUESTED]

    def test_a_success_ends_it(self, narrow: Store) -> None:
        refused(narrow, NOW_MS)
        narrow.save(page({"BTCUSD": [bar(1)]}), NOW_MS + MINUTE_MS)
        assert narrow.load(["BTCUSD"])["BTCUSD"].rejected_ms is None
        stored = refused(narrow, NOW_MS + HOUR_MS)
        assert stored.rejected_since_ms == NOW_MS + HOUR_MS
