"""Each failure says what, where and what to do, ends in time and keeps the password to itself."""

from __future__ import annotations

import socket
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from assetbatch.database import Changes, Outcome, Saved, Store
from assetbatch.domain.models import BAR_MS, Bar, CoveredInterval, IntervalState, Price, RejectionCause
from assetbatch.domain.status import Status
from assetbatch.errors import (
    AssetbatchError,
    ConfigError,
    DatabaseError,
    SchemaMissingError,
    SchemaRefusedError,
)
from tests.schema import migrate, register

from .conftest import SYMBOLS, Sql, deadlocks, wait_for_a_waiting_lock
from .proxy import Proxy

NOW_MS = 1_760_000_100_000
PASSWORD = "marked-pass-word-8472"
BATCH = Changes(
    prices=[Price(symbol=symbol, last_price=1.5, as_of_ms=NOW_MS) for symbol in SYMBOLS],
    bars={"EURUSD": [Bar(0, 1.0, 1.0, 1.0, 1.0)]},
    coverage={"EURUSD": [CoveredInterval(0, BAR_MS, IntervalState.ASKED)]},
    outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in SYMBOLS],
)


def said(error: BaseException) -> str:
    """All that a log could show of an error: its words, its causes, its attributes, the frames' locals."""
    parts = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    chain: BaseException | None = error
    while chain is not None:
        parts += f"{chain!s} {chain!r} {vars(chain)!r}"
        chain = chain.__cause__ or chain.__context__
    return parts


@pytest.fixture
def stranger(database_url: str, sql: Sql) -> Iterator[str]:
    """The URL of a role without any privilege and with the marked password."""
    role = f"stranger_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    yield make_conninfo(database_url, user=role, password=PASSWORD)
    sql(f"DROP OWNED BY {role}")
    sql(f"DROP ROLE {role}")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def chatty() -> Iterator[int]:
    """The port of a server that asks for a password and repeats it in its refusal."""
    message = f"SFATAL\x00CXX000\x00Mno {PASSWORD} today\x00\x00".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(1024)
                    client.sendall(b"R\x00\x00\x00\x08\x00\x00\x00\x03")
                    client.recv(1024)
                    client.sendall(b"E" + (len(message) + 4).to_bytes(4, "big") + message)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def refused(url: str, **options: float) -> AssetbatchError:
    with pytest.raises(AssetbatchError) as caught:
        Store.open(url, **options)  # type: ignore[arg-type] # all of them are floats
    assert PASSWORD not in said(caught.value)
    return caught.value


def test_nobody_listens() -> None:
    error = refused(f"postgresql://me:{PASSWORD}@127.0.0.1:{closed_port()}/prices")
    assert isinstance(error, DatabaseError)
    assert "connecting at prices on 127.0.0.1:" in error.message
    assert "nothing listens there" in error.message
    assert "DB_HOST" in (error.hint or "")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "too-long-" * 8 + "x"])
def test_the_host_is_unknown(host: str) -> None:
    error = refused(f"postgresql://me:{PASSWORD}@{host}/prices")
    assert f"prices on {host} as me: the host name is unknown" in error.message


def test_there_is_no_such_socket() -> None:
    assert "nothing listens there" in refused(f"postgresql://me:{PASSWORD}@/prices?host=/nonexistent").message


def test_the_servers_own_words_are_shown_without_the_password(chatty: int) -> None:
    error = refused(
        f"postgresql://me:{PASSWORD}@127.0.0.1:{chatty}/prices?sslmode=disable&gssencmode=disable"
    )
    assert "no *** today" in error.message


def test_the_server_does_not_answer(silent: int) -> None:
    started = time.monotonic()
    error = refused(f"postgresql://me:{PASSWORD}@127.0.0.1:{silent}/prices", connect_seconds=2.0)
    assert "the server did not answer in time" in error.message
    assert time.monotonic() - started < 5


def test_the_database_does_not_exist(database_url: str) -> None:
    error = refused(make_conninfo(database_url, dbname="no_such_database", password=PASSWORD))
    assert isinstance(error, DatabaseError)
    assert "there is no such database" in error.message
    assert not error.is_login_refused
    assert "DB_NAME" in (error.hint or "")


def test_the_user_does_not_exist(database_url: str) -> None:
    error = refused(make_conninfo(database_url, user="no_such_user", password=PASSWORD))
    assert "the server refuses the login" in error.message
    assert isinstance(error, DatabaseError)
    assert error.is_login_refused
    assert "DB_USER, DB_PASSWORD" in (error.hint or "")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@x@host:5432/prices",
        f"postgresql://me:{PASSWORD}/x@host:5432/prices",
        f"postgresql://me:x/{PASSWORD}@host:5432/prices",
        f"postgresql://me:x@{PASSWORD}@host:5432/prices",
        f"postgresql://me:x@:{PASSWORD}@host:5432/prices",
        f"postgresql://me:x@,{PASSWORD}@host:5432/prices",
        f"postgresql://me:x@?{PASSWORD}@host:5432/prices",
        f"postgresql://me:%zz{PASSWORD}@host/prices",
        f"postgresql://me:{PASSWORD}@host:port/prices",
        f"host=localhost password='{PASSWORD}",
        f"me:{PASSWORD}@host",
        f"postgresql://me:\udcff{PASSWORD}@host/prices",
        f"mysql://me:{PASSWORD}@host/prices",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    error = refused(url)
    assert isinstance(error, ConfigError)
    assert "percent-encoded" in (error.hint or "")


def test_tables_are_missing(database_url: str) -> None:
    error = refused(make_conninfo(database_url, password=PASSWORD))
    assert isinstance(error, SchemaMissingError)


def test_init_without_the_privilege_to_create(stranger: str) -> None:
    with Store.open(stranger, check_schema=False) as store, pytest.raises(SchemaRefusedError) as caught:
        migrate(store)
    assert "schema trading is not there" in caught.value.message
    assert "run as the owner of the database: CREATE SCHEMA trading" in caught.value.message
    assert PASSWORD not in said(caught.value)


def test_reading_without_the_privilege(store: Store, stranger: str) -> None:
    error = refused(stranger)
    assert "permission denied" in error.message


def test_a_role_needs_no_more_than_reading_and_writing_the_tables(
    store: Store, stranger: str, sql: Sql
) -> None:
    role = psycopg.conninfo.conninfo_to_dict(stranger)["user"]
    sql(f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role}")
    sql(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA trading, market_data, data_sources TO {role}")
    sql(f"GRANT DELETE ON data_sources.assetbatch_spans TO {role}")
    apart = [CoveredInterval(slot * BAR_MS, (slot + 1) * BAR_MS, IntervalState.ASKED) for slot in (0, 2)]
    with Store.open(stranger) as limited:
        assert migrate(limited).steps == []
        register(limited, [])
        assert len(limited.save(BATCH, NOW_MS).updated) == 3
        limited.save(Changes(coverage={"XAUUSD": apart}), NOW_MS)
        limited.save(
            Changes(coverage={"XAUUSD": [CoveredInterval(0, 3 * BAR_MS, IntervalState.ASKED)]}), NOW_MS
        )
        assert len(limited.load(SYMBOLS)) == 3
        assert limited.gaps({"EURUSD": (0, 3 * BAR_MS)}) == {"EURUSD": [(BAR_MS, 3 * BAR_MS)]}


def test_a_read_only_database(store: Store, database_url: str, sql: Sql) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with Store.open(make_conninfo(database_url, password=PASSWORD)) as limited:
        assert len(limited.load(SYMBOLS)) == 3
        with pytest.raises(DatabaseError, match="the database is read-only") as caught:
            limited.save(BATCH, NOW_MS)
    assert "primary" in (caught.value.hint or "")
    assert PASSWORD not in said(caught.value)


def test_a_statement_that_takes_too_long_is_ended_by_the_server(
    store: Store, database_url: str, sql: Sql
) -> None:
    sql(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$;"
        "CREATE TRIGGER dawdle BEFORE UPDATE ON trading.symbols FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    started = time.monotonic()
    with (
        Store.open(database_url, within_seconds=0.3) as hasty,
        pytest.raises(DatabaseError, match="a statement was cancelled before its end"),
    ):
        hasty.save(BATCH, NOW_MS)
    assert time.monotonic() - started < 5
    assert store.load(["EURUSD"])["EURUSD"].last_sync_ms is None, "nothing of the batch was kept"


def test_a_lock_that_is_not_free_is_not_waited_for_longer_than_allowed(
    store: Store, database_url: str, sql: Sql
) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM trading.symbols FOR UPDATE")
        started = time.monotonic()
        with Store.open(database_url, lock_seconds=0.2) as hasty:
            saved = hasty.save(BATCH, NOW_MS)
        assert {some.cause for some in saved.rejected.values()} == {RejectionCause.LOCKED}
        assert time.monotonic() - started < 5


def test_a_lock_is_named_where_the_command_has_no_more_time_than_for_it(
    store: Store, database_url: str
) -> None:
    with (
        Store.open(database_url, seconds_left=lambda: 1.5 + 1) as hasty,  # as `status --check` has
        psycopg.connect(database_url) as other,
    ):
        other.execute("LOCK TABLE trading.symbols")
        with pytest.raises(DatabaseError, match="a lock was not free in time"):
            hasty.load(["EURUSD"])


def test_a_deadlock_with_a_foreign_writer_is_survived(store: Store, database_url: str, sql: Sql) -> None:
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        # The server ends the one that notices: we do, after its second.
        other.execute("SET deadlock_timeout = '30s'")
        other.execute("SELECT FROM trading.symbols WHERE id = 3 FOR UPDATE")
        saving = pool.submit(store.save, BATCH, NOW_MS)
        wait_for_a_waiting_lock(sql)
        other.execute("SELECT FROM trading.symbols WHERE id = 1 FOR UPDATE")
        other.commit()
        assert saving.result(10) == Saved(updated=list(BATCH.prices), unknown=[], bars_new=1)
    store.close()
    assert deadlocks(sql) == 1


def test_a_session_that_the_server_ended_is_opened_again(store: Store, sql: Sql) -> None:
    store.load(SYMBOLS)
    sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'assetbatch'")
    assert len(store.save(BATCH, NOW_MS).updated) == 3


def test_a_session_that_ends_in_the_middle_is_opened_again(store: Store, database_url: str, sql: Sql) -> None:
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT FROM trading.symbols FOR UPDATE")
        saving = pool.submit(store.save, BATCH, NOW_MS)
        wait_for_a_waiting_lock(sql)
        sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        other.rollback()
        assert len(saving.result(10).updated) == 3


@pytest.mark.parametrize("moment", [b"COMMIT\x00", b"trades) FROM STDIN", b"jsonb_to_recordset"])
def test_prices_are_reported_for_publishing_whenever_the_connection_is_lost(
    store: Store, database_url: str, sql: Sql, moment: bytes
) -> None:
    with Proxy(database_url) as proxy, Store.open(proxy.url) as through:
        proxy.cut_at = moment
        assert through.save(BATCH, NOW_MS).updated == list(BATCH.prices)
        assert proxy.cuts == 1
        assert through.save(BATCH, NOW_MS).updated == []
    stored = store.load(["EURUSD"])["EURUSD"]
    assert (stored.last_bar_ms, list(stored.coverage)) == (0, BATCH.coverage["EURUSD"])


def test_a_server_that_stays_away_is_given_up(store: Store, database_url: str) -> None:
    with Proxy(database_url) as proxy:
        through = Store.open(make_conninfo(proxy.url, password=PASSWORD), within_seconds=3)
        proxy.cut_at = b"jsonb_to_recordset"
        proxy.close()
        with pytest.raises(DatabaseError, match=r"saving a batch at .*: nothing listens there") as caught:
            through.save(BATCH, NOW_MS)
        through.close()
    assert PASSWORD not in said(caught.value)


def test_a_store_shows_no_password(database_url: str) -> None:
    with Store.open(make_conninfo(database_url, password=PASSWORD), check_schema=False) as store:
        session = store._session
        for thing in (store, session, session._target):
            assert PASSWORD not in repr(thing) + repr(vars(thing))


def test_an_interruption_leaves_a_store_that_can_be_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assetbatch.database import bars

    class Stopped(BaseException):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(bars, "save", stop)
        with pytest.raises(Stopped):
            store.save(BATCH, NOW_MS)
    assert store.load(["EURUSD"])["EURUSD"].as_of_ms is None, "rolled back"
    assert len(store.save(BATCH, NOW_MS).updated) == 3
