"""`doctor` on real servers: what is said, what to do, and the exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from assetbatch.deadline import Deadline
from assetbatch.doctor import examine
from assetbatch.domain.queueing import CallKind
from assetbatch.state.process_id import new_id
from assetbatch.state.window import Grant
from tests.commands.conftest import MakeWorld
from tests.own_redis import OwnServer, own_server
from tests.world import KEY, World

from .test_commands import MARK, run

__all__ = ["own_server"]

NOWHERE = "redis://127.0.0.1:1/0"


def examined(world: World, *arguments: str, **env: str) -> tuple[int, dict[str, Any]]:
    done = run(world, "doctor", "--json", *arguments, **env)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def errors(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f["check"], f["message"]) for f in document["findings"] if f["level"] == "error"]


def said(document: dict[str, Any], check: str) -> str:
    return " | ".join(f["message"] for f in document["findings"] if f["check"] == check)


CHECKS = ["config", "redis", "postgresql", "locks", "vendor", "plan", "window", "queue", "cron"]


def test_goes_through_everything_in_its_order(free: World) -> None:
    for command in ("run-priority", "enqueue-secondary", "run-queue"):
        run(free, command)
    code, document = examined(free)
    assert code == 0, document
    assert list(dict.fromkeys(f["check"] for f in document["findings"])) == CHECKS
    assert errors(document) == []
    assert said(document, "vendor").startswith("answers, and takes the API key")
    assert "every right it needs" in said(document, "postgresql")
    assert "run-queue started" in said(document, "cron")


def test_says_to_install_the_crontab_again_where_an_interval_has_changed(free: World, tmp_path: Path) -> None:
    free.config()
    file = free.folder / "config.yml"
    crontab = tmp_path / "crontab"
    crontab.write_text(f"#!/bin/sh\necho '*/7 * * * * assetbatch --config {file} run-priority'\n")
    crontab.chmod(0o755)
    found = said(examined(free, "--no-call", PATH=f"{tmp_path}:{os.environ['PATH']}")[1], "cron")
    assert "the crontab starts run-priority at */7 * * * *, the configuration asks for */5 * * * *" in found


def test_says_in_words_what_the_plan_lacks(free: World) -> None:
    free.know_that_today_is_refused()
    assert "your plan has no forex data of the running day" in said(examined(free)[1], "plan")


def test_asks_the_provider_once_through_the_limiter(free: World) -> None:
    before = len(free.provider.arrivals)
    examined(free)
    assert len(free.provider.arrivals) == before + 1
    with free.services() as services:
        assert services.window.state().used == 1
    examined(free, "--no-call")
    assert len(free.provider.arrivals) == before + 1


def test_leaves_the_provider_alone_when_no_call_is_free(free: World) -> None:
    with free.services() as services:
        while isinstance(services.window.ask(CallKind.QUEUE, new_id()), Grant):
            pass  # calls that are still out
    before = len(free.provider.arrivals)
    code, document = examined(free)
    assert (code, len(free.provider.arrivals)) == (0, before)
    assert "not asked: no call is free" in said(document, "vendor")


def test_leaves_the_provider_alone_when_it_has_forbidden_calls(free: World) -> None:
    with free.services() as services:
        services.window.block(60)
    before = len(free.provider.arrivals)
    code, document = examined(free)
    assert (code, len(free.provider.arrivals)) == (0, before)
    assert "allows no call for another" in said(document, "vendor")


class TestWithout:
    def test_a_valid_configuration(self, free: World) -> None:
        code, document = examined(free, POLYGON_TIER="golden", QUEUE_MAX_SIZE="many")
        assert code == 2
        assert [check for check, _ in errors(document)] == ["config", "config"]

    def test_an_api_key(self, free: World) -> None:
        code, document = examined(free, POLYGON_API_KEY="")
        assert code == 2
        assert errors(document) == [("config", "no API key is configured")]

    def test_redis(self, free: World) -> None:
        code, document = examined(free, REDIS_URL=NOWHERE)
        assert code == 3
        assert errors(document)[0][1].startswith("redis cannot be reached")
        assert "every right it needs" in said(document, "postgresql")
        assert said(document, "cron") == "not checked: it needs redis"

    def test_postgresql(self, free: World) -> None:
        code, document = examined(free, DATABASE_URL="postgresql://me@127.0.0.1:1/x")
        assert code == 3
        assert errors(document)[0] == (
            "postgresql",
            "connecting at x on 127.0.0.1:1 as me: nothing listens there",
        )
        assert said(document, "queue").startswith("0 of at most")


def test_tables_that_init_would_refuse_are_named_before_it_is_run(make_world: MakeWorld) -> None:
    world = make_world(init=False)
    with psycopg.connect(world.database_url) as connection:
        connection.execute(
            "CREATE SCHEMA trading; CREATE VIEW trading.symbols AS SELECT 1 AS id, 'A' AS symbol"
        )
    code, document = examined(world)
    assert code == 3
    said_of_it = [message for check, message in errors(document) if check == "postgresql"]
    assert said_of_it[0].endswith("the database has no tables of assetbatch")
    assert said_of_it[1] == "trading.symbols is a view: nothing can be locked or written there"


def test_rows_that_a_policy_keeps_from_being_updated_are_counted(free: World) -> None:
    role = f"role_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(free.database_url, autocommit=True) as owner:
        owner.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'made-up';"
            f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role};"
            f"GRANT ALL ON ALL TABLES IN SCHEMA trading, market_data, data_sources TO {role};"
            "ALTER TABLE trading.symbols ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY reading ON trading.symbols FOR SELECT USING (true);"
            "CREATE POLICY writing ON trading.symbols FOR UPDATE USING (symbol <> 'EURUSD')".encode()
        )
        url = f"postgresql://{role}:made-up@{free.database_url.split('@', 1)[1]}"
        code, document = examined(free, DATABASE_URL=url)
        owner.execute(f"DROP OWNED BY {role}".encode())
        owner.execute(f"DROP ROLE {role}".encode())
    assert code == 2
    assert errors(document)[0][1] == (
        "row level security lets this role read but not update 1 of 6 symbols: EURUSD"
    )


NEEDED = {
    "trading.symbols": "SELECT, UPDATE",
    "market_data.ohlcv_5m": "SELECT, INSERT, UPDATE",
    "market_data.ohlcv_1m": "SELECT, INSERT, UPDATE",
    "market_data.ohlcv_1d": "SELECT, INSERT, UPDATE",
    "market_data.splits": "SELECT, INSERT, UPDATE",
    "data_sources.api_providers": "SELECT",
    "data_sources.data_sync_status": "SELECT, INSERT, UPDATE",
    "data_sources.assetbatch_spans": "SELECT, INSERT, UPDATE, DELETE",
    "data_sources.assetbatch_calls": "SELECT, INSERT",
    "data_sources.assetbatch_sync": "SELECT, INSERT, UPDATE",
    "data_sources.assetbatch_names": "SELECT",
    "data_sources.assetbatch_closes": "SELECT, INSERT, UPDATE",
    "data_sources.assetbatch_verified": "SELECT, INSERT, UPDATE, DELETE",
    "data_sources.assetbatch_vanished": "SELECT, INSERT, UPDATE, DELETE",
    "data_sources.assetbatch_answers": "SELECT, INSERT, UPDATE",
    "data_sources.assetbatch_migrations": "SELECT",
}


class TestTheRights:
    """Of a role that has been granted what the README says, and no more."""

    @pytest.fixture
    def owner(self, free: World) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            yield connection

    @pytest.fixture
    def role(self, owner: psycopg.Connection[Any]) -> Iterator[str]:
        role = f"role_{uuid.uuid4().hex[:8]}"
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'".encode())
        owner.execute(f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role}".encode())
        for table, rights in NEEDED.items():
            owner.execute(f"GRANT {rights} ON {table} TO {role}".encode())
        yield role
        owner.execute(f"DROP OWNED BY {role}".encode())
        owner.execute(f"DROP ROLE {role}".encode())

    def url(self, world: World, role: str) -> str:
        return f"postgresql://{role}:made-up@{world.database_url.split('@', 1)[1]}"

    def test_are_enough(self, free: World, role: str) -> None:
        url = self.url(free, role)
        for command in ("run-priority", "enqueue-secondary", "run-queue"):
            done = run(free, command, DATABASE_URL=url)
            assert (done.returncode, done.stderr) == (0, "")
        code, document = examined(free, DATABASE_URL=url)
        assert (code, errors(document)) == (0, [])
        assert "the role has every right it needs" in said(document, "postgresql")

    def missing(self, world: World, role: str) -> list[str]:
        code, document = examined(world, DATABASE_URL=self.url(world, role))
        assert code == 3
        ((check, message),) = errors(document)
        assert check == "postgresql"
        return message.split(": ", 1)[1].split(", ")

    def test_that_are_missing_are_named(self, free: World, owner: psycopg.Connection[Any], role: str) -> None:
        owner.execute(f"REVOKE UPDATE ON trading.symbols FROM {role}".encode())
        owner.execute(f"REVOKE DELETE ON data_sources.assetbatch_spans FROM {role}".encode())
        assert self.missing(free, role) == [
            "UPDATE ON trading.symbols",
            "DELETE ON data_sources.assetbatch_spans",
        ]

    def test_include_the_schemas(self, free: World, owner: psycopg.Connection[Any], role: str) -> None:
        owner.execute(f"REVOKE USAGE ON SCHEMA market_data FROM {role}".encode())
        assert self.missing(free, role) == ["USAGE ON SCHEMA market_data"]

    def test_include_temporary_tables(self, free: World, owner: psycopg.Connection[Any], role: str) -> None:
        database = owner.info.dbname
        owner.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC".encode())
        assert self.missing(free, role) == [f"TEMPORARY ON DATABASE {database}"]


class TestBarsByMonth:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        world = make_world(init=False)
        done = run(world, "init", "--partition", "month")
        assert ", 60 partitions added, " in done.stdout
        return world

    def test_are_well(self, world: World) -> None:
        code, document = examined(world, "--no-call")
        assert (code, errors(document)) == (0, [])
        assert "bars have partitions by month up to" in said(document, "postgresql")

    def test_are_written_by_every_command(self, world: World) -> None:
        for command in ("run-priority", "enqueue-secondary", "run-queue"):
            done = run(world, command)
            assert (done.returncode, done.stderr) == (0, "")
        with psycopg.connect(world.database_url) as connection:
            rows = connection.execute(
                "SELECT DISTINCT tableoid::regclass::text FROM market_data.ohlcv_5m"
            ).fetchall()
        assert rows
        assert all(re.fullmatch(r"market_data\.ohlcv_5m_\d{4}_\d\d", name) for (name,) in rows)

    def test_cannot_be_had_of_a_table_that_is_there_and_the_way_is_told(self, free: World) -> None:
        done = run(free, "init", "--partition", "month")
        assert (done.returncode, done.stdout) == (2, "")
        assert "market_data.ohlcv_5m is there and is not partitioned" in done.stderr
        assert 'docs/deploying.md, "Bars by month"' in done.stderr

    def test_that_would_be_refused_are_an_error_until_init_is_run(self, world: World) -> None:
        with psycopg.connect(world.database_url, autocommit=True) as connection:
            connection.execute("DROP TABLE market_data.ohlcv_5m_earlier")
        code, document = examined(world, "--no-call")
        assert code == 3
        assert "ohlcv_5m_earlier is missing" in said(document, "postgresql")
        assert ", 1 partition added); " in run(world, "init").stdout
        assert errors(examined(world, "--no-call")[1]) == []


class TestRedis:
    @pytest.fixture
    def own(self, free: World, own_server: Callable[..., OwnServer]) -> OwnServer:
        server = own_server("--appendonly", "yes")
        free.document["redis"] = {"url": f"unix://{server.socket}", "prefix": "{own}"}
        return server

    @pytest.mark.parametrize("arguments", [[], ["--no-call"]])
    def test_that_is_full_is_an_error_and_what_can_be_read_is_looked_at(
        self, free: World, own: OwnServer, arguments: list[str]
    ) -> None:
        client = own.client()
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 1)
        code, document = examined(free, *arguments)
        assert code == 3
        assert errors(document) == [("redis", "redis is full (maxmemory is reached)")]
        assert said(document, "queue").startswith("0 of at most")
        assert list(dict.fromkeys(f["check"] for f in document["findings"])) == CHECKS
        assert free.paths == []

    def test_of_a_user_who_may_not_publish(self, free: World, own: OwnServer) -> None:
        own.client().execute_command(
            "ACL", "SETUSER", "me", "on", ">pw", "+@all", "~{own}:*", "~{assetbatch}:*"
        )
        code, document = examined(free, REDIS_URL=f"unix://me:pw@{own.socket}")
        assert code == 3
        ((check, message),) = errors(document)
        assert (check, message.split(":")[0]) == (
            "redis",
            "this user may not publish (tried",
        )
        assert said(document, "vendor").startswith("answers")

    def test_of_a_user_who_may_not_touch_our_keys_is_told_once(self, free: World, own: OwnServer) -> None:
        own.client().execute_command("ACL", "SETUSER", "me", "on", ">pw", "+@all", "~other:*", "&*")
        code, document = examined(free, REDIS_URL=f"unix://me:pw@{own.socket}")
        assert code == 3
        assert len(errors(document)) == 1
        assert "redis denies a command" in errors(document)[0][1]
        assert said(document, "cron") == "not checked: it needs redis"

    def test_keeps_no_trace_of_a_doctor_who_makes_no_call(self, free: World, own: OwnServer) -> None:
        examined(free, "--no-call")
        assert own.client().keys() == []


class TestTheProvider:
    def test_that_is_slow_is_not_waited_for(self, free: World) -> None:
        free.provider.order("drip-body=0.5", times=None)
        code, document = examined(free)
        assert code == 3
        assert errors(document)[0][1].endswith("no complete answer within 8 s")
        assert said(document, "cron")

    def test_that_says_too_many_calls_is_left_alone_by_everybody(self, free: World) -> None:
        free.provider.order("429=20", times=1)
        code, document = examined(free)
        assert (code, document["status"]) == (0, "warning")
        assert "says too many calls; nobody calls for" in said(document, "vendor")
        assert said(document, "window").startswith("1 of 100 calls used in 60 s, no calls for ")
        examined(free)
        assert len(free.paths) == 1


def test_a_database_that_freezes_is_named_before_the_time_is_up(free: World) -> None:
    """As a stopped virtual machine: connected, and silent from then on."""
    findings = []
    frozen: list[int] = []
    with (
        free.services() as services,
        psycopg.connect(free.database_url, autocommit=True) as watching,
        Deadline(3) as deadline,
    ):
        try:
            for finding in examine(services, deadline, call=True):
                findings.append(finding)
                if finding.check == "postgresql" and not frozen:
                    rows = watching.execute(
                        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                        "AND application_name = 'assetbatch'"
                    )
                    frozen += [pid for (pid,) in rows]
                    for pid in frozen:
                        os.kill(pid, signal.SIGSTOP)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
    (hangs,) = [finding for finding in findings if finding.level == "error"]
    assert (hangs.check, hangs.message.split(":")[0]) == ("postgresql", "hangs")
    assert [finding.check for finding in findings][-6:] == CHECKS[3:]
    assert free.paths == []


def test_a_person_reads_a_line_for_each_with_what_to_do_below(free: World) -> None:
    done = run(free, "doctor", REDIS_URL=NOWHERE)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0].startswith("ok    config     ")
    wrong = next(number for number, line in enumerate(lines) if line.startswith("wrong redis"))
    assert "-> is it running" in " ".join(lines[wrong : wrong + 4])
    assert lines[-1].strip().startswith("it does not work like this")
    assert max(map(len, lines)) <= 80


def test_no_secret_is_shown(free: World) -> None:
    for env in (
        {"REDIS_URL": f"redis://me:{MARK}@127.0.0.1:1/0"},
        {"DATABASE_URL": f"postgresql://me:{MARK}@127.0.0.1:1/x"},
        {"POLYGON_API_KEY": MARK},
    ):
        done = run(free, "-vv", "doctor", **env)
        assert MARK not in done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
