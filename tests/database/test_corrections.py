"""An answer that was asked for before a correction and saved after it never reverts it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, AnsweredBars, Bar, Changes, Outcome, Price, in_order
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


def pages(*answers: tuple[int, int, float]) -> Changes:
    """A batch of pages of two bars each, of the same symbol: the number of the page, when it was asked for,
    and the close."""
    return Changes(
        bars={
            "EURUSD": in_order(
                [
                    Bar(OLD_MS + (2 * page + slot) * BAR_MS, 1.0, 99.0, 0.5, close, 9.0)
                    for page, _, close in answers
                    for slot in range(2)
                ]
            )
        },
        asked_ms={"EURUSD": min(asked_ms for _, asked_ms, _ in answers)},
        answers={
            "EURUSD": [
                AnsweredBars(OLD_MS + 2 * page * BAR_MS, OLD_MS + (2 * page + 1) * BAR_MS, asked_ms)
                for page, asked_ms, _ in answers
            ]
        },
    )


def test_a_page_between_two_that_were_asked_for_later_and_stored_before_is_corrected(
    store: Store, sql: Sql
) -> None:
    """As pages do that are asked for in parallel."""
    store.save(answer(NOW_MS - HOUR_MS, 1.0, slots=6), NOW_MS - HOUR_MS)
    store.save(pages((0, NOW_MS + 1, 2.0), (2, NOW_MS + 2, 2.0)), NOW_MS + SECOND_MS)
    assert store.save(pages((1, NOW_MS, 3.0)), NOW_MS + SECOND_MS).bars_changed == 2
    assert closes(sql) == [2.0, 2.0, 3.0, 3.0, 2.0, 2.0]


def test_a_part_of_a_batch_that_was_asked_for_later_is_taken_beside_one_that_was_not(
    store: Store, sql: Sql
) -> None:
    store.save(pages((0, NOW_MS, 1.0), (1, NOW_MS, 1.0)), NOW_MS)
    store.save(pages((0, NOW_MS + 20, 2.0), (1, NOW_MS + 20, 2.0)), NOW_MS + SECOND_MS)
    store.save(pages((0, NOW_MS + 10, 3.0), (1, NOW_MS + 30, 3.0)), NOW_MS + SECOND_MS)
    assert closes(sql) == [2.0, 2.0, 3.0, 3.0]


@given(st.permutations(range(6)), st.lists(st.integers(1, 3), min_size=6, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_whatever_batches_and_order_pages_are_stored_the_latest_answer_of_each_is_kept(
    store: Store, sql: Sql, order: list[int], sizes: list[int]
) -> None:
    """Three pages are asked for twice."""
    sql("TRUNCATE market_data.ohlcv_5m, data_sources.assetbatch_answers")
    came = [(number % 3, NOW_MS + number, float(number + 1)) for number in order]
    for size in sizes:
        if batch := sorted(came[:size], key=lambda one: one[1]):
            store.save(pages(*batch), NOW_MS + SECOND_MS)
        came = came[size:]
    assert closes(sql) == [4.0, 4.0, 5.0, 5.0, 6.0, 6.0]


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


def test_of_five_minutes_of_asking_the_newest_answers_are_kept(store: Store, sql: Sql) -> None:
    for number in range(20):
        store.save(pages((0, NOW_MS + number, 1.0), (1, NOW_MS + number, 1.0)), NOW_MS + SECOND_MS)
    assert sql("SELECT max(jsonb_array_length(answers)) FROM data_sources.assetbatch_answers") == [(16,)]


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
