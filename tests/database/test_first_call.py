"""The record that calls are made: where there is one, a server without a log of them is not trusted."""

from __future__ import annotations

import threading

import pytest

from assetbatch.database import Store
from assetbatch.errors import DatabaseError, RedisError
from tests.database.conftest import Sql, wait_for_a_waiting_lock
from tests.schema import migrate


def test_of_a_new_installation_trusts_first_and_is_there_from_then_on(store: Store) -> None:
    trusted: list[str] = []
    assert store.first_call(lambda: trusted.append("first"))
    assert not store.first_call(lambda: trusted.append("second"))
    assert trusted == ["first"]


def test_is_not_made_where_trust_could_not_be_given(store: Store) -> None:
    def fail() -> None:
        raise RedisError("redis cannot be reached")

    with pytest.raises(RedisError):
        store.first_call(fail)
    assert store.first_call(lambda: None)


def test_lets_another_process_wait_until_trust_is_given(store: Store, database_url: str, sql: Sql) -> None:
    """Else the other would find the record and no trust, and stop all calls for a window."""
    order: list[str] = []
    others: list[threading.Thread] = []

    def other() -> None:
        with Store.open(database_url) as another:
            assert not another.first_call(lambda: None)
            order.append("other")

    def trust() -> None:
        others.append(threading.Thread(target=other))
        others[0].start()
        wait_for_a_waiting_lock(sql)
        order.append("trust")

    assert store.first_call(trust)
    others[0].join()
    assert order == ["trust", "other"]


def test_is_made_before_a_call_on_a_trusted_server_too(store: Store, sql: Sql) -> None:
    store.record_call()
    store.record_call()
    assert sql("SELECT count(*) FROM data_sources.assetbatch_calls") == [(1,)]
    assert not store.first_call(lambda: None)


def test_is_known_to_a_process_that_comes_later_without_a_statement_of_its_own(
    store: Store, database_url: str, sql: Sql
) -> None:
    store.record_call()
    with Store.open(database_url) as later:
        sql("TRUNCATE data_sources.assetbatch_calls")
        later.record_call()
    assert sql("SELECT count(*) FROM data_sources.assetbatch_calls") == [(0,)]


def test_is_not_tried_on_a_database_that_takes_no_writes(store: Store, sql: Sql, database_url: str) -> None:
    ((name,),) = sql("SELECT current_database()")
    sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with Store.open(database_url) as later, pytest.raises(DatabaseError, match="read-only"):
        later.first_call(lambda: None)


@pytest.mark.parametrize(
    ("before", "recorded"),
    [
        pytest.param("", 0, id="a new installation"),
        pytest.param(
            "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id, sync_status) "
            "SELECT s.id, p.id, 'failed' FROM trading.symbols s, data_sources.api_providers p LIMIT 1",
            1,
            id="outcomes of an older version or another program",
        ),
        pytest.param(
            "INSERT INTO data_sources.assetbatch_spans (symbol_id, start_ts, end_ts, state, asked_at) "
            "SELECT id, now() - interval '1 day', now(), 'asked', now() FROM trading.symbols LIMIT 1",
            1,
            id="bars that were asked for",
        ),
    ],
)
def test_of_an_upgraded_installation_follows_from_what_is_stored(
    store: Store, database_url: str, sql: Sql, before: str, recorded: int
) -> None:
    sql("DROP TABLE data_sources.assetbatch_calls")
    sql("DROP TABLE data_sources.assetbatch_sync, data_sources.assetbatch_names")
    sql("DROP TABLE data_sources.assetbatch_answers")
    sql("DELETE FROM data_sources.assetbatch_migrations WHERE version >= 3")
    if before:
        sql(before)
    with Store.open(database_url, check_schema=False) as upgraded:
        migrate(upgraded)
    assert sql("SELECT count(*) FROM data_sources.assetbatch_calls") == [(recorded,)]
