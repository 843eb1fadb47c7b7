"""Where bars are missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, Bar, Changes

from .conftest import SYMBOLS, Sql, on_both_tables
from .proxy import Proxy

pytestmark = on_both_tables

NOW_MS = 1_760_000_100_000
SLOTS = 12


def save(store: Store, bars: dict[str, set[int]]) -> None:
    """Bars by the numbers of their slots."""
    batch = {
        symbol: [Bar(slot * BAR_MS, 1.0, 1.0, 1.0, 1.0) for slot in slots] for symbol, slots in bars.items()
    }
    store.save(Changes(bars=batch), NOW_MS)


def gaps(store: Store, ranges: dict[str, tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Ranges and gaps in numbers of slots."""
    asked = {symbol: (start * BAR_MS, end * BAR_MS) for symbol, (start, end) in ranges.items()}
    found = store.gaps(asked)
    assert all(at_ms % BAR_MS == 0 for some in found.values() for gap in some for at_ms in gap)
    return {
        symbol: [(start // BAR_MS, end // BAR_MS) for start, end in some] for symbol, some in found.items()
    }


def test_gaps_lie_before_between_and_after_the_bars(store: Store) -> None:
    save(store, {"EURUSD": {2, 3, 6}})
    assert gaps(store, {"EURUSD": (0, 9)}) == {"EURUSD": [(0, 2), (4, 6), (7, 9)]}


def test_a_range_without_bars_is_one_gap(store: Store) -> None:
    assert gaps(store, {"EURUSD": (0, 9)}) == {"EURUSD": [(0, 9)]}


def test_a_symbol_without_a_gap_is_absent(store: Store) -> None:
    save(store, {"EURUSD": {2, 3, 4}})
    assert gaps(store, {"EURUSD": (2, 5), "XAUUSD": (3, 3)}) == {}


def test_bars_outside_the_range_do_not_count(store: Store) -> None:
    save(store, {"EURUSD": {1, 5}, "XAUUSD": {3}})
    assert gaps(store, {"EURUSD": (2, 5)}) == {"EURUSD": [(2, 5)]}


def test_symbols_that_are_not_registered_are_absent(store: Store) -> None:
    assert gaps(store, {"NOPE": (0, 3), "N\x00PE": (0, 3), "BTCUSD": (0, 3)}) == {"BTCUSD": [(0, 3)]}
    assert gaps(store, {}) == {}


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_infinite_moments_of_others_do_no_harm(store: Store, sql: Sql, moment: str) -> None:
    sql(
        "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
        f" SELECT id, '{moment}', 1, 1, 1, 1 FROM trading.symbols"
    )
    assert gaps(store, {"EURUSD": (0, 3)}) == {"EURUSD": [(0, 3)]}


def test_a_bar_that_another_program_stored_within_a_slot_fills_it(store: Store, sql: Sql) -> None:
    sql(
        "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
        " SELECT id, to_timestamp(ts), 1, 1, 1, 1 FROM trading.symbols, unnest(ARRAY[361, 400, 599.9]) ts"
    )
    assert gaps(store, {"EURUSD": (0, 3)}) == {"EURUSD": [(0, 1), (2, 3)]}


def test_any_bars_leave_the_gaps_that_a_plain_look_at_each_slot_finds(store: Store, sql: Sql) -> None:
    slots = st.integers(0, SLOTS)

    @given(
        st.dictionaries(st.sampled_from(SYMBOLS), st.sets(slots)),
        st.dictionaries(
            st.sampled_from(SYMBOLS), st.tuples(slots, slots).map(lambda two: tuple(sorted(two)))
        ),
    )
    def check(bars: dict[str, set[int]], ranges: dict[str, tuple[int, int]]) -> None:
        sql("TRUNCATE market_data.ohlcv_5m")
        save(store, bars)
        expected: dict[str, list[tuple[int, int]]] = {}
        for symbol, (start, end) in ranges.items():
            found: list[tuple[int, int]] = []
            for slot in range(start, end):
                if slot in bars.get(symbol, set()):
                    continue
                if found and found[-1][1] == slot:
                    found[-1] = (found[-1][0], slot + 1)
                else:
                    found.append((slot, slot + 1))
            if found:
                expected[symbol] = found
        assert gaps(store, ranges) == expected

    check()


def test_it_is_one_query_for_any_number_of_symbols(store: Store, database_url: str) -> None:
    with Proxy(database_url) as proxy, Store.open(proxy.url) as through:
        for symbols in (SYMBOLS[:1], SYMBOLS):
            before = proxy.turns
            assert len(through.gaps(dict.fromkeys(symbols, (0, BAR_MS)))) == len(symbols)
            assert proxy.turns - before == 3, "BEGIN and settings, the query, COMMIT"
