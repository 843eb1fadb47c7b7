"""The closes that a page draws: the newest day of stored bars, thinned."""

from __future__ import annotations

import pytest

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, Bar, Changes

from .conftest import on_both_tables

pytestmark = on_both_tables

NOW_MS = 1_760_000_100_000


def save(store: Store, symbol: str, slots: range) -> None:
    bars = [Bar(slot * BAR_MS, 1.0, 9_999.0, 1.0, float(1 + slot)) for slot in slots]
    store.save(Changes(bars={symbol: bars}), NOW_MS)


def test_are_those_of_the_newest_day_of_bars_however_old(store: Store) -> None:
    save(store, "EURUSD", range(1000))
    found = store.closes(["EURUSD"], points=288)["EURUSD"]
    assert found == [(slot * BAR_MS, 1.0 + slot) for slot in range(712, 1000)]


@pytest.mark.parametrize(("points", "kept"), [(96, 96), (48, 48), (100, 96), (1, 1), (1000, 288)])
def test_are_thinned_to_at_most_so_many_and_end_with_the_newest(store: Store, points: int, kept: int) -> None:
    save(store, "EURUSD", range(1000))
    found = store.closes(["EURUSD"], points=points)["EURUSD"]
    assert len(found) == kept <= points
    assert found[-1] == (999 * BAR_MS, 1000.0)
    assert found == sorted(found)


def test_symbols_without_bars_are_absent(store: Store) -> None:
    save(store, "EURUSD", range(2))
    assert store.closes(["EURUSD", "XAUUSD", "NOPE", "N\x00PE"]) == {"EURUSD": [(BAR_MS, 2.0)]}
    assert store.closes([]) == {}
