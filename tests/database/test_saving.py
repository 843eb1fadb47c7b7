from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.database import Changes, Outcome, Saved, Store
from assetbatch.domain.models import Bar, Price, RejectionCause
from assetbatch.domain.status import Status
from tests.schema import register

from .conftest import SYMBOLS, Sql, asset, deadlocks, wait_for_a_waiting_lock
from .proxy import Proxy

NOW_MS = 1_760_000_100_000


def price(symbol: str = "EURUSD", at_ms: int = NOW_MS, last: float = 1.5, bid: float | None = None) -> Price:
    return Price(symbol=symbol, last_price=last, bid=bid, as_of_ms=at_ms)


def rows(sql: Sql) -> list[tuple[object, ...]]:
    """All that a batch can change, with the transactions that wrote it."""
    return (
        sql("SELECT xmin, s::text FROM trading.symbols s ORDER BY id")
        + sql("SELECT xmin, d::text FROM data_sources.data_sync_status d ORDER BY ticker_id")
        + sql("SELECT xmin, o::text FROM market_data.ohlcv_5m o ORDER BY symbol_id, ts")
    )


def test_a_refresh_sets_last_update_and_keeps_every_other_key(store: Store, sql: Sql) -> None:
    sql("""UPDATE trading.symbols SET metadata = '{"sector": {"a": [1]}, "last_update": {"old": 1}}'""")
    full = Price(
        symbol="XAUUSD",
        last_price=4012.35,
        as_of_ms=NOW_MS,
        bid=4012.3,
        ask=4012.4,
        daily_open=4000.0,
        daily_high=4020.0,
        daily_low=3990.5,
        daily_close=4012.35,
    )
    saved = store.save(Changes(prices=[full, price("EURUSD")]), NOW_MS)
    assert saved == Saved(updated=[full, price("EURUSD")], unknown=[])
    assert sql("SELECT symbol, metadata FROM trading.symbols ORDER BY symbol") == [
        ("BTCUSD", {"sector": {"a": [1]}, "last_update": {"old": 1}}),
        (
            "EURUSD",
            {
                "sector": {"a": [1]},
                "last_update": {
                    "bid": None,
                    "ask": None,
                    "last_price": 1.5,
                    "daily_open": None,
                    "daily_high": None,
                    "daily_low": None,
                    "daily_close": None,
                    "timestamp": "2025-10-09T08:55:00.000+00:00",
                },
            },
        ),
        (
            "XAUUSD",
            {
                "sector": {"a": [1]},
                "last_update": {
                    "bid": 4012.3,
                    "ask": 4012.4,
                    "last_price": 4012.35,
                    "daily_open": 4000.0,
                    "daily_high": 4020.0,
                    "daily_low": 3990.5,
                    "daily_close": 4012.35,
                    "timestamp": "2025-10-09T08:55:00.000+00:00",
                },
            },
        ),
    ]


def test_updated_at_moves_with_the_row(store: Store, sql: Sql) -> None:
    sql("UPDATE trading.symbols SET updated_at = '2020-01-01'")
    store.save(Changes(prices=[price("EURUSD")]), NOW_MS)
    assert sql("SELECT symbol FROM trading.symbols WHERE updated_at > now() - interval '1 minute'") == [
        ("EURUSD",)
    ]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (None, {}),
        ("null", {}),
        ("[1, 2]", {"previous": [1, 2]}),
        ('"word"', {"previous": "word"}),
        ("7", {"previous": 7}),
    ],
)
def test_metadata_that_is_no_object_becomes_one_and_is_not_lost(
    store: Store, sql: Sql, before: str | None, kept: dict[str, object]
) -> None:
    sql("ALTER TABLE trading.symbols ALTER COLUMN metadata DROP NOT NULL")
    sql("UPDATE trading.symbols SET metadata = %s::jsonb WHERE symbol = 'EURUSD'", before)
    saved = store.save(Changes(prices=[price("EURUSD"), price("XAUUSD")]), NOW_MS)
    assert len(saved.updated) == 2
    ((after,),) = sql("SELECT metadata - 'last_update' FROM trading.symbols WHERE symbol = 'EURUSD'")
    assert after == kept
    assert store.load(["EURUSD"])["EURUSD"].last_price == 1.5


@pytest.mark.parametrize(
    "garbage",
    [
        '{"timestamp": "soon"}',
        '{"timestamp": {"a": 1}}',
        "[]",
        '"x"',
        '{"timestamp": "2025-99-99T00:00:00Z"}',
    ],
)
def test_a_stored_timestamp_that_is_garbage_counts_as_older(store: Store, sql: Sql, garbage: str) -> None:
    sql("UPDATE trading.symbols SET metadata = jsonb_build_object('last_update', %s::jsonb)", garbage)
    assert store.load(SYMBOLS)["EURUSD"].as_of_ms is None
    assert len(store.save(Changes(prices=[price(symbol) for symbol in SYMBOLS]), NOW_MS).updated) == 3


def test_older_prices_never_overwrite_newer_ones(store: Store, sql: Sql) -> None:
    store.save(Changes(prices=[price(at_ms=NOW_MS)]), NOW_MS)
    before = rows(sql)
    assert store.save(Changes(prices=[price(at_ms=NOW_MS - 1, last=9.0)]), NOW_MS).updated == []
    assert rows(sql) == before


def test_the_same_moment_with_another_value_is_written(store: Store) -> None:
    store.save(Changes(prices=[price(last=1.5)]), NOW_MS)
    assert store.save(Changes(prices=[price(last=1.25)]), NOW_MS).updated == [price(last=1.25)]
    assert store.load(["EURUSD"])["EURUSD"].last_price == 1.25


@pytest.mark.parametrize("nothing", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_price_is_not_stored(store: Store, sql: Sql, nothing: float) -> None:
    before = rows(sql)
    assert store.save(Changes(prices=[price(last=nothing)]), NOW_MS) == Saved(updated=[], unknown=[])
    assert rows(sql) == before
    assert store.save(Changes(prices=[price(last=nothing), price(at_ms=NOW_MS - 1)]), NOW_MS).updated


def test_of_several_prices_of_a_symbol_the_newest_counts(store: Store) -> None:
    newest = price(at_ms=NOW_MS + 2, last=3.0)
    batch = Changes(prices=[price(at_ms=NOW_MS), newest, price(at_ms=NOW_MS + 1)])
    assert store.save(batch, NOW_MS).updated == [newest]


def test_the_same_batch_again_changes_nothing(store: Store, sql: Sql) -> None:
    batch = Changes(
        prices=[price(symbol) for symbol in SYMBOLS],
        bars={symbol: [Bar(0, 1.0, 2.0, 1.0, 1.5, 3.5, 1.25, 9)] for symbol in SYMBOLS},
        outcomes=[
            Outcome("EURUSD", Status.SUCCESS),
            Outcome("XAUUSD", Status.FAILED, "timeout"),
            Outcome("BTCUSD", Status.NO_DATA),
        ],
    )
    assert store.save(batch, NOW_MS) == Saved(updated=list(batch.prices), unknown=[], bars_new=3)
    before = rows(sql)
    assert store.save(batch, NOW_MS) == Saved(updated=[], unknown=[])
    assert rows(sql) == before


def test_a_success_moves_the_last_sync_and_clears_the_error(store: Store) -> None:
    store.save(Changes(outcomes=[Outcome("EURUSD", Status.FAILED, "timeout")]), NOW_MS)
    store.save(Changes(outcomes=[Outcome("EURUSD", Status.SUCCESS, "left over")]), NOW_MS + 5)
    stored = store.load(["EURUSD"])["EURUSD"]
    assert (stored.sync_status, stored.error_message) == ("success", None)
    assert (stored.last_sync_ms, stored.status_at_ms) == (NOW_MS + 5, NOW_MS + 5)


def test_a_failure_is_recorded_and_never_moves_the_last_sync(store: Store) -> None:
    store.save(Changes(outcomes=[Outcome("EURUSD", Status.SUCCESS)]), NOW_MS)
    store.save(Changes(outcomes=[Outcome("EURUSD", Status.NOT_ENTITLED, "upgrade your plan")]), NOW_MS + 5)
    stored = store.load(["EURUSD"])["EURUSD"]
    assert (stored.sync_status, stored.error_message) == ("not_entitled", "upgrade your plan")
    assert (stored.last_sync_ms, stored.status_at_ms) == (NOW_MS, NOW_MS + 5)


def test_a_failure_before_any_success_has_no_last_sync(store: Store) -> None:
    store.save(Changes(outcomes=[Outcome("EURUSD", Status.FAILED, "timeout")]), NOW_MS)
    assert store.load(["EURUSD"])["EURUSD"].last_sync_ms is None


def test_the_same_failure_later_moves_the_moment_it_was_learned(store: Store) -> None:
    for at_ms in (NOW_MS, NOW_MS + 60_000):
        store.save(Changes(outcomes=[Outcome("EURUSD", Status.NOT_FOUND, "Ticker not found.")]), at_ms)
    assert store.load(["EURUSD"])["EURUSD"].status_at_ms == NOW_MS + 60_000


def test_error_messages_are_shortened(store: Store) -> None:
    store.save(Changes(outcomes=[Outcome("EURUSD", Status.FAILED, "x" * 10_000)]), NOW_MS)
    message = store.load(["EURUSD"])["EURUSD"].error_message
    assert message == "x" * 499 + "…"


def test_nul_and_lone_surrogates_do_not_abort_the_batch(store: Store) -> None:
    batch = Changes(
        prices=[price("EURUSD"), price("A\x00B"), price("\ud800")],
        bars={"C\x00": [Bar(0, 1.0, 1.0, 1.0, 1.0)]},
        outcomes=[
            Outcome("XAUUSD", Status.FAILED, "a\x00b\ud800c\udcff"),
            Outcome("D\udc00", Status.FAILED, None),
        ],
    )
    saved = store.save(batch, NOW_MS)
    assert saved.updated == [price("EURUSD")]
    assert saved.unknown == ["A\x00B", "\ud800", "C\x00", "D\udc00"]
    assert store.load(["XAUUSD", "\x00", "\ud800"])["XAUUSD"].error_message == "a\ufffdb\ufffdc\ufffd"


def test_symbols_without_a_row_are_reported_and_the_rest_is_saved(store: Store, sql: Sql) -> None:
    batch = Changes(
        prices=[price("NOPE1"), price("EURUSD")],
        bars={"NOPE2": [Bar(0, 1.0, 1.0, 1.0, 1.0)], "EURUSD": [Bar(0, 1.0, 1.0, 1.0, 1.0)]},
        outcomes=[Outcome("NOPE3", Status.SUCCESS), Outcome("EURUSD", Status.SUCCESS)],
    )
    saved = store.save(batch, NOW_MS)
    assert (saved.updated, saved.bars_new) == ([price("EURUSD")], 1)
    assert saved.unknown == list(saved.rejected) == ["NOPE1", "NOPE2", "NOPE3"]
    assert {some.cause for some in saved.rejected.values()} == {RejectionCause.UNREGISTERED}
    assert sql("SELECT count(*) FROM trading.symbols") == [(3,)]


def test_an_empty_batch_is_fine(store: Store) -> None:
    assert store.save(Changes(), NOW_MS) == Saved(updated=[], unknown=[])


def test_what_save_returned_is_visible_to_everybody(store: Store, sql: Sql) -> None:
    saved = store.save(Changes(prices=[price()]), NOW_MS)
    assert saved.updated
    assert sql(
        "SELECT metadata #>> '{last_update,last_price}' FROM trading.symbols WHERE symbol = 'EURUSD'"
    ) == [("1.5",)]


def test_round_trips_do_not_grow_with_the_batch(store: Store, database_url: str) -> None:
    many = [f"S{number:03}" for number in range(250)]
    register(store, [asset(symbol) for symbol in many])

    def turns(symbols: list[str], bars: int) -> int:
        batch = Changes(
            prices=[price(symbol) for symbol in symbols],
            bars={symbol: [Bar(t * 300_000, 1.0, 2.0, 1.0, 1.5) for t in range(bars)] for symbol in symbols},
            outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in symbols],
        )
        with Proxy(database_url) as proxy, Store.open(proxy.url) as through:
            before = proxy.turns
            assert len(through.save(batch, NOW_MS).updated) == len(symbols)
            return proxy.turns - before

    # BEGIN and settings, lock, prices with outcomes, a look, savepoint, COPY and its data, release,
    # the closes of the page, COMMIT.
    assert turns(["EURUSD"], 1) == 10
    # One more: an answer that fills the server's buffer is sent before the client has finished.
    assert turns(many, 20) <= 11


def test_round_trips_of_a_merge_do_not_grow_with_the_batch(store: Store, database_url: str) -> None:
    many = [f"S{number:03}" for number in range(250)]
    register(store, [asset(symbol) for symbol in many])

    def turns(symbols: list[str], bars: int) -> int:
        some = {symbol: [Bar(t * 300_000, 1.0, 2.0, 1.0, 1.5) for t in range(bars)] for symbol in symbols}
        store.save(Changes(bars=some), NOW_MS)
        with Proxy(database_url) as proxy, Store.open(proxy.url) as through:
            before = proxy.turns
            assert through.save(Changes(bars=some), NOW_MS).bars_new == 0
            return proxy.turns - before

    # BEGIN and settings, lock, prices with outcomes, what is there, table, COPY and its data, merge, COMMIT.
    assert turns(["EURUSD"], 1) == 9
    assert turns(many, 20) <= 10


@pytest.fixture
def two(store: Store, database_url: str) -> Iterator[tuple[Store, Store]]:
    with Store.open(database_url) as other:
        yield store, other


def test_two_writers_in_opposite_order_do_not_deadlock(two: tuple[Store, Store], sql: Sql) -> None:
    many = [f"S{number:03}" for number in range(60)]
    register(two[0], [asset(symbol) for symbol in many])
    together = threading.Barrier(2)

    def write(writer: int) -> int:
        symbols = many if writer == 0 else many[::-1]
        together.wait()
        for n in range(15):
            at_ms = NOW_MS + 2 * n + writer
            bars = {symbol: [Bar(0, 1.0, 2.0, 1.0, 1.0 + at_ms % 7 / 8)] for symbol in symbols}
            outcomes = [Outcome(symbol, Status.SUCCESS) for symbol in symbols]
            prices = [price(symbol, at_ms) for symbol in symbols]
            two[writer].save(Changes(prices=prices, bars=bars, outcomes=outcomes), NOW_MS)
        return writer

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, (0, 1))) == [0, 1]
    assert {asset.as_of_ms for asset in two[0].load(many).values()} == {NOW_MS + 29}
    for writer in two:
        writer.close()
    assert deadlocks(sql) == 0


def test_a_newer_price_that_is_just_being_committed_is_not_overwritten(
    store: Store, database_url: str, sql: Sql
) -> None:
    store.save(Changes(prices=[price(at_ms=NOW_MS)]), NOW_MS)
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute(
            "UPDATE trading.symbols SET metadata ="
            """ jsonb_set(metadata, '{last_update,timestamp}', '"2025-10-09T09:00:00Z"')"""
        )
        saving = pool.submit(store.save, Changes(prices=[price(at_ms=NOW_MS + 1)]), NOW_MS)
        wait_for_a_waiting_lock(sql)
        other.commit()
        assert saving.result(10).updated == []
    assert store.load(["EURUSD"])["EURUSD"].as_of_ms == NOW_MS + 300_000


def test_what_is_stored_can_be_read_while_another_thread_waits_to_write(
    store: Store, database_url: str, sql: Sql
) -> None:
    store.save(Changes(prices=[price(at_ms=NOW_MS)]), NOW_MS)
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT FROM trading.symbols FOR UPDATE")
        saving = pool.submit(store.save, Changes(prices=[price(at_ms=NOW_MS + 1)]), NOW_MS)
        wait_for_a_waiting_lock(sql)
        assert store.load(["EURUSD"])["EURUSD"].as_of_ms == NOW_MS
        assert not saving.done()
        other.rollback()
        assert len(saving.result(10).updated) == 1


def test_other_symbols_are_saved_and_read_while_a_thread_waits_to_write(
    store: Store, database_url: str, sql: Sql
) -> None:
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT FROM trading.symbols WHERE symbol = 'EURUSD' FOR UPDATE")
        saving = pool.submit(store.save, Changes(prices=[price("EURUSD")]), NOW_MS)
        wait_for_a_waiting_lock(sql)
        assert [one.symbol for one in store.save(Changes(prices=[price("XAUUSD")]), NOW_MS).updated] == [
            "XAUUSD"
        ]
        assert store.load(["XAUUSD"])["XAUUSD"].as_of_ms is not None
        assert not saving.done()
        other.rollback()
        assert len(saving.result(10).updated) == 1


MOMENTS = st.integers(NOW_MS - 3, NOW_MS + 3)
PRICES = st.builds(price, st.sampled_from(SYMBOLS), MOMENTS, st.sampled_from([1.25, 1.5, 0.0]))


def test_any_sequence_of_batches_ends_with_the_newest_prices(two: tuple[Store, Store], sql: Sql) -> None:
    @given(st.lists(st.tuples(st.booleans(), st.lists(PRICES, max_size=4)), max_size=6))
    def check(batches: list[tuple[bool, list[Price]]]) -> None:
        sql("UPDATE trading.symbols SET metadata = '{}'")
        newest: dict[str, Price] = {}
        for second, prices in batches:
            updated = two[second].save(Changes(prices=prices), NOW_MS).updated
            before = dict(newest)
            for new in sorted((p for p in prices if p.last_price), key=lambda new: new.as_of_ms):
                if new.symbol not in newest or new.as_of_ms >= newest[new.symbol].as_of_ms:
                    newest[new.symbol] = new
            assert {p.symbol: p for p in updated} == {
                symbol: p for symbol, p in newest.items() if before.get(symbol) != p
            }
        stored = two[0].load(SYMBOLS)
        assert {symbol: (p.as_of_ms, p.last_price) for symbol, p in newest.items()} == {
            symbol: (a.as_of_ms, a.last_price) for symbol, a in stored.items() if a.as_of_ms is not None
        }

    check()
