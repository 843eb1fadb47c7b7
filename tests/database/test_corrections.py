"""An answer that was asked for before a correction and saved after it never reverts it."""

from __future__ import annotations

import pytest

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, Bar, Changes, Outcome, Price
from assetbatch.domain.status import Status

from .conftest import Sql

NOW_MS = 1_760_000_100_000
OLD_MS = NOW_MS - NOW_MS % BAR_MS - 100 * BAR_MS
SECOND_MS = 1000
HOUR_MS = 3_600_000


def answer(
    asked_ms: int, close: float, *, at_ms: int = OLD_MS, volume: float = 9.0, slots: int = 3
) -> Changes:
    bars = [Bar(at_ms + slot * BAR_MS, 1.0, 5.0, 0.5, close, volume) for slot in range(slots)]
    return Changes(bars={"EURUSD": bars}, asked_ms={"EURUSD": asked_ms})


def closes(sql: Sql) -> list[float]:
    return [close for (close,) in sql("SELECT close FROM market_data.ohlcv_5m ORDER BY ts")]


@pytest.mark.parametrize("age", [1, 100], ids=["young", "settled"])
@pytest.mark.parametrize("later_ms", [SECOND_MS, 10 * 60 * SECOND_MS, 3 * HOUR_MS])
def test_bars_of_an_older_answer_change_nothing(store: Store, sql: Sql, age: int, later_ms: int) -> None:
    at_ms = NOW_MS - NOW_MS % BAR_MS - (age + 3) * BAR_MS
    store.save(answer(NOW_MS - HOUR_MS, 1.0, at_ms=at_ms, volume=8.0), NOW_MS - HOUR_MS)
    asked_ms = NOW_MS
    store.save(answer(asked_ms + later_ms, 2.0, at_ms=at_ms, volume=9.0), asked_ms + later_ms + SECOND_MS)
    late = store.save(answer(asked_ms, 3.0, at_ms=at_ms, volume=11.0), asked_ms + later_ms + 2 * SECOND_MS)
    assert (late.bars_new, late.bars_changed) == (0, 0)
    assert closes(sql) == [2.0] * 3


def test_bars_beside_what_was_answered_later_are_stored_and_corrected(store: Store, sql: Sql) -> None:
    store.save(answer(NOW_MS - HOUR_MS, 1.0, slots=2), NOW_MS)
    store.save(answer(NOW_MS + SECOND_MS, 2.0, at_ms=OLD_MS + BAR_MS, slots=1), NOW_MS + SECOND_MS)
    saved = store.save(answer(NOW_MS, 3.0), NOW_MS + 2 * SECOND_MS)
    assert (saved.bars_new, saved.bars_changed) == (1, 1)
    assert closes(sql) == [3.0, 2.0, 3.0]


def test_a_correction_that_was_asked_for_later_is_taken(store: Store, sql: Sql) -> None:
    for number in range(1, 4):
        store.save(answer(NOW_MS + number * SECOND_MS, float(number)), NOW_MS + number * SECOND_MS)
    assert closes(sql) == [3.0] * 3


def test_an_answer_dated_ahead_of_the_servers_clock_keeps_nothing_out(store: Store, sql: Sql) -> None:
    """The clock was set back since: what is asked for now is newer."""
    ((server_ms,),) = sql("SELECT (extract(epoch FROM now()) * 1000)::int8")
    at_ms = server_ms - server_ms % BAR_MS - 100 * BAR_MS
    store.save(answer(server_ms + HOUR_MS, 1.0, at_ms=at_ms), server_ms + HOUR_MS)
    assert store.save(answer(server_ms, 2.0, at_ms=at_ms), server_ms).bars_changed == 3


def test_another_symbols_answer_keeps_nothing_out(store: Store, sql: Sql) -> None:
    store.save(answer(NOW_MS - HOUR_MS, 1.0), NOW_MS)
    other = Changes(bars={"XAUUSD": answer(0, 2.0).bars["EURUSD"]}, asked_ms={"XAUUSD": NOW_MS + SECOND_MS})
    store.save(other, NOW_MS + SECOND_MS)
    assert store.save(answer(NOW_MS, 3.0), NOW_MS + 2 * SECOND_MS).bars_changed == 3


def test_a_symbol_keeps_a_bounded_number_of_answers(store: Store, sql: Sql) -> None:
    for number in range(60):
        asked_ms = NOW_MS + number * BAR_MS
        store.save(answer(asked_ms, 1.0, slots=1), asked_ms)
    assert sql("SELECT count(*) <= 48 FROM data_sources.assetbatch_answers") == [(True,)]


def price(value: float, asked_ms: int) -> Changes:
    return Changes(
        prices=[Price(symbol="EURUSD", last_price=value, as_of_ms=OLD_MS)],
        outcomes=[Outcome("EURUSD", Status.SUCCESS)],
        asked_ms={"EURUSD": asked_ms},
    )


def test_a_price_of_the_same_moment_that_was_asked_for_earlier_changes_nothing(store: Store) -> None:
    store.save(price(1.0, NOW_MS - HOUR_MS), NOW_MS - HOUR_MS)
    store.save(price(2.0, NOW_MS + SECOND_MS), NOW_MS + SECOND_MS)
    assert store.save(price(3.0, NOW_MS), NOW_MS + 2 * SECOND_MS).updated == []
    assert store.load(["EURUSD"])["EURUSD"].last_price == 2.0


def test_a_price_of_the_same_moment_that_was_asked_for_later_is_taken(store: Store) -> None:
    store.save(price(1.0, NOW_MS), NOW_MS + SECOND_MS)
    store.save(price(2.0, NOW_MS + 2 * SECOND_MS), NOW_MS + 3 * SECOND_MS)
    assert store.load(["EURUSD"])["EURUSD"].last_price == 2.0


def test_a_price_asked_for_earlier_reverts_nothing_where_postgresql_is_behind_redis(
    store: Store, sql: Sql
) -> None:
    """The moments are Redis' own: two minutes ahead of PostgreSQL's clock here."""
    ((server_ms,),) = sql("SELECT (extract(epoch FROM now()) * 1000)::int8")
    redis_ms = server_ms + 120 * SECOND_MS
    later, earlier = redis_ms, redis_ms - 10 * SECOND_MS
    store.save(price(1.5, later), later)
    assert store.save(price(9.9, earlier), redis_ms + SECOND_MS).updated == []
    assert store.load(["EURUSD"])["EURUSD"].last_price == 1.5
