"""`init` and saving on servers that are not in UTF-8."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.resources import files
from urllib.parse import urlsplit

import psycopg
import pytest

from assetbatch.database import Store
from assetbatch.database.text import storable
from assetbatch.domain.models import Changes, Outcome, Price
from assetbatch.domain.status import Status
from assetbatch.errors import DatabaseError
from tests.schema import migrate, register

from .conftest import asset

NOW_MS = 1_760_000_100_000
NAME = "Ευρώ €uro Ärger Доллар 円 힣"

ENCODINGS = {
    "SQL_ASCII": NAME,
    "LATIN1": "???? ?uro Ärger ?????? ? ?",
    "WIN1251": "???? €uro ?rger Доллар ? ?",
    "EUC_JP": "Ευρώ ?uro Ärger Доллар 円 ?",
    "EUC_KR": "???? ?uro ?rger ?????? ? ?",  # Python's codec has more than the server's
    "MULE_INTERNAL": "???? ?uro ?rger ?????? ? ?",
}

PYTHON = {"SQL_ASCII": "utf-8", "LATIN1": "latin-1", "WIN1251": "cp1251", "EUC_JP": "euc_jp"}


@pytest.fixture
def encoded_url(postgres_url: str, encoding: str) -> Iterator[str]:
    """A database in an encoding."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0".encode()
        )
    try:
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_init_and_a_save_work_on_a_server_in_any_encoding(encoded_url: str, encoding: str) -> None:
    with Store.open(encoded_url, check_schema=False) as store:
        migrate(store)
        register(store, [asset("EURUSD", NAME), asset("XAUUSD")])
        batch = Changes(
            prices=[Price(symbol=symbol, last_price=1.5, as_of_ms=NOW_MS) for symbol in ("EURUSD", "XAUUSD")],
            outcomes=[
                Outcome("EURUSD", Status.FAILED, f"said {NAME} " + "x" * 999),
                Outcome("XAUUSD", Status.SUCCESS),
            ],
        )
        saved = store.save(batch, NOW_MS)
        assert ({one.symbol for one in saved.updated}, saved.rejected) == ({"EURUSD", "XAUUSD"}, {})
        said = store.load(["EURUSD", "円"])["EURUSD"].error_message or ""
        assert said.startswith(f"said {ENCODINGS[encoding]} ")
        names = store._session.run(
            "reading", lambda c, _: c.execute("SELECT name FROM trading.symbols").fetchall()
        )
    assert (ENCODINGS[encoding],) in names


@pytest.mark.parametrize("encoding", ["LATIN1"])
def test_a_symbol_that_the_encoding_cannot_hold_is_an_error_in_words(encoded_url: str, encoding: str) -> None:
    with Store.open(encoded_url, check_schema=False) as store:
        migrate(store)
        with pytest.raises(DatabaseError, match="encoding LATIN1 cannot hold the symbol 円USD"):
            register(store, [asset("円USD")])
        saved = store.save(Changes(prices=[Price(symbol="円USD", last_price=1.5, as_of_ms=NOW_MS)]), NOW_MS)
        assert saved.unknown == ["円USD"]


@pytest.mark.parametrize("encoding", ["SQL_ASCII"])
def test_foreign_bytes_that_are_no_utf8_are_read(encoded_url: str, encoding: str) -> None:
    with Store.open(encoded_url, check_schema=False) as store:
        migrate(store)
        register(store, [asset("EURUSD")])
        with psycopg.connect(encoded_url, client_encoding="SQL_ASCII", autocommit=True) as other:
            other.execute(
                "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id, sync_status)"
                " SELECT s.id, p.id, convert_from('\\xfc626572', 'SQL_ASCII')"
                " FROM trading.symbols s, data_sources.api_providers p"
            )
        assert store.load(["EURUSD"])["EURUSD"].platform_status == "\ufffdber"


def test_sql_files_are_ascii() -> None:
    folder = files("assetbatch.database").joinpath("sql")
    paths = [*folder.iterdir(), *folder.joinpath("migrations").iterdir()]
    texts = {path.name: path.read_bytes() for path in paths if path.name.endswith(".sql")}
    assert len(texts) > 10
    assert [name for name, text in texts.items() if not text.isascii()] == []


@pytest.mark.parametrize("encoding", [None, "UTF8", "SQL_ASCII"])
def test_only_what_no_statement_takes_is_replaced_in_utf8(encoding: str | None) -> None:
    assert storable("a\x00Ω\ud800", encoding) == "a\ufffdΩ\ufffd"
