"""The ledger of bars in the database: written with the bars, read with the rest, whole after any race."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.database import Store
from assetbatch.domain.coverage import record
from assetbatch.domain.models import BAR_MS, Bar, Changes, CoveredInterval, IntervalState, Outcome, Price
from assetbatch.domain.status import Status
from tests.schema import register

from .conftest import SYMBOLS, Sql, asset, deadlocks, wait_for_a_waiting_lock
from .proxy import Proxy

NOW_MS = 1_760_000_100_000
ASKED, REQUESTED, FAILED, NOT_IN_PLAN, REJECTED, NOT_WANTED, AGAIN = IntervalState


def span(
    start: int, end: int, state: IntervalState, asked: int | None = None, error: str | None = None
) -> CoveredInterval:
    """A span between two numbers of slots."""
    return CoveredInterval(start * BAR_MS, end * BAR_MS, state, asked, error)


def rows(sql: Sql) -> list[tuple[object, ...]]:
    """All rows and the transactions that wrote them."""
    return sql("SELECT xmin::text, p.* FROM data_sources.assetbatch_spans p ORDER BY symbol_id, start_ts")


class TestSaving:
    def test_the_ledger_comes_back_as_it_was_given(self, store: Store) -> None:
        ledger = (
            span(-3, 2, NOT_IN_PLAN, NOW_MS - 7),
            span(2, 5, ASKED, NOW_MS - 1),
            span(5, 6, FAILED, NOW_MS, "status 500"),
            span(9, 12, REQUESTED),
        )
        store.save(Changes(coverage={"EURUSD": ledger, "BTCUSD": ledger[1:2]}), NOW_MS)
        stored = store.load(SYMBOLS)
        assert stored["EURUSD"].coverage == ledger
        assert stored["BTCUSD"].coverage == ledger[1:2]
        assert stored["XAUUSD"].coverage == ()

    def test_news_are_recorded_over_what_is_known(self, store: Store) -> None:
        store.save(
            Changes(coverage={"EURUSD": [span(0, 9, REQUESTED), span(3, 4, FAILED, 1, "timeout")]}), NOW_MS
        )
        store.save(Changes(coverage={"EURUSD": [span(2, 6, ASKED, 2), span(0, 8, FAILED, 3)]}), NOW_MS)
        assert store.load(["EURUSD"])["EURUSD"].coverage == (
            span(0, 2, FAILED, 3),
            span(2, 6, ASKED, 2),
            span(6, 8, FAILED, 3),
            span(8, 9, REQUESTED),
        )

    def test_in_steady_state_a_symbol_has_one_row_that_grows_in_place(self, store: Store, sql: Sql) -> None:
        for n in range(1, 20):
            store.save(Changes(coverage={"EURUSD": [span(n - 1, n, ASKED, n)]}), NOW_MS)
        assert store.load(["EURUSD"])["EURUSD"].coverage == (span(0, 19, ASKED, 1),)
        assert sql("SELECT count(*) FROM data_sources.assetbatch_spans") == [(1,)]

    def test_the_same_batch_again_writes_nothing(self, store: Store, sql: Sql) -> None:
        spans = [span(0, 9, ASKED, 5), span(9, 12, FAILED, 5, "timeout"), span(12, 30, REQUESTED)]
        batch = Changes(coverage=dict.fromkeys(SYMBOLS, spans))
        store.save(batch, NOW_MS)
        before = rows(sql)
        store.save(batch, NOW_MS + 60_000)
        assert rows(sql) == before

    def test_asking_again_for_what_was_asked_writes_nothing(self, store: Store, sql: Sql) -> None:
        store.save(Changes(coverage={"EURUSD": [span(0, 9, ASKED, 5)]}), NOW_MS)
        before = rows(sql)
        store.save(Changes(coverage={"EURUSD": [span(2, 9, ASKED, 6), span(0, 4, REQUESTED)]}), NOW_MS)
        assert rows(sql) == before

    def test_rows_that_do_not_change_are_not_written(self, store: Store, sql: Sql) -> None:
        store.save(Changes(coverage={"EURUSD": [span(0, 3, ASKED, 5), span(6, 9, REQUESTED)]}), NOW_MS)
        before = rows(sql)
        store.save(Changes(coverage={"EURUSD": [span(7, 9, FAILED, 6)]}), NOW_MS)
        assert rows(sql)[0] == before[0]
        assert rows(sql)[1] != before[1]

    def test_a_bar_that_is_refused_is_a_hole_with_that_reason(self, store: Store) -> None:
        impossible = Bar(2 * BAR_MS, 1.0, 2.0, 3.0, 1.0)
        bars = [Bar(BAR_MS, 1.0, 2.0, 1.0, 1.0), impossible, Bar(3 * BAR_MS, 1.0, 2.0, 1.0, 1.0)]
        batch = Changes(bars={"EURUSD": bars}, coverage={"EURUSD": [span(0, 9, ASKED, 5)]})
        store.save(batch, NOW_MS)
        before, refused, after = store.load(["EURUSD"])["EURUSD"].coverage
        assert [before, after] == [span(0, 2, ASKED, 5), span(3, 9, ASKED, 5)]
        assert (refused.start_ms, refused.end_ms) == (2 * BAR_MS, 3 * BAR_MS)
        assert refused.state is REJECTED
        assert "ohlcv_5m_prices_check" in (refused.error or "")

    def test_symbols_without_a_row_are_reported_and_the_rest_is_saved(self, store: Store) -> None:
        spans = [span(0, 9, ASKED, 5)]
        saved = store.save(Changes(coverage={"NOPE": spans, "N\x00PE": spans, "EURUSD": spans}), NOW_MS)
        assert saved.unknown == ["NOPE", "N\x00PE"]
        assert store.load(["EURUSD"])["EURUSD"].coverage == tuple(spans)

    def test_error_messages_are_made_storable_and_short(self, store: Store, sql: Sql) -> None:
        batch = Changes(
            coverage={"EURUSD": [span(0, 9, FAILED, 5, "a\x00\ud800b"), span(9, 12, FAILED, 5, "x" * 999)]}
        )
        store.save(batch, NOW_MS)
        nul, long = store.load(["EURUSD"])["EURUSD"].coverage
        assert nul.error == "a\ufffd\ufffdb"
        assert long.error == "x" * 199 + "…"
        before = rows(sql)
        store.save(batch, NOW_MS)
        assert rows(sql) == before

    def test_rows_of_symbols_that_the_platform_deleted_do_no_harm(self, store: Store, sql: Sql) -> None:
        store.save(Changes(coverage={symbol: [span(0, 9, ASKED, 5)] for symbol in SYMBOLS}), NOW_MS)
        sql("DELETE FROM trading.symbols WHERE symbol = 'EURUSD'")
        assert set(store.load(SYMBOLS)) == {"XAUUSD", "BTCUSD"}
        register(store, [asset("EURUSD")])
        assert store.load(["EURUSD"])["EURUSD"].coverage == ()
        store.save(Changes(coverage={"EURUSD": [span(3, 4, REQUESTED)]}), NOW_MS)
        assert store.load(["EURUSD"])["EURUSD"].coverage == (span(3, 4, REQUESTED),)

    @pytest.mark.parametrize(
        "row",
        [
            "to_timestamp(300), to_timestamp(300), 'asked', NULL",
            "to_timestamp(300), 'infinity', 'asked', NULL",
            "'-infinity', to_timestamp(300), 'asked', NULL",
            "to_timestamp(300), to_timestamp(600), 'forgotten', NULL",
            "to_timestamp(300), to_timestamp(600), NULL, NULL",
            "to_timestamp(300), to_timestamp(600), 'asked', 'infinity'",
        ],
    )
    def test_the_table_refuses_rows_that_cannot_be(self, store: Store, sql: Sql, row: str) -> None:
        with pytest.raises(psycopg.IntegrityError):
            sql(
                "INSERT INTO data_sources.assetbatch_spans (symbol_id, start_ts, end_ts, state, asked_at)"
                f" SELECT id, {row} FROM trading.symbols"
            )


class TestRoundTrips:
    def batch(self, symbols: list[str], spans: int) -> Changes:
        ledger = [span(2 * n, 2 * n + 1, ASKED, 1) for n in range(spans)]
        return Changes(
            prices=[Price(symbol=symbol, last_price=1.5, as_of_ms=NOW_MS) for symbol in symbols],
            outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in symbols],
            coverage={symbol: ledger for symbol in symbols if ledger},
        )

    def turns(self, url: str, batch: Changes) -> int:
        with Proxy(url) as proxy, Store.open(proxy.url) as through:
            before = proxy.turns
            through.save(batch, NOW_MS)
            return proxy.turns - before

    def test_do_not_grow_with_the_batch(self, store: Store, database_url: str) -> None:
        many = [f"S{number:03}" for number in range(250)]
        register(store, [asset(symbol) for symbol in many])
        # BEGIN and settings, lock, prices with outcomes and ledgers, spans, COMMIT.
        assert self.turns(database_url, self.batch(many[:1], 1)) == 5
        assert self.turns(database_url, self.batch(many, 20)) == 5

    def test_a_batch_without_spans_or_with_nothing_new_takes_one_less(
        self, store: Store, database_url: str
    ) -> None:
        assert self.turns(database_url, self.batch(["EURUSD"], 0)) == 4
        store.save(self.batch(["EURUSD"], 3), NOW_MS)
        assert self.turns(database_url, self.batch(["EURUSD"], 3)) == 4


class TestTwoWriters:
    def test_a_ledger_that_is_just_being_committed_is_built_upon(
        self, store: Store, database_url: str, sql: Sql
    ) -> None:
        with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
            other.execute("SELECT id FROM trading.symbols FOR NO KEY UPDATE")
            saving = pool.submit(store.save, Changes(coverage={"EURUSD": [span(0, 9, REQUESTED)]}), NOW_MS)
            wait_for_a_waiting_lock(sql)
            other.execute(
                "INSERT INTO data_sources.assetbatch_spans (symbol_id, start_ts, end_ts, state)"
                " SELECT id, to_timestamp(0), to_timestamp(1500), 'asked' FROM trading.symbols"
                " WHERE symbol = 'EURUSD'"
            )
            other.commit()
            saving.result(10)
        assert store.load(["EURUSD"])["EURUSD"].coverage == (span(0, 5, ASKED), span(5, 9, REQUESTED))

    def test_of_the_same_symbols_at_once_lose_nothing(
        self, store: Store, database_url: str, sql: Sql
    ) -> None:
        many = [f"S{number:03}" for number in range(30)]
        register(store, [asset(symbol) for symbol in many])
        together = threading.Barrier(2)

        def write(writer: int) -> None:
            symbols = many if writer == 0 else many[::-1]
            with Store.open(database_url) as mine:
                together.wait()
                for n in range(20):
                    slot = 2 * n + writer
                    news = [
                        span(0, 60, REQUESTED),
                        span(slot, slot + 1, ASKED, 1),
                        span(slot, slot + 5, FAILED, 1),
                    ]
                    mine.save(Changes(coverage=dict.fromkeys(symbols, news)), NOW_MS)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, (0, 1)))
        expected = (span(0, 40, ASKED, 1), span(40, 44, FAILED, 1), span(44, 60, REQUESTED))
        assert {symbol: found.coverage for symbol, found in store.load(many).items()} == dict.fromkeys(
            many, expected
        )
        store.close()
        assert deadlocks(sql) == 0


@st.composite
def some_spans(draw: st.DrawFn) -> CoveredInterval:
    start, end = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted))
    state = draw(st.sampled_from(IntervalState))
    return span(start, end, state, draw(st.none() | st.integers(1, 3)), "e" if state is FAILED else None)


def test_any_sequence_of_batches_ends_in_the_ledger_of_all_its_news(store: Store, sql: Sql) -> None:
    @given(
        st.lists(st.dictionaries(st.sampled_from(SYMBOLS), st.lists(some_spans(), max_size=4)), max_size=6)
    )
    def check(batches: list[dict[str, list[CoveredInterval]]]) -> None:
        sql("TRUNCATE data_sources.assetbatch_spans")
        expected: dict[str, list[CoveredInterval]] = {symbol: [] for symbol in SYMBOLS}
        for spans in batches:
            store.save(Changes(coverage=spans), NOW_MS)
            for symbol, news in spans.items():
                expected[symbol] = record(expected[symbol], news)
        assert {symbol: list(found.coverage) for symbol, found in store.load(SYMBOLS).items()} == expected

    check()


def test_what_is_known_since_a_moment_comes_in_one_document(store: Store) -> None:
    hour = 12 * BAR_MS
    store.save(
        Changes(
            coverage={
                "EURUSD": [
                    CoveredInterval(0, hour, IntervalState.ASKED, 1),
                    CoveredInterval(2 * hour, 3 * hour, IntervalState.FAILED, 1, "no"),
                    CoveredInterval(3 * hour, 5 * hour, IntervalState.ASKED, 1),
                ],
                "XAUUSD": [CoveredInterval(0, hour, IntervalState.ASKED, 1)],
            }
        ),
        NOW_MS,
    )
    assert store.recent_coverage(["EURUSD", "XAUUSD", "BTCUSD", "NOPE", "N\x00PE"], 2 * hour) == {
        "EURUSD": [
            (2 * hour, 3 * hour, IntervalState.FAILED),
            (3 * hour, 5 * hour, IntervalState.ASKED),
        ]
    }
    assert store.recent_coverage([], 0) == {}
