"""The store through a real PgBouncer in transaction mode, with fewer connections than clients."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from assetbatch.database import Store
from assetbatch.domain.models import BAR_MS, Bar, Changes, CoveredInterval, IntervalState, Outcome, Price
from assetbatch.domain.status import Status
from tests.schema import migrate

from .conftest import SYMBOLS, on_both_tables

pytestmark = on_both_tables

NOW_MS = 1_760_000_100_000
POOL_SIZE = 2


@pytest.fixture
def bouncer(store: Store, database_url: str, tmp_path: Path) -> Iterator[str]:
    """A URL that leads through PgBouncer to a database with our tables."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    given = conninfo_to_dict(database_url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    users = tmp_path / "users.txt"
    users.write_text(f'"{given["user"]}" "{given.get("password", "")}"\n')
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"""[databases]
* = host={given["host"]} port={given.get("port", 5432)} user={given["user"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
ignore_startup_parameters = extra_float_digits
"""
    )
    # It refuses to run as root; in a user namespace it is somebody else who may still use root's sockets.
    become = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([*become, program, str(config)], stdout=log, stderr=log)
    try:
        url = f"postgresql://{given['user']}@127.0.0.1:{port}/{given['dbname']}"
        until = time.monotonic() + 10
        while True:
            try:
                psycopg.connect(url, connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > until:
                    pytest.skip(
                        f"pgbouncer does not start here: {(tmp_path / 'pgbouncer.log').read_text()[-300:]}"
                    )
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def batch(number: int) -> Changes:
    bars = [Bar(slot * BAR_MS, 1.0, 2.0 + number, 1.0, 1.5) for slot in range(300)]
    return Changes(
        prices=[Price(symbol=symbol, last_price=1.0 + number, as_of_ms=1000 + number) for symbol in SYMBOLS],
        bars=dict.fromkeys(SYMBOLS, bars),
        coverage={
            symbol: [CoveredInterval(0, 300 * BAR_MS, IntervalState.ASKED, NOW_MS)] for symbol in SYMBOLS
        },
        outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in SYMBOLS],
    )


def test_everything_works_as_without_it(bouncer: str) -> None:
    with Store.open(bouncer) as through:  # which checks the schema
        assert set(through.save(batch(0), NOW_MS).updated[0].__struct_fields__) >= {"symbol", "last_price"}
        assert through.save(batch(0), NOW_MS).updated == []
        corrected = through.save(batch(1), NOW_MS)
        assert {price.symbol for price in corrected.updated} == set(SYMBOLS)
        loaded = through.load(SYMBOLS)
        assert {asset.last_price for asset in loaded.values()} == {2.0}
        assert through.gaps({SYMBOLS[0]: (0, 310 * BAR_MS)}) == {SYMBOLS[0]: [(300 * BAR_MS, 310 * BAR_MS)]}
        assert len(through.closes(SYMBOLS)) == len(SYMBOLS)
        assert through.facts().missing_rights == ()
        assert migrate(through).steps == []


def test_no_setting_is_left_behind_on_a_connection_that_others_get(bouncer: str) -> None:
    """JIT, timeouts and temporary tables belong to our transaction, not to the server's session."""
    asked = (
        "SELECT current_setting('jit'), current_setting('statement_timeout'), current_setting('lock_timeout')"
    )
    with psycopg.connect(bouncer, autocommit=True) as other:
        before = other.execute(asked).fetchone()
    with Store.open(bouncer) as through:
        for number in range(5):
            through.save(batch(number), NOW_MS)
    for _ in range(2 * POOL_SIZE):
        with psycopg.connect(bouncer, autocommit=True) as other:
            assert other.execute(asked).fetchone() == before
            temporary = "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
            assert other.execute(temporary).fetchone() == (0,)


def test_more_writers_than_connections_take_turns(bouncer: str) -> None:
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with Store.open(bouncer) as through:
                for _ in range(5):
                    through.save(batch(number), NOW_MS)
        except BaseException as error:  # noqa: BLE001 - told by the test below
            failed.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4 * POOL_SIZE)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failed == []
    with Store.open(bouncer) as through:
        assert {asset.last_price for asset in through.load(SYMBOLS).values()} == {4.0 * POOL_SIZE}
